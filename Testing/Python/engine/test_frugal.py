"""Where memory is short: smaller parts, then the CPU, and the result says so. Memory is that of a made-up device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spot_bundle as maker
from MedImgClassifierLib.engine import bundle, classifier, runtime_choice
from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.frugal import FrugalRuntime
from MedImgClassifierLib.engine.result import Classification
from MedImgClassifierLib.engine.runtimes import Encoded, Runtime


class Holding:
    """A runtime on a device whose memory holds so many images at a time."""

    def __init__(self, runtime: Runtime, images: int, device: Any = "cuda") -> None:
        self.name, self.precision, self.device = runtime.name, runtime.precision, device
        self.sizes: list[int] = []
        self._runtime, self._images = runtime, images

    def encode(self, images: Any, maps: bool) -> Encoded:
        self.sizes.append(len(images))
        if len(images) > self._images:
            raise Refusal("RESOURCE_MEMORY", device=self.device, reason="out of memory")
        return self._runtime.encode(images, maps)


@pytest.fixture(scope="module")
def loaded(spot_bundle: Path) -> bundle.Bundle:
    return bundle.load(spot_bundle)


def short_of_memory(
    loaded: bundle.Bundle, monkeypatch: pytest.MonkeyPatch, holds: int, device: Any = "auto", cpu_works: bool = True
) -> tuple[Classifier, Holding]:
    """A classifier on a 'GPU' that holds so many images."""
    real = runtime_choice.choose(loaded, "onnxruntime", "cpu")
    gpu = Holding(real.runtime, holds)

    def choose(_bundle: object, _runtime: object, on: str, *_: object) -> runtime_choice.Choice:
        if on == "cpu" and not cpu_works:
            raise Refusal("USAGE_DEVICE_MISSING", device="cpu", reason="made up")
        return real if on == "cpu" else real._replace(runtime=gpu)

    monkeypatch.setattr(classifier, "choose", choose)
    return Classifier(loaded, device, batch=8), gpu


def said(result: Classification) -> list[str]:
    return [finding.message for finding in result.findings if finding.code.startswith("MEMORY_")]


@pytest.mark.parametrize("evidence", ["network", "none", "occlusion"])
def test_a_batch_that_does_not_fit_is_halved_and_answers_alike(
    loaded: bundle.Bundle, monkeypatch: pytest.MonkeyPatch, evidence: Any
) -> None:
    stack = maker.stack_with_spot("axial")[0]
    wanted = Classifier(loaded, "cpu", batch=8, runtime="onnxruntime").classify(stack, evidence=evidence)
    made, gpu = short_of_memory(loaded, monkeypatch, holds=2)
    result = made.classify(stack, evidence=evidence)
    np.testing.assert_allclose(result.slices.logits, wanted.slices.logits, atol=1e-5)
    if wanted.evidence is not None:
        assert result.evidence is not None
        np.testing.assert_allclose(result.evidence.maps, wanted.evidence.maps, rtol=1e-5, atol=1e-4)
    assert said(result) == ["memory was short: 2 slices at a time on cuda"]
    assert (result.provenance["device"], said(wanted)) == ("cuda", [])
    halved = len(gpu.sizes)
    made.classify(stack, evidence=evidence)
    assert max(gpu.sizes[halved:]) > 2  # the next case is tried whole again


def test_what_not_even_fits_alone_goes_on_on_the_cpu(loaded: bundle.Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = maker.stack_with_spot("axial")[0]
    made, _ = short_of_memory(loaded, monkeypatch, holds=0)
    result = made.classify(stack)
    assert result.provenance["device"] == "cpu" and result.evidence is not None
    assert said(result) == ["the memory of cuda was full: onnxruntime on the CPU went on"]


@pytest.mark.parametrize("wish", [{"device": "cuda"}, {"cpu_works": False}])
def test_a_device_asked_for_by_name_is_not_left(
    loaded: bundle.Bundle, monkeypatch: pytest.MonkeyPatch, wish: dict[str, Any]
) -> None:
    made, gpu = short_of_memory(loaded, monkeypatch, 0, **wish)
    with pytest.raises(Refusal) as refused:
        made.classify(maker.stack_with_spot("axial")[0])
    assert refused.value.code == "RESOURCE_MEMORY" and "cuda" in refused.value.message()
    assert gpu.sizes[-1] == 1


def test_another_failure_is_not_taken_for_full_memory(loaded: bundle.Bundle) -> None:
    class Refusing(Holding):
        def encode(self, images: Any, maps: bool) -> Encoded:
            raise Refusal("RESOURCE_RUNTIME_FAILED", runtime="x", device="cuda", reason="y")

    runtime = Refusing(runtime_choice.choose(loaded, "onnxruntime", "cpu").runtime, 1)
    with pytest.raises(Refusal, match="RUNTIME_FAILED"):
        FrugalRuntime(runtime, None).encode(np.zeros((4, 1, 64, 64), np.float32), False)
