"""AUC and average precision with weights equal scikit-learn's; DeLong's variance equals its definition."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from medimg_training.evaluation.intervals import Interval
from medimg_training.evaluation.ranking import Auc, Ranking, delong_interval


def ranked(n: int, ties: bool, groups: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    positive = random.random(n) < 0.4
    scores = random.normal(size=n) + positive
    return (np.round(scores * 2) if ties else scores), positive, random.integers(0, groups, n)


@pytest.mark.parametrize("ties", [False, True])
def test_weighted_figures_equal_scikit_learn(ties: bool) -> None:
    scores, positive, groups = ranked(120, ties, 15)
    weights = np.random.default_rng(1).integers(0, 4, (20, 15)).astype(np.float64)
    aucs, averages = Ranking(scores, positive, groups).figures(weights)
    for own, auc, average in zip(weights, aucs, averages, strict=True):
        assert auc == pytest.approx(roc_auc_score(positive, scores, sample_weight=own[groups]))
        assert average == pytest.approx(average_precision_score(positive, scores, sample_weight=own[groups]))


def test_a_resample_without_one_of_the_sides_is_undefined() -> None:
    ranking = Ranking(np.arange(4.0), np.array([True, True, False, False]), np.arange(4))
    auc, average = ranking.figures(np.array([[1.0, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]]))
    assert np.isnan(auc[:2]).all() and np.isnan(average[:2]).all()
    assert auc[2] == 0 and average[2] == pytest.approx((1 / 3 + 2 / 4) / 2)


@pytest.mark.parametrize("ties", [False, True])
def test_contributions_give_delongs_variance(ties: bool) -> None:
    scores, positive, _ = ranked(60, ties, 60)
    up, down = scores[positive], scores[~positive]
    pairs = (up[:, None] > down) + 0.5 * (up[:, None] == down)
    expected = pairs.mean(1).var(ddof=1) / len(up) + pairs.mean(0).var(ddof=1) / len(down)
    influence = Ranking(scores, positive, np.arange(60)).influence(60)
    assert (influence.sum(axis=0) ** 2).sum() == pytest.approx(expected)
    assert Auc(pairs.mean(), influence).deviation == pytest.approx(expected**0.5)


def test_contributions_of_a_group_are_added_up() -> None:
    scores, positive, groups = ranked(200, False, 10)
    alone = Ranking(scores, positive, np.arange(200)).influence(200).sum(axis=0)
    together = Ranking(scores, positive, groups).influence(10).sum(axis=0)
    assert together == pytest.approx(np.bincount(groups, alone))


def test_one_image_of_a_side_has_no_variance() -> None:
    ranking = Ranking(np.arange(30.0), np.arange(30) == 7, np.arange(30))
    assert np.isnan(ranking.influence(30)).all()
    found = delong_interval(Auc(0.3, ranking.influence(30)), 15, 0.8)
    assert found == "no interval: a fold has fewer than two images of a side"


def test_the_rare_side_decides_the_degrees_of_freedom() -> None:
    scores, _, _ = ranked(300, False, 300)
    even = Auc(0.8, Ranking(scores, np.arange(300) % 2 == 0, np.arange(300)).influence(300))
    rare = Auc(0.8, Ranking(scores, np.arange(300) % 20 == 0, np.arange(300)).influence(300))
    assert even.degrees > 200
    assert 10 < rare.degrees < 25


def test_fifteen_groups_of_a_rare_class_leave_fourteen_degrees_of_freedom() -> None:
    influence = np.zeros((2, 300))
    influence[0, :15], influence[1, 15:] = np.tile([0.1, -0.1, 0.1], 5), 1e-4
    assert Auc(0.9, influence).degrees == pytest.approx(14, rel=0.01)


def test_few_telling_groups_leave_few_degrees_of_freedom() -> None:
    influence = np.full((2, 100), 1e-6)
    influence[0, :50], influence[1, 50:] = 0, 0
    influence[1, :3] = 0.1
    assert Auc(0.99, influence).degrees == pytest.approx(6, rel=0.01)


def test_delong_stays_within_its_bounds_and_says_where_it_cannot_be_had() -> None:
    n = 60
    positive = np.arange(n) >= 30
    scores = np.arange(n, dtype=np.float64)
    perfect = Auc(1.0, Ranking(scores, positive, np.arange(n)).influence(n))
    found = delong_interval(perfect, 30, 0.88)
    assert isinstance(found, Interval) and (found.low, found.high) == (0.88, 1.0)
    scores[[29, 30]] = scores[[30, 29]]
    nearly = Auc(899 / 900, Ranking(scores, positive, np.arange(n)).influence(n))
    found = delong_interval(nearly, 30, 0.88)
    assert isinstance(found, Interval) and found.low == 0.88 and 899 / 900 < found.high < 1
    bare = delong_interval(nearly, 30, np.inf)
    assert isinstance(bare, Interval) and bare.low > 0.88
    assert delong_interval(Auc(0.0, perfect.influence), 30, 0.88) == "no interval: every pair is out of order"


def test_a_rare_class_of_few_groups_has_no_delong_interval() -> None:
    scores, _, _ = ranked(300, False, 300)
    for rare, shown in ((15, False), (20, True), (30, True)):
        auc = Auc(0.8, Ranking(scores, np.arange(300) < rare, np.arange(300)).influence(300))
        found = delong_interval(auc, rare, np.inf)
        assert isinstance(found, Interval) == shown
        if not shown:
            assert found == "no interval: 15 groups of 300 on one side"


def test_groups_out_of_order_are_told_from_the_others() -> None:
    scores, positive = np.array([0.1, 0.6, 0.4, 0.9, 0.95]), np.array([False, False, True, True, True])
    assert Ranking(scores, positive, np.array([5, 6, 7, 8, 8])).out_of_order() == ({7}, {6})
    even = np.array([0.1, 0.4, 0.4, 0.9, 0.95])
    assert Ranking(even, positive, np.array([5, 6, 7, 8, 8])).out_of_order() == ({7}, {6})
