"""What a check is given, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..cache import PreparedSet
from ..datasets.manifest import Manifest, Row
from ..split import ROLES, Split
from . import words

if TYPE_CHECKING:
    from .headers import Header
    from .twins import Twin

Indices = NDArray[np.int64]
Floats = NDArray[np.float64]
Status = Literal["silent", "fires", "not applicable"]


@dataclass(frozen=True)
class Offence:
    """One offending sample. other: the sample it offends with, '' where it does so alone; reason in English."""

    sample: str
    reason: str
    group: str = ""
    other: str = ""
    other_group: str = ""


@dataclass(frozen=True)
class CheckResult:
    """What one check found.

    text     key of `words.TEXTS`: what it says;  facts: the values that its text names
    numbers  statistic, threshold, null and the like, for who wants to see how it came to its answer
    rows     every offending sample
    """

    code: str
    status: Status
    text: str
    facts: Mapping[str, object] = field(default_factory=dict)
    numbers: Mapping[str, Any] = field(default_factory=dict)
    rows: tuple[Offence, ...] = ()

    @classmethod
    def of(
        cls,
        code: str,
        fires: bool,
        facts: Mapping[str, object],
        numbers: Mapping[str, object],
        rows: Sequence[Offence] = (),
        text: str = "",
    ) -> CheckResult:
        """The answer of a check that could be made. text: the key of what it says, CODE.fires or CODE.silent if ''."""
        status: Status = "fires" if fires else "silent"
        return cls(code, status, text or f"{code}.{status}", facts, numbers, tuple(rows))

    def message(self, language: str = "en") -> str:
        """One sentence. language: 'en' or 'zh'. Raises KeyError for a missing fact: a programming error."""
        return words.TEXTS[self.text][language == "zh"].format(**self.facts)

    def advice(self, language: str = "en") -> str:
        """What to do about it; '' unless it fires."""
        return words.ADVICE[self.code][language == "zh"] if self.status == "fires" else ""


@dataclass(frozen=True)
class TrainedOn:
    """The groups of a bundle. bundle: its name; key: name of the key; hashes: None where it does not say its groups."""

    bundle: str
    key: str = ""
    hashes: frozenset[str] | None = None


@dataclass(frozen=True)
class CheckInput:
    """What the checks look at.

    prepared      the labelled, readable samples after geometry
    headers       by sample: what the file of each labelled sample says, or why it cannot be read
    split         None: every group counts as apart from every other
    backbone      the groups that a bundle was trained on, which training is to start from; None: there is none
    key           secret under which the groups of the backbone were hashed
    permutations  of labels among groups, for the null distributions; a check fires at p <= 0.001, so at least 999
    """

    manifest: Manifest
    prepared: PreparedSet
    headers: Mapping[str, Header]
    split: Split | None = None
    backbone: TrainedOn | None = None
    key: bytes | None = None
    permutations: int = 1999
    seed: int = 0
    progress: bool = False

    @cached_property
    def rows(self) -> tuple[Row, ...]:
        """The labelled rows of the manifest whose files can be read."""
        return tuple(row for row in self.manifest.rows if row.label and not self.headers[row.sample].problem)

    @cached_property
    def labels(self) -> Indices:
        """[len(rows)] index of each row's label into the classes."""
        return np.array([self.manifest.classes.index(row.label) for row in self.rows], np.int64)

    @cached_property
    def by_sample(self) -> Mapping[str, Row]:
        return {row.sample: row for row in self.rows}

    @cached_property
    def twins(self) -> tuple[Twin, ...]:
        """Pairs of samples with the same, or nearly the same, images; two checks ask for them."""
        from .twins import find_twins

        return find_twins(self.prepared, progress=self.progress)

    @cached_property
    def _roles(self) -> list[dict[str, str]]:
        folds = self.split.folds if self.split else ()
        return [{group: role for role in ROLES for group in getattr(fold, role)} for fold in folds]

    def crosses_roles(self, group: str, other: str) -> str:
        """In which roles two groups are in the first fold that sets them apart ('fit and evaluate'), else ''."""
        for roles in self._roles:
            if group in roles and other in roles and roles[group] != roles[other]:
                return f"{roles[group]} and {roles[other]}"
        return ""
