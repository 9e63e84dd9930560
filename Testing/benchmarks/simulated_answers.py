"""Simulations whose truth is known, for coverage_of_intervals.py: what an interval should hold, and the interval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import norm

from medimg_training.evaluation.calibration import calibration_error
from medimg_training.evaluation.comparison import compare
from medimg_training.evaluation.figures import figure_of, predictive_values_of
from medimg_training.evaluation.intervals import Interval, proportion_interval
from medimg_training.evaluation.predictions import Predictions

Random = np.random.Generator
Outcome = tuple[float, Interval | None]
"""What the interval should hold, and the interval."""


def _given(interval: Interval | str) -> Interval | None:
    return interval if isinstance(interval, Interval) else None


def clustered(random: Random, p: float, icc: float, groups: int, images: int, vary: bool) -> tuple[Any, Any]:
    """Outcomes of a beta-binomial with mean p and intraclass correlation; sizes geometric where they vary."""
    sizes = random.geometric(1 / images, groups) if vary and images > 1 else np.full(groups, images)
    rates = random.beta(p * (1 / icc - 1), (1 - p) * (1 / icc - 1), groups) if icc else np.full(groups, p)
    index = np.repeat(np.arange(groups), sizes)
    return random.random(len(index)) < rates[index], index


def accuracy(p: float, icc: float, groups: int, images: int, vary: bool = True) -> Callable[[Random], Outcome]:
    def run(random: Random) -> Outcome:
        correct, index = clustered(random, p, icc, groups, images, vary)
        return p, _given(proportion_interval(correct, index))

    return run


def scores(random: Random, distance: float, groups: int, images: int, shared: float, share: float = 0.5) -> Predictions:
    """Two classes; score ~ N(0 or distance, 1), of which a part `shared` of the variance belongs to the group.
    images: a group; share: of class b. Classes alternate within groups; with one image, among them."""
    index = np.repeat(np.arange(groups), images)
    labels = (random.random(len(index)) < share).astype(np.int64)
    own, common = random.normal(size=len(index)), random.normal(size=groups)[index]
    score = distance * labels + np.sqrt(shared) * common + np.sqrt(1 - shared) * own
    logits = np.stack([np.zeros_like(score), score - distance / 2], axis=1)
    return Predictions.of(logits, labels, [str(g) for g in index], ("a", "b"))


def figure(name: str, label: str, truth: float, make: Callable[[Random], Predictions]) -> Callable[[Random], Outcome]:
    return lambda random: (truth, figure_of(make(random), name, label).interval)


def auc(
    distance: float, groups: int, images: int, shared: float = 0.0, share: float = 0.5
) -> Callable[[Random], Outcome]:
    truth = float(norm.cdf(distance / np.sqrt(2)))
    if shared and images > 1:  # pairs of one group share its number; a sample of groups has few such pairs, but some
        within = (images - 1) / (groups * images - 1)
        truth = (1 - within) * truth + within * float(norm.cdf(distance / np.sqrt(2 * (1 - shared))))
    return figure("AUC", "b", truth, lambda random: scores(random, distance, groups, images, shared, share))


def recall(distance: float, groups: int, images: int, shared: float) -> Callable[[Random], Outcome]:
    truth = float(norm.cdf(distance / 2))
    return figure("recall", "b", truth, lambda random: scores(random, distance, groups, images, shared))


def balanced(
    distance: float, groups: int, images: int, shared: float, share: float = 0.5
) -> Callable[[Random], Outcome]:
    truth = float(norm.cdf(distance / 2))
    return figure(
        "balanced accuracy", "", truth, lambda random: scores(random, distance, groups, images, shared, share)
    )


def several_classes(shares: tuple[float, ...], groups: int, images: int, shared: float) -> Callable[[Random], Outcome]:
    """Recalls differ by class; a group's own number makes all its images easy or hard."""
    limits = norm.ppf(shares)

    def make(random: Random) -> Predictions:
        index = np.repeat(np.arange(groups), images)
        labels = np.arange(len(index)) % len(shares)
        ease = np.sqrt(shared) * random.normal(size=groups)[index] + np.sqrt(1 - shared) * random.normal(
            size=len(index)
        )
        called = np.where(ease < limits[labels], labels, (labels + 1) % len(shares))
        names = tuple(f"c{k}" for k in range(len(shares)))
        return Predictions.of(4.0 * np.eye(len(shares))[called], labels, [str(g) for g in index], names)

    return figure("balanced accuracy", "", float(np.mean(shares)), make)


def predictive(
    name: str, distance: float, groups: int, images: int, shared: float, prevalence: float
) -> Callable[[Random], Outcome]:
    p, odds = float(norm.cdf(distance / 2)), prevalence / (1 - prevalence)
    odds = odds if name == "PPV" else 1 / odds
    truth = p * odds / (p * odds + 1 - p)

    def run(random: Random) -> Outcome:
        ppv, npv = predictive_values_of(scores(random, distance, groups, images, shared), "b", prevalence)
        return truth, (ppv if name == "PPV" else npv).interval

    return run


def brier(groups: int, images: int, shared: float) -> Callable[[Random], Outcome]:
    z = np.linspace(-8, 8, 4001)
    truth = float(np.trapezoid(norm.pdf(z) / (1 + np.exp(0.75 - z)) ** 2, z))
    return figure("Brier", "", truth, lambda random: scores(random, 1.5, groups, images, shared))


def macro_f1(groups: int, images: int, shared: float) -> Callable[[Random], Outcome]:
    p, share = float(norm.cdf(1.0)), 0.3
    truth = float(np.mean([2 * own * p / (own + own * p + (1 - own) * (1 - p)) for own in (share, 1 - share)]))
    return figure("macro F1", "", truth, lambda random: scores(random, 2.0, groups, images, shared, share))


def paired(name: str, gain: float, groups: int, images: int, shared: float) -> Callable[[Random], Outcome]:
    """Two models whose scores go together by 0.7; the second is better by `gain`, or as good."""

    def run(random: Random) -> Outcome:
        first = scores(random, 1.5, groups, images, shared)
        noise = scores(random, 0.0, groups, images, shared)
        score = first.logits[:, 1] - 1.5 * first.labels + 0.75
        score = 0.7 * score + np.sqrt(1 - 0.49) * noise.logits[:, 1]
        score += (1.5 + gain) * (first.labels - 0.5)
        second = Predictions.of(np.stack([np.zeros_like(score), score], 1), first.labels, first.groups, ("a", "b"))
        scale = np.sqrt(2) if name == "AUC" else 2
        truth = float(norm.cdf((1.5 + gain) / scale) - norm.cdf(1.5 / scale))
        return truth, compare(first, second, name, "b" if name == "AUC" else "").interval

    return run


def null_band(groups: int, images: int, shared: float, classes: int = 3) -> Callable[[Random], Outcome]:
    """A perfectly calibrated model: does the band hold its ECE? A part `shared` of answers follow their group."""

    def run(random: Random) -> Outcome:
        index = np.repeat(np.arange(groups), images)
        logits = random.normal(0, 1.5, (len(index), classes))
        odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        order = np.argsort(-odds, axis=1)  # the called class first, so that a shared number makes all right or wrong
        drawn = np.where(random.random(len(index)) < shared, random.random(groups)[index], random.random(len(index)))
        place = (np.take_along_axis(odds, order, 1).cumsum(1)[:, :-1] < drawn[:, None]).sum(1)
        labels = np.take_along_axis(order, place[:, None], 1)[:, 0]
        error = calibration_error(Predictions.of(logits, labels, [str(g) for g in index], tuple("abc"[:classes])))
        return error.value, error.null

    return run


SETTINGS: dict[tuple[str, str], Callable[[Random], Outcome]] = {
    **{
        (
            "accuracy: Wilson, effective n",
            f"p {p}, ICC {icc}, {groups} groups of {'about ' * (images > 1)}{images}",
        ): accuracy(p, icc, groups, images)
        for p in (0.7, 0.9, 0.97)
        for icc, groups, images in (
            (0.0, 40, 1),
            (0.0, 200, 1),
            (0.1, 40, 10),
            (0.3, 20, 20),
            (0.3, 60, 10),
            (0.6, 30, 8),
            (0.3, 200, 5),
            (0.9, 40, 10),
        )
    },
    **{
        (
            "recall: Wilson, effective n",
            f"recall {norm.cdf(d / 2):.2f}, {groups} groups of {images}, shared {shared}",
        ): recall(d, groups, images, shared)
        for d in (1.0, 2.5)
        for groups, images, shared in ((60, 1, 0.0), (30, 10, 0.3), (100, 5, 0.5))
    },
    **{
        ("AUC: DeLong", f"AUC {norm.cdf(d / 2**0.5):.2f}, {groups} groups of 1, {share:.0%} positive"): auc(
            d, groups, 1, share=share
        )
        for d in (0.75, 1.5, 2.5)
        for groups, share in ((40, 0.5), (100, 0.2), (300, 0.1), (300, 0.05))
    },
    **{
        (
            "AUC: cluster bootstrap",
            f"AUC {norm.cdf(d / 2**0.5):.2f}, {groups} groups of {images}, shared {shared}",
        ): auc(d, groups, images, shared)
        for d in (0.75, 1.5, 2.5)
        for groups, images, shared in ((20, 10, 0.3), (40, 10, 0.5), (100, 4, 0.2))
    },
    **{
        (
            "balanced accuracy: MOVER",
            f"2 classes of {norm.cdf(d / 2):.2f}, {groups} groups of {images}, shared {shared}, {share:.0%}",
        ): balanced(d, groups, images, shared, share)
        for d in (1.0, 2.5)
        for groups, images, shared, share in ((60, 1, 0.0, 0.5), (30, 10, 0.3, 0.5), (100, 4, 0.5, 0.2))
    },
    **{
        (
            "balanced accuracy: MOVER",
            f"{len(shares)} classes, {groups} groups of {images}, shared {shared}, last {shares[-1]}",
        ): several_classes(shares, groups, images, shared)
        for shares in ((0.9, 0.8, 0.7), (0.99,) * 6 + (0.93,))
        for groups, images, shared in ((210, 1, 0.0), (40, 14, 0.3), (40, 14, 0.6))
    },
    **{
        ("Brier: cluster bootstrap", f"{groups} groups of {images}, shared {shared}"): brier(groups, images, shared)
        for groups, images, shared in ((40, 1, 0.0), (20, 10, 0.3), (100, 4, 0.5))
    },
    **{
        ("macro F1: cluster bootstrap", f"{groups} groups of {images}, shared {shared}"): macro_f1(
            groups, images, shared
        )
        for groups, images, shared in ((60, 1, 0.0), (30, 10, 0.3), (100, 4, 0.5))
    },
    **{
        (
            f"paired difference, {name}: cluster bootstrap",
            f"gain {gain}, {groups} groups of {images}, shared {shared}",
        ): paired(name, gain, groups, images, shared)
        for name in ("accuracy", "AUC")
        for gain in (0.0, 0.5)
        for groups, images, shared in ((60, 1, 0.0), (30, 8, 0.3), (100, 4, 0.5))
    },
    **{
        (
            f"{name} at prevalence: MOVER",
            f"sens. = spec. = {norm.cdf(d / 2):.2f}, {groups} groups of {images}, shared {shared}, {prevalence:.0%}",
        ): predictive(name, d, groups, images, shared, prevalence)
        for name, d in (("PPV", 1.5), ("PPV", 2.5), ("NPV", 2.5))
        for groups, images, shared, prevalence in ((100, 1, 0.0, 0.05), (40, 8, 0.3, 0.2))
    },
    **{
        ("ECE null band", f"{groups} groups of {images}, shared {shared}"): null_band(groups, images, shared)
        for groups, images, shared in ((100, 1, 0.0), (1000, 1, 0.0), (200, 5, 0.0), (200, 5, 0.5), (60, 10, 0.8))
    },
}
