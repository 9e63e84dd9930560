"""A report of what is installed, made by the worker's Python so that no inference library enters this process."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..engine.errors import Refusal
from ..worker.process import apart, end_tree

_PACKAGE = Path(__file__).resolve().parents[1]


class Diagnosis:
    """Begun when made; `poll` until it has ended. command: the worker's Python.

    Raises Refusal RESOURCE_WORKER_START.
    """

    stage, fraction, seconds_left = "doctor", None, None

    def __init__(self, command: Sequence[str]) -> None:
        self.ended = False
        self._cancelled = False
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - `result` closes it; a pipe would fill unread
        module = [*command, "-m", f"{_PACKAGE.name}.doctor"]
        try:
            self._process = subprocess.Popen(
                module,
                cwd=_PACKAGE.parent,
                stdin=subprocess.DEVNULL,
                stdout=self._said,
                stderr=subprocess.STDOUT,
                **apart(),
            )
        except OSError as failed:
            self._said.close()
            reason = failed.strerror or str(failed)
            raise Refusal("RESOURCE_WORKER_START", command=" ".join(command), reason=reason) from None

    def poll(self) -> bool:
        self.ended = self._process.poll() is not None
        return self.ended

    def cancel(self) -> None:
        self._cancelled = True
        end_tree(self._process)  # in Slicer it is a launcher, whose child makes the report

    def result(self) -> str:
        """The report. Raises Refusal CANCELLED, RESOURCE_WORKER_FAILED."""
        self._said.seek(0)
        text = self._said.read().decode("utf-8", "replace").strip()
        self._said.close()
        if self._cancelled:
            raise Refusal("CANCELLED")
        if self._process.returncode:
            raise Refusal("RESOURCE_WORKER_FAILED", reason=text.splitlines()[-1] if text else self._process.returncode)
        return text
