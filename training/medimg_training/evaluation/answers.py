"""Predictions prepared so that a figure can be computed for many resamples of groups at once.

A figure of several seeds is the mean of the figures of the seeds. A resample weighs a group alike in all of them, so
that the spread over resamples is that of the mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
from scipy.sparse import csr_array

from .intervals import Floats, Indices
from .predictions import Predictions
from .ranking import Auc, Ranking
from .resampling import resamples
from .tables import table_figures

Named = dict[str, Floats]
LOWEST = float(np.finfo(np.float64).eps)
RANKS = ("AUC", "PR-AUC")


class Answers:
    """values(name) [S] or [S, L]: a figure for each seed. replicates(name) [R] or [R, L]: its mean over the seeds in
    each resample. Names are those of `table_figures`, 'Brier', 'log loss', and AUC and PR-AUC, each also as 'macro'
    (mean of the classes), 'pooled' and 'macro pooled' (scores of all folds as if of one model)."""

    def __init__(self, predictions: Predictions) -> None:
        self.predictions = predictions
        self.groups = predictions.group_index
        self.group_count = int(self.groups.max()) + 1
        self.folds = len(np.unique(predictions.folds))
        self._seeds = [_Seed(own, self.group_count) for own in predictions.by_seed()]
        self._known: dict[str, Named] = {}
        self._resampled: dict[str, Named] = {}

    def values(self, name: str) -> Floats:
        return self._values(_kind(name))[name]

    def replicates(self, name: str) -> Floats:
        return self._replicates(_kind(name))[name]

    @cached_property
    def table(self) -> Indices:
        """[L, L] images of each class (rows) that were called each class; of several seeds, all answers."""
        count = len(self.predictions.classes)
        both = self.predictions.labels * count + self.predictions.called
        return np.bincount(both, minlength=count**2).reshape(count, count)

    @cached_property
    def class_groups(self) -> Indices:
        """[L] groups with images of each class."""
        labels = self.predictions.labels
        counts = [len(np.unique(self.groups[labels == c])) for c in range(len(self.predictions.classes))]
        return np.array(counts, np.int64)

    def erring(self, label: int | None) -> int:
        """Groups with an image that is called wrongly; of a class: wrongly called it, or missed."""
        labels, called = self.predictions.labels, self.predictions.called
        wrong = labels != called
        if label is not None:
            wrong &= (labels == label) | (called == label)
        return len(np.unique(self.groups[wrong]))

    def out_of_order(self, label: int, *, pooled: bool) -> int:
        """Groups with images of the class, or groups with others, that are ranked wrongly; whichever are fewer."""
        found = [pair for seed in self._seeds for pair in seed.out_of_order(label, pooled)]
        return min(len(set[int]().union(*(pair[side] for pair in found))) for side in (0, 1))

    @property
    def one_score_a_group(self) -> bool:
        """Whether every group has one image, which each seed answered once."""
        return self.group_count * len(self._seeds) == len(self.groups)

    def auc(self, label: int, *, pooled: bool) -> Auc:
        """AUC of a class against the rest, by fold or pooled, with the groups' contributions to its error."""
        name = "pooled AUC" if pooled else "AUC"
        influence = np.mean([seed.influence(label, pooled) for seed in self._seeds], axis=0)
        return Auc(float(self.values(name)[:, label].mean()), influence)

    def _values(self, kind: str) -> Named:
        if kind not in self._known:
            measured = self._measure(kind, np.ones((1, self.group_count)))
            self._known[kind] = {name: own[:, 0] for name, own in measured.items()}
        return self._known[kind]

    def _replicates(self, kind: str) -> Named:
        if kind not in self._resampled:
            blocks = [self._measure(kind, weights) for weights in resamples(self.group_count)]
            means = {name: [own[name].mean(axis=0) for own in blocks] for name in blocks[0]}
            self._resampled[kind] = {name: np.concatenate(own) for name, own in means.items()}
        return self._resampled[kind]

    def _measure(self, kind: str, weights: Floats) -> Named:
        """[S, r] or [S, r, L] of each name."""
        each = [getattr(seed, kind)(weights) for seed in self._seeds]
        return {name: np.stack([own[name] for own in each]) for name in each[0]}


class _Seed:
    """The answers of one seed: figures for weights [r, k] of the k groups."""

    def __init__(self, own: Predictions, group_count: int) -> None:
        self.own, self.groups, self.count = own, own.group_index, len(own.classes)
        self.shape = (group_count, self.count**2)
        self.fold_rows = [np.flatnonzero(own.folds == fold) for fold in np.unique(own.folds)]

    def table(self, weights: Floats) -> Named:
        cells = (self._by_group.T @ weights.T).T
        return table_figures(cells.reshape(-1, self.count, self.count))

    def losses(self, weights: Floats) -> Named:
        """Brier score (two classes: of one of them) and log loss, where no probability counts as less than 2.2e-16."""
        brier, log_loss, n = (weights @ own for own in self._sums)
        return {"Brier": brier / n, "log loss": log_loss / n}

    def ranks(self, weights: Floats) -> Named:
        kinds = {"": self._rankings, **({"pooled ": self._pooled} if len(self.fold_rows) > 1 else {})}
        figures = {prefix + name: np.empty((len(weights), self.count)) for prefix in kinds for name in RANKS}
        for c in range(self.count):
            for prefix, rankings in kinds.items():
                each = [ranking.figures(weights) for ranking in rankings[c]]
                for k, name in enumerate(RANKS):
                    figures[prefix + name][:, c] = _mean_of_defined(np.stack([own[k] for own in each]))
        with_images = [c for c in range(self.count) if 0 < (self.own.labels == c).sum() < len(self.own)]
        macro = {f"macro {name}": _mean_of_defined(own[:, with_images].T) for name, own in figures.items()}
        return {**figures, **macro}

    def out_of_order(self, label: int, pooled: bool) -> list[tuple[set[int], set[int]]]:
        return [ranking.out_of_order() for ranking in (self._pooled if pooled else self._rankings)[label]]

    def influence(self, label: int, pooled: bool) -> Floats:
        """[2, k] what each group contributes to the error of the AUC."""
        parts = (self._pooled if pooled else self._rankings)[label]
        return np.asarray(sum(ranking.influence(self.shape[0]) for ranking in parts) / len(parts))

    @cached_property
    def _by_group(self) -> csr_array:
        cell = self.own.labels * self.count + self.own.called
        return csr_array((np.ones(len(cell)), (self.groups, cell)), shape=self.shape)

    @cached_property
    def _sums(self) -> tuple[Floats, Floats, Floats]:
        """Per group: Brier, log loss, images."""
        probabilities, labels = self.own.probabilities, self.own.labels
        brier = ((probabilities - np.eye(self.count)[labels]) ** 2).sum(axis=1) / (2 if self.count == 2 else 1)
        shifted = self.own.logits - self.own.logits.max(axis=1, keepdims=True)
        log_p = shifted[np.arange(len(labels)), labels] - np.log(np.exp(shifted).sum(axis=1))
        losses = (brier, -np.maximum(log_p, np.log(LOWEST)), np.ones(len(labels)))
        brier_sums, log_sums, images = (
            np.asarray(np.bincount(self.groups, own, self.shape[0]), np.float64) for own in losses
        )
        return brier_sums, log_sums, images

    @cached_property
    def _pooled(self) -> list[list[Ranking]]:
        return [list(self._ranked(c, [np.arange(len(self.own))])) for c in range(self.count)]

    @cached_property
    def _rankings(self) -> list[list[Ranking]]:
        return [list(self._ranked(c, self.fold_rows)) for c in range(self.count)]

    def _ranked(self, c: int, parts: list[Indices]) -> Iterator[Ranking]:
        """Only parts that have images of both sides count, but for a class without any."""
        probabilities, positive = self.own.probabilities[:, c], self.own.labels == c
        both = [rows for rows in parts if 0 < positive[rows].sum() < len(rows)] or parts[:1]
        for rows in both:
            yield Ranking(probabilities[rows], positive[rows], self.groups[rows])


def _kind(name: str) -> str:
    """Which figures are made together with this one."""
    return "ranks" if name.endswith(RANKS) else "losses" if name in ("Brier", "log loss") else "table"


def _mean_of_defined(values: Floats) -> Floats:
    """Mean over the first axis of what is defined, NaN of nothing."""
    defined = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(defined, values, 0).sum(axis=0) / defined.sum(axis=0))
