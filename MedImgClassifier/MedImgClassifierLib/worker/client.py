"""The client through which Slicer's panel reaches inference, which runs in a process of its own.

Only plain data crosses: a case and a bundle's folder, or the path of an image, out; stages with fractions and a
Classification, a volume or a Refusal back.
`Client.start`, `Client.install` and `Client.read` give what a timer polls; nothing blocks. `Client.classify` waits,
for scripts and tests.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..engine.errors import Refusal
from . import parcels, protocol
from .process import WorkerProcess

if TYPE_CHECKING:
    from ..engine.bundle_install import Installed
    from ..engine.result import Classification
    from ..engine.volume import Case, Volume
    from .intake import Found

Answer = TypeVar("Answer")
Progress = Callable[[str, float], None]
"""Called with the stage and its fraction done, 0..1; raising `Refusal("CANCELLED")` in it ends the run."""

GRACE_S = 0.8
"""What a worker has to heed a cancel before it is ended."""

SILENCE_S = 30.0
"""A worker that works says so every second; one that has said nothing for so long is taken for hung."""

START_S = 120.0
"""The same until its first word: a cold disk and a virus scanner take their time."""

POLL_S = 0.02


class Client:
    """Starts the worker at the first run, keeps it with the bundle that it has loaded, starts another when it died.

    command: the Python that the worker runs on: PythonSlicer in Slicer, this interpreter elsewhere.
    """

    def __init__(self, command: Sequence[str] = (sys.executable,)) -> None:
        self._command = tuple(command)
        self._worker: WorkerProcess | None = None
        self._run: Task[Any] | None = None
        self._runs = 0

    def start(self, case: Case | Volume, bundle: Path, **settings: Any) -> Run:
        """Begin the classification of a case (or of the one volume of a case) by a bundle.

        Voxels are read in a thread until the run's stage is no longer 'hand over': they must not change until then.
        settings: as Session.classify takes them. Raises Refusal: the worker cannot be started. RuntimeError where the
        task before has not ended.
        """
        run = Run(*self._next(), case, bundle, settings)
        self._run = run
        return run

    def install(self, source: Path) -> Installation:
        """Begin to import a bundle folder or zip. Raises as `start`."""
        installation = Installation(*self._next(), source)
        self._run = installation
        return installation

    def read(self, source: Path, series: str | None = None) -> Reading:
        """Begin to read an image file, a DICOM folder or a zip of either.

        series: SeriesInstanceUID to choose; without it several are told, none is read. Raises as `start`.
        """
        reading = Reading(*self._next(), source, series)
        self._run = reading
        return reading

    def classify(
        self, case: Case | Volume, bundle: Path, progress: Progress | None = None, **settings: Any
    ) -> Classification:
        """`start`, and wait. What progress raises ends the run and is raised again. Raises the refusals of the run."""
        run = self.start(case, bundle, **settings)
        try:
            while not run.poll():
                if progress:
                    progress(run.stage, run.fraction)
                time.sleep(POLL_S)
        except BaseException:
            run.cancel()
            while not run.poll():
                time.sleep(POLL_S)
            raise
        return run.result()

    def _next(self) -> tuple[WorkerProcess, int]:
        """A worker that is free, and the number of its next task."""
        if self._run and not self._run.ended:
            raise RuntimeError("a run is under way: end it first")
        if self._worker is None or self._worker.ended:
            self.close()
            self._worker = WorkerProcess(self._command)
        self._runs += 1
        return self._worker, self._runs

    def close(self) -> None:
        """End the worker; the next run starts another."""
        if self._worker:
            self._worker.kill()
        self._worker = None


class Task(Generic[Answer]):
    """One verb under way in the worker.

    stage: 'hand over', 'start', then those of the verb; fraction: of the stage, 0..1; seconds_left: of the stage, None
    as long as nothing can be said.
    """

    VERB: str
    LASTING = False
    """Whether what was done stays done: an answer that comes after a cancel is then told as it is."""

    def __init__(self, worker: WorkerProcess, number: int) -> None:
        self.stage, self.fraction = "hand over", 0.0
        self.ended = False
        self._worker, self._number = worker, number
        self._answer: Answer | Refusal | None = None
        self._began = self._heard = time.monotonic()
        self._cancelled_at: float | None = None
        self._handing_over = threading.Thread(target=self._hand_over, name="medimg-hand-over", daemon=True)
        self._handing_over.start()

    def _arguments(self) -> dict[str, Any]:
        """In a thread: the verb's arguments; larger ones are written as files. Raises OSError."""
        raise NotImplementedError

    def _take(self, described: dict[str, Any]) -> Answer:
        """The answer that a file of the worker holds. Raises ProtocolError."""
        raise NotImplementedError

    @property
    def seconds_left(self) -> float | None:
        if self.fraction <= 0 or self.ended:
            return None
        return (time.monotonic() - self._began) * (1 - self.fraction) / self.fraction

    def poll(self) -> bool:
        """Take in what the worker has said. True once the run has ended: `result` then tells how."""
        while not self.ended and not self._worker.messages.empty():
            self._hear(self._worker.messages.get())
        if not self.ended:
            self._watch()
        return self.ended

    def cancel(self) -> None:
        """Ask the worker to stop. One that does not within a second is ended. The run ends as cancelled."""
        if not self.ended and self._cancelled_at is None:
            self._cancelled_at = time.monotonic()
            self._worker.send("cancel", self._number)

    def result(self) -> Answer:
        """The answer of a run that has ended. Raises its Refusal."""
        assert self._answer is not None, "the run has not ended"
        if isinstance(self._answer, Refusal):
            raise self._answer
        return self._answer

    def _hand_over(self) -> None:
        """In a thread: tell the worker. What goes wrong is put among the worker's messages."""
        folder = self._worker.folder
        try:
            arguments = self._arguments()
            if self._cancelled_at is None:
                self._worker.send("run", self._number, verb=self.VERB, arguments=arguments)
            message = {"kind": "handed over", "id": self._number}
        except OSError as failed:
            facts = {"path": str(folder), "reason": failed.strerror or str(failed)}
            message = {"kind": "refused", "id": self._number, "code": "RESOURCE_TEMPORARY_FOLDER", "facts": facts}
        except Exception as failed:
            message = {"kind": "failed", "id": self._number, "reason": f"{type(failed).__name__}: {failed}"}
        self._worker.messages.put(message)
        if self.ended:
            self._forget()

    def _hear(self, message: protocol.Message) -> None:
        self._heard = time.monotonic()
        kind = message["kind"]
        if kind == "ended":
            reason = message["reason"] or self._worker.last_words()
            self._end_worker(Refusal("RESOURCE_WORKER_DIED", reason=reason))
        elif message["id"] != self._number:
            pass  # hello; the last words of a run before
        elif kind == "handed over":
            if self.stage == "hand over":
                self._enter("start")
        elif kind == "progress":
            self._enter(message["stage"], message["fraction"])
        elif kind == "result":
            self._take_result(message["file"])
        elif kind == "taken":
            self._end(message["answer"])
        elif kind == "refused":
            self._refuse(message["code"], message["facts"])
        elif kind == "failed":
            self._end(Refusal("RESOURCE_WORKER_FAILED", reason=message["reason"]))

    def _enter(self, stage: str, fraction: float = 0.0) -> None:
        if stage != self.stage:
            self._began = time.monotonic()
        self.stage, self.fraction = stage, fraction

    def _take_result(self, described: dict[str, Any]) -> None:
        self._end(self._taken(described))

    def _taken(self, described: dict[str, Any]) -> Answer | Refusal:
        try:
            return self._take(described)
        except protocol.ProtocolError as wrong:
            return Refusal("RESOURCE_WORKER_FAILED", reason=wrong)
        finally:
            self._worker.send("released", self._number, file=described)

    def _refuse(self, code: str, facts: dict[str, Any]) -> None:
        try:
            self._end(Refusal(code, **facts))
        except (LookupError, ValueError, TypeError):  # a worker of another version
            self._end(Refusal("RESOURCE_WORKER_FAILED", reason=f"{code} {facts}"))

    def _watch(self) -> None:
        now = time.monotonic()
        if self._cancelled_at is not None and now - self._cancelled_at > GRACE_S:
            self._end_worker(Refusal("CANCELLED"))
        elif self._handing_over.is_alive():
            self._heard = now  # a slow disk; the worker has nothing to say yet
        elif now - self._heard > (SILENCE_S if self._worker.pid else START_S):
            self._end_worker(Refusal("RESOURCE_WORKER_SILENT", seconds=round(now - self._heard)))

    def _end_worker(self, answer: Refusal) -> None:
        self._worker.kill()
        self._end(answer)

    def _end(self, answer: Answer | Refusal) -> None:
        self.ended = True
        done = self.LASTING and not isinstance(answer, Refusal)
        self._answer = Refusal("CANCELLED") if self._cancelled_at is not None and not done else answer
        self._forget()

    def _forget(self) -> None:
        """Delete what was handed over."""
        for file in self._worker.folder.glob(f"case{self._number}*"):
            with suppress(OSError):
                file.unlink()


class Run(Task["Classification"]):
    """A classification. Its stages after 'start': 'read', 'load', 'prepare', 'classify'."""

    VERB = "classify"

    def __init__(
        self, worker: WorkerProcess, number: int, case: Case | Volume, bundle: Path, settings: dict[str, Any]
    ) -> None:
        self._case, self._bundle, self._settings = case, bundle, settings
        super().__init__(worker, number)

    def _arguments(self) -> dict[str, Any]:
        case = self._case
        del self._case  # its voxels may be large, and are needed no longer than this takes
        described = parcels.put_case(self._worker.folder, self._number, case)
        return {"case": described, "bundle": str(self._bundle.absolute()), "settings": self._settings}

    def _take(self, described: dict[str, Any]) -> Classification:
        return parcels.take_result(self._worker.folder, described)


class Installation(Task["Installed"]):
    """An import of a bundle. Its stages after 'start': 'read', 'check', 'self-test', 'copy'."""

    VERB = "install"
    LASTING = True

    def __init__(self, worker: WorkerProcess, number: int, source: Path) -> None:
        self._source = source
        super().__init__(worker, number)

    def _arguments(self) -> dict[str, Any]:
        return {"source": str(self._source.absolute())}

    def _take(self, described: dict[str, Any]) -> Installed:
        return parcels.take_installed(self._worker.folder, described)


class Reading(Task["Found"]):
    """The reading of an image. Its stages after 'start': 'unpack' (of a zip), 'read'."""

    VERB = "read"

    def __init__(self, worker: WorkerProcess, number: int, source: Path, series: str | None) -> None:
        self._source, self._series = source, series
        self._taking: threading.Thread | None = None
        super().__init__(worker, number)

    def _arguments(self) -> dict[str, Any]:
        return {"source": str(self._source.absolute()), "series": self._series}

    def _take(self, described: dict[str, Any]) -> Found:
        return parcels.take_found(self._worker.folder, described)

    def _take_result(self, described: dict[str, Any]) -> None:
        """In a thread: a face must not wait until many hundred MB of voxels are read and hashed."""
        self._taking = threading.Thread(target=self._take_over, args=(described,), name="medimg-take-over", daemon=True)
        self._taking.start()

    def _take_over(self, described: dict[str, Any]) -> None:
        try:
            answer = self._taken(described)
        except MemoryError:
            answer = Refusal("RESOURCE_MEMORY", device="cpu", reason=f"taking over '{self._source}'")
        except Exception as failed:
            answer = Refusal("RESOURCE_WORKER_FAILED", reason=f"{type(failed).__name__}: {failed}")
        self._worker.messages.put({"kind": "taken", "id": self._number, "answer": answer})

    def _watch(self) -> None:
        if self._taking and self._taking.is_alive():
            self._heard = time.monotonic()  # the worker has nothing more to say
        super()._watch()
