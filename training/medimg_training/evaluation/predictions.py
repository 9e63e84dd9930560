"""Out-of-fold predictions, and `predictions.csv`, the one file from which every figure can be computed again.

One row is one image answered by one model that was not fitted on it:

    sample, slice, group    which image, of which patient (or cluster)
    fold, seed              which model: the fold that left this group out, and the seed of its training
    label                   the true class
    logit.<class> ...       what the network said, digits enough to get the same float64 back
    any other               a covariate: site, scanner, sex
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from MedImgClassifierLib.engine.errors import Refusal

from .intervals import Floats, Indices

KNOWN = ("sample", "slice", "group", "fold", "seed", "label")
_LOGIT = "logit."


@dataclass(frozen=True, eq=False)
class Predictions:
    """n answers. Several seeds: every image stands there once for each of them.

    logits [n, L] float64, -inf allowed (probability 0);  labels [n] indices into classes
    folds, seeds [n] which model answered;  samples, slices, groups [n];  covariates: name -> [n]
    Raises Refusal DATA_PREDICTIONS where these do not fit together: an image twice in a seed, seeds with different
    images, one image in two groups or with two labels, a group in two folds of one seed, a logit that is no number.
    """

    samples: tuple[str, ...]
    slices: tuple[int, ...]
    groups: tuple[str, ...]
    folds: Indices
    seeds: Indices
    labels: Indices
    logits: Floats
    classes: tuple[str, ...]
    covariates: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    source: str = "in memory"

    def __post_init__(self) -> None:
        reason = _shapes(self) or _contents(self)
        if reason:
            raise Refusal("DATA_PREDICTIONS", path=self.source, reason=reason)

    @classmethod
    def of(
        cls, logits: NDArray[np.floating[Any]], labels: Indices, groups: Sequence[str], classes: Sequence[str]
    ) -> Predictions:
        """Answers of one model, logits [n, L], to n images without names."""
        n = len(labels)
        zeros, names = np.zeros(n, np.int64), tuple(str(k) for k in range(n))
        values = np.asarray(logits, np.float64)
        return cls(names, (0,) * n, tuple(groups), zeros, zeros, np.asarray(labels, np.int64), values, tuple(classes))

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def probabilities(self) -> Floats:
        """[n, L] softmax of the logits."""
        exponent = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return np.asarray(exponent / exponent.sum(axis=1, keepdims=True))

    @property
    def called(self) -> Indices:
        """[n] the class with the highest logit; of equal ones the first."""
        return np.asarray(self.logits.argmax(axis=1), np.int64)

    @property
    def group_index(self) -> Indices:
        """[n] number of each row's group among the sorted groups."""
        return np.unique(np.asarray(self.groups), return_inverse=True)[1].astype(np.int64)

    @property
    def images(self) -> tuple[tuple[str, int], ...]:
        """[n] sample and slice."""
        return tuple(zip(self.samples, self.slices, strict=True))

    def take(self, rows: Indices) -> Predictions:
        """Some rows, of all seeds alike."""
        chosen = [int(row) for row in rows]
        return replace(
            self,
            samples=tuple(self.samples[n] for n in chosen),
            slices=tuple(self.slices[n] for n in chosen),
            groups=tuple(self.groups[n] for n in chosen),
            folds=self.folds[rows],
            seeds=self.seeds[rows],
            labels=self.labels[rows],
            logits=self.logits[rows],
            covariates={name: tuple(own[n] for n in chosen) for name, own in self.covariates.items()},
        )

    def by_seed(self) -> tuple[Predictions, ...]:
        """The answers of each seed, all in the same order of images."""
        images = self.images
        place = {images[n]: k for k, n in enumerate(np.flatnonzero(self.seeds == self.seeds[0]))}
        parts = []
        for seed in np.unique(self.seeds):
            rows = np.flatnonzero(self.seeds == seed)
            order = np.argsort([place[images[n]] for n in rows])
            parts.append(self.take(rows[order]))
        return tuple(parts)

    def write(self, path: Path) -> None:
        """Write `predictions.csv`, whole or not at all."""
        from ..durable import write_durably

        text = io.StringIO(newline="")
        table = csv.writer(text, lineterminator="\n")
        table.writerow([*KNOWN, *(_LOGIT + name for name in self.classes), *self.covariates])
        for n in range(len(self)):
            image = (self.samples[n], self.slices[n], self.groups[n], int(self.folds[n]), int(self.seeds[n]))
            logits = (repr(float(value)) for value in self.logits[n])
            others = (own[n] for own in self.covariates.values())
            table.writerow([*image, self.classes[self.labels[n]], *logits, *others])
        write_durably(path, text.getvalue().encode())

    @classmethod
    def read(cls, path: Path | str) -> Predictions:
        """Raises Refusal DATA_PREDICTIONS, naming the line."""
        table = _Table.read(path)
        classes = tuple(name.removeprefix(_LOGIT) for name in table.columns if name.startswith(_LOGIT))
        if len(classes) < 2:
            raise Refusal("DATA_PREDICTIONS", path=path, reason="it has fewer than two columns logit.<class>")
        number = {name: n for n, name in enumerate(classes)}
        others = [name for name in table.columns if name not in KNOWN and not name.startswith(_LOGIT)]
        return cls(
            samples=table.columns["sample"],
            slices=tuple(table.parsed("slice", int)),
            groups=table.columns["group"],
            folds=np.array(table.parsed("fold", int), np.int64),
            seeds=np.array(table.parsed("seed", int), np.int64),
            labels=np.array(table.parsed("label", number.__getitem__), np.int64),
            logits=np.array([table.parsed(_LOGIT + name, float) for name in classes]).T,
            classes=classes,
            covariates={name: table.columns[name] for name in others},
            source=str(path),
        )


@dataclass(frozen=True)
class _Table:
    """The cells of a CSV file by column, and the line of each row."""

    path: Path | str
    columns: Mapping[str, tuple[str, ...]]
    lines: tuple[int, ...]

    @classmethod
    def read(cls, path: Path | str) -> _Table:
        try:
            table = csv.reader(io.StringIO(Path(path).read_text(encoding="utf-8-sig"), newline=""), strict=True)
            header = next(table, [])
            rows = [(table.line_num, row) for row in table]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise Refusal("DATA_PREDICTIONS", path=path, reason=str(error)) from error
        missing = [name for name in KNOWN if name not in header]
        odd = next((f"line {line} has {len(row)} cells" for line, row in rows if len(row) != len(header)), "")
        reason = f"it has no column {', '.join(missing)}" if missing else ""
        reason = reason or ("a column stands there twice" if len(set(header)) < len(header) else "")
        reason = reason or odd or ("it has no rows" if not rows else "")
        if reason:
            raise Refusal("DATA_PREDICTIONS", path=path, reason=reason)
        cells = zip(*(row for _, row in rows), strict=True)
        return cls(path, dict(zip(header, cells, strict=True)), tuple(line for line, _ in rows))

    def parsed(self, name: str, parse: Callable[[str], Any]) -> list[Any]:
        """The cells of a column as `parse` understands them. Raises Refusal for one that it does not."""
        found = []
        for line, cell in zip(self.lines, self.columns[name], strict=True):
            try:
                found.append(parse(cell))
            except (ValueError, KeyError) as error:
                reason = f"line {line}, column '{name}': '{cell}'"
                raise Refusal("DATA_PREDICTIONS", path=self.path, reason=reason) from error
        return found


def _shapes(table: Predictions) -> str:
    n, count = len(table.samples), len(table.classes)
    if not n:
        return "it has no rows"
    if count < 2 or len(set(table.classes)) < count:
        return "it needs two classes or more, each named once"
    if table.logits.shape != (n, count):
        return f"logits are {table.logits.shape}, not {(n, count)}"
    columns = (table.slices, table.groups, table.folds, table.seeds, table.labels, *table.covariates.values())
    return "its columns differ in length" if any(len(own) != n for own in columns) else ""


def _contents(table: Predictions) -> str:
    if table.labels.min() < 0 or table.labels.max() >= len(table.classes):
        return "a label is none of the classes"
    unusable = np.isnan(table.logits) | (table.logits == np.inf)
    broken = unusable.any(axis=1) | (table.logits.max(axis=1) == -np.inf)
    if broken.any():
        return f"logits of sample '{table.samples[int(broken.argmax())]}' are not numbers"
    known: dict[tuple[str, int], tuple[str, int]] = {}
    seen: dict[int, set[tuple[str, int]]] = {}
    fold_of: dict[tuple[int, str], int] = {}
    rows = zip(table.images, table.groups, table.labels, table.folds, table.seeds, strict=True)
    for image, group, label, fold, seed in rows:
        name = f"slice {image[1]} of sample '{image[0]}'"
        if known.setdefault(image, (group, int(label))) != (group, int(label)):
            return f"{name} has two groups or labels"
        if image in seen.setdefault(int(seed), set()):
            return f"{name} stands twice in seed {seed}"
        seen[int(seed)].add(image)
        if fold_of.setdefault((int(seed), group), int(fold)) != fold:
            return f"group '{group}' is in two folds of seed {seed}"
    return "seeds have different images" if any(len(own) != len(known) for own in seen.values()) else ""
