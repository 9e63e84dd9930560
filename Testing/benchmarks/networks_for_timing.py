"""A ResNet-18 with random weights as a bundle, and a synthetic CT: what the timings of inference share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from medimg_training.onnx_export import to_onnx
from medimg_training.onnx_int8 import to_int8
from MedImgClassifierLib.engine import bundle, selftest
from MedImgClassifierLib.engine.heads import LinearHead
from MedImgClassifierLib.engine.networks import build
from MedImgClassifierLib.engine.onnx_runtime import OnnxRuntime
from MedImgClassifierLib.engine.openvino_runtime import OpenVinoRuntime
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Orient, Pad, Resize, Window, ZScore
from MedImgClassifierLib.engine.result import Label
from MedImgClassifierLib.engine.torch_networks import Network
from MedImgClassifierLib.engine.torch_runtime import TorchRuntime
from MedImgClassifierLib.engine.volume import Volume

CLASSES = 5
CENTER, WIDTH, MEAN, STD = 40.0, 400.0, 0.45, 0.23
SPEC = InputSpec(
    (ChannelSpec("ct", ("CT",), ("HU",)),),
    (Orient(), Pad(), Resize(224, 224)),
    (Window(CENTER, WIDTH, "HU"), ZScore(MEAN, STD)),
)


def random_resnet18() -> Network:
    torch.manual_seed(0)
    return build("resnet18", CLASSES, 1).eval()


def write_bundle(folder: Path, network: Network) -> bundle.Bundle:
    """A bundle of it with all forms, and a record that offers every precision: for timing, nothing was measured."""
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    answers = selftest.of_network(SPEC, "resnet18", {}, weights, "HU")
    graph = to_onnx("resnet18", {}, weights, CLASSES, 1, 224, 224)
    int8 = to_int8(graph, [answers["inputs"]])
    reduced = []
    head = LinearHead(weights["net.fc.weight"], weights["net.fc.bias"])
    for runtime in (
        TorchRuntime("resnet18", {}, weights, CLASSES, 1, "cpu", "bfloat16"),
        OpenVinoRuntime(graph, "bfloat16"),
        OpenVinoRuntime(int8, "int8"),
        OnnxRuntime(int8, "cpu", "int8"),
    ):
        found = head.decide(runtime.encode(answers["inputs"], maps=False).features)
        answers[selftest.reduced_key(runtime)] = found.astype(np.float32)
        entry = {"runtime": runtime.name, "device": "cpu", "precision": runtime.precision, "images": 0, "groups": 0}
        unknown = {"same_class": None, "calibration_error_change": None, "evidence_correlation": None}
        reduced.append({**entry, **unknown, "offered": True, "reason": "timing only"})
    identity = {"id": folder.name, "version": "0.0.1", "title": "Timing", "intended_use": "Timing.", "licence": "none"}
    bundle.write(
        folder,
        identity={**identity, "out_of_scope": [], "credits": [], "known_limits": []},
        labels=[Label(f"class {n}") for n in range(CLASSES)],
        spec=SPEC,
        network="resnet18",
        network_options={},
        weights=weights,
        selftest=answers,
        selftest_units="HU",
        card="Random weights.",
        training={},
        evaluation=[],
        onnx=graph,
        onnx_int8=int8,
        agreement={"measured_on": {"processor": "any", "versions": {}}, "parity": [], "reduced": reduced},
    )
    return bundle.load(folder)


def synthetic_ct(slices: int = 300, size: int = 512) -> Volume:
    """Ellipses of tissue in air with noise, int16 HU [slices, size, size], 0.7 x 0.7 x 1.25 mm."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
    noise = rng.normal(0, 20, (size, size)).astype(np.float32)
    voxels = np.empty((slices, size, size), np.int16)
    for k in range(slices):
        body = (x / 0.8) ** 2 + (y / (0.5 + 0.2 * np.sin(k / 40))) ** 2 < 1
        organ = (x - 0.3 * np.cos(k / 25)) ** 2 + (y / 0.8) ** 2 < 0.05
        voxels[k] = np.where(body, np.where(organ, 120, 30), -1000) + np.roll(noise, 7 * k)
    matrix = np.diag([0.7, 0.7, 1.25, 1.0])
    return Volume.from_matrix(voxels, matrix, modality="CT", units="HU")
