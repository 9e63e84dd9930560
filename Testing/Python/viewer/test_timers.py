"""Timers of the event loop act as Qt's do, of which the workflow was made."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import pytest

from MedImgClassifierLib.viewer.timers import LoopTimer, LoopTimers


def run(play: Callable[[LoopTimers], object], seconds: float = 0.1) -> list[str]:
    """What has been said after `play` and some time of the loop."""
    said: list[str] = []

    async def main() -> None:
        timers = LoopTimers(lambda: said.append("after"))
        timers.said = said  # type: ignore[attr-defined]
        play(timers)
        await asyncio.sleep(seconds)

    asyncio.run(main())
    return said


def saying(timers: LoopTimers, repeated: bool = False) -> LoopTimer:
    return timers(lambda: timers.said.append("do"), repeated)  # type: ignore[attr-defined]


def test_any_number_of_starts_is_one() -> None:
    def play(timers: LoopTimers) -> None:
        timer = saying(timers)
        timer.start()
        timer.start()

    assert run(play) == ["do", "after"]


def test_nothing_happens_while_the_event_is_handled() -> None:
    def play(timers: LoopTimers) -> None:
        saying(timers).start()
        assert timers.said == []  # type: ignore[attr-defined]

    assert "do" in run(play)


def test_stopped_in_time_it_does_not_act() -> None:
    def play(timers: LoopTimers) -> None:
        timer = saying(timers)
        timer.start(20)
        timer.stop()

    assert run(play) == []


def test_interval_counts_from_the_last_start() -> None:
    def play(timers: LoopTimers) -> None:
        timer = saying(timers)
        timer.start()
        timer.start(10_000)

    assert run(play) == []


def test_repeated_one_goes_on_until_it_is_stopped() -> None:
    def play(timers: LoopTimers) -> None:
        said = timers.said  # type: ignore[attr-defined]

        def do() -> None:
            said.append("do")
            if said.count("do") == 3:
                timer.stop()

        timer = timers(do, repeated=True)
        timer.start()

    assert run(play).count("do") == 3


def test_interval_can_be_changed_while_it_acts() -> None:
    def play(timers: LoopTimers) -> None:
        said = timers.said  # type: ignore[attr-defined]

        def do() -> None:
            said.append("do")
            timer.start(10_000)

        timer = timers(do, repeated=True)
        timer.start()

    assert run(play).count("do") == 1


def test_single_one_may_start_itself_again() -> None:
    def play(timers: LoopTimers) -> None:
        said = timers.said  # type: ignore[attr-defined]

        def do() -> None:
            said.append("do")
            if said.count("do") < 3:
                timer.start()

        timer = timers(do)
        timer.start()

    assert run(play).count("do") == 3


def test_failing_step_is_logged_and_does_not_end_the_others(caplog: pytest.LogCaptureFixture) -> None:
    def play(timers: LoopTimers) -> None:
        timers(lambda: 1 / 0).start()
        saying(timers).start()

    with caplog.at_level(logging.ERROR):
        assert run(play).count("do") == 1
    assert "ZeroDivisionError" in caplog.text
