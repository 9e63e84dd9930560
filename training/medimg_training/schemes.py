"""Splits with one fold, all by group: drawn, from a column, or by time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from fractions import Fraction

import numpy as np

from MedImgClassifierLib.engine.errors import Refusal

from .datasets.manifest import Manifest, Row
from .split import FROM_COLUMN, ROLES, Fold, Role, Split, labelled, named

COLUMN_ROLES: Mapping[str, Role] = {"train": "fit", "val": "select", "calibrate": "calibrate", "test": "evaluate"}


def split_from_column(manifest: Manifest, roles: Mapping[str, Role] = COLUMN_ROLES) -> Split:
    """One fold from the column `split` of the labelled rows, whose words `roles` translates.

    Raises Refusal DATA_SPLIT for a word without a role, a group with two roles, or a class that is not in fit.
    """
    rows = labelled(manifest)
    groups: dict[Role, dict[str, None]] = {role: {} for role in ROLES}
    for row in rows:
        if row.split not in roles:
            raise Refusal("DATA_SPLIT", reason=f"sample '{row.sample}' has split '{row.split}', not {', '.join(roles)}")
        groups[roles[row.split]][row.group] = None
    fold = Fold.of(groups)
    require_classes(manifest, fold, ("fit",))
    return Split.of(manifest, [fold], "column", FROM_COLUMN)


def make_split(manifest: Manifest, fractions: Mapping[Role, float], seed: int = 0) -> Split:
    """Hold-out: one fold with about these fractions of the labelled samples, and of each class, in each role.

    fractions: role -> fraction, together 1; a role that is not named stays empty. Groups stay whole (scikit-learn's
    StratifiedGroupKFold takes one role after the other out of what is left), so fractions are met only roughly.
    Raises Refusal DATA_SPLIT for fractions that are none and where a class has too few groups for its roles.
    """
    wanted = {role: fractions[role] for role in ROLES if fractions.get(role, 0) > 0}
    if set(fractions) - set(ROLES) or min(fractions.values()) < 0 or abs(sum(fractions.values()) - 1) > 1e-6:
        raise Refusal("DATA_SPLIT", reason=f"fractions {dict(fractions)} must be of {', '.join(ROLES)} and add up to 1")
    if "fit" not in wanted:
        raise Refusal("DATA_SPLIT", reason="the role fit needs a fraction")
    rows = labelled(manifest)
    require_groups(manifest, rows, len(wanted), f"for the roles {', '.join(wanted)}")
    taken: dict[Role, tuple[str, ...]] = {}
    left = 1.0
    for role in reversed(wanted):  # evaluate first: it is the smallest and needs every class most
        share = wanted[role] / left
        chosen = {row.group for row in rows} if role == "fit" else stratified_part(rows, share, seed)
        taken[role] = tuple(sorted(chosen))
        rows = [row for row in rows if row.group not in chosen]
        left -= wanted[role]
    fold = Fold.of(taken)
    require_classes(manifest, fold, tuple(wanted))
    drawn = ", ".join(f"{role} {fraction:g}" for role, fraction in wanted.items())
    how = f"stratified by class within groups ({drawn}; seed {seed})"
    return Split.of(manifest, [fold], "hold_out", how, seed, {"fractions": dict(wanted)})


def temporal(manifest: Manifest, cut: date) -> Split:
    """Fit on groups all of whose samples were acquired before `cut`, evaluate on those acquired on it or later.

    A group with samples on both sides is in no role: in fit it would bring the future in, in evaluate the past. Its
    name stands in the split's parameters. Raises Refusal DATA_SPLIT for samples without a date (column `acquired`) and
    where a side lacks a class.
    """
    first, last = _first_and_last(manifest)
    earlier = tuple(sorted(group for group in first if last[group] < cut))
    later = tuple(sorted(group for group in first if first[group] >= cut))
    straddling = sorted(set(first) - {*earlier, *later})
    fold = Fold(fit=earlier, evaluate=later)
    require_classes(manifest, fold, ("fit", "evaluate"))
    how = f"temporal, fit before {cut}, evaluate from then on; {len(straddling)} groups on both sides left out"
    return Split.of(manifest, [fold], "temporal", how, None, {"cut": cut.isoformat(), "left_out": straddling})


def cut_date(manifest: Manifest, evaluate: float) -> date:
    """The date for `temporal` after which about this fraction of the groups on either side lies; the later one of two
    that are as near. Raises Refusal DATA_SPLIT for samples without a date, a fraction that is none, and one date only.
    """
    if not 0 < evaluate < 1:
        raise Refusal("DATA_SPLIT", reason=f"a fraction to evaluate lies between 0 and 1, {evaluate:g} does not")
    first, last = _first_and_last(manifest)
    misses = {}
    for day in sorted(set(first.values())):
        earlier, later = sum(end < day for end in last.values()), sum(start >= day for start in first.values())
        if earlier and later:
            misses[day] = abs(later / (earlier + later) - evaluate)
    if not misses:
        raise Refusal("DATA_SPLIT", reason="no date has groups before it and groups from it on")
    return max(misses, key=lambda day: (-misses[day], day))


def require_groups(manifest: Manifest, rows: Sequence[Row], needed: int, purpose: str) -> None:
    """Raises Refusal DATA_SPLIT naming every class of fewer groups; a group counts for each class it has samples of."""
    groups: dict[str, set[str]] = {name: set() for name in manifest.classes}
    for row in rows:
        groups[row.label].add(row.group)
    if few := [f"'{name}' ({len(found)})" for name, found in groups.items() if len(found) < needed]:
        reason = f"each class needs at least {needed} groups {purpose}; too few has class {', '.join(few)}"
        raise Refusal("DATA_SPLIT", reason=reason)


def require_classes(manifest: Manifest, fold: Fold, roles: Iterable[Role], where: str = "") -> None:
    """Raises Refusal DATA_SPLIT naming every class that is missing from one of these roles."""
    for role in roles:
        groups = set(getattr(fold, role))
        there = {row.label for row in manifest.rows if row.group in groups}
        missing = [name for name in manifest.classes if name not in there]
        if missing:
            raise Refusal("DATA_SPLIT", reason=f"{where}role {role} has no group of class {', '.join(missing)}")


def stratified_part(rows: Sequence[Row], share: float, seed: int) -> set[str]:
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


def _first_and_last(manifest: Manifest) -> tuple[dict[str, date], dict[str, date]]:
    """Of each group, the dates of its first and its last labelled sample."""
    dates: dict[str, list[date]] = {}
    undated = []
    for row in labelled(manifest):
        if row.acquired is None:
            undated.append(row.sample)
        else:
            dates.setdefault(row.group, []).append(row.acquired)
    if undated:
        reason = f"column 'acquired' has no date for {len(undated)} samples: {named(undated)}"
        raise Refusal("DATA_SPLIT", reason=reason)
    return {group: min(own) for group, own in dates.items()}, {group: max(own) for group, own in dates.items()}
