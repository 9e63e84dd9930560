"""Series files: which DICOM files are one series, so that a manifest can name it without naming a patient.

Folders and files of a DICOM tree often bear names, ids or UIDs of patients, and a folder may hold several series.
So the column `path` of a manifest made from such a tree names a series file, `<pseudonym>.series`, in a private
folder outside the manifest's: JSON with the SeriesInstanceUID and the files. It is data and says where to read; it
is taken only from a manifest that the user gives, never from a bundle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.reading import read_series_files, read_volume
from MedImgClassifierLib.engine.volume import Volume

SUFFIX = ".series"
FORMAT = 1


def series_file(series: str, files: Sequence[Path]) -> bytes:
    """Content of the series file of a SeriesInstanceUID and its images, one at least."""
    folder = os.path.abspath(os.path.commonpath([file.parent for file in files]))
    names = sorted(Path(os.path.abspath(file)).relative_to(folder).as_posix() for file in files)
    content = {"format": FORMAT, "series_uid": series, "folder": folder, "files": names}
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def read_source(path: Path) -> Volume:
    """The image that a manifest's path names: of a series file its series, else as `read_volume`.

    Raises Refusal DATA_SOURCE for a damaged series file, INPUT_NOT_FOUND and INPUT_SERIES_UNKNOWN where its files are
    gone or are of another series now, and what reading an image raises.
    """
    if not _is_series_file(path):
        return read_volume(path)
    series, files = _opened(path)
    return read_series_files(files, series)


def files_of(path: Path) -> list[Path]:
    """The files that hold the image which a manifest's path names. Raises Refusal DATA_SOURCE."""
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    return [path, *(file for file in _opened(path)[1] if file.exists())] if _is_series_file(path) else [path]


def _is_series_file(path: Path) -> bool:
    return path.suffix == SUFFIX and path.is_file()


def _opened(path: Path) -> tuple[str, list[Path]]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        series, folder, names = content["series_uid"], content["folder"], content["files"]
        texts = [series, folder, *names]
        if content["format"] != FORMAT or not names or not all(isinstance(text, str) and text for text in texts):
            raise ValueError("unknown content")
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"it is not a series file ({error})"
        raise Refusal("DATA_SOURCE", path=path, where="content", reason=reason) from error
    return series, [Path(folder, name) for name in names]
