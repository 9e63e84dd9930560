"""What every file reader does with raw voxels: check that they are all there, finite, and keep them small.

Voxels leave here as int16 where every value is an integer that fits, else as float32.
"""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import Refusal
from .volume import Floats, Source, Volume

MODALITIES = frozenset({"CT", "MR", "PT", "NM", "CR", "DX", "MG", "XA", "RF", "US"})
_INT16 = np.iinfo(np.int16)
_PIECE = 1 << 12  # compressed bytes
_FLOAT32_INTEGERS = 2**24  # the largest range of integers that float32 holds exactly


def volume_shape(sizes: Sequence[int], path: Path) -> tuple[int, int, int]:
    """(K, J, I) of an array with axis sizes (I, J, K, ...), fastest first; further axes must have size 1."""
    if len(sizes) < 2 or min(sizes) < 1 or any(size != 1 for size in sizes[3:]):
        raise Refusal("INPUT_DIMENSIONS", path=path, shape=_shown(sizes))
    return (sizes[2] if len(sizes) > 2 else 1), sizes[1], sizes[0]


def _shown(sizes: Sequence[int]) -> str:
    return " x ".join(str(size) for size in sizes)


def inflated(data: bytes | memoryview, limit: int, path: Path) -> bytes:
    """At most `limit` bytes out of gzip (also of several members) or zlib data, however much it would unpack to."""
    packed, at = memoryview(data), 0
    pieces: list[bytes] = []
    found = 0
    try:
        while at < len(packed) and found < limit:
            stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # 32: gzip or zlib, by its header
            while at < len(packed) and found < limit and not stream.eof:
                # fed in small pieces, because what lies behind the end of a member is copied
                piece = packed[at : at + _PIECE]
                pieces.append(stream.decompress(piece, limit - found))
                found += len(pieces[-1])
                at += len(piece) - len(stream.unused_data)
            if not stream.eof:  # the checksum behind the last byte may lie in the next piece
                stream.decompress(stream.unconsumed_tail + bytes(packed[at : at + _PIECE]), 1)
    except zlib.error as error:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason=f"damaged compressed data: {error}") from error
    return b"".join(pieces)


def inflated_bzip2(data: bytes | memoryview, limit: int, path: Path) -> bytes:
    """At most `limit` bytes out of bzip2 data."""
    try:
        return bz2.BZ2Decompressor().decompress(bytes(data), limit)
    except OSError as error:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason=f"damaged compressed data: {error}") from error


def raw_voxels(
    data: bytes | memoryview, kind: np.dtype[np.generic], shape: tuple[int, int, int], path: Path
) -> NDArray[np.generic]:
    """The first voxels [K, J, I] of `data`, without a copy. Raises INPUT_TRUNCATED where bytes are missing."""
    count = shape[0] * shape[1] * shape[2]
    if len(data) < count * kind.itemsize:
        raise Refusal("INPUT_TRUNCATED", path=path, expected=count * kind.itemsize, found=len(data))
    return np.frombuffer(data, kind, count).reshape(shape)


def kept_voxels(
    raw: NDArray[np.generic], path: Path, slope: float = 1.0, intercept: float = 0.0
) -> NDArray[np.generic]:
    """`raw * slope + intercept` as int16 where that is exact, else float32. Raises INPUT_VALUES."""
    if not (np.isfinite(slope) and np.isfinite(intercept)):
        raise Refusal("INPUT_VALUES", path=path, reason=f"rescale slope {slope}, intercept {intercept}")
    if raw.dtype.kind == "f":
        return _kept_floats(raw, path, slope, intercept)
    ends = [int(raw.min()) * slope + intercept, int(raw.max()) * slope + intercept]
    integral = float(slope).is_integer() and float(intercept).is_integer()
    if integral and _INT16.min <= min(ends) and max(ends) <= _INT16.max:
        if (slope, intercept) == (1, 0):
            return raw.astype(np.int16)
        return (raw.astype(np.int64) * int(slope) + int(intercept)).astype(np.int16)
    if integral and max(abs(end) for end in ends) > _FLOAT32_INTEGERS:
        raise Refusal("INPUT_VALUES", path=path, reason=f"integers from {min(ends):.0f} to {max(ends):.0f}")
    return (raw.astype(np.float64) * slope + intercept).astype(np.float32)


def _kept_floats(raw: NDArray[np.generic], path: Path, slope: float, intercept: float) -> NDArray[np.generic]:
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows float32 is counted below
        values = raw.astype(np.float32)
        if (slope, intercept) != (1, 0):
            values = (raw.astype(np.float64) * slope + intercept).astype(np.float32)
    bad = int(values.size - np.isfinite(values).sum())
    if bad:
        raise Refusal("INPUT_VALUES", path=path, reason=f"{bad} of {values.size} voxels are not finite numbers")
    return values


def stacked_volume(
    voxels: NDArray[np.generic],
    axes_lps: Sequence[Floats],
    origin_lps: Floats,
    path: Path,
    *,
    source: Source,
    modality: str = "",
    units: str = "arbitrary",
) -> Volume:
    """Volume from voxels [K, J, I], the LPS steps (mm) along I, J and, unless 2-D, K, and the first voxel's centre.

    A step along K that is not perpendicular to the slices is kept: the slices lie where the file says.
    Raises INPUT_GEOMETRY for zero, non-finite or non-orthogonal in-plane axes.
    """
    across, down = (np.asarray(axis, np.float64) for axis in axes_lps[:2])
    matrix = np.eye(4)
    with np.errstate(all="ignore"):  # zero and non-finite axes are refused just below
        normal = np.cross(across, down)
        step = axes_lps[2] if len(axes_lps) > 2 else normal / np.linalg.norm(normal)
        matrix[:3] = np.stack([across, down, step, origin_lps], axis=1)
    try:
        volume = Volume.from_matrix(voxels, matrix, modality=modality, units=units, source=source)
        if abs(float(np.dot(matrix[:3, 2], volume.normal_lps))) < 1e-6:
            raise ValueError("slices do not step out of their plane")
    except ValueError as error:
        raise Refusal("INPUT_GEOMETRY", path=path, reason=str(error)) from error
    return volume
