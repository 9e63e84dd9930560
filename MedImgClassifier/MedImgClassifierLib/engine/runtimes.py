"""What runs a network: one door `encode`, images in, features and class maps out.

Four runtimes stand behind it: torch (eager or compiled), ONNX Runtime and OpenVINO. The scores are made of the features
in numpy (heads.py), on every runtime alike. A fifth, numpy, is for bundles without a network (first_order.py). Which
one is taken here, and why, is runtime_choice.py's question.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

NetworkRuntime = Literal["torch", "torch-compile", "onnxruntime", "openvino"]
RuntimeName = Literal[NetworkRuntime, "numpy"]
Device = Literal["auto", "cpu", "cuda", "mps", "directml", "coreml"]
Precision = Literal["float32", "bfloat16", "int8"]

# What a user may ask for; numpy is no choice, for what it runs nothing else does.
RUNTIMES: tuple[NetworkRuntime, ...] = get_args(NetworkRuntime)
DEVICES: tuple[Device, ...] = get_args(Device)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)

# Library that a runtime needs, and the extra of the distribution that brings it ('' : the plain install does).
LIBRARY: dict[RuntimeName, str] = {
    "torch": "torch",
    "torch-compile": "torch",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "numpy": "numpy",
}
EXTRA: dict[RuntimeName, str] = {
    "torch": "torch",
    "torch-compile": "torch",
    "onnxruntime": "",
    "openvino": "openvino",
    "numpy": "",
}
COMPUTES_IN: dict[RuntimeName, tuple[Precision, ...]] = {
    "torch": ("float32", "bfloat16"),
    "torch-compile": ("float32", "bfloat16"),
    "onnxruntime": ("float32", "int8"),
    "openvino": ("float32", "bfloat16", "int8"),
    "numpy": ("float32",),
}


class Encoded(NamedTuple):
    """features [N, D] for the head; class maps [N, L, h, w], signed, None where not asked for or not to be had."""

    features: NDArray[np.float32]
    class_maps: NDArray[np.float32] | None


class Runtime(Protocol):
    """A loaded network."""

    @property
    def name(self) -> RuntimeName: ...

    @property
    def device(self) -> Device: ...

    @property
    def precision(self) -> Precision: ...

    def encode(self, images: NDArray[np.float32], maps: bool) -> Encoded:
        """images [N, C, H, W], preprocessed -> features and, where asked for, maps. Raises Refusal(RESOURCE_MEMORY)."""


class RuntimeUnusable(Exception):
    """A runtime that cannot be used here: not installed, broken, without the device or the processor it needs.

    Its text ends a sentence that begins with the runtime's name: 'openvino is not installed'.
    """
