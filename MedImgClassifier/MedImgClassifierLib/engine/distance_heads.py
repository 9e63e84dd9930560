"""Heads that compare features with stored examples of the fit role: SVM with an RBF kernel, and nearest neighbours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from .head_arrays import Arrays, Floats, in_parts, labels_of, only, per_label, taken

MAX_EXAMPLES = 1 << 20
_AT_ONCE = 1 << 22  # distances in memory at once

Distance = Literal["euclidean", "cosine"]


@dataclass(frozen=True)
class Standardiser:
    """(features - centre) * factor, then, where there is one, @ projection.T. centre, factor: [D]; projection: [P, D]
    or None; float64. factor is 0 for a feature that does not vary."""

    centre: Floats
    factor: Floats
    projection: Floats | None = None

    @property
    def features(self) -> int:
        return len(self.centre)

    @property
    def width(self) -> int:
        """P, or D without a projection."""
        return self.features if self.projection is None else len(self.projection)

    def apply(self, features: Floats) -> Floats:
        """[N, D] -> [N, P]"""
        scaled = (features - self.centre) * self.factor
        return scaled if self.projection is None else scaled @ self.projection.T

    def arrays(self) -> dict[str, NDArray[Any]]:
        given = {"centre": self.centre, "factor": self.factor}
        return given if self.projection is None else given | {"projection": self.projection}

    @classmethod
    def read(cls, arrays: Arrays) -> Self:
        """Raises ValueError."""
        centre = taken(arrays, "centre", np.float64, [None])
        factor = taken(arrays, "factor", np.float64, [len(centre)])
        projection = None
        if "projection" in arrays:
            projection = taken(arrays, "projection", np.float64, [None, len(centre)])
        return cls(centre, factor, projection)


STANDARDISER_ARRAYS = ("centre", "factor", "projection")


@dataclass(frozen=True)
class RbfSvmHead:
    """A support vector machine for each class against the rest, kernel exp(-gamma * |x - support|**2).

    standardiser: of the features, before the kernel. support: [S, P]; dual: [K, S]; intercept: [K], float64; K is 1 for
    two labels, else L. The scores are decision values (distances in the kernel's space, for two labels half of it on
    either side of zero), not log-odds: their softmax means nothing until a temperature was fitted.
    """

    kind: ClassVar[str] = "rbf_svm"

    standardiser: Standardiser
    support: Floats
    dual: Floats
    intercept: Floats
    gamma: float

    @property
    def labels(self) -> int:
        return labels_of(len(self.intercept))

    @property
    def features(self) -> int:
        return self.standardiser.features

    def decide(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """features [N, D] -> decision values [N, L], one against the rest."""
        return in_parts(features, _AT_ONCE // len(self.support), self._decide)

    def _decide(self, features: Floats) -> Floats:
        kernel = np.exp(-self.gamma * _squared_distances(self.standardiser.apply(features), self.support))
        return per_label(kernel @ self.dual.T + self.intercept)

    def parameters(self) -> dict[str, Any]:
        return {"gamma": self.gamma}

    def arrays(self) -> dict[str, NDArray[Any]]:
        own = {"support": self.support, "dual": self.dual, "intercept": self.intercept}
        return self.standardiser.arrays() | own

    @classmethod
    def read(cls, parameters: Mapping[str, Any], arrays: Arrays) -> Self:
        """Raises ValueError where the arrays are no such head."""
        only(arrays, [*STANDARDISER_ARRAYS, "support", "dual", "intercept"])
        standardiser = Standardiser.read(arrays)
        support = _examples(arrays, "support", np.float64, standardiser.width)
        intercept = taken(arrays, "intercept", np.float64, [None])
        dual = taken(arrays, "dual", np.float64, [len(intercept), len(support)])
        labels_of(len(intercept))
        return cls(standardiser, support, dual, intercept, _positive(parameters, "gamma"))


@dataclass(frozen=True)
class NearestNeighbourHead:
    """The classes of the k nearest stored examples; the scores are the logarithms of their smoothed frequencies.

    examples: [F, P], float32, standardised features of the fit role; classes: [F], int32; class_weight: [L], float64,
    what a vote for each class counts. temperature: a neighbour at the distance d counts exp(-(d - d of the nearest) /
    temperature), None: all the same. smoothing: votes added to each class (Laplace), so that a class without a
    neighbour keeps a finite score. Of examples equally far the earlier one is nearer.
    """

    kind: ClassVar[str] = "nearest_neighbours"

    standardiser: Standardiser
    examples: NDArray[np.float32]
    classes: NDArray[np.int32]
    class_weight: Floats
    k: int
    distance: Distance
    temperature: float | None
    smoothing: float

    @property
    def labels(self) -> int:
        return len(self.class_weight)

    @property
    def features(self) -> int:
        return self.standardiser.features

    @cached_property
    def _compared(self) -> Floats:
        examples = self.examples.astype(np.float64)
        return _to_unit_length(examples) if self.distance == "cosine" else examples

    def decide(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """features [N, D] -> log class frequencies [N, L], finite, their exponentials sum to 1."""
        return in_parts(features, _AT_ONCE // len(self.examples), self._decide)

    def _decide(self, features: Floats) -> Floats:
        distances = self._distances(self.standardiser.apply(features))
        nearest = np.argsort(distances, axis=1, kind="stable")[:, : self.k]
        counts = np.ones(nearest.shape)
        if self.temperature is not None:
            away = np.take_along_axis(distances, nearest, axis=1)
            counts = np.exp(-(away - away[:, :1]) / self.temperature)
        found = self.classes[nearest]
        votes = np.stack([(counts * (found == label)).sum(axis=1) for label in range(self.labels)], axis=1)
        votes = votes * self.class_weight + self.smoothing
        return np.asarray(np.log(votes / votes.sum(axis=1, keepdims=True)))

    def _distances(self, standardised: Floats) -> Floats:
        # float32, as the examples are, so that an example is at no distance from itself
        own = standardised.astype(np.float32).astype(np.float64)
        if self.distance == "cosine":
            return np.maximum(1 - _to_unit_length(own) @ self._compared.T, 0)
        return np.sqrt(_squared_distances(own, self._compared))

    def parameters(self) -> dict[str, Any]:
        return {
            "k": self.k,
            "distance": self.distance,
            "temperature": self.temperature,
            "smoothing": self.smoothing,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        own: dict[str, NDArray[Any]] = {"classes": self.classes, "class_weight": self.class_weight}
        return self.standardiser.arrays() | own | {"examples": self.examples}

    @classmethod
    def read(cls, parameters: Mapping[str, Any], arrays: Arrays) -> Self:
        """Raises ValueError where the arrays are no such head."""
        only(arrays, [*STANDARDISER_ARRAYS, "examples", "classes", "class_weight"])
        standardiser = Standardiser.read(arrays)
        examples = _examples(arrays, "examples", np.float32, standardiser.width)
        classes = taken(arrays, "classes", np.int32, [len(examples)])
        weight = taken(arrays, "class_weight", np.float64, [None])
        if classes.min() < 0 or classes.max() >= len(weight):
            raise ValueError(f"an example of class {classes.max()}, of {len(weight)} classes")
        if not (weight > 0).all():
            raise ValueError("a class whose votes count nothing")
        k, distance = parameters["k"], parameters["distance"]
        if not 1 <= k <= len(examples):
            raise ValueError(f"{k} neighbours of {len(examples)} examples")
        temperature = None if parameters["temperature"] is None else _positive(parameters, "temperature")
        smoothing = _positive(parameters, "smoothing")
        return cls(standardiser, examples, classes, weight, int(k), distance, temperature, smoothing)


def _squared_distances(a: Floats, b: Floats) -> Floats:
    """[N, P] and [S, P] -> [N, S], never below 0."""
    squares = (a * a).sum(axis=1)[:, None] + (b * b).sum(axis=1)
    return np.asarray(np.maximum(squares - 2 * (a @ b.T), 0))


def _to_unit_length(rows: Floats) -> Floats:
    """Rows of length 1; one of zeros stays."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1))


def _examples(arrays: Arrays, name: str, dtype: Any, width: int) -> NDArray[Any]:
    examples = taken(arrays, name, dtype, [None, width])
    if len(examples) > MAX_EXAMPLES:
        raise ValueError(f"'{name}' holds {len(examples):,} examples, more than {MAX_EXAMPLES:,}")
    return examples


def _positive(parameters: Mapping[str, Any], name: str) -> float:
    value = float(parameters[name])
    if not 0 < value < math.inf:
        raise ValueError(f"{name} {value:g} is not positive")
    return value
