"""MetaImage (.mha, or .mhd with its voxel file beside it) -> Volume.

Read here rather than through a library, because the usual ones have open memory-safety defects in this
parser. Layout: MetaIO documentation (itk.org/Wiki/ITK/MetaIO/Documentation). Coordinates are LPS.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from .errors import Refusal
from .volume import Floats, Source, Volume
from .voxel_values import (
    MODALITIES,
    inflated,
    kept_voxels,
    raw_voxels,
    stacked_volume,
    volume_shape,
)

_HEADER_LIMIT = 1 << 20
_KINDS = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def read_metaimage(path: Path) -> Volume:
    """One MetaImage. Raises INPUT_NOT_ALLOWED (voxels elsewhere), _NOT_AN_IMAGE, _DIMENSIONS, _TRUNCATED,
    _GEOMETRY, _VALUES. Modality and units are only taken where the header states them."""
    data = path.read_bytes()
    fields, start = _header(data, path)
    sizes = [int(word) for word in fields["DimSize"].split()]
    if len(sizes) != int(fields["NDims"]):
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="'DimSize' and 'NDims' disagree")
    channels = int(fields.get("ElementNumberOfChannels", "1") or 1)
    shape = volume_shape(sizes if channels == 1 else [*sizes, *(1,) * (3 - len(sizes)), channels], path)
    if fields.get("ElementType") not in _KINDS:
        raise Refusal("INPUT_VALUES", path=path, reason=f"MetaImage type '{fields.get('ElementType')}'")
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False")).lower() == "true"
    kind = np.dtype((">" if big else "<") + _KINDS[fields["ElementType"]])
    if fields.get("BinaryData", "True").lower() != "true" or int(fields.get("HeaderSize", "0") or 0) != 0:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="text voxels or an inner header are not supported")
    stored = memoryview(data)[start:] if fields["ElementDataFile"] == "LOCAL" else _beside(path, fields)
    if fields.get("CompressedData", "False").lower() == "true":
        stored = memoryview(inflated(stored, shape[0] * shape[1] * shape[2] * kind.itemsize, path))
    axes, origin = _placement(fields, len(sizes), path)
    modality = _stated_modality(fields)
    return stacked_volume(
        kept_voxels(raw_voxels(stored, kind, shape, path), path),
        axes,
        origin,
        path,
        modality=modality,
        units="HU" if modality == "CT" and fields.get("units") == "HU" else "arbitrary",
        source=Source(path=path.name, format="MetaImage"),
    )


def _header(data: bytes, path: Path) -> tuple[dict[str, str], int]:
    """Fields, and where the voxels begin: behind the line of ElementDataFile, which is the last one."""
    end = re.search(rb"^ElementDataFile\s*=[^\n]*(\n|\Z)", data[:_HEADER_LIMIT], re.MULTILINE)
    if end is None:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="no MetaImage header")
    lines = data[: end.end()].decode("utf-8", "replace").splitlines()
    pairs = (line.split("=", 1) for line in lines if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}, end.end()


def _beside(path: Path, fields: dict[str, str]) -> memoryview:
    """Voxels of a .mhd: a plain file name in the header's own folder, links out of it not followed."""
    name = fields["ElementDataFile"]
    plain = re.fullmatch(r"[^/\\:%\s][^/\\:%]*\.z?raw", name, re.IGNORECASE) is not None
    if path.suffix.lower() != ".mhd" or not plain:
        raise Refusal("INPUT_NOT_ALLOWED", path=path, reason=f"ElementDataFile = {name}")
    voxels = path.with_name(name)
    if voxels.resolve().parent != path.parent.resolve():
        raise Refusal("INPUT_NOT_ALLOWED", path=path, reason=f"{name} is a link out of the folder")
    if not voxels.is_file():
        raise Refusal("INPUT_NOT_FOUND", path=voxels)
    return memoryview(voxels.read_bytes())


def _placement(fields: dict[str, str], dimension: int, path: Path) -> tuple[list[Floats], Floats]:
    """LPS steps along the first (up to) three axes and the origin, padded from 2-D where the image is 2-D."""
    first = next((key for key in ("ElementSpacing", "ElementSize") if key in fields), "")
    if not first:
        raise Refusal("INPUT_GEOMETRY", path=path, reason="no ElementSpacing")
    spacing = _numbers(fields[first])
    at = next((key for key in ("Offset", "Position", "Origin") if key in fields), "")
    origin = _numbers(fields[at]) if at else [0.0] * dimension
    turn = next((key for key in ("TransformMatrix", "Rotation", "Orientation") if key in fields), "")
    matrix = _numbers(fields[turn]) if turn else list(np.eye(dimension).ravel())
    if (len(spacing), len(origin), len(matrix)) != (dimension, dimension, dimension**2):
        raise Refusal("INPUT_GEOMETRY", path=path, reason="spacing, offset or matrix does not fit the dimension")
    if not min(spacing) > 0:
        raise Refusal("INPUT_GEOMETRY", path=path, reason=f"{first} = {fields[first]}")
    axes = np.zeros((dimension, max(dimension, 3)))
    axes[:, :dimension] = np.reshape(matrix, (dimension, dimension)) * np.array(spacing)[:, None]  # a row per axis
    return list(axes[:3, :3]), np.array([*origin, 0.0][:3])


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.split()]


def _stated_modality(fields: dict[str, str]) -> str:
    names = {"MET_MOD_CT": "CT", "MET_MOD_MR": "MR", "MET_MOD_NM": "NM", "MET_MOD_US": "US"}
    stated = names.get(fields.get("Modality", ""), fields.get("Modality") or fields.get("0008|0060", ""))
    return stated if stated in MODALITIES else ""
