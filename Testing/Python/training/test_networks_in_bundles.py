"""Every network and option goes into a bundle and answers from it alike on all runtimes, with evidence in its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medimg_training.onnx_export import to_onnx
from MedImgClassifierLib.engine import bundle, selftest
from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.networks import REGISTRY, build
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Resize, ZScore
from MedImgClassifierLib.engine.result import Label
from MedImgClassifierLib.engine.volume import Volume

SIDE = 64
SPEC = InputSpec((ChannelSpec("image"),), (Resize(SIDE, SIDE),), (ZScore(0, 400, "fixed"),))
TINY = {"widths": (8, 12, 8, 8), "blocks": (1, 1, 1, 1)}
IDENTITY = {
    "id": "trial",
    "version": "1.0.0",
    "title": "Trial",
    "intended_use": "Tests.",
    "out_of_scope": [],
    "licence": "none",
    "credits": [],
    "known_limits": [],
}


def weights_of(network: str, options: dict[str, Any]) -> dict[str, np.ndarray]:
    """Random weights that neither lose the image on its way nor blow it up, with batch-norm statistics and scales of
    norms that matter."""
    torch.manual_seed(0)
    module = build(network, 3, 1, **options)
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        elif isinstance(part, nn.BatchNorm2d | nn.GroupNorm | nn.LayerNorm):
            nn.init.normal_(part.weight, 1, 0.2)
            nn.init.normal_(part.bias, 0, 0.2)
        if isinstance(part, nn.BatchNorm2d):
            nn.init.normal_(part.running_mean, 0, 0.1)
            nn.init.uniform_(part.running_var, 0.5, 2)
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def written(folder: Path, network: str, options: dict[str, Any]) -> bundle.Bundle:
    weights = weights_of(network, options)
    path = bundle.write(
        folder,
        identity=IDENTITY,
        labels=[Label("a"), Label("b"), Label("c")],
        spec=SPEC,
        network=network,
        network_options=options,
        weights=weights,
        selftest=selftest.of_network(SPEC, network, options, weights, "arbitrary"),
        selftest_units="arbitrary",
        card="# A trial",
        training={},
        evaluation=[],
        onnx=to_onnx(network, options, weights, 3, 1, SIDE, SIDE),
    )
    return bundle.load(path)


@pytest.mark.parametrize(
    ("network", "options"),
    [
        ("narrow_resnet", {**TINY, "norm": "group"}),
        ("resnet18", {"stem": "small", "norm": "group"}),
        ("efficientnet_b0", {}),
        ("convnext_tiny", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(value),
)
def test_a_network_answers_alike_on_every_runtime(network: str, options: dict[str, Any], tmp_path: Path) -> None:
    loaded = written(tmp_path / "bundle", network, options)
    assert {key: loaded.network_options[key] for key in ("stem", "norm") if key in options} == {
        key: value for key, value in options.items() if key in ("stem", "norm")
    }
    voxels = np.random.default_rng(3).normal(200, 400, (3, SIDE, SIDE)).astype(np.int16)
    volume = Volume.from_matrix(voxels, np.eye(4))
    results = [
        Classifier(loaded, "cpu", runtime=runtime, threads=1).classify(volume)
        for runtime in ("torch", "onnxruntime", "openvino")
    ]
    first = results[0]
    assert first.evidence is not None and first.evidence.method == REGISTRY[network].evidence
    assert np.ptp(first.slices.logits) > 0.01  # an answer that could differ
    largest = float(np.abs(first.evidence.maps).max())
    for other in results[1:]:
        assert other.evidence is not None
        np.testing.assert_allclose(other.slices.logits, first.slices.logits, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(other.evidence.maps, first.evidence.maps, atol=1e-4 * largest)
    cells = REGISTRY[network].cells(options)
    at = first.evidence.placement
    assert first.evidence.maps.shape[2:] == (SIDE / cells.stride[0], SIDE / cells.stride[1])
    assert at.column_step_lps.tolist() == [cells.stride[1], 0, 0]
    assert at.origins_lps[1].tolist() == [cells.first_centre[1], cells.first_centre[0], 1]
