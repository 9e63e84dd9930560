"""What the worker process does with the messages that come: one run after the other, with progress and cancel."""

from __future__ import annotations

import os
import queue
import shutil
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NoReturn

from .. import __version__
from ..engine.errors import Refusal
from . import parcels, protocol
from .session import Progress, Session

HEARTBEAT_S = 1.0
PROGRESS_S = 0.05  # between two messages of progress
LONGEST_FACT = 20_000  # characters; a list of series, say, must not make a refusal too long for a message


class Service:
    """Reads messages in a thread of its own, so that a cancel and the end of the face are seen while a run goes on."""

    def __init__(self, stdin: IO[bytes], messages: IO[bytes], folder: Path) -> None:
        self._stdin, self._messages, self._folder = stdin, messages, folder
        self._session = Session()
        self._runs: queue.SimpleQueue[protocol.Message] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._running = 0  # id of the run under way; 0: none
        self._sending, self._ending = threading.Lock(), threading.Lock()
        self._verbs: Mapping[str, Callable[[int, Mapping[str, Any], Progress], dict[str, Any]]] = {
            "classify": self._classify,
            "install": self._install,
            "read": self._read,
        }

    def run(self) -> None:
        """Serve until stdin ends; never returns."""
        self._send("hello", version=__version__, verbs=list(self._verbs), pid=os.getpid())
        threading.Thread(target=self._listen, daemon=True).start()
        threading.Thread(target=self._beat, daemon=True).start()
        while True:
            message = self._runs.get()
            self._running = message["id"]
            self._answer(message)
            self._running = 0

    def _answer(self, message: protocol.Message) -> None:
        run = message["id"]
        try:
            verb = self._verbs.get(message["verb"])
            if verb is None:
                raise protocol.ProtocolError(f"unknown verb {message['verb'][:40]!r}")
            described = verb(run, message["arguments"], self._progress(run))
        except Refusal as refusal:
            facts = {name: _plain(fact) for name, fact in refusal.facts.items()}
            self._send("refused", run, code=refusal.code, facts=facts)
        except MemoryError as full:
            self._send("refused", run, code="RESOURCE_MEMORY", facts={"device": "cpu", "reason": str(full)})
        except OSError as failed:
            self._send("refused", run, code="RESOURCE_TEMPORARY_FOLDER", facts=_of_disk(self._folder, failed))
        except Exception as failed:
            traceback.print_exc()
            self._send("failed", run, reason=f"{type(failed).__name__}: {failed}"[:500])
        else:
            self._send("result", run, file=described)

    def _classify(self, run: int, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
        progress("read", 0.0)
        case = parcels.take_case(self._folder, arguments["case"])
        progress("load", 0.0)
        settings = arguments["settings"]
        result = self._session.classify(case, Path(arguments["bundle"]), progress=progress, **settings)
        return parcels.put_result(self._folder, run, result)

    def _install(self, run: int, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
        installed = self._session.install(Path(arguments["source"]), progress)
        return parcels.put_installed(self._folder, run, installed)

    def _read(self, run: int, arguments: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
        with _temporary_files_in(self._folder):  # which goes with the worker, however it ends
            found = self._session.read(Path(arguments["source"]), arguments["series"], progress)
        return parcels.put_found(self._folder, run, found)

    def _progress(self, run: int) -> Progress:
        """Tells the face how far a run is, not too often, and ends the run once the face has cancelled it."""
        stage, at = "", 0.0

        def progress(now: str, fraction: float) -> None:
            nonlocal stage, at
            if run in self._cancelled:
                raise Refusal("CANCELLED")
            if now != stage or time.monotonic() - at > PROGRESS_S:
                stage, at = now, time.monotonic()
                self._send("progress", run, stage=now, fraction=float(fraction))

        return progress

    def _listen(self) -> None:
        try:
            for line in protocol.lines(self._stdin):
                message = protocol.decode(line, protocol.FROM_FACE)
                if message["kind"] == "run":
                    self._runs.put(message)
                elif message["kind"] == "cancel":
                    self._cancelled.add(message["id"])
                else:
                    parcels.delete(self._folder, message["file"])
        except (protocol.ProtocolError, OSError) as broken:
            print(f"worker: {broken}", file=sys.stderr, flush=True)
        finally:  # the face has gone, or talks of something else
            self._end()

    def _beat(self) -> None:
        while True:
            time.sleep(HEARTBEAT_S)
            if self._running:
                self._send("alive", self._running)

    def _send(self, kind: str, run: int = 0, **fields: Any) -> None:
        line = protocol.encode(kind, run, **fields)
        try:
            with self._sending:
                self._messages.write(line)
        except OSError:  # nobody reads any more
            self._end()

    def _end(self) -> NoReturn:
        """End the process once its folder is gone, which may hold patient data. A thread that comes second waits.

        A run under way may write while this deletes: it is cancelled, and what it still wrote is deleted, too.
        """
        with self._ending:
            self._cancelled.add(self._running)
            for _ in range(5):
                shutil.rmtree(self._folder, ignore_errors=True)
                if not self._folder.exists():
                    break
                time.sleep(0.05)
            os._exit(0)


@contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before


def _of_disk(folder: Path, failed: OSError) -> dict[str, str]:
    return {"path": str(folder), "reason": failed.strerror or str(failed)}


def _plain(fact: object) -> object:
    return fact if isinstance(fact, (int, float, bool)) else str(fact)[:LONGEST_FACT]
