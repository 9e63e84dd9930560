"""Which images an epoch shows, in which order and batches. All of it follows from (seed, epoch)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .cache import Indices
from .recipe import Recipe


def epoch_batches(
    recipe: Recipe, labels: Indices, rows: Indices, epoch: int, groups: Sequence[str] = ()
) -> list[Indices]:
    """Rows of each batch of an epoch, all batches of one size (what does not fill one waits for another epoch).

    labels, groups: of every image of the cache; groups are asked for by the sampler 'group_balanced' alone.
    """
    random = np.random.default_rng([recipe.seed, 0, epoch])
    if recipe.sampler == "natural":
        order = random.permutation(rows)
    else:
        keys = labels[rows] if recipe.sampler == "balanced" else _numbered(groups, rows)
        of_each = recipe.images_per_class or -(-len(rows) // len(np.unique(keys)))
        order = random.permutation(_equally_often(random, rows, keys, of_each))
    size = min(recipe.batch, len(order))
    return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]


def class_counts(
    recipe: Recipe, labels: Indices, rows: Indices, groups: Sequence[str], classes: int
) -> NDArray[np.float64]:
    """[L] images of each class among `rows`, which class weights and logit adjustment answer.

    Where each group is shown equally often, each counts as the mean number of images of a group.
    """
    weights = np.ones(len(rows))
    if recipe.sampler == "group_balanced":
        numbers = _numbered(groups, rows)
        own = np.bincount(numbers)
        weights = len(rows) / (len(own) * own[numbers])
    return np.bincount(labels[rows], weights, minlength=classes).astype(np.float64)


def _equally_often(random: np.random.Generator, rows: Indices, keys: Indices, of_each: int) -> Indices:
    """So many rows of each key: all of them before any comes again, in another order."""
    drawn = []
    for key in np.unique(keys):
        own = rows[keys == key]
        rounds = -(-of_each // len(own))
        drawn.append(np.concatenate([random.permutation(own) for _ in range(rounds)])[:of_each])
    return np.concatenate(drawn)


def _numbered(groups: Sequence[str], rows: Indices) -> Indices:
    """[len(rows)] the group of each row as a number 0..G-1."""
    return np.unique([groups[n] for n in rows], return_inverse=True)[1].astype(np.int64)
