"""The voxels of DICOM images: stored values, then modality values by each slice's own rescale.

Uncompressed voxels are read straight into the volume; compressed ones are decoded one slice per thread.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.uid import UID

from .dicom_decoding import DECODED, compressed_frame, decoded, stored_kind
from .dicom_headers import (
    BIG_ENDIAN,
    DEFLATED,
    NATIVE,
    ImageHeader,
    open_data_set,
)
from .errors import Refusal

_INT16 = np.iinfo(np.int16)


def read_voxels(headers: Sequence[ImageHeader]) -> NDArray[np.generic]:
    """Modality values [K, J, I] of slices of one size: `stored * slope + intercept`, slice by slice.

    int16 where every slice's slope and intercept are integers and its values fit, else float32.
    MONOCHROME1 is inverted, except in CT, whose HU do not depend on how they are displayed.
    Raises INPUT_TRUNCATED, INPUT_VALUES, INPUT_DIMENSIONS, INPUT_COMPRESSION.
    """
    for header in headers:
        _check_pixels(header)
    if headers[0].transfer_syntax not in NATIVE:
        compressed_frame(headers[0])  # before room is made for a size that only a header claims
    shape = (len(headers), headers[0].rows, headers[0].columns)
    with tempfile.TemporaryDirectory(prefix="medimg-") as scratch:
        if all(_integral(header) for header in headers):
            voxels: NDArray[np.generic] = np.empty(shape, np.int16)
            if _fill(voxels, headers, Path(scratch)):
                return voxels
        voxels = np.empty(shape, np.float32)
        _fill(voxels, headers, Path(scratch))
        return voxels


def rescale(header: ImageHeader) -> tuple[float, float]:
    """(slope, intercept); (1, 0) where the header has none."""
    return (1.0 if header.slope is None else header.slope), (header.intercept or 0.0)


def _integral(header: ImageHeader) -> bool:
    slope, intercept = rescale(header)
    return header.bits_allocated <= 16 and slope.is_integer() and intercept.is_integer()


def _check_pixels(header: ImageHeader) -> None:
    """Refuses what is not one frame of grey integers that can be decoded here."""
    size = [header.rows, header.columns]
    if header.frames != 1 or header.samples != 1 or 0 in size:
        counts = ([header.frames] if header.frames != 1 else []) + size
        shape = counts + ([header.samples] if header.samples != 1 else [])
        raise Refusal("INPUT_DIMENSIONS", path=header.path, shape=" x ".join(str(n) for n in shape))
    native = header.transfer_syntax in NATIVE
    if not native and header.transfer_syntax not in DECODED:
        raise Refusal("INPUT_COMPRESSION", path=header.path, syntax=UID(header.transfer_syntax).name)
    reason = ""
    if header.photometric not in ("MONOCHROME1", "MONOCHROME2"):
        reason = f"photometric interpretation '{header.photometric}' is not grey"
    elif header.bits_allocated not in ((8, 16, 32) if native else (8, 16)):
        reason = f"{header.bits_allocated} bits allocated"
    elif not 1 <= header.bits_stored <= header.bits_allocated or header.high_bit != header.bits_stored - 1:
        reason = f"{header.bits_stored} bits stored, high bit {header.high_bit}, in {header.bits_allocated}"
    elif header.slope == 0:
        reason = "rescale slope 0"
    elif header.transfer_syntax == BIG_ENDIAN and header.bits_allocated == 8:
        reason = "8-bit big-endian voxels"
    if reason:
        raise Refusal("INPUT_VALUES", path=header.path, reason=reason)
    if native:
        _check_native_length(header)


def _check_native_length(header: ImageHeader) -> None:
    expected = header.rows * header.columns * header.bits_allocated // 8
    found = header.pixels_length
    if header.transfer_syntax != DEFLATED:
        found = min(found, header.path.stat().st_size - header.pixels_at)
    if found < expected:
        raise Refusal("INPUT_TRUNCATED", path=header.path, expected=expected, found=max(found, 0))
    if header.pixels_length > expected + 8:  # some writers pad, none by a row
        reason = f"{header.pixels_length} bytes of pixel data for {header.rows} x {header.columns} voxels"
        raise Refusal("INPUT_VALUES", path=header.path, reason=reason)


def _fill(voxels: NDArray[np.generic], headers: Sequence[ImageHeader], scratch: Path) -> bool:
    """Fills [K, J, I]; False where int16 cannot hold a slice."""
    compressed = [k for k, header in enumerate(headers) if header.transfer_syntax not in NATIVE]
    native = [k for k, header in enumerate(headers) if header.transfer_syntax in NATIVE]
    fits = all(_read_native(headers[k], voxels[k]) for k in native)
    if not (fits and compressed):
        return fits

    def read(k: int) -> bool:
        return _rescaled(decoded(headers[k], scratch / f"{k}.dcm"), headers[k], voxels[k])

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8, len(compressed))) as pool:
        return all(pool.map(read, compressed))


def _read_native(header: ImageHeader, target: NDArray[np.generic]) -> bool:
    kind = stored_kind(header)
    # int16 and uint16 voxels are read where they stay; only others need room of their own
    in_place = target.dtype == np.int16 and kind.itemsize == 2
    stored = target.view(kind) if in_place else np.empty(target.shape, kind)
    with open_data_set(header.path, header.transfer_syntax) as file:
        file.seek(header.pixels_at)
        found: int = file.readinto(stored.reshape(-1).view(np.uint8).data)  # type: ignore[attr-defined]
    if found != stored.nbytes:
        raise Refusal("INPUT_TRUNCATED", path=header.path, expected=stored.nbytes, found=found)
    if header.transfer_syntax == BIG_ENDIAN:
        stored.byteswap(inplace=True)
    return _rescaled(stored, header, target)


def _rescaled(stored: NDArray[np.integer[Any]], header: ImageHeader, target: NDArray[np.generic]) -> bool:
    """Modality values of one slice into `target` (which `stored` may be a view of); False where they do not fit."""
    bits, (slope, intercept) = header.bits_stored, rescale(header)
    _clear_unused_bits(stored, bits)
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if header.signed else (0, 2**bits - 1)
    inverted = header.photometric == "MONOCHROME1" and header.modality != "CT"
    if target.dtype == np.float32:
        values = stored.astype(np.float64)
        target[:] = ((low + high - values) if inverted else values) * slope + intercept
        return True
    if not _fits(low, high, slope, intercept):
        ends = [int(stored.min()), int(stored.max())]
        if inverted:
            ends = [low + high - end for end in ends]
        if not _fits(ends[0], ends[1], slope, intercept):
            return False
    # arithmetic modulo 2**16 is exact, because the results are known to fit
    words = target.view(np.uint16)
    if not np.shares_memory(stored, words):
        words[:] = stored.astype(np.uint16)
    if inverted:
        np.subtract(np.uint16((low + high) % 65536), words, out=words)
    if slope != 1:
        words *= np.uint16(int(slope) % 65536)
    if intercept != 0:
        words += np.uint16(int(intercept) % 65536)
    return True


def _fits(one: float, other: float, slope: float, intercept: float) -> bool:
    ends = (one * slope + intercept, other * slope + intercept)
    return _INT16.min <= min(ends) and max(ends) <= _INT16.max


def _clear_unused_bits(stored: NDArray[np.integer[Any]], bits: int) -> None:
    """In place: bits above the stored ones may hold old overlays, and must be copies of a sign."""
    unused = stored.dtype.itemsize * 8 - bits
    if unused and stored.dtype.kind == "u":
        np.bitwise_and(stored, 2**bits - 1, out=stored)
    elif unused:
        np.left_shift(stored, unused, out=stored)
        np.right_shift(stored, unused, out=stored)
