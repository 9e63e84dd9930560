"""Heads that need no torch: from features to scores in numpy, on every runtime.

A linear head is the network's own last layer (or what was fitted in its place). The others lie in a file of their own
as plain arrays, and the network's class maps say nothing of their answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from .distance_heads import NearestNeighbourHead, RbfSvmHead
from .head_arrays import Arrays
from .tree_head import BoostingHead

__all__ = [
    *("AnyHead", "Head", "LinearHead", "StoredHead", "read_stored"),
    *("BoostingHead", "NearestNeighbourHead", "RbfSvmHead"),
]


class Head(Protocol):
    """kind: as the manifest names it."""

    kind: ClassVar[str]

    @property
    def labels(self) -> int:
        """L, classes that it tells apart."""

    @property
    def features(self) -> int:
        """D, features that it reads."""

    def decide(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """features [N, D] -> logits [N, L]; each row is decided by itself."""


class StoredHead(Head, Protocol):
    """A head with a file of its own."""

    def parameters(self) -> dict[str, Any]:
        """Numbers and names of the manifest."""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What lies in the file."""


@dataclass(frozen=True)
class LinearHead:
    """scores = features @ weight.T + bias. weight: [L, D], bias: [L], float32."""

    kind: ClassVar[str] = "linear"

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    @property
    def labels(self) -> int:
        return len(self.bias)

    @property
    def features(self) -> int:
        return int(self.weight.shape[1])

    def decide(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """features [N, D] -> logits [N, L]; each row is decided by itself."""
        return np.asarray(features @ self.weight.T + self.bias, np.float64)


AnyHead = LinearHead | StoredHead

_READERS: Mapping[str, Callable[[Mapping[str, Any], Arrays], StoredHead]] = {
    RbfSvmHead.kind: RbfSvmHead.read,
    NearestNeighbourHead.kind: NearestNeighbourHead.read,
    BoostingHead.kind: BoostingHead.read,
}


def read_stored(kind: str, parameters: Mapping[str, Any], arrays: Arrays) -> StoredHead:
    """A head of a bundle, which is believed in nothing. Raises ValueError where arrays or parameters are no such head,
    KeyError for another kind."""
    return _READERS[kind](parameters, arrays)
