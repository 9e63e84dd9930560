"""The rows of a manifest, checked one by one and against each other. Nothing stops at the first mistake."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from math import inf
from pathlib import Path
from typing import Any, Literal, cast, get_args

from MedImgClassifierLib.engine.preprocess import Plane

from .problems import RowProblem

GroupKind = Literal["patient", "cluster", "source_image", "none"]
REQUIRED = ("sample", "group", "group_kind", "path", "label")
_TEXTS = ("split", "study", "series_uid", "site", "scanner")
OPTIONAL = (*_TEXTS, "plane", "slice_from", "slice_to", "acquired", "fold")

_Note = Callable[[str, str], None]  # column, reason
_Exists = Callable[[Path], bool]


@dataclass(frozen=True)
class Row:
    """One sample. label: '' is unlabelled; plane '': as the input specification says; covariates: all other columns.

    study, series_uid, site, scanner   '' unknown; pseudonyms where the data were clinical
    acquired                           day of the examination, None unknown
    fold                               fold that a given partition puts it in, from 0, None where there is none
    """

    sample: str
    group: str
    group_kind: GroupKind
    path: Path
    label: str
    split: str = ""
    plane: Plane | Literal[""] = ""
    slice_from: int = 0
    slice_to: int | None = None
    study: str = ""
    series_uid: str = ""
    site: str = ""
    scanner: str = ""
    acquired: date | None = None
    fold: int | None = None
    covariates: Mapping[str, str] = field(default_factory=dict)

    def column(self, name: str) -> str:
        """Text of a column, one of the texts above or a covariate; '' where it is empty or not there."""
        return str(getattr(self, name)) if name in _TEXTS else self.covariates.get(name, "")


def checked_rows(
    records: Iterable[tuple[int, Mapping[str, str]]],
    root: Path,
    about: Mapping[str, Any],
    exists: _Exists = os.path.exists,  # unlike Path.exists, False for a name that no file system takes
) -> tuple[tuple[Row, ...], tuple[RowProblem, ...]]:
    """The rows that are right, and every problem of all.

    records: line and columns of each row; about: content of manifest.json, itself checked; exists: tells whether a
    file is there, or will be.
    """
    rows: list[tuple[int, Row]] = []
    problems: list[RowProblem] = []
    samples: dict[str, int] = {}
    present: set[str] = set()
    for line, record in records:
        text = {key: value if key == "label" else value.strip() for key, value in record.items()}
        present.add(alike(text["label"]))
        row, found = _row(line, text, root, about, exists)
        first = samples.setdefault(text["sample"], line)
        if text["sample"] and first != line:
            reason = f"sample '{text['sample']}' stands already in line {first}"
            found.append(RowProblem(line, text["sample"], "sample", reason))
        if row is not None:
            rows.append((line, row))
        problems += found
    problems += [*_repeated_images(rows), *_mixed_groups(rows)]
    for name in about["classes"]:
        if alike(name) not in present:
            problems.append(RowProblem(0, "", "label", f"class '{name}' has no row"))
    return tuple(row for _, row in rows), tuple(problems)


def alike(label: str) -> str:
    """A label without what a reader overlooks: case, spaces, and how its characters are composed."""
    return " ".join(unicodedata.normalize("NFKC", label).casefold().split())


def _row(
    line: int, text: Mapping[str, str], root: Path, about: Mapping[str, Any], exists: _Exists
) -> tuple[Row | None, list[RowProblem]]:
    problems: list[RowProblem] = []

    def note(column: str, reason: str) -> None:
        problems.append(RowProblem(line, text["sample"], column, reason))

    _check_names(text, about, note)
    _check_label(text["label"], about["classes"], note)
    file = root / text["path"]
    if text["path"]:
        _check_file(file, text["path"], about["sha256"], exists, note)
    first, stop, fold = (_whole_number(text.get(name, ""), name, note) for name in ("slice_from", "slice_to", "fold"))
    if stop is not None and stop <= (first or 0):
        note("slice_to", "slice_to must be larger than slice_from")
    acquired = _day(text.get("acquired", ""), note)
    if problems:
        return None, problems
    row = Row(
        sample=text["sample"],
        group=text["group"] if text["group_kind"] != "none" else text["group"] or text["sample"],
        group_kind=cast("GroupKind", text["group_kind"]),
        path=file,
        label=text["label"],
        plane=cast("Plane", text.get("plane", "")),
        slice_from=first or 0,
        slice_to=stop,
        acquired=acquired,
        fold=fold,
        covariates={key: value for key, value in text.items() if key not in REQUIRED + OPTIONAL},
        **{name: text.get(name, "") for name in _TEXTS},
    )
    return row, problems


def _check_names(text: Mapping[str, str], about: Mapping[str, Any], note: _Note) -> None:
    kind, plane = text["group_kind"], text.get("plane", "")
    if not text["sample"] or not text["path"]:
        note("path" if text["sample"] else "sample", "'sample' and 'path' must not be empty")
    if kind not in get_args(GroupKind):
        note("group_kind", f"group_kind '{kind}' is none of {', '.join(get_args(GroupKind))}")
    elif kind == "none" and not about["group_waiver"]:
        note("group_kind", "group_kind 'none' needs the reason as 'group_waiver' in manifest.json")
    elif kind != "none" and not text["group"]:
        note("group", "'group' must not be empty")
    if plane and plane not in get_args(Plane):
        note("plane", f"plane '{plane}' is none of {', '.join(get_args(Plane))}")


def _check_label(label: str, classes: Sequence[str], note: _Note) -> None:
    if not label or label in classes:
        return
    if label != label.strip():
        note("label", f"label '{label}' begins or ends with a space")
        return
    twin = next((name for name in classes if alike(name) == alike(label)), None)
    if twin is not None:
        note("label", f"label '{label}' is written differently from class '{twin}'")
    else:
        note("label", f"label '{label}' is none of {', '.join(classes)}")


def _check_file(file: Path, name: str, hashes: Mapping[str, str], exists: _Exists, note: _Note) -> None:
    expected = hashes.get(name)
    if not exists(file):
        note("path", f"'{name}' does not exist")
    elif expected is not None and not file.is_file():
        note("path", f"'{name}' is a folder: a hash in manifest.json is of a file")
    elif expected is not None and _sha256(file) != expected.lower():
        note("path", f"'{name}' is not the file that was listed (SHA-256 differs)")


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _whole_number(text: str, name: str, note: _Note) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit()):
        note(name, f"{name} '{text}' is not a whole number from 0")
        return None
    return int(text)


def _day(text: str, note: _Note) -> date | None:
    try:
        if text and not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):  # Python takes other forms of ISO 8601 as well
            raise ValueError
        return date.fromisoformat(text) if text else None
    except ValueError:
        note("acquired", f"acquired '{text}' is not a date like 2024-03-31")
        return None


def _repeated_images(rows: Iterable[tuple[int, Row]]) -> list[RowProblem]:
    """Rows that hold a slice which an earlier row holds, too."""
    by_place: dict[tuple[str, str], list[tuple[int, Row]]] = {}
    for line, row in rows:
        by_place.setdefault((os.path.realpath(row.path), row.plane), []).append((line, row))
    problems = []
    for place in by_place.values():
        place.sort(key=lambda entry: (entry[1].slice_from, entry[0]))
        widest = place[0]
        for entry in place[1:]:
            if entry[1].slice_from < _stop(widest[1]):
                problems.append(_repeated(*sorted((widest, entry), key=lambda one: one[0])))
            widest = max(widest, entry, key=lambda one: _stop(one[1]))
    return problems


def _stop(row: Row) -> float:
    return inf if row.slice_to is None else row.slice_to


def _repeated(earlier: tuple[int, Row], later: tuple[int, Row]) -> RowProblem:
    (line, first), (at, second) = earlier, later
    if first.label and second.label and first.label != second.label:
        reason = f"it is labelled '{second.label}', the same image in line {line} '{first.label}'"
        return RowProblem(at, second.sample, "label", reason)
    if (first.slice_from, first.slice_to) == (second.slice_from, second.slice_to):
        return RowProblem(at, second.sample, "path", f"the same file and slices stand already in line {line}")
    return RowProblem(at, second.sample, "slice_from", f"some of its slices stand already in line {line}")


def _mixed_groups(rows: Iterable[tuple[int, Row]]) -> list[RowProblem]:
    """Rows whose group is of another kind in an earlier row."""
    problems = []
    kinds: dict[str, tuple[int, GroupKind]] = {}
    for line, row in rows:
        first, kind = kinds.setdefault(row.group, (line, row.group_kind))
        if kind != row.group_kind:
            reason = f"group '{row.group}' is of kind '{row.group_kind}' here and of kind '{kind}' in line {first}"
            problems.append(RowProblem(line, row.sample, "group_kind", reason))
    return problems
