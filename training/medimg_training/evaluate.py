"""Figures: what a classifier achieves, each with an interval or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    confusion_matrix,
    precision_recall_fscore_support,
    roc_auc_score,
)

from .intervals import (
    FEWEST_GROUPS,
    Floats,
    Indices,
    Interval,
    bootstrap_interval,
    low_of_mean,
    proportion_interval,
    wilson,
)


@dataclass(frozen=True)
class Figure:
    """One figure. label: class it belongs to, '' for all; value None and interval None: see note."""

    name: str
    label: str
    value: float | None
    interval: Interval | None
    note: str = ""


@dataclass(frozen=True)
class Figures:
    """All figures of one evaluation over n images of some groups.

    confusion[i][j]: images of class i that were called class j.
    """

    classes: tuple[str, ...]
    n: int
    groups: int
    figures: tuple[Figure, ...]
    confusion: tuple[tuple[int, ...], ...]

    def of(self, name: str, label: str = "") -> Figure:
        """Raises StopIteration for a figure that was not made."""
        return next(figure for figure in self.figures if (figure.name, figure.label) == (name, label))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def to_markdown(self) -> str:
        """Two tables: the figures with their 95 % intervals, and the confusion matrix."""
        lines = [f"{self.n} images of {self.groups} groups; 95 % intervals.", ""]
        lines += ["| figure | class | value | interval | how |", "|---|---|---|---|---|"]
        for figure in self.figures:
            value = "-" if figure.value is None else f"{figure.value:.4f}"
            interval = figure.interval
            span = "-" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"
            how = figure.note if interval is None else interval.method
            lines.append(f"| {figure.name} | {figure.label or 'all'} | {value} | {span} | {how} |")
        lines += ["", "| true \\ called | " + " | ".join(self.classes) + " |", "|---" * (len(self.classes) + 1) + "|"]
        for name, row in zip(self.classes, self.confusion, strict=True):
            lines.append(f"| {name} | " + " | ".join(str(count) for count in row) + " |")
        return "\n".join(lines) + "\n"


def evaluate(
    logits: NDArray[np.floating[Any]], labels: Indices, groups: Sequence[str], classes: Sequence[str]
) -> Figures:
    """Figures of logits [n, L] against labels [n] (indices into classes), images clustered by groups [n].

    Accuracy, recall and precision get Wilson intervals with a design effect; balanced accuracy, F1, AUC (one
    class against the rest) and macro averages a cluster bootstrap.
    """
    if not len(labels):
        raise ValueError("there is nothing to evaluate")
    index = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
    scores = _Scores(logits.astype(np.float64), labels, index, tuple(classes))
    matrix = confusion_matrix(labels, scores.called, labels=range(len(classes)))
    return Figures(
        classes=tuple(classes),
        n=len(labels),
        groups=int(index.max()) + 1,
        figures=tuple(scores.figures()),
        confusion=tuple(tuple(int(count) for count in row) for row in matrix),
    )


class _Scores:
    """The figures of one evaluation; names of arrays as in `evaluate`."""

    def __init__(self, logits: Floats, labels: Indices, groups: Indices, classes: tuple[str, ...]) -> None:
        exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
        self.probabilities = exponent / exponent.sum(axis=1, keepdims=True)
        self.called = logits.argmax(axis=1)
        self.labels, self.groups, self.classes = labels, groups, classes

    def figures(self) -> Iterator[Figure]:
        count = len(self.classes)
        correct = self.called == self.labels
        accuracy = accuracy_score(self.labels, self.called)
        yield _figure("accuracy", "", accuracy, proportion_interval(correct, self.groups))
        precision, recall, f1, support = precision_recall_fscore_support(
            self.labels, self.called, labels=range(count), zero_division=np.nan
        )
        f1 = np.where(support > 0, f1, np.nan)
        recalls = [self._proportion(correct, self.labels == c) for c in range(count)]
        precisions = [self._proportion(correct, self.called == c) for c in range(count)]
        perfect = [_low(self._proportion(np.ones_like(correct), self.labels == c)) for c in range(count)]
        aucs = [self._auc(c) for c in range(count)]
        called = np.nan_to_num(precision)  # a class that is never called has precision 0 in the average
        yield self._averaged("balanced accuracy", recall, 0, recall, [_low(bound) for bound in recalls])
        yield self._averaged("macro precision", called, 1, called, [_low(bound) for bound in precisions])
        yield self._averaged("macro F1", f1, 2, np.ones(count), perfect)
        yield _figure("macro AUC", "", _mean([auc.value for auc in aucs]), self._macro_auc(aucs))
        for c, name in enumerate(self.classes):
            yield _figure("recall", name, recall[c], recalls[c])
            yield _figure("precision", name, precision[c], precisions[c])
            yield _figure("F1", name, f1[c], self._f1_interval(c, perfect[c]))
            yield aucs[c]

    def _proportion(self, correct: NDArray[np.bool_], of: NDArray[np.bool_]) -> Interval | str:
        return proportion_interval(correct[of], self.groups[of]) if of.any() else "no such image"

    def _rates(self, weights: Floats) -> tuple[Floats, Floats, Floats]:
        """[L] recall, precision and F1 of weighted images; NaN where a class has no image."""
        count = len(self.classes)
        cells = np.bincount(self.labels * count + self.called, weights, count * count).reshape(count, count)
        hits, true, called = np.diag(cells), cells.sum(1), cells.sum(0)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(true > 0, np.where(called > 0, hits / called, 0), np.nan)
            return hits / true, precision, np.where(true > 0, 2 * hits / (true + called), np.nan)

    def _averaged(self, name: str, values: Floats, which: int, known: Floats, lows: list[float]) -> Figure:
        """A mean over the classes that occur, bootstrapped; no interval where one of them has too few groups.

        values [L]: of each class; known, lows [L]: figures of each class with lower bounds, from which the mean's
        lower bound follows (the classes' own, or those of a perfect result).
        """
        present = np.unique(self.labels)
        interval: Interval | str = self._too_few()
        if not interval:
            low = low_of_mean([float(known[c]) for c in present], [lows[c] for c in present])
            interval = bootstrap_interval(
                lambda weights: _mean(self._rates(weights)[which]), self.groups, low_at_most=low
            )
        return _figure(name, "", float(values[present].mean()), interval)

    def _too_few(self) -> str:
        for c in np.unique(self.labels):
            groups = len(np.unique(self.groups[self.labels == c]))
            if groups < FEWEST_GROUPS:
                return f"no interval: {groups} groups of class {self.classes[c]}"
        return ""

    def _f1_interval(self, c: int, perfect_low: float) -> Interval | str:
        groups = len(np.unique(self.groups[self.labels == c]))
        if groups < FEWEST_GROUPS:
            return f"no interval: {groups} groups"
        return bootstrap_interval(lambda w: float(self._rates(w)[2][c]), self.groups, low_at_most=perfect_low)

    def _auc(self, c: int) -> Figure:
        positive, k = self.labels == c, self._groups_on_the_smaller_side(c)
        if k == 0:
            return Figure("AUC", self.classes[c], None, None, "needs images of the class and of others")
        value = roc_auc_score(positive, self.probabilities[:, c])
        if k < FEWEST_GROUPS:
            return _figure("AUC", self.classes[c], value, f"no interval: {k} groups")
        statistic = _Auc(self.probabilities[:, c], positive)
        interval = bootstrap_interval(statistic, self.groups, low_at_most=self._perfect_auc_low(c))
        return _figure("AUC", self.classes[c], value, interval)

    def _perfect_auc_low(self, c: int) -> float:
        """Lower bound where no pair is out of order: k pairs of different groups are k trials that all succeeded."""
        k = self._groups_on_the_smaller_side(c)
        return wilson(k, k)[0]

    def _groups_on_the_smaller_side(self, c: int) -> int:
        """Groups with images of the class or groups with images of others, whichever are fewer."""
        positive = self.labels == c
        return min(len(np.unique(self.groups[side])) for side in (positive, ~positive))

    def _macro_auc(self, aucs: list[Figure]) -> Interval | str:
        used = [c for c, auc in enumerate(aucs) if auc.value is not None]
        without = [auc for auc in aucs if auc.value is not None and auc.interval is None]
        if not used or without:
            return without[0].note if without else "needs two classes"
        each = [_Auc(self.probabilities[:, c], self.labels == c) for c in used]
        low = low_of_mean([1.0] * len(used), [self._perfect_auc_low(c) for c in used])
        return bootstrap_interval(lambda weights: _mean([auc(weights) for auc in each]), self.groups, low_at_most=low)


class _Auc:
    """Area under the ROC curve of weighted images: sorted once, then linear. Ties count half."""

    def __init__(self, scores: Floats, positive: NDArray[np.bool_]) -> None:
        self.order = np.argsort(scores, kind="stable")
        ranked = scores[self.order]
        self.starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        self.positive = positive[self.order]

    def __call__(self, weights: Floats) -> float:
        ranked = weights[self.order]
        up = np.add.reduceat(np.where(self.positive, ranked, 0.0), self.starts)
        down = np.add.reduceat(np.where(self.positive, 0.0, ranked), self.starts)
        pairs = up.sum() * down.sum()
        return float((up * (np.cumsum(down) - down / 2)).sum() / pairs) if pairs else float("nan")


def _mean(values: Sequence[float | None] | Floats) -> float:
    """Mean of what is defined, NaN of nothing."""
    defined = [float(v) for v in values if v is not None and np.isfinite(v)]
    return sum(defined) / len(defined) if defined else float("nan")


def _low(bound: Interval | str) -> float:
    return bound.low if isinstance(bound, Interval) else 0.0


def _figure(name: str, label: str, value: float, interval: Interval | str) -> Figure:
    if not np.isfinite(value):
        return Figure(name, label, None, None, "undefined: no image of the class, or never called")
    if isinstance(interval, str):
        return Figure(name, label, float(value), None, interval)
    return Figure(name, label, float(value), interval)
