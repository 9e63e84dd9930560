"""Intervals against known truths: they hold the true value as often as they say, clustered or not."""

from __future__ import annotations

import numpy as np
import pytest

from medimg_training.evaluation.intervals import (
    Interval,
    bootstrap_interval,
    effective_number,
    intraclass_correlation,
    low_of_mean,
    proportion_interval,
    wilson,
)


def clustered(
    random: np.random.Generator, p: float, correlation: float, groups: int, images: int
) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes of a beta-binomial with that mean and intraclass correlation, and the group of each; sizes differ."""
    sizes = random.geometric(1 / images, groups)
    rates = random.beta(p * (1 / correlation - 1), (1 - p) * (1 / correlation - 1), groups)
    index = np.repeat(np.arange(groups), sizes)
    return random.random(len(index)) < rates[index], index


def test_wilson_equals_published_values() -> None:
    # Newcombe 1998, Stat Med 17:857, table I, method 3
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(29, 29) == pytest.approx((0.8830, 1.0), abs=5e-5)


@pytest.mark.parametrize(
    ("p", "correlation", "groups", "images"), [(0.9, 0.3, 40, 10), (0.7, 0.6, 30, 8), (0.8, 0.15, 60, 8)]
)
def test_clustered_proportions_are_covered_where_plain_wilson_fails(
    p: float, correlation: float, groups: int, images: int
) -> None:
    random = np.random.default_rng(0)
    covered = naive = 0
    repetitions = 600
    for _ in range(repetitions):
        correct, index = clustered(random, p, correlation, groups, images)
        interval = proportion_interval(correct, index)
        assert isinstance(interval, Interval)
        covered += interval.low <= p <= interval.high
        low, high = wilson(correct.sum(), len(correct))
        naive += low <= p <= high
    assert covered / repetitions >= 0.93
    assert naive / repetitions < 0.90
    assert covered / repetitions <= 0.99  # and not by being endlessly wide


def test_independent_images_are_covered_without_loss() -> None:
    random = np.random.default_rng(1)
    covered, ratio = 0, []
    for _ in range(400):
        correct = random.random(150) < 0.85
        interval = proportion_interval(correct, np.arange(150))
        assert isinstance(interval, Interval)
        covered += interval.low <= 0.85 <= interval.high
        low, high = wilson(correct.sum(), 150)
        ratio.append((interval.high - interval.low) / (high - low))
    assert 0.93 <= covered / 400 <= 0.975
    assert np.mean(ratio) == pytest.approx(1, abs=0.01)


def test_the_correlation_within_groups_is_estimated() -> None:
    random = np.random.default_rng(2)
    found = []
    for _ in range(100):
        correct, index = clustered(random, 0.7, 0.4, 60, 10)
        sizes = np.bincount(index).astype(float)
        found.append(intraclass_correlation(np.bincount(index, weights=correct), sizes))
    assert np.mean(found) == pytest.approx(0.4, abs=0.04)


def test_the_effective_number_lies_between_groups_and_images() -> None:
    sizes = np.full(20, 5.0)
    same = np.array([5.0, 0.0] * 10)  # groups all right or all wrong
    assert effective_number(same, sizes) == pytest.approx(20, rel=0.06)
    assert effective_number(np.full(20, 5.0), sizes) == pytest.approx(20)  # perfect: the worst is assumed
    single = np.array([1.0, 0.0, 1.0, 1.0] * 5)
    assert effective_number(single, np.ones(20)) == pytest.approx(20, rel=0.06)


def test_a_perfect_proportion_is_bounded_by_its_groups_not_its_images() -> None:
    correct, index = np.ones(2000, bool), np.repeat(np.arange(20), 100)
    interval = proportion_interval(correct, index)
    assert isinstance(interval, Interval)
    assert interval.high == 1.0
    assert interval.low == pytest.approx(wilson(20, 20)[0], abs=0.02)
    wrong = proportion_interval(~correct, index)
    assert isinstance(wrong, Interval)
    assert wrong.low == 0.0
    assert wrong.high == pytest.approx(1 - interval.low)


@pytest.mark.parametrize("groups", [1, 2, 9])
def test_under_ten_groups_there_is_no_interval(groups: int) -> None:
    index = np.arange(900) % groups
    correct = np.arange(900) % 7 > 0
    assert proportion_interval(correct, index) == f"no interval: {groups} groups"
    assert bootstrap_interval(lambda w: 0.5, index, low_at_most=0.0) == f"no interval: {groups} groups"
    assert isinstance(proportion_interval(np.arange(900) % 7 > 0, np.arange(900) % 10), Interval)


def test_the_cluster_bootstrap_covers_where_one_of_images_would_not() -> None:
    random = np.random.default_rng(3)
    covered = by_image = 0
    for seed in range(150):
        index = np.repeat(np.arange(40), 8)
        values = random.normal(0, 1, 40)[index] + random.normal(0, 0.5, 320)

        def mean(weights: np.ndarray, values: np.ndarray = values) -> float:
            return float(np.average(values, weights=weights))

        for groups in (index, np.arange(320)):
            interval = bootstrap_interval(mean, groups, low_at_most=1.0, replicates=200, seed=seed)
            assert isinstance(interval, Interval)
            if groups is index:
                covered += interval.low <= 0 <= interval.high
            else:
                by_image += interval.low <= 0 <= interval.high
    assert covered / 150 >= 0.89  # percentile intervals of 40 groups are known to be a little short
    assert by_image / 150 < 0.7


def test_a_bootstrap_without_spread_says_so_or_takes_the_bound() -> None:
    index = np.arange(30)
    perfect = bootstrap_interval(lambda w: 1.0, index, low_at_most=0.8)
    assert isinstance(perfect, Interval)
    assert (perfect.low, perfect.high) == (0.8, 1.0)
    assert isinstance(bootstrap_interval(lambda w: 0.4, index, low_at_most=0.8), str)
    assert isinstance(bootstrap_interval(lambda w: float("nan"), index, low_at_most=0.8), str)


def test_the_bootstrap_repeats_itself() -> None:
    values = np.random.default_rng(4).random(50)
    calls = [bootstrap_interval(lambda w: float(w @ values / w.sum()), np.arange(50), low_at_most=0) for _ in range(2)]
    assert calls[0] == calls[1]


def test_a_mean_over_classes_is_covered_where_most_of_them_are_perfect() -> None:
    """The bootstrap alone is too sure there: classes without an error add no spread."""
    random = np.random.default_rng(7)
    shares, covered, covered_without = (0.99,) * 6 + (0.93,), 0, 0
    classes = np.repeat(np.arange(7), 40)
    for seed in range(120):
        correct = random.random(len(classes)) < np.array(shares)[classes]
        values = [float(correct[classes == c].mean()) for c in range(7)]
        intervals = [proportion_interval(correct[classes == c], np.arange(40)) for c in range(7)]
        low = low_of_mean(values, [i.low for i in intervals if isinstance(i, Interval)])

        def mean(weights: np.ndarray, correct: np.ndarray = correct) -> float:
            return float(np.mean([np.average(correct[classes == c], weights=weights[classes == c]) for c in range(7)]))

        for bound in (low, 1.0):
            found = bootstrap_interval(mean, np.arange(280), low_at_most=bound, replicates=60, seed=seed)
            inside = isinstance(found, Interval) and found.low <= np.mean(shares) <= found.high
            covered, covered_without = covered + inside * (bound == low), covered_without + inside * (bound != low)
    assert covered >= 0.92 * 120 > covered_without


def test_one_error_never_raises_the_lower_bound_of_a_perfect_result() -> None:
    correct = np.ones(200, np.bool_)
    index = np.arange(200)
    perfect = bootstrap_interval(lambda w: 1.0, index, low_at_most=0.9)
    correct[0] = False
    nearly = bootstrap_interval(lambda w: float(w @ correct / w.sum()), index, low_at_most=0.9)
    assert isinstance(perfect, Interval) and isinstance(nearly, Interval)
    assert nearly.low <= perfect.low and "Wilson" in nearly.method
