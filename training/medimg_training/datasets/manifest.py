"""Manifest: the table of labelled samples (`manifest.csv`) and what holds for all of them (`manifest.json`).

One row is one sample: a 2-D image, or a volume of which the slices slice_from..slice_to (0-based,
half-open, counted along `plane` as `cache.sorted_slices` sorts them) are used.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from MedImgClassifierLib.engine.errors import Refusal

from ..durable import write_durably
from .problems import RowProblem, RowsRefusal
from .rows import OPTIONAL, REQUIRED, GroupKind, Row, alike, checked_rows

__all__ = ["OPTIONAL", "REQUIRED", "TASKS", "GroupKind", "Manifest", "Row", "write_manifest"]

TASKS = ("binary", "multiclass", "ordinal")
_JSON_KEYS = {"task", "classes", "units", "root", "sha256", "group_waiver"}


@dataclass(frozen=True)
class Manifest:
    """The samples and their classes, in the order of the network's outputs (of their rank where task is 'ordinal').

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
        """Read `manifest.csv` and the `manifest.json` beside it.

        Raises Refusal DATA_MANIFEST; as RowsRefusal, with the problems of all rows, where it is rows that are wrong.
        """
        path = Path(path)
        if not path.name:  # '.' or '/'
            raise Refusal("DATA_MANIFEST", path=path, where="file", reason="it is a folder, not a table")
        try:
            text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise Refusal("DATA_MANIFEST", path=path, where="file", reason=str(error)) from error
        return _checked(path, text, _read_about(path.with_suffix(".json")))


def _checked(path: Path, text: str, about: dict[str, Any]) -> Manifest:
    """The manifest of a table's text and the checked content of manifest.json, as if it stood at `path`."""
    records, problems = _records(path, text)
    rows, found = checked_rows(records, path.parent / (about.get("root") or "."), about)
    if problems or not records:
        found = tuple(problem for problem in found if problem.line)  # a row that could not be read may hold a class
    if problems or found:
        raise RowsRefusal("DATA_MANIFEST", path, [*problems, *found])
    if not rows:
        raise Refusal("DATA_MANIFEST", path=path, where="file", reason="it has no rows")
    digest = hashlib.sha256(text.encode() + json.dumps(about, sort_keys=True).encode()).hexdigest()
    waiver = about.get("group_waiver", "")
    return Manifest(path, rows, tuple(about["classes"]), about["task"], about["units"], waiver, digest)


def _records(path: Path, text: str) -> tuple[list[tuple[int, dict[str, str]]], list[RowProblem]]:
    """Line and columns of each row, and the rows that have no columns to speak of."""
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    records: list[tuple[int, dict[str, str]]] = []
    problems = []
    try:
        _check_header(path, table.fieldnames)
        for record in table:
            line = table.line_num
            if None in record or None in record.values():
                problems.append(RowProblem(line, "", "", "it has not as many fields as the first line"))
            else:
                records.append((line, cast("dict[str, str]", record)))
    except csv.Error as error:  # what follows cannot be told apart
        problems.append(RowProblem(table.line_num, "", "", str(error)))
    return records, problems


def _check_header(path: Path, header: Sequence[str] | None) -> None:
    missing = [name for name in REQUIRED if name not in (header or ())]
    if missing:
        raise Refusal("DATA_MANIFEST", path=path, where="line 1", reason=f"column {', '.join(missing)} is missing")
    assert header is not None
    if len(set(header)) < len(header):
        raise Refusal("DATA_MANIFEST", path=path, where="line 1", reason="a column name stands twice")


def _read_about(path: Path) -> dict[str, Any]:
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Refusal("DATA_MANIFEST", path=path, where="file", reason=str(error)) from error
    return _checked_about(path, about)


def _checked_about(path: Path, about: Any) -> dict[str, Any]:
    reason = f"known keys are {', '.join(sorted(_JSON_KEYS))}"
    if isinstance(about, dict) and not set(about) - _JSON_KEYS:
        about.setdefault("task", "multiclass")
        reason = about_problem(about)
    if reason:
        raise Refusal("DATA_MANIFEST", path=path, where="content", reason=reason)
    return cast("dict[str, Any]", about)


def about_problem(about: dict[str, Any]) -> str:
    """What is wrong with the content of manifest.json, '' where nothing is; texts that are missing become ''."""
    classes = about.get("classes")
    if about["task"] not in TASKS:
        return f"task '{about['task']}' is none of {', '.join(TASKS)}"
    if not (isinstance(classes, list) and all(isinstance(name, str) and name for name in classes)):
        return "'classes' must list the class names in order"
    if len(set(classes)) < max(2, len(classes)):
        return "'classes' must name at least two different classes, each once"
    spaced = [name for name in classes if name != name.strip()]
    if spaced:
        return f"class '{spaced[0]}' begins or ends with a space"
    seen: dict[str, str] = {}
    for name in classes:
        if seen.setdefault(alike(name), name) != name:
            return f"classes '{seen[alike(name)]}' and '{name}' differ only in case or spaces"
    if about["task"] == "binary" and len(classes) != 2:
        return f"task 'binary' has two classes, not {len(classes)}"
    if not _maps_to_texts(about.setdefault("sha256", {})):
        return "'sha256' must map paths to hashes"
    if not all(isinstance(about.setdefault(key, ""), str) for key in ("units", "group_waiver", "root")):
        return "'units', 'group_waiver' and 'root' must be texts"
    return ""


def _maps_to_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, str) for item in value.values())


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
    """Write `manifest.csv` and `manifest.json` into a folder, whole or not at all, and return the path of the table.

    records: one mapping a row; its keys are columns, `path` is relative to `root` (itself relative to the
    folder). sha256: path as in the table -> hash of the file. All is checked as `Manifest.read` does before
    anything is written: raises Refusal DATA_MANIFEST.
    """
    columns = [*REQUIRED, *dict.fromkeys(key for record in records for key in record if key not in REQUIRED)]
    about: dict[str, Any] = {"task": task, "classes": list(classes), "units": units, "root": root}
    about |= {"group_waiver": group_waiver, "sha256": dict(sha256 or {})}
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    path = folder / "manifest.csv"
    _checked(path, text.getvalue(), _checked_about(path.with_suffix(".json"), about))
    folder.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)  # so that a crash never leaves an old table beside a new manifest.json
    write_durably(path.with_suffix(".json"), (json.dumps(about, indent=1, ensure_ascii=False) + "\n").encode())
    write_durably(path, text.getvalue().encode())
    return path
