"""Curves as points to draw: ROC, precision and recall, and what a decision at each threshold is worth.

Each is of one class against the rest and of the scores of all folds as if of one model; calibration stands in
`calibration.reliability`. Of several seeds take one (`Predictions.by_seed`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_curve, roc_curve

from .intervals import Floats
from .predictions import Predictions

DECISION_THRESHOLDS = tuple(k / 100 for k in range(1, 100))


@dataclass(frozen=True)
class RocCurve:
    """Sensitivity and false positive rate of calling the class from each threshold on; threshold None: nothing is."""

    label: str
    false_positive_rate: tuple[float, ...]
    sensitivity: tuple[float, ...]
    thresholds: tuple[float | None, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class PrCurve:
    """Precision and recall of calling the class from each threshold on. The last point, recall 0, has none."""

    label: str
    recall: tuple[float, ...]
    precision: tuple[float, ...]
    thresholds: tuple[float | None, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class DecisionCurve:
    """Net benefit by threshold probability of acting on the model, and of acting on everybody; on nobody it is 0."""

    label: str
    thresholds: tuple[float, ...]
    model: tuple[float, ...]
    everybody: tuple[float, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def roc(predictions: Predictions, label: str) -> RocCurve:
    """Corners only. Raises ValueError where one side has no image, or there are several seeds."""
    rates = roc_curve(*_binary(predictions, label))
    return RocCurve(label, _listed(rates[0]), _listed(rates[1]), _finite(rates[2]))


def precision_recall(predictions: Predictions, label: str) -> PrCurve:
    """Raises ValueError where one side has no image, or there are several seeds."""
    positive, scores = _binary(predictions, label)
    precision, recall, thresholds = precision_recall_curve(positive, scores, drop_intermediate=True)
    return PrCurve(label, _listed(recall), _listed(precision), (*_listed(thresholds), None))


def decision(predictions: Predictions, label: str) -> DecisionCurve:
    """Net benefit: true positives less false positives, which count t / (1 - t), per image (Vickers & Elkin 2006, Med
    Decis Making 26:565). It takes probabilities at their word: uncalibrated ones are worth less than they could be.
    Raises ValueError where one side has no image, or there are several seeds."""
    positive, scores = _binary(predictions, label)
    thresholds = np.array(DECISION_THRESHOLDS)
    acted = scores >= thresholds[:, None]
    odds, share = thresholds / (1 - thresholds), float(positive.mean())
    model = (acted & positive).mean(axis=1) - (acted & ~positive).mean(axis=1) * odds
    everybody = share - (1 - share) * odds
    return DecisionCurve(label, DECISION_THRESHOLDS, _listed(model), _listed(everybody))


def _binary(predictions: Predictions, label: str) -> tuple[NDArray[np.bool_], Floats]:
    c = predictions.classes.index(label)
    positive = predictions.labels == c
    if len(np.unique(predictions.seeds)) > 1:
        raise ValueError("a curve is of one seed")
    if not 0 < positive.sum() < len(positive):
        raise ValueError(f"a curve of '{label}' needs images of the class and of others")
    return positive, predictions.probabilities[:, c]


def _listed(values: Floats) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def _finite(values: Floats) -> tuple[float | None, ...]:
    return tuple(float(value) if np.isfinite(value) else None for value in values)
