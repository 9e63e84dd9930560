"""What happens while results are shown: their inputs change, the reader scrolls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..scene.freshness import Freshness
from ..scene.results_watch import ResultsWatch
from ..scene.slice_watch import SliceLink
from .running import Timers

if TYPE_CHECKING:
    from ..engine.result import Classification

CHECK_S = 0.01


class ResultFollower:
    """Follows the slice views for one result of a scene, and watches whether any is out of date.

    manifestOf: as ResultsWatch takes it. onChanged(): what is known of a result has changed; onScrolled(): the slice
    views show another row. Both are called when the event that caused them is over.
    views: by slice view, the row of the result that it shows and whether exactly so.
    """

    def __init__(
        self,
        scene: Any,
        manifestOf: Callable[[Any], str | None],
        onChanged: Callable[[], None],
        onScrolled: Callable[[], None],
        timers: Timers,
    ) -> None:
        self.views: dict[str, tuple[int, bool]] = {}
        self.watch = ResultsWatch(scene, manifestOf, self._onFreshness)
        self._link = SliceLink(scene, self._onRow)
        self._table: Any = None
        self._followed: Any = None
        self._classification: Classification | None = None
        self._last = ""
        self._changed, self._scrolled = timers(onChanged), timers(onScrolled)
        self._checking = timers(self._check, repeated=True)

    def follow(self, table: Any, classification: Classification | None, volumeNode: Any) -> None:
        """Follow this result from now on; nothing begins anew where it is the one that is followed already."""
        self.watch.update()
        if self.watch.checking:
            self._checking.start()
        self._table = table
        followed = (table and table.GetID(), volumeNode and volumeNode.GetID())
        if followed != self._followed or classification is not self._classification:
            self._link.stop()
            self.views, self._last = {}, ""
            self._followed, self._classification = followed, classification
            if classification is not None and volumeNode is not None:
                self._link.follow(classification, volumeNode)

    def stop(self) -> None:
        """Leave no observer behind."""
        self.watch.close()
        self._link.stop()
        self._table, self._followed, self._classification = None, None, None
        self.views, self._last = {}, ""
        for timer in (self._checking, self._changed, self._scrolled):
            timer.stop()

    @property
    def freshness(self) -> Freshness:
        """Of the result that is followed."""
        return self.watch.freshness(self._table)

    @property
    def current(self) -> tuple[int, bool] | None:
        """The row that a view shows, and whether exactly so: one that shows it exactly, or that was scrolled last."""
        last = self.views.get(self._last)
        if last is not None and last[1]:
            return last
        return next((shown for shown in self.views.values() if shown[1]), last or next(iter(self.views.values()), None))

    def _check(self) -> None:
        self.watch.step(CHECK_S)
        if not self.watch.checking:
            self._checking.stop()

    def _onFreshness(self) -> None:
        self._changed.start()
        if self.watch.checking:
            self._checking.start()

    def _onRow(self, viewName: str, row: int | None, isExact: bool) -> None:
        if row is None:
            self.views.pop(viewName, None)
        else:
            self.views[viewName] = (row, isExact)
            self._last = viewName
        self._scrolled.start()
