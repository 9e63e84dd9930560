"""Fitting a classical head on features of the fit role; its setting is chosen by cross-validation inside that role.

What is given is all that is used: scaler, PCA, support vectors, neighbours and the choice itself come from these rows,
so that no other row can leave a trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.heads import AnyHead

from .cache import Indices
from .evaluation.intervals import Floats
from .head_kinds import ClassWeights, HeadKind, Setting, fit_one

# The simpler setting first: of equally good ones the first is taken.
GRIDS: Mapping[HeadKind, Mapping[str, Sequence[Any]]] = {
    "logistic": {"C": (0.01, 0.1, 1.0, 10.0), "pca": (None, 32)},
    "linear_svm": {"C": (0.001, 0.01, 0.1, 1.0), "pca": (None, 32)},
    "rbf_svm": {"C": (1.0, 10.0, 100.0), "gamma": (0.1, 1.0, 10.0), "pca": (None,)},
    "nearest_neighbours": {
        "k": (31, 11, 3),
        "distance": ("euclidean", "cosine"),
        "temperature": (None,),
        "pca": (None, 32),
    },
    "boosting": {"trees": (50, 150), "leaves": (4, 16), "learning_rate": (0.1,)},
}
INNER_FOLDS = 5


@dataclass(frozen=True)
class FittedHead:
    """A head fitted on all rows given, with the setting that inner cross-validation chose.

    scores: each setting with its balanced accuracy over all held-out rows of the inner folds, in the grid's order; one
    setting alone needs no choice and has none. out_of_fold: [n, L] held-out scores of the chosen setting, on which a
    temperature can be fitted (a little too good, for the same rows chose the setting); None without a choice.
    """

    kind: HeadKind
    head: AnyHead
    setting: Setting
    scores: tuple[tuple[Setting, float], ...]
    folds: int
    class_weights: ClassWeights
    out_of_fold: Floats | None

    def to_json(self) -> dict[str, Any]:
        """What a bundle or a report records of the choice."""
        return {
            "kind": self.kind,
            "setting": dict(self.setting),
            "class_weights": self.class_weights,
            "inner_folds": self.folds,
            "tried": [{"setting": dict(s), "balanced_accuracy": round(score, 6)} for s, score in self.scores],
        }


def settings_of(kind: HeadKind, features: int) -> list[Setting]:
    """The grid of a kind for D features; PCA is left out where it could not make them fewer by half."""
    grid = GRIDS[kind]
    found = [dict(zip(grid, values, strict=True)) for values in product(*grid.values())]
    return [s for s in found if s.get("pca") is None or 2 * s["pca"] <= features]


def fit_head(
    kind: HeadKind,
    features: NDArray[np.float32],
    labels: Indices,
    groups: Sequence[str],
    classes: int,
    *,
    class_weights: ClassWeights = "none",
    choices: Sequence[Setting] | None = None,
) -> FittedHead:
    """Choose a setting by balanced accuracy over group-wise inner folds, then fit it on all rows.

    features [n, D], finite; labels [n] from 0 to classes - 1; groups [n], none of which is in two folds; choices:
    settings to try, settings_of(kind, D) if not given. The same rows give the same head.
    Raises Refusal(DATA_SPLIT): a class without a row, or no way to hold groups out that leaves every class to fit.
    ValueError: features that are not finite, no choices.
    """
    tried = settings_of(kind, features.shape[1]) if choices is None else list(choices)
    if not tried or not np.isfinite(features).all():
        raise ValueError("nothing to choose from" if not tried else "features that are not finite")
    missing = sorted(set(range(classes)) - set(labels.tolist()))
    if missing:
        raise Refusal("DATA_SPLIT", reason=f"no image to fit for class number {missing[0]}")
    if len(tried) == 1:
        head = fit_one(kind, features, labels, classes, tried[0], class_weights)
        return FittedHead(kind, head, tried[0], (), 0, class_weights, None)
    folds = inner_folds(labels, groups, classes)
    scores: list[float] = []
    best: Floats | None = None
    for setting in tried:
        held_out = np.zeros((len(labels), classes))
        for own, held in folds:
            head = fit_one(kind, features[own], labels[own], classes, setting, class_weights)
            held_out[held] = head.decide(features[held])
        scores.append(_balanced_accuracy(labels, held_out.argmax(axis=1), classes))
        if best is None or scores[-1] > max(scores[:-1]):
            best = held_out
    chosen = tried[int(np.argmax(scores))]
    head = fit_one(kind, features, labels, classes, chosen, class_weights)
    return FittedHead(kind, head, chosen, tuple(zip(tried, scores, strict=True)), len(folds), class_weights, best)


def inner_folds(labels: Indices, groups: Sequence[str], classes: int) -> list[tuple[Indices, Indices]]:
    """(rows to fit, rows held out) of at most INNER_FOLDS folds, by group, classes spread evenly; fewer folds where
    that leaves every class to fit in each. Raises Refusal(DATA_SPLIT) where not even two do."""
    from sklearn.model_selection import StratifiedGroupKFold

    of_class = [len({group for group, label in zip(groups, labels, strict=True) if label == c}) for c in range(classes)]
    for count in range(min(INNER_FOLDS, *of_class), 1, -1):
        by_group = StratifiedGroupKFold(count, shuffle=True, random_state=0)
        # a class may have fewer rows than folds only where groups of it are fewer, too: `count` has seen to that
        folds = list(by_group.split(labels, labels, groups))
        if all(len(np.unique(labels[own])) == classes and len(held) for own, held in folds):
            return folds
    reason = (
        f"class number {int(np.argmin(of_class))} has {min(of_class)} group(s) to fit: too few to hold some out "
        "and choose a setting on them"
    )
    raise Refusal("DATA_SPLIT", reason=reason)


def _balanced_accuracy(labels: Indices, called: NDArray[np.int64], classes: int) -> float:
    """Mean recall over all classes."""
    return float(np.mean([(called[labels == c] == c).mean() for c in range(classes)]))
