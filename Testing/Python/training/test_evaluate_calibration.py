"""The calibration error beside what a calibrated model would show, and the reliability curve."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medimg_training.evaluation.calibration import calibration_error, reliability, shared_fraction
from medimg_training.evaluation.figures import figures_of
from medimg_training.evaluation.predictions import Predictions


def calibrated(n: int, sharpness: float = 1.0, groups: int = 0, seed: int = 0) -> Predictions:
    """Labels drawn from the probabilities of the logits, which are then stated `sharpness` times too sharp."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 1.5, (n, 3))
    odds = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    labels = (odds.cumsum(1)[:, :2] < random.random(n)[:, None]).sum(1)
    return Predictions.of(sharpness * logits, labels, [str(k % (groups or n)) for k in range(n)], ("a", "b", "c"))


def test_the_error_equals_its_definition() -> None:
    """Two bins: 4 images at confidence 0.9 of which 3 are right, 6 at 0.6 of which 2 are."""
    odds = np.array([0.9] * 4 + [0.6] * 6)
    right = np.array([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    logits = np.stack([np.zeros(10), np.log(odds / (1 - odds))], axis=1)
    error = calibration_error(Predictions.of(logits, right, [str(k) for k in range(10)], ("no", "yes")))
    assert error.value == pytest.approx(0.4 * abs(0.75 - 0.9) + 0.6 * abs(2 / 6 - 0.6))


def test_a_calibrated_model_lies_in_the_band_and_an_overconfident_one_above() -> None:
    inside = 0
    for seed in range(20):
        error = calibration_error(calibrated(300, seed=seed))
        assert error.null.low > 0.01  # never 0 for so few images
        inside += error.null.low <= error.value <= error.null.high
    assert inside >= 17
    error = calibration_error(calibrated(1000, sharpness=2.0))
    assert error.value > 2 * error.null.high


def test_the_band_narrows_with_more_images() -> None:
    few, many = (calibration_error(calibrated(n)).null for n in (200, 3200))
    assert few.high > 3 * many.high


def test_answers_that_follow_their_group_widen_the_band() -> None:
    random = np.random.default_rng(1)
    groups = np.repeat(np.arange(60), 10)
    confidence = random.uniform(0.5, 1, 600)
    for shared in (0.0, 0.5, 0.9):
        found = []
        for _ in range(30):
            follows = random.random(600) < shared
            drawn = np.where(follows, random.random(60)[groups], random.random(600))
            found.append(shared_fraction(confidence, (drawn < confidence).astype(float), groups))
        assert np.mean(found) == pytest.approx(shared, abs=0.12), shared
    assert shared_fraction(confidence, (random.random(600) < confidence).astype(float), np.arange(600)) == 0.0


def test_a_wrong_calibration_is_not_taken_for_answers_that_go_together() -> None:
    random = np.random.default_rng(2)
    groups = np.repeat(np.arange(100), 10)
    found = [shared_fraction(np.full(1000, 0.95), (random.random(1000) < 0.6).astype(float), groups) for _ in range(20)]
    assert np.mean(found) < 0.15


def test_the_figure_carries_its_band_into_table_and_json() -> None:
    figures = figures_of(calibrated(300))
    figure = figures.of("ECE")
    assert figure.interval is None and figure.null is not None
    assert f"{figure.null.low:.4f} to {figure.null.high:.4f} if calibrated" in figures.to_markdown()
    entry = next(own for own in figures.to_json()["figures"] if own["name"] == "ECE")
    assert entry["null"]["high"] == figure.null.high


def test_reliability_bins_hold_all_images_with_their_shares() -> None:
    table = calibrated(600, groups=200)
    for label, stated, true in (
        ("", table.probabilities.max(axis=1), table.called == table.labels),
        ("b", table.probabilities[:, 1], table.labels == 1),
    ):
        curve = reliability(table, label)
        assert sum(own.images for own in curve.bins) == 600
        for own in curve.bins:
            rows = (stated > own.low) & (stated <= own.high)
            assert own.images == rows.sum()
            assert own.stated == pytest.approx(stated[rows].mean())
            assert own.observed == pytest.approx(true[rows].mean())
            assert (own.interval is None) == (own.groups < 10)
            assert own.interval is not None or own.note == f"no interval: {own.groups} groups"
        assert json.loads(json.dumps(curve.to_json(), allow_nan=False))["label"] == label


def test_certain_and_impossible_answers_fall_into_the_outer_bins() -> None:
    logits = np.array([[0.0, -np.inf], [-np.inf, 0.0]] * 10)
    curve = reliability(Predictions.of(logits, np.array([0, 1] * 10), [str(k) for k in range(20)], ("a", "b")), "a")
    assert [(own.low, own.high, own.images, own.observed) for own in curve.bins] == [
        (0.0, 0.1, 10, 0.0),
        (0.9, 1.0, 10, 1.0),
    ]
