"""What a user opens: an image file, a DICOM folder, or a zip of either; its volume, or the series to choose from."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine.errors import Refusal

if TYPE_CHECKING:
    from ..engine.archive import Unpacked
    from ..engine.dicom_series import SeriesSummary
    from ..engine.volume import Volume

Progress = Callable[[str, float], None]
"""Called with a stage ('unpack', 'read') and the fraction done, 0..1; raising from it cancels."""

_LONGEST_NAME = 128  # characters; DICOM allows 64


@dataclass(frozen=True)
class Found:
    """A volume, or where several series are there and none was chosen, None and these series.

    name: for display, the SeriesDescription where there is one, else the name of the file or folder; never taken from
    what a header says of the patient.
    """

    volume: Volume | None
    name: str
    series: tuple[SeriesSummary, ...] = ()

    def __post_init__(self) -> None:
        if (self.volume is None) != bool(self.series):
            raise ValueError("either a volume or series to choose from")


def find(source: Path, series: str | None, progress: Progress) -> Found:
    """What is at `source`. series: SeriesInstanceUID to choose. A zip is unpacked into a temporary folder, then gone.

    Raises the refusals of reading.read_volume and archive.unpack, and whatever `progress` raises.
    """
    from ..engine.archive import unpack

    if not _is_archive(source):
        return _found(source, source.name or source.resolve().name, series, progress)
    with _temporary_folder() as folder:
        unpacked = unpack(source, Path(folder), progress)
        try:
            found = _found(unpacked.place, unpacked.name, series, progress)
        except Refusal as refused:
            raise _of_archive(refused, unpacked) from None
    return _in_words(found, unpacked)


def _is_archive(source: Path) -> bool:
    from ..engine.archive import is_archive

    try:
        return is_archive(source)
    except OSError:  # read_volume says why
        return False


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        # what a virus scanner still holds open goes with the worker's folder
        return tempfile.TemporaryDirectory(prefix="medimg-", ignore_cleanup_errors=True)
    except OSError as failed:
        raise Refusal("RESOURCE_TEMPORARY_FOLDER", path=tempfile.gettempdir(), reason=failed.strerror) from None


def _found(place: Path, name: str, series: str | None, progress: Progress) -> Found:
    """What is in a folder or file. name: where no series has a description."""
    from ..engine.reading import read_volume

    progress("read", 0.0)
    try:
        volume = read_volume(place, series)
    except Refusal:
        choice = _choice(place) if series is None else ()
        if not choice:
            raise
        return Found(None, name, choice)
    progress("read", 1.0)
    described = _printable(volume.source.description) if volume.source.format == "DICOM" else ""
    return Found(volume, described or name)


def _choice(place: Path) -> tuple[SeriesSummary, ...]:
    """The series of a folder where there is something to choose: several, or one beside files so damaged that they
    may be slices of it, and one at least that can be read."""
    from ..engine.reading import list_series

    try:
        listed = list_series(place) if place.is_dir() else ()
    except OSError:  # read_volume has said so
        return ()
    return listed if len(listed) > 1 and not all(summary.unusable for summary in listed) else ()


def _printable(text: str) -> str:
    """One line of a text from outside, not longer than a list can show."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_LONGEST_NAME]


def _of_archive(refused: Refusal, unpacked: Unpacked) -> Refusal:
    """The same refusal about the files as the zip names them."""
    facts = {
        name: unpacked.in_words(str(fact)) if isinstance(fact, str | Path) else fact
        for name, fact in refused.facts.items()
    }
    return Refusal(refused.code, **facts)


def _in_words(found: Found, unpacked: Unpacked) -> Found:
    """The same, naming files as the zip does."""
    series = tuple(replace(summary, unusable=unpacked.in_words(summary.unusable)) for summary in found.series)
    if found.volume is None:
        return replace(found, series=series)
    source = found.volume.source
    notes = tuple(unpacked.in_words(note) for note in source.notes)
    volume = replace(found.volume, source=replace(source, path=unpacked.name, notes=notes))
    return replace(found, volume=volume)
