"""Torch as a runtime: tensors that fit, memory, precision, torch.compile."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import spot_bundle as maker
from MedImgClassifierLib.engine import bundle
from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.errors import Refusal

torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def loaded(spot_bundle: Path) -> bundle.Bundle:
    return bundle.load(spot_bundle)


@pytest.mark.parametrize("words", ["DefaultCPUAllocator: can't allocate memory", "MPS backend out of memory"])
def test_memory_that_torch_did_not_get_is_status_5(
    loaded: bundle.Bundle, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    def full(*_arguments: object) -> None:
        raise RuntimeError(words)

    classifier = Classifier(loaded, "cpu", runtime="torch")
    monkeypatch.setattr(classifier.runtime, "_encode", full)
    with pytest.raises(Refusal) as caught:
        classifier.classify(maker.stack_with_spot("axial")[0])
    assert caught.value.code == "RESOURCE_MEMORY" and caught.value.exit_status == 5


def test_weights_of_another_network_are_refused(loaded: bundle.Bundle) -> None:
    wrong = {name: tensor for name, tensor in loaded.weights.items() if not name.startswith("body.3")}
    with pytest.raises(Refusal, match="missing tensors"):
        Classifier(replace(loaded, weights=wrong), "cpu", runtime="torch")
    with pytest.raises(Refusal, match="BUNDLE_WEIGHTS"):
        Classifier(replace(loaded, network_options={"widths": [4], "depth": 3}), "cpu", runtime="torch")


@pytest.mark.parametrize("widths", [[-1, 4, 4, 4], [10**9, 4, 4, 4], [4.0, 4, 4, 4], [True, 4, 4, 4], [4] * 9, "4444"])
def test_network_options_that_no_network_has_are_refused_before_it_is_built(
    loaded: bundle.Bundle, widths: object
) -> None:
    options = {"widths": widths, "blocks": [1, 1, 1, 1]}
    with pytest.raises(Refusal, match=r"BUNDLE_WEIGHTS.*whole numbers"):
        Classifier(replace(loaded, network_options=options), "cpu", runtime="torch")


def test_a_device_that_is_not_there_is_a_usage_error(loaded: bundle.Bundle) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(Refusal) as caught:
        Classifier(loaded, "cuda")
    assert caught.value.code == "USAGE_DEVICE_MISSING" and caught.value.exit_status == 2


def test_a_compiled_network_answers_as_the_eager_one(loaded: bundle.Bundle) -> None:
    volume = maker.stack_with_spot("axial")[0]
    try:
        compiled = Classifier(loaded, "cpu", runtime="torch-compile", batch=4)
    except Refusal as refusal:  # it needs a C++ compiler
        assert refusal.code == "USAGE_RUNTIME" and "torch-compile" in str(refusal)
        pytest.skip(str(refusal))
    one, other = compiled.classify(volume), Classifier(loaded, "cpu", runtime="torch").classify(volume)
    assert one.provenance["runtime"] == "torch-compile"
    np.testing.assert_allclose(one.slices.logits, other.slices.logits, rtol=1e-5, atol=1e-5)
    assert one.evidence is not None and other.evidence is not None
    np.testing.assert_allclose(one.evidence.maps, other.evidence.maps, atol=1e-5)
