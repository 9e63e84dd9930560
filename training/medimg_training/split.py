"""Who may be used for what: groups (patients, clusters) in four roles, written to `split.json`.

    fit        weights and everything else that is fitted are learned from these
    select     curves and choices between recipes
    calibrate  temperature, prediction sets, thresholds
    evaluate   the figures that are reported; every reading is logged in `evaluate_log.jsonl` beside split.json

A group is in one role only, so that no patient is both learned from and tested on. `schemes` and `crossval_schemes`
make splits, `roles` turns a fold's groups into the rows that functions take.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from MedImgClassifierLib.engine.errors import Refusal

from .datasets.manifest import Manifest, Row
from .durable import write_durably

Role = Literal["fit", "select", "calibrate", "evaluate"]
InnerRole = Literal["select", "calibrate"]
ROLES: tuple[Role, ...] = get_args(Role)
INNER_ROLES: tuple[InnerRole, ...] = get_args(InnerRole)
FORMAT = 2
FROM_COLUMN = "column 'split'"

Scheme = Literal[
    "hold_out", "column", "k_fold", "repeated_k_fold", "leave_site_out", "temporal", "fold_column", "nested", "by_hand"
]
EACH_GROUP_ONCE: tuple[Scheme, ...] = ("k_fold", "repeated_k_fold", "leave_site_out", "fold_column", "nested")
"""Schemes of which the evaluate parts together hold every labelled group once (once in each repeat)."""


@dataclass(frozen=True)
class Fold:
    """The groups of each role, and folds within the role fit.

    inner: folds whose groups are those of `fit`. Each learns from most of them and holds the others out in its role
    select (choosing between recipes) or calibrate (pooled out-of-fold logits); all inner folds of a role together hold
    every group of `fit` out once. Raises Refusal DATA_SPLIT where a group has two roles or inner folds are not so.
    """

    fit: tuple[str, ...]
    select: tuple[str, ...] = ()
    calibrate: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()
    inner: tuple[Fold, ...] = ()

    def __post_init__(self) -> None:
        taken: dict[str, str] = {}
        for role in ROLES:
            for group in getattr(self, role):
                other = taken.setdefault(group, role)
                if other != role:
                    raise Refusal("DATA_SPLIT", reason=f"group '{group}' is both in {other} and in {role}")
            if len(set(getattr(self, role))) < len(getattr(self, role)):
                raise Refusal("DATA_SPLIT", reason=f"role {role} names a group twice")
        if self.inner:
            _check_inner(self)

    @classmethod
    def of(cls, groups: Mapping[Role, Iterable[str]]) -> Fold:
        """A fold of the groups of each role; roles that are not named are empty."""
        fit, select, calibrate, evaluate = (tuple(groups.get(role, ())) for role in ROLES)
        return cls(fit, select, calibrate, evaluate)

    def inner_for(self, role: InnerRole) -> tuple[Fold, ...]:
        """The inner folds that hold out groups in this role; () where there are none."""
        return tuple(inner for inner in self.inner if getattr(inner, role))

    @property
    def everyone(self) -> frozenset[str]:
        return frozenset(group for role in ROLES for group in getattr(self, role))


@dataclass(frozen=True)
class Count:
    """How many there are in one role of one fold. by_class: class -> {"groups": .., "samples": ..} of the labelled rows
    of the manifest; a group with samples of two classes counts for both."""

    fold: int
    role: Role
    groups: int
    samples: int
    by_class: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Split:
    """The folds of a manifest.

    how         what they were made from, in words;  manifest_sha256  of which manifest
    parameters  what the scheme was given, in JSON types; "names" are the folds' names where they have any (sites)
    seed        None where nothing was drawn
    counts      of each fold and role that is not empty; () where a split was made without its manifest
    """

    folds: tuple[Fold, ...]
    how: str
    manifest_sha256: str
    scheme: Scheme = "by_hand"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    seed: int | None = None
    counts: tuple[Count, ...] = ()

    @classmethod
    def of(
        cls,
        manifest: Manifest,
        folds: Sequence[Fold],
        scheme: Scheme,
        how: str,
        seed: int | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Split:
        """A split with its counts, checked against its manifest. Raises Refusal DATA_SPLIT."""
        counts = _counts(manifest, folds)
        split = cls(tuple(folds), how, manifest.sha256, scheme, dict(parameters or {}), seed, counts)
        _check(split, manifest)
        return split

    def write(self, path: Path) -> None:
        write_durably(path, _in_short_lines({"format": FORMAT, **asdict(self)}).encode())

    @classmethod
    def read(cls, path: Path, manifest: Manifest) -> Split:
        """Formats 1 and 2. Raises Refusal DATA_SPLIT for a file that is not a split, the split of another manifest,
        groups the manifest does not have, and evaluate parts that miss or repeat a group where the scheme forbids it.
        """
        found = parse(path)
        if found.manifest_sha256 != manifest.sha256:
            raise Refusal("DATA_SPLIT", reason=f"'{path}' belongs to another manifest than '{manifest.path}'")
        split = cls.of(manifest, found.folds, found.scheme, found.how, found.seed, found.parameters)
        if found.counts not in ((), split.counts):
            raise Refusal("DATA_SPLIT", reason=f"'{path}' was changed: its counts are not those of its folds")
        return split

    def describe(self) -> str:
        """Markdown: what it was made from, and groups / samples per fold, role and class."""
        classes = list(self.counts[0].by_class) if self.counts else []
        names = self.parameters.get("names", range(len(self.folds)))
        lines = [f"{self.how[:1].upper()}{self.how[1:]}. Cells are groups / samples.", ""]
        lines += [f"| fold | role | all | {' | '.join(map(_cell, classes))} |", "|---" * (3 + len(classes)) + "|"]
        for count in self.counts:
            cells = [f"{own['groups']} / {own['samples']}" for own in count.by_class.values()]
            row = (_cell(names[count.fold]), count.role, f"{count.groups} / {count.samples}", *cells)
            lines.append(f"| {' | '.join(row)} |")
        for role in INNER_ROLES:
            if numbers := {len(fold.inner_for(role)) for fold in self.folds} - {0}:
                lines += ["", f"Within fit: {' or '.join(map(str, sorted(numbers)))} inner folds to {role} with."]
        return "\n".join(lines) + "\n"


def parse(path: Path) -> Split:
    """What stands in a split.json, without its manifest. Raises Refusal DATA_SPLIT where it is not a split."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] not in (1, FORMAT):
            raise ValueError(f"format {content['format']} is unknown")
        folds, how, manifest = tuple(map(_fold, content["folds"])), content["how"], content["manifest_sha256"]
        if content["format"] == 1:
            return Split(folds, how, manifest, "column" if how == FROM_COLUMN else "hold_out")
        if content["scheme"] not in get_args(Scheme):
            raise ValueError(f"scheme '{content['scheme']}' is unknown")
        counts = tuple(Count(**count) for count in content["counts"])
        return Split(folds, how, manifest, content["scheme"], dict(content["parameters"]), content["seed"], counts)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise Refusal("DATA_SPLIT", reason=f"'{path}' is not a split ({error})") from error


def read_evaluate_log(split_path: Path) -> list[dict[str, Any]]:
    """Every reading of the evaluate role so far, oldest first; `roles.read_evaluate` writes them.

    A line that a crash cut short was a reading too: it comes as {"damaged": what stands there}.
    """
    path = split_path.parent / "evaluate_log.jsonl"
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    return [_entry(line) for line in lines]


def labelled(manifest: Manifest) -> list[Row]:
    """The rows that a split is of; unlabelled ones have no role."""
    return [row for row in manifest.rows if row.label]


def named(items: Iterable[object], most: int = 12) -> str:
    """Names for a refusal: all of them up to `most`, then how many more."""
    names = [f"'{item}'" for item in items]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _entry(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        entry = None
    return entry if isinstance(entry, dict) else {"damaged": line}


def _fold(content: Mapping[str, Any]) -> Fold:
    roles = {role: tuple(groups) for role, groups in content.items() if role != "inner"}
    if not all(isinstance(group, str) for groups in roles.values() for group in groups):
        raise ValueError("groups must be texts")
    return Fold(**roles, inner=tuple(map(_fold, content.get("inner", ()))))


def _check_inner(fold: Fold) -> None:
    for number, inner in enumerate(fold.inner):
        where = f"inner fold {number}"
        if inner.inner or inner.evaluate or bool(inner.select) == bool(inner.calibrate):
            reason = f"{where} must hold groups out in select or in calibrate, and have no other role beside fit"
            raise Refusal("DATA_SPLIT", reason=reason)
        if not inner.fit:
            raise Refusal("DATA_SPLIT", reason=f"{where} has nothing to fit on")
        if others := sorted(inner.everyone ^ set(fold.fit)):
            raise Refusal("DATA_SPLIT", reason=f"{where} and the fit role around it differ in group {named(others)}")
    for role in INNER_ROLES:
        held = [group for inner in fold.inner for group in getattr(inner, role)]
        if held and sorted(held) != sorted(fold.fit):
            wrong = sorted(group for group in fold.fit if held.count(group) != 1)
            raise Refusal("DATA_SPLIT", reason=f"inner folds must hold each group out once in {role}: {named(wrong)}")


def _check(split: Split, manifest: Manifest) -> None:
    there = {row.group for row in labelled(manifest)}
    if not split.folds:
        raise Refusal("DATA_SPLIT", reason="it has no folds")
    if strangers := sorted({group for fold in split.folds for group in fold.everyone} - there):
        reason = f"the manifest has no labelled sample of group {named(strangers)}"
        raise Refusal("DATA_SPLIT", reason=reason)
    if split.scheme in EACH_GROUP_ONCE:
        for part in _repeats(split):
            read = [group for fold in part for group in fold.evaluate]
            wrong = sorted({group for group in read if read.count(group) > 1} | (there - set(read)))
            if wrong:
                raise Refusal("DATA_SPLIT", reason=f"not evaluated exactly once over the folds: group {named(wrong)}")


def _repeats(split: Split) -> Iterator[tuple[Fold, ...]]:
    repeats = split.parameters.get("repeats", 1)
    if not isinstance(repeats, int) or repeats < 1 or len(split.folds) % repeats:
        raise Refusal("DATA_SPLIT", reason=f"{len(split.folds)} folds are not {repeats} repeats")
    size = len(split.folds) // repeats
    return (split.folds[start : start + size] for start in range(0, len(split.folds), size))


def _counts(manifest: Manifest, folds: Sequence[Fold]) -> tuple[Count, ...]:
    rows_of: dict[str, list[Row]] = {}
    for row in labelled(manifest):
        rows_of.setdefault(row.group, []).append(row)
    counts = []
    for number, fold in enumerate(folds):
        for role in ROLES:
            groups: tuple[str, ...] = getattr(fold, role)
            rows = [row for group in groups for row in rows_of.get(group, ())]
            by_class = {}
            for name in manifest.classes:
                own = [row.group for row in rows if row.label == name]
                by_class[name] = {"groups": len(set(own)), "samples": len(own)}
            if groups:
                counts.append(Count(number, role, len(groups), len(rows), by_class))
    return tuple(counts)


def _in_short_lines(content: Mapping[str, Any]) -> str:
    """JSON whose innermost lists and objects stand on one line each, to be read by people."""
    text = json.dumps(content, indent=1, ensure_ascii=False)
    innermost = re.compile(r"[\[{]\n[^\[\]{}]*\n *[\]}]")
    # a line break never stands within a text of JSON, so that none of a text is lost
    return innermost.sub(lambda found: re.sub(r"\n *", " ", found[0]), text) + "\n"


def _cell(text: object) -> str:
    return str(text).replace("|", "\\|")
