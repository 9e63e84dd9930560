"""Slow fields: uniform cubic B-splines over the image, evaluated as two small matrix products."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def field(coefficients: Tensor, rows: int, columns: int) -> Tensor:
    """[..., K, K] coefficients of (K - 3) x (K - 3) cells -> [..., rows, columns] values at the pixels' centres.

    No value lies beyond the largest coefficient (the basis is positive and sums to 1).
    """
    cells = coefficients.shape[-1] - 3
    down = _basis(rows, cells).to(coefficients.device)
    across = _basis(columns, cells).to(coefficients.device)
    return down @ coefficients @ across.T


@lru_cache(maxsize=64)
def _basis(size: int, cells: int) -> Tensor:
    """[size, cells + 3] weight of each coefficient at each pixel's centre."""
    place = (np.arange(size) + 0.5) / size * cells
    distance = np.abs(place[:, None] - np.arange(-1, cells + 2))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    return torch.from_numpy(np.where(distance < 1, near, far).astype(np.float32))
