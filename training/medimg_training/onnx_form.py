"""A network's ONNX form with the record of what was measured of it: what a bundle gets beside its weights."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from MedImgClassifierLib.engine import processor
from MedImgClassifierLib.engine.heads import LinearHead
from MedImgClassifierLib.engine.networks import REGISTRY
from MedImgClassifierLib.engine.onnx_runtime import OnnxRuntime
from MedImgClassifierLib.engine.openvino_runtime import OpenVinoRuntime
from MedImgClassifierLib.engine.preprocess import InputSpec
from MedImgClassifierLib.engine.runtimes import Precision, Runtime, RuntimeUnusable
from MedImgClassifierLib.engine.selftest import reduced_key
from MedImgClassifierLib.engine.torch_runtime import TorchRuntime

from .agreement import (
    LEAST_IMAGES,
    LOGIT_TOLERANCE,
    Agreement,
    Answers,
    Parity,
    Sample,
    agreement,
    ask,
    ask_called,
    parity,
)
from .cache import Images, PreparedSet
from .onnx_export import has_class_maps, own_logits, require_libraries, to_onnx
from .onnx_int8 import to_int8
from .roles import FitRows, SelectRows, indices_of

MOST_IMAGES = 2000  # of the held-out role; more would tell little more
CALIBRATION_IMAGES = 256

LIGHT: Mapping[str, Callable[[bytes, Precision], Runtime]] = {
    "onnxruntime": lambda graph, precision: OnnxRuntime(graph, "cpu", precision),
    "openvino": lambda graph, precision: OpenVinoRuntime(graph, precision),
}
REDUCED: tuple[tuple[str, Precision], ...] = (
    ("torch", "bfloat16"),
    ("openvino", "bfloat16"),
    ("onnxruntime", "int8"),
    ("openvino", "int8"),
)


@dataclass(frozen=True)
class Trained:
    """A network with its weights. temperature: of its calibration, None where it has none."""

    network: str
    options: Mapping[str, Any]
    weights: Mapping[str, NDArray[Any]]
    spec: InputSpec
    temperature: float | None = None

    @property
    def head(self) -> LinearHead:
        name = REGISTRY[self.network].head
        return LinearHead(self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def on_torch(self, precision: Precision = "float32") -> Runtime:
        labels, channels = len(self.head.bias), self.spec.network_channels
        return TorchRuntime(self.network, self.options, self.weights, labels, channels, "cpu", precision)


class Roles(NamedTuple):
    """Images by what they may be used for. fit: int8 is calibrated on these; held_out: of the role select, on which
    reduced precisions are measured, and without which these are not offered."""

    prepared: PreparedSet
    fit: FitRows
    held_out: SelectRows


@dataclass(frozen=True)
class OnnxForm:
    """graph, int8: files, None where they are not offered. parity, agreement: what was measured. answers: self-test
    tensors of the reduced precisions. notes: what else a reader must know, in sentences."""

    graph: bytes | None
    int8: bytes | None
    parity: tuple[Parity, ...]
    agreement: tuple[Agreement, ...]
    answers: Mapping[str, NDArray[np.float32]]
    notes: tuple[str, ...]

    def record(self) -> dict[str, Any]:
        """The manifest's `agreement`."""
        return {
            "measured_on": {"processor": processor.name(), "versions": _versions()},
            "parity": [row.to_json() for row in self.parity],
            "reduced": [row.to_json() for row in self.agreement],
        }

    def to_markdown(self) -> str:
        """Both tables and the notes."""
        lines = [f"Measured on {processor.name()} ({', '.join(f'{k} {v}' for k, v in _versions().items())}).", ""]
        lines += ["| float32 on | images (groups) | largest logit | d logit | allowed | d map / largest | |"]
        lines += ["|---|---|---|---|---|---|---|", *map(_parity_row, self.parity)]
        lines += ["", "| reduced | images (groups) | same class | d calibration error | evidence | offered |"]
        lines += ["|---|---|---|---|---|---|", *map(_agreement_row, self.agreement)]
        return "\n".join([*lines, "", *self.notes]).rstrip() + "\n"


def make(
    trained: Trained, roles: Roles, selftest_inputs: Images, *, int8: bool = True, progress: bool = False
) -> OnnxForm:
    """Export a network and measure it on every runtime that is installed here.

    selftest_inputs [n, C, H, W]. Raises Refusal(RESOURCE_MISSING_LIBRARY).
    """
    require_libraries()
    return _Making(trained, roles, selftest_inputs, progress).run(int8)


class _Making:
    """One making of an ONNX form; arguments as of `make`."""

    def __init__(self, trained: Trained, roles: Roles, selftest_inputs: Images, progress: bool) -> None:
        prepared = roles.prepared
        fit = indices_of(FitRows, roles.fit, prepared)
        held_out = indices_of(SelectRows, roles.held_out, prepared)
        self.trained, self.head, self.selftest_inputs, self.progress = trained, trained.head, selftest_inputs, progress
        self.shape = prepared.images.shape[1:]
        self.known = Sample.spread(prepared, np.concatenate([fit, held_out]), trained.spec, LEAST_IMAGES)
        self.calibrating = Sample.spread(prepared, fit, trained.spec, CALIBRATION_IMAGES)
        self.held_out = Sample.spread(prepared, held_out, trained.spec, MOST_IMAGES)
        self.parity: dict[str, Parity] = {}
        self.agreement: list[Agreement] = []
        self.answers: dict[str, NDArray[np.float32]] = {}
        self.notes: list[str] = []

    def run(self, int8: bool) -> OnnxForm:
        graph = self._checked_graph()
        int8_graph = None
        if int8 and graph:
            int8_graph = to_int8(graph, self._watched(self.calibrating, "calibrate int8"))
        for name, precision in REDUCED:
            if int8 or precision != "int8":
                self._measure(name, precision, int8_graph if precision == "int8" else graph)
        if not any(row.offered and row.precision == "int8" for row in self.agreement):
            int8_graph = None
        measured = tuple(self.parity.values()), tuple(self.agreement)
        return OnnxForm(graph, int8_graph, *measured, self.answers, tuple(self.notes))

    def _checked_graph(self) -> bytes | None:
        """The float32 form; None where it cannot be checked, or where no runtime reads it as torch computes it."""
        if self.trained.spec.size is None:
            self.notes.append("No ONNX form: it is for images of one size, and the input specification fixes none.")
            return None
        if len(self.known) < LEAST_IMAGES:
            self.notes.append(f"No ONNX form: {len(self.known)} images to check it on, {LEAST_IMAGES} are needed.")
            return None
        trained = self.trained
        graph = to_onnx(trained.network, trained.options, trained.weights, len(self.head.bias), *self.shape)
        reference = ask(trained.on_torch(), self.head, self._parity_batches("torch"))
        gated = REGISTRY[trained.network].evidence == "head_gradient"
        for name in LIGHT:
            try:
                runtime = _load(name, graph, "float32")
            except RuntimeUnusable as obstacle:
                self.notes.append(f"Not measured: {name} {obstacle}.")
                continue
            ours = ask(runtime, self.head, self._parity_batches(name))
            count = len(self.selftest_inputs)
            self.parity[name] = parity(runtime, ours, reference, count, self.known, gated=gated)
        if not any(row.passed for row in self.parity.values()):
            self.notes.append("No ONNX form: no runtime computes from it in float32 what torch computes.")
            return None
        allowed = LOGIT_TOLERANCE * max(1.0, float(np.abs(reference[0].logits).max()))
        if not np.abs(own_logits(graph, self.selftest_inputs) - reference[0].logits).max() <= allowed:
            self.notes.append("No ONNX form: its own logits are not those of the last layer on its features.")
            return None
        if not has_class_maps(trained.network):
            self.notes.append("The ONNX form has no class maps: this network's evidence needs torch.")
        return graph

    def _parity_batches(self, name: str) -> Iterator[Images]:
        yield self.selftest_inputs
        yield from self._watched(self.known, f"{name} float32")

    @cached_property
    def _reference(self) -> Answers:
        return ask_called(self.trained.on_torch(), self.head, self._watched(self.held_out, "torch float32"))

    def _measure(self, name: str, precision: Precision, graph: bytes | None) -> None:
        """Add the row of a reduced precision, and its answers to the self-test where it is offered."""
        try:
            runtime = self._reduced_runtime(name, precision, graph)
        except RuntimeUnusable as obstacle:
            nothing = (0, 0, None, None, None)
            self.agreement.append(Agreement(name, "cpu", precision, *nothing, f"not measured: {obstacle}"))
            return
        called = self._reference.logits.argmax(axis=1)
        batches = self._watched(self.held_out, f"{name} {precision}")
        ours = ask_called(runtime, self.head, batches, called)
        row = agreement(runtime, ours, self._reference, self.held_out, self.trained.temperature)
        self.agreement.append(row)
        if row.offered:
            ((logits, _),) = ask(runtime, self.head, [self.selftest_inputs])
            self.answers[reduced_key(runtime)] = logits.astype(np.float32)

    def _reduced_runtime(self, name: str, precision: Precision, graph: bytes | None) -> Runtime:
        """Raises RuntimeUnusable with what is in the way of measuring."""
        if not len(self.held_out):
            raise RuntimeUnusable("no held-out groups")
        if len(self.held_out) < LEAST_IMAGES:
            raise RuntimeUnusable(f"{len(self.held_out)} held-out images, {LEAST_IMAGES} are needed")
        if name not in LIGHT:
            return self.trained.on_torch(precision)
        if graph is None:
            raise RuntimeUnusable("there is no ONNX form")
        if name in self.parity and not self.parity[name].passed:
            raise RuntimeUnusable("it misses already in float32")
        try:
            return _load(name, graph, precision)
        except RuntimeUnusable as obstacle:
            raise RuntimeUnusable(f"{name} {obstacle}") from obstacle

    def _watched(self, sample: Sample, what: str) -> Iterator[Images]:
        with tqdm(desc=what, total=len(sample), disable=not self.progress, unit="image", leave=False) as bar:
            for images in sample.batches():
                yield images
                bar.update(len(images))


def _load(name: str, graph: bytes, precision: Precision) -> Runtime:
    """A light runtime. Raises RuntimeUnusable."""
    if importlib.util.find_spec(name) is None:
        raise RuntimeUnusable("is not installed")
    try:
        return LIGHT[name](graph, precision)
    except (RuntimeUnusable, MemoryError):
        raise
    except Exception as broken:  # a library that is damaged shows as anything, and must not end a training
        raise RuntimeUnusable(f"does not work here ({type(broken).__name__}: {broken})"[:300]) from broken


def _versions() -> dict[str, str]:
    """Of the libraries that exported and ran, as far as they are installed."""
    found: dict[str, str] = {}
    for library in ("torch", "torchvision", "onnx", "onnxscript", "onnxruntime", "openvino", "numpy"):
        with suppress(PackageNotFoundError):
            found[library] = version(library)
    return found


def _parity_row(row: Parity) -> str:
    maps = row.maps_in_words()
    figures = f"{row.largest_logit:.3g} | {row.difference:.1e} | {row.allowed:.1e} | {maps}"
    verdict = "passed" if row.passed else "missed"
    return f"| {row.runtime} | {row.selftest_images} + {row.images} ({row.groups}) | {figures} | {verdict} |"


def _agreement_row(row: Agreement) -> str:
    return f"| {row.runtime} {row.precision} | {row.images} ({row.groups}) | {row.in_words()} |"
