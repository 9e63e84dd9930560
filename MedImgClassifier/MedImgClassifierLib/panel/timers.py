"""Timers of Qt, as workflow.running.Timers asks for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt


def qtTimer(do: Callable[[], None], repeated: bool = False) -> Any:
    """A timer that acts, once started, when the event that is being handled is over: once for any number of starts."""
    timer = qt.QTimer()
    timer.setInterval(0)
    timer.setSingleShot(not repeated)
    timer.connect("timeout()", do)
    return timer
