"""Shares of correct answers, and what is made of several: their mean, and predictive values at a prevalence."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .answers import Answers
from .intervals import Floats, Indices, Interval, exact_interval, mean_interval, proportion_interval


@dataclass(frozen=True)
class Share:
    """A share of images: which are counted, and which of these are right; [n] each. groups [n]."""

    counted: NDArray[np.bool_]
    right: NDArray[np.bool_]
    groups: Indices

    @property
    def value(self) -> float:
        return float(self.right[self.counted].mean()) if self.counted.any() else float("nan")

    def interval(self) -> Interval | str:
        if not self.counted.any():
            return "no such image"
        return proportion_interval(self.right[self.counted], self.groups[self.counted])

    def influence(self) -> Floats:
        """[k] by how much each group departs from the share."""
        departs = np.where(self.counted, self.right - self.value, 0.0)
        return np.asarray(np.bincount(self.groups, departs), np.float64)


def share_of(answers: Answers, figure: str, c: int) -> Share:
    """figure: 'recall', 'specificity' or 'precision' of class c."""
    is_class, is_called = answers.predictions.labels == c, answers.predictions.called == c
    if figure == "specificity":
        return Share(~is_class, ~is_called, answers.groups)
    return Share(is_class if figure == "recall" else is_called, is_class & is_called, answers.groups)


def balanced_interval(answers: Answers) -> Interval | str:
    """Interval of the mean recall of the classes that have images, from those of the recalls."""
    shares = [share_of(answers, "recall", int(c)) for c in np.flatnonzero(answers.class_groups)]
    intervals = [exact_interval(share.right[share.counted], share.groups[share.counted]) for share in shares]
    without = [own for own in intervals if isinstance(own, str)]
    if without:
        return without[0]
    known = [own for own in intervals if isinstance(own, Interval)]
    return mean_interval(
        [share.value for share in shares], known, _correlation([share.influence() for share in shares])
    )


@dataclass(frozen=True)
class PredictiveValue:
    name: str
    value: float
    interval: Interval | str
    seeds: Floats


def predictive_values(answers: Answers, c: int, prevalence: float) -> Iterator[PredictiveValue]:
    """PPV and NPV of calling class c where that share of all images is of the class (Bayes' theorem).

    logit PPV = log(sensitivity) - log(1 - specificity) + logit(prevalence) (Mercaldo, Lau & Zhou 2007, Stat Med
    26:2170); its interval comes from those of the two shares and their correlation over groups (MOVER: Zou & Donner
    2008, Statistics in Medicine 27:1693).
    """
    if not 0 < prevalence < 1:
        raise ValueError(f"a prevalence of {prevalence} is none")
    hit, spared = (share_of(answers, figure, c) for figure in ("recall", "specificity"))
    missed, raised = (Share(own.counted, ~own.right, own.groups) for own in (hit, spared))
    odds = prevalence / (1 - prevalence)
    sensitivity, specificity = (answers.values(name)[:, c] for name in ("recall", "specificity"))
    with np.errstate(invalid="ignore", divide="ignore"):
        ppv = 1 / (1 + (1 - specificity) / (sensitivity * odds))
        npv = 1 / (1 + (1 - sensitivity) / (specificity / odds))
    for name, per_seed, over, under, factor in (
        ("PPV", ppv, hit, raised, odds),
        ("NPV", npv, spared, missed, 1 / odds),
    ):
        interval = _ratio_interval(over, under, factor)
        value = float(per_seed.mean())
        yield PredictiveValue(f"{name} at prevalence {prevalence:g}", value, interval, per_seed)


def _ratio_interval(over: Share, under: Share, factor: float) -> Interval | str:
    """Interval of r / (1 + r) with r = factor * over / under."""
    intervals = [own.interval() for own in (over, under)]
    without = [own for own in intervals if isinstance(own, str)]
    if without:
        return without[0]
    top, bottom = (own for own in intervals if isinstance(own, Interval))
    correlation = _correlation([over.influence(), under.influence()])[0, 1]
    low = _log_ratio(over.value, top.low, under.value, bottom.high, correlation)
    high = -_log_ratio(under.value, bottom.low, over.value, top.high, correlation)
    low_value, high_value = (float(1 / (1 + np.exp(-(side + np.log(factor))))) for side in (low, high))
    return Interval(low_value, high_value, "MOVER of sensitivity and specificity")


def _log_ratio(over: float, low: float, under: float, high: float, correlation: float) -> float:
    """Lower bound of log(over / under); its limits where one of them is 0."""
    if over == 0:
        return -np.inf
    if under == 0:
        return float(np.log(over / high))
    down, up = np.log(over / low), np.log(high / under)
    reach = np.sqrt(max(down**2 + up**2 - 2 * correlation * down * up, 0.0))
    return float(np.log(over / under) - reach)


def _correlation(influences: Sequence[Floats]) -> Floats:
    """[m, m] of the errors of estimates, from each group's contribution to them; 0 where one does not vary."""
    stacked = np.stack(influences)
    products = stacked @ stacked.T
    scale = np.sqrt(np.diag(products))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.where(np.outer(scale, scale) > 0, products / np.outer(scale, scale), 0.0)
    np.fill_diagonal(found, 1.0)
    return found
