"""Timers of the server's event loop, as workflow.running.Timers asks for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable


class LoopTimer:
    """after(): called when `do` has been, so that what it changed reaches the page."""

    def __init__(self, do: Callable[[], None], repeated: bool, after: Callable[[], None]) -> None:
        self._do, self._repeated, self._after = do, repeated, after
        self._active = self._acting = False
        self._seconds = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self, milliseconds: int = 0) -> None:
        """Act after an interval; a timer that acts now waits for its end first."""
        self._active, self._seconds = True, milliseconds / 1000
        if not self._acting:
            self._schedule()

    def stop(self) -> None:
        """Act no more."""
        self._active = False
        if self._handle:
            self._handle.cancel()
            self._handle = None

    def _schedule(self) -> None:
        if self._handle:
            self._handle.cancel()
        self._handle = asyncio.get_event_loop().call_later(self._seconds, self._act)

    def _act(self) -> None:
        self._handle, self._active, self._acting = None, self._repeated, True
        try:
            self._do()
        except Exception:
            logging.exception("MedImgClassifier: a step failed")
        finally:
            self._acting = False
        self._after()
        if self._active:
            self._schedule()


class LoopTimers:
    """Makes timers. after: as LoopTimer takes it."""

    def __init__(self, after: Callable[[], None]) -> None:
        self._after = after

    def __call__(self, do: Callable[[], None], repeated: bool = False) -> LoopTimer:
        return LoopTimer(do, repeated, self._after)
