"""A timer that moves a piece of work on until it has ended, so that the application stays alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt

POLL_MS = 50
"""Between two looks at what another process computes; what computes here goes on at once."""


def soon(do: Callable[[], None], repeated: bool = False) -> Any:
    """A timer that acts, once started, when the event that is being handled is over: once for any number of starts."""
    timer = qt.QTimer()
    timer.setInterval(0)
    timer.setSingleShot(not repeated)
    timer.connect("timeout()", do)
    return timer


class Runner:
    """Moves one piece of work at a time. onStep(): after each step; onEnd(work): once, when it has ended."""

    def __init__(self, onStep: Callable[[], None], onEnd: Callable[[Any], None]) -> None:
        self.work: Any = None
        self._advance: Callable[[], bool] = lambda: True
        self._onStep, self._onEnd = onStep, onEnd
        self._timer = soon(self._tick, repeated=True)
        self._end = soon(self._ended)

    def start(self, work: Any, advance: Callable[[], bool]) -> None:
        """work: has stage, fraction, seconds_left and cancel(), and `busy` where it computes in this process.

        advance(): a step of it, True once it has ended.
        """
        self.work, self._advance = work, advance
        self._timer.start(0)

    def stop(self) -> None:
        """Forget the work where it is; for a module that goes away."""
        self._timer.stop()
        self._end.stop()
        self.work = None

    def _tick(self) -> None:
        work = self.work
        if work is None:
            self._timer.stop()
        elif self._advance():
            self._timer.stop()
            self._end.start()  # in a turn of its own: making the nodes has taken its time already
        else:
            self._timer.setInterval(0 if getattr(work, "busy", False) else POLL_MS)
            self._onStep()

    def _ended(self) -> None:
        work = self.work
        self.stop()
        if work is not None:
            self._onEnd(work)
