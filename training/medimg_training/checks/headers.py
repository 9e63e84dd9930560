"""What the file of each sample says besides its voxels, read once, as training reads it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tqdm import tqdm

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import Plane
from MedImgClassifierLib.engine.volume import Volume

from ..datasets.manifest import Row
from ..datasets.series_file import read_source

_TOWARDS = ("LR", "PA", "SI")  # letters of +x, -x; +y, -y; +z, -z in LPS


@dataclass(frozen=True)
class Header:
    """The file of one sample as it is stored.

    shape        (slices, rows, columns);  spacing_mm: (between slices, between rows, between columns)
    axes         where slices, rows and columns increase to, in letters of the LPS system: 'SPL' is axial
    series_uid, study_uid  '' where the format has none;  voxels_sha256: of the stored values
    problem      why it cannot be used, '' where it can; everything else is empty then
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    spacing_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    axes: str = ""
    modality: str = ""
    units: str = ""
    format: str = ""
    series_uid: str = ""
    study_uid: str = ""
    voxels_sha256: str = ""
    problem: str = ""


def read_headers(rows: Sequence[Row], plane: Plane = "native", *, progress: bool = False) -> dict[str, Header]:
    """sample -> Header. A file that cannot be read is a Header with a problem, not a refusal, so that one run names
    all of them; a file that several samples share is read once. Raises Refusal RESOURCE_MEMORY."""
    of_path: dict[str, Header] = {}
    found: dict[str, Header] = {}
    for row in tqdm(rows, "headers", disable=not progress, unit="sample"):
        path = str(row.path)
        if path not in of_path:
            of_path[path] = _read(row)
        found[row.sample] = _in_range(of_path[path], row, plane)
    return found


def _read(row: Row) -> Header:
    try:
        return header_of(read_source(row.path))
    except Refusal as refusal:
        if refusal.code.startswith("RESOURCE"):
            raise
        return Header(problem=refusal.message())


def _in_range(header: Header, row: Row, plane: Plane) -> Header:
    """The header, with the problem that a row asks for slices which its native stack does not have."""
    stop = row.slice_to or 0
    if not header.problem and (row.plane or plane) == "native" and max(row.slice_from + 1, stop) > header.shape[0]:
        problem = f"it has {header.shape[0]} slices, the manifest asks for {row.slice_from}..{row.slice_to or 'end'}"
        return replace(Header(), problem=problem)
    return header


def header_of(volume: Volume) -> Header:
    """What a volume says of itself besides its voxels."""
    slices, rows, columns = volume.voxels.shape[:3]
    across, down = volume.spacing_mm
    step = volume.slice_step_lps
    return Header(
        shape=(slices, rows, columns),
        spacing_mm=(float(np.linalg.norm(step)), down, across),
        axes="".join(_letter(axis) for axis in (step, volume.column_direction_lps, volume.row_direction_lps)),
        modality=volume.modality,
        units=volume.units,
        format=volume.source.format,
        series_uid=volume.source.series_uid,
        study_uid=volume.source.study_uid,
        voxels_sha256=hashlib.sha256(np.ascontiguousarray(volume.voxels).data).hexdigest(),
    )


def _letter(direction: np.typing.NDArray[np.float64]) -> str:
    axis = int(np.abs(direction).argmax())
    return _TOWARDS[axis][int(direction[axis] < 0)]


def known_modalities(rows: Sequence[Row], headers: Mapping[str, Header]) -> list[str]:
    """Modality of each row: the manifest's column `modality`, else the file's; '' unknown."""
    return [row.covariates.get("modality") or headers[row.sample].modality for row in rows]
