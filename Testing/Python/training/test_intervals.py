"""Intervals against known truths: they hold the true value as often as they say, clustered or not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binomtest, norm, t

from medimg_training.evaluation.intervals import (
    Interval,
    bootstrap_interval,
    bootstrap_p,
    clopper_pearson,
    effective_number,
    exact_interval,
    exact_low,
    expanded_tail,
    freedom,
    intraclass_correlation,
    mean_interval,
    proportion_interval,
    too_few,
    wilson,
)
from medimg_training.evaluation.resampling import resamples


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


def test_exact_bounds_equal_scipys() -> None:
    for successes, n in ((81, 263), (15, 148), (1, 29), (28, 29)):
        expected = binomtest(successes, n).proportion_ci(0.95, "exact")
        assert clopper_pearson(successes, n) == pytest.approx((expected.low, expected.high))
        correct = np.arange(n) < successes
        found = exact_interval(correct, np.arange(n))
        assert isinstance(found, Interval)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=5e-3)  # at n - 1
    assert exact_low(29) == pytest.approx(binomtest(29, 29).proportion_ci(0.95, "exact").low)


def test_a_large_group_unlike_the_others_lowers_the_effective_number() -> None:
    """The correlation, estimated from all, does not see it; the spread of the totals does (Rao & Scott)."""
    sizes = np.array([100.0] + [5.0] * 40)
    successes = np.array([50.0] + [4.5] * 40)
    p, n = successes.sum() / sizes.sum(), sizes.sum()
    variance = 41 / 40 * ((successes - p * sizes) ** 2).sum() / n**2
    m, icc = (sizes**2).sum() / n, intraclass_correlation(successes, sizes)
    assert p * (1 - p) / variance < n / (1 + (m - 1) * icc)
    assert effective_number(successes, sizes) == pytest.approx(p * (1 - p) / variance)


def test_a_perfect_proportion_is_bounded_by_its_groups_not_its_images() -> None:
    correct, index = np.ones(2000, bool), np.repeat(np.arange(20), 100)
    interval = proportion_interval(correct, index)
    assert isinstance(interval, Interval)
    assert interval.high == 1.0
    assert interval.low == pytest.approx(0.025 ** (1 / 20))
    wrong = proportion_interval(~correct, index)
    assert isinstance(wrong, Interval)
    assert wrong.low == 0.0
    assert wrong.high == pytest.approx(1 - interval.low)


@pytest.mark.parametrize("groups", [1, 2, 9])
def test_under_ten_groups_there_is_no_interval(groups: int) -> None:
    index = np.arange(900) % groups
    correct = np.arange(900) % 7 > 0
    assert proportion_interval(correct, index) == f"no interval: {groups} groups"
    assert too_few(groups) == f"no interval: {groups} groups"
    assert isinstance(proportion_interval(np.arange(900) % 7 > 0, np.arange(900) % 10), Interval)


def test_the_cluster_bootstrap_covers_where_one_of_images_would_not() -> None:
    random = np.random.default_rng(3)
    covered = by_image = 0
    draws = {k: np.concatenate(list(resamples(k, 200))) for k in (40, 320)}
    for _ in range(300):
        index = np.repeat(np.arange(40), 8)
        values = random.normal(0, 1, 40)[index] + random.normal(0, 0.5, 320)
        for k, sums in ((40, values.reshape(40, 8).mean(1)), (320, values)):
            interval = bootstrap_interval(draws[k] @ sums / k, k, k - 1)
            assert isinstance(interval, Interval)
            covered, by_image = covered + (k == 40) * inside(interval), by_image + (k == 320) * inside(interval)
    assert 0.92 <= covered / 300 <= 0.98
    assert by_image / 300 < 0.7


def inside(interval: Interval) -> bool:
    return interval.low <= 0 <= interval.high


def test_fewer_degrees_of_freedom_move_the_percentiles_outwards() -> None:
    assert expanded_tail(1e9) == pytest.approx(0.025, rel=1e-4)
    assert expanded_tail(9) == pytest.approx(norm.cdf(-np.sqrt(10 / 9) * 2.2622), rel=1e-3)  # Hesterberg 2015, 10 units
    values = np.random.default_rng(8).normal(size=5000)
    widths = []
    for degrees in (3, 9, 30, 1000):
        interval = bootstrap_interval(values, 50, degrees)
        assert isinstance(interval, Interval)
        widths.append(interval.high - interval.low)
    assert widths == sorted(widths, reverse=True) and widths[0] > 1.5 * widths[-1]


def test_few_groups_that_contribute_most_leave_few_degrees_of_freedom() -> None:
    assert freedom(np.ones(30)) == pytest.approx(60)
    assert freedom(np.r_[np.ones(3), np.full(300, 1e-9)]) == pytest.approx(6)
    assert freedom(np.zeros(30)) == np.inf


def test_a_bootstrap_without_spread_says_so_or_takes_the_bound() -> None:
    perfect = bootstrap_interval(np.ones(100), 30, 29, low_at_most=0.8)
    assert isinstance(perfect, Interval)
    assert (perfect.low, perfect.high) == (0.8, 1.0) and "perfect" in perfect.method
    none = bootstrap_interval(np.zeros(100), 30, 29, high_at_least=0.1)
    assert isinstance(none, Interval) and (none.low, none.high) == (0.0, 0.1)
    assert bootstrap_interval(np.full(100, 0.4), 30, 29) == "no interval: the same value in all resamples"
    undefined = np.where(np.arange(100) < 11, np.nan, np.arange(100.0))
    assert bootstrap_interval(undefined, 30, 29) == "no interval: undefined in more than a tenth of the resamples"
    assert isinstance(bootstrap_interval(undefined[2:], 30, 29), Interval)


def test_p_is_below_a_twentieth_exactly_where_the_interval_leaves_zero_out() -> None:
    random = np.random.default_rng(9)
    seen = set()
    for shift in np.linspace(1.5, 3.5, 41):
        differences = random.normal(shift, 1, 1000)
        interval, p = bootstrap_interval(differences, 25, 24), bootstrap_p(differences, 24)
        assert isinstance(interval, Interval)
        if not 0.045 < p < 0.055:  # the 1 that is added, and interpolation of the quantile
            assert (p < 0.05) == (interval.low > 0)
            seen.add(p < 0.05)
        assert bootstrap_p(-differences, 24) == pytest.approx(p)
    assert seen == {True, False}
    assert bootstrap_p(random.normal(0, 1, 1000), 24) > 0.9
    assert 0 < bootstrap_p(np.ones(1000), 24) < 0.01


def test_resamples_repeat_themselves_and_draw_as_many_groups() -> None:
    first, second = (np.concatenate(list(resamples(30, 120))) for _ in range(2))
    assert np.array_equal(first, second) and first.shape == (120, 30)
    assert (first.sum(axis=1) == 30).all()
    assert first.var() == pytest.approx(1, abs=0.1)  # Poisson-like: with replacement
    assert not np.array_equal(first, np.concatenate(list(resamples(30, 120, seed=1))))


def test_a_mean_of_shares_is_covered_where_most_of_them_are_perfect() -> None:
    random = np.random.default_rng(7)
    shares, covered, by_wilson = np.array((0.99,) * 6 + (0.93,)), 0, 0
    for _ in range(200):
        correct = random.random((7, 30)) < shares[:, None]
        values = [float(own.mean()) for own in correct]
        for method in (exact_interval, proportion_interval):
            intervals = [own for own in (method(row, np.arange(30)) for row in correct) if isinstance(own, Interval)]
            found = mean_interval(values, intervals, np.eye(7))
            held = found.low <= shares.mean() <= found.high
            covered, by_wilson = (
                covered + (method is exact_interval) * held,
                by_wilson + (method is not exact_interval) * held,
            )
    assert 0.93 <= covered / 200 <= 0.98
    assert by_wilson / 200 < 0.93


def test_shares_whose_errors_go_together_have_a_wider_mean() -> None:
    intervals = [Interval(0.7, 0.9, ""), Interval(0.7, 0.9, "")]
    alone, together = (mean_interval([0.8, 0.8], intervals, own) for own in (np.eye(2), np.ones((2, 2))))
    assert (together.low, together.high) == pytest.approx((0.7, 0.9))
    assert (alone.low, alone.high) == pytest.approx((0.8 - 0.1 / 2**0.5, 0.8 + 0.1 / 2**0.5))
    perfect = [Interval(0.8, 1.0, "")] * 2
    assert mean_interval([1.0, 1.0], perfect, np.ones((2, 2))).high == 1.0


def test_groups_that_are_all_alike_do_not_count_as_knowledge_of_the_others() -> None:
    """The same correlation and share of errors, but in fewer groups: wider."""
    few = np.repeat(np.arange(40), 10)
    correct = np.ones(400, np.bool_)
    correct[[0, 1, 2, 10, 11, 12]] = False
    spread = np.ones(400, np.bool_)
    spread[[0, 10, 20, 30, 40, 50]] = False
    one, other = proportion_interval(correct, few), proportion_interval(spread, few)
    assert isinstance(one, Interval) and isinstance(other, Interval)
    assert one.low < other.low
    sizes, right = np.full(40, 10.0), np.bincount(few, weights=correct)
    n = effective_number(right, sizes) * (t.ppf(0.975, 399) / t.ppf(0.975, 4)) ** 2  # two groups with an error
    assert (one.low, one.high) == pytest.approx(wilson(correct.mean() * n, n))
