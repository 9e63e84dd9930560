"""Fair ratios: variants alternate in one process, a ratio is the median of the ratios of the rounds."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

ROUNDS = 5

Row = tuple[str, str, float, str]
"""(what, unit, value, remark)"""


def seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def alternate(variants: Mapping[str, Callable[[], object]], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Seconds of each variant in each round, after one round that is not counted."""
    for call in variants.values():
        call()
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(rounds):
        for name, call in variants.items():
            taken[name].append(seconds(call))
    return taken


def ratio(slow: Sequence[float], fast: Sequence[float]) -> float:
    """Median over rounds of slow / fast."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def show(title: str, rows: Sequence[Row]) -> None:
    print(f"{title}: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, median of at least {ROUNDS} rounds")
    for what, unit, value, remark in rows:
        print(f"  {what:58s} {value:9.3g} {unit:9s} ({remark})", flush=True)
