"""Two models on the same patients: differences that are there are found, others are not, however often one asks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medimg_training.evaluation.comparison import Comparison, compare, holm
from medimg_training.evaluation.predictions import Predictions
from MedImgClassifierLib.engine.errors import Refusal


def model(skill: float, seed: int, n: int = 300, groups: int = 100) -> Predictions:
    labels = np.arange(n) % 3
    logits = np.random.default_rng(0).normal(size=(n, 3)) + 0.4 * np.random.default_rng(seed).normal(size=(n, 3))
    logits[np.arange(n), labels] += skill
    return Predictions.of(logits, labels, [f"p{k // 3 % groups}" for k in range(n)], ("a", "b", "c"))


@pytest.mark.parametrize(
    ("name", "label"), [("accuracy", ""), ("balanced accuracy", ""), ("AUC", "b"), ("macro AUC", ""), ("log loss", "")]
)
def test_a_better_model_is_found_better_and_the_other_way_round(name: str, label: str) -> None:
    found = compare(model(0.8, 1), model(1.6, 2), name, label)
    assert found.interval is not None and found.p is not None
    sign = -1 if name == "log loss" else 1
    assert found.difference == pytest.approx(found.second - found.first)
    assert sign * found.difference > 0
    assert min(sign * found.interval.low, sign * found.interval.high) > 0
    assert found.p < 0.01
    back = compare(model(1.6, 2), model(0.8, 1), name, label)
    assert back.interval is not None
    assert (back.interval.low, back.interval.high) == pytest.approx((-found.interval.high, -found.interval.low))
    assert back.p == pytest.approx(found.p)


def test_an_equal_model_is_not() -> None:
    low = [compare(model(1.0, seed), model(1.0, seed + 50), "accuracy").p for seed in range(1, 21)]
    assert sum(p is not None and p < 0.05 for p in low) <= 3


def test_pairing_makes_the_interval_narrower_than_that_of_strangers() -> None:
    first, second = model(1.0, 1), model(1.2, 2)
    paired = compare(first, second, "macro AUC").interval
    shuffled = np.random.default_rng(4).permutation(100) * 3
    rows = (shuffled[:, None] + np.arange(3)).ravel()  # another patient's answers, of the same labels
    strangers = compare(first, replace(second, logits=second.logits[rows]), "macro AUC").interval
    assert paired is not None and strangers is not None
    assert paired.high - paired.low < 0.7 * (strangers.high - strangers.low)


def test_the_order_of_rows_does_not_matter() -> None:
    first, second = model(1.0, 1), model(1.2, 2)
    turned = second.take(np.arange(300)[::-1])
    one, other = compare(first, second, "accuracy"), compare(first, turned, "accuracy")
    assert one.interval is not None and other.interval is not None
    assert (one.difference, one.p) == (other.difference, other.p)
    assert (one.interval.low, one.interval.high) == (other.interval.low, other.interval.high)


def test_models_that_hardly_differ_are_told_so() -> None:
    first = model(1.0, 1)
    changed = first.logits.copy()
    changed[:27:3] = changed[:27:3, [1, 2, 0]]
    found = compare(first, replace(first, logits=changed), "accuracy")
    assert (found.interval, found.p) == (None, None)
    assert found.note == "no interval: the models call images of only 9 groups differently"
    assert compare(first, first, "macro AUC").note == "no interval: the same value in all resamples"


def test_under_ten_groups_there_is_no_interval_and_no_p() -> None:
    found = compare(model(0.5, 1, groups=9), model(1.5, 2, groups=9), "accuracy")
    assert (found.interval, found.p, found.note) == (None, None, "no interval: 9 groups")


def test_other_samples_groups_labels_or_classes_are_refused() -> None:
    first = model(1.0, 1)
    other_label = replace(first, labels=np.r_[1, first.labels[1:]])
    cases = {
        "1 images are only in one of them, such as slice 0 of sample '299'": first.take(np.arange(299)),
        "sample '0' has another group or label (1 images)": other_label,
        "sample '5' has another group": replace(first, groups=(*first.groups[:5], "new", *first.groups[6:])),
        "their classes differ": replace(first, classes=("a", "c", "b")),
    }
    for reason, second in cases.items():
        for pair in ((first, second), (second, first)):
            with pytest.raises(Refusal) as caught:
                compare(*pair, "accuracy")
            assert caught.value.code == "DATA_COMPARISON" and reason in caught.value.message()


def test_an_undefined_figure_is_refused() -> None:
    first = model(1.0, 1)
    two = first.take(np.flatnonzero(first.labels < 2))
    with pytest.raises(Refusal, match="recall c is undefined"):
        compare(two, two, "recall", "c")


def test_holm_equals_a_worked_example() -> None:
    """p of 0.01, 0.04, 0.03 and 0.005 become 0.03, 0.06, 0.06 and 0.02."""
    made = [Comparison("AUC", "", 0, 0, 0, None, p) for p in (0.01, 0.04, None, 0.03, 0.005)]
    assert [own.p_holm for own in holm(made)] == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert [own.p_holm for own in holm(made[:1])] == [0.01]
    assert [own.p_holm for own in holm([replace(made[0], p=0.7), replace(made[0], p=0.9)])] == [1.0, 1.0]
    assert holm([]) == ()
