"""Antialiased resizing by banded matrix products.

Equal to Pillow's BILINEAR in mode 'F' (a triangle filter widened by the scale; no 8-bit step), but batched and
several times faster: each output row depends on a few input rows only, so the products run over bands.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_BAND = 32  # output rows a product makes at once


def resize(images: NDArray[np.float32], rows: int, columns: int) -> NDArray[np.float32]:
    """Images [..., H, W] to [..., rows, columns], float32."""
    height, width = images.shape[-2:]
    if (height, width) == (rows, columns):
        return images
    stack = images.reshape(-1, height, width)
    out = np.empty((len(stack), rows, columns), np.float32)
    narrow = np.empty((height, columns), np.float32)
    for image, target in zip(stack, out, strict=True):  # one image at a time stays in cache
        for made, used, weights in _bands(width, columns):
            np.matmul(image[:, used], weights.T, out=narrow[:, made])
        for made, used, weights in _bands(height, rows):
            np.matmul(weights, narrow[used], out=target[made])
    return out.reshape(*images.shape[:-2], rows, columns)


@lru_cache(maxsize=64)
def _bands(before: int, after: int) -> tuple[tuple[slice, slice, NDArray[np.float32]], ...]:
    """(output range, input range, weights [output, input]) of each band."""
    weights = _triangle_weights(before, after)
    bands = []
    for start in range(0, after, _BAND):
        stop = min(start + _BAND, after)
        touched = np.flatnonzero(weights[start:stop].any(axis=0))
        used = slice(int(touched[0]), int(touched[-1]) + 1)
        bands.append((slice(start, stop), used, np.ascontiguousarray(weights[start:stop, used], np.float32)))
    return tuple(bands)


def _triangle_weights(before: int, after: int) -> NDArray[np.float64]:
    """[after, before] weights of a triangle filter whose half-width is the scale (at least one input pixel)."""
    scale = before / after
    reach = max(scale, 1.0)
    centres = (np.arange(after) + 0.5) * scale
    distance = np.abs(np.arange(before) + 0.5 - centres[:, None]) / reach
    weights = np.maximum(1 - distance, 0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
