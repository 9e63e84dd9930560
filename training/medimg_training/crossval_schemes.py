"""Splits with several folds, all by group: every labelled group is evaluated once.

`with_calibration` sets groups of each fold's fit role apart, `with_inner` divides it into inner folds; both take any
split, those of one fold too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np

from MedImgClassifierLib.engine.errors import Refusal

from .datasets.manifest import Manifest, Row
from .evaluation.intervals import FEWEST_GROUPS
from .schemes import require_classes, require_groups, stratified_part
from .split import Fold, InnerRole, Scheme, Split, labelled, named

ENOUGH_TO_HOLD_OUT = 100
"""Groups from which on some may be set apart for calibration alone."""
ATTEMPTS = 20
"""Draws before a class that is missing from a part is refused."""


class CalibrationScheme(NamedTuple):
    """kind: calibrate on pooled logits of inner folds, or on groups held out. reason: why, in a sentence."""

    kind: Literal["inner", "held_out"]
    reason: str


def calibration_scheme(groups: int) -> CalibrationScheme:
    """How to calibrate with so many labelled groups."""
    if groups < ENOUGH_TO_HOLD_OUT:
        reason = (
            f"{groups} groups, under {ENOUGH_TO_HOLD_OUT}: too few to spare any, so all of fit calibrate out of fold"
        )
        return CalibrationScheme("inner", reason)
    reason = (
        f"{groups} groups, at least {ENOUGH_TO_HOLD_OUT}: some may be set apart, and the network that is calibrated"
    )
    return CalibrationScheme("held_out", reason + " is the one that is used")


def k_fold(manifest: Manifest, folds: int = 5, seed: int = 0) -> Split:
    """Stratified group k-fold (scikit-learn's StratifiedGroupKFold): each fold evaluates another part of the groups.

    Stratified by the labels of the samples, so that a group of mixed labels counts for each of its classes with what it
    has of it. Raises Refusal DATA_SPLIT where a class has fewer groups than folds, all such classes named.
    """
    parts = _parts(manifest, labelled(manifest), folds, seed)
    how = f"stratified group {folds}-fold (seed {seed})"
    return Split.of(manifest, _evaluating(parts), "k_fold", how, seed, {"folds": folds})


def repeated_k_fold(manifest: Manifest, folds: int, seeds: Sequence[int]) -> Split:
    """`k_fold` for one seed after the other; fold n belongs to repeat n // folds. Raises Refusal DATA_SPLIT."""
    if not seeds or len(set(seeds)) < len(seeds):
        raise Refusal("DATA_SPLIT", reason=f"repeats need different seeds, not {list(seeds)}")
    found = [fold for seed in seeds for fold in k_fold(manifest, folds, seed).folds]
    how = f"stratified group {folds}-fold, {len(seeds)} times (seeds {', '.join(map(str, seeds))})"
    parameters = {"folds": folds, "repeats": len(seeds), "seeds": list(seeds)}
    return Split.of(manifest, found, "repeated_k_fold", how, None, parameters)


def leave_site_out(manifest: Manifest, fewest_groups: int = FEWEST_GROUPS) -> Split:
    """Each fold evaluates one site (column `site`) on what was learned from the others.

    Sites of fewer than `fewest_groups` groups (by default so few that no interval can be given) are evaluated together
    in one fold, with none of them in fit: so all groups count, each seen by a network that does not know its site.
    Where they are too few even together, all are refused by name. Raises Refusal DATA_SPLIT also for samples without a
    site, groups at two sites, fewer than two sites, and a class that only one fold's sites have.
    """
    rows = labelled(manifest)
    site_of = _one_value_each(rows, "site")
    groups_of: dict[str, list[str]] = {}
    for group, site in site_of.items():
        groups_of.setdefault(site, []).append(group)
    small = sorted(site for site, groups in groups_of.items() if len(groups) < fewest_groups)
    together = [group for site in small for group in groups_of[site]]
    if small and len(together) < fewest_groups:
        reason = f"site {named(small)} has {len(together)} groups, even together fewer than {fewest_groups}"
        raise Refusal("DATA_SPLIT", reason=reason)
    parts = {site: groups for site, groups in sorted(groups_of.items()) if site not in small}
    if small:
        parts[" + ".join(small)] = together
    how = f"leave site out, {len(parts)} folds"
    if small:
        how += f" (sites of fewer than {fewest_groups} groups together: {', '.join(small)})"
    return _named_folds(manifest, parts, "leave_site_out", how, {"fewest_groups": fewest_groups, "small": small})


def from_fold_column(manifest: Manifest) -> Split:
    """Each fold evaluates the groups of one value of the column `fold`, in the order of its numbers.

    Raises Refusal DATA_SPLIT for samples without a fold, groups in two folds, fewer than two folds, and a class that
    only one fold has.
    """
    parts: dict[str, list[str]] = {}
    for group, fold in _one_value_each(labelled(manifest), "fold").items():
        parts.setdefault(fold, []).append(group)
    return _named_folds(
        manifest, {name: parts[name] for name in sorted(parts, key=int)}, "fold_column", "column 'fold'", {}
    )


def nested(manifest: Manifest, folds: int = 5, inner: int = 4, seed: int = 0) -> Split:
    """`k_fold` whose folds have inner folds, in which recipes are chosen; the evaluate part sees only the chosen one
    (Varma & Simon 2006, BMC Bioinformatics 7:91). Raises Refusal DATA_SPLIT."""
    outer = k_fold(manifest, folds, seed)
    return replace(with_inner(manifest, outer, inner, "select", seed), scheme="nested")


def with_inner(manifest: Manifest, split: Split, folds: int, role: InnerRole, seed: int = 0) -> Split:
    """The split with inner folds in each fold's fit role, which hold groups out to select or to calibrate with.

    Inner folds that the split has for the other role stay. Raises Refusal DATA_SPLIT where it has some for this role,
    or a class of some fit role has fewer groups than inner folds.
    """
    made = []
    for number, fold in enumerate(split.folds):
        if fold.inner_for(role):
            raise Refusal("DATA_SPLIT", reason=f"fold {number} has inner folds to {role} with already")
        rows = [row for row in labelled(manifest) if row.group in set(fold.fit)]
        parts = _parts(manifest, rows, folds, _derived(seed, number), f"inner folds of fold {number}")
        inner = [Fold.of({"fit": own.fit, role: own.evaluate}) for own in _evaluating(parts)]
        made.append(replace(fold, inner=(*fold.inner, *inner)))
    how = f"{split.how}; {folds} inner folds to {role} with (seed {seed})"
    parameters = {**split.parameters, f"inner_{role}": {"folds": folds, "seed": seed}}
    return Split.of(manifest, made, split.scheme, how, split.seed, parameters)


def with_calibration(manifest: Manifest, split: Split, share: float, seed: int = 0) -> Split:
    """The split with about this share of each fold's fit samples set apart to calibrate, stratified, groups whole.

    Raises Refusal DATA_SPLIT where `calibration_scheme` says that there are too few groups to, where a fold has
    calibrating or inner groups already, and where a class is too rare for both roles.
    """
    scheme = calibration_scheme(len({row.group for row in labelled(manifest)}))
    if scheme.kind == "inner":
        raise Refusal("DATA_SPLIT", reason=f"nobody can be set apart to calibrate: {scheme.reason}")
    if not 0 < share < 1:
        raise Refusal("DATA_SPLIT", reason=f"a share to calibrate lies between 0 and 1, {share:g} does not")
    made = []
    for number, fold in enumerate(split.folds):
        if fold.calibrate or fold.inner:
            raise Refusal("DATA_SPLIT", reason=f"fold {number} has groups to calibrate with, or inner folds, already")
        rows = [row for row in labelled(manifest) if row.group in set(fold.fit)]
        require_groups(manifest, rows, 2, f"for fit and calibrate in fold {number}")
        chosen = stratified_part(rows, share, _derived(seed, number))
        kept = tuple(group for group in fold.fit if group not in chosen)
        made.append(replace(fold, fit=kept, calibrate=tuple(sorted(chosen))))
        require_classes(manifest, made[-1], ("fit", "calibrate"), f"fold {number}: ")
    how = f"{split.how}; {share:g} of fit set apart to calibrate (seed {seed})"
    parameters = {**split.parameters, "calibrate": {"share": share, "seed": seed}}
    return Split.of(manifest, made, split.scheme, how, split.seed, parameters)


def _parts(
    manifest: Manifest, rows: Sequence[Row], parts: int, seed: int, purpose: str = "folds"
) -> list[tuple[str, ...]]:
    """The groups of some rows in parts of about the same size and mix of classes, each with every class."""
    from sklearn.model_selection import StratifiedGroupKFold

    if parts < 2:
        raise Refusal("DATA_SPLIT", reason=f"{parts} {purpose} are none: at least 2 are needed")
    require_groups(manifest, rows, parts, f"for {parts} {purpose}")
    groups, labels = np.array([row.group for row in rows]), np.array([row.label for row in rows])
    for attempt in range(ATTEMPTS):  # groups of very different sizes may leave a class out of a part
        splitter = StratifiedGroupKFold(parts, shuffle=True, random_state=_derived(seed, attempt))
        held = [part for _, part in splitter.split(groups, labels, groups)]
        if all(len(np.unique(labels[part])) == len(manifest.classes) for part in held):
            return [tuple(sorted(set(groups[part].tolist()))) for part in held]
    reason = f"{ATTEMPTS} draws gave no {parts} {purpose} with every class in each: classes share too few groups"
    raise Refusal("DATA_SPLIT", reason=reason)


def _evaluating(parts: Sequence[Sequence[str]]) -> list[Fold]:
    everyone = sorted(group for part in parts for group in part)
    folds = []
    for part in parts:
        held = set(part)
        folds.append(Fold(fit=tuple(g for g in everyone if g not in held), evaluate=tuple(sorted(held))))
    return folds


def _named_folds(
    manifest: Manifest, parts: dict[str, list[str]], scheme: Scheme, how: str, parameters: dict[str, object]
) -> Split:
    if len(parts) < 2:
        raise Refusal("DATA_SPLIT", reason=f"{how}: at least 2 folds are needed, there is only {named(parts)}")
    folds = _evaluating(list(parts.values()))
    for name, fold in zip(parts, folds, strict=True):
        require_classes(manifest, fold, ("fit",), f"with '{name}' left out: ")
    return Split.of(manifest, folds, scheme, how, None, {"names": list(parts), **parameters})


def _one_value_each(rows: Sequence[Row], column: Literal["site", "fold"]) -> dict[str, str]:
    """Group -> its value of a column. Raises Refusal DATA_SPLIT naming samples that have none, groups that have two."""
    if without := [row.sample for row in rows if getattr(row, column) in ("", None)]:
        raise Refusal("DATA_SPLIT", reason=f"{len(without)} samples have no {column}: {named(without)}")
    values: dict[str, set[str]] = {}
    for row in rows:
        values.setdefault(row.group, set()).add(str(getattr(row, column)))
    if torn := [f"{group}: {', '.join(sorted(own))}" for group, own in values.items() if len(own) > 1]:
        raise Refusal("DATA_SPLIT", reason=f"{len(torn)} groups have more than one {column}: {named(torn)}")
    return {group: min(own) for group, own in values.items()}


def _derived(seed: int, number: int) -> int:
    """A seed of its own for each fold or attempt."""
    return int(np.random.default_rng([seed, number]).integers(2**31))
