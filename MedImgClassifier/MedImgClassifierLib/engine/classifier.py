"""Classifier: a bundle on a device, and one call that turns a case into a Classification."""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from time import perf_counter
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from .. import __version__
from . import occlusion, quality
from .bundle import Bundle
from .errors import Refusal, first_line
from .evidence import place
from .frugal import FrugalRuntime
from .preprocess import geometry, in_plane, intensity
from .result import Classification, Finding, KeySlice, Placement, SliceResults
from .runtime_choice import choose
from .runtimes import Device, Encoded, Precision, Runtime
from .trust import probabilities
from .volume import Case, Volume

Progress = Callable[[str, float], None]
"""Called with a stage ('prepare', 'classify') and the fraction done, 0..1; raising from it cancels."""

EvidenceWish = Literal["network", "occlusion", "none"]

MAX_KEY_SLICES = 5


class Classifier:
    """Finds a runtime that answers the bundle's self-test as its maker's did, then classifies case after case.

    runtime: 'auto' or a name of runtimes.RUNTIMES. batch: slices at a time. threads: of the CPU, all if not given.
    Raises the refusals of runtime_choice.choose.
    """

    def __init__(
        self,
        bundle: Bundle,
        device: Device = "auto",
        precision: Precision = "float32",
        batch: int = 16,
        runtime: str = "auto",
        threads: int | None = None,
    ) -> None:
        self.bundle, self.batch = bundle, batch
        self.runtime, self.selftest_difference, self.why = choose(bundle, runtime, device, precision, threads)
        self._on_cpu = None if device != "auto" else lambda: choose(bundle, runtime, "cpu", precision, threads).runtime

    def classify(
        self, case: Case | Volume, progress: Progress | None = None, evidence: EvidenceWish = "network"
    ) -> Classification:
        """Classify every slice of a case.

        A lone volume stands for the bundle's only channel. evidence: class maps for all labels by the network's own
        method (where it explains the answer: Bundle.own_evidence), by occlusion (slow, any bundle), or none.
        Raises Refusal for input that cannot be classified (quality.check), RESOURCE_MEMORY, RESOURCE_RUNTIME_FAILED,
        and whatever `progress` raises.
        """
        report = progress or (lambda stage, fraction: None)
        started, clock = datetime.datetime.now(datetime.UTC), _Clock()
        bundle, spec = self.bundle, self.bundle.spec
        if isinstance(case, Volume):
            case = Case.of(case, spec.channels[0].name)
        report("prepare", 0.0)
        findings = quality.check(case, spec, bundle.id)
        channels = [case.channels[channel.name] for channel in spec.channels]
        volumes = [in_plane(volume, spec.plane) for volume in channels if volume is not None]
        if bundle.temperature is None:
            findings.append(Finding.of("UNCALIBRATED", "info"))
        clock.stop("check")

        runtime = FrugalRuntime(self.runtime, self._on_cpu)
        logits, maps, pixels, contrast = [], [], [], []
        count, done = len(volumes[0].voxels), 0

        def decide(images: NDArray[np.float32]) -> NDArray[np.float64]:
            return bundle.head.decide(_encode(runtime, images, False).features)

        with _one_blas_thread():
            for inputs, placement in self._batches(volumes):
                report("classify", done / count)
                clock.stop("preprocess")
                encoded = _encode(runtime, inputs, evidence == "network" and bundle.own_evidence)
                clock.stop("forward")
                logits.append(bundle.head.decide(encoded.features))
                pixels.append(placement)
                contrast.append((np.ptp(inputs, axis=(2, 3)) > 0).any(axis=1))
                if encoded.class_maps is not None:
                    maps.append(encoded.class_maps)
                clock.stop("head")
                if evidence == "occlusion":
                    within = partial(_within, report, done / count, len(inputs) / count)
                    maps.append(occlusion.occlusion_maps(inputs, logits[-1], decide, self.batch, within))
                    clock.stop("occlusion")
                done += len(inputs)
        report("classify", 1.0)
        if evidence == "network" and not maps:
            duration = occlusion.seconds(clock.seconds["forward"] / count, count)
            if bundle.own_evidence:
                findings.append(occlusion.instead(bundle.network, runtime.name, duration))
            else:
                findings.append(occlusion.only(bundle.network, bundle.head.kind, duration))
        cells = occlusion.cells(*inputs.shape[2:]) if evidence == "occlusion" else bundle.cells
        method = occlusion.METHOD if evidence == "occlusion" else bundle.network_info.evidence
        findings += runtime.findings
        provenance = self._provenance(case, started, runtime)
        clock.stop("hash")
        provenance["seconds"] = {stage: round(seconds, 4) for stage, seconds in clock.seconds.items()}

        return Classification(
            labels=bundle.labels,
            slices=self._slices(volumes[0], np.concatenate(logits)),
            evidence=place(np.concatenate(maps), _joined(pixels), cells, method) if maps else None,
            findings=tuple(findings),
            key_slices=key_slices(
                probabilities(np.concatenate(logits), bundle.temperature or 1.0), np.concatenate(contrast)
            ),
            calibrated=bundle.temperature is not None,
            bundle=bundle.summary(),
            provenance=provenance,
        )

    def _batches(self, volumes: Sequence[Volume]) -> Iterator[tuple[NDArray[np.float32], Placement]]:
        """Network input and its place, batch by batch; the next one is prepared meanwhile."""
        spec, count = self.bundle.spec, len(volumes[0].voxels)

        def prepare(start: int) -> tuple[NDArray[np.float32], Placement]:
            prepared = geometry(volumes, spec, start, min(start + self.batch, count))
            return intensity(prepared.images, spec, prepared.units), prepared.placement

        starts = range(0, count, self.batch)
        with ThreadPoolExecutor(1, "prepare") as ahead:
            coming = ahead.submit(prepare, 0)
            for start in starts:
                ready = coming.result()
                if start + self.batch < count:
                    coming = ahead.submit(prepare, start + self.batch)
                yield ready

    def _slices(self, volume: Volume, logits: Any) -> SliceResults:
        native = self.bundle.spec.plane == "native"
        source, count = volume.source, len(volume.voxels)
        return SliceResults(
            centre_lps=volume.slice_centres_lps,
            normal_lps=np.tile(volume.normal_lps, (count, 1)),
            native_k=tuple(range(count)) if native else None,
            logits=logits,
            probabilities=probabilities(logits, self.bundle.temperature or 1.0),
            instance_numbers=source.instance_numbers if native and len(source.instance_numbers) == count else (),
            sop_instance_uids=source.sop_instance_uids if native and len(source.sop_instance_uids) == count else (),
        )

    def _provenance(self, case: Case, started: datetime.datetime, runtime: Runtime) -> dict[str, Any]:
        inputs = {}
        for name, volume in case.channels.items():
            if volume is not None:
                source = volume.source
                inputs[name] = {
                    "format": source.format,
                    "series_uid": source.series_uid,
                    "modality": volume.modality,
                    "units": volume.units,
                    "shape": list(volume.voxels.shape),
                    "content_sha256": volume.content_sha256,
                }
        return {
            "started": started.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "inputs": inputs,
            "input_spec_sha256": self.bundle.spec.sha256,
            "runtime": runtime.name,
            "runtime_choice": self.why,
            "device": runtime.device,
            "precision": runtime.precision,
            "selftest_difference": self.selftest_difference,
            "batch": self.batch,
            "versions": _versions(),
        }


def key_slices(probability: Any, contrast: Any = None) -> tuple[KeySlice, ...]:
    """Slices worth looking at: the most probable one of each class found (the commonest classes first), the least
    certain one of all, and further examples of the commonest class, each as far from the others as can be.

    probability: [N, L]; contrast: [N], whether a slice shows anything: one that does not is never among them.
    """
    if contrast is not None and not contrast.all():
        shown = np.flatnonzero(contrast)
        keys = key_slices(probability[shown]) if len(shown) else ()
        return tuple(replace(key, row=int(shown[key.row])) for key in keys)
    best = probability.argmax(axis=1)
    counts = np.bincount(best, minlength=probability.shape[1])
    commonest = np.argsort(-counts, kind="stable")
    chosen = []
    for label in commonest[: MAX_KEY_SLICES - 1]:
        if counts[label]:
            row = int(np.where(best == label, probability[:, label], -1).argmax())
            chosen.append(KeySlice(row, int(label), "most_probable"))
    taken = [key.row for key in chosen]
    doubtful = int(probability.max(axis=1).argmin())
    doubt = [] if doubtful in taken else [KeySlice(doubtful, int(best[doubtful]), "least_certain")]
    taken += [key.row for key in doubt]
    of_commonest = np.flatnonzero(best == commonest[0])
    while len(taken) < min(MAX_KEY_SLICES, len(best)):
        distance = np.abs(of_commonest[:, None] - np.array(taken)).min(axis=1)
        if not distance.max():
            break
        taken.append(int(of_commonest[distance.argmax()]))
        chosen.append(KeySlice(taken[-1], int(commonest[0]), "example"))
    return (*chosen, *doubt)


def _encode(runtime: Runtime, images: NDArray[np.float32], maps: bool) -> Encoded:
    """Raises Refusal: RESOURCE_MEMORY, RESOURCE_RUNTIME_FAILED."""
    try:
        encoded = runtime.encode(images, maps)
        if len(encoded.features) != len(images):
            raise ValueError(f"{len(encoded.features)} answers for {len(images)} images")
    except (Refusal, MemoryError):
        raise
    except Exception as failed:  # runtimes have no common one; an image too small for the network, for example
        reason = first_line(failed) or type(failed).__name__
        where = {"runtime": runtime.name, "device": runtime.device}
        raise Refusal("RESOURCE_RUNTIME_FAILED", **where, reason=reason) from failed
    return encoded


def _one_blas_thread() -> Any:
    """Holds numpy's OpenBLAS to one thread: between the small products of preprocessing its other threads would spin
    and take the cores from the runtime (docs/performance.md). The limit is one of the process, and is lifted again.
    """
    return ThreadpoolController().select(internal_api="openblas").limit(limits=1)


def _within(report: Progress, start: float, share: float, fraction: float) -> None:
    """Report the progress of one batch as that of the whole case."""
    report("classify", start + share * fraction)


def _joined(pixels: Sequence[Placement]) -> Placement:
    origins = np.concatenate([at.origins_lps for at in pixels])
    return Placement(origins, pixels[0].column_step_lps, pixels[0].row_step_lps)


class _Clock:
    """Seconds per stage, summed over batches."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = perf_counter()

    def stop(self, stage: str) -> None:
        now = perf_counter()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self._last
        self._last = now


def _versions() -> dict[str, str]:
    versions = {"medimgclassifier": __version__, "python": platform.python_version()}
    for name in ("numpy", "onnxruntime", "openvino", "torch", "torchvision", "SimpleITK", "pydicom"):
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
