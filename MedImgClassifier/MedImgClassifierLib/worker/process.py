"""The worker process as a face holds it: its pipes, its private folder, and its end."""

from __future__ import annotations

import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ..engine.errors import Refusal
from . import protocol

MAIN = Path(__file__).with_name("worker_main.py")
KEPT_OF_STDERR = 1 << 14


class WorkerProcess:
    """A started worker. Two threads move bytes: messages into `messages`, and the tail of stderr into `last_words`.

    command: the interpreter, with whatever must stand before it. In Slicer that is PythonSlicer, a launcher whose child
    is the real interpreter: ending the launcher alone would leave the child, so the whole session (POSIX) or tree
    (Windows) is ended.
    Raises Refusal(RESOURCE_WORKER_START, RESOURCE_TEMPORARY_FOLDER).
    """

    def __init__(self, command: Sequence[str]) -> None:
        try:
            self.folder = Path(tempfile.mkdtemp(prefix="medimg-worker-"))
        except OSError as failed:
            raise Refusal("RESOURCE_TEMPORARY_FOLDER", path=tempfile.gettempdir(), reason=failed.strerror) from None
        try:
            self._process = subprocess.Popen(
                [*command, str(MAIN), str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                **apart(),
            )
        except OSError as failed:
            shutil.rmtree(self.folder, ignore_errors=True)
            raise Refusal("RESOURCE_WORKER_START", command=command[0], reason=failed.strerror or failed) from None
        self.messages: queue.SimpleQueue[protocol.Message] = queue.SimpleQueue()
        """What the worker says; the last is {"kind": "ended", "reason": ...}."""
        self.pid = 0  # of the interpreter itself, known from its hello
        self._killed = False
        self._tail = bytearray()
        self._writing = threading.Lock()
        for read, stream in ((self._read_messages, self._process.stdout), (self._read_stderr, self._process.stderr)):
            threading.Thread(target=read, args=(stream,), name="medimg-worker-reader", daemon=True).start()

    def send(self, kind: str, run: int, **fields: Any) -> None:
        """Send a message; one to a worker that has ended is lost, as `messages` will tell. Raises ProtocolError."""
        line = protocol.encode(kind, run, **fields)
        with self._writing, suppress(OSError, ValueError):
            assert self._process.stdin is not None
            self._process.stdin.write(line)

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def last_words(self) -> str:
        """How it ended and the last line that it wrote to stderr."""
        code = self._process.poll()
        how = "it runs" if code is None else f"signal {-code}" if code < 0 else f"exit status {code}"
        said = bytes(self._tail).decode("utf-8", "replace").strip().splitlines()
        return f"{how}: {said[-1][:300]}" if said else how

    def kill(self) -> None:
        """End the worker with everything it started, and remove its folder. Safe at any time, and again."""
        if self._killed:
            return
        self._killed = True
        end_tree(self._process)
        with suppress(OSError):
            assert self._process.stdin is not None
            self._process.stdin.close()  # whatever was missed above sees the end of its stdin
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read_messages(self, stream: IO[bytes]) -> None:
        reason = ""
        try:
            for line in protocol.lines(stream):
                message = protocol.decode(line, protocol.FROM_WORKER)
                if message["kind"] == "hello":
                    self.pid = message["pid"]
                self.messages.put(message)
        except (protocol.ProtocolError, OSError, ValueError) as broken:
            reason = str(broken)
        if not reason:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(1)  # for last_words
        self.messages.put({"kind": "ended", "id": 0, "reason": reason})

    def _read_stderr(self, stream: IO[bytes]) -> None:
        with suppress(OSError, ValueError):
            while some := stream.read(1 << 16):
                self._tail += some
                del self._tail[:-KEPT_OF_STDERR]


def apart() -> dict[str, Any]:
    """What Popen is told so that a process gets a session of its own, and `end_tree` can end it.

    A Ctrl-C in the face's terminal then is not its, and no console window opens for it.
    """
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NO_WINDOW | subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def end_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started `apart` with everything it started: of a launcher, its child. Safe again."""
    if sys.platform == "win32":
        if process.poll() is None:
            words = ["taskkill", "/T", "/F", "/PID", str(process.pid)]
            subprocess.run(words, capture_output=True, check=False, creationflags=subprocess.CREATE_NO_WINDOW)
    else:
        with suppress(ProcessLookupError, PermissionError):  # its session: also what a dead launcher has left
            os.killpg(process.pid, signal.SIGKILL)
