"""A table with one row an image: which column is what, and everything else kept as a covariate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from MedImgClassifierLib.engine.errors import Refusal

from .delimited import Table, plain, read_table
from .draft import Draft, classes_and_task
from .rows import OPTIONAL, REQUIRED, GroupKind

_USUAL = {
    "path": ("path", "file", "filename", "image"),
    "label": ("label", "class"),
    "group": ("group", "patient", "patientid", "subject", "subjectid", "cluster", "sourceimage"),
}
_KIND_OF_COLUMN: dict[str, GroupKind] = {"cluster": "cluster", "sourceimage": "source_image"}
_KIND_OF_COLUMN |= dict.fromkeys(("patient", "patientid", "subject", "subjectid"), "patient")
KNOWN = (*REQUIRED, *OPTIONAL, "sha256")


def draft_of_table(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    images: Path | None = None,
    group_kind: GroupKind | None = None,
    no_groups: str = "",
    classes: Sequence[str] = (),
    task: str = "",
) -> Draft:
    """The manifest of a table of images.

    columns: column of the manifest (or `sha256`) -> column of the table. What is not named is looked for by usual
    names: path, file, filename or image; label or class; group, patient, subject, cluster or source_image; and the
    manifest's other columns by their own. Others become covariates.
    images: folder that paths are relative to, else the table's. group_kind: what a group is, where the column's name
    does not say it. no_groups: why the images have nothing in common; a group is not looked for then.

    Raises Refusal DATA_SOURCE for columns that are missing or may be meant twice, DATA_GROUPS without a group.
    """
    table = read_table(path)
    chosen = _columns(table, columns or {}, grouped=not no_groups)
    kind: GroupKind | None = "none" if no_groups else group_kind
    if kind is None and "group_kind" not in chosen:
        kind = _KIND_OF_COLUMN.get(plain(chosen["group"]))
    if kind is None and "group_kind" not in chosen:
        reason = f"column '{chosen['group']}' does not say what a group is"
        raise Refusal("DATA_GROUPS", path=path, reason=reason, options="--group-kind patient, cluster or source_image")
    records = []
    hashes = {}
    for _, row in table.rows:
        record: dict[str, object] = {name: row[own] for name, own in chosen.items() if name != "sha256"}
        record["path"] = _posix(row[chosen["path"]])
        record.setdefault("sample", record["path"])
        record.setdefault("group", "")
        if kind is not None:
            record["group_kind"] = kind
        if "sha256" in chosen and row[chosen["sha256"]].strip():
            hashes[str(record["path"])] = row[chosen["sha256"]].strip()
        records.append(record | _covariates(row, chosen))
    classes, task = classes_and_task(path, (str(record["label"]) for record in records), classes, task)
    lines = tuple(line for line, _ in table.rows)
    root = images or path.parent
    return Draft(path, root, tuple(records), classes, task, lines=lines, group_waiver=no_groups, sha256=hashes)


def _columns(table: Table, given: Mapping[str, str], *, grouped: bool) -> dict[str, str]:
    """Column of the manifest -> column of the table."""
    unknown = [name for name in given if name not in KNOWN]
    if unknown:
        reason = f"'{unknown[0]}' is no column of a manifest (those are {', '.join(KNOWN)})"
        raise Refusal("DATA_SOURCE", path=table.path, where="columns", reason=reason)
    chosen = {name: table.column(own, name) for name, own in given.items()}
    for name in dict.fromkeys(("path", "label", *KNOWN)):
        if name in chosen or (name in ("group", "group_kind") and not grouped):
            continue
        usual = [plain(word) for word in _USUAL.get(name, (name,))]
        found = [own for own in table.columns if plain(own) in usual and own not in chosen.values()]
        if len(found) > 1:
            reason = f"{' and '.join(found)} may each be the column '{name}': say which, --column {name}=..."
            raise Refusal("DATA_SOURCE", path=table.path, where="line 1", reason=reason)
        if found:
            chosen[name] = found[0]
        elif name in ("path", "label"):
            reason = f"no column for '{name}' (there are {', '.join(table.columns)}): say which, --column {name}=..."
            raise Refusal("DATA_SOURCE", path=table.path, where="line 1", reason=reason)
        elif name == "group":
            reason = f"none of the columns {', '.join(table.columns)} is known to"
            raise Refusal("DATA_GROUPS", path=table.path, reason=reason, options="the column, --column group=...")
    return chosen


def _covariates(row: Mapping[str, str], chosen: Mapping[str, str]) -> dict[str, str]:
    """What is left of a row. A name that means something else in a manifest is set apart: `group` -> `table.group`."""
    left = {own: text for own, text in row.items() if own not in chosen.values()}
    return {f"table.{own}" if own in KNOWN else own: text for own, text in left.items()}


def _posix(text: str) -> str:
    return PurePosixPath(text.strip()).as_posix() if text.strip() else ""
