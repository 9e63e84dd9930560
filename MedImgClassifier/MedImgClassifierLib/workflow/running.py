"""A timer that moves a piece of work on until it has ended, so that the application stays alive."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

POLL_MS = 50
"""Between two looks at what another process computes; what computes here goes on at once."""


class Timer(Protocol):
    """Acts, once started, when the event that is being handled is over, or an interval later."""

    def start(self, milliseconds: int = 0) -> None:
        """Begin, with this interval from now on; nothing begins anew where it has begun already with the same one."""

    def stop(self) -> None: ...


class Timers(Protocol):
    """What a face's toolkit makes timers with.

    Any number of starts before it acts are one. repeated: it goes on, interval by interval, until it is stopped.
    """

    def __call__(self, do: Callable[[], None], repeated: bool = False) -> Timer: ...


class Runner:
    """Moves one piece of work at a time. onStep(): after each step; onEnd(work): once, when it has ended."""

    def __init__(self, timers: Timers, onStep: Callable[[], None], onEnd: Callable[[Any], None]) -> None:
        self.work: Any = None
        self._advance: Callable[[], bool] = lambda: True
        self._onStep, self._onEnd = onStep, onEnd
        self._timer = timers(self._tick, repeated=True)
        self._end = timers(self._ended)

    def start(self, work: Any, advance: Callable[[], bool]) -> None:
        """work: has stage, fraction, seconds_left and cancel(), and `busy` where it computes in this process.

        advance(): a step of it, True once it has ended.
        """
        self.work, self._advance = work, advance
        self._timer.start(0)

    def stop(self) -> None:
        """Forget the work where it is; for a face that goes away."""
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
            self._timer.start(0 if getattr(work, "busy", False) else POLL_MS)
            self._onStep()

    def _ended(self) -> None:
        work = self.work
        self.stop()
        if work is not None:
            self._onEnd(work)
