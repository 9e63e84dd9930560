"""95 % intervals that stay right for few images, images of the same patient, and perfect results.

Images of one group (patient, cluster) resemble each other, so n images carry the information of fewer
independent ones. Under `FEWEST_GROUPS` groups no interval is given: none would keep its promise. How often each
method holds the truth is measured by Testing/benchmarks/coverage_of_intervals.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, norm, t

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
FEWEST_GROUPS = 10
FEW_ERRORS = 5
"""With errors in fewer groups than that a result is next to perfect, and its bound is not above a perfect one's."""
LEVEL = 0.95
TAIL = (1 - LEVEL) / 2


@dataclass(frozen=True)
class Interval:
    """low..high hold the true value in 95 % of repetitions. method: how it was made."""

    low: float
    high: float
    method: str


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Score interval of a proportion of n independent trials (Wilson 1927, J Am Stat Assoc 22:209). n may be
    an effective number, not whole."""
    z = float(norm.ppf(1 - TAIL))
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)))
    return (0.0 if successes <= 0 else centre - half), (1.0 if successes >= n else centre + half)


def clopper_pearson(successes: float, n: float) -> tuple[float, float]:
    """Exact interval of a proportion of n independent trials (Clopper & Pearson 1934, Biometrika 26:404). n may be an
    effective number; neither none nor all succeeded."""
    low = beta.ppf(TAIL, successes, n - successes + 1)
    return float(low), float(beta.ppf(1 - TAIL, successes + 1, n - successes))


def exact_low(k: int) -> float:
    """The lower one of these bounds where all of k trials succeeded."""
    return float(TAIL ** (1 / k)) if k else 0.0


def intraclass_correlation(successes: Floats, sizes: Floats) -> float:
    """ANOVA estimate for binary outcomes, in 0..1, from successes and images of each group (Donner 1986,
    Int Stat Rev 54:67; Ridout, Demetrio & Firth 1999, Biometrics 55:137)."""
    n, k = sizes.sum(), len(sizes)
    if n == k:
        return 0.0
    proportion = successes / sizes
    between = float((sizes * (proportion - successes.sum() / n) ** 2).sum() / (k - 1))
    within = float((sizes * proportion * (1 - proportion)).sum() / (n - k))
    typical = float((n - (sizes**2).sum() / n) / (k - 1))
    total = between + (typical - 1) * within
    return float(np.clip((between - within) / total, 0, 1)) if total > 0 else 1.0


def effective_number(successes: Floats, sizes: Floats) -> float:
    """How many independent images the groups are worth: the smaller of two estimates, each n / design effect.

    Design effect 1 + (m - 1) ICC with m = sum of squared sizes / n (Kish 1965, Survey Sampling), and that of the
    ratio of totals over groups (Rao & Scott 1992, Biometrics 48:577); either alone covers too rarely. Where all
    images agree the correlation cannot be seen, so the worst, 1, is taken.
    """
    n, k = float(sizes.sum()), len(sizes)
    m = float((sizes**2).sum()) / n
    by_correlation = n / (1 + (m - 1) * intraclass_correlation(successes, sizes))
    p = float(successes.sum()) / n
    variance = k / (k - 1) * float(((successes - p * sizes) ** 2).sum()) / n**2
    return min(by_correlation, p * (1 - p) / variance) if variance > 0 else by_correlation


def proportion_interval(correct: NDArray[np.bool_], groups: Indices) -> Interval | str:
    """Wilson interval of mean(correct) at the effective number; where all or none are correct the exact bound of one
    trial a group. Returns why not, where there is none."""
    return _interval_at_effective_number(correct, groups, wilson, "Wilson")


def exact_interval(correct: NDArray[np.bool_], groups: Indices) -> Interval | str:
    """The same with exact bounds (Clopper & Pearson 1934) instead of Wilson's: wider, and needed by `mean_interval`.
    In a mean the shares near 1 add up on one side, where Wilson's tail is too thin: with 2 to 10 classes of 0.97 to
    0.99 it holds the mean in 89 to 92 of 100 cases, with these bounds in 93 to 97."""
    return _interval_at_effective_number(correct, groups, clopper_pearson, "Clopper-Pearson")


def _interval_at_effective_number(
    correct: NDArray[np.bool_], groups: Indices, bounds: Callable[[float, float], tuple[float, float]], name: str
) -> Interval | str:
    """The effective number is lowered further for the few degrees of freedom of few groups (Korn & Graubard 1998,
    Survey Methodology 24:193). Groups that are all alike tell nothing of the spread within the others: degrees of
    freedom are at most twice the groups with an error (or, if fewer, with a success). Without this a share of 0.97 is
    held in only 89 of 100 cases by 20 groups of 20 with a correlation of 0.3; with it in 97.
    """
    sizes = np.bincount(groups)
    there = sizes > 0
    k = int(there.sum())
    if too_few(k):
        return too_few(k)
    p = float(np.mean(correct))
    if p in (0, 1):
        low = exact_low(k)
        return Interval(low if p else 0.0, 1.0 if p else 1 - low, f"exact bound, {k} groups all alike")
    counted = np.asarray(sizes[there], np.float64)
    successes = np.asarray(np.bincount(groups, weights=correct)[there], np.float64)
    n = effective_number(successes, counted)
    telling = min(int((successes < counted).sum()), int((successes > 0).sum()))
    degrees = min(k - 1, 2 * telling) if counted.sum() > k else k - 1
    n *= float(t.ppf(1 - TAIL, counted.sum() - 1) / t.ppf(1 - TAIL, degrees)) ** 2
    low, high = bounds(p * n, n)
    return Interval(low, high, f"{name}, effective n {n:.1f} of {int(counted.sum())}, {k} groups")


def mean_interval(values: Sequence[float], intervals: Sequence[Interval], correlation: Floats) -> Interval:
    """Interval of the mean of proportions from their own intervals, whose estimates have this correlation [L, L]
    (MOVER: Zou & Donner 2008, Statistics in Medicine 27:1693)."""
    down = np.subtract(values, [own.low for own in intervals])
    up = np.subtract([own.high for own in intervals], values)
    mean = float(np.mean(values))
    low, high = (float(np.sqrt(max(side @ correlation @ side, 0.0))) / len(values) for side in (down, up))
    return Interval(max(0.0, mean - low), min(1.0, mean + high), "MOVER of the classes' intervals")


def too_few(groups: int) -> str:
    """Why so few groups get no interval, '' for enough."""
    return f"no interval: {groups} groups" if groups < FEWEST_GROUPS else ""


def freedom(contributions: Floats) -> float:
    """Degrees of freedom at most, of a variance that is the sum of the squares of these: twice their number if they
    were alike, (sum of squares)^2 / sum of fourth powers. Few that contribute most tell little of the spread."""
    squares = contributions**2
    return float(2 * squares.sum() ** 2 / (squares**2).sum()) if squares.any() else np.inf


def bootstrap_interval(
    values: Floats, groups: int, degrees: float, *, low_at_most: float = np.inf, high_at_least: float = -np.inf
) -> Interval | str:
    """Expanded percentile interval (Hesterberg 2015, American Statistician 69:371) of a statistic's values in
    resamples of groups (cluster bootstrap; Davison & Hinkley 1997, 3.8). NaN: undefined in that resample.

    groups: how many were resampled. degrees: degrees of freedom, such as one less than the groups of the rarest class;
    by them the percentiles are moved outwards, for plain ones are too narrow.
    low_at_most, high_at_least: bounds a perfect result would have, for one next to it: the bootstrap sees too little
    spread there.
    Returns why there is no interval, where there is none.
    """
    defined = values[np.isfinite(values)]
    if len(defined) < 0.9 * len(values):
        return "no interval: undefined in more than a tenth of the resamples"
    tail = expanded_tail(degrees)
    low, high = (float(v) for v in np.quantile(defined, [tail, 1 - tail]))
    bounded_low, bounded_high = min(low, low_at_most), max(high, high_at_least)
    if bounded_low == bounded_high:
        return "no interval: the same value in all resamples"
    method = f"cluster bootstrap, {len(values)} resamples of {groups} groups"
    bounded = (bounded_low, bounded_high) != (low, high)
    return Interval(bounded_low, bounded_high, method + ("; bound of a perfect result" if bounded else ""))


def expanded_tail(degrees: float) -> float:
    """The share of resamples that is left out on either side; 0.025 for endlessly many degrees of freedom."""
    return float(norm.cdf(-np.sqrt(1 + 1 / degrees) * t.ppf(1 - TAIL, degrees)))


def bootstrap_p(differences: Floats, degrees: float) -> float:
    """Two-sided p of 'the difference is 0' that agrees with `bootstrap_interval`: below 0.05 exactly where the interval
    does not hold 0, but for the 1 that is added to either side so that p is never 0 (Davison & Hinkley 1997, 4.4)."""
    n = len(differences)
    beyond = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    z = norm.ppf(min((beyond + 1) / (n + 1), 0.5))
    return float(2 * t.cdf(z / np.sqrt(1 + 1 / degrees), degrees))
