"""How the views are streamed: without losses, and the one that was asked for first."""

from __future__ import annotations

import asyncio
import io

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the views are those of slicer-core")

from MedImgClassifierLib.viewer import views


def test_picture_arrives_as_it_was_drawn() -> None:
    from PIL import Image

    drawn = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    packed, told, at = views.FastPng().encode(drawn, 40, 30, 100)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(packed))), drawn)
    assert (told["type"], told["w"], told["h"], told["st"]) == ("image/png", 40, 30, at)


def test_page_is_told_what_the_library_would_tell_it() -> None:
    encoders = pytest.importorskip("trame_rca.encoders", reason="the viewer needs the extra 'viewer'")
    drawn = np.zeros((4, 6, 3), np.uint8)
    _packed, theirs, _at = encoders.RcaImageEncoder("png").encode(drawn, 6, 4, 100)
    _packed, ours, _at = views.FastPng().encode(drawn, 6, 4, 100)
    assert {**ours, "st": 0} == {**theirs, "st": 0}


def test_library_still_has_what_the_encoder_replaces() -> None:
    import inspect

    schedulers = pytest.importorskip("trame_rca.schedulers", reason="the viewer needs the extra 'viewer'")
    assert "self._rca_encoder.encode" in inspect.getsource(schedulers.RcaImageRenderScheduler)


class Inner:
    def __init__(self) -> None:
        self.rendered = 0

    def schedule_render(self) -> None:
        self.rendered += 1


def play(monkeypatch: pytest.MonkeyPatch, hold: bool, again: bool = False) -> tuple[int, int]:
    """(renderings asked for at once, and after a while) when something happens to a held view."""
    monkeypatch.setattr(views, "HOLD_S", 0.05)
    inner = Inner()

    async def main() -> int:
        held = views.Held(inner)
        if hold:
            held.hold()
        held.schedule_render()
        held.schedule_render()
        at_once = inner.rendered
        if again:
            await asyncio.sleep(0.03)
            held.hold()
            await asyncio.sleep(0.03)
            assert inner.rendered == at_once
        await asyncio.sleep(0.12)
        return at_once

    return asyncio.run(main()), inner.rendered


def test_view_that_is_not_held_is_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert play(monkeypatch, hold=False) == (2, 2)


def test_held_view_is_drawn_once_and_later(monkeypatch: pytest.MonkeyPatch) -> None:
    assert play(monkeypatch, hold=True) == (0, 1)


def test_it_waits_for_the_last_of_many_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    assert play(monkeypatch, hold=True, again=True) == (0, 1)
