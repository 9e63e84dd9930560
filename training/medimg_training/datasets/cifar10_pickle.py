"""The python form of CIFAR-10 holds pickles. This reads them, and nothing but what they are made of.

A pickle names functions that its reader calls. Here a name is looked up in a list of three, which stand for the
numpy names that an official batch uses and run nothing of numpy; any other name ends the reading before anything is
called. It is the one place of this package that opens a pickle, and it sees only archives whose checksum is official.
"""

from __future__ import annotations

import io
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def load_batch(content: bytes) -> dict[bytes, Any]:
    """The dictionary of a batch: lists, bytes, numbers, and arrays of uint8.

    Raises ValueError for anything else.
    """
    try:
        batch = _Batch(io.BytesIO(content), encoding="bytes").load()
    except ValueError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its bytes lead to
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not isinstance(batch, dict):
        raise ValueError("it holds no dictionary")
    return {key: value.pixels if isinstance(value, _Array) else value for key, value in batch.items()}


class _Array:
    """An array of uint8 under construction: made empty, then filled by `__setstate__`, as numpy's are."""

    __slots__ = ("pixels",)

    def __init__(self) -> None:
        self.pixels: NDArray[np.uint8] = np.empty(0, np.uint8)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        version, shape, kind, fortran, content = state
        if version != 1 or not isinstance(kind, _Uint8) or fortran or not isinstance(content, bytes):
            raise ValueError("an array that is not of uint8")
        if not isinstance(shape, tuple) or math.prod(shape) != len(content):
            raise ValueError("an array whose size is not what it says")
        self.pixels = np.frombuffer(content, np.uint8).reshape(shape)


class _Uint8:
    """The type of its elements."""

    __slots__ = ()

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Byte order and the like, which one byte has not."""


def _ndarray() -> None:
    raise ValueError("an array made otherwise than numpy's pickles make it")


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    if kind is not _ndarray or shape != (0,) or code != b"b":
        raise ValueError("an array made otherwise than numpy's pickles make it")
    return _Array()


def _dtype(code: Any, align: Any, copy: Any) -> _Uint8:
    if code != b"u1":
        raise ValueError("an array that is not of uint8")
    return _Uint8()


_NAMES: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _ndarray,
    ("numpy", "dtype"): _dtype,
}


class _Batch(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise ValueError(f"it asks for {module}.{name}, which no official batch does") from None

    def persistent_load(self, pid: Any) -> Any:
        raise ValueError("it refers to something outside itself")
