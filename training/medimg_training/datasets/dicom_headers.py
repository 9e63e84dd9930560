"""A tree of DICOM files -> its series, with what the manifest needs of their headers.

Whether a file holds an image, and of which series, is told as the engine does when it reads; whose it is and where
it was made is read with pydicom, without voxels. Names of patients are not looked at.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import dcmread
from tqdm import tqdm

from MedImgClassifierLib.engine.dicom_headers import ImageHeader, Unusable, read_header
from MedImgClassifierLib.engine.errors import Refusal

_TAGS = ("PatientID", "StudyInstanceUID", "InstitutionName", "Manufacturer", "ManufacturerModelName", "StudyDate")


@dataclass
class Series:
    """The images of one SeriesInstanceUID. unusable: why they cannot be one sample, '' where they can, in words that
    name no patient; values: tag -> the different values that its files state."""

    uid: str
    modality: str = ""
    description: str = ""
    files: list[Path] = field(default_factory=list)
    instances: set[str] = field(default_factory=set)
    unusable: str = ""
    values: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in _TAGS})

    def value(self, name: str) -> str:
        """The value of a tag that all files agree on, else ''."""
        values = self.values[name] - {""}
        return next(iter(values)) if len(values) == 1 else ""

    @property
    def count(self) -> int:
        """Images, copies counted once."""
        return len(self.instances)

    @property
    def scanner(self) -> str:
        return " ".join(f"{self.value('Manufacturer')} {self.value('ManufacturerModelName')}".split())


def series_in(root: Path, *, progress: bool = False) -> tuple[list[Series], list[Path]]:
    """The series below a folder, in order of their first file, and damaged files that tell no series.

    Files that are not DICOM or hold no image are passed over; links to folders are not followed.
    Raises Refusal DATA_SOURCE for a folder that cannot be read.
    """
    if not root.is_dir():
        raise Refusal("DATA_SOURCE", path=root, where="folder", reason="there is no such folder")
    found: dict[str, Series] = {}
    lost = []
    try:
        for path in tqdm(list(_files(root)), "headers", disable=not progress, unit="file"):
            header = read_header(path)
            if header is None:
                continue
            if not header.series_uid:
                lost.append(path)
                continue
            _add(found.setdefault(header.series_uid, Series(header.series_uid)), header)
    except OSError as error:
        raise Refusal("DATA_SOURCE", path=root, where=f"'{error.filename}'", reason=error.strerror or error) from error
    for series in found.values():
        series.unusable = series.unusable or _unusable(series)
    return list(found.values()), lost


def _files(root: Path) -> Iterator[Path]:
    def unreadable(error: OSError) -> None:
        raise error

    for place, folders, names in os.walk(root, onerror=unreadable):
        folders.sort()
        yield from (path for name in sorted(names) if (path := Path(place, name)).is_file())


def _add(series: Series, header: ImageHeader | Unusable) -> None:
    series.files.append(header.path)
    if isinstance(header, Unusable):
        series.unusable = f"an image of it cannot be read ({header.refusal.code})"
        return
    series.instances.add(header.sop_uid or str(header.path))
    series.modality = series.modality or header.modality
    series.description = series.description or header.description
    if header.frames != 1:
        series.unusable = "its images have several frames"
    elif header.samples != 1:
        series.unusable = "its images are in colour"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of values that break a rule of DICOM and are only compared here
            data = dcmread(header.path, stop_before_pixels=True, specific_tags=[*_TAGS], force=True)
            values = {name: " ".join(str(data.get(name) or "").split()) for name in _TAGS}
    except OSError:
        raise
    except Exception as error:  # whatever the parser trips over, the file is damaged
        series.unusable = f"a header of it cannot be read ({type(error).__name__})"
        return
    for name, value in values.items():
        series.values[name].add(value)


def _unusable(series: Series) -> str:
    for name, what in (("PatientID", "patient"), ("StudyInstanceUID", "study")):
        values = series.values[name]
        if len(values) > 1:
            return f"its images are of several {'studies' if what == 'study' else 'patients'}"
        if values == {""}:
            return f"it does not say of which {what} it is ({name} is empty)"
    return ""
