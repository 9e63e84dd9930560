"""Heads that need no torch: from features to scores in numpy, on every runtime."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class LinearHead:
    """scores = features @ weight.T + bias. weight: [L, D], bias: [L], float32."""

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]

    def decide(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """features [N, D] -> logits [N, L]; each row is decided by itself."""
        return np.asarray(features @ self.weight.T + self.bias, np.float64)
