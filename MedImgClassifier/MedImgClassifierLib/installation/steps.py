"""One installation, from the user's choice to libraries that load in the worker's Python. No toolkit: a timer polls."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

from ..engine.errors import Refusal
from ..worker.process import apart, end_tree
from . import kit_file, libraries, pip_errors

State = Literal[
    "asked", "reading kit", "installing", "installing torch", "verifying", "done", "failed", "declined", "cancelled"
]
ENDED = ("done", "failed", "declined", "cancelled")

Choice = Literal["light", "gpu"] | Path
"""'light': the libraries of requirements.txt; 'gpu': these and torch; a path: the first, from that offline kit."""

CHECK = Path(__file__).resolve().parents[1] / "worker" / "check_libraries.py"
VERIFY_S = 300.0
"""What the first import of everything may take: a virus scanner reads hundreds of new files, torch's a gigabyte."""

_KEPT_LINES = 400
# Wheels only: nothing that is downloaded runs while it is installed. No question that nobody could answer. Two retries:
# where there is no network that is soon known, and without any pip does not say what it could not reach.
_ALWAYS = ("--only-binary=:all:", "--no-input", "--retries=2", "--disable-pip-version-check")


class Host(Protocol):
    """What Slicer does for an installation."""

    def pip(
        self,
        arguments: list[str],
        repairs: list[str] | None,
        constraints: Path,
        on_line: Callable[[str], None],
        on_end: Callable[[int], None],
    ) -> None:
        """Start `pip install`, first with `repairs` and --no-deps where there are any; on_end gets the exit status.

        Returns at once. Raises Refusal where pip cannot be started.
        """

    def check_torch_can_be_installed(self) -> None:
        """Raises Refusal(RESOURCE_PYTORCH_EXTENSION)."""

    def install_torch(self, constraints: Path) -> None:
        """Have Slicer's PyTorch extension install torch and torchvision; returns when that is done. Raises Refusal."""


class Installation:
    """state, line (the last that pip said) and refusal (why it failed, was declined or cancelled) tell where it is.

    python_command: of the worker. It begins as 'asked'; `choose`, then `poll` until that returns True.
    """

    def __init__(self, host: Host, python_command: Sequence[str]) -> None:
        self.state: State = "asked"
        self.line = ""
        self.refusal: Refusal | None = None
        self._host, self._command = host, tuple(python_command)
        self._choice: Choice = "light"
        self._folder: Path | None = None
        self._lines: list[str] = []
        self._before: dict[str, str] = {}
        self._pip_runs = False
        self._reader: threading.Thread | None = None
        self._read: Refusal | None = None
        self._check: subprocess.Popen[bytes] | None = None
        self._check_began = 0.0

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    def choose(self, choice: Choice | None) -> None:
        """Begin. None: the user wants none of it."""
        assert self.state == "asked"
        if choice is None:
            self._end("declined", Refusal("CANCELLED_INSTALL_DECLINED"))
            return
        self._choice = choice
        try:
            if choice == "gpu":
                self._host.check_torch_can_be_installed()
            try:
                self._folder = Path(tempfile.mkdtemp(prefix="medimg-install-"))
                self._before = libraries.versions()
                self._constraints.write_text(libraries.constraints(self._before), encoding="utf-8")
            except OSError as failed:
                reason = failed.strerror or failed
                raise Refusal("RESOURCE_TEMPORARY_FOLDER", path=tempfile.gettempdir(), reason=reason) from None
            if isinstance(choice, Path):
                self.state = "reading kit"
                self._reader = threading.Thread(target=self._read_kit, args=(choice,), name="medimg-kit", daemon=True)
                self._reader.start()
            else:
                self._start_pip()
        except Refusal as refusal:
            self._end("failed", refusal)

    def poll(self) -> bool:
        """Go on where something has come to its end. True once the installation has. 'installing torch' blocks."""
        try:
            if self.state == "reading kit" and self._reader and not self._reader.is_alive():
                if self._read:
                    raise self._read
                self._start_pip()
            elif self.state == "installing torch" and not self._pip_runs:  # it lets the application handle events
                self._install_torch()
            elif self.state == "verifying":
                self._watch_check()
        except Refusal as refusal:
            self._end("failed" if refusal.exit_status != 6 else "declined", refusal)
        return self.ended

    def cancel(self) -> None:
        """Stop. pip, once it was started, goes on to its end by itself: half an installation would be worse."""
        if not self.ended:
            self._end("cancelled", Refusal("CANCELLED_INSTALL"))

    @property
    def _constraints(self) -> Path:
        assert self._folder
        return self._folder / "constraints.txt"

    def _read_kit(self, path: Path) -> None:
        """In a thread: a kit is on a slow stick and large."""
        assert self._folder
        try:
            kit = kit_file.read(path)
            kit_file.check_fits(kit)
            kit_file.unpack(kit, self._folder, self._heard_of_kit)
        except Refusal as refusal:
            self._read = refusal
        except OSError as failed:  # of the folder, which a cancel may have removed
            reason = failed.strerror or failed
            self._read = Refusal("RESOURCE_TEMPORARY_FOLDER", path=self._folder, reason=reason)

    def _heard_of_kit(self, fraction: float) -> None:
        self.line = f"{fraction:.0%}"
        if self.ended:
            raise Refusal("CANCELLED_INSTALL")

    def _start_pip(self) -> None:
        options = list(_ALWAYS)
        if isinstance(self._choice, Path):
            assert self._folder  # --isolated: no further place of the user's pip settings is asked
            options += ["--isolated", "--no-index", "--find-links", str(self._folder / "wheels")]
        unfinished = libraries.needed().unfinished
        repairs = [*options, "--ignore-installed", *unfinished] if unfinished else None
        self.state, self._pip_runs = "installing", True
        try:
            arguments = [*options, *libraries.requirements()]
            self._host.pip(arguments, repairs, self._constraints, self._heard, self._pip_ended)
        except Refusal:
            self._pip_runs = False
            raise

    def _heard(self, line: str) -> None:
        if line.strip():
            self.line = line.strip()
            self._lines.append(self.line)
            del self._lines[:-_KEPT_LINES]

    def _pip_ended(self, status: int) -> None:
        self._pip_runs = False
        if self.ended:  # it was cancelled meanwhile
            self._clean()
            return
        try:
            self._compare_versions()
            if status:
                raise pip_errors.explain(self._lines, status, from_kit=isinstance(self._choice, Path))
            if self._choice == "gpu" and libraries.torch_needed():
                self.state = "installing torch"
            else:
                self._start_check()
        except Refusal as refusal:
            self._end("failed", refusal)

    def _install_torch(self) -> None:
        self._pip_runs = True
        try:
            self._host.install_torch(self._constraints)
        finally:
            self._pip_runs = False
        if self.ended:
            self._clean()
            return
        self._compare_versions()
        self._start_check()

    def _compare_versions(self) -> None:
        after = libraries.versions()
        changed = [
            f"{name} {version} -> {after.get(name, 'removed')}"
            for name, version in self._before.items()
            if after.get(name) != version
        ]
        if changed:
            restore = " ".join(f"{name}=={version}" for name, version in self._before.items())
            raise Refusal("RESOURCE_INSTALL_CHANGED", listing=", ".join(changed), restore=restore)

    def _start_check(self) -> None:
        """In a process of its own, as the worker will: what loads here would stay in Slicer, and pip may be wrong."""
        words = ["--torch"] if self._choice == "gpu" else [str(path) for path in self._bundles()]
        command = [*self._command, str(CHECK), str(self._answer), *words]
        self.state, self.line, self._check_began = "verifying", "", time.monotonic()
        try:
            with self._said.open("wb") as said:
                self._check = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT, **apart()
                )
        except OSError as failed:
            reason = failed.strerror or failed
            raise Refusal("RESOURCE_WORKER_START", command=self._command[0], reason=reason) from None

    @property
    def _answer(self) -> Path:
        assert self._folder
        return self._folder / "answer.json"

    @property
    def _said(self) -> Path:
        assert self._folder
        return self._folder / "said.txt"

    def _watch_check(self) -> None:
        assert self._check
        status = self._check.poll()
        if status is None:
            if time.monotonic() - self._check_began > VERIFY_S:
                raise Refusal(
                    "RESOURCE_INSTALL_UNUSABLE", library="what was installed", reason=f"no answer for {VERIFY_S:.0f} s"
                )
            return
        try:
            answer = json.loads(self._answer.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            said = self._said.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            reason = said[-1][:200] if said else f"exit status {status}"
            raise Refusal("RESOURCE_INSTALL_UNUSABLE", library="what was installed", reason=reason) from None
        if answer["failed"]:
            if answer["failed"] in {bundle.stem for bundle in self._bundles()}:
                raise Refusal("INPUT_KIT_BUNDLE", name=answer["failed"], reason=answer["reason"])
            raise Refusal("RESOURCE_INSTALL_UNUSABLE", library=answer["failed"], reason=answer["reason"])
        self._end("done", None)

    def _bundles(self) -> list[Path]:
        """Those that came with the kit."""
        assert self._folder
        return sorted((self._folder / "bundles").glob("*.zip"))

    def _end(self, state: State, refusal: Refusal | None) -> None:
        self.state, self.refusal = state, refusal
        self._clean()

    def _clean(self) -> None:
        """Nothing is left behind; while pip reads the folder, that waits for its end."""
        if self._reader:
            self._reader.join(2)  # it stops at the next piece
        if self._check and self._check.poll() is None:
            end_tree(self._check)
            with suppress(subprocess.TimeoutExpired):
                self._check.wait(2)
        if self._folder and not self._pip_runs:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
