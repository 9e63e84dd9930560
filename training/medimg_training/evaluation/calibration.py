"""Do stated probabilities keep their word? Expected calibration error with its null band, and reliability curves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .intervals import LEVEL, TAIL, Floats, Indices, Interval, proportion_interval
from .predictions import Predictions

BINS = 10
SIMULATIONS = 1000
_BLOCK = 50


@dataclass(frozen=True)
class CalibrationError:
    """ECE (mean over the seeds), its values, and the band of a perfectly calibrated model of this size."""

    value: float
    seeds: tuple[float, ...]
    null: Interval


def calibration_error(predictions: Predictions) -> CalibrationError:
    """Expected calibration error of the called class: mean distance of confidence and share of correct answers over
    ten bins of equal width (Guo et al. 2017, ICML), and the band of what it would be were every probability true.

    An ECE is never 0 for finitely many images, so alone it says nothing. The band comes from answers that are drawn
    as right with the stated confidence (consistency resampling: Broecker & Smith 2007, Weather Forecast 22:651).
    Answers of a group resemble each other: each is drawn from a number of its own or from one its group shares, as
    often as makes the residuals of a group go together as they do in the data.
    """
    values, bands = [], []
    for seed, own in enumerate(predictions.by_seed()):
        confidence, correct = own.probabilities.max(axis=1), own.called == own.labels
        groups = own.group_index
        values.append(float(_ece(confidence, correct.astype(np.float64)[None])[0]))
        shared = shared_fraction(confidence, correct.astype(np.float64), groups)
        drawn = np.concatenate(list(_null(confidence, groups, shared, np.random.default_rng(seed))))
        bands.append(np.quantile(drawn, [TAIL, 1 - TAIL]))
    low, high = (float(side) for side in np.mean(bands, axis=0))
    method = f"{SIMULATIONS} simulations of a calibrated model, {LEVEL:.0%} of them"
    return CalibrationError(float(np.mean(values)), tuple(values), Interval(low, high, method))


def shared_fraction(confidence: Floats, correct: Floats, groups: Indices) -> float:
    """How often, 0..1, two answers of a group have to be drawn from the number that the group shares for their
    residuals to go together as they do here: squared, times the most they could (min(p, q) - p q), is what they do.
    Residuals are of the share that is right among answers of like confidence, so that a wrong calibration adds none.
    """
    bins = _bins(confidence)
    right = (np.bincount(bins, correct) / np.maximum(np.bincount(bins), 1))[bins]
    order = np.lexsort((right, groups))
    p, residual, g = right[order], (correct - right)[order], groups[order]
    sizes, sums = np.bincount(g), np.bincount(g, p)
    rank = np.arange(len(g)) - np.r_[0, np.cumsum(sizes)[:-1]][g]
    most = float((p * (sizes[g] - 1 - rank)).sum() - (sums**2 - np.bincount(g, p**2)).sum() / 2)
    seen = float((np.bincount(g, residual) ** 2 - np.bincount(g, residual**2)).sum() / 2)
    return float(np.sqrt(np.clip(seen / most, 0, 1))) if most > 1e-12 else 0.0


def _null(confidence: Floats, groups: Indices, shared: float, random: np.random.Generator) -> Iterator[Floats]:
    for _ in range(SIMULATIONS // _BLOCK):
        shape = (_BLOCK, len(confidence))
        drawn = random.random(shape)
        if shared:
            of_group = random.random((_BLOCK, int(groups.max()) + 1))[:, groups]
            drawn = np.where(random.random(shape) < shared, of_group, drawn)
        yield _ece(confidence, (drawn < confidence).astype(np.float64))


def _bins(confidence: Floats) -> Indices:
    """[n] number of the bin: (0, 0.1], (0.1, 0.2], ..."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def _ece(confidence: Floats, correct: Floats) -> Floats:
    """[r] of which answers were correct [r, n]."""
    member = (_bins(confidence)[:, None] == np.arange(BINS)).astype(np.float64)
    return np.asarray(np.abs((correct - confidence) @ member).sum(axis=1) / len(confidence))


@dataclass(frozen=True)
class ReliabilityBin:
    """Images whose stated probability lies in (low, high]. stated: their mean; observed: the share that came true."""

    low: float
    high: float
    images: int
    groups: int
    stated: float
    observed: float
    interval: Interval | None
    note: str = ""


@dataclass(frozen=True)
class Reliability:
    """Bins that hold images. label '': confidence of the called class against being right."""

    label: str
    bins: tuple[ReliabilityBin, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def reliability(predictions: Predictions, label: str = "") -> Reliability:
    """The reliability curve of a class's probability, or of the called class's; of several seeds, of all answers."""
    if label:
        c = predictions.classes.index(label)
        stated, true = predictions.probabilities[:, c], predictions.labels == c
    else:
        stated, true = predictions.probabilities.max(axis=1), predictions.called == predictions.labels
    groups, bins = predictions.group_index, _bins(stated)
    found = []
    for b in np.unique(bins):
        rows = bins == b
        interval = proportion_interval(true[rows], groups[rows])
        known, note = (interval, "") if isinstance(interval, Interval) else (None, interval)
        means = float(stated[rows].mean()), float(true[rows].mean())
        count = len(np.unique(groups[rows]))
        found.append(ReliabilityBin(b / BINS, (b + 1) / BINS, int(rows.sum()), count, *means, known, note))
    return Reliability(label, tuple(found))
