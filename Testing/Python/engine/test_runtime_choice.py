"""Which runtime is taken, what is passed over and why, and what is refused: with runtimes that the test makes up."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from MedImgClassifierLib.engine import bundle, runtime_choice, selftest
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.runtime_choice import choose
from MedImgClassifierLib.engine.runtimes import Encoded, RuntimeUnusable


class Answering:
    """A runtime that answers the self-test with the maker's logits, moved by `off`."""

    def __init__(self, loaded: bundle.Bundle, name: str, device: str, precision: str, off: float) -> None:
        self.name, self.device, self.precision = name, device, precision
        wanted = loaded.selftest["logits"].astype(np.float64) + off * np.array([[1, -1]])
        self._features = np.linalg.lstsq(loaded.head.weight, (wanted - loaded.head.bias).T, rcond=None)[0].T

    def encode(self, images: Any, maps: bool) -> Encoded:
        return Encoded(self._features.astype(np.float32), None)


class World:
    """What a computer has: installed runtimes, GPU drivers, broken ones (with the reason) and lying ones (by how much
    their logits are off)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.installed = {"openvino", "onnxruntime", "torch"}
        self.drivers: list[str] = []
        self.broken: dict[str, Exception] = {}
        self.off: dict[str, float] = {}
        self.loaded: list[tuple[str, str]] = []
        monkeypatch.setattr(runtime_choice, "installed", lambda name: name.removesuffix("-compile") in self.installed)
        monkeypatch.setattr(runtime_choice, "gpu_drivers", lambda: list(self.drivers))
        monkeypatch.setattr(runtime_choice, "_opened", self._opened)

    def _opened(self, loaded: bundle.Bundle, name: str, device: str, precision: str, threads: object) -> Answering:
        self.loaded.append((name, device))
        if name in self.broken:
            raise self.broken[name]
        return Answering(loaded, name, device, precision, self.off.get(name, 0.0))


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture
def loaded(spot_bundle: Path) -> bundle.Bundle:
    """Two labels whose logits differ by less than one, so that a small move shows in the probabilities."""
    made = bundle.load(spot_bundle)
    logits = np.array([[0.3, -0.2], [-0.1, 0.2], [0.0, 0.0005]], np.float32)
    head = replace(made.head, weight=np.array([[1, 0, 0, 0], [0, 1, 0, 0]], np.float32), bias=np.zeros(2, np.float32))
    return replace(made, selftest={**made.selftest, "logits": logits}, head=head)


def with_record(loaded: bundle.Bundle, **record: Any) -> bundle.Bundle:
    return replace(loaded, manifest={**loaded.manifest, "agreement": {"parity": [], "reduced": [], **record}})


def offer(runtime: str, precision: str, offered: bool = True, reason: str = "") -> dict[str, Any]:
    return {"runtime": runtime, "device": "cpu", "precision": precision, "offered": offered, "reason": reason}


def test_on_the_cpu_the_fastest_installed_runtime_is_taken(world: World, loaded: bundle.Bundle) -> None:
    taken = []
    for missing in ("openvino", "onnxruntime", ""):
        taken.append(choose(loaded).runtime.name)
        world.installed.discard(missing)
    assert taken == ["openvino", "onnxruntime", "torch"]
    why = choose(loaded).why
    assert "torch on cpu" in why and "openvino on cpu is not installed" in why and "no GPU driver" in why


def test_a_gpu_comes_first_and_nothing_looks_for_one_without_its_driver(world: World, loaded: bundle.Bundle) -> None:
    assert choose(loaded).runtime.device == "cpu"
    assert {device for _, device in world.loaded} == {"cpu"}
    world.drivers = ["cuda"]
    chosen = choose(loaded).runtime
    assert (chosen.name, chosen.device) == ("torch", "cuda")
    assert choose(loaded, device="cpu").runtime.name == "openvino"


def test_a_network_whose_evidence_needs_torch_tries_torch_first(
    world: World, loaded: bundle.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    info = replace(loaded.network_info, evidence="last_block")
    monkeypatch.setattr(bundle, "ENCODERS", {loaded.network: info})
    chosen = choose(loaded)
    assert chosen.runtime.name == "torch" and "evidence needs it" in chosen.why
    assert choose(loaded, "openvino").runtime.name == "openvino"
    world.installed.discard("torch")
    assert choose(loaded).runtime.name == "openvino"


def test_a_broken_runtime_is_passed_over_with_its_reason(world: World, loaded: bundle.Bundle) -> None:
    world.broken["openvino"] = ImportError("libtbb.so.12: cannot open shared object file")
    chosen = choose(loaded)
    assert chosen.runtime.name == "onnxruntime"
    assert "openvino on cpu does not work here (ImportError: libtbb.so.12" in chosen.why


def test_a_runtime_that_answers_otherwise_is_passed_over(world: World, loaded: bundle.Bundle) -> None:
    world.off["openvino"] = 0.01
    chosen = choose(loaded)
    assert chosen.runtime.name == "onnxruntime" and "openvino on cpu gives other answers" in chosen.why


@pytest.mark.parametrize("off, passes", [(0.0009, True), (0.0011, False)])
def test_a_logit_may_move_by_a_thousandth(world: World, loaded: bundle.Bundle, off: float, passes: bool) -> None:
    world.off = {"openvino": off}  # turns the third image, which led by too little to count
    assert (choose(loaded).runtime.name == "openvino") == passes


@pytest.mark.parametrize("off, passes", [(0.0015, True), (0.0025, False)])
def test_in_reduced_precision_a_probability_may_move_by_a_thousandth(
    world: World, loaded: bundle.Bundle, off: float, passes: bool
) -> None:
    """Moving two logits apart by 2 * off moves a probability near one half by off / 2."""
    offered = with_record(loaded, reduced=[offer("openvino", "bfloat16")])
    answers = {**loaded.selftest, "logits.openvino.bfloat16": loaded.selftest["logits"]}
    world.off = {"openvino": off}
    if passes:
        assert choose(replace(offered, selftest=answers), precision="bfloat16").runtime.name == "openvino"
    else:
        with pytest.raises(Refusal, match="gives other answers"):
            choose(replace(offered, selftest=answers), precision="bfloat16")


def test_a_bundle_is_refused_only_when_no_runtime_gives_its_answers(world: World, loaded: bundle.Bundle) -> None:
    world.off = {"openvino": 1, "onnxruntime": 1}
    assert choose(loaded).runtime.name == "torch"
    world.off["torch"] = 1
    with pytest.raises(Refusal) as caught:
        choose(loaded)
    assert caught.value.code == "BUNDLE_SELFTEST" and caught.value.exit_status == 4
    assert all(name in str(caught.value) for name in ("openvino", "onnxruntime", "torch"))


def test_a_miss_in_the_record_is_passed_over_without_trying(world: World, loaded: bundle.Bundle) -> None:
    missed = with_record(loaded, parity=[{"runtime": "openvino", "device": "cpu", "passed": False}])
    assert choose(missed).runtime.name == "onnxruntime"
    assert ("openvino", "cpu") not in world.loaded


def test_without_an_onnx_form_only_torch_runs_and_the_reason_says_how_to_make_one(
    world: World, loaded: bundle.Bundle
) -> None:
    plain = replace(loaded, onnx=None)
    chosen = choose(plain)
    assert chosen.runtime.name == "torch" and "medimg export" in chosen.why
    world.installed = {"onnxruntime"}
    with pytest.raises(Refusal) as caught:
        choose(plain)
    assert caught.value.code == "RESOURCE_MISSING_LIBRARY" or "medimg export" in str(caught.value)


def test_with_nothing_installed_the_light_runtime_is_named(world: World, loaded: bundle.Bundle) -> None:
    world.installed = set()
    with pytest.raises(Refusal, match="onnxruntime") as caught:
        choose(loaded)
    assert caught.value.code == "RESOURCE_MISSING_LIBRARY" and caught.value.exit_status == 5
    with pytest.raises(Refusal, match=r"medimgclassifier\[torch\]"):
        choose(replace(loaded, onnx=None))


@pytest.mark.parametrize("name, extra", [("openvino", "[openvino]"), ("torch", "[torch]"), ("onnxruntime", "")])
def test_a_named_runtime_that_is_missing_says_what_to_install(
    world: World, loaded: bundle.Bundle, name: str, extra: str
) -> None:
    world.installed.discard(name)
    with pytest.raises(Refusal) as caught:
        choose(loaded, name)
    assert caught.value.code == "RESOURCE_MISSING_LIBRARY" and f"medimgclassifier{extra}'" in str(caught.value)


def test_a_named_runtime_is_never_replaced_by_another(world: World, loaded: bundle.Bundle) -> None:
    world.broken["openvino"] = RuntimeError("no plugin")
    with pytest.raises(Refusal) as caught:
        choose(loaded, "openvino")
    assert caught.value.code == "USAGE_RUNTIME" and caught.value.exit_status == 2
    with pytest.raises(Refusal, match="does not run on the device mps"):
        choose(loaded, "openvino", "mps")
    assert {name for name, _ in world.loaded} == {"openvino"}


@pytest.mark.parametrize("broken", [RuntimeError("no plugin"), SystemExit(3), OSError("no file")])
def test_a_library_that_ends_the_program_is_passed_over_like_a_broken_one(
    world: World, loaded: bundle.Bundle, broken: BaseException
) -> None:
    world.broken["openvino"] = broken
    assert choose(loaded).runtime.name == "onnxruntime"
    for name in ("onnxruntime", "torch"):
        world.broken[name] = broken
    with pytest.raises(Refusal) as caught:
        choose(loaded)
    assert caught.value.code == "RESOURCE_NO_RUNTIME" and type(broken).__name__ in caught.value.message()
    assert "--runtime auto" not in caught.value.message()


def test_no_more_threads_are_started_than_there_are_processors(
    world: World, loaded: bundle.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int | None] = []
    opened = runtime_choice._opened

    def noting(*given: Any) -> Any:
        seen.append(given[-1])
        return opened(*given)

    monkeypatch.setattr(runtime_choice, "_opened", noting)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    for wish in (None, 1, 4, 10**20):
        choose(loaded, threads=wish)
    assert seen == [None, 1, 4, 4]


def test_reduced_precision_needs_an_offer_of_the_record(world: World, loaded: bundle.Bundle) -> None:
    with pytest.raises(Refusal, match="agreement record does not have it") as caught:
        choose(loaded, precision="bfloat16")
    assert caught.value.code == "USAGE_PRECISION_REFUSED" and caught.value.exit_status == 2
    not_offered = with_record(loaded, reduced=[offer("openvino", "bfloat16", False, "same class on 98 %")])
    with pytest.raises(Refusal, match="same class on 98 %"):
        choose(not_offered, precision="bfloat16")
    offered = with_record(loaded, reduced=[offer("torch", "bfloat16")])
    answers = {**loaded.selftest, "logits.torch.bfloat16": loaded.selftest["logits"]}
    assert choose(replace(offered, selftest=answers), precision="bfloat16").runtime.name == "torch"
    compiled = choose(replace(offered, selftest=answers), "torch-compile", precision="bfloat16")
    assert compiled.runtime.name == "torch-compile"


def test_reduced_precision_must_give_the_makers_own_answers_in_it(world: World, loaded: bundle.Bundle) -> None:
    offered = with_record(loaded, reduced=[offer("openvino", "bfloat16")])
    answers = loaded.selftest["logits"] + np.array([[0.1, 0]], np.float32)
    moved = replace(offered, selftest={**loaded.selftest, "logits.openvino.bfloat16": answers})
    with pytest.raises(Refusal, match="gives other answers") as caught:
        choose(moved, precision="bfloat16")
    assert caught.value.code == "USAGE_PRECISION_REFUSED"


def test_a_precision_that_a_runtime_does_not_have_is_refused(world: World, loaded: bundle.Bundle) -> None:
    offered = with_record(loaded, reduced=[offer("torch", "int8")])
    with pytest.raises(Refusal, match="torch on cpu does not compute in int8"):
        choose(offered, "torch", precision="int8")


def test_every_runtime_is_tried_for_verify(world: World, loaded: bundle.Bundle) -> None:
    world.off["onnxruntime"] = 1
    trials = list(runtime_choice.try_all(loaded))
    passed = {(t.runtime, t.precision) for t in trials if t.difference is not None}
    assert passed == {("openvino", "float32"), ("torch", "float32")}
    assert {t.precision for t in trials} == {"float32", "bfloat16", "int8"}
    (missed,) = [t for t in trials if (t.runtime, t.precision) == ("onnxruntime", "float32")]
    assert "other answers" in missed.reason


def test_preprocessing_that_makes_other_inputs_refuses_whatever_the_runtime(
    world: World, loaded: bundle.Bundle
) -> None:
    inputs = loaded.selftest["inputs"] + np.float32(1e-3)
    with pytest.raises(Refusal, match="d input") as caught:
        choose(replace(loaded, selftest={**loaded.selftest, "inputs": inputs}))
    assert caught.value.code == "BUNDLE_SELFTEST"


def test_a_damaged_library_is_reported_not_raised(spot_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("onnxruntime") is None:
        pytest.skip("onnxruntime is not installed")
    import onnxruntime

    def damaged(*_arguments: object, **_settings: object) -> None:
        raise OSError("libonnxruntime.so: undefined symbol")

    monkeypatch.setattr(onnxruntime, "InferenceSession", damaged)
    with pytest.raises(Refusal, match="undefined symbol") as caught:
        choose(bundle.load(spot_bundle), "onnxruntime")
    assert caught.value.code == "USAGE_RUNTIME"


def test_other_answers_and_an_unusable_runtime_are_told_apart() -> None:
    assert not issubclass(selftest.OtherAnswers, RuntimeUnusable)
