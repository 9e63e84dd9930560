"""The stand-in application itself: one per process, and nothing recorded that a test did not ask for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("PySide6", reason="the stand-in host needs PySide6")
pytest.importorskip("slicer", reason="the stand-in host needs slicer-core")

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "Testing"))


@pytest.fixture(autouse=True)
def slicer() -> Iterator[Any]:
    """The package `slicer` of a booted application with an empty scene. Fails on what was recorded."""
    from host import application, dialogs, faults, pip

    booted = application.boot()
    booted.mrmlScene.Clear(True)
    booted.app.applicationLogic().GetColorLogic().AddDefaultColorNodes()
    yield booted
    application.close_main_window()
    dialogs.clear()
    pip.clear()
    faults.check()


@pytest.fixture
def recorded() -> Iterator[list[BaseException]]:
    """What the host recorded; forgotten after the test, which must have looked."""
    from host import faults

    yield faults.recorded
    faults.recorded.clear()
