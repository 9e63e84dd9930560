"""Operating points: chosen on some patients, measured on others; and candidates for wrong labels."""

from __future__ import annotations

import json

import numpy as np
import pytest

from medimg_training.evaluation.label_noise import label_noise
from medimg_training.evaluation.operating_points import Wanted, operating_point, threshold_for
from medimg_training.evaluation.predictions import Predictions
from MedImgClassifierLib.engine.errors import Refusal


def scored(scores: list[float], labels: list[int], prefix: str = "g") -> Predictions:
    odds = np.array(scores)
    logits = np.stack([np.zeros(len(odds)), np.log(odds / (1 - odds))], axis=1)
    return Predictions.of(logits, np.array(labels), [f"{prefix}{k}" for k in range(len(odds))], ("well", "ill"))


def drawn(n: int, seed: int, prefix: str) -> Predictions:
    random = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    return scored(list(1 / (1 + np.exp(-random.normal(1.5 * (2 * labels - 1), 1.5)))), list(labels), prefix)


EIGHT = scored([0.1, 0.2, 0.3, 0.6, 0.4, 0.5, 0.7, 0.9], [0, 0, 0, 0, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("wanted", "target", "lowest", "highest"),
    [
        ("sensitivity", 1.0, 0.4, 0.4),
        ("sensitivity", 0.76, 0.4, 0.4),
        ("sensitivity", 0.75, 0.5, 0.5),
        ("sensitivity", 0.25, 0.9, 0.9),
        ("specificity", 1.0, 0.6, 0.6),
        ("specificity", 0.75, 0.3, 0.3),
        ("specificity", 0.5, 0.2, 0.2),
    ],
)
def test_a_threshold_keeps_the_target_and_gives_away_the_least(
    wanted: Wanted, target: float, lowest: float, highest: float
) -> None:
    threshold = threshold_for(EIGHT, "ill", wanted, target)
    assert lowest - 1e-9 < threshold < highest + 1e-9
    called = EIGHT.probabilities[:, 1] >= threshold
    side = EIGHT.labels == (wanted == "sensitivity")
    share = (called == (wanted == "sensitivity"))[side].mean()
    assert share >= target


def test_points_are_measured_on_the_other_patients() -> None:
    choose, measure = drawn(200, 1, "c"), drawn(400, 2, "m")
    points = operating_point(choose, measure, "ill", {"sensitivity": 0.95, "specificity": 0.9})
    assert [point.wanted for point in points] == ["sensitivity", "specificity"]
    for point in points:
        assert (point.chosen_on, point.measured_on) == (200, 400)
        assert point.chosen >= point.target
        called = measure.probabilities[:, 1] >= point.threshold
        assert point.sensitivity.value == pytest.approx(called[measure.labels == 1].mean())
        assert point.specificity.value == pytest.approx((~called)[measure.labels == 0].mean())
        for share in (point.sensitivity, point.specificity):
            assert share.interval is not None and share.value is not None
            assert share.interval.low < share.value < share.interval.high
    assert points[0].threshold < points[1].threshold
    assert json.loads(json.dumps(points[0].to_json(), allow_nan=False))["wanted"] == "sensitivity"


def test_few_groups_and_missing_classes_have_no_interval() -> None:
    choose, measure = drawn(100, 1, "c"), drawn(18, 2, "m")
    (point,) = operating_point(choose, measure, "ill", {"sensitivity": 0.9})
    assert point.sensitivity.interval is None and point.sensitivity.note == "no interval: 9 groups"
    well = measure.take(np.flatnonzero(measure.labels == 0))
    (point,) = operating_point(choose, well, "ill", {"sensitivity": 0.9})
    assert (point.sensitivity.value, point.sensitivity.note) == (None, "no such image")


def test_a_threshold_is_not_measured_on_those_it_was_chosen_on() -> None:
    with pytest.raises(Refusal, match="chosen on group 'g0'"):
        operating_point(EIGHT, EIGHT, "ill", {"sensitivity": 0.9})
    with pytest.raises(Refusal, match="no image to choose"):
        threshold_for(EIGHT.take(np.arange(4)), "ill", "sensitivity", 0.9)
    for target in (0.0, 1.1):
        with pytest.raises(ValueError):
            threshold_for(EIGHT, "ill", "sensitivity", target)
    other = Predictions.of(EIGHT.logits, EIGHT.labels, [f"x{k}" for k in range(8)], ("ill", "well"))
    with pytest.raises(Refusal, match="classes differ"):
        operating_point(EIGHT, other, "ill", {"sensitivity": 0.9})


def test_turned_labels_are_found_and_few_others() -> None:
    random = np.random.default_rng(3)
    true = np.arange(600) % 3
    logits = random.normal(size=(600, 3))
    logits[np.arange(600), true] += 4
    labels, turned = true.copy(), random.choice(600, 30, replace=False)
    labels[turned] = (true[turned] + 1) % 3
    found = label_noise(Predictions.of(logits, labels, [str(k) for k in range(600)], ("a", "b", "c")))
    named = [int(own.sample) for own in found.candidates]
    assert len(set(named) & set(turned.tolist())) >= 20
    assert len(set(named) - set(turned.tolist())) <= 12
    assert len(set(named[:20]) & set(turned.tolist())) >= 19  # the surest first
    assert [own.margin for own in found.candidates] == sorted((own.margin for own in found.candidates), reverse=True)
    assert found.share == pytest.approx(0.05, abs=0.02)
    assert sum(map(sum, found.joint)) - sum(found.joint[c][c] for c in range(3)) == len(named)
    first = found.candidates[0]
    assert first.suggested != first.label == ("a", "b", "c")[labels[int(first.sample)]]
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["classes"] == ["a", "b", "c"]


def test_thresholds_are_mean_probabilities_and_only_what_reaches_one_is_confident() -> None:
    table = scored([0.2, 0.3, 0.4, 0.6, 0.9, 0.95], [0, 0, 0, 1, 1, 0])
    found = label_noise(table)
    assert found.thresholds == pytest.approx(((0.8 + 0.7 + 0.6 + 0.05) / 4, 0.75))
    assert found.joint == ((3, 1), (0, 1))  # 0.6 reaches neither 0.75 nor, with 0.4, 0.5375
    assert [(own.sample, own.label, own.suggested) for own in found.candidates] == [("5", "well", "ill")]
    assert found.candidates[0].margin == pytest.approx(0.9)


def test_a_class_without_labels_is_never_suggested() -> None:
    logits = np.array([[0.0, 1.0, 9.0]] * 12 + [[3.0, 0.0, 0.0]] * 12)
    found = label_noise(
        Predictions.of(logits, np.array([1] * 12 + [0] * 12), [str(k) for k in range(24)], ("a", "b", "c"))
    )
    assert found.thresholds[2] is None
    assert not [own for own in found.candidates if own.suggested == "c"]
