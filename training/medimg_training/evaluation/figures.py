"""Figures: what a classifier achieves, each with an interval or the reason why there is none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from .answers import RANKS, Answers
from .calibration import calibration_error
from .intervals import (
    FEW_ERRORS,
    FEWEST_GROUPS,
    Floats,
    Indices,
    Interval,
    bootstrap_interval,
    exact_low,
    proportion_interval,
    too_few,
)
from .predictions import Predictions
from .proportions import balanced_interval, predictive_values, share_of
from .ranking import Auc, delong_interval
from .tables import CLASS_FIGURES, FEWER_IS_BETTER, perfect_bounds

Task = Literal["binary", "multiclass", "ordinal"]
OVERALL = ("accuracy", "balanced accuracy", "macro specificity", "macro precision", "macro F1", "MCC")
ORDERED = ("mean absolute error", "quadratic-weighted kappa")


@dataclass(frozen=True)
class Figure:
    """One figure. label: class it belongs to, '' for all; value None and interval None: see note.

    seeds: its value for each seed, where there are several (value is their mean); null: what a perfectly calibrated
    model of this size would show, for the calibration error, which has no interval.
    """

    name: str
    label: str
    value: float | None
    interval: Interval | None
    note: str = ""
    seeds: tuple[float, ...] = ()
    null: Interval | None = None

    @property
    def spread(self) -> float | None:
        """Standard deviation over the seeds; None of one."""
        return float(np.std(self.seeds, ddof=1)) if len(self.seeds) > 1 else None


@dataclass(frozen=True)
class Figures:
    """All figures of one evaluation over n images of some groups, each answered `seeds` times.

    confusion[i][j]: images of class i that were called class j; of several seeds, answers.
    """

    classes: tuple[str, ...]
    n: int
    groups: int
    figures: tuple[Figure, ...]
    confusion: tuple[tuple[int, ...], ...]
    seeds: int = 1
    folds: int = 1

    def of(self, name: str, label: str = "") -> Figure:
        """Raises StopIteration for a figure that was not made."""
        return next(figure for figure in self.figures if (figure.name, figure.label) == (name, label))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def to_markdown(self) -> str:
        """Two tables: the figures with their 95 % intervals, and the confusion matrix."""
        models = f", {self.folds} folds" * (self.folds > 1) + f", mean of {self.seeds} seeds" * (self.seeds > 1)
        lines = [f"{self.n} images of {self.groups} groups{models}; 95 % intervals.", ""]
        lines += ["| figure | class | value | interval | how |", "|---|---|---|---|---|"]
        lines += [_row(figure) for figure in self.figures]
        lines += ["", "| true \\ called | " + " | ".join(self.classes) + " |", "|---" * (len(self.classes) + 1) + "|"]
        for name, row in zip(self.classes, self.confusion, strict=True):
            lines.append(f"| {name} | " + " | ".join(str(count) for count in row) + " |")
        return "\n".join(lines) + "\n"


def evaluate(
    logits: NDArray[np.floating[Any]], labels: Indices, groups: Sequence[str], classes: Sequence[str]
) -> Figures:
    """Figures of one model's logits [n, L] against labels [n] (indices into classes), images clustered by groups."""
    if not len(labels):
        raise ValueError("there is nothing to evaluate")
    return figures_of(Predictions.of(logits, labels, groups, classes))


def figures_of(
    predictions: Predictions, task: Task = "multiclass", prevalence: Mapping[str, float] | None = None
) -> Figures:
    """Every figure that these predictions allow.

    task: 'ordinal' adds the figures that take the classes as ordered. prevalence: class -> its share where the model
    is to be used, for predictive values. Of several seeds each figure is the mean, its interval that of the mean over
    patients: it holds what other patients would change, not what another seed would, which `spread` shows.
    """
    answers = Answers(predictions)
    maker, classes = _Maker(answers), predictions.classes
    pooled = tuple(f"pooled {name}" for name in RANKS) if answers.folds > 1 else ()
    ordered = ORDERED if task == "ordinal" else ()
    macro = (f"macro {name}" for name in (*RANKS, *pooled))
    figures = [maker.figure(name) for name in (*OVERALL, *ordered, *macro, "Brier", "log loss", "ECE")]
    for c, label in enumerate(classes):
        figures += [maker.figure(name, c) for name in (*CLASS_FIGURES, *RANKS, *pooled)]
        figures += maker.predictive_values(c, prevalence[label]) if prevalence and label in prevalence else []
    return Figures(
        classes=classes,
        n=len(predictions) // maker.seeds,
        groups=answers.group_count,
        figures=tuple(figures),
        confusion=tuple(tuple(int(count) for count in row) for row in answers.table),
        seeds=maker.seeds,
        folds=answers.folds,
    )


def figure_of(predictions: Predictions, name: str, label: str = "") -> Figure:
    """One of these figures alone. label: the class, of a figure of one class."""
    return _Maker(Answers(predictions)).figure(name, predictions.classes.index(label) if label else None)


def predictive_values_of(predictions: Predictions, label: str, prevalence: float) -> list[Figure]:
    """PPV and NPV alone."""
    return _Maker(Answers(predictions)).predictive_values(predictions.classes.index(label), prevalence)


class _Maker:
    """Puts value and interval of each figure together."""

    def __init__(self, answers: Answers) -> None:
        self.answers, self.classes = answers, answers.predictions.classes
        self.labels, self.groups = answers.predictions.labels, answers.groups
        self.present = np.flatnonzero(answers.class_groups)
        self.seeds = len(np.unique(answers.predictions.seeds))
        images = np.bincount(self.labels, minlength=len(self.classes)) / self.seeds
        self.bounds = perfect_bounds(images, answers.class_groups.astype(np.float64))

    def figure(self, name: str, c: int | None = None) -> Figure:
        """c: number of the class, of a figure of one class."""
        if name == "ECE":
            error = calibration_error(self.answers.predictions)
            note = "no interval: biased upwards; to be compared with that of a calibrated model"
            return Figure(name, "", error.value, None, note, self._seeds(np.array(error.seeds)), error.null)
        values = self.answers.values(name)
        values = values if c is None else values[:, c]
        defined = values[np.isfinite(values)]
        value = float(defined.mean()) if len(defined) else float("nan")
        label = "" if c is None else self.classes[c]
        interval = self._interval(name, c) if np.isfinite(value) else ""
        return _made(name, label, value, interval, self._seeds(values))

    def predictive_values(self, c: int, prevalence: float) -> list[Figure]:
        found = predictive_values(self.answers, c, prevalence)
        return [_made(own.name, self.classes[c], own.value, own.interval, self._seeds(own.seeds)) for own in found]

    def _interval(self, name: str, c: int | None) -> Interval | str:
        if name == "accuracy":
            return proportion_interval(self.answers.predictions.called == self.labels, self.groups)
        if name == "balanced accuracy":
            return self._rarest() or balanced_interval(self.answers)
        if name in ("Brier", "log loss"):
            k = self.answers.group_count
            return too_few(k) or bootstrap_interval(self.answers.replicates(name), k, k - 1)
        if name.endswith(RANKS):
            return self._rank_interval(name, c)
        # seeds differ in how many images they call a class: a mean of shares then, not one share
        if c is not None and (name in ("recall", "specificity") or (name == "precision" and self.seeds == 1)):
            return share_of(self.answers, name, c).interval()
        return self._bootstrap(name, c)

    def _rank_interval(self, name: str, c: int | None) -> Interval | str:
        pooled = "pooled" in name
        sides = {d: self._sides(d) for d in (range(len(self.classes)) if c is None else [c])}
        used = [d for d, own in sides.items() if min(own)]
        fewest = min(min(sides[d]) for d in used)
        if too_few(fewest):
            return too_few(fewest)
        low = np.inf
        if max(self.answers.out_of_order(d, pooled=pooled) for d in used) < FEW_ERRORS:
            lows = [self._perfect_pr_low(d, *sides[d]) if "PR" in name else exact_low(min(sides[d])) for d in used]
            low = 1 - float(np.linalg.norm(np.subtract(1, lows))) / len(lows)
        found = [self.answers.auc(d, pooled=pooled) for d in used]
        value, influence = np.mean([own.value for own in found]), np.mean([own.influence for own in found], axis=0)
        auc = Auc(float(value), influence)
        if "PR" not in name and self.answers.one_score_a_group:
            return delong_interval(auc, fewest, low)
        values = self.answers.replicates(name)
        degrees = min(fewest - 1, auc.degrees) if np.isfinite(auc.deviation) else fewest - 1
        values = values if c is None else values[:, c]
        return bootstrap_interval(values, self.answers.group_count, degrees, low_at_most=low)

    def _sides(self, c: int) -> tuple[int, int]:
        """Groups with images of the class, and groups with others."""
        positive = self.labels == c
        return len(np.unique(self.groups[positive])), len(np.unique(self.groups[~positive]))

    def _perfect_pr_low(self, c: int, groups: int, others: int) -> float:
        """PR-AUC that a perfect one cannot rule out: the worse of unseen images of the class below all others, and of
        unseen others above all of the class, each as many as the exact bound allows."""
        odds = float((self.labels != c).mean() / (self.labels == c).mean()) * (1 - exact_low(others))
        return min(exact_low(groups), 1 - odds * float(np.log1p(1 / odds)))

    def _bootstrap(self, name: str, c: int | None) -> Interval | str:
        if c is None and self._rarest():
            return self._rarest()
        fewest = int(self.answers.class_groups[self.present].min() if c is None else self.answers.class_groups[c])
        if too_few(fewest):
            return too_few(fewest)
        bounds, erring = {}, self.answers.erring(c)
        if erring < FEW_ERRORS:
            side = "high_at_least" if name in FEWER_IS_BETTER else "low_at_most"
            bounds = {side: float(np.take(self.bounds[name], c or 0))}
        values = self.answers.replicates(name)
        values, degrees = values if c is None else values[:, c], max(1, min(fewest - 1, 2 * erring))
        return bootstrap_interval(values, self.answers.group_count, degrees, **bounds)

    def _rarest(self) -> str:
        for c in self.present:
            groups = self.answers.class_groups[c]
            if groups < FEWEST_GROUPS:
                return f"no interval: {groups} groups of class {self.classes[c]}"
        return ""

    def _seeds(self, values: Floats) -> tuple[float, ...]:
        return tuple(float(value) for value in values) if self.seeds > 1 and np.isfinite(values).all() else ()


def _made(name: str, label: str, value: float, interval: Interval | str, seeds: tuple[float, ...]) -> Figure:
    if not np.isfinite(value):
        return Figure(name, label, None, None, "undefined: no image of the class or of others, or never called")
    if isinstance(interval, str):
        return Figure(name, label, value, None, interval, seeds)
    return Figure(name, label, value, interval, "", seeds)


def _row(figure: Figure) -> str:
    value = "-" if figure.value is None else f"{figure.value:.4f}"
    interval, how = figure.interval, figure.note
    span = "-" if interval is None else f"{interval.low:.4f} to {interval.high:.4f}"
    how = how if interval is None else interval.method
    if figure.null:
        how += f": {figure.null.low:.4f} to {figure.null.high:.4f} if calibrated"
    if figure.spread is not None:
        how += f"; seeds {', '.join(f'{own:.4f}' for own in figure.seeds)}, SD {figure.spread:.4f}"
    return f"| {figure.name} | {figure.label or 'all'} | {value} | {span} | {how} |"
