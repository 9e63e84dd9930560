"""Which images an epoch shows: every one once, or each class or group equally often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from medimg_training.recipe import Recipe
from medimg_training.sampling import class_counts, epoch_batches

MakeRecipe = Callable[..., Recipe]

LABELS = np.array([0] * 50 + [1] * 4)
# one patient with 40 slices, seven with two
GROUPS = ["big"] * 40 + [f"small {n // 2}" for n in range(14)]
ROWS = np.arange(54)


def shown(recipe: Recipe, rows: np.ndarray = ROWS, epoch: int = 0) -> np.ndarray:
    return np.concatenate(epoch_batches(recipe, LABELS, rows, epoch, GROUPS))


def test_an_epoch_shows_every_image_once_or_a_number_of_each_class(recipe: MakeRecipe) -> None:
    assert sorted(shown(recipe(batch=9))) == list(range(54))
    even = shown(recipe(batch=10, images_per_class=10))
    assert list(np.bincount(LABELS[even])) == [10, 10]
    assert set(even[LABELS[even] == 1]) == {50, 51, 52, 53}
    assert {len(b) for b in epoch_batches(recipe(batch=16), LABELS, ROWS, 0)} == {16}


def test_the_balanced_sampler_shows_each_class_equally_often_in_an_epoch_of_natural_length(recipe: MakeRecipe) -> None:
    even = shown(recipe(batch=9, sampler="balanced"))
    assert list(np.bincount(LABELS[even])) == [27, 27]
    assert max(Counter(even[LABELS[even] == 0].tolist()).values()) == 1
    assert set(Counter(even[LABELS[even] == 1].tolist()).values()) == {6, 7}


def test_the_group_balanced_sampler_shows_each_patient_equally_often(recipe: MakeRecipe) -> None:
    even = shown(recipe(batch=8, sampler="group_balanced"))
    counts = Counter(GROUPS[n] for n in even)
    assert set(counts) == set(GROUPS) and set(counts.values()) == {7}
    slices = Counter(even.tolist())
    assert set(slices.values()) == {1, 3, 4}  # of the big patient some once, of the small ones all several times


@pytest.mark.parametrize("sampler", ["natural", "balanced", "group_balanced"])
def test_only_the_given_rows_are_shown_in_an_order_of_seed_and_epoch(recipe: MakeRecipe, sampler: str) -> None:
    rows = np.arange(1, 54, 2)
    chosen = recipe(batch=9, sampler=sampler)
    orders = {shown(chosen, rows, epoch).tobytes() for epoch in (0, 0, 1)}
    orders |= {shown(recipe(batch=9, sampler=sampler, seed=1), rows).tobytes()}
    assert len(orders) == 3
    assert set(shown(chosen, rows)) <= set(rows)


def test_class_counts_are_those_of_the_images_as_they_are_shown(recipe: MakeRecipe) -> None:
    assert class_counts(recipe(), LABELS, ROWS, GROUPS, 3).tolist() == [50, 4, 0]
    assert class_counts(recipe(), LABELS, ROWS[:52], GROUPS, 2).tolist() == [50, 2]
    by_group = class_counts(recipe(sampler="group_balanced"), LABELS, ROWS, GROUPS, 2)
    assert by_group.tolist() == pytest.approx([54 * 6 / 8, 54 * 2 / 8])  # two of eight patients are all of class 1
