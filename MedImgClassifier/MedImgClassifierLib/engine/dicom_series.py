"""A DICOM folder or file -> Volume: one series, its slices in order along their normal.

Slice origins stay as ImagePositionPatient states them, so gantry tilt and uneven steps are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .dicom_headers import ImageHeader, Unusable, headers_in, read_header
from .dicom_pixels import read_voxels
from .errors import Refusal
from .volume import Floats, Source, Volume

_SAME_PLACE_MM = 0.01
_SAME_DIRECTION = 1e-3
_Found = ImageHeader | Unusable
_LOSSY_SYNTAXES = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")


@dataclass(frozen=True)
class SeriesSummary:
    """One series of a folder: SeriesInstanceUID, Modality, SeriesDescription, number of images; why it cannot be
    read, '' where nothing in its headers forbids it."""

    uid: str
    modality: str
    description: str
    count: int
    unusable: str = ""

    def __str__(self) -> str:
        unusable = self.unusable and f"unusable, because {self.unusable}"
        parts = (self.modality, self.description, f"{self.count} images", unusable)
        return f"{self.uid or 'without UID'} ({', '.join(part for part in parts if part)})"


def list_series(folder: str | Path) -> tuple[SeriesSummary, ...]:
    """The series in a folder and below, in order of their first file; last, without UID, the files that are too
    damaged to say which series they belong to. Raises INPUT_NOT_FOUND."""
    if not Path(folder).is_dir():
        raise Refusal("INPUT_NOT_FOUND", path=folder)
    return _summaries(*_by_series(headers_in(Path(folder))))


def read_dicom_folder(folder: Path, series: str | None = None) -> Volume:
    """The one series of a folder, or the one with SeriesInstanceUID `series`.

    Refused where an image of this series cannot be read. Files too damaged to say which series they belong to may
    be slices of it: they are refused, too, unless the series was chosen by name; then they are noted.
    """
    groups, lost = _by_series(headers_in(folder))
    listing = "; ".join(str(summary) for summary in _summaries(groups, lost))
    if not groups and not lost:
        raise Refusal("INPUT_EMPTY_FOLDER", path=folder)
    if series is not None and series not in groups:
        raise Refusal("INPUT_SERIES_UNKNOWN", path=folder, series=series, listing=listing)
    if series is None and len(groups) > 1:
        raise Refusal("INPUT_SEVERAL_SERIES", path=folder, count=len(groups), listing=listing)
    if series is None and lost:
        raise lost[0].refusal
    members = next(iter(groups.values())) if series is None else groups[series]
    note = f"UNREADABLE_FILES: {len(lost)} files could not be read (first: {lost[0].path.name})" if lost else ""
    return _volume(_usable(members), folder, [note] if note else [])


def read_dicom_file(path: Path, series: str | None = None) -> Volume:
    """One DICOM file of one frame, as a Volume of one slice."""
    header = read_header(path)
    if header is None:
        raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="a DICOM object without an image")
    headers = _usable([header])
    if series is not None and series != header.series_uid:
        raise Refusal("INPUT_SERIES_UNKNOWN", path=path, series=series, listing=_summary([header]))
    return _volume(headers, path, [])


def read_dicom_files(files: Sequence[Path], series: str) -> Volume:
    """The series whose images are exactly these files. Refused where one is not an image of this series."""
    headers = [read_header(path) for path in files]
    for path, header in zip(files, headers, strict=True):
        if header is None or header.series_uid != series:
            listing = "no image" if header is None else _summary([header])
            raise Refusal("INPUT_SERIES_UNKNOWN", path=path, series=series, listing=listing)
    return _volume(_usable(header for header in headers if header is not None), files[0].parent, [])


def _by_series(headers: Iterable[_Found]) -> tuple[dict[str, list[_Found]], list[Unusable]]:
    """Images by SeriesInstanceUID, and the damaged ones whose series is not known."""
    groups: dict[str, list[_Found]] = {}
    lost = []
    for header in headers:
        if isinstance(header, Unusable) and not header.series_uid:
            lost.append(header)
        else:
            groups.setdefault(header.series_uid, []).append(header)
    return groups, lost


def _usable(headers: Iterable[_Found]) -> list[ImageHeader]:
    """The same headers; raises the refusal of the first that is unusable."""
    usable = []
    for header in headers:
        if isinstance(header, Unusable):
            raise header.refusal
        usable.append(header)
    return usable


def _summaries(groups: dict[str, list[_Found]], lost: list[Unusable]) -> tuple[SeriesSummary, ...]:
    known = tuple(_summary(headers) for headers in groups.values())
    return (*known, _summary(lost)) if lost else known


def _summary(headers: Sequence[_Found]) -> SeriesSummary:
    first = headers[0]
    description = next((header.description for header in headers if isinstance(header, ImageHeader)), "")
    unusable = next((header.reason for header in headers if isinstance(header, Unusable)), "")
    return SeriesSummary(first.series_uid, first.modality, description, len(headers), unusable)


def _volume(headers: list[ImageHeader], path: Path, found: list[str]) -> Volume:
    """The stack of one series' images; `found`: notes on what was found beside them."""
    headers, notes = _without_duplicates(headers, path)
    notes += found
    first = headers[0]
    _check_alike(headers, path)
    if len(headers) == 1 and (first.position is None or first.orientation is None):
        row, column, origins = np.eye(3)[0], np.eye(3)[1], np.zeros((1, 3))
        notes.append("NO_POSITION: the image does not say where it lies in the patient")
    else:
        row, column, headers, origins = _in_order(headers, path)
        first = headers[0]
    spacing = _spacing_mm(first, path, notes)
    units = _units(headers, path, notes)
    notes += _image_notes(headers)
    numbers = tuple(header.instance_number for header in headers if header.instance_number is not None)
    uids = tuple(header.sop_uid for header in headers)
    return Volume(
        voxels=read_voxels(headers),
        row_direction_lps=row,
        column_direction_lps=column,
        spacing_mm=spacing,
        slice_origins_lps=origins,
        modality=first.modality,
        units=units,
        slice_thickness_mm=first.thickness if first.thickness and first.thickness > 0 else None,
        source=Source(
            path=path.resolve().name,
            format="DICOM",
            series_uid=first.series_uid,
            study_uid=first.study_uid,
            frame_of_reference_uid=first.frame_of_reference_uid,
            sop_instance_uids=uids if all(uids) else (),
            instance_numbers=numbers if len(numbers) == len(headers) else (),
            description=first.description,
            notes=tuple(notes),
        ),
    )


def _without_duplicates(headers: list[ImageHeader], path: Path) -> tuple[list[ImageHeader], list[str]]:
    """One header per SOPInstanceUID. Two different images under one UID are refused, not chosen from."""
    kept: dict[str, ImageHeader] = {}
    unnamed: list[ImageHeader] = []
    dropped = []
    for header in headers:
        if not header.sop_uid:
            unnamed.append(header)
            continue
        known = kept.setdefault(header.sop_uid, header)
        if known is header:
            continue
        if (known.position, known.rows, known.columns) != (header.position, header.rows, header.columns) or (
            not np.array_equal(read_voxels([known]), read_voxels([header]))
        ):
            reason = f"{known.path.name} and {header.path.name} differ but share one SOPInstanceUID"
            raise Refusal("INPUT_GEOMETRY", path=path, reason=reason)
        dropped.append(header.path.name)
    note = f"DUPLICATE_INSTANCE: left out {len(dropped)} copies of slices already there ({_few(dropped)})"
    return [*kept.values(), *unnamed], [note] if dropped else []


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _check_alike(headers: Sequence[ImageHeader], path: Path) -> None:
    """Refuses a series whose images cannot be slices of one stack."""
    first = headers[0]
    for header in headers[1:]:
        if (header.rows, header.columns) != (first.rows, first.columns):
            reason = f"{first.rows} x {first.columns} and {header.rows} x {header.columns} slices in one series"
        elif (header.modality, header.photometric) != (first.modality, first.photometric):
            reason = "modality or photometric interpretation changes within the series"
        elif header.frame_of_reference_uid != first.frame_of_reference_uid:
            reason = "two frames of reference in one series"
        elif not _same(header.pixel_spacing, first.pixel_spacing, _SAME_DIRECTION):
            reason = "pixel spacing changes within the series"
        elif not _same(header.orientation, first.orientation, _SAME_DIRECTION):
            reason = "slice orientation changes within the series (a localiser among the slices?)"
        elif header.position is None or header.orientation is None:
            reason = f"{header.path.name} does not say where it lies in the patient"
        else:
            continue
        raise Refusal("INPUT_GEOMETRY", path=path, reason=reason)


def _same(one: tuple[float, ...] | None, other: tuple[float, ...] | None, tolerance: float) -> bool:
    if one is None or other is None:
        return one is other
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) <= tolerance


def _in_order(headers: list[ImageHeader], path: Path) -> tuple[Floats, Floats, list[ImageHeader], Floats]:
    """Row and column directions, headers and origins [K, 3], from the lowest position along the normal up."""
    directions = np.array(headers[0].orientation, np.float64).reshape(2, 3)
    if not np.allclose(directions @ directions.T, np.eye(2), atol=_SAME_DIRECTION):
        raise Refusal("INPUT_GEOMETRY", path=path, reason="ImageOrientationPatient is not two orthogonal directions")
    row, column = directions
    origins = np.array([header.position for header in headers], np.float64)
    positions = origins @ np.cross(row, column)
    order = np.argsort(positions, kind="stable")
    twins = np.flatnonzero(np.diff(positions[order]) < _SAME_PLACE_MM)
    if len(twins):
        pairs = [f"{headers[order[n]].path.name} = {headers[order[n + 1]].path.name}" for n in twins]
        raise Refusal("INPUT_DUPLICATE_POSITION", path=path, listing=_few(pairs))
    return row, column, [headers[n] for n in order], origins[order]


def _spacing_mm(header: ImageHeader, path: Path, notes: list[str]) -> tuple[float, float]:
    """(along I, along J); DICOM states the distance between rows (along J) first."""
    spacing = header.pixel_spacing
    if spacing is None and header.position is None:
        spacing = header.detector_spacing
        stated = "measured at the detector" if spacing else "not stated; 1 mm is assumed"
        notes.append(f"PIXEL_SPACING: the distance of pixels is {stated}")
        spacing = spacing or (1.0, 1.0)
    if spacing is None or not min(spacing) > 0:
        raise Refusal("INPUT_GEOMETRY", path=path, reason=f"pixel spacing {spacing or 'missing'}")
    return spacing[1], spacing[0]


def _units(headers: Sequence[ImageHeader], path: Path, notes: list[str]) -> str:
    """'HU' for CT whose headers say how to get there, else 'arbitrary'."""
    stated = [header.slope is not None and header.intercept is not None for header in headers]
    if any(stated) and not all(stated):
        raise Refusal("INPUT_VALUES", path=path, reason="some slices have rescale tags, some have not")
    if headers[0].modality != "CT":
        return "arbitrary"
    if not all(stated):
        notes.append("CT_WITHOUT_RESCALE: no rescale tags, so the values are not known to be HU")
        return "arbitrary"
    kinds = {header.rescale_type for header in headers} - {"", "HU"}
    if kinds:
        notes.append(f"CT_NOT_HU: the rescale type is {', '.join(sorted(kinds))}")
    return "arbitrary" if kinds else "HU"


def _image_notes(headers: Sequence[ImageHeader]) -> list[str]:
    notes, first = [], headers[0]
    if first.photometric == "MONOCHROME1":
        ct = first.modality == "CT"
        notes.append(
            "MONOCHROME1: CT values kept, only their display is inverted"
            if ct
            else "MONOCHROME1_INVERTED: values were inverted once, so that bright means high"
        )
    if any(header.lossy or header.transfer_syntax in _LOSSY_SYNTAXES for header in headers):
        notes.append("LOSSY_COMPRESSION: the images were compressed with loss")
    if any("LOCALIZER" in header.image_type.upper() for header in headers):
        notes.append("LOCALISER: the images are marked as localisers")
    return notes
