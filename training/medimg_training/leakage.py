"""What a split by slice claims: a demonstration, and the only place where such a split is made.

One fixed learner is cross-validated twice on the same images: image by image, so that slices of one patient are both
learned from and tested on, and group by group. Once with the true labels, once with labels that were permuted among
groups, where nothing can be learned that holds for another patient: what lies above chance then is leakage alone.

The learner is the nearest neighbour (StandardScaler, PCA, one neighbour) on the images, made small. It answers with the
label of the image that is most alike, which is another slice of the same patient if there is one: so it shows at no
cost what a network does that has room enough to know its patients again. A linear model has too little of it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from MedImgClassifierLib.engine.errors import Refusal

from .cache import Images, Indices, PreparedSet
from .durable import write_durably
from .evaluation.intervals import LEVEL
from .split import named

Labels = Literal["true", "permuted"]
Division = Literal["image-wise", "group-wise"]
Features = NDArray[np.float64]

SIDE = 24
"""Rows and columns of the small images."""
COMPONENTS = 30
MOST_FOLDS = 5
MOST_IMAGES = 4000
"""Of larger sets so many are drawn, whole groups at a time."""


@dataclass(frozen=True)
class Mean:
    """A mean over repeats with its interval (Student's t). It tells what another draw of splits and permutations of the
    same images would change, not what other patients would."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: NDArray[np.float64]) -> Mean:
        from scipy.stats import t

        mean = float(values.mean())
        reach = float(t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        return cls(mean, mean - reach, mean + reach)

    def __str__(self) -> str:
        if self.low == self.high:
            return f"{self.value:.3f} (the same in all repeats)"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class LeakageDemo:
    """Balanced accuracies [repeats] by labels and division; repeat n has the same labels in both divisions."""

    images: int
    groups: int
    classes: tuple[str, ...]
    folds: int
    seed: int
    scores: Mapping[tuple[Labels, Division], NDArray[np.float64]]

    @property
    def chance(self) -> float:
        return 1 / len(self.classes)

    def mean(self, labels: Labels, division: Division) -> Mean:
        return Mean.of(self.scores[labels, division])

    def inflation(self, labels: Labels) -> Mean:
        """By how much the image-wise balanced accuracy lies above the group-wise one, paired by repeat."""
        return Mean.of(self.scores[labels, "image-wise"] - self.scores[labels, "group-wise"])

    def to_markdown(self) -> str:
        """The table and what it says, in a sentence."""
        repeats = len(self.scores["true", "image-wise"])
        about = f"{self.images} images of {self.groups} groups, {self.folds}-fold, {repeats} repeats, seed {self.seed}"
        lines = [f"Balanced accuracy of the nearest neighbour ({about}); chance is {self.chance:.3f}.", ""]
        lines += ["| labels | split by image | split by group | inflation |", "|---|---|---|---|"]
        for labels in get_args(Labels):
            cells = [self.mean(labels, division) for division in get_args(Division)]
            lines.append(f"| {labels} | {cells[0]} | {cells[1]} | {self.inflation(labels)} |")
        permuted = self.inflation("permuted")
        last = f"With labels permuted among groups nothing can be learned, and a split by image claims {permuted}"
        return "\n".join([*lines, "", f"{last} more than a split by group."]) + "\n"


def demonstrate(prepared: PreparedSet, seed: int = 0, repeats: int = 20) -> LeakageDemo:
    """Cross-validate the learner image by image and group by group, on true and on permuted labels, `repeats` times.

    A group of mixed labels has, where labels are permuted, the label of most of its images. Raises Refusal DATA_SPLIT
    where every group has one image (there is nothing to leak), fewer than two groups have some label, and for fewer
    than two repeats.
    """
    from threadpoolctl import threadpool_limits

    if repeats < 2:
        raise Refusal("DATA_SPLIT", reason=f"{repeats} repeats have no interval: at least 2 are needed")
    rows = _some_groups(prepared, seed)
    groups = np.unique([prepared.groups[n] for n in rows], return_inverse=True)[1]
    labels, count = prepared.labels[rows], len(prepared.classes)
    label_of = np.array([np.bincount(labels[groups == group], minlength=count).argmax() for group in np.unique(groups)])
    folds = _folds(prepared, groups, label_of)
    features = _small(prepared.images, rows)
    scores: dict[tuple[Labels, Division], list[float]] = {
        (kind, division): [] for kind in get_args(Labels) for division in get_args(Division)
    }
    with threadpool_limits(1):  # the matrices are small: threads would wait for each other longer than they work
        for repeat in range(repeats):
            random = np.random.default_rng([seed, 1, repeat])
            drawn: dict[Labels, Indices] = {"true": labels, "permuted": random.permutation(label_of)[groups]}
            state = int(random.integers(2**31))
            for kind, given in drawn.items():
                scores[kind, "image-wise"].append(_score(features, given, None, folds, state))
                scores[kind, "group-wise"].append(_score(features, given, groups, folds, state))
    arrays = {key: np.array(values) for key, values in scores.items()}
    return LeakageDemo(len(rows), len(label_of), prepared.classes, folds, seed, arrays)


def picture(demo: LeakageDemo, path: Path) -> None:
    """Write a PNG: each repeat a dot, means with their intervals, and the line of chance."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes: Any = figure.add_subplot()
    colours = {"image-wise": "#d55e00", "group-wise": "#0072b2"}  # told apart by the colour-blind, too
    for at, labels in enumerate(get_args(Labels)):
        for shift, division in zip((-0.18, 0.18), get_args(Division), strict=True):
            values, mean = demo.scores[labels, division], demo.mean(labels, division)
            across = at + shift + np.linspace(-0.07, 0.07, len(values))
            axes.plot(across, values, "o", color=colours[division], alpha=0.35, markersize=4)
            reach = [[mean.value - mean.low], [mean.high - mean.value]]
            label = f"split by {division.removesuffix('-wise')}" if at == 0 else None
            axes.errorbar(at + shift, mean.value, reach, fmt="s", color=colours[division], capsize=6, label=label)
            axes.annotate(f"{mean.value:.2f}", (at + shift + 0.1, mean.value), va="center")
    axes.axhline(demo.chance, color="black", linestyle="--", linewidth=1, label="chance")
    axes.set_xticks([0, 1], ["true labels", "labels permuted among groups"])
    axes.set_xlim(-0.5, 1.5)
    axes.set_ylim(min(0.0, axes.get_ylim()[0]), 1.05)
    axes.set_ylabel("balanced accuracy")
    axes.set_title(f"Nearest neighbour, {demo.images} images of {demo.groups} groups, {demo.folds}-fold", fontsize=10)
    axes.legend(loc="lower left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_durably(path, buffer.getvalue())


def _some_groups(prepared: PreparedSet, seed: int) -> Indices:
    """The labelled rows, of whole groups drawn until there are enough. Raises where every group has one image."""
    rows = np.flatnonzero(prepared.labels >= 0)
    names, groups, sizes = np.unique([prepared.groups[n] for n in rows], return_inverse=True, return_counts=True)
    if len(rows) == len(names):
        reason = f"each of the {len(names)} groups has one labelled image: a split by image is one by group"
        raise Refusal("DATA_SPLIT", reason=reason)
    order = np.random.default_rng([seed, 0]).permutation(len(names))
    kept = order[: max(1, int(np.searchsorted(np.cumsum(sizes[order]), MOST_IMAGES, side="right")))]
    return rows[np.isin(groups, kept)]


def _folds(prepared: PreparedSet, groups: Indices, label_of: Indices) -> int:
    """As many folds as every class has groups, at most five. Raises where that is less than two."""
    counts = np.bincount(label_of, minlength=len(prepared.classes))
    if few := [f"{name} ({n})" for name, n in zip(prepared.classes, counts, strict=True) if n < 2]:
        reason = f"two groups that mostly have the label are needed of each class; fewer has class {named(few)}"
        raise Refusal("DATA_SPLIT", reason=reason)
    return min(MOST_FOLDS, int(counts.min()))


def _score(features: Features, labels: Indices, groups: Indices | None, folds: int, state: int) -> float:
    """Balanced accuracy of all out-of-fold answers together; without groups the split is by image."""
    from sklearn.decomposition import PCA
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    components = min(COMPONENTS, features.shape[1], len(features) // 3)
    learner = make_pipeline(StandardScaler(), PCA(components, random_state=0), KNeighborsClassifier(1))
    by = StratifiedKFold if groups is None else StratifiedGroupKFold
    splitter = by(folds, shuffle=True, random_state=state)
    called = cross_val_predict(learner, features, labels, groups=groups, cv=splitter)
    return float(balanced_accuracy_score(labels, called))


def _small(images: Images, rows: Indices) -> Features:
    """[n, features]: means over the cells of a grid of at most SIDE x SIDE, for each channel."""
    heights, widths = (_cells(size) for size in images.shape[2:])
    areas = np.multiply.outer(np.diff([*heights, images.shape[2]]), np.diff([*widths, images.shape[3]]))
    parts: list[Features] = []
    for n in rows:
        sums = np.add.reduceat(images[n].astype(np.float64), heights, axis=1)
        parts.append((np.add.reduceat(sums, widths, axis=2) / areas).ravel())
    return np.stack(parts)


def _cells(size: int) -> Indices:
    """Where the cells begin."""
    count = min(SIDE, size)
    return np.arange(count) * size // count
