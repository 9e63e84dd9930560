"""The ONNX form of a network: its interface, its answers, and nothing of the computer that wrote it."""

from __future__ import annotations

import logging
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from medimg_training import onnx_export
from medimg_training.onnx_export import own_logits, to_onnx
from medimg_training.onnx_int8 import to_int8
from MedImgClassifierLib.engine import onnx_graph
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.heads import LinearHead
from MedImgClassifierLib.engine.networks import REGISTRY, build
from MedImgClassifierLib.engine.onnx_runtime import OnnxRuntime
from MedImgClassifierLib.engine.torch_runtime import TorchRuntime

TINY = {"widths": (8, 8, 8, 8), "blocks": (1, 1, 1, 1)}
LABELS, CHANNELS = 3, 2


def weights_of(network: str, size: int, options: dict[str, Any] | None = None) -> dict[str, np.ndarray]:
    """Random weights with batch-norm statistics of random images, so that folding them matters."""
    torch.manual_seed(0)
    module = build(network, LABELS, CHANNELS, **(options or {})).train()
    with torch.no_grad():
        module(torch.randn(8, CHANNELS, size, size) * 3 + 1)
    return {name: tensor.numpy() for name, tensor in module.state_dict().items()}


def images(n: int, size: int) -> np.ndarray:
    return np.random.default_rng(n).normal(1, 3, (n, CHANNELS, size, size)).astype(np.float32)


def both(network: str, graph: bytes, weights: dict[str, np.ndarray], options: dict[str, Any]) -> tuple[Any, Any]:
    return OnnxRuntime(graph), TorchRuntime(network, options, weights, LABELS, CHANNELS, "cpu")


@pytest.fixture(scope="module")
def weights() -> dict[str, np.ndarray]:
    return weights_of("narrow_resnet", 24, TINY)


@pytest.fixture(scope="module")
def graph(weights: dict[str, np.ndarray]) -> bytes:
    return to_onnx("narrow_resnet", TINY, weights, LABELS, CHANNELS, 24, 24)


@pytest.fixture(scope="module")
def int8(graph: bytes) -> bytes:
    return to_int8(graph, [images(16, 24), images(5, 24)])


def sizes(value: onnx.ValueInfoProto) -> list[int | str]:
    return [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


@pytest.mark.parametrize("form", ["graph", "int8"])
def test_only_the_batch_is_free_and_every_output_is_there(form: str, request: pytest.FixtureRequest) -> None:
    model = onnx.load_from_string(request.getfixturevalue(form))
    onnx.checker.check_model(model, full_check=True)
    assert [(v.name, sizes(v)) for v in model.graph.input] == [("images", ["batch", CHANNELS, 24, 24])]
    outputs = {v.name: sizes(v) for v in model.graph.output}
    assert outputs == {"logits": ["batch", 3], "features": ["batch", 8], "class_maps": ["batch", 3, 3, 3]}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", onnx_export.OPSET)]
    assert not model.functions


@pytest.mark.parametrize("form", ["graph", "int8"])
def test_the_engine_takes_it(form: str, request: pytest.FixtureRequest) -> None:
    facts = {"channels": CHANNELS, "rows": 24, "columns": 24, "labels": LABELS, "features": 8}
    onnx_graph.check(request.getfixturevalue(form), **facts, class_maps=True, int8=form == "int8")


@pytest.mark.parametrize("n", [1, 3, 16])
def test_features_class_maps_and_logits_are_those_of_torch(
    n: int, graph: bytes, weights: dict[str, np.ndarray]
) -> None:
    light, torch_runtime = both("narrow_resnet", graph, weights, TINY)
    x = images(n, 24)
    found, expected = light.encode(x, maps=True), torch_runtime.encode(x, maps=True)
    assert found.features == pytest.approx(expected.features, abs=1e-5, rel=1e-5)
    assert found.class_maps == pytest.approx(expected.class_maps, abs=1e-5, rel=1e-5)
    head = LinearHead(weights["head.weight"], weights["head.bias"])
    assert own_logits(graph, x) == pytest.approx(head.decide(expected.features), abs=1e-5, rel=1e-5)


@pytest.mark.parametrize("network", ["resnet18", "alexnet"])
def test_networks_of_torchvision_answer_as_in_torch(network: str) -> None:
    weights = weights_of(network, 64)
    graph = to_onnx(network, {}, weights, LABELS, CHANNELS, 64, 64)
    light, torch_runtime = both(network, graph, weights, {})
    x = images(3, 64)
    found, expected = light.encode(x, maps=True), torch_runtime.encode(x, maps=True)
    largest = float(np.abs(expected.class_maps).max())
    assert found.features == pytest.approx(expected.features, abs=1e-5 * float(np.abs(expected.features).max()))
    assert found.class_maps == pytest.approx(expected.class_maps, abs=1e-4 * largest)
    assert Counter(node.op_type for node in onnx.load_from_string(graph).graph.node)["BatchNormalization"] == 0


def test_what_needs_torch_for_its_evidence_is_told_by_the_registry() -> None:
    assert {name for name in REGISTRY if not onnx_export.has_class_maps(name)} == {"vit_b_16"}


def test_a_network_whose_evidence_needs_torch_has_no_class_maps(
    weights: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "has_class_maps", lambda network: False)
    made = onnx.load_from_string(to_onnx("narrow_resnet", TINY, weights, LABELS, CHANNELS, 24, 24))
    assert [output.name for output in made.graph.output] == ["logits", "features"]


def test_the_same_weights_give_the_same_bytes_and_nothing_is_told(
    graph: bytes,
    weights: dict[str, np.ndarray],
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    recwarn: pytest.WarningsRecorder,
) -> None:
    assert to_onnx("narrow_resnet", TINY, weights, LABELS, CHANNELS, 24, 24) == graph
    assert to_int8(graph, [images(16, 24)]) == to_int8(graph, [images(16, 24)])
    assert capfd.readouterr() == ("", "")
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert [str(warning.message) for warning in recwarn] == []


def test_nothing_tells_of_the_computer_or_the_code_that_wrote_it(graph: bytes, int8: bytes) -> None:
    for form in (graph, int8):
        for trace in (str(Path(torch.__file__).parent), __file__, str(Path.home()), "stack_trace", ".py", "forward"):
            assert trace.encode() not in form, trace


def test_int8_convolutions_take_int8_and_what_follows_the_features_is_float32(int8: bytes) -> None:
    model = onnx.load_from_string(int8)
    maker = {output: node for node in model.graph.node for output in node.output}
    constants = {constant.name: constant for constant in model.graph.initializer}

    def source(name: str) -> str:
        return maker[name].op_type if name in maker else "constant"

    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) >= 9
    for node in convolutions:
        assert [source(name) for name in node.input] == ["DequantizeLinear"] * 3
        weight = maker[node.input[1]]
        assert constants[weight.input[0]].data_type == onnx.TensorProto.INT8
        assert list(constants[weight.input[1]].dims) == list(constants[weight.input[0]].dims)[:1]  # a scale a channel
    (last,) = (node for node in model.graph.node if "logits" in node.output)
    assert last.op_type == "Gemm" and [source(name) for name in last.input[1:]] == ["constant"] * 2
    assert all(numpy_helper.to_array(constants[name]).dtype == np.float32 for name in last.input[1:])
    (product,) = (node for node in model.graph.node if node.op_type in ("MatMul", "Einsum"))
    assert "constant" in {source(name) for name in product.input}


def test_int8_is_near_float32_and_is_calibrated_on_what_it_is_given(graph: bytes, int8: bytes) -> None:
    x = images(16, 24)
    exact, near = own_logits(graph, x), own_logits(int8, x)
    narrow = own_logits(to_int8(graph, [x / 100]), x)
    assert 0 < np.abs(near - exact).max() < 0.1 * np.abs(exact).max()
    assert np.abs(narrow - exact).max() > 3 * np.abs(near - exact).max()


def test_quantising_leaves_no_file_behind(graph: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    to_int8(graph, [images(2, 24)])
    assert list(tmp_path.iterdir()) == []

    def interrupted() -> Any:
        yield images(2, 24)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        to_int8(graph, interrupted())
    assert list(tmp_path.iterdir()) == []
    assert logging.getLogger().level <= logging.WARNING


def test_a_missing_library_is_refused_with_the_command_that_installs_it(
    weights: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "LIBRARIES", ("onnx", "no_such_library"))
    with pytest.raises(Refusal, match=r"pip install 'medimgclassifier\[train\]'") as refused:
        to_onnx("narrow_resnet", TINY, weights, LABELS, CHANNELS, 24, 24)
    assert refused.value.code == "RESOURCE_MISSING_LIBRARY"
