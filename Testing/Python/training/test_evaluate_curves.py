"""Curves and subgroups: points that agree with the figures they belong to."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score

from medimg_training.evaluation.curves import decision, precision_recall, roc
from medimg_training.evaluation.figures import figures_of
from medimg_training.evaluation.predictions import Predictions
from medimg_training.evaluation.subgroups import subgroups


def answers(n: int = 240) -> Predictions:
    random = np.random.default_rng(5)
    labels = np.arange(n) % 3
    logits = random.normal(size=(n, 3))
    logits[np.arange(n), labels] += 1.5
    return Predictions.of(logits, labels, [f"p{k // 3}" for k in range(n)], ("a", "b", "c"))


def test_the_area_under_the_roc_points_is_the_auc() -> None:
    curve = roc(answers(), "b")
    assert auc(curve.false_positive_rate, curve.sensitivity) == pytest.approx(
        figures_of(answers()).of("AUC", "b").value
    )
    assert curve.thresholds[0] is None and curve.sensitivity[0] == 0 == curve.false_positive_rate[0]
    assert len(curve.thresholds) == len(curve.sensitivity)


def test_each_roc_and_pr_point_is_what_its_threshold_gives() -> None:
    table = answers()
    scores, positive = table.probabilities[:, 1], table.labels == 1
    curve, pr = roc(table, "b"), precision_recall(table, "b")
    for rate, sensitivity, threshold in zip(
        curve.false_positive_rate, curve.sensitivity, curve.thresholds, strict=True
    ):
        if threshold is not None:
            assert (rate, sensitivity) == pytest.approx(
                ((scores >= threshold)[~positive].mean(), (scores >= threshold)[positive].mean())
            )
    assert pr.thresholds[-1] is None and pr.recall[-1] == 0
    for recall, precision, threshold in zip(pr.recall[:-1], pr.precision[:-1], pr.thresholds[:-1], strict=True):
        called = scores >= threshold
        assert (recall, precision) == pytest.approx((called[positive].mean(), positive[called].mean()))
    steps = -np.sum(np.diff(pr.recall) * np.array(pr.precision)[:-1])
    assert steps == pytest.approx(average_precision_score(positive, scores), abs=0.02)


def test_net_benefit_equals_its_definition_and_a_perfect_model_is_worth_the_prevalence() -> None:
    table = answers()
    scores, positive = table.probabilities[:, 1], table.labels == 1
    curve = decision(table, "b")
    at = curve.thresholds.index(0.2)
    called = scores >= 0.2
    expected = (called & positive).mean() - (called & ~positive).mean() * 0.25
    assert curve.model[at] == pytest.approx(expected)
    assert curve.everybody[at] == pytest.approx(1 / 3 - 2 / 3 * 0.25)
    perfect = decision(replace(table, logits=50 * np.eye(3)[table.labels]), "b")
    assert perfect.model == pytest.approx([1 / 3] * 99)


def test_curves_are_json() -> None:
    for made in (roc(answers(), "a"), precision_recall(answers(), "a"), decision(answers(), "a")):
        assert json.loads(json.dumps(made.to_json(), allow_nan=False))["label"] == "a"


def test_a_curve_needs_both_sides_and_one_seed() -> None:
    table = answers()
    only = table.take(np.flatnonzero(table.labels == 1))
    twice = Predictions.of(np.tile(table.logits, (2, 1)), np.tile(table.labels, 2), table.groups * 2, table.classes)
    twice = replace(twice, samples=table.samples * 2, seeds=np.repeat([0, 1], 240))
    for make in (roc, precision_recall, decision):
        with pytest.raises(ValueError, match="needs images of the class and of others"):
            make(only, "b")
        with pytest.raises(ValueError, match="one seed"):
            make(twice, "b")


def test_subgroups_have_the_figures_of_their_own_images() -> None:
    table = answers()
    site = tuple("north" if k < 150 else "south" if k < 216 else "" for k in range(240))
    found = subgroups(replace(table, covariates={"site": site}), "site")
    assert [(cell.value, cell.n, cell.groups) for cell in found.cells] == [
        ("north", 150, 50),
        ("south", 66, 22),
        ("", 24, 8),
    ]
    assert [cell.small for cell in found.cells] == [False, False, True]
    assert found.cells[1].classes == (22, 22, 22)
    alone = figures_of(table.take(np.arange(150, 216)))
    assert found.cells[1].figures == tuple(alone.of(name) for name in ("accuracy", "balanced accuracy", "macro AUC"))
    for figure in found.cells[2].figures:
        assert figure.value is not None and figure.interval is None and "8 groups" in figure.note
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["covariate"] == "site"
    with pytest.raises(KeyError):
        subgroups(table, "site")


def test_a_subgroup_of_one_class_has_no_auc_but_a_count() -> None:
    table = answers()
    site = tuple("only b" if label == 1 else "rest" for label in table.labels)
    cell = next(
        own for own in subgroups(replace(table, covariates={"site": site}), "site").cells if own.value == "only b"
    )
    assert cell.classes == (0, 80, 0)
    assert [figure.value is None for figure in cell.figures] == [False, False, True]
