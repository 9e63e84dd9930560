"""What the heads that are stored as plain arrays share: arrays checked as they are read, and scores of two classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
Floats = NDArray[np.float64]


def taken(arrays: Arrays, name: str, dtype: Any, shape: Sequence[int | None]) -> NDArray[Any]:
    """The array of a name. shape: None is any length but 0. Raises ValueError where it is absent, of another type or
    shape, or holds values that are not finite."""
    if name not in arrays:
        raise ValueError(f"the head has no array '{name}'")
    array = arrays[name]
    wanted = np.dtype(dtype)
    fits = len(shape) == array.ndim and all(b in (None, a) for a, b in zip(array.shape, shape, strict=True))
    if array.dtype != wanted or not fits or not array.size:
        raise ValueError(f"the head's '{name}' is {array.dtype} {list(array.shape)}, not {wanted} {list(shape)}")
    if wanted.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"the head's '{name}' holds values that are not finite")
    return array


def only(arrays: Arrays, names: Sequence[str]) -> None:
    """Raise ValueError for an array that a head does not have."""
    unknown = sorted(arrays.keys() - set(names))
    if unknown:
        raise ValueError(f"the head has no use for {unknown[:3]}")


def labels_of(outputs: int) -> int:
    """Labels that a head of so many outputs tells apart: one output does for two. Raises ValueError for two."""
    if outputs == 2:
        raise ValueError("the head has two outputs, where one tells two labels apart")
    return max(outputs, 2)


def per_label(outputs: Floats) -> Floats:
    """Outputs [N, K] -> scores [N, L]; one output d becomes -d/2 and d/2, whose softmax is the logistic of d."""
    return np.concatenate([-outputs / 2, outputs / 2], axis=1) if outputs.shape[1] == 1 else outputs


def in_parts(features: NDArray[np.float32], rows: int, decide: Callable[[Floats], Floats]) -> Floats:
    """`decide` of float64 features, at most so many rows at a time, for what it makes of each may be large."""
    rows = max(1, rows)
    parts = [decide(features[start : start + rows].astype(np.float64)) for start in range(0, len(features), rows)]
    return np.concatenate(parts) if parts else decide(np.zeros(features.shape))
