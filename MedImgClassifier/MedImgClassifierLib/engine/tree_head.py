"""Gradient-boosted trees as plain arrays (Friedman 2001; Ke et al. 2017 for histograms), followed level by level."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .head_arrays import Arrays, Floats, in_parts, labels_of, only, per_label, taken

MAX_NODES = 1 << 23
MAX_TREES = 1 << 16
MAX_DEPTH = 256
_AT_ONCE = 1 << 22  # places in trees at once

_NODE_ARRAYS = (
    ("feature", np.int32),
    ("threshold", np.float64),
    ("missing_left", np.uint8),
    ("left", np.int32),
    ("right", np.int32),
    ("value", np.float64),
)
NAMES = (*(name for name, _ in _NODE_ARRAYS), "root", "output", "baseline")


@dataclass(frozen=True)
class BoostingHead:
    """scores = baseline + what each tree's leaf says.

    Of each of the M nodes: feature (int32) and threshold (float64): a value <= threshold goes left, NaN goes where
    missing_left (uint8) says; left, right (int32): nodes further on, a leaf's are itself; value (float64): of a leaf.
    root, output: [T], int32, each tree's first node and the output it adds to. baseline: [K], float64, K is 1 for two
    labels, else L. read_features: D. The outputs are log-odds, for two labels half on either side of zero.
    """

    kind: ClassVar[str] = "boosting"

    feature: NDArray[np.int32]
    threshold: Floats
    missing_left: NDArray[np.uint8]
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: Floats
    root: NDArray[np.int32]
    output: NDArray[np.int32]
    baseline: Floats
    read_features: int

    @property
    def labels(self) -> int:
        return labels_of(len(self.baseline))

    @property
    def features(self) -> int:
        return self.read_features

    def decide(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """features [N, D] -> logits [N, L]."""
        return in_parts(features, _AT_ONCE // len(self.root), lambda part: per_label(self.raw(part)))

    def raw(self, features: NDArray[Any]) -> Floats:
        """features [N, D] -> outputs [N, K]."""
        at = np.tile(self.root, (len(features), 1))
        rows = np.arange(len(features))[:, None]
        for _ in range(self._depth):
            seen = features[rows, self.feature[at]]
            goes_left = np.where(np.isnan(seen), self.missing_left[at] != 0, seen <= self.threshold[at])
            at = np.where(goes_left, self.left[at], self.right[at])
        said = self.value[at]
        sums = [said[:, self.output == output].sum(axis=1) for output in range(len(self.baseline))]
        return np.asarray(np.stack(sums, axis=1) + self.baseline)

    @cached_property
    def _depth(self) -> int:
        """Steps from a root to the farthest leaf. Raises ValueError for more than MAX_DEPTH."""
        level, depth = self.root, 0
        while len(level := level[self.left[level] != level]):
            depth += 1
            if depth > MAX_DEPTH:
                raise ValueError(f"a tree is more than {MAX_DEPTH} levels deep")
            level = np.concatenate([self.left[level], self.right[level]])
        return depth

    def parameters(self) -> dict[str, Any]:
        return {"features": self.read_features}

    def arrays(self) -> dict[str, NDArray[Any]]:
        return {name: getattr(self, name) for name in NAMES}

    @classmethod
    def read(cls, parameters: Mapping[str, Any], arrays: Arrays) -> Self:
        """Raises ValueError where the arrays are no such head."""
        only(arrays, NAMES)
        nodes = len(taken(arrays, "feature", np.int32, [None]))
        given = {name: taken(arrays, name, dtype, [nodes]) for name, dtype in _NODE_ARRAYS}
        root = taken(arrays, "root", np.int32, [None])
        output = taken(arrays, "output", np.int32, [len(root)])
        baseline = taken(arrays, "baseline", np.float64, [None])
        labels_of(len(baseline))
        if nodes > MAX_NODES or len(root) > MAX_TREES:
            raise ValueError(f"{len(root):,} trees of {nodes:,} nodes, more than {MAX_TREES:,} of {MAX_NODES:,}")
        _within(output, len(baseline), "output")
        features = int(parameters["features"])
        _within(given["feature"], features, "feature")
        _check_trees(given["left"], given["right"], root)
        head = cls(**given, root=root, output=output, baseline=baseline, read_features=features)
        _ = head._depth
        return head


def _check_trees(left: NDArray[np.int32], right: NDArray[np.int32], root: NDArray[np.int32]) -> None:
    """Raise ValueError unless every node is a root or the child of one node before it: then no path turns back, none
    meets another, and each ends in a leaf."""
    nodes = np.arange(len(left))
    for name, of in (("left", left), ("right", right), ("root", root)):
        _within(of, len(nodes), name)
    leaf = left == nodes
    if ((right == nodes) != leaf).any() or not leaf.any():
        raise ValueError("a node that is half a leaf")
    inner = nodes[~leaf]
    if (left[inner] <= inner).any() or (right[inner] <= inner).any():
        raise ValueError("a path that turns back")
    reached = np.bincount(np.concatenate([root, left[inner], right[inner]]), minlength=len(nodes))
    if (reached != 1).any():
        raise ValueError("a node that is reached in several ways, or in none")


def _within(numbers: NDArray[np.int32], count: int, name: str) -> None:
    if numbers.min() < 0 or numbers.max() >= count:
        raise ValueError(f"'{name}' is not within 0 to {count - 1}")
