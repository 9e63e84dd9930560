"""What `body-region` is measured on, and how: the splits, with and without background, and real volumes.

Development data may be looked at while the recipe is made; final data is read once, after it is committed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.preprocess import InputSpec
from MedImgClassifierLib.engine.reading import read_volume
from MedImgClassifierLib.engine.volume import Volume

from ..augment import remove_background
from ..cache import Images, Indices, PreparedSet
from ..evaluation.figures import Figures, evaluate
from ..evaluation.intervals import proportion_interval
from ..fit import Augment
from ..predict import predict_logits
from ..roles import FitRows, Rows, indices_of
from .data import unpack

CT_WINDOWS = {"brain 40/80": (40, 80), "soft tissue 40/400": (40, 400), "wide 300/2000": (300, 2000)}
MIDDLE = (0.2, 0.8)
"""Part of a brain volume's native slices that counts as brain."""


def split_figures(
    module: nn.Module, prepared: PreparedSet, rows: Rows, spec: InputSpec, *, background: bool
) -> Figures:
    """Figures of some rows of the cache, as they are or with every background grey removed first."""
    cleaned = None
    if not background:
        cleaned = np.stack([remove_background(image) for image in prepared.images[rows.indices]])
        cleaned -= cleaned.min(axis=(1, 2, 3), keepdims=True)  # MedNIST's CT images begin at 79 or 119, not at 0
    logits = predict_logits(module, prepared, rows, spec, cleaned)
    return evaluate(logits, prepared.labels[rows.indices], rows.groups, prepared.classes)


def plane_recalls(module: nn.Module, prepared: PreparedSet, rows: Rows, spec: InputSpec) -> dict[str, Any]:
    """Recall of BrainMR per plane over in-brain slices, clustered by subject."""
    brain = prepared.classes.index("BrainMR")
    found = {}
    for plane in ("axial", "sagittal", "coronal"):
        own = rows.part(np.array([prepared.samples[n].endswith(f" {plane}") for n in rows.indices], np.bool_))
        right = predict_logits(module, prepared, own, spec).argmax(axis=1) == brain
        found[plane] = _share(right, own.groups)
    return found


@dataclass(frozen=True)
class RealVolume:
    """A real volume and the class its slices should get. middle: only its middle slices count."""

    name: str
    path: Path
    expected: str
    group: str
    middle: bool = False


def volume_counts(
    classifier: Classifier, volumes: Sequence[RealVolume], shown: Callable[[Volume], Volume] = lambda v: v
) -> dict[str, Any]:
    """Slices of each class per volume, and the share with the expected one, clustered by group."""
    names = [label.name for label in classifier.bundle.labels]
    per_volume, right, groups = {}, [], []
    for item in volumes:
        result = classifier.classify(shown(read_volume(item.path)), evidence="none")
        best = result.slices.best
        if item.middle:
            best = best[int(MIDDLE[0] * len(best)) : int(np.ceil(MIDDLE[1] * len(best)))]
        counts = np.bincount(best, minlength=len(names))
        per_volume[item.name] = {names[c]: int(counts[c]) for c in np.flatnonzero(counts)}
        right += [names[c] == item.expected for c in best]
        groups += [item.group] * len(best)
    majority = sum(max(c, key=c.__getitem__) == v.expected for c, v in zip(per_volume.values(), volumes, strict=True))
    return {
        "slices": _share(np.array(right), groups),
        "volumes": {"right": majority, "of": len(volumes)},
        "per_volume": per_volume,
    }


def windowed(center: float, width: float) -> Callable[[Volume], Volume]:
    """A CT as a reader exports it from a window: grey values 0..255 without units."""

    def show(volume: Volume) -> Volume:
        grey = np.clip((volume.voxels.astype(np.float32) - center) / width + 0.5, 0, 1) * 255
        return replace(volume, voxels=np.round(grey).astype(np.uint8), units="arbitrary")

    return show


def development_volumes(archives: Path, folder: Path) -> list[RealVolume]:
    """Looked at while the augmentation was made."""
    unpack(archives, "dicom_nrrd_real", folder)
    nrrd = folder / "dicom_nrrd_real/nrrd"
    return [
        RealVolume("brain1", nrrd / "brain1_image.nrrd", "BrainMR", "brain1"),
        RealVolume("breast1", nrrd / "breast1_image.nrrd", "BreastMR", "breast1"),
    ]


def final_head_ct(archives: Path, folder: Path) -> list[RealVolume]:
    """Scored once."""
    unpack(archives, "dicom_nrrd_real", folder)
    return [RealVolume("ct_head_ge_tilt", folder / "dicom_nrrd_real/ct_head_ge_tilt", "HeadCT", "ct_head_ge_tilt")]


def final_brain_mr(archives: Path, folder: Path) -> dict[str, list[RealVolume]]:
    """Scored once: volumes of mr_sequence3d by sequence."""
    by_sequence: dict[str, list[RealVolume]] = {}
    for row in unpack(archives, "mr_sequence3d", folder):
        path = folder / "mr_sequence3d" / row["file"]
        item = RealVolume(row["file"], path, "BrainMR", row["subject"], middle=True)
        by_sequence.setdefault(row["label"], []).append(item)
    return by_sequence


def border_probe(
    prepared: PreparedSet, fit_rows: FitRows, test_rows: Rows, spec: InputSpec, augment: Augment
) -> dict[str, float]:
    """Balanced accuracy of a logistic regression that sees only border pixels and high-frequency energy.

    Of the raw images, of what the network is shown at inference, and of what it is shown in training: how much a
    network could learn of the class without looking at the body.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    learned = _some_of_each(indices_of(FitRows, fit_rows, prepared), prepared.labels, 400, rng)
    tested = _some_of_each(test_rows.indices, prepared.labels, 150, rng)

    def raw(rows: Indices) -> Images:
        return np.asarray(prepared.images[rows], np.float32)

    views: Mapping[str, Callable[[Indices], Images]] = {
        "raw images": raw,
        "network input": lambda rows: prepared.inputs(rows, spec),
        "augmented network input": lambda rows: prepared.inputs(
            rows, spec, augment(raw(rows), [prepared.modalities[n] for n in rows], rng)
        ),
    }
    scores = {}
    for name, view in views.items():
        probe = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
        probe.fit(_border_features(view(learned)), prepared.labels[learned])
        called = probe.predict(_border_features(view(tested)))
        scores[name] = float(balanced_accuracy_score(prepared.labels[tested], called))
    return scores


def _border_features(images: Images) -> NDArray[np.float64]:
    """[N, 8]: means of the four 3x3 corners, mean, spread and median of the border, energy above half Nyquist."""
    image = images[:, 0].astype(np.float64)
    corners = [image[:, r, c].mean((1, 2)) for r in (slice(3), slice(-3, None)) for c in (slice(3), slice(-3, None))]
    border = np.concatenate([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], axis=1)
    spectrum = np.abs(np.fft.fft2(image - image.mean((1, 2), keepdims=True))) ** 2
    frequency = np.abs(np.fft.fftfreq(image.shape[1]))
    high = np.maximum.outer(frequency, frequency) > 0.25
    energy = spectrum[:, high].sum(1) / (spectrum.sum((1, 2)) + 1e-9)
    return np.stack([*corners, border.mean(1), border.std(1), np.median(border, axis=1), energy], axis=1)


def _share(right: NDArray[np.bool_], groups: Sequence[str]) -> dict[str, Any]:
    index = np.unique(np.asarray(groups), return_inverse=True)[1].astype(np.int64)
    interval = proportion_interval(right, index)
    return {
        "right": int(right.sum()),
        "of": len(right),
        "groups": int(index.max()) + 1,
        "share": float(right.mean()),
        "interval": interval if isinstance(interval, str) else [interval.low, interval.high],
    }


def _some_of_each(rows: Indices, labels: Indices, count: int, rng: np.random.Generator) -> Indices:
    """At most `count` of the rows of each of the seven classes."""
    return np.concatenate([rng.permutation(rows[labels[rows] == c])[:count] for c in range(7)])
