"""The data of `body-region`: a manifest over MedNIST images and IXI volumes, from their archives.

The archives and the tables beside them (file, label, group, split, SHA-256) are not part of this repository.
"""

from __future__ import annotations

import csv
import hashlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import Plane, in_plane
from MedImgClassifierLib.engine.reading import read_volume

CLASSES = ("AbdomenCT", "BreastMR", "ChestXR", "ChestCT", "HandXR", "HeadCT", "BrainMR")
_MEDNIST_CLASS = {"BreastMRI": "BreastMR", "CXR": "ChestXR", "Hand": "HandXR"}
_MODALITY = {"AbdomenCT": "CT", "ChestCT": "CT", "HeadCT": "CT", "BreastMRI": "MR", "CXR": "CR", "Hand": "CR"}

IN_BRAIN: dict[Plane, tuple[float, float]] = {
    "sagittal": (0.12, 0.88),  # right to left
    "coronal": (0.25, 0.92),  # anterior to posterior
    "axial": (0.35, 0.96),  # inferior to superior; the IXI volumes reach down to the neck
}
"""Part of the head's extent, along each plane's normal, whose slices count as brain."""

COLUMNS = (
    "sample",
    "group",
    "group_kind",
    "path",
    "label",
    "split",
    "plane",
    "slice_from",
    "slice_to",
    "source",
    "modality",
)


def build_manifest(archives: Path, folder: Path) -> Path:
    """Unpack the training archives below `folder`, check every file's hash, and write manifest.csv and .json there.

    Raises Refusal(INPUT_NOT_FOUND) without the archives, Refusal(DATA_MANIFEST) for a file that is not the stated one.
    """
    rows = [*_mednist(archives, folder), *_ixi(archives, folder)]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    about = {"task": "multiclass", "classes": list(CLASSES), "units": "arbitrary"}
    (folder / "manifest.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return folder / "manifest.csv"


def unpack(archives: Path, name: str, folder: Path) -> list[dict[str, str]]:
    """Unpack the files named by an archive's table into folder/name and return the table's rows.

    Only files that the table names with their hash are written.
    """
    table, archive = archives / f"{name}.csv", archives / f"{name}.zip"
    for needed in (table, archive):
        if not needed.exists():
            raise Refusal("INPUT_NOT_FOUND", path=needed)
    with table.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    with zipfile.ZipFile(archive) as packed:
        inside = {member.split(f"{name}/", 1)[-1]: member for member in packed.namelist()}
        for line, row in enumerate(rows, 2):
            target = folder / name / row["file"]
            if target.exists():
                continue
            content = packed.read(inside[row["file"]])
            if hashlib.sha256(content).hexdigest() != row["sha256"]:
                raise Refusal("DATA_MANIFEST", path=table, where=f"line {line}", reason="the file has another hash")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
    return rows


def _mednist(archives: Path, folder: Path) -> Iterator[dict[str, Any]]:
    for row in unpack(archives, "mednist64", folder):
        yield {
            "sample": row["file"],
            "group": row["cluster"],
            "group_kind": "cluster",
            "path": f"mednist64/{row['file']}",
            "label": _MEDNIST_CLASS.get(row["label"], row["label"]),
            "split": row["split"],
            "source": "mednist64",
            "modality": _MODALITY[row["label"]],
        }


def _ixi(archives: Path, folder: Path) -> Iterator[dict[str, Any]]:
    for row in unpack(archives, "ixi_t1_2p5mm", folder):
        path = f"ixi_t1_2p5mm/{row['file']}"
        volume = read_volume(folder / path)
        for plane, (start, stop) in IN_BRAIN.items():
            count = len(in_plane(volume, plane).voxels)
            yield {
                "sample": f"{row['subject']} {plane}",
                "group": row["subject"],
                "group_kind": "patient",
                "path": path,
                "label": "BrainMR",
                "split": row["split"],
                "plane": plane,
                "slice_from": round(start * count),
                "slice_to": round(stop * count),
                "source": "ixi_t1_2p5mm",
                "modality": "MR",
            }
