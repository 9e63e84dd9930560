"""What the host finds wrong with product code: kept here for tests, invisible to the code itself.

PythonQt prints and goes on where code connects an unknown signal or raises in a slot, and Qt's form builder does the
same with a .ui file that names an unknown class. The code must see just that, so the host behaves so too, and puts
what it noticed into `recorded`. A test fails on what is left there (`check`).
"""

from __future__ import annotations

import sys
import traceback
import types

recorded: list[BaseException] = []
"""Exceptions raised in slots and observers, and Faults. `pythonqt.errors` is this list."""


class Fault(Exception):
    """Something that Slicer would let pass with a line in its log, or silently.

    kind: "signal", "class", "property", "connection", "dialog".
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def record(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """Print an exception and keep it; also serves as sys.excepthook, which VTK observers end in."""
    traceback.print_exception(kind, error, trace)
    recorded.append(error)


def note(kind: str, message: str) -> None:
    """Record a Fault, and print its message as the application's log would."""
    print(message, file=sys.stderr)
    recorded.append(Fault(kind, message))


def check() -> None:
    """Fail on everything recorded since the last check, and forget it."""
    found = list(recorded)
    recorded.clear()
    if found:
        raise AssertionError("; ".join(f"{type(e).__name__}: {e}" for e in found)) from found[0]
