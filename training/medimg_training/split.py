"""Who may be used for what: groups (patients, clusters) in four roles, written to `split.json`.

    fit        weights are learned from these
    select     curves and choices between recipes
    calibrate  temperature, prediction sets, thresholds
    evaluate   the figures that are reported; every reading is logged in `evaluate_log.jsonl` beside split.json

A group is in one role only, so that no patient is both learned from and tested on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from MedImgClassifierLib.engine.errors import Refusal

from .checkpoint import write_durably
from .datasets.manifest import Manifest, Row

Role = Literal["fit", "select", "calibrate", "evaluate"]
ROLES: tuple[Role, ...] = get_args(Role)
COLUMN_ROLES: Mapping[str, Role] = {"train": "fit", "val": "select", "calibrate": "calibrate", "test": "evaluate"}
FORMAT = 1
FROM_COLUMN = "column 'split'"


@dataclass(frozen=True)
class Fold:
    """The groups of each role. Raises Refusal DATA_SPLIT where a group has two."""

    fit: tuple[str, ...]
    select: tuple[str, ...] = ()
    calibrate: tuple[str, ...] = ()
    evaluate: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        taken: dict[str, str] = {}
        for role in ROLES:
            for group in getattr(self, role):
                if taken.setdefault(group, role) != role:
                    raise Refusal("DATA_SPLIT", reason=f"group '{group}' is both in {taken[group]} and in {role}")


@dataclass(frozen=True)
class Split:
    """The folds of a manifest. how: what they were made from, in words; manifest_sha256: of which manifest."""

    folds: tuple[Fold, ...]
    how: str
    manifest_sha256: str

    def write(self, path: Path) -> None:
        content = {"format": FORMAT, **asdict(self)}
        write_durably(path, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())

    @classmethod
    def read(cls, path: Path, manifest: Manifest) -> Split:
        """Raises Refusal DATA_SPLIT for a file that is not a split, or the split of another manifest."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']} is unknown")
            folds = tuple(Fold(**{role: tuple(groups) for role, groups in fold.items()}) for fold in content["folds"])
            split = cls(folds, content["how"], content["manifest_sha256"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise Refusal("DATA_SPLIT", reason=f"'{path}' is not a split ({error})") from error
        if split.manifest_sha256 != manifest.sha256:
            raise Refusal("DATA_SPLIT", reason=f"'{path}' belongs to another manifest than '{manifest.path}'")
        return split


def split_from_column(manifest: Manifest, roles: Mapping[str, Role] = COLUMN_ROLES) -> Split:
    """One fold from the column `split` of the labelled rows, whose words `roles` translates.

    Raises Refusal DATA_SPLIT for a word without a role, a group with two roles, or a class that is not in fit.
    """
    groups: dict[Role, dict[str, None]] = {role: {} for role in ROLES}
    for row in _labelled(manifest):
        if row.split not in roles:
            raise Refusal("DATA_SPLIT", reason=f"sample '{row.sample}' has split '{row.split}', not {', '.join(roles)}")
        groups[roles[row.split]][row.group] = None
    fold = Fold(**{role: tuple(found) for role, found in groups.items()})
    _check_classes(manifest, fold, ("fit",))
    return Split((fold,), FROM_COLUMN, manifest.sha256)


def make_split(manifest: Manifest, fractions: Mapping[Role, float], seed: int = 0) -> Split:
    """One fold with about these fractions of the labelled samples in each role, and of each class within it.

    fractions: role -> fraction, together 1; a role that is not named stays empty. Groups stay whole (scikit-learn's
    StratifiedGroupKFold takes one role after the other out of what is left), so fractions are met only roughly.
    Raises Refusal DATA_SPLIT for fractions that are none and where a class has too few groups for its roles.
    """
    wanted = {role: fractions[role] for role in ROLES if fractions.get(role, 0) > 0}
    if set(fractions) - set(ROLES) or min(fractions.values()) < 0 or abs(sum(fractions.values()) - 1) > 1e-6:
        raise Refusal("DATA_SPLIT", reason=f"fractions {dict(fractions)} must be of {', '.join(ROLES)} and add up to 1")
    if "fit" not in wanted:
        raise Refusal("DATA_SPLIT", reason="the role fit needs a fraction")
    rows = _labelled(manifest)
    taken: dict[Role, tuple[str, ...]] = {}
    left = 1.0
    for role in reversed(wanted):  # evaluate first: it is the smallest and needs every class most
        share = wanted[role] / left
        chosen = {row.group for row in rows} if role == "fit" else _stratified_part(rows, share, seed)
        taken[role] = tuple(sorted(chosen))
        rows = [row for row in rows if row.group not in chosen]
        left -= wanted[role]
    fold = Fold(**taken)
    _check_classes(manifest, fold, tuple(wanted))
    named = ", ".join(f"{role} {fraction:g}" for role, fraction in wanted.items())
    return Split((fold,), f"stratified by class within groups ({named}; seed {seed})", manifest.sha256)


def log_evaluation(split_path: Path, purpose: str, recipe_sha256: str, fold: int = 0) -> None:
    """Append one reading of the evaluate role to `evaluate_log.jsonl` beside split.json; call it before reading."""
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "fold": fold,
        "purpose": purpose,
        "recipe_sha256": recipe_sha256,
    }
    with (split_path.parent / "evaluate_log.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def read_evaluate_log(split_path: Path) -> list[dict[str, Any]]:
    """Every reading of the evaluate role so far, oldest first."""
    path = split_path.parent / "evaluate_log.jsonl"
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _labelled(manifest: Manifest) -> list[Row]:
    return [row for row in manifest.rows if row.label]


def _stratified_part(rows: Sequence[Row], share: float, seed: int) -> set[str]:
    """Groups that hold about `share` of the rows and of each class."""
    from sklearn.model_selection import StratifiedGroupKFold

    part = Fraction(share).limit_denominator(10)
    parts, of = max(part.numerator, 1), max(part.denominator, 2)
    groups = np.array([row.group for row in rows])
    if len(set(groups)) < of:
        raise Refusal("DATA_SPLIT", reason=f"{len(set(groups))} groups are too few to set {share:.2f} of them apart")
    labels = np.array([row.label for row in rows])
    if max(np.unique(labels, return_counts=True)[1]) < of:  # scikit-learn would raise ValueError
        raise Refusal("DATA_SPLIT", reason=f"no class has the {of} samples that it takes to set {share:.2f} apart")
    folds = StratifiedGroupKFold(of, shuffle=True, random_state=seed).split(groups, labels, groups)
    return {str(groups[n]) for _, (_, held) in zip(range(parts), folds, strict=False) for n in held}


def _check_classes(manifest: Manifest, fold: Fold, roles: Sequence[Role]) -> None:
    for role in roles:
        groups = set(getattr(fold, role))
        there = {row.label for row in manifest.rows if row.group in groups}
        missing = [name for name in manifest.classes if name not in there]
        if missing:
            raise Refusal("DATA_SPLIT", reason=f"role {role} has no group of class {', '.join(missing)}")
