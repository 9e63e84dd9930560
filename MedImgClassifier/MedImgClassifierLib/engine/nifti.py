"""NIfTI-1 and NIfTI-2 in one file (.nii, .nii.gz) -> Volume.

Read here rather than through a library, because the usual ones fill a truncated file with zeros, turn a
zero voxel size into 1 mm and drop shear. Layout: the NIfTI-1/-2 standard (nifti1.h, nifti2.h).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .errors import Refusal
from .volume import Floats, Source, Volume
from .voxel_values import inflated, kept_voxels, raw_voxels, stacked_volume, volume_shape

_KINDS = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
_COLOUR = {128: 3, 2304: 4}
_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units: unstated, metre, millimetre, micrometre
_RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
_HEADER_LIMIT = 1 << 20  # header and extensions; more than this in front of the voxels is damage


class _Header(NamedTuple):
    order: str  # '<' or '>'
    sizes: tuple[int, ...]  # along i, j, k, ...
    pixdim: tuple[float, ...]  # [8], pixdim[0] is the handedness of the quaternion
    datatype: int
    offset: int
    slope: float
    intercept: float
    qform: int
    sform: int
    quaternion: tuple[float, ...]  # b, c, d
    shift: tuple[float, ...]  # [3]
    rows: tuple[float, ...]  # [12] of the sform
    units: int


def read_nifti(path: Path) -> Volume:
    """One NIfTI file. Raises INPUT_NOT_AN_IMAGE, _DIMENSIONS, _TRUNCATED, _GEOMETRY, _VALUES."""
    data = path.read_bytes()
    packed = data[:2] == b"\x1f\x8b"
    header = _header(inflated(data, 544, path) if packed else data[:544], path)
    shape = volume_shape(header.sizes, path)
    if header.datatype in _COLOUR:
        shown = " x ".join(str(n) for n in (*header.sizes, _COLOUR[header.datatype]))
        raise Refusal("INPUT_DIMENSIONS", path=path, shape=shown)
    if header.datatype not in _KINDS:
        raise Refusal("INPUT_VALUES", path=path, reason=f"NIfTI data type {header.datatype} (complex or unknown)")
    kind = np.dtype(header.order + _KINDS[header.datatype])
    if not 348 <= header.offset <= _HEADER_LIMIT:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason=f"voxels are said to begin at byte {header.offset}")
    if packed:
        data = inflated(data, header.offset + int(np.prod(shape, dtype=object)) * kind.itemsize, path)
    raw = raw_voxels(memoryview(data)[header.offset :], kind, shape, path)
    unscaled = header.slope == 0 or np.isnan(header.slope)  # 0 by the standard, NaN by some writers
    slope, intercept = (1.0, 0.0) if unscaled else (header.slope, header.intercept)
    axes, origin, notes = _placement(header, path)
    return stacked_volume(
        kept_voxels(raw, path, slope, intercept),
        axes,
        origin,
        path,
        source=Source(path=path.name, format="NIfTI", notes=notes),
    )


def _header(block: bytes, path: Path) -> _Header:
    for order in "<>":
        if len(block) >= 348 and struct.unpack_from(order + "i", block)[0] == 348 and block[344:347] == b"n+1":
            return _header_1(block, order, path)
        if len(block) >= 540 and struct.unpack_from(order + "i", block)[0] == 540 and block[4:7] == b"n+2":
            return _header_2(block, order, path)
    raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="no NIfTI header for a single file")


def _header_1(block: bytes, order: str, path: Path) -> _Header:
    def at(where: int, kind: str) -> tuple[float, ...]:
        return struct.unpack_from(order + kind, block, where)

    return _Header(
        order=order,
        sizes=_sizes([int(n) for n in at(40, "8h")], path),
        pixdim=at(76, "8f"),
        datatype=int(at(70, "h")[0]),
        offset=_whole(at(108, "f")[0], path),
        slope=at(112, "f")[0],
        intercept=at(116, "f")[0],
        qform=int(at(252, "h")[0]),
        sform=int(at(254, "h")[0]),
        quaternion=at(256, "3f"),
        shift=at(268, "3f"),
        rows=at(280, "12f"),
        units=block[123] & 7,
    )


def _header_2(block: bytes, order: str, path: Path) -> _Header:
    def at(where: int, kind: str) -> tuple[float, ...]:
        return struct.unpack_from(order + kind, block, where)

    return _Header(
        order=order,
        sizes=_sizes([int(n) for n in at(16, "8q")], path),
        pixdim=at(104, "8d"),
        datatype=int(at(12, "h")[0]),
        offset=int(at(168, "q")[0]),
        slope=at(176, "d")[0],
        intercept=at(184, "d")[0],
        qform=int(at(344, "i")[0]),
        sform=int(at(348, "i")[0]),
        quaternion=at(352, "3d"),
        shift=at(376, "3d"),
        rows=at(400, "12d"),
        units=int(at(500, "i")[0]) & 7,
    )


def _sizes(dim: list[int], path: Path) -> tuple[int, ...]:
    if not 1 <= dim[0] <= 7:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason=f"{dim[0]} dimensions")
    return tuple(dim[1 : dim[0] + 1])


def _whole(value: float, path: Path) -> int:
    if not np.isfinite(value):
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason=f"voxels are said to begin at byte {value}")
    return int(value)


def _placement(header: _Header, path: Path) -> tuple[list[Floats], Floats, tuple[str, ...]]:
    """Steps along the axes and the origin in LPS mm, by the sform, else the qform, else the voxel sizes alone."""
    axes = min(len(header.sizes), 3)
    spacing = np.array(header.pixdim[1 : axes + 1])
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        shown = " x ".join(f"{size:g}" for size in spacing)
        raise Refusal("INPUT_GEOMETRY", path=path, reason=f"voxel size {shown}")
    if header.units not in _MM:
        raise Refusal("INPUT_GEOMETRY", path=path, reason=f"unknown unit of length {header.units}")
    notes: tuple[str, ...] = ()
    if header.sform > 0:
        rows = np.array(header.rows, np.float64).reshape(3, 4)
        matrix, origin = rows[:, :axes], rows[:, 3]
    elif header.qform > 0:
        matrix, origin = _rotation(header, path)[:, :axes] * spacing, np.array(header.shift, np.float64)
    else:
        matrix, origin = np.eye(3)[:, :axes] * spacing, np.zeros(3)
        notes = (
            "ORIENTATION_UNKNOWN: the file states voxel sizes only; its axes are taken as right, anterior, superior",
        )
    factor = _RAS_TO_LPS * _MM[header.units]
    return [matrix[:, n] * factor for n in range(axes)], origin * factor, notes


def _rotation(header: _Header, path: Path) -> Floats:
    """[3, 3] rotation of the qform's unit quaternion; pixdim[0] < 0 flips the third axis."""
    b, c, d = header.quaternion
    rest = 1.0 - (b * b + c * c + d * d)
    if not rest > -1e-5:  # also refuses NaN
        raise Refusal("INPUT_GEOMETRY", path=path, reason="the qform is not a rotation")
    a = max(rest, 0.0) ** 0.5
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    return np.asarray(rotation * np.array([1.0, 1.0, -1.0 if header.pixdim[0] < 0 else 1.0]))
