"""Do some numbers alone tell the classes apart? A cross-validated classifier against permuted labels.

Statistic: the largest one-vs-rest AUC over the classes, of pooled out-of-fold scores of five folds by group. The
classifier is logistic regression on the standardised numbers and on their fifths, which finds what rises, falls or has
an optimum; it misses what only a combination of numbers shows. Null: the same, refitted on labels permuted among
groups (Ojala & Garriga 2010, J Mach Learn Res 11:1833), with the largest taken each time, so several classes are no
more chances.

It is said to matter from AUC 0.70 on and at p <= 0.005: under 0.70 a shortcut ranks fewer than 7 in 10 pairs rightly,
and what a network gains by it is small beside what it learns of the content; 0.005 keeps the false alarms of all
checks of one run together under about 2 %.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from .cells import Cells

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
MATTERS, ALPHA = 0.70, 0.005
FEWEST_GROUPS = 10  # of a class: two in each of the five held-out parts
MOST_CELLS = 600  # more add time and nothing: the AUC is known to +-0.05 then
FOLDS = 5


@dataclass(frozen=True)
class Separability:
    """auc: the largest one-vs-rest AUC, of class `best`; by_class: of each. p: None where it was not asked, because
    the AUC is too small to matter, and a bound ('at least') where the permutations were ended early. cells: used."""

    auc: float
    best: int
    by_class: dict[int, float]
    p: float | None
    permutations: int
    null_mean: float | None
    cells: int

    @property
    def matters(self) -> bool:
        return self.p is not None and self.p <= ALPHA


def large_enough(cells: Cells, classes: Sequence[str]) -> tuple[list[int], str]:
    """The classes with enough groups, and the others in words ('' for none): '3 groups of class B'."""
    counts = cells.groups_per_class(classes)
    kept = [number for number, name in enumerate(classes) if counts[name] >= FEWEST_GROUPS]
    few = [f"{count} groups of class {name}" for name, count in counts.items() if count < FEWEST_GROUPS]
    return kept, ", ".join(few)


def separability(
    features: Floats, cells: Cells, classes: Sequence[int], *, permutations: int, seed: int, progress: str = ""
) -> Separability:
    """How well features [n, d] of rows tell these classes apart. progress: title of a bar, '' for none.

    Permutations end at the first that is as large as the statistic: p <= 0.005 cannot be reached any more (Besag &
    Clifford 1991, Biometrika 78:301).
    """
    random = np.random.default_rng(seed)
    cells = _sampled(cells.only(np.isin(cells.labels, classes)), random)
    basis = _basis(cells.means(features))
    by_class = _out_of_fold_auc(basis, cells, cells.labels, seed)
    best = max(by_class, key=lambda number: by_class[number])
    found = {"auc": by_class[best], "best": best, "by_class": by_class, "cells": len(cells)}
    if by_class[best] < MATTERS:
        return Separability(**found, p=None, permutations=0, null_mean=None)  # type: ignore[arg-type]
    null: list[float] = []
    for k in tqdm(range(permutations), progress, disable=not progress, unit="permutation"):
        null.append(max(_out_of_fold_auc(basis, cells, cells.permuted(random), seed + k + 1).values()))
        if null[-1] >= by_class[best]:
            break
    p = (1 + (null[-1] >= by_class[best])) / (1 + len(null))
    return Separability(**found, p=p, permutations=len(null), null_mean=float(np.mean(null)))  # type: ignore[arg-type]


def _sampled(cells: Cells, random: np.random.Generator) -> Cells:
    """At most MOST_CELLS cells, equally many of each class as far as they go; whole groups stay possible, as the folds
    are by group."""
    if len(cells) <= MOST_CELLS:
        return cells
    share = MOST_CELLS // len(np.unique(cells.labels))
    kept = np.zeros(len(cells), bool)
    for label in np.unique(cells.labels):
        members = np.flatnonzero(cells.labels == label)
        kept[random.permutation(members)[:share]] = True
    return cells.only(kept)


def _basis(features: Floats) -> Floats:
    """[m, e] standardised features, and in which fifth of its own values each lies. It looks at no label, so it may be
    made once for all folds."""
    features = features[:, features.std(axis=0) > 1e-9 * (1 + np.abs(features).max(axis=0))]
    standard = np.clip((features - features.mean(axis=0)) / features.std(axis=0), -4, 4)
    parts = [standard]
    for column in features.T:
        edges = np.unique(np.quantile(column, (0.2, 0.4, 0.6, 0.8)))
        parts.append(np.eye(len(edges) + 1)[np.searchsorted(edges, column)])
    return np.concatenate(parts, axis=1)


def _out_of_fold_auc(basis: Floats, cells: Cells, labels: Indices, seed: int) -> dict[int, float]:
    """class -> one-vs-rest AUC of pooled out-of-fold scores; 0.5 for all where nothing varies."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    classes = np.unique(labels)
    if not basis.shape[1]:
        return {int(label): 0.5 for label in classes}
    scores = np.zeros((len(labels), len(classes)))
    part = _parts(cells.groups, labels, seed)
    for fold in range(FOLDS):
        held = part == fold
        model = LogisticRegression(max_iter=300)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(basis[~held], labels[~held])
        scores[np.ix_(held, np.searchsorted(classes, model.classes_))] = model.predict_proba(basis[held])
    return {int(c): float(roc_auc_score(labels == c, scores[:, n])) for n, c in enumerate(classes)}


def _parts(groups: Indices, labels: Indices, seed: int) -> Indices:
    """[m] held-out part 0..4 of each cell: groups stay whole, and are dealt out in turn by their first label."""
    random = np.random.default_rng(seed)
    names, first, where = np.unique(groups, return_index=True, return_inverse=True)
    order = np.lexsort((random.random(len(names)), labels[first]))
    part = np.empty(len(names), np.int64)
    part[order] = np.arange(len(names)) % FOLDS
    return np.asarray(part[where])
