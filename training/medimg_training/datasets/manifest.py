"""Manifest: the table of labelled samples (`manifest.csv`) and what holds for all of them (`manifest.json`).

One row is one sample: a 2-D image, or a volume of which the slices slice_from..slice_to (0-based,
half-open, counted along `plane` as `cache.sorted_slices` sorts them) are used.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import Plane

GroupKind = Literal["patient", "cluster", "source_image", "none"]
REQUIRED = ("sample", "group", "group_kind", "path", "label")
OPTIONAL = ("split", "plane", "slice_from", "slice_to", "site", "acquired", "fold")
_JSON_KEYS = {"task", "classes", "units", "root", "sha256", "group_waiver"}


@dataclass(frozen=True)
class Row:
    """One sample. label: '' is unlabelled; plane '': as the input specification says; covariates: all other columns."""

    sample: str
    group: str
    group_kind: GroupKind
    path: Path
    label: str
    split: str = ""
    plane: Plane | Literal[""] = ""
    slice_from: int = 0
    slice_to: int | None = None
    site: str = ""
    acquired: str = ""
    fold: str = ""
    covariates: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The samples and their classes, in the order of the network's outputs.

    group_waiver  why rows of group kind 'none' may be split one by one; required where there are such rows
    sha256        hash of the table and of what manifest.json says
    """

    path: Path
    rows: tuple[Row, ...]
    classes: tuple[str, ...]
    task: str
    units: str
    group_waiver: str
    sha256: str

    @classmethod
    def read(cls, path: Path | str) -> Manifest:
        """Read `manifest.csv` and the `manifest.json` beside it. Raises Refusal DATA_MANIFEST, naming the line."""
        path = Path(path)
        if not path.name:  # '.' or '/'
            raise Refusal("DATA_MANIFEST", path=path, where="file", reason="it is a folder, not a table")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal("DATA_MANIFEST", path=path, where="file", reason=str(error)) from error
        about = _read_about(path.with_suffix(".json"))
        table = csv.DictReader(text.splitlines(), strict=True)
        root = path.parent / about.get("root", ".")
        rows: list[Row] = []
        seen: dict[str, int] = {}
        try:
            _check_header(path, table.fieldnames)
            for record in table:
                where = f"line {table.line_num}"
                row = _row(path, where, record, root, about)
                if row.sample in seen:
                    reason = f"sample '{row.sample}' stands already in line {seen[row.sample]}"
                    raise Refusal("DATA_MANIFEST", path=path, where=where, reason=reason)
                seen[row.sample] = table.line_num
                rows.append(row)
        except csv.Error as error:
            raise Refusal("DATA_MANIFEST", path=path, where=f"line {table.line_num}", reason=str(error)) from error
        if not rows:
            raise Refusal("DATA_MANIFEST", path=path, where="file", reason="it has no rows")
        digest = hashlib.sha256(text.encode() + json.dumps(about, sort_keys=True).encode()).hexdigest()
        waiver = about.get("group_waiver", "")
        return cls(path, tuple(rows), tuple(about["classes"]), about["task"], about["units"], waiver, digest)


def _read_about(path: Path) -> dict[str, Any]:
    """manifest.json, checked: task and classes are there, nothing unknown is."""
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refusal("DATA_MANIFEST", path=path, where="file", reason=str(error)) from error
    classes = about.get("classes") if isinstance(about, dict) else None
    reason = ""
    if not isinstance(about, dict) or set(about) - _JSON_KEYS:
        reason = f"known keys are {', '.join(sorted(_JSON_KEYS))}"
    elif about.setdefault("task", "multiclass") not in ("binary", "multiclass"):
        reason = f"task '{about['task']}' is neither 'binary' nor 'multiclass'"
    elif not (isinstance(classes, list) and all(isinstance(name, str) and name for name in classes)):
        reason = "'classes' must list the class names in order"
    elif len(set(classes)) < max(2, len(classes)):
        reason = "'classes' must name at least two different classes, each once"
    elif not _maps_to_texts(about.setdefault("sha256", {})):
        reason = "'sha256' must map paths to hashes"
    elif not all(isinstance(about.setdefault(key, ""), str) for key in ("units", "group_waiver", "root")):
        reason = "'units', 'group_waiver' and 'root' must be texts"
    if reason:
        raise Refusal("DATA_MANIFEST", path=path, where="content", reason=reason)
    return cast("dict[str, Any]", about)


def _maps_to_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


def _check_header(path: Path, header: Sequence[str] | None) -> None:
    missing = [name for name in REQUIRED if name not in (header or ())]
    if missing:
        raise Refusal("DATA_MANIFEST", path=path, where="line 1", reason=f"column {', '.join(missing)} is missing")
    assert header is not None
    if len(set(header)) < len(header):
        raise Refusal("DATA_MANIFEST", path=path, where="line 1", reason="a column name stands twice")


def _row(path: Path, where: str, record: Mapping[str | None, Any], root: Path, about: Mapping[str, Any]) -> Row:
    def refuse(reason: str) -> Refusal:
        return Refusal("DATA_MANIFEST", path=path, where=where, reason=reason)

    if None in record or None in record.values():
        raise refuse("it has not as many fields as the first line")
    text = {str(key): value.strip() for key, value in record.items()}
    if not text["sample"] or not text["path"]:
        raise refuse("'sample' and 'path' must not be empty")
    if text["group_kind"] not in get_args(GroupKind):
        raise refuse(f"group_kind '{text['group_kind']}' is none of {', '.join(get_args(GroupKind))}")
    if text["group_kind"] == "none" and not about["group_waiver"]:
        raise refuse("group_kind 'none' needs the reason as 'group_waiver' in manifest.json")
    if text["group_kind"] != "none" and not text["group"]:
        raise refuse("'group' must not be empty")
    if text["label"] and text["label"] not in about["classes"]:
        raise refuse(f"label '{text['label']}' is none of {', '.join(about['classes'])}")
    plane = text.get("plane", "")
    if plane and plane not in get_args(Plane):
        raise refuse(f"plane '{plane}' is none of {', '.join(get_args(Plane))}")
    file = root / text["path"]
    if not os.path.exists(file):  # unlike Path.exists, False for a name that no file system takes
        raise refuse(f"'{text['path']}' does not exist")
    _check_hash(file, about["sha256"].get(text["path"]), refuse)
    first, stop = (_whole_number(text.get(name, ""), name, refuse) for name in ("slice_from", "slice_to"))
    if stop is not None and stop <= (first or 0):
        raise refuse("slice_to must be larger than slice_from")
    return Row(
        sample=text["sample"],
        group=text["group"] if text["group_kind"] != "none" else text["group"] or text["sample"],
        group_kind=cast("GroupKind", text["group_kind"]),
        path=file,
        label=text["label"],
        split=text.get("split", ""),
        plane=cast("Plane", plane),
        slice_from=first or 0,
        slice_to=stop,
        site=text.get("site", ""),
        acquired=text.get("acquired", ""),
        fold=text.get("fold", ""),
        covariates={key: value for key, value in text.items() if key not in REQUIRED + OPTIONAL},
    )


def _whole_number(text: str, name: str, refuse: Any) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        raise refuse(f"{name} '{text}' is not a whole number from 0")
    return int(text)


def _check_hash(file: Path, expected: str | None, refuse: Any) -> None:
    if expected is not None and not file.is_file():
        raise refuse(f"'{file.name}' is a folder: a hash in manifest.json is of a file")
    if expected is not None and hashlib.sha256(file.read_bytes()).hexdigest() != expected.lower():
        raise refuse(f"'{file.name}' is not the file that was listed (SHA-256 differs)")


def write_manifest(
    folder: Path,
    records: Sequence[Mapping[str, object]],
    classes: Sequence[str],
    *,
    task: str = "multiclass",
    units: str = "",
    root: str = ".",
    group_waiver: str = "",
    sha256: Mapping[str, str] | None = None,
) -> Path:
    """Write `manifest.csv` and `manifest.json` into a folder and return the path of the table.

    records: one mapping a row; its keys are columns, `path` is relative to `root` (itself relative to the
    folder). sha256: path as in the table -> hash of the file. What was written is read back and checked:
    raises Refusal DATA_MANIFEST.
    """
    folder.mkdir(parents=True, exist_ok=True)
    columns = [*REQUIRED, *dict.fromkeys(key for record in records for key in record if key not in REQUIRED)]
    about: dict[str, Any] = {"task": task, "classes": list(classes), "units": units, "root": root}
    about |= {"group_waiver": group_waiver, "sha256": dict(sha256 or {})}
    path = folder / "manifest.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    path.with_suffix(".json").write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    Manifest.read(path)
    return path
