"""Observations of MRML objects that end with the widget that made them, as ctk's qvtkReconnect does."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any


class Observations:
    """What one widget watches. `watch` replaces what was watched under the same name."""

    def __init__(self, widget: Any) -> None:
        self._held: dict[str, list[tuple[Any, int]]] = {}
        widget.destroyed.connect(self._forget_all)

    def _forget_all(self, *_: Any) -> None:
        for name in list(self._held):
            self.forget(name)

    def watch(self, name: str, objects: Iterable[Any], events: Iterable[Any], callback: Callable[[], None]) -> None:
        """Call a method of the widget, without arguments, on these events of these objects (None is skipped)."""
        self.forget(name)
        method, kinds = weakref.WeakMethod(callback), list(events)

        def call(*_: Any) -> None:
            bound = method()
            if bound is not None:
                bound()

        self._held[name] = [(item, item.AddObserver(kind, call)) for item in objects if item for kind in kinds]

    def forget(self, name: str) -> None:
        for item, tag in self._held.pop(name, []):
            item.RemoveObserver(tag)
