"""The same figures for each value of a covariate: where does the model fail?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .figures import Figure, figure_of
from .intervals import FEWEST_GROUPS
from .predictions import Predictions

FIGURES = ("accuracy", "balanced accuracy", "macro AUC")


@dataclass(frozen=True)
class Cell:
    """Figures of the images with one value of the covariate. small: under ten groups, no interval, not to be read as
    a finding. classes: images of each class, for a value in which one is missing has other averages."""

    value: str
    n: int
    groups: int
    classes: tuple[int, ...]
    small: bool
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class Subgroups:
    """One covariate's cells, the value that most images have first."""

    covariate: str
    cells: tuple[Cell, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def subgroups(predictions: Predictions, covariate: str, names: Sequence[str] = FIGURES) -> Subgroups:
    """Cells of a covariate; '' is a value like any other. A group that has several values is in several cells.

    names: figures of all classes. Many cells are many chances: the widest difference among them is expected to be wide.
    Raises KeyError for a covariate that is not there.
    """
    values = np.asarray(predictions.covariates[covariate])
    cells = []
    for value in np.unique(values):
        own = predictions.take(np.flatnonzero(values == value))
        seeds, groups = len(np.unique(own.seeds)), len(set(own.groups))
        counts = np.bincount(own.labels, minlength=len(own.classes)) // seeds
        figures = tuple(figure_of(own, name) for name in names)
        classes = tuple(int(count) for count in counts)
        cells.append(Cell(str(value), len(own) // seeds, groups, classes, groups < FEWEST_GROUPS, figures))
    return Subgroups(covariate, tuple(sorted(cells, key=lambda cell: (-cell.n, cell.value))))
