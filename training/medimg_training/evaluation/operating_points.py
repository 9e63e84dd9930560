"""Thresholds for a wanted sensitivity or specificity: chosen on some patients, measured on others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from MedImgClassifierLib.engine.errors import Refusal

from .intervals import Floats, Interval
from .predictions import Predictions
from .proportions import Share

Wanted = Literal["sensitivity", "specificity"]


@dataclass(frozen=True)
class Measured:
    """A share on the patients that had no part in the choice. interval None: see note."""

    value: float | None
    interval: Interval | None
    note: str = ""


@dataclass(frozen=True)
class OperatingPoint:
    """The class is called where its probability is at least the threshold.

    wanted, target: what was asked for; chosen: what the threshold has on the `chosen_on` groups it was chosen on;
    sensitivity, specificity: what it has on the others, `measured_on` groups.
    """

    label: str
    wanted: Wanted
    target: float
    threshold: float
    chosen: float
    chosen_on: int
    measured_on: int
    sensitivity: Measured
    specificity: Measured

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def threshold_for(predictions: Predictions, label: str, wanted: Wanted, target: float) -> float:
    """The threshold that has at least the target on these rows and gives away least of the other of the two.

    For a sensitivity: the highest probability that still calls that share of the class's images. For a specificity:
    the lowest that spares that share of the others, just above the highest of those it spares.
    Raises ValueError for a target outside 0..1, Refusal DATA_COMPARISON where no such image is there.
    """
    if not 0 < target <= 1:
        raise ValueError(f"a {wanted} of {target} cannot be had")
    c = predictions.classes.index(label)
    side = (predictions.labels == c) == (wanted == "sensitivity")
    scores = np.sort(predictions.probabilities[side, c])
    if not len(scores):
        raise Refusal("DATA_COMPARISON", reason=f"no image to choose a threshold for the {wanted} of '{label}' on")
    needed = int(np.ceil(target * len(scores) - 1e-9))
    if wanted == "sensitivity":
        return float(scores[len(scores) - needed])
    return float(np.nextafter(scores[needed - 1], np.inf))


def operating_point(
    choose: Predictions, measure: Predictions, label: str, targets: Mapping[Wanted, float]
) -> tuple[OperatingPoint, ...]:
    """The points for the targets, chosen on the rows `choose` (role calibrate) and measured on the rows `measure`.

    Raises Refusal DATA_COMPARISON where a group is in both, or their classes differ.
    """
    both = set(choose.groups) & set(measure.groups)
    if both:
        raise Refusal("DATA_COMPARISON", reason=f"a threshold was chosen on group '{min(both)}' it is measured on")
    if choose.classes != measure.classes:
        raise Refusal("DATA_COMPARISON", reason="their classes differ")
    c, found = choose.classes.index(label), []
    for wanted, target in targets.items():
        threshold = threshold_for(choose, label, wanted, target)
        chosen = _shares(choose, c, threshold)[wanted].value
        shares = {name: _measured(share) for name, share in _shares(measure, c, threshold).items()}
        sizes = len(set(choose.groups)), len(set(measure.groups))
        point = (label, wanted, target, threshold, chosen, *sizes, shares["sensitivity"], shares["specificity"])
        found.append(OperatingPoint(*point))
    return tuple(found)


def _shares(predictions: Predictions, c: int, threshold: float) -> dict[str, Share]:
    called: Floats = predictions.probabilities[:, c]
    positive, groups = predictions.labels == c, predictions.group_index
    return {
        "sensitivity": Share(positive, called >= threshold, groups),
        "specificity": Share(~positive, called < threshold, groups),
    }


def _measured(share: Share) -> Measured:
    if not share.counted.any():
        return Measured(None, None, "no such image")
    interval = share.interval()
    return Measured(share.value, None, interval) if isinstance(interval, str) else Measured(share.value, interval)
