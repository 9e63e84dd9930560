"""Fingerprint: what a data set is like, without a look at which image has which label.

Everything in it is a tally (value -> how often), so that fingerprints of several sites add up to that of all of them
without an image leaving its site, and quantiles come from the tallies.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import Plane, in_plane
from MedImgClassifierLib.engine.volume import Volume

from .cache import sorted_slices
from .datasets.manifest import Manifest, Row
from .datasets.problems import RowProblem, RowsRefusal
from .datasets.series_file import read_source
from .durable import write_durably

FORMAT = 1
HU_STEP = 8
BINS_PER_OCTAVE = 16
"""Values other than HU are counted on a logarithmic grid: quantiles are right within 4.5 % whatever the scale."""

_PICTURES = ("PNG", "JPEG")  # formats without a pixel size


@dataclass(frozen=True)
class Grid:
    """Rows, columns and slices of a volume in one plane, and its spacing in mm: down a column, along a row, between
    slices; 0 where a file does not state it."""

    rows: int
    columns: int
    slices: int
    row_mm: float
    column_mm: float
    slice_mm: float


@dataclass(frozen=True)
class Fingerprint:
    """What is known of some samples.

    images, groups  class -> labelled images (slices), groups with such images
    group_sizes     images of a group -> groups
    grids           plane -> Grid -> samples ('native' as stored; an irregular stack has this one only)
    native_planes   anatomical plane nearest to the stored slices, 'picture' for files without one -> samples
    kinds           'modality units' ('CT HU', ' arbitrary') -> images
    values          the same -> bin of grey value (see `value_bin`) -> pixels
    """

    images: Counter[str] = field(default_factory=Counter)
    groups: Counter[str] = field(default_factory=Counter)
    group_sizes: Counter[int] = field(default_factory=Counter)
    grids: Mapping[str, Counter[Grid]] = field(default_factory=dict)
    native_planes: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    values: Mapping[str, Counter[int]] = field(default_factory=dict)

    def __add__(self, other: Fingerprint) -> Fingerprint:
        """That of the samples of both, whose groups are different ones."""
        return Fingerprint(
            *(_added(own, theirs) for own, theirs in zip(vars(self).values(), vars(other).values(), strict=True))
        )

    @property
    def group_count(self) -> int:
        return sum(self.group_sizes.values())

    def quantile_of_values(self, kind: str, share: float) -> float:
        """Grey value below which this share of the pixels of a kind lies."""
        return bin_value(int(quantile(self.values[kind], share)), kind)

    def to_json(self) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "images": dict(self.images),
            "groups": dict(self.groups),
            "group_sizes": sorted(self.group_sizes.items()),
            "grids": {
                plane: sorted([*vars(grid).values(), count] for grid, count in tally.items())
                for plane, tally in sorted(self.grids.items())
            },
            "native_planes": dict(sorted(self.native_planes.items())),
            "kinds": dict(sorted(self.kinds.items())),
            "values": {kind: sorted(tally.items()) for kind, tally in sorted(self.values.items())},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Fingerprint:
        """Raises KeyError, TypeError or ValueError for what is no fingerprint."""
        if document["format"] != FORMAT:
            raise ValueError(f"format {document['format']} is unknown")
        return cls(
            images=Counter(document["images"]),
            groups=Counter(document["groups"]),
            group_sizes=Counter({int(size): int(count) for size, count in document["group_sizes"]}),
            grids={
                plane: Counter({Grid(*entry[:-1]): int(entry[-1]) for entry in tally})
                for plane, tally in document["grids"].items()
            },
            native_planes=Counter(document["native_planes"]),
            kinds=Counter(document["kinds"]),
            values={
                kind: Counter({int(at): int(count) for at, count in tally})
                for kind, tally in document["values"].items()
            },
        )

    @property
    def sha256(self) -> str:
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def write(self, path: Path) -> None:
        write_durably(path, (json.dumps(self.to_json(), ensure_ascii=False) + "\n").encode())


def read_fingerprint(path: Path) -> Fingerprint:
    """Raises Refusal DATA_PLAN for a file that is none."""
    try:
        return Fingerprint.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refusal("DATA_PLAN", path=path, reason=f"it is no fingerprint ({error})") from error


def take_fingerprint(
    manifest: Manifest, rows: Sequence[Row], plane: Plane = "native", *, progress: bool = False
) -> Fingerprint:
    """The fingerprint of some labelled rows; every file is read once. plane: in which rows that name none are cut.

    Raises RowsRefusal DATA_MANIFEST for files that cannot be read or have not the slices asked for, all of them named.
    """
    found = Fingerprint(
        images=Counter(dict.fromkeys(manifest.classes, 0)),
        groups=Counter(dict.fromkeys(manifest.classes, 0)),
        grids={plane: Counter() for plane in get_args(Plane)},
        values={},
    )
    per_group: Counter[str] = Counter()
    labels_of: dict[str, set[str]] = {}
    problems: list[RowProblem] = []
    for row, volume in tqdm(_volumes(rows, problems), "fingerprint", len(rows), disable=not progress, unit="sample"):
        for name, grid in _grids(volume, row.plane):
            found.grids[name][grid] += 1
        found.native_planes[_native_plane(volume)] += 1
        slices = sorted_slices(in_plane(volume, row.plane or plane)).voxels
        if not row.slice_from < (row.slice_to or len(slices)) <= len(slices):
            reason = f"it has {len(slices)} slices, not {row.slice_from}..{row.slice_to or 'end'}"
            problems.append(RowProblem(0, row.sample, "slice_from, slice_to", reason))
        used = slices[row.slice_from : row.slice_to]
        kind = f"{row.covariates.get('modality') or volume.modality} {volume.units}"
        found.kinds[kind] += len(used)
        cast("dict[str, Counter[int]]", found.values).setdefault(kind, Counter()).update(_tally(used, kind))
        found.images[row.label] += len(used)
        per_group[row.group] += len(used)
        labels_of.setdefault(row.group, set()).add(row.label)
    if problems:
        raise RowsRefusal("DATA_MANIFEST", manifest.path, problems)
    for labels in labels_of.values():
        found.groups.update(labels)
    found.group_sizes.update(per_group.values())
    return found


def quantile(tally: Mapping[Any, int], share: float) -> Any:
    """The smallest value that at least this share of the counted ones do not exceed. Raises ValueError for nothing."""
    total, seen = sum(tally.values()), 0
    for value in sorted(tally):
        seen += tally[value]
        if seen >= share * total:
            return value
    raise ValueError("nothing was counted")


def value_bin(values: NDArray[Any], kind: str) -> NDArray[np.int64]:
    """Bin of each grey value: steps of 8 in HU, else sign and logarithm, 16 bins to a factor of two."""
    numbers = np.asarray(values, np.float64)
    if kind.endswith(" HU"):
        return np.floor(numbers / HU_STEP).astype(np.int64)
    octaves = np.sign(numbers) * np.log2(1 + np.abs(numbers))
    return np.asarray(np.round(octaves * BINS_PER_OCTAVE), np.int64)


def bin_value(at: int, kind: str) -> float:
    """Middle of a bin."""
    if kind.endswith(" HU"):
        return float(at * HU_STEP + HU_STEP / 2)
    return float(np.sign(at) * (2 ** (abs(at) / BINS_PER_OCTAVE) - 1))


def _added(own: Any, theirs: Any) -> Any:
    if isinstance(own, Counter):
        return Counter({key: own[key] + theirs[key] for key in own | theirs})  # '+' would drop what is 0
    return {key: own.get(key, Counter()) + theirs.get(key, Counter()) for key in {**own, **theirs}}


def _volumes(rows: Sequence[Row], problems: list[RowProblem]) -> Iterator[tuple[Row, Volume]]:
    """Rows that can be read; rows of one file that follow each other read it once."""
    path, volume = None, None
    for row in rows:
        try:
            if row.path != path or volume is None:
                path, volume = row.path, read_source(row.path)
        except Refusal as refusal:
            if refusal.code.startswith("RESOURCE"):
                raise
            problems.append(RowProblem(0, row.sample, "path", refusal.message()))
            volume = None
        else:
            yield row, volume


def _grids(volume: Volume, plane: str) -> Iterator[tuple[Plane, Grid]]:
    """The grid in the row's own plane, or else in every plane that the volume can be looked at in."""
    regular = volume.ijk_to_lps is not None and not _is_picture(volume)
    planes = [plane] if plane else get_args(Plane) if regular else ["native"]
    for name in cast("list[Plane]", planes):
        seen = in_plane(volume, name)
        slices, rows, columns = seen.voxels.shape[:3]
        step = float(np.linalg.norm(seen.slice_step_lps)) if slices > 1 else seen.slice_thickness_mm or 0.0
        mm = (0.0, 0.0, 0.0) if _is_picture(volume) else (seen.spacing_mm[1], seen.spacing_mm[0], step)
        yield name, Grid(rows, columns, slices, *(round(float(value), 3) for value in mm))


def _is_picture(volume: Volume) -> bool:
    """Whether the size of its pixels is not stated, so that 1 mm was assumed."""
    unstated = any(note.startswith("PIXEL_SPACING") and "not stated" in note for note in volume.source.notes)
    return volume.source.format in _PICTURES or unstated


def _native_plane(volume: Volume) -> str:
    if _is_picture(volume):
        return "picture"
    return ("sagittal", "coronal", "axial")[int(np.abs(volume.normal_lps).argmax())]


def _tally(voxels: NDArray[Any], kind: str) -> Counter[int]:
    bins, counts = np.unique(value_bin(voxels, kind), return_counts=True)
    return Counter(dict(zip(bins.tolist(), counts.tolist(), strict=True)))
