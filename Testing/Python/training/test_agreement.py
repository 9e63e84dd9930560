"""Parity and agreement: what is measured, and that a runtime which answers otherwise is seen and not offered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from medimg_training import agreement, onnx_form
from medimg_training.agreement import Answers, Parity, Sample, calibration_error, evidence_correlation
from medimg_training.cache import PreparedSet
from medimg_training.fit import fit
from medimg_training.onnx_form import OnnxForm, Roles, Trained
from medimg_training.recipe import Recipe
from medimg_training.roles import fold_rows
from medimg_training.split import Fold
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Pad, Resize, ZScore
from MedImgClassifierLib.engine.runtimes import Encoded, RuntimeUnusable

CLASSES = ("low", "middle", "high")
SIZE = 16
SPEC = InputSpec((ChannelSpec("image"),), (Resize(SIZE, SIZE),), (ZScore(100, 40, "fixed"),))
EACH = 210  # images of a role
TINY = {"widths": (8, 8, 8, 8), "blocks": (1, 1, 1, 1)}


def bars(n: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    labels = np.arange(n) % len(CLASSES)
    images = random.normal(100, 20, (n, 1, SIZE, SIZE)).astype(np.float32)
    for image, label in zip(images, labels, strict=True):
        image[0, label * SIZE // 3 : label * SIZE // 3 + 3] += 80
    return images, labels


@pytest.fixture(scope="module")
def roles() -> Roles:
    """Fit and held-out images in groups of three, and as many that no measure may see: they are not numbers."""
    images, labels = bars(3 * EACH)
    images[2 * EACH :] = np.nan
    n = len(labels)
    groups = tuple(f"g{k // 3}" for k in range(n))
    names = tuple(f"s{k}" for k in range(n))
    prepared = PreparedSet(images, labels, CLASSES, names, (0,) * n, groups, ("arbitrary",) * n, ("",) * n)
    fit, held_out = (tuple(dict.fromkeys(groups[start : start + EACH])) for start in (0, EACH))
    rows = fold_rows(prepared, Fold(fit, held_out))
    return Roles(prepared, rows.fit, rows.select)


def first(rows: Any, count: int) -> Any:
    """The first rows, in the same role."""
    return rows.part(np.arange(len(rows)) < count)


@pytest.fixture(scope="module")
def trained(roles: Roles, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    choices: dict[str, Any] = {"network_options": TINY, "epochs": 8, "batch": 16, "learning_rate": 0.02}
    recipe = Recipe.of("adamw", "narrow_resnet", **choices)
    none = first(roles.held_out, 0)
    result = fit(recipe, roles.prepared, SPEC, roles.fit, none, tmp_path_factory.mktemp("fit"), device="cpu")
    weights = {name: tensor.contiguous().numpy() for name, tensor in result.module.state_dict().items()}
    return Trained("narrow_resnet", TINY, weights, SPEC)


@pytest.fixture(scope="module")
def selftest_inputs() -> np.ndarray:
    return np.random.default_rng(1).normal(0, 1, (3, 1, SIZE, SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def made(trained: Trained, roles: Roles, selftest_inputs: np.ndarray) -> OnnxForm:
    return onnx_form.make(trained, roles, selftest_inputs)


@pytest.fixture
def make_again(
    made: OnnxForm, trained: Trained, roles: Roles, selftest_inputs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., OnnxForm]:
    """`onnx_form.make` with the forms that were made before, changed by `spoil` and `spoil_int8`."""

    def make(
        spoil: Callable[[onnx.ModelProto], object] = lambda model: None,
        spoil_int8: Callable[[onnx.ModelProto], object] = lambda model: None,
        roles: Roles = roles,
        **choices: Any,
    ) -> OnnxForm:
        monkeypatch.setattr(onnx_form, "to_onnx", lambda *arguments: changed(made.graph, spoil))
        monkeypatch.setattr(onnx_form, "to_int8", lambda *arguments: changed(made.int8, spoil_int8))
        return onnx_form.make(trained, roles, selftest_inputs, **choices)

    return make


def changed(graph: bytes | None, spoil: Callable[[onnx.ModelProto], object]) -> bytes:
    assert graph is not None
    model = onnx.load_from_string(graph)
    spoil(model)
    return bytes(model.SerializeToString())


def scale(model: onnx.ModelProto, of: str, by: float, which: int = 0) -> None:
    """Multiply a constant of the first node of some kind."""
    node = next(node for node in model.graph.node if node.op_type == of)
    names = {constant.name: constant for constant in model.graph.initializer}
    used = [names[name] for name in node.input if name in names]
    array = numpy_helper.to_array(used[which])
    used[which].CopyFrom(numpy_helper.from_array((array * np.float32(by)).astype(array.dtype), used[which].name))


def named(rows: tuple[Any, ...], *which: str) -> Any:
    return next(row for row in rows if all(word in (row.runtime, getattr(row, "precision", "")) for word in which))


def test_a_faithful_form_passes_everywhere_and_is_offered(made: OnnxForm) -> None:
    assert made.graph and made.int8 and made.notes == ()
    assert [(row.runtime, row.passed) for row in made.parity] == [("onnxruntime", True), ("openvino", True)]
    for row in made.parity:
        assert (row.selftest_images, row.images, row.groups) == (3, agreement.LEAST_IMAGES, 140)
        assert not row.gated and row.images_off == 0
        assert row.difference <= row.allowed == 1e-5 * max(1, row.largest_logit)
    named_rows = {(row.runtime, row.precision): row for row in made.agreement}
    assert set(named_rows) == set(onnx_form.REDUCED)
    for row in made.agreement:
        assert row.offered and (row.images, row.groups) == (EACH, 70)
        assert row.same_class is not None and row.same_class > 0.995
        assert row.evidence_correlation is not None and 0.98 < row.evidence_correlation < 1
        assert row.calibration_error_change != 0
    assert set(made.answers) == {f"logits.{name}.{precision}" for name, precision in onnx_form.REDUCED}
    assert {answers.shape for answers in made.answers.values()} == {(3, 3)}
    assert {answers.dtype for answers in made.answers.values()} == {np.dtype(np.float32)}


def test_the_record_is_what_the_manifest_asks_for(made: OnnxForm) -> None:
    import json

    import jsonschema

    from MedImgClassifierLib import resources

    schema = json.loads(resources.path("Schemas/bundle.schema.json").read_text(encoding="utf-8"))
    own = {**schema, **schema["properties"]["agreement"], "title": "the record"}
    jsonschema.validate(made.record(), own)
    assert made.record()["measured_on"]["versions"].keys() >= {"torch", "onnxruntime", "openvino"}
    assert json.loads(json.dumps(made.record(), allow_nan=False)) == made.record()
    assert "| openvino int8 | 210 (70) |" in made.to_markdown()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda model: scale(model, "Conv", 1.001),
        lambda model: setattr(next(n for n in model.graph.node if n.op_type == "Relu"), "op_type", "Sigmoid"),
        lambda model: scale(model, "MatMul", 1.001),  # the product of the class maps
        lambda model: scale(model, "Conv", np.nan),
    ],
    ids=["weights", "activation", "class maps", "not a number"],
)
def test_a_graph_that_computes_something_else_is_not_written(
    make_again: Callable[..., OnnxForm], spoil: Callable[[onnx.ModelProto], object]
) -> None:
    form = make_again(spoil)
    assert form.graph is None and form.int8 is None
    assert [row.passed for row in form.parity] == [False, False]
    assert "no runtime" in form.notes[0]
    assert [(row.runtime, row.offered) for row in form.agreement] == [
        ("torch", True),
        ("openvino", False),
        ("onnxruntime", False),
        ("openvino", False),
    ]
    assert named(form.agreement, "onnxruntime", "int8").reason == "not measured: there is no ONNX form"
    assert form.record()


def test_a_graph_whose_own_logits_are_wrong_is_not_written(make_again: Callable[..., OnnxForm]) -> None:
    form = make_again(lambda model: scale(model, "Gemm", 1.01))
    assert form.graph is None and [row.passed for row in form.parity] == [True, True]
    assert "logits" in form.notes[0]


class Twisted:
    """A runtime that answers otherwise: features and maps changed by functions."""

    def __init__(self, runtime: Any, features: Callable[..., Any], maps: Callable[..., Any] = lambda x: x) -> None:
        self.runtime, self.features, self.maps = runtime, features, maps
        self.name, self.device, self.precision = runtime.name, runtime.device, runtime.precision

    def encode(self, images: np.ndarray, maps: bool) -> Encoded:
        found = self.runtime.encode(images, maps)
        return Encoded(self.features(found.features), self.maps(found.class_maps))


def twist(monkeypatch: pytest.MonkeyPatch, name: str, precision: str, **by: Callable[..., Any]) -> None:
    faithful = onnx_form.LIGHT[name]

    def loaded(graph: bytes, wanted: Any) -> Any:
        runtime = faithful(graph, wanted)
        return Twisted(runtime, **{"features": lambda x: x, **by}) if wanted == precision else runtime

    monkeypatch.setattr(onnx_form, "LIGHT", {**onnx_form.LIGHT, name: loaded})


def test_one_runtime_that_misses_is_recorded_and_the_other_is_kept(
    make_again: Callable[..., OnnxForm], monkeypatch: pytest.MonkeyPatch
) -> None:
    twist(monkeypatch, "openvino", "float32", features=lambda x: x * 1.01)
    form = make_again()
    assert form.graph is not None
    assert [(row.runtime, row.passed) for row in form.parity] == [("onnxruntime", True), ("openvino", False)]
    assert "misses already in float32" in named(form.agreement, "openvino", "bfloat16").reason
    assert named(form.agreement, "onnxruntime", "int8").offered and form.int8 is not None
    assert "logits.openvino.int8" not in form.answers


@pytest.mark.parametrize(
    ("by", "reason"),
    [
        ({"features": lambda x: np.roll(x, 3, axis=1)}, "same class"),
        ({"features": lambda x: x * 0.4}, "calibration error"),
        ({"maps": lambda x: x[..., ::-1, :]}, "evidence"),
    ],
)
def test_a_reduced_precision_that_misses_one_measure_is_not_offered(
    make_again: Callable[..., OnnxForm], monkeypatch: pytest.MonkeyPatch, by: dict[str, Any], reason: str
) -> None:
    twist(monkeypatch, "onnxruntime", "int8", **by)
    form = make_again()
    row = named(form.agreement, "onnxruntime", "int8")
    assert not row.offered and reason in row.reason
    assert ("evidence" in row.reason) == (reason == "evidence")  # maps are of the class that float32 calls
    assert named(form.agreement, "openvino", "int8").offered and form.int8 is not None
    assert "logits.onnxruntime.int8" not in form.answers and "logits.openvino.int8" in form.answers


def test_int8_that_no_runtime_may_use_is_not_written(make_again: Callable[..., OnnxForm]) -> None:
    form = make_again(spoil_int8=lambda model: scale(model, "QuantizeLinear", 1000))
    assert form.int8 is None and form.graph is not None
    reasons = [row.reason for row in form.agreement if row.precision == "int8"]
    assert len(reasons) == 2 and all("same class" in reason for reason in reasons)
    assert [key for key in form.answers if "int8" in key] == []


def test_int8_may_be_left_out(make_again: Callable[..., OnnxForm]) -> None:
    form = make_again(int8=False)
    assert form.int8 is None and {row.precision for row in form.agreement} == {"bfloat16"}


def test_too_few_images_to_check_on_give_no_form(make_again: Callable[..., OnnxForm], roles: Roles) -> None:
    form = make_again(roles=Roles(roles.prepared, first(roles.fit, 100), first(roles.held_out, 99)))
    assert form.graph is None and form.int8 is None and form.parity == ()
    assert form.notes == ("No ONNX form: 199 images to check it on, 200 are needed.",)
    assert "not measured: 99 held-out images, 200 are needed" in {row.reason for row in form.agreement}


def test_images_of_any_size_give_no_form(trained: Trained, roles: Roles, selftest_inputs: np.ndarray) -> None:
    free = replace(trained, spec=replace(trained.spec, geometry=(Pad(SIZE, SIZE),)))
    form = onnx_form.make(free, roles, selftest_inputs)
    assert form.graph is None and form.int8 is None and "fixes none" in form.notes[0]


def test_without_held_out_groups_only_float32_is_offered(make_again: Callable[..., OnnxForm], roles: Roles) -> None:
    form = make_again(roles=roles._replace(held_out=first(roles.held_out, 0)))
    assert form.graph is not None and form.int8 is None
    assert {row.reason for row in form.agreement} == {"not measured: no held-out groups"}
    assert [row.passed for row in form.parity] == [True, True]


def test_a_runtime_that_cannot_be_used_is_named_and_the_rest_is_measured(
    make_again: Callable[..., OnnxForm], monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(graph: bytes, precision: Any) -> Any:
        if precision == "int8":
            raise RuntimeUnusable("needs a processor with int8 dot products (VNNI) for int8")
        raise OSError("a library is missing")

    monkeypatch.setattr(onnx_form, "LIGHT", {**onnx_form.LIGHT, "openvino": damaged})
    form = make_again()
    assert form.notes == ("Not measured: openvino does not work here (OSError: a library is missing).",)
    assert [row.runtime for row in form.parity] == ["onnxruntime"] and form.graph is not None
    assert "VNNI" in named(form.agreement, "openvino", "int8").reason


def test_a_runtime_that_is_not_installed_is_named(
    make_again: Callable[..., OnnxForm], monkeypatch: pytest.MonkeyPatch
) -> None:
    find = onnx_form.importlib.util.find_spec
    monkeypatch.setattr(onnx_form.importlib.util, "find_spec", lambda name: None if name == "openvino" else find(name))
    form = make_again()
    assert "openvino is not installed" in form.notes[0]
    assert named(form.agreement, "openvino", "bfloat16").reason == "not measured: openvino is not installed"


def test_calibration_uses_the_temperature(trained: Trained, roles: Roles) -> None:
    sample = Sample(roles.prepared, roles.held_out.indices, SPEC)
    runtime = trained.on_torch()
    exact = agreement.ask_called(runtime, trained.head, sample.batches())
    half = Answers(exact.logits * 0.5, exact.maps)
    cold = agreement.agreement(runtime, half, exact, sample).calibration_error_change
    hot = agreement.agreement(runtime, half, exact, sample, temperature=100.0).calibration_error_change
    assert cold is not None and hot is not None and cold > 0.01
    assert hot != pytest.approx(cold, abs=0.005)


def test_batches_change_their_size_and_hold_every_image_once(roles: Roles) -> None:
    sample = Sample(roles.prepared, roles.held_out.indices[:30], SPEC)
    batches = list(sample.batches())
    assert [len(batch) for batch in batches] == [1, 3, 16, 10]
    assert np.array_equal(np.concatenate(batches), roles.prepared.inputs(roles.held_out.indices[:30], SPEC))


def test_a_sample_is_spread_over_all_rows(roles: Roles) -> None:
    sample = Sample.spread(roles.prepared, roles.held_out.indices, SPEC, 5)
    assert sample.rows.tolist() == [210, 262, 314, 367, 419]
    everyone = Sample.spread(roles.prepared, roles.held_out.indices, SPEC, 500)
    assert everyone.rows.tolist() == roles.held_out.indices.tolist()


def test_called_maps_are_of_the_wanted_class(trained: Trained, roles: Roles) -> None:
    sample = Sample(roles.prepared, roles.held_out.indices[:20], SPEC)
    runtime = trained.on_torch()
    maps = np.concatenate([answers.maps for answers in agreement.ask(runtime, trained.head, sample.batches())])
    own = agreement.ask_called(runtime, trained.head, sample.batches())
    assert own.maps is not None
    assert np.array_equal(own.maps, maps[np.arange(20), own.logits.argmax(axis=1)])
    wanted = np.arange(20) % 3
    other = agreement.ask_called(runtime, trained.head, sample.batches(), wanted)
    assert other.maps is not None and np.array_equal(other.maps, maps[np.arange(20), wanted])


def test_the_calibration_error_is_that_of_bins_of_equal_width() -> None:
    sure = np.array([0.95, 0.94, 0.96, 0.95, 0.55, 0.55])
    probabilities = np.stack([sure, 1 - sure], axis=1)
    labels = np.array([0, 0, 0, 1, 1, 0])
    by_hand = (4 * abs(3 / 4 - 0.95) + 2 * abs(1 / 2 - 0.55)) / 6
    assert calibration_error(probabilities, labels) == pytest.approx(by_hand)
    assert calibration_error(np.array([[1.0, 0.0]]), np.array([0])) == 0
    # 0.61 and 0.69 share a bin of tenths but not of fifteenths: a right and a wrong call there do not cancel out
    two = np.array([[0.61, 0.39], [0.69, 0.31]])
    assert calibration_error(two, np.array([0, 1])) == pytest.approx((0.39 + 0.69) / 2)


def test_evidence_correlation_is_the_mean_over_images_that_show_a_place() -> None:
    maps = np.random.default_rng(0).normal(size=(4, 3, 3)).astype(np.float32)
    assert evidence_correlation(5 * maps + 2, maps) == pytest.approx(1)
    assert evidence_correlation(np.concatenate([maps[:3], -maps[3:]]), maps) == pytest.approx(0.5)
    other = np.random.default_rng(1).normal(size=(4, 3, 3)).astype(np.float32)
    each = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(maps, other, strict=True)]
    assert evidence_correlation(other, maps) == pytest.approx(np.mean(each))
    flat = maps.copy()
    flat[0] = 1
    assert evidence_correlation(other, flat) == pytest.approx(np.mean(each[1:]))  # shows no place in float32
    assert evidence_correlation(flat, maps) == pytest.approx(3 / 4)  # lost its place
    assert evidence_correlation(maps, np.zeros_like(maps)) is None


def test_parity_allows_a_share_of_the_largest_logit_but_not_less_than_of_one() -> None:
    row = Parity("onnxruntime", "cpu", 3, 200, 10, 50.0, 4.9e-4, 1.0, 9e-5, 0.0, gated=False)
    assert row.passed
    assert not replace(row, difference=5.1e-4).passed
    assert not replace(row, map_difference=2e-4).passed
    assert replace(row, largest_logit=0.1, difference=0.9e-5).passed
    assert not replace(row, largest_logit=0.1, difference=1.1e-5).passed


def test_only_gated_evidence_may_jump_on_few_images_and_not_far() -> None:
    jumped = Parity("onnxruntime", "cpu", 3, 200, 10, 50.0, 1e-5, 1.0, 2e-3, 0.01, gated=True)
    assert jumped.passed
    assert not replace(jumped, gated=False).passed
    assert not replace(jumped, images_off=0.06).passed
    assert not replace(jumped, map_difference=1.1e-2).passed
    assert "1.0 % of images" in jumped.maps_in_words()


def test_images_whose_class_maps_differ_are_counted_one_by_one(trained: Trained, roles: Roles) -> None:
    sample = Sample(roles.prepared, roles.held_out.indices[:20], SPEC)
    runtime = trained.on_torch()
    exact = agreement.ask(runtime, trained.head, sample.batches())
    moved = [Answers(answers.logits, np.array(answers.maps)) for answers in exact]
    assert moved[2].maps is not None
    moved[2].maps[[1, 5], 0, 0, 0] += 1
    row = agreement.parity(runtime, moved, exact, 0, sample, gated=True)
    assert row.images_off == pytest.approx(2 / 20) and row.map_difference == pytest.approx(1, rel=1e-4)


def test_what_is_given_to_be_quantised_is_of_the_fit_role_alone(
    trained: Trained, roles: Roles, selftest_inputs: np.ndarray, made: OnnxForm, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[np.ndarray] = []

    def quantise(graph: bytes, batches: Iterator[np.ndarray]) -> bytes:
        seen.extend(batches)
        assert made.int8 is not None
        return made.int8

    monkeypatch.setattr(onnx_form, "to_onnx", lambda *arguments: made.graph)
    monkeypatch.setattr(onnx_form, "to_int8", quantise)
    onnx_form.make(trained, roles, selftest_inputs)
    assert np.array_equal(np.concatenate(seen), roles.prepared.inputs(roles.fit.indices, SPEC))
