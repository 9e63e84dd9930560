"""Each installed runtime gives the answers that the bundle's maker got, in every way in which it is used."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spot_bundle as maker
from MedImgClassifierLib.engine import bundle, onnx_runtime, openvino_runtime
from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.runtimes import LIBRARY, Precision, RuntimeName


def needs(runtime: RuntimeName) -> Any:
    absent = importlib.util.find_spec(LIBRARY[runtime]) is None
    return pytest.param(runtime, marks=pytest.mark.skipif(absent, reason=f"{LIBRARY[runtime]} is not installed"))


BFLOAT16 = [pytest.param(r.values[0], "bfloat16", marks=r.marks) for r in (needs("torch"), needs("openvino"))]
INSTALLED = [needs("onnxruntime"), needs("openvino"), needs("torch")]


@pytest.fixture(scope="module")
def loaded(spot_bundle: Path) -> bundle.Bundle:
    return bundle.load(spot_bundle)


@pytest.mark.parametrize("runtime", INSTALLED)
@pytest.mark.parametrize("batch", [1, 4, 16])
def test_answers_and_evidence_are_the_makers(loaded: bundle.Bundle, runtime: RuntimeName, batch: int) -> None:
    volume, _, k = maker.stack_with_spot("axial")
    classifier = Classifier(loaded, "cpu", batch=batch, runtime=runtime, threads=1)
    assert classifier.selftest_difference <= 1e-6
    result = classifier.classify(volume)
    assert (result.provenance["runtime"], result.provenance["device"]) == (runtime, "cpu")
    assert result.slices.best.tolist() == [int(n == k) for n in range(len(volume.voxels))]
    replayed = classifier.runtime.encode(np.array(loaded.selftest["inputs"]), maps=True)
    assert replayed.class_maps is not None
    np.testing.assert_allclose(replayed.class_maps, loaded.selftest["maps"], rtol=1e-5, atol=1e-4)
    assert result.evidence is not None and result.evidence.maps.shape == (len(volume.voxels), 2, 8, 8)
    sums = result.evidence.maps.sum((2, 3)) + loaded.head.bias
    np.testing.assert_allclose(sums, result.slices.logits, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("runtime", INSTALLED)
def test_maps_are_made_only_where_asked_for(loaded: bundle.Bundle, runtime: RuntimeName) -> None:
    classifier = Classifier(loaded, "cpu", runtime=runtime)
    assert classifier.runtime.encode(np.array(loaded.selftest["inputs"]), maps=False).class_maps is None
    result = classifier.classify(maker.stack_with_spot("axial")[0], evidence="none")
    assert result.evidence is None
    assert "EVIDENCE_NOT_AVAILABLE" not in {finding.code for finding in result.findings}


@pytest.mark.parametrize("runtime", INSTALLED)
def test_answers_of_a_batch_stay_when_the_next_one_is_computed(loaded: bundle.Bundle, runtime: RuntimeName) -> None:
    encode = Classifier(loaded, "cpu", runtime=runtime).runtime.encode
    images = np.array(loaded.selftest["inputs"])
    first = encode(images, maps=True)
    assert first.class_maps is not None
    kept = first.features.copy(), first.class_maps.copy()
    encode(images[::-1].copy() + 1, maps=True)
    np.testing.assert_array_equal(first.features, kept[0])
    np.testing.assert_array_equal(first.class_maps, kept[1])


@pytest.mark.parametrize("runtime", [needs("onnxruntime"), needs("openvino")])
@pytest.mark.parametrize("words", ["Failed to allocate memory for requested buffer", "std::bad_alloc"])
def test_memory_that_a_light_runtime_did_not_get_is_status_5(
    loaded: bundle.Bundle, runtime: RuntimeName, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = Classifier(loaded, "cpu", runtime=runtime)

    class Full:
        def run(self, *_arguments: object) -> None:
            raise RuntimeError(words)

        __call__ = run

    monkeypatch.setattr(classifier.runtime, "_session" if runtime == "onnxruntime" else "_model", Full())
    with pytest.raises(Refusal) as caught:
        classifier.classify(maker.stack_with_spot("axial")[0])
    assert caught.value.code == "RESOURCE_MEMORY" and caught.value.exit_status == 5


@pytest.mark.parametrize("runtime", [needs("onnxruntime"), needs("openvino")])
def test_int8_needs_a_processor_that_sums_in_32_bits(
    loaded: bundle.Bundle, runtime: RuntimeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_runtime, "has_int8_dot_product", lambda: False)
    monkeypatch.setattr(openvino_runtime, "has_int8_dot_product", lambda: False)
    with pytest.raises(Refusal, match="VNNI") as caught:
        Classifier(offering(loaded, runtime, "int8"), "cpu", "int8", runtime=runtime)
    assert caught.value.code == "USAGE_RUNTIME" and caught.value.exit_status == 2


@pytest.mark.parametrize("runtime, precision", BFLOAT16)
def test_bfloat16_that_the_record_offers_is_computed_in_bfloat16(
    loaded: bundle.Bundle, runtime: RuntimeName, precision: Precision
) -> None:
    volume, _, k = maker.stack_with_spot("axial")
    classifier = Classifier(offering(loaded, runtime, precision), "cpu", precision, runtime=runtime)
    result, exact = classifier.classify(volume), Classifier(loaded, "cpu", runtime=runtime).classify(volume)
    assert result.provenance["precision"] == precision and result.slices.best[k] == 1
    assert np.abs(result.slices.logits - exact.slices.logits).max() > 0  # the wish reached the processor


def test_openvino_is_told_its_precision(loaded: bundle.Bundle) -> None:
    openvino = pytest.importorskip("openvino")
    for precision, expected in (("float32", openvino.Type.f32), ("bfloat16", openvino.Type.bf16)):
        if precision == "bfloat16" and "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            continue
        runtime = openvino_runtime.OpenVinoRuntime(loaded.onnx, precision)
        assert runtime._model.get_property("INFERENCE_PRECISION_HINT") == expected


def offering(loaded: bundle.Bundle, runtime: str, precision: str) -> bundle.Bundle:
    """The bundle with a record that offers a reduced precision, its answers taken to be those in float32."""
    entry = {"runtime": runtime, "device": "cpu", "precision": precision, "offered": True, "reason": ""}
    measured = {"images": 200, "groups": 20, "same_class": 1.0, "calibration_error_change": 0.0}
    record = {"parity": [], "reduced": [entry | measured | {"evidence_correlation": 1.0}]}
    answers = {**loaded.selftest, f"logits.{runtime}.{precision}": loaded.selftest["logits"]}
    graph = loaded.onnx if precision == "int8" else None
    return replace(loaded, manifest={**loaded.manifest, "agreement": record}, selftest=answers, onnx_int8=graph)
