"""What code asks of pip: recorded, never run.

Stands in for `slicer.util.executePythonModule`, through which `slicer.packaging` starts pip, so that the packaging
module of a Slicer checkout runs against it too.

    pip.will_print, pip.will_return = ["ERROR: ..."], 1     # the next run fails
    pip.on_run = lambda arguments: ...                      # for example: put a fake distribution in place
    pip.calls[-1]                                           # ["install", "onnxruntime>=1.17", "-c", ...]
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore

calls: list[list[str]] = []
will_print: list[str] = []
will_return = 0
on_run: Callable[[list[str]], None] = lambda arguments: None  # noqa: E731
delay_ms = 10


def clear() -> None:
    global will_return, on_run, delay_ms
    calls.clear()
    will_print.clear()
    will_return, on_run, delay_ms = 0, lambda arguments: None, 10


def execute(
    module: str,
    args: list[str],
    blocking: bool = True,
    logCallback: Callable[[str], None] | None = None,
    completedCallback: Callable[[int], None] | None = None,
) -> None:
    """slicer.util.executePythonModule for the module "pip" and for no other."""
    if module != "pip":
        raise RuntimeError(f"the host runs no module '{module}'")
    calls.append(list(args))
    lines, code = list(will_print), will_return

    def run() -> None:
        for line in lines:
            (logCallback or print)(line)
        if code == 0:
            on_run(list(args))

    if blocking:
        run()
        if code:
            raise subprocess.CalledProcessError(code, ["pip", *args])
        return

    def finish() -> None:
        run()
        if completedCallback:
            completedCallback(code)

    QtCore.QTimer.singleShot(delay_ms, finish)


def install(util: Any) -> None:
    import slicer

    util.executePythonModule = execute
    util.pip_install = lambda *a, **k: slicer.packaging.pip_install(*a, **k)
    util.pip_uninstall = lambda *a, **k: slicer.packaging.pip_uninstall(*a, **k)
