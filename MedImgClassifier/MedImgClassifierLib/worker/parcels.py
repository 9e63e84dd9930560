"""Cases, results and what was read, on their way between a face and the worker process: files in a private folder.

A message names a file with its size and SHA-256 and the receiver checks them. The sender deletes its files: the face
when the run has ended, the worker when the face has sent "released".
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .protocol import ProtocolError

if TYPE_CHECKING:
    from ..engine.bundle_install import Installed
    from ..engine.dicom_series import SeriesSummary
    from ..engine.result import Classification
    from ..engine.volume import Case, Volume
    from .intake import Found

Described = Mapping[str, Any]
"""A file as a message names it: at, bytes, sha256."""


def put(folder: Path, name: str, content: bytes | memoryview) -> dict[str, Any]:
    """Write a file; how a message names it. Raises OSError."""
    (folder / name).write_bytes(content)
    return {"at": name, "bytes": memoryview(content).nbytes, "sha256": hashlib.sha256(content).hexdigest()}


def take(folder: Path, described: Described) -> bytes:
    """The content of a file that a message names. Raises ProtocolError where it is not what was sent."""
    path = _place(folder, described)
    try:
        content = path.read_bytes()
    except OSError as failed:
        raise ProtocolError(f"'{path.name}' cannot be read: {failed.strerror}") from None
    if len(content) != described.get("bytes") or hashlib.sha256(content).hexdigest() != described.get("sha256"):
        raise ProtocolError(f"'{path.name}' is not what was sent")
    return content


def delete(folder: Path, described: Described) -> None:
    """Delete a file that a message names, and what stands beside it under its name, such as its voxels.

    Raises ProtocolError for a name that leads out of the folder.
    """
    named = _place(folder, described)
    for path in (named, *folder.glob(f"{named.stem}.*")):
        path.unlink(missing_ok=True)


def put_case(folder: Path, run: int, case: Case | Volume) -> dict[str, Any]:
    """Write a case, or a lone volume, which stands for the bundle's only channel. Raises OSError."""
    from ..engine.volume import Volume

    if isinstance(case, Volume):
        document: dict[str, Any] = {"volume": _put_volume(folder, f"case{run}.voxels", case)}
    else:
        channels = {
            name: None if volume is None else _put_volume(folder, f"case{run}-{n}.voxels", volume)
            for n, (name, volume) in enumerate(case.channels.items())
        }
        document = {"channels": channels, "reference": case.reference, "patient_key": case.patient_key}
    return put(folder, f"case{run}.json", json.dumps(document).encode())


def take_case(folder: Path, described: Described) -> Case | Volume:
    """What put_case has written. Raises ProtocolError."""
    from ..engine.volume import Case

    try:
        document = json.loads(take(folder, described))
        if "volume" in document:
            return _take_volume(folder, document["volume"])
        channels = {
            name: None if volume is None else _take_volume(folder, volume)
            for name, volume in document["channels"].items()
        }
        return Case(channels, document["reference"], document["patient_key"])
    except (LookupError, TypeError, ValueError, AttributeError) as wrong:
        raise ProtocolError(f"not a case: {wrong}") from None


def put_result(folder: Path, run: int, result: Classification) -> dict[str, Any]:
    """Write a result in the form of results.json. Raises OSError."""
    return put(folder, f"result{run}.json", json.dumps(result.to_json()).encode())


def take_result(folder: Path, described: Described) -> Classification:
    """What put_result has written. Raises ProtocolError."""
    from ..engine.result import Classification

    try:
        return Classification.from_json(json.loads(take(folder, described)))
    except (LookupError, TypeError, ValueError, AttributeError) as wrong:
        raise ProtocolError(f"not a result: {wrong}") from None


def put_installed(folder: Path, run: int, installed: Installed) -> dict[str, Any]:
    """Write what became of an import. Raises OSError."""
    document = {"name": installed.name, "path": str(installed.path), "already": installed.already}
    return put(folder, f"result{run}.json", json.dumps(document).encode())


def take_installed(folder: Path, described: Described) -> Installed:
    """What put_installed has written. Raises ProtocolError."""
    from ..engine.bundle_install import Installed

    try:
        document = json.loads(take(folder, described))
        return Installed(str(document["name"]), Path(document["path"]), bool(document["already"]))
    except (LookupError, TypeError, ValueError, AttributeError) as wrong:
        raise ProtocolError(f"not an import: {wrong}") from None


def put_found(folder: Path, run: int, found: Found) -> dict[str, Any]:
    """Write what reading has found, its voxels as a file beside. Raises OSError, and leaves nothing then."""
    name = f"result{run}.json"
    try:
        volume = None if found.volume is None else _put_volume(folder, f"result{run}.voxels", found.volume)
        document = {"volume": volume, "name": found.name, "series": [asdict(summary) for summary in found.series]}
        return put(folder, name, json.dumps(document).encode())
    except OSError:
        delete(folder, {"at": name})
        raise


def take_found(folder: Path, described: Described) -> Found:
    """What put_found has written; its voxels cannot be written to. Raises ProtocolError."""
    from .intake import Found

    try:
        document = json.loads(take(folder, described))
        volume = None if document["volume"] is None else _take_volume(folder, document["volume"])
        return Found(volume, str(document["name"]), tuple(_taken_summary(series) for series in document["series"]))
    except (LookupError, TypeError, ValueError, AttributeError) as wrong:
        raise ProtocolError(f"not an image that was read: {wrong}") from None


def _taken_summary(document: Mapping[str, Any]) -> SeriesSummary:
    from ..engine.dicom_series import SeriesSummary  # pydicom with it, so only where there is a choice

    return SeriesSummary(**document)


def _put_volume(folder: Path, name: str, volume: Volume) -> dict[str, Any]:
    import numpy as np

    voxels = np.ascontiguousarray(volume.voxels)
    file = put(folder, name, voxels.reshape(-1).view(np.uint8).data)
    return {
        "voxels": {"shape": voxels.shape, "dtype": voxels.dtype.str, "file": file},
        "row_direction_lps": volume.row_direction_lps.tolist(),
        "column_direction_lps": volume.column_direction_lps.tolist(),
        "spacing_mm": volume.spacing_mm,
        "slice_origins_lps": volume.slice_origins_lps.tolist(),
        "modality": volume.modality,
        "units": volume.units,
        "slice_thickness_mm": volume.slice_thickness_mm,
        "source": asdict(volume.source),
    }


def _take_volume(folder: Path, document: Mapping[str, Any]) -> Volume:
    import numpy as np

    from ..engine.volume import Source, Volume

    described = dict(document)
    voxels, source = described.pop("voxels"), described.pop("source")
    array = np.frombuffer(take(folder, voxels["file"]), np.dtype(voxels["dtype"])).reshape(voxels["shape"])
    facts: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in source.items()}
    described["spacing_mm"] = tuple(described["spacing_mm"])
    return Volume(voxels=array, source=Source(**facts), **described)


def _place(folder: Path, described: Described) -> Path:
    name = described.get("at")
    if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,63}", name):
        raise ProtocolError(f"{str(name)[:40]!r} is no name of a file here")
    return folder / name
