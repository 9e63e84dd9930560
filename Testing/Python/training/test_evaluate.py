"""Figures: equal to scikit-learn's, each with an interval or the reason why there is none."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from sklearn.metrics import (
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from medimg_training.evaluation.figures import Figures, evaluate

CLASSES = ("a", "b", "c")


def answers(n: int = 240, skill: float = 1.5, groups: int = 60) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Logits, labels and groups; every group holds images of every class."""
    random = np.random.default_rng(5)
    labels = np.arange(n) % 3
    logits = random.normal(size=(n, 3))
    logits[np.arange(n), labels] += skill
    return logits, labels, [f"p{k // 3 % groups}" for k in range(n)]


def test_values_equal_scikit_learn() -> None:
    logits, labels, groups = answers()
    figures = evaluate(logits, labels, groups, CLASSES)
    called = logits.argmax(1)
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert figures.of("accuracy").value == pytest.approx((called == labels).mean())
    assert figures.of("balanced accuracy").value == pytest.approx(balanced_accuracy_score(labels, called))
    assert figures.of("macro F1").value == pytest.approx(f1_score(labels, called, average="macro"))
    assert figures.of("macro precision").value == pytest.approx(precision_score(labels, called, average="macro"))
    assert figures.of("macro AUC").value == pytest.approx(roc_auc_score(labels, softmax, multi_class="ovr"))
    for c, name in enumerate(CLASSES):
        assert figures.of("recall", name).value == pytest.approx(recall_score(labels, called, average=None)[c])
        assert figures.of("F1", name).value == pytest.approx(f1_score(labels, called, average=None)[c])
        assert figures.of("AUC", name).value == pytest.approx(roc_auc_score(labels == c, softmax[:, c]))
    assert np.array_equal(figures.confusion, confusion_matrix(labels, called))
    assert (figures.n, figures.groups) == (240, 60)


def test_every_interval_holds_its_value_and_is_never_a_point() -> None:
    for skill in (0.0, 1.5, 4.0, 50.0):
        for figure in evaluate(*answers(skill=skill), CLASSES).figures:
            assert figure.value is not None
            assert figure.interval is not None, figure
            assert figure.interval.low <= figure.value <= figure.interval.high, figure
            assert figure.interval.low < figure.interval.high, figure
            assert figure.interval.low < 0.97, figure  # 60 groups cannot show more


def test_tied_answers_count_half_in_the_interval_too() -> None:
    logits, labels, groups = answers(skill=1.0)
    for c in CLASSES:
        figure = evaluate(np.round(logits / 2), labels, groups, CLASSES).of("AUC", c)
        assert figure.value is not None
        assert figure.interval is not None
        assert (figure.interval.low + figure.interval.high) / 2 == pytest.approx(figure.value, abs=0.02)


def test_averages_are_bootstrapped_with_their_own_statistic() -> None:
    logits, labels, groups = answers(n=600, groups=200)
    logits[:, 0] += 2  # so that precision, recall and F1 differ
    figures = evaluate(logits, labels, groups, CLASSES)
    values = []
    for name in ("balanced accuracy", "macro precision", "macro F1", "macro AUC"):
        figure = figures.of(name)
        assert figure.value is not None
        assert figure.interval is not None
        values.append(figure.value)
        assert (figure.interval.low + figure.interval.high) / 2 == pytest.approx(figure.value, abs=0.015)
    assert min(abs(a - b) for n, a in enumerate(values) for b in values[:n]) > 0.02


def test_the_same_patients_give_wider_intervals_than_as_many_independent_images() -> None:
    random = np.random.default_rng(6)
    labels = np.arange(400) % 2
    group = np.arange(400) // 20  # 20 patients of 20 images
    logits = np.zeros((400, 2))
    logits[np.arange(400), labels] = random.normal(0.8, 1, 20)[group]  # patients differ, their images do not
    clustered = evaluate(logits, labels, [str(g) for g in group], ("x", "y"))
    independent = evaluate(logits, labels, [str(n) for n in range(400)], ("x", "y"))
    for name, label in (("accuracy", ""), ("balanced accuracy", ""), ("recall", "x"), ("F1", "y"), ("AUC", "x")):
        one, other = clustered.of(name, label).interval, independent.of(name, label).interval
        assert one is not None
        assert other is not None
        assert one.high - one.low > 2 * (other.high - other.low)


def test_under_ten_groups_no_figure_has_an_interval() -> None:
    for figure in evaluate(*answers(groups=9), CLASSES).figures:
        assert figure.interval is None
        assert figure.note.startswith("no interval: 9 groups")


def test_a_class_of_few_groups_takes_the_interval_from_the_averages_too() -> None:
    logits, labels, groups = answers()
    keep = (labels != 2) | (np.arange(240) < 20)
    groups = [group for group, kept in zip(groups, keep, strict=True) if kept]
    figures = evaluate(logits[keep], labels[keep], groups, CLASSES)
    assert figures.of("accuracy").interval is not None
    assert figures.of("recall", "a").interval is not None
    assert figures.of("recall", "c").note == "no interval: 6 groups"
    assert figures.of("balanced accuracy").note == "no interval: 6 groups of class c"
    assert figures.of("macro AUC").note == "no interval: 6 groups"


def test_a_class_that_is_not_there_has_no_figures_and_does_not_count() -> None:
    logits, labels, groups = answers(skill=50)
    there = labels != 2
    figures = evaluate(logits[there], labels[there], [g for g, t in zip(groups, there, strict=True) if t], CLASSES)
    for name in ("recall", "precision", "F1", "AUC"):
        assert figures.of(name, "c").value is None
        assert figures.of(name, "c").note
    assert figures.of("balanced accuracy").value == 1.0
    assert figures.of("macro F1").value == 1.0


def test_a_class_that_is_never_called_has_no_precision() -> None:
    logits, labels, groups = answers()
    logits[:, 1] = -99
    figures = evaluate(logits, labels, groups, CLASSES)
    assert figures.of("recall", "b").value == 0.0
    assert figures.of("precision", "b").value is None
    assert figures.of("F1", "b").value == 0.0


def test_figures_are_json_without_nan_and_a_table_to_read() -> None:
    logits, labels, groups = answers()
    logits[:, 1] = -99
    figures = evaluate(logits, labels, groups, CLASSES)
    document = json.loads(json.dumps(figures.to_json(), allow_nan=False))
    assert document["confusion"][0] == list(figures.confusion[0])
    assert len(document["figures"]) == len(figures.figures)
    table = figures.to_markdown()
    assert "240 images of 60 groups" in table
    assert f"| a | {figures.confusion[0][0]} | 0 | {figures.confusion[0][2]} |" in table
    assert "nan" not in table
    assert all(len(row.split("|")) == 7 for row in table.splitlines() if row.startswith(("| recall", "| AUC")))


def test_the_same_answers_give_the_same_figures() -> None:
    first, second = (evaluate(*answers(), CLASSES) for _ in range(2))
    assert isinstance(first, Figures)
    assert first == second


def test_logits_of_any_size_are_understood() -> None:
    logits, labels, groups = answers()
    figures = evaluate(logits.astype(np.float32) * 1e4, labels, groups, CLASSES)
    assert all(figure.value is None or math.isfinite(figure.value) for figure in figures.figures)
