"""All results of a scene under watch: those that are no longer true of their input are marked, shown or not."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from .freshness import Freshness, FreshnessWatcher
from .out_of_date import markOutOfDate
from .result_nodes import resultTables


class ResultsWatch:
    """onChange() is called when what is known of a result changes, also from inside the scene's events.

    manifestOf(table): SHA-256 of the manifest of the bundle that made a result, as it is installed now; None where it
    is not. Tables are held by id.
    """

    def __init__(self, scene: Any, manifestOf: Callable[[Any], str | None], onChange: Callable[[], None]) -> None:
        self._scene, self._manifestOf, self._onChange = scene, manifestOf, onChange
        self._watchers: dict[str, FreshnessWatcher] = {}

    def update(self) -> None:
        """Watch the results that there are now, and compare with the bundles that there are now."""
        tables = {table.GetID(): table for table in resultTables(self._scene)}
        for identifier, watcher in list(self._watchers.items()):
            if identifier not in tables or watcher.closed:
                watcher.close()
                del self._watchers[identifier]
        for identifier, table in tables.items():
            if identifier in self._watchers:
                self._watchers[identifier].setBundle(self._manifestOf(table))
            else:
                self._watchers[identifier] = FreshnessWatcher(table, self._manifestOf(table), self._tell)

    def freshness(self, table: Any) -> Freshness:
        """What is known of a result; nothing speaks against one that is not watched."""
        watcher = self._watchers.get(table.GetID()) if table is not None else None
        return watcher.freshness if watcher is not None else Freshness()

    @property
    def checking(self) -> bool:
        """Whether something is left to be found out."""
        return any(watcher.freshness.checking for watcher in self._watchers.values())

    def step(self, seconds: float) -> None:
        """Find out for about so long."""
        until = time.perf_counter() + seconds
        for watcher in list(self._watchers.values()):
            if watcher.freshness.checking and time.perf_counter() < until:
                watcher.step(until - time.perf_counter())

    def mark(self) -> None:
        """Say on the nodes of each result whether it is out of date; what is still being found out stays as it is."""
        for identifier, watcher in list(self._watchers.items()):
            table, known = self._scene.GetNodeByID(identifier), watcher.freshness
            if table is not None and (known.reasons or not known.checking):
                markOutOfDate(table, known.reasons)

    def close(self) -> None:
        """Watch nothing any more, and leave no observer behind."""
        for watcher in self._watchers.values():
            watcher.close()
        self._watchers = {}

    def _tell(self, _freshness: Freshness) -> None:
        self._onChange()
