"""Which labels may be wrong? Images that the models, never fitted on them, call something else with confidence."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .intervals import Floats
from .predictions import Predictions


@dataclass(frozen=True)
class Disagreement:
    """An image to look at again. margin: probability of the suggested class less that of its label."""

    sample: str
    slice: int
    group: str
    label: str
    suggested: str
    probability_of_label: float
    probability_of_suggested: float
    margin: float


@dataclass(frozen=True)
class LabelNoise:
    """Confident disagreements, the widest margin first: candidates, not findings. A model's own errors are among them.

    thresholds [L]: mean probability of a class among the images that bear its label (None: there are none)
    joint [L][L]: images with label i (row) that are confidently of class j; share: of those, off the diagonal
    """

    classes: tuple[str, ...]
    thresholds: tuple[float | None, ...]
    joint: tuple[tuple[int, ...], ...]
    share: float | None
    candidates: tuple[Disagreement, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def label_noise(predictions: Predictions) -> LabelNoise:
    """The confident joint of confident learning (Northcutt, Jiang & Chuang 2021, J Artif Intell Res 70:1373): an image
    is confidently of the most probable of the classes whose probability reaches their threshold, if there is any.

    Needs out-of-fold predictions: a model believes the labels that it was fitted on. Of several seeds the mean
    probabilities count.
    """
    parts = predictions.by_seed()
    table, count = parts[0], len(predictions.classes)
    probabilities: Floats = np.mean([own.probabilities for own in parts], axis=0)
    labels = table.labels
    there = np.bincount(labels, minlength=count) > 0
    thresholds = np.array([probabilities[labels == c, c].mean() if there[c] else np.inf for c in range(count)])
    reaching = np.where(probabilities >= thresholds, probabilities, -1.0)
    confident = np.flatnonzero(reaching.max(axis=1) >= 0)
    suggested = reaching.argmax(axis=1)
    joint = np.bincount(labels[confident] * count + suggested[confident], minlength=count**2).reshape(count, count)
    candidates = [
        Disagreement(
            table.samples[n],
            table.slices[n],
            table.groups[n],
            table.classes[labels[n]],
            table.classes[suggested[n]],
            float(probabilities[n, labels[n]]),
            float(probabilities[n, suggested[n]]),
            float(probabilities[n, suggested[n]] - probabilities[n, labels[n]]),
        )
        for n in confident
        if suggested[n] != labels[n]
    ]
    return LabelNoise(
        predictions.classes,
        tuple(float(own) if np.isfinite(own) else None for own in thresholds),
        tuple(tuple(int(cell) for cell in row) for row in joint),
        float(1 - np.trace(joint) / joint.sum()) if joint.sum() else None,
        tuple(sorted(candidates, key=lambda own: (-own.margin, own.sample, own.slice))),
    )
