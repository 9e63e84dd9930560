"""What happens to a result while it is shown: its input changes, the reader scrolls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import qt

from ..scene.freshness import Freshness, FreshnessWatcher
from ..scene.slice_watch import SliceLink

if TYPE_CHECKING:
    from ..engine.result import Classification

CHECK_S = 0.01


class ResultFollower:
    """Follows one result of a scene. onChanged(): the input or the model has changed, or has not after all;
    onScrolled(): the slice views show another row. Both are called when the event that caused them is over.

    views: by slice view, the row of the result that it shows and whether exactly so.
    """

    def __init__(self, scene: Any, onChanged: Callable[[], None], onScrolled: Callable[[], None]) -> None:
        self.views: dict[str, tuple[int, bool]] = {}
        self._watcher: FreshnessWatcher | None = None
        self._link = SliceLink(scene, self._onRow)
        self._onChanged = onChanged
        self._followed: Any = None
        self._classification: Classification | None = None
        self._last = ""
        self._checking, self._changed, self._scrolled = (
            self._timer(self._check, repeated=True),
            self._timer(onChanged),
            self._timer(onScrolled),
        )

    def follow(self, table: Any, classification: Classification | None, volumeNode: Any, manifest: str | None) -> None:
        """Follow this result from now on; nothing happens where it is the one that is followed already."""
        followed = (table and table.GetID(), volumeNode and volumeNode.GetID())
        if self._watcher is not None and self._watcher.closed:
            self._followed = None
        if followed != self._followed or classification is not self._classification:
            self.stop()
            self._followed, self._classification = followed, classification
            if table is not None:
                self._watcher = FreshnessWatcher(table, manifest, self._onFreshness)
                self._checking.start()
            if classification is not None and volumeNode is not None:
                self._link.follow(classification, volumeNode)
        elif self._watcher is not None:
            self._watcher.setBundle(manifest)

    def stop(self) -> None:
        """Leave no observer behind."""
        if self._watcher is not None:
            self._watcher.close()
        self._watcher, self._followed, self._classification = None, None, None
        self._link.stop()
        self.views, self._last = {}, ""
        for timer in (self._checking, self._changed, self._scrolled):
            timer.stop()

    @property
    def freshness(self) -> Freshness:
        return self._watcher.freshness if self._watcher is not None else Freshness()

    @property
    def current(self) -> tuple[int, bool] | None:
        """The row that the view shows which was scrolled last, and whether exactly so."""
        return self.views.get(self._last) or next(iter(self.views.values()), None)

    def _timer(self, do: Callable[[], None], repeated: bool = False) -> Any:
        timer = qt.QTimer()
        timer.setInterval(0)
        timer.setSingleShot(not repeated)
        timer.connect("timeout()", do)
        return timer

    def _check(self) -> None:
        if self._watcher is None or self._watcher.step(CHECK_S):
            self._checking.stop()

    def _onFreshness(self, freshness: Freshness) -> None:
        self._changed.start()
        if freshness.checking:
            self._checking.start()

    def _onRow(self, viewName: str, row: int | None, isExact: bool) -> None:
        if row is None:
            self.views.pop(viewName, None)
        else:
            self.views[viewName] = (row, isExact)
            self._last = viewName
        self._scrolled.start()
