"""Keys for the next and the previous key slice, as long as the panel is open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import qt
import slicer

KEYS = {"Ctrl+Alt+PgUp": -1, "Ctrl+Alt+PgDown": 1}
"""Those with the arrows belong to the module Sequences."""


class Shortcuts:
    """go(direction): called with -1 or 1, wherever in the window the keys are pressed."""

    def __init__(self, parent: Any, go: Callable[[int], None]) -> None:
        window = slicer.util.mainWindow() or parent
        self._shortcuts = [self._make(window, keys, direction, go) for keys, direction in KEYS.items()]
        self.enable(False)

    def enable(self, enabled: bool) -> None:
        for shortcut in self._shortcuts:
            shortcut.enabled = enabled

    def _make(self, window: Any, keys: str, direction: int, go: Callable[[int], None]) -> Any:
        shortcut = qt.QShortcut(qt.QKeySequence(keys), window)
        shortcut.connect("activated()", lambda: go(direction))
        return shortcut
