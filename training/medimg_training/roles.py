"""Rows of a prepared set that know what they may be used for, so that a leak is an error of types.

    rows = fold_rows(prepared, fold)          rows.fit, rows.select, rows.calibrate
    rows = read_evaluate(split_path, ...)     the evaluate role, only after the reading is in the log

A function that fits takes `FitRows`, and says so once more when it runs (`indices_of`). Rows are made here only, out of
a Fold, so none can be made of numbers that somebody chose.
"""

from __future__ import annotations

import json
import os
from dataclasses import InitVar, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from MedImgClassifierLib.engine.errors import Refusal

from .cache import Indices, PreparedSet
from .durable import flush_folder
from .split import Fold, Split, named, parse, read_evaluate_log


class _Maker:
    """Whoever holds one may make rows: this file."""


_HERE: Final = _Maker()


@dataclass(frozen=True, eq=False)
class Rows:
    """Labelled images of some groups. indices: [n] row numbers of a PreparedSet, read-only; groups: [n] of each."""

    indices: Indices
    groups: tuple[str, ...]
    maker: InitVar[_Maker]

    def __post_init__(self, maker: _Maker) -> None:
        if maker is not _HERE:
            raise TypeError(f"{type(self).__name__} come from fold_rows or read_evaluate only")
        self.indices.setflags(write=False)

    def __len__(self) -> int:
        return len(self.indices)

    def part(self, kept: NDArray[np.bool_]) -> Self:
        """Those of the rows for which `kept` [n] is true, in the same role."""
        chosen = np.asarray(kept)
        if chosen.dtype != np.bool_ or chosen.shape != self.indices.shape:
            raise ValueError(f"a part of {len(self)} rows is {len(self)} times true or false")
        groups = tuple(group for group, keep in zip(self.groups, chosen, strict=True) if keep)
        return self._again(self.indices[chosen], groups)

    def _again(self, indices: Indices, groups: tuple[str, ...]) -> Self:
        return type(self)(indices, groups, _HERE)


class FitRows(Rows):
    """What anything may be fitted on: weights, statistics, scalers, features, class weights."""


class SelectRows(Rows):
    """What curves and choices between recipes are made on."""


class CalibrateRows(Rows):
    """What temperatures, thresholds and prediction sets are fitted on."""


@dataclass(frozen=True, eq=False)
class EvaluateRows(Rows):
    """What figures are reported of. reading: which reading of this fold's evaluate role it is, from 1."""

    reading: int = 1

    def _again(self, indices: Indices, groups: tuple[str, ...]) -> Self:
        return type(self)(indices, groups, _HERE, self.reading)


class FoldRows(NamedTuple):
    """The rows of a fold that may be had without being logged."""

    fit: FitRows
    select: SelectRows
    calibrate: CalibrateRows


def fold_rows(prepared: PreparedSet, fold: Fold) -> FoldRows:
    """The labelled images of each role but evaluate, as far as they are in the prepared set."""
    return FoldRows(
        FitRows(*_found(prepared, fold.fit), _HERE),
        SelectRows(*_found(prepared, fold.select), _HERE),
        CalibrateRows(*_found(prepared, fold.calibrate), _HERE),
    )


def read_evaluate(
    split_path: Path, fold_number: int, prepared: PreparedSet, split: Split, purpose: str, recipe_sha256: str
) -> EvaluateRows:
    """The labelled images of a fold's evaluate role; the reading is on the disk before they are returned.

    Appends a line to `evaluate_log.jsonl` beside split.json: time, fold, purpose, hash of the recipe. Raises Refusal:
    DATA_SPLIT (split_path holds another split, there is no such fold, its evaluate role is empty or has a group that is
    not prepared), USAGE_OUTPUT_NOT_WRITABLE (the log); nothing is read then.
    """
    if parse(split_path).folds != split.folds:
        raise Refusal("DATA_SPLIT", reason=f"'{split_path}' holds another split than the one to be evaluated")
    if not 0 <= fold_number < len(split.folds):
        raise Refusal("DATA_SPLIT", reason=f"there is no fold {fold_number}, only {len(split.folds)} from 0")
    groups = split.folds[fold_number].evaluate
    if not groups:
        raise Refusal("DATA_SPLIT", reason=f"fold {fold_number} has nobody in evaluate")
    found = _found(prepared, groups)
    if missing := sorted(set(groups) - set(found[1])):
        raise Refusal("DATA_SPLIT", reason=f"no labelled image is prepared of evaluate group {named(missing)}")
    _log(split_path, {"fold": fold_number, "purpose": purpose, "recipe_sha256": recipe_sha256})
    entries = read_evaluate_log(split_path)
    reading = sum(entry.get("fold", fold_number) == fold_number for entry in entries)  # one that is damaged counts
    return EvaluateRows(*found, _HERE, reading)


def indices_of(kind: type[Rows], rows: Rows, prepared: PreparedSet) -> Indices:
    """[n] row numbers; what a function says first that takes rows of one kind.

    Raises TypeError for rows of another role, or numbers without one, and Refusal DATA_SPLIT for another set's rows.
    """
    if not isinstance(rows, kind):
        raise TypeError(f"{kind.__name__} are needed here, not {type(rows).__name__}")
    if any(n >= len(prepared) or prepared.groups[n] != own for n, own in zip(rows.indices, rows.groups, strict=True)):
        raise Refusal("DATA_SPLIT", reason=f"the {kind.__name__} are of another prepared set")
    return rows.indices


def require_apart(one: Rows, other: Rows) -> None:
    """Raises Refusal DATA_SPLIT where a group is in both: rows of two folds, say."""
    if shared := sorted(set(one.groups) & set(other.groups)):
        kinds = f"{type(one).__name__} and {type(other).__name__}"
        raise Refusal("DATA_SPLIT", reason=f"group {named(shared)} is in {kinds}")


def _found(prepared: PreparedSet, groups: tuple[str, ...]) -> tuple[Indices, tuple[str, ...]]:
    indices = prepared.of_groups(groups)
    return indices, tuple(prepared.groups[n] for n in indices)


def _log(split_path: Path, reading: dict[str, Any]) -> None:
    """Append one line and see it onto the disk."""
    path = split_path.parent / "evaluate_log.jsonl"
    entry = {"time": datetime.now(UTC).isoformat(timespec="seconds"), **reading}
    line = (json.dumps(entry, ensure_ascii=False) + "\n").encode()
    try:
        with path.open("a+b") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                line = line if file.read(1) == b"\n" else b"\n" + line  # what a crash cut short stays a line of its own
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        flush_folder(path.parent)
    except OSError as error:
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=path, reason=error.strerror or error) from error
