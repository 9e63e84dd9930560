"""How sharp an image is: Gaussian blur and lower resolution."""

from __future__ import annotations

from math import ceil

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .kinds import Selection

LEVELS = 16
"""Sizes of `coarser` are sixteenths of the image, so that the images of a batch with the same size go together."""

CUT = 4.0
"""Standard deviations at which the Gaussian ends."""


def blurred(chosen: Selection) -> Tensor:
    """Gaussian of `strength` pixels on both axes; the outermost pixels go on outside."""
    reach = ceil(CUT * float(chosen.strength.max()))
    place = np.arange(-reach, reach + 1)
    sigma = np.maximum(chosen.strength, 1e-3)[:, None]
    weights = np.where(np.abs(place) <= np.ceil(CUT * sigma), np.exp(-0.5 * (place / sigma) ** 2), 0)
    taps = chosen.column(weights / weights.sum(axis=1, keepdims=True))
    return _along(_along(chosen.x, taps, 2), taps, 3).clamp_(0, 1)


def coarser(chosen: Selection) -> Tensor:
    """Made smaller to `strength` of its size with antialiasing, then larger again, linearly: an acquisition of lower
    resolution that was interpolated."""
    height, width = chosen.x.shape[2:]
    levels = np.maximum(np.round(chosen.strength * LEVELS), 1).astype(int)
    out = torch.empty_like(chosen.x)
    for level in np.unique(levels):
        rows = torch.from_numpy(np.flatnonzero(levels == level)).to(out.device)
        small = [max(round(size * int(level) / LEVELS), 1) for size in (height, width)]
        shrunk = F.interpolate(chosen.x[rows], small, mode="bilinear", align_corners=False, antialias=True)
        out[rows] = F.interpolate(shrunk, (height, width), mode="bilinear", align_corners=False)
    return out.clamp_(0, 1)


def _along(x: Tensor, taps: Tensor, axis: int) -> Tensor:
    """x [n, C, H, W] weighed with the taps [n, K, 1, 1] of each image along one axis: K shifted sums, which is several
    times as fast as products with matrices and, other than grouped convolutions, the same in every batch."""
    reach, size = taps.shape[1] // 2, x.shape[axis]
    padding = (0, 0, reach, reach) if axis == 2 else (reach, reach, 0, 0)
    padded = F.pad(x, padding, mode="replicate")
    out = padded.narrow(axis, 0, size) * taps[:, :1]
    for k in range(1, taps.shape[1]):
        out.addcmul_(padded.narrow(axis, k, size), taps[:, k : k + 1])
    return out
