"""95 % intervals that stay right for few images, images of the same patient, and perfect results.

Images of one group (patient, cluster) resemble each other, so n images carry the information of fewer
independent ones. Under `FEWEST_GROUPS` groups no interval is given: none would keep its promise.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, t

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]
FEWEST_GROUPS = 10
LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """low..high hold the true value in 95 % of repetitions. method: how it was made."""

    low: float
    high: float
    method: str


def wilson(successes: float, n: float) -> tuple[float, float]:
    """Score interval of a proportion of n independent trials (Wilson 1927, J Am Stat Assoc 22:209). n may be
    an effective number, not whole."""
    z = float(norm.ppf((1 + LEVEL) / 2))
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * float(np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)))
    return (0.0 if successes <= 0 else centre - half), (1.0 if successes >= n else centre + half)


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
    """Wilson interval of mean(correct) at the effective number, which is lowered further for the few degrees of
    freedom of few groups (Korn & Graubard 1998, Survey Methodology 24:193). Returns why not, where there is none."""
    sizes = np.bincount(groups)
    there = sizes > 0
    k = int(there.sum())
    if k < FEWEST_GROUPS:
        return f"no interval: {k} groups"
    counted = np.asarray(sizes[there], np.float64)
    successes = np.asarray(np.bincount(groups, weights=correct)[there], np.float64)
    n = effective_number(successes, counted)
    quantile = (1 + LEVEL) / 2
    n *= float(t.ppf(quantile, counted.sum() - 1) / t.ppf(quantile, k - 1)) ** 2
    low, high = wilson(float(np.mean(correct)) * n, n)
    return Interval(low, high, f"Wilson, effective n {n:.1f} of {int(counted.sum())}, {k} groups")


def bootstrap_interval(
    statistic: Callable[[Floats], float],
    groups: Indices,
    *,
    low_at_most: float,
    replicates: int = 1000,
    seed: int = 0,
) -> Interval | str:
    """Percentile interval of a statistic over resampled groups (cluster bootstrap; Davison & Hinkley 1997, 3.8).

    statistic: weights [n] of the images (how often their group was drawn) -> value, NaN where it is undefined.
    low_at_most: the lower bound is never above this one, which comes from other intervals: near 1 the bootstrap sees
    too little spread.
    Always the same for the same input. Returns why there is no interval, where there is none.
    """
    present, index = np.unique(groups, return_inverse=True)
    k = len(present)
    if k < FEWEST_GROUPS:
        return f"no interval: {k} groups"
    random = np.random.default_rng(seed)
    draws = random.multinomial(k, np.full(k, 1 / k), size=replicates).astype(np.float64)
    values = np.array([statistic(drawn[index]) for drawn in draws])
    values = values[np.isfinite(values)]
    if len(values) < 0.9 * replicates:
        return "no interval: undefined in more than a tenth of the resamples"
    low, high = (float(v) for v in np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2]))
    if low == high == 1.0:
        return Interval(low_at_most, 1.0, f"perfect: bound from Wilson intervals, {k} groups")
    if low == high:
        return "no interval: the same value in all resamples"
    method = f"cluster bootstrap, {replicates} resamples of {k} groups"
    if low_at_most < low:
        return Interval(low_at_most, high, method + "; lower bound from Wilson intervals")
    return Interval(low, high, method)


def low_of_mean(values: Sequence[float], lows: Sequence[float]) -> float:
    """Lower bound of the mean of independent figures from their own lower bounds (MOVER: Zou & Donner 2008, Statistics
    in Medicine 27:1693)."""
    reach = np.linalg.norm(np.subtract(values, lows)) / len(values)
    return max(0.0, float(np.mean(values)) - float(reach))
