"""Resamples of groups: how often each group is drawn, in blocks that fit the processor's cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .intervals import Floats

RESAMPLES = 1000
_BLOCK = 50


def resamples(groups: int, count: int = RESAMPLES, seed: int = 0) -> Iterator[Floats]:
    """Blocks [b, groups] of how often each group was drawn when as many groups are drawn with replacement; `count`
    rows in all, always the same for the same arguments."""
    random = np.random.default_rng(seed)
    for start in range(0, count, _BLOCK):
        rows = min(_BLOCK, count - start)
        drawn = random.integers(0, groups, (rows, groups)) + groups * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * groups).reshape(rows, groups).astype(np.float64)
