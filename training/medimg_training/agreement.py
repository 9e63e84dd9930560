"""How far a runtime agrees with torch in float32, measured on the exporting machine (docs/bundles.md).

Parity asks of float32 on another runtime for the same numbers within rounding. Agreement asks of a reduced precision
for the same classes, probabilities that are no less true, and evidence in the same places, on images that nothing was
learned or calibrated from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from MedImgClassifierLib.engine.heads import LinearHead
from MedImgClassifierLib.engine.preprocess import InputSpec
from MedImgClassifierLib.engine.runtimes import Runtime
from MedImgClassifierLib.engine.trust import probabilities

from .cache import Images, Indices, PreparedSet
from .evaluation.intervals import Floats

LEAST_IMAGES = 200  # fewer say too little of either
LOGIT_TOLERANCE = 1e-5  # times max(1, largest |logit|)
MAP_TOLERANCE = 1e-4  # times the largest |class map|
# Evidence through a fully connected head has gates: a unit within rounding of zero is on in one runtime and off in
# another: the image's map jumps by that unit's part, nobody being at fault. Such images must be few, the jumps small.
GATED_IMAGES = 0.05
GATED_TOLERANCE = 1e-2
SAME_CLASS = 0.995
CALIBRATION_ERROR_CHANGE = 0.01
EVIDENCE_CORRELATION = 0.98

_NOT_RECORDED = ("largest_map", "map_difference", "images_off", "gated")
BINS = 15
BATCHES = (1, 3, 16)  # sizes of the first batches; the last one again until all is done


@dataclass(frozen=True)
class Sample:
    """Some images of a prepared set, as the network sees them."""

    prepared: PreparedSet
    rows: Indices
    spec: InputSpec

    @classmethod
    def spread(cls, prepared: PreparedSet, rows: Indices, spec: InputSpec, most: int) -> Sample:
        """At most `most` of the rows, evenly spread over them."""
        if len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(np.int64)]
        return cls(prepared, rows, spec)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def groups(self) -> int:
        return len({self.prepared.groups[n] for n in self.rows})

    @property
    def labels(self) -> Indices:
        return self.prepared.labels[self.rows]

    def batches(self) -> Iterator[Images]:
        """[n, C, H, W] of changing n, so that a graph that is fixed to one shows."""
        start, sizes = 0, iter(BATCHES)
        while start < len(self.rows):
            stop = start + next(sizes, BATCHES[-1])
            yield self.prepared.inputs(self.rows[start:stop], self.spec)
            start = stop


class Answers(NamedTuple):
    """logits [n, L], of the head in numpy; class maps [n, L, h, w], or only one an image [n, h, w], or None."""

    logits: Floats
    maps: NDArray[np.float32] | None


@dataclass(frozen=True)
class Parity:
    """Float32 on a runtime against torch, eager, on the CPU: largest |d logit| and |d class map| over all images.

    images_off: share of them with a class map beyond MAP_TOLERANCE. gated: whether a few may be (evidence
    'head_gradient').
    """

    runtime: str
    device: str
    selftest_images: int
    images: int
    groups: int
    largest_logit: float
    difference: float
    largest_map: float
    map_difference: float
    images_off: float
    gated: bool

    @property
    def allowed(self) -> float:
        return LOGIT_TOLERANCE * max(1.0, self.largest_logit)

    @property
    def passed(self) -> bool:
        few = self.gated and self.images_off <= GATED_IMAGES
        tolerance = GATED_TOLERANCE if few else MAP_TOLERANCE
        return self.difference <= self.allowed and self.map_difference <= tolerance * self.largest_map

    def maps_in_words(self) -> str:
        """|d class map| in parts of the largest |value|, '-' where the runtime gives no maps."""
        if not self.largest_map:
            return "-"
        off = f" ({100 * self.images_off:.1f} % of images beyond {MAP_TOLERANCE:g})" if self.images_off else ""
        return f"{self.map_difference / self.largest_map:.1e}{off}"

    def to_json(self) -> dict[str, Any]:
        """As the bundle's record holds it."""
        own = asdict(self) | {"allowed": self.allowed, "passed": self.passed}
        return {key: value for key, value in own.items() if key not in _NOT_RECORDED}


@dataclass(frozen=True)
class Agreement:
    """A reduced precision against float32 in torch; None where it was not measured. reason: why it is not offered."""

    runtime: str
    device: str
    precision: str
    images: int
    groups: int
    same_class: float | None
    calibration_error_change: float | None
    evidence_correlation: float | None
    reason: str

    @property
    def offered(self) -> bool:
        return not self.reason

    def in_words(self) -> str:
        """Cells of a table: same class, change of the calibration error, evidence ('-' where not measured), offered."""
        figures = (
            "-" if self.same_class is None else f"{100 * self.same_class:.2f} %",
            "-" if self.calibration_error_change is None else f"{self.calibration_error_change:+.4f}",
            "-" if self.evidence_correlation is None else f"{self.evidence_correlation:.4f}",
            self.reason or "yes",
        )
        return " | ".join(figures)

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"offered": self.offered}


def ask(runtime: Runtime, head: LinearHead, batches: Iterable[Images]) -> list[Answers]:
    """All answers of a runtime, batch by batch."""
    encoded = (runtime.encode(images, maps=True) for images in batches)
    return [Answers(head.decide(found.features), found.class_maps) for found in encoded]


def ask_called(runtime: Runtime, head: LinearHead, batches: Iterable[Images], called: Indices | None = None) -> Answers:
    """Answers to all images of the batches, with the class map of one class an image: `called` [n], or the one that
    the runtime itself calls."""
    logits: list[Floats] = []
    maps: list[NDArray[np.float32]] = []
    start = 0
    for images in batches:
        ((own, found),) = ask(runtime, head, [images])
        of = own.argmax(axis=1) if called is None else called[start : start + len(images)]
        logits.append(own)
        if found is not None:
            maps.append(found[np.arange(len(images)), of])
        start += len(images)
    return Answers(np.concatenate(logits), np.concatenate(maps) if maps else None)


def parity(
    runtime: Runtime,
    ours: Sequence[Answers],
    reference: Sequence[Answers],
    selftest_images: int,
    sample: Sample,
    *,
    gated: bool,
) -> Parity:
    """Compare a runtime's answers to those of torch, batch by batch: those of the self-test, then of the sample."""
    pairs = list(zip(ours, reference, strict=True))
    maps = [(a.maps, b.maps) for a, b in pairs if a.maps is not None and b.maps is not None]
    largest_map = max((_largest(b) for _, b in maps), default=0.0)
    off = [_largest(one) > MAP_TOLERANCE * largest_map for a, b in maps for one in a - b]
    return Parity(
        runtime=runtime.name,
        device=runtime.device,
        selftest_images=selftest_images,
        images=len(sample),
        groups=sample.groups,
        largest_logit=max(_largest(b.logits) for _, b in pairs),
        difference=max(_largest(a.logits - b.logits) for a, b in pairs),
        largest_map=largest_map,
        map_difference=max((_largest(a - b) for a, b in maps), default=0.0),
        images_off=float(np.mean(off)) if off else 0.0,
        gated=gated,
    )


def agreement(
    runtime: Runtime, ours: Answers, reference: Answers, sample: Sample, temperature: float | None = None
) -> Agreement:
    """Compare a reduced precision to torch in float32 on a sample; maps [n, h, w], of the class that torch calls."""
    error_before, error = (
        calibration_error(probabilities(answers.logits, temperature or 1.0), sample.labels)
        for answers in (reference, ours)
    )
    same = float((ours.logits.argmax(axis=1) == reference.logits.argmax(axis=1)).mean())
    correlation = None
    if ours.maps is not None and reference.maps is not None:
        correlation = evidence_correlation(ours.maps, reference.maps)
    return Agreement(
        runtime=runtime.name,
        device=runtime.device,
        precision=runtime.precision,
        images=len(sample),
        groups=sample.groups,
        same_class=same,
        calibration_error_change=error - error_before,
        evidence_correlation=correlation,
        reason="; ".join(_misses(same, error - error_before, correlation)),
    )


def _misses(same: float, change: float, correlation: float | None) -> Iterator[str]:
    if not same >= SAME_CLASS:
        yield f"same class on {100 * same:.2f} %, not {100 * SAME_CLASS:g} %"
    if not change <= CALIBRATION_ERROR_CHANGE:
        yield f"calibration error grows by {change:.4f}, not at most {CALIBRATION_ERROR_CHANGE:g}"
    if correlation is not None and not correlation >= EVIDENCE_CORRELATION:
        yield f"evidence correlates by {correlation:.4f}, not {EVIDENCE_CORRELATION:g}"


def calibration_error(probabilities: Floats, labels: Indices) -> float:
    """Expected calibration error of the called class (Guo et al. 2017, ICML): mean over images of |share of right
    calls - mean probability| of their bin, 15 bins of equal width. probabilities [n, L], labels [n]."""
    sure = probabilities.max(axis=1)
    gap = (probabilities.argmax(axis=1) == labels) - sure
    bins = np.minimum((sure * BINS).astype(np.int64), BINS - 1)
    return float(np.abs(np.bincount(bins, gap, BINS)).sum() / len(labels))


def evidence_correlation(ours: NDArray[np.float32], reference: NDArray[np.float32]) -> float | None:
    """Mean over images of Pearson's correlation over the cells of two maps [n, h, w].

    An image whose reference is constant shows no place and is left out (None where all are); one where only ours is
    constant has lost it and counts as 0.
    """
    a, b = (maps.reshape(len(maps), -1).astype(np.float64) for maps in (reference, ours))
    a, b = (maps - maps.mean(axis=1, keepdims=True) for maps in (a, b))
    spread_a, spread_b = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    shown = spread_a > 0
    if not shown.any():
        return None
    products = (a * b).sum(axis=1)[shown]
    spreads = (spread_a * spread_b)[shown]
    return float(np.mean(np.divide(products, spreads, out=np.zeros_like(products), where=spreads > 0)).clip(-1, 1))


def _largest(values: NDArray[np.floating[Any]]) -> float:
    """Largest |value|; the largest finite number, which fits a manifest, where one is not finite."""
    most = float(np.finfo(np.float32).max)
    return float(np.nan_to_num(np.abs(values), nan=most, posinf=most).max())
