"""Would more patients help? An inverse power law through figures of models that were fitted on fewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .intervals import TAIL, Floats, Interval

FEWEST_SIZES = 4
LITTLE = 0.01
"""A gain below this is called little."""
_RATES = np.linspace(0.1, 2.0, 39)
_DRAWS = 500


@dataclass(frozen=True)
class LearningPoint:
    """groups: how many patients were fitted on; value: the figure, higher is better, at most 1; error: its standard
    error (over repeated draws of so many patients, or (high - low) / 3.92 of its interval)."""

    groups: int
    value: float
    error: float


@dataclass(frozen=True)
class LearningCurve:
    """value = ceiling - scale * groups^-rate. sizes, fitted, low, high: the curve to draw, from the smallest size to
    twice the largest, with its 95 % range. twice: what twice as many patients would give; gain: how much more
    that is than now. answer: what can be said of it. Fit and range None where nothing can be."""

    points: tuple[LearningPoint, ...]
    answer: str
    ceiling: float | None = None
    scale: float | None = None
    rate: float | None = None
    sizes: tuple[float, ...] = ()
    fitted: tuple[float, ...] = ()
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    twice: Interval | None = None
    gain: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def learning_curve(points: Sequence[LearningPoint]) -> LearningCurve:
    """Weighted fit (Figueroa et al. 2012, BMC Med Inform Decis Mak 12:8), and its range from 500 refits to values drawn
    around the given ones with their errors (parametric bootstrap). Nothing is said beyond twice the largest size:
    there the shape of the curve is a belief. Raises ValueError for an error that is not above 0 or a size below 1.
    """
    points = tuple(sorted(points, key=lambda point: point.groups))
    if any(not point.error > 0 or point.groups < 1 for point in points):
        raise ValueError("every point needs a size of at least 1 and an error above 0")
    sizes = np.array([point.groups for point in points], np.float64)
    if len(set(sizes)) < FEWEST_SIZES:
        return LearningCurve(points, f"cannot be said: {len(set(sizes))} sizes, {FEWEST_SIZES} are needed")
    values, errors = np.array([point.value for point in points]), np.array([point.error for point in points])
    noise = np.random.default_rng(0).normal(size=(_DRAWS, len(points)))
    fits = _fit(sizes, np.vstack([values, values + errors * noise]), errors)
    shown = np.geomspace(sizes[0], 2 * sizes[-1], 50)
    curves = _curve(fits, shown)
    low, high = np.quantile(curves[1:], [TAIL, 1 - TAIL], axis=0)
    gains = curves[:, -1] - _curve(fits, sizes[-1:])[:, 0]
    twice = Interval(float(low[-1]), float(high[-1]), f"{_DRAWS} refits, twice {sizes[-1]:.0f} patients")
    span = np.quantile(gains[1:], [TAIL, 1 - TAIL])
    gain = Interval(float(span[0]), float(span[1]), twice.method)
    ceiling, scale, rate = (float(own) for own in fits[0])
    drawn = [tuple(own.tolist()) for own in (shown, curves[0], low, high)]
    answer = _answer(float(gains[0]), gain, points[-1])
    return LearningCurve(points, answer, ceiling, scale, rate, drawn[0], drawn[1], drawn[2], drawn[3], twice, gain)


def _fit(sizes: Floats, values: Floats, errors: Floats) -> Floats:
    """[r, 3] ceiling, scale, rate for values [r, n]: for each rate the two others follow by weighted least squares,
    with scale >= 0 and ceiling <= 1; the rate that leaves least is taken."""
    weights = 1 / errors**2
    best, least = np.empty((len(values), 3)), np.full(len(values), np.inf)
    for rate in _RATES:
        x = sizes**-rate
        x_mean, y_mean = np.average(x, weights=weights), np.average(values, axis=1, weights=weights)
        scale = -((values - y_mean[:, None]) * (x - x_mean) * weights).sum(1) / ((x - x_mean) ** 2 * weights).sum()
        scale = np.maximum(scale, 0)
        ceiling = y_mean + scale * x_mean
        bound = np.maximum(((1 - values) * x * weights).sum(1) / (x**2 * weights).sum(), 0)  # where the ceiling is 1
        scale, ceiling = np.where(ceiling > 1, bound, scale), np.minimum(ceiling, 1)
        left = ((values - ceiling[:, None] + scale[:, None] * x) ** 2 * weights).sum(1)
        better = left < least
        best[better] = np.stack([ceiling, scale, np.full(len(values), rate)], axis=1)[better]
        least = np.minimum(least, left)
    return best


def _curve(fits: Floats, sizes: Floats) -> Floats:
    """[r, m]"""
    ceiling, scale, rate = (fits[:, k, None] for k in range(3))
    return np.asarray(ceiling - scale * sizes ** (-rate))


def _answer(best: float, gain: Interval, largest: LearningPoint) -> str:
    """One sentence. A gain is stated where its range is narrower than itself."""
    more = f"{2 * largest.groups} instead of {largest.groups} patients"
    span = f"{gain.low:+.3f} to {gain.high:+.3f}"
    if gain.high < LITTLE:
        return f"{more} would change little: {span}"
    if gain.high - gain.low < best:
        return f"{more} would give about {best:+.3f} ({span}), if the curve goes on as it went so far"
    return f"cannot be said: {more} would give anything from {span}"
