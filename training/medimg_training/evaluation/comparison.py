"""Is one model better than another? Paired over the patients that both answered, corrected for how often one asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from MedImgClassifierLib.engine.errors import Refusal

from .answers import RANKS, Answers
from .intervals import FEWEST_GROUPS, Floats, Interval, bootstrap_interval, bootstrap_p, too_few
from .predictions import Predictions
from .ranking import smaller_side

_OF_PROBABILITIES = (*RANKS, "Brier", "log loss")


@dataclass(frozen=True)
class Comparison:
    """The second model's figure less the first's. p: two-sided, of 'no difference'; p_holm: within a family of
    comparisons, None where it was made alone. Interval and p None: see note."""

    name: str
    label: str
    first: float
    second: float
    difference: float
    interval: Interval | None
    p: float | None
    note: str = ""
    p_holm: float | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def compare(first: Predictions, second: Predictions, name: str, label: str = "") -> Comparison:
    """Difference of a figure (any name of `Answers`; label: the class of a figure of one class) of two models on the
    same images, from resamples of groups that weigh both alike (paired cluster bootstrap), 95 % interval and p.

    Raises Refusal DATA_COMPARISON where images, groups, labels or classes differ, and for a figure that is undefined.
    """
    _same_images(first, second)
    one, other = Answers(first), Answers(second)
    c = first.classes.index(label) if label else None
    values = [float(_column(answers.values(name), c).mean()) for answers in (one, other)]
    if not np.isfinite(values).all():
        raise Refusal("DATA_COMPARISON", reason=f"{name} {label} is undefined for one of them")
    made = Comparison(name, label, values[0], values[1], values[1] - values[0], None, None)
    fewest = _fewest(one, name, c)
    note, degrees = too_few(fewest), float(fewest - 1)
    if not name.endswith(_OF_PROBABILITIES):
        differing = _groups_called_differently(first, second)
        degrees = max(1.0, min(degrees, 2 * differing))
        if differing < FEWEST_GROUPS:
            note = note or f"no interval: the models call images of only {differing} groups differently"
    if note:
        return replace(made, note=note)
    differences = _column(other.replicates(name), c) - _column(one.replicates(name), c)
    interval = bootstrap_interval(differences, one.group_count, degrees)
    if isinstance(interval, str):
        return replace(made, note=interval)
    return replace(made, interval=interval, p=bootstrap_p(differences[np.isfinite(differences)], degrees))


def holm(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """The same comparisons as one family, each with the p that keeps the chance of any false finding among them at its
    level (Holm 1979, Scand J Stat 6:65). Those without a p have no part in it."""
    with_p = [n for n, own in enumerate(comparisons) if own.p is not None]
    out, highest = list(comparisons), 0.0
    for rank, n in enumerate(sorted(with_p, key=lambda n: comparisons[n].p or 0.0)):
        highest = max(highest, min(1.0, (len(with_p) - rank) * (comparisons[n].p or 0.0)))
        out[n] = replace(comparisons[n], p_holm=highest)
    return tuple(out)


def _same_images(first: Predictions, second: Predictions) -> None:
    if first.classes != second.classes:
        raise Refusal("DATA_COMPARISON", reason="their classes differ")
    known, others = (
        dict(zip(own.images, zip(own.groups, own.labels.tolist(), strict=True), strict=True)) for own in (first, second)
    )
    alone = known.keys() ^ others.keys()
    if alone:
        name, number = min(alone)
        reason = f"{len(alone)} images are only in one of them, such as slice {number} of sample '{name}'"
        raise Refusal("DATA_COMPARISON", reason=reason)
    changed = [image for image in known if known[image] != others[image]]
    if changed:
        reason = f"sample '{changed[0][0]}' has another group or label ({len(changed)} images)"
        raise Refusal("DATA_COMPARISON", reason=reason)


def _groups_called_differently(first: Predictions, second: Predictions) -> int:
    """Groups of which any image is called otherwise by any seed of either model."""
    called: dict[tuple[str, int], set[int]] = {}
    for own in (first, second):
        for image, call in zip(own.images, own.called, strict=True):
            called.setdefault(image, set()).add(int(call))
    return len({group for image, group in zip(first.images, first.groups, strict=True) if len(called[image]) > 1})


def _fewest(answers: Answers, name: str, c: int | None) -> int:
    """Groups that the figure rests on: all, those of a class, or those of the rarest class."""
    if name in ("accuracy", "Brier", "log loss", "mean absolute error"):
        return answers.group_count
    if c is None:
        return int(answers.class_groups[answers.class_groups > 0].min())
    positive = answers.predictions.labels == c
    if name == "specificity":
        positive = ~positive
    if name.endswith(RANKS):
        return smaller_side(positive, answers.groups)
    return len(np.unique(answers.groups[positive]))


def _column(values: Floats, c: int | None) -> Floats:
    return values if c is None else values[..., c]
