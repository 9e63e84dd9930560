"""NRRD in one file (.nrrd) -> Volume.

Read here rather than through a library, because the usual ones follow a `data file` anywhere on the disk and
drop shear. Layout: the NRRD0004/0005 definition (teem.sourceforge.net/nrrd/format.html).
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .errors import Refusal
from .volume import Floats, Source, Volume
from .voxel_values import (
    MODALITIES,
    inflated,
    inflated_bzip2,
    kept_voxels,
    raw_voxels,
    stacked_volume,
    volume_shape,
)

_HEADER_LIMIT = 1 << 20
_KINDS = {
    name: kind
    for kind, names in {
        "i1": "signed char,int8,int8_t",
        "u1": "uchar,unsigned char,uint8,uint8_t",
        "i2": "short,short int,signed short,signed short int,int16,int16_t",
        "u2": "ushort,unsigned short,unsigned short int,uint16,uint16_t",
        "i4": "int,signed int,int32,int32_t",
        "u4": "uint,unsigned int,uint32,uint32_t",
        "i8": "longlong,long long,long long int,signed long long,signed long long int,int64,int64_t",
        "u8": "ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t",
        "f4": "float",
        "f8": "double",
    }.items()
    for name in names.split(",")
}
_SPACES = {
    "left-posterior-superior": (1.0, 1.0, 1.0),
    "lps": (1.0, 1.0, 1.0),
    "right-anterior-superior": (-1.0, -1.0, 1.0),
    "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0),
    "las": (1.0, -1.0, 1.0),
}


def read_nrrd(path: Path) -> Volume:
    """One attached NRRD file. Raises INPUT_NOT_ALLOWED (detached), _NOT_AN_IMAGE, _DIMENSIONS, _TRUNCATED,
    _GEOMETRY, _VALUES. Modality and units are only taken where the file's key/value pairs state them."""
    data = path.read_bytes()
    fields, facts, start = _header(data, path)
    if "data file" in fields or "datafile" in fields:
        raise Refusal("INPUT_NOT_ALLOWED", path=path, reason="its voxels are in another file")
    sizes = [int(word) for word in fields["sizes"].split()]
    if len(sizes) != int(fields["dimension"]):
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="'sizes' and 'dimension' disagree")
    if sum(size != 1 for size in sizes) > 3:
        raise Refusal("INPUT_DIMENSIONS", path=path, shape=" x ".join(str(size) for size in sizes))
    if any(float(fields.get(name, "0")) for name in ("line skip", "lineskip", "byte skip", "byteskip")):
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="bytes to skip before the voxels")
    axes, origin, notes = _placement(fields, len(sizes), path)
    spatial = [n for n, axis in enumerate(axes) if axis is not None]
    if any(size != 1 for n, size in enumerate(sizes) if n not in spatial):
        raise Refusal("INPUT_DIMENSIONS", path=path, shape=" x ".join(str(size) for size in sizes))
    shape = volume_shape([sizes[n] for n in spatial], path)
    raw = _voxels(memoryview(data)[start:], fields, shape, path)
    modality = next((facts[key] for key in ("modality", "0008|0060") if facts.get(key) in MODALITIES), "")
    return stacked_volume(
        kept_voxels(raw, path),
        [axis for axis in axes if axis is not None][:3],
        origin,
        path,
        modality=modality,
        units="HU" if modality == "CT" and facts.get("units") == "HU" else "arbitrary",
        source=Source(path=path.name, format="NRRD", notes=notes),
    )


def _header(data: bytes, path: Path) -> tuple[dict[str, str], dict[str, str], int]:
    """Fields, key/value pairs (keys in lower case) and where the voxels begin."""
    end = re.search(rb"\r?\n\r?\n", data[:_HEADER_LIMIT])
    if not data.startswith(b"NRRD000") or end is None:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="no NRRD header")
    fields: dict[str, str] = {}
    facts: dict[str, str] = {}
    for line in data[: end.start()].decode("utf-8", "replace").splitlines()[1:]:
        if line.startswith("#"):
            continue
        if ":=" in line:
            key, value = line.split(":=", 1)
            facts[key.strip().lower()] = value.strip()
        elif ":" in line:
            key, value = line.split(":", 1)
            fields[key.strip().lower()] = value.strip()
    return fields, facts, end.end()


def _placement(
    fields: dict[str, str], dimension: int, path: Path
) -> tuple[list[Floats | None], Floats, tuple[str, ...]]:
    """LPS step of each axis (None where an axis is not spatial), origin, notes."""
    unknown = ("ORIENTATION_UNKNOWN: the file does not say how its axes lie in the patient",)
    if "space directions" not in fields:
        spacings = [float(word) for word in fields.get("spacings", "").split()]
        if len(spacings) != dimension:
            raise Refusal("INPUT_GEOMETRY", path=path, reason="neither space directions nor spacings")
        steps = iter(np.eye(3))
        # a NaN spacing marks an axis that is not spatial; a fourth spatial axis is refused with the sizes
        axes = [None if np.isnan(s) else s * next(steps, np.ones(3)) for s in spacings]
        return axes, np.zeros(3), unknown
    if any(unit != "mm" for unit in re.findall(r'"([^"]*)"', fields.get("space units", ""))):
        raise Refusal("INPUT_GEOMETRY", path=path, reason=f"space units {fields['space units']}")
    space = fields.get("space", "").lower()
    sign = np.array(_SPACES.get(space, (1.0, 1.0, 1.0)))
    words = re.findall(r"\([^)]*\)|none", fields["space directions"])
    if len(words) != dimension:
        raise Refusal("INPUT_GEOMETRY", path=path, reason="space directions do not fit the dimension")
    axes = [None if word == "none" else _vector(word, path) * sign for word in words]
    origin = _vector(fields["space origin"], path) * sign if "space origin" in fields else np.zeros(3)
    return axes, origin, () if space in _SPACES else unknown


def _vector(word: str, path: Path) -> Floats:
    """[3] vector from '(x,y,z)', or from '(x,y)' with z = 0."""
    try:
        numbers = [float(x) for x in word.strip().strip("()").split(",")]
    except ValueError as error:
        raise Refusal("INPUT_GEOMETRY", path=path, reason=f"'{word}' is not a vector") from error
    if len(numbers) not in (2, 3):
        raise Refusal("INPUT_GEOMETRY", path=path, reason=f"'{word}' is not a vector of this space")
    return np.array([*numbers, 0.0][:3])


def _voxels(data: memoryview, fields: dict[str, str], shape: tuple[int, int, int], path: Path) -> NDArray[np.generic]:
    name = fields.get("type", "").lower()
    if name not in _KINDS:
        raise Refusal("INPUT_VALUES", path=path, reason=f"NRRD type '{name}'")
    kind = np.dtype((">" if fields.get("endian", "little").lower() == "big" else "<") + _KINDS[name])
    if kind.itemsize > 1 and "endian" not in fields:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="NRRD field 'endian' is missing")
    expected = shape[0] * shape[1] * shape[2] * kind.itemsize
    encoding = fields.get("encoding", "").lower()
    if encoding in ("gzip", "gz"):
        data = memoryview(inflated(data, expected, path))
    elif encoding in ("bzip2", "bz2"):
        data = memoryview(inflated_bzip2(data, expected, path))
    elif encoding != "raw":
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason=f"NRRD encoding '{encoding}' is not supported")
    return raw_voxels(data, kind, shape, path)
