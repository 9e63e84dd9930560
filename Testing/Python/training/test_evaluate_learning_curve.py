"""Learning curves: a known law is found, its range holds the truth, and what cannot be said is not said."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medimg_training.evaluation.learning_curve import LearningPoint, learning_curve

SIZES = (25, 50, 100, 200, 400)


def points(
    ceiling: float, scale: float, rate: float, error: float, seed: int = 0, sizes: tuple[int, ...] = SIZES
) -> list[LearningPoint]:
    noise = np.random.default_rng(seed).normal(0, error, len(sizes))
    return [LearningPoint(n, float(ceiling - scale * n**-rate + e), error) for n, e in zip(sizes, noise, strict=True)]


def test_an_exact_law_is_found() -> None:
    exact = [LearningPoint(n, 0.95 - 1.2 * n**-0.6, 0.001) for n in SIZES]
    curve = learning_curve(exact)
    assert (curve.ceiling, curve.scale, curve.rate) == pytest.approx((0.95, 1.2, 0.6), rel=0.02)
    gain = 1.2 * (400**-0.6 - 800**-0.6)
    assert curve.gain is not None and curve.gain.low < gain < curve.gain.high
    assert (curve.sizes[0], curve.sizes[-1]) == pytest.approx((25, 800))
    assert curve.fitted[0] == pytest.approx(exact[0].value, abs=1e-3)


def test_the_range_holds_what_twice_as_many_give() -> None:
    held = 0
    for seed in range(40):
        twice = learning_curve(points(0.92, 1.5, 0.5, 0.015, seed)).twice
        assert twice is not None
        held += twice.low <= 0.92 - 1.5 * 800**-0.5 <= twice.high
    assert held >= 34


def test_three_answers() -> None:
    """Helps, helps little, cannot be said."""
    steep = learning_curve(points(0.98, 3.0, 0.4, 0.002))
    assert "would give about +0.0" in steep.answer and "800 instead of 400" in steep.answer
    flat = learning_curve([LearningPoint(n, 0.9 + 0.001 * (n % 3), 0.004) for n in SIZES])
    assert "would change little" in flat.answer
    noisy = learning_curve([LearningPoint(n, v, 0.08) for n, v in zip(SIZES, (0.6, 0.62, 0.7, 0.69, 0.8), strict=True)])
    assert noisy.answer.startswith("cannot be said: 800 instead of 400 patients would give anything from")


def test_under_four_sizes_nothing_is_said() -> None:
    curve = learning_curve([*points(0.9, 1, 0.5, 0.01)[:3], LearningPoint(100, 0.8, 0.01)])
    assert curve.answer == "cannot be said: 3 sizes, 4 are needed"
    assert (curve.ceiling, curve.twice, curve.fitted) == (None, None, ())


def test_a_ceiling_is_never_above_one_and_more_never_harms() -> None:
    for seed in range(20):
        curve = learning_curve(points(1.3, 2.0, 0.3, 0.03, seed, (10, 20, 40, 80)))
        assert curve.ceiling is not None and curve.ceiling <= 1 and curve.high[-1] <= 1
        down = learning_curve(points(0.5, -1.0, 0.5, 0.01, seed))
        assert down.gain is not None and down.gain.low >= 0
        assert down.scale == pytest.approx(0)


@pytest.mark.parametrize("ceiling", [0.9, 1.3])
def test_the_fit_leaves_least_among_its_neighbours(ceiling: float) -> None:
    """1.3: of those with a ceiling of at most 1."""
    given = points(ceiling, 1.0, 0.7, 0.02, 3)
    curve = learning_curve(given)
    assert curve.ceiling is not None and curve.scale is not None and curve.rate is not None
    assert (curve.ceiling == 1) == (ceiling > 1)
    n, y = (np.array(own) for own in ([p.groups for p in given], [p.value for p in given]))

    def left(ceiling: float, scale: float, rate: float) -> float:
        return float(((y - ceiling + scale * n**-rate) ** 2).sum())

    best = left(curve.ceiling, curve.scale, curve.rate)
    assert best <= left(curve.ceiling - 0.01, curve.scale, curve.rate)
    for change in (-0.01, 0.01):
        assert curve.ceiling + change > 1 or best <= left(curve.ceiling + change, curve.scale, curve.rate)
        assert curve.scale + change < 0 or best <= left(curve.ceiling, curve.scale + change, curve.rate)


def test_the_same_points_in_any_order_give_the_same_curve_as_json() -> None:
    given = points(0.9, 1.0, 0.5, 0.02)
    assert learning_curve(given) == learning_curve(given[::-1])
    assert json.loads(json.dumps(learning_curve(given).to_json(), allow_nan=False))["points"][0]["groups"] == 25


@pytest.mark.parametrize(
    "bad", [LearningPoint(100, 0.8, 0.0), LearningPoint(0, 0.8, 0.1), LearningPoint(9, 0.8, float("nan"))]
)
def test_points_without_an_error_or_patients_are_refused(bad: LearningPoint) -> None:
    with pytest.raises(ValueError):
        learning_curve([*points(0.9, 1.0, 0.5, 0.02), bad])
