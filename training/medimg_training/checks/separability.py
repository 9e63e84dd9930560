"""Do some numbers alone tell the classes apart? A cross-validated linear classifier against permuted labels.

Statistic: the largest one-vs-rest AUC over the classes, of pooled out-of-fold scores of five folds by group. The
classifier is ridge regression of each class on the standardised numbers and on their fifths, which finds what rises,
falls or has an optimum; it misses what only a combination of numbers shows. Null: the same with labels permuted among
groups (Ojala & Garriga 2010, J Mach Learn Res 11:1833), with the largest AUC taken each time, so that several classes
are no more chances. Folds and hence the regression's matrix know no label: all permutations are solved at once.

It is said to matter from AUC 0.70 on and at p <= 0.001: under 0.70 a shortcut ranks fewer than 7 in 10 pairs rightly,
and what a network gains by it is small beside what it learns of the content; 0.001 for each of the four tests of
a run makes a clean set fire about once in 250, and what leaks in earnest is far beyond it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cells import Cells

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
MATTERS, ALPHA = 0.70, 0.001
FEWEST_GROUPS = 10  # of a class: two in each of the five held-out parts
MOST_CELLS = 600  # more add time and nothing: the AUC is known to +-0.05 then
FOLDS = 5
_PENALTY = 30.0
_AT_ONCE = 250  # permutations


@dataclass(frozen=True)
class Separability:
    """auc: the largest one-vs-rest AUC, of class `best`; by_class: of each. p, null_mean: None where they were not
    asked, because the AUC is too small to matter. cells: how many units it is of."""

    auc: float
    best: int
    by_class: dict[int, float]
    p: float | None
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
    features: Floats, cells: Cells, classes: Sequence[int], *, permutations: int, seed: int
) -> Separability:
    """How well features [n, d] of the rows of some cells tell these classes apart."""
    random = np.random.default_rng(seed)
    cells = _sampled(cells.only(np.isin(cells.labels, classes)), random)
    basis, part = _basis(cells.means(features)), _parts(cells.groups, random)
    (auc,) = _out_of_fold_auc(basis, part, cells.labels[None], classes)
    best = int(auc.argmax())
    by_class = {number: float(value) for number, value in zip(classes, auc, strict=True)}
    p = null_mean = None
    if auc[best] >= MATTERS:
        null: list[float] = []
        for at in range(0, permutations, _AT_ONCE):
            drawn = np.stack([cells.permuted(random) for _ in range(min(_AT_ONCE, permutations - at))])
            null += _out_of_fold_auc(basis, part, drawn, classes).max(axis=1).tolist()
        p = float((1 + (np.array(null) >= auc[best]).sum()) / (1 + len(null)))
        null_mean = float(np.mean(null))
    return Separability(float(auc[best]), classes[best], by_class, p, null_mean, len(cells))


def _sampled(cells: Cells, random: np.random.Generator) -> Cells:
    """At most MOST_CELLS cells, equally many of each class as far as they go; whole groups stay possible, as the folds
    are by group."""
    if len(cells) <= MOST_CELLS:
        return cells
    share = max(FEWEST_GROUPS, MOST_CELLS // len(np.unique(cells.labels)))
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


def _out_of_fold_auc(basis: Floats, part: Indices, labels: Indices, classes: Sequence[int]) -> Floats:
    """[k, L] one-vs-rest AUC of pooled out-of-fold scores, for each of k labellings [k, m] of the same units."""
    from sklearn.linear_model import Ridge

    count, units = labels.shape
    targets = (labels[:, None, :] == np.asarray(classes)[:, None]).reshape(-1, units)  # [k L, m]
    scores = np.zeros((units, len(targets)))
    for fold in np.unique(part) if basis.shape[1] else ():
        held = part == fold
        model = Ridge(_PENALTY).fit(basis[~held], targets[:, ~held].T.astype(np.float64))
        # without the intercept, which is the share of a class among the others: low where the held-out part has many
        scores[held] = (basis[held] - basis[~held].mean(axis=0)) @ model.coef_.T
    return _auc(scores, targets.T).reshape(count, len(classes))


def _auc(scores: Floats, positive: NDArray[np.bool_]) -> Floats:
    """[t] area under the ROC curve of scores [m, t] for units that are positive [m, t], ties counting half."""
    from scipy.stats import rankdata

    ranks, count = rankdata(scores, axis=0), positive.sum(axis=0)
    above = (ranks * positive).sum(axis=0) - count * (count + 1) / 2
    return np.asarray(above / (count * (len(scores) - count)))


def _parts(groups: Indices, random: np.random.Generator) -> Indices:
    """[m] held-out part 0..4 of each cell, drawn by group and without a look at the labels."""
    names, where = np.unique(groups, return_inverse=True)
    return np.asarray((random.permutation(len(names)) % FOLDS)[where])
