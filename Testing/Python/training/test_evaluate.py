"""Figures: equal to scikit-learn's, each with an interval or the reason why there is none."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    confusion_matrix,
    f1_score,
    log_loss,
    matthews_corrcoef,
    mean_absolute_error,
    precision_score,
    recall_score,
    roc_auc_score,
)

from medimg_training.evaluation.answers import Answers
from medimg_training.evaluation.figures import Figures, evaluate, figure_of, figures_of, predictive_values_of
from medimg_training.evaluation.intervals import Interval, bootstrap_interval, exact_interval, mean_interval
from medimg_training.evaluation.predictions import Predictions

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
            if figure.name == "ECE":
                assert figure.null is not None and (figure.null.low < figure.null.high or skill == 50.0)
                continue
            if figure.name == "log loss" and figure.value == 0:
                assert figure.note == "no interval: the same value in all resamples"
                continue
            assert figure.interval is not None, figure
            assert figure.interval.low <= figure.value <= figure.interval.high, figure
            assert figure.interval.low < figure.interval.high, figure
            if skill == 50.0 and figure.name not in ("Brier", "log loss"):  # 60 groups cannot show more
                unseen = {"macro specificity": 0.983, "macro PR-AUC": 0.98, "PR-AUC": 0.98}
                assert figure.interval.low < unseen.get(figure.name, 0.97), figure


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
        assert figure.note.startswith(("no interval: 9 groups", "no interval: biased"))


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


def test_the_other_figures_equal_scikit_learn() -> None:
    logits, labels, groups = answers(skill=1.0)
    figures = figures_of(Predictions.of(logits, labels, groups, CLASSES), "ordinal")
    softmax, called = np.exp(logits) / np.exp(logits).sum(1, keepdims=True), logits.argmax(1)
    expected = {
        "MCC": matthews_corrcoef(labels, called),
        "mean absolute error": mean_absolute_error(labels, called),
        "quadratic-weighted kappa": cohen_kappa_score(labels, called, weights="quadratic"),
        "log loss": log_loss(labels, softmax),
        "Brier": ((softmax - np.eye(3)[labels]) ** 2).sum(1).mean(),
        "macro PR-AUC": average_precision_score(np.eye(3)[labels], softmax, average="macro"),
    }
    for name, value in expected.items():
        assert figures.of(name).value == pytest.approx(value, abs=1e-12), name
    for c, name in enumerate(CLASSES):
        assert figures.of("PR-AUC", name).value == pytest.approx(average_precision_score(labels == c, softmax[:, c]))
        assert figures.of("specificity", name).value == pytest.approx(recall_score(labels != c, called != c))
    names = [figure.name for figure in evaluate(logits, labels, groups, CLASSES).figures]
    assert "mean absolute error" not in names and "pooled AUC" not in names


def test_the_brier_score_of_two_classes_is_that_of_one_of_them() -> None:
    logits, labels, groups = answers()
    two = labels < 2
    figures = evaluate(logits[two, :2], labels[two], [g for g, t in zip(groups, two, strict=True) if t], ("x", "y"))
    p = 1 / (1 + np.exp(logits[two, 0] - logits[two, 1]))
    assert figures.of("Brier").value == pytest.approx(brier_score_loss(labels[two], p))


def test_folds_that_are_calibrated_differently_are_averaged_beside_pooled() -> None:
    """Each fold ranks perfectly; pooled, the second fold's scores are all above the first's."""
    labels = np.arange(80) % 2
    score = labels + 5.0 * (np.arange(80) >= 40)
    table = Predictions.of(np.stack([0 * score, score], 1), labels, [str(n) for n in range(80)], ("x", "y"))
    folds = replace(table, folds=(np.arange(80) >= 40).astype(np.int64))
    figures = figures_of(folds)
    assert figures.folds == 2
    assert figures.of("AUC", "y").value == 1.0
    assert figures.of("pooled AUC", "y").value == pytest.approx(0.75)
    assert figures.of("PR-AUC", "y").value == 1.0 > (figures.of("pooled PR-AUC", "y").value or 1)
    assert figures.of("macro pooled AUC").value == pytest.approx(0.75)
    interval = figures.of("AUC", "y").interval
    assert interval is not None and (interval.low, interval.high) == pytest.approx((0.025 ** (1 / 40), 1.0))


def test_the_interval_of_an_auc_says_how_it_was_made() -> None:
    logits, labels, groups = answers(n=180, groups=60)
    alone = Predictions.of(logits, labels, [str(n) for n in range(180)], CLASSES)
    twice = Predictions.of(np.tile(logits, (2, 1)), np.tile(labels, 2), alone.groups * 2, CLASSES)
    twice = replace(twice, samples=alone.samples * 2, seeds=np.repeat([0, 1], 180))
    one, other = figure_of(alone, "AUC", "a").interval, figure_of(twice, "AUC", "a").interval
    assert one is not None and other is not None
    assert one.method == other.method == "DeLong, 180 groups"
    assert (one.low, one.high) == pytest.approx((other.low, other.high))  # the same answers twice are no more patients
    several = figure_of(Predictions.of(logits, labels, groups, CLASSES), "AUC", "a").interval
    assert several is not None and several.method == "cluster bootstrap, 1000 resamples of 60 groups"


def test_the_variance_of_a_mean_over_folds_is_that_of_its_parts() -> None:
    logits, labels, _ = answers(n=360)
    table = Predictions.of(logits, labels, [str(n) for n in range(360)], CLASSES)
    folds = np.arange(360) // 3 % 2
    both = Answers(replace(table, folds=folds)).auc(0, pooled=False).deviation
    parts = [Answers(table.take(np.flatnonzero(folds == own))).auc(0, pooled=False).deviation for own in (0, 1)]
    assert both == pytest.approx(np.linalg.norm(parts) / 2)


def test_a_fold_that_loses_a_class_in_a_resample_is_left_out_of_its_mean() -> None:
    labels = np.r_[np.ones(2), np.zeros(38), np.arange(60) % 2].astype(np.int64)
    score = np.random.default_rng(2).normal(size=100) + labels
    table = Predictions.of(np.stack([0 * score, score], 1), labels, [str(n) for n in range(100)], ("x", "y"))
    replicates = Answers(replace(table, folds=(np.arange(100) >= 40).astype(np.int64))).replicates("AUC")
    assert np.isfinite(replicates).all()  # the first fold has no image of y in 13 of 100 resamples


def test_errors_in_few_groups_leave_the_bootstrap_few_degrees_of_freedom() -> None:
    logits, labels, groups = answers(skill=50)
    logits[[0, 12, 30, 60, 90, 120]] = logits[[1, 13, 31, 61, 91, 121]]  # six groups with an error
    table = Predictions.of(logits, labels, groups, CLASSES)
    made, known = Answers(table), figures_of(table)
    for name, label, degrees in (("macro F1", "", 12), ("F1", "a", 12), ("AUC", "a", 12)):
        values = made.replicates(name) if not label else made.replicates(name)[:, 0]
        if name == "AUC":
            degrees = made.auc(0, pooled=False).degrees
            assert degrees < 20
        assert known.of(name, label).interval == bootstrap_interval(values, 60, degrees)


def test_the_interval_of_balanced_accuracy_is_made_of_exact_bounds() -> None:
    logits, labels, _ = answers()
    groups = np.arange(240)
    interval = evaluate(logits, labels, [str(n) for n in groups], CLASSES).of("balanced accuracy").interval
    right = logits.argmax(1) == labels
    bounds = [exact_interval(right[labels == c], groups[labels == c]) for c in range(3)]
    values = [float(right[labels == c].mean()) for c in range(3)]
    assert interval == mean_interval(values, [own for own in bounds if isinstance(own, Interval)], np.eye(3))


def test_easy_and_hard_patients_make_predictive_values_less_certain() -> None:
    """Half of the patients are answered well, half badly: in both classes alike, or in one class the other half."""
    random = np.random.default_rng(6)
    group, labels = np.repeat(np.arange(60), 10), np.arange(600) % 2
    widths = []
    for well in (group % 2 == 0, (group % 2 == 0) == (labels == 1)):
        right = random.random(600) < np.where(well, 0.98, 0.5)
        called = np.where(right, labels, 1 - labels)
        table = Predictions.of(3.0 * np.eye(2)[called], labels, [str(g) for g in group], ("x", "y"))
        ppv = predictive_values_of(table, "y", 0.2)[0].interval
        assert ppv is not None
        widths.append(ppv.high - ppv.low)
    assert widths[0] > 1.2 * widths[1]


def test_several_seeds_give_their_mean_their_spread_and_an_interval_of_patients() -> None:
    parts = [answers(skill=skill) for skill in (1.0, 1.5, 2.0)]
    labels, groups, n = parts[0][1], parts[0][2], 240
    logits = np.concatenate([part[0] for part in parts])
    table = Predictions.of(logits, np.tile(labels, 3), groups * 3, CLASSES)
    seeds, samples = np.repeat([0, 1, 2], n), table.samples[:n] * 3
    figures = figures_of(replace(table, seeds=seeds, samples=samples))
    each = [evaluate(part[0], labels, groups, CLASSES) for part in parts]
    assert (figures.n, figures.groups, figures.seeds) == (240, 60, 3)
    for name, label in (
        ("accuracy", ""),
        ("macro F1", ""),
        ("precision", "a"),
        ("AUC", "b"),
        ("Brier", ""),
        ("ECE", ""),
    ):
        figure = figures.of(name, label)
        own = [one.of(name, label).value for one in each]
        assert figure.seeds == pytest.approx(own)
        assert figure.value == pytest.approx(np.mean(own))
        assert figure.spread == pytest.approx(np.std(own, ddof=1))
        if name != "ECE":
            alone = [one.of(name, label).interval for one in each]
            width = np.mean([one.high - one.low for one in alone if one is not None])
            assert figure.interval is not None
            assert (
                0.6 * width < figure.interval.high - figure.interval.low < 1.15 * width
            )  # not of 3 times the patients
    precision = figures.of("precision", "a").interval
    assert precision is not None and precision.method.startswith("cluster bootstrap")  # a mean of three shares
    assert f"SD {figures.of('accuracy').spread:.4f}" in figures.to_markdown()
    assert "mean of 3 seeds" in figures.to_markdown()


def test_predictive_values_follow_bayes_and_hold_both_shares() -> None:
    logits, labels, groups = answers(n=600, groups=200)
    figures = figures_of(Predictions.of(logits, labels, groups, CLASSES), prevalence={"b": 0.05})
    sensitivity, specificity = figures.of("recall", "b").value, figures.of("specificity", "b").value
    assert sensitivity is not None and specificity is not None
    ppv, npv = figures.of("PPV at prevalence 0.05", "b"), figures.of("NPV at prevalence 0.05", "b")
    assert ppv.value == pytest.approx(sensitivity * 0.05 / (sensitivity * 0.05 + (1 - specificity) * 0.95))
    assert npv.value == pytest.approx(specificity * 0.95 / (specificity * 0.95 + (1 - sensitivity) * 0.05))
    for figure in (ppv, npv):
        assert figure.interval is not None and figure.value is not None
        assert 0 < figure.interval.low < figure.value < figure.interval.high < 1
    perfect = figures_of(Predictions.of(50 * np.eye(3)[labels], labels, groups, CLASSES), prevalence={"b": 0.05})
    bound = perfect.of("PPV at prevalence 0.05", "b").interval
    assert bound is not None and bound.high == 1.0
    assert bound.low == pytest.approx(0.05 / (0.05 + (1 - 0.025 ** (1 / 200)) * 0.95))
    with pytest.raises(ValueError):
        predictive_values_of(Predictions.of(logits, labels, groups, CLASSES), "b", 1.0)


def test_one_figure_alone_is_the_same() -> None:
    table = Predictions.of(*answers(), CLASSES)
    figures = figures_of(table)
    for name, label in (("accuracy", ""), ("macro F1", ""), ("AUC", "c"), ("log loss", ""), ("ECE", "")):
        assert figure_of(table, name, label) == figures.of(name, label)


def test_next_to_a_perfect_result_the_bound_is_that_of_the_perfect_one() -> None:
    logits, labels, groups = answers(skill=50)
    perfect = evaluate(logits, labels, groups, CLASSES)
    logits[0] = logits[0, [1, 0, 2]]
    nearly = evaluate(logits, labels, groups, CLASSES)
    for name, label in (("macro F1", ""), ("MCC", ""), ("F1", "a"), ("AUC", "a"), ("PR-AUC", "a")):
        one, other = perfect.of(name, label).interval, nearly.of(name, label).interval
        assert one is not None and other is not None
        assert one.high == 1.0 and one.low < 0.975
        assert other.low <= one.low + 1e-12, name


def test_nothing_to_evaluate_is_an_error() -> None:
    with pytest.raises(ValueError):
        evaluate(np.zeros((0, 3)), np.zeros(0, np.int64), [], CLASSES)


def test_the_same_answers_give_the_same_figures() -> None:
    first, second = (evaluate(*answers(), CLASSES) for _ in range(2))
    assert isinstance(first, Figures)
    assert first == second


def test_logits_of_any_size_are_understood() -> None:
    logits, labels, groups = answers()
    figures = evaluate(logits.astype(np.float32) * 1e4, labels, groups, CLASSES)
    assert all(figure.value is None or math.isfinite(figure.value) for figure in figures.figures)
