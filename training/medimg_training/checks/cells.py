"""The unit of every test on labels: one cell for each label that occurs in a group.

A patient with a hundred slices is one observation, not a hundred. Where a group has one label it is one cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """of_row [n]: cell of each row, -1 for none;  groups [m]: number of each cell's group;  labels [m]: its label."""

    of_row: Indices
    groups: Indices
    labels: Indices

    @classmethod
    def of(cls, groups: Sequence[str], labels: Indices) -> Cells:
        """Cells of n rows from their groups [n] and labels [n]."""
        _, numbers = np.unique(np.asarray(groups), return_inverse=True)
        pairs, of_row = np.unique(np.stack([numbers, labels]), axis=1, return_inverse=True)
        return cls(of_row.reshape(-1).astype(np.int64), pairs[0].astype(np.int64), pairs[1].astype(np.int64))

    def __len__(self) -> int:
        return len(self.labels)

    def means(self, features: Floats) -> Floats:
        """[m, d] mean over the rows of each cell, of features [n, d]."""
        used = self.of_row >= 0
        sums = np.zeros((len(self), features.shape[1]))
        np.add.at(sums, self.of_row[used], features[used])
        return np.asarray(sums / np.bincount(self.of_row[used], minlength=len(self))[:, None])

    def groups_per_class(self, classes: Sequence[str]) -> Mapping[str, int]:
        """class -> in how many groups it occurs."""
        counts = Counter(self.labels.tolist())
        return {name: counts[number] for number, name in enumerate(classes)}

    def only(self, kept: NDArray[np.bool_]) -> Cells:
        """These cells alone, kept [m]; rows of the others have none."""
        number = np.where(kept, np.cumsum(kept) - 1, -1)
        of_row = np.where(self.of_row >= 0, number[self.of_row], -1)
        return Cells(of_row, self.groups[kept], self.labels[kept])

    def permuted(self, random: np.random.Generator) -> Indices:
        """[m] labels exchanged among groups: those with equally many labels swap them as a whole, and each hands its
        own out anew to its cells. Under the null, that labels say nothing of what is tested, all are equally likely."""
        out = self.labels.copy()
        _, where, sizes = np.unique(self.groups, return_inverse=True, return_counts=True)
        order = np.argsort(where, kind="stable")
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        for size in np.unique(sizes):
            members = order[starts[sizes == size][:, None] + np.arange(size)]  # [groups of this size, size]
            labels = self.labels[members][random.permutation(len(members))]
            out[members] = random.permuted(labels, axis=1)
        return out
