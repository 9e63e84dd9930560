"""Heads as plain arrays: what they answer, what of them a bundle is refused for, and what is said of their evidence."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import spot_bundle as maker
from MedImgClassifierLib.engine import bundle, bundle_files, bundle_weights, runtime_choice, selftest
from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.distance_heads import NearestNeighbourHead, RbfSvmHead, Standardiser
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.heads import StoredHead, read_stored
from MedImgClassifierLib.engine.onnx_runtime import OnnxRuntime
from MedImgClassifierLib.engine.tree_head import BoostingHead

WIDTH = 4  # features of the bright-spot network; only the first is not 0
KINDS = ("rbf_svm", "nearest_neighbours", "boosting")
RUNTIMES = [
    pytest.param(name, marks=pytest.mark.skipif(importlib.util.find_spec(name) is None, reason=f"{name} is missing"))
    for name in ("torch", "onnxruntime", "openvino")
]
STANDARDISER = Standardiser(np.array([0.001, 0, 0, 0]), np.array([1000.0, 1, 1, 1]))


def trees() -> BoostingHead:
    """Two labels, two trees: one splits feature 0 at 0.002 and then feature 1 at 0.5, the other is a leaf."""
    return BoostingHead(
        feature=np.array([0, 0, 1, 0, 0, 0], np.int32),
        threshold=np.array([0.002, 0, 0.5, 0, 0, 0]),
        missing_left=np.array([1, 0, 0, 0, 0, 0], np.uint8),
        left=np.array([1, 1, 3, 3, 4, 5], np.int32),
        right=np.array([2, 1, 4, 3, 4, 5], np.int32),
        value=np.array([0, -1.0, 0, 2.0, 4.0, 0.25]),
        root=np.array([0, 5], np.int32),
        output=np.array([0, 0], np.int32),
        baseline=np.array([0.5]),
        read_features=WIDTH,
    )


def made(kind: str) -> StoredHead:
    """A head for the two labels dark and bright, on the bright-spot network's features."""
    examples = np.array([[-1, 0, 0, 0], [-0.9, 0, 0, 0], [3, 0, 0, 0], [4, 0, 0, 0]])
    if kind == "rbf_svm":
        return RbfSvmHead(STANDARDISER, examples, np.array([[-1.0, -1, 1, 1]]), np.array([-0.1]), 0.05)
    if kind == "nearest_neighbours":
        classes = np.array([0, 0, 1, 1], np.int32)
        return NearestNeighbourHead(
            STANDARDISER, examples.astype(np.float32), classes, np.ones(2), 3, "euclidean", None, 1.0
        )
    return trees()


def features_only(graph: bytes) -> bytes:
    model = onnx.load_from_string(graph)
    kept = [output for output in model.graph.output if output.name == "features"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    return bytes(model.SerializeToString())


def write(folder: Path, head: StoredHead) -> Path:
    """The bright-spot bundle with this head in place of its last layer."""
    spot = bundle.load(maker.MADE)
    assert spot.onnx is not None
    graph = features_only(spot.onnx)
    answers = selftest.make(maker.SPEC, OnnxRuntime(graph), head, "arbitrary")
    manifest = spot.manifest
    return bundle.write(
        folder,
        identity={
            key: manifest[key]
            for key in ("version", "title", "intended_use", "out_of_scope", "licence", "credits", "known_limits")
        }
        | {"id": folder.name},
        labels=maker.LABELS,
        spec=maker.SPEC,
        network=spot.network,
        network_options=spot.network_options,
        weights={**spot.weights, "head.weight": np.zeros((2, WIDTH), np.float32), "head.bias": np.zeros(2, np.float32)},
        selftest=answers,
        selftest_units="arbitrary",
        card="# Bright spot\n",
        training={},
        evaluation=[],
        onnx=graph,
        head=head,
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("heads")
    return {kind: write(folder / kind.replace("_", "-"), made(kind)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_head_comes_back_from_a_bundle_bit_for_bit(written: dict[str, Path], kind: str) -> None:
    loaded, before = bundle.load(written[kind]).head, made(kind)
    assert loaded.kind == kind and (loaded.labels, loaded.features) == (2, WIDTH)
    assert loaded.parameters() == before.parameters()  # type: ignore[attr-defined]
    arrays: dict[str, Any] = loaded.arrays()  # type: ignore[attr-defined]
    assert arrays.keys() == before.arrays().keys()
    for name, array in before.arrays().items():
        assert arrays[name].dtype == array.dtype and arrays[name].tobytes() == array.tobytes(), name
    asked = np.random.default_rng(0).normal(0, 0.01, (50, WIDTH)).astype(np.float32)
    assert loaded.decide(asked).tobytes() == before.decide(asked).tobytes()


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_case_is_classified_on_every_runtime_and_no_map_of_the_network_is_shown(
    written: dict[str, Path], kind: str, runtime: str
) -> None:
    volume, _, k = maker.stack_with_spot("axial")
    classifier = Classifier(bundle.load(written[kind]), "cpu", runtime=runtime, threads=1)
    asked: list[bool] = []
    encode = classifier.runtime.encode
    classifier.runtime.encode = lambda images, maps: asked.append(maps) or encode(images, maps)  # type: ignore
    result = classifier.classify(volume)
    assert result.slices.best.tolist() == [int(n == k) for n in range(len(volume.voxels))]
    assert result.evidence is None and asked == [False]
    (finding,) = [f for f in result.findings if f.code.startswith("EVIDENCE")]
    assert finding.code == "EVIDENCE_OCCLUSION_ONLY" and finding.severity == "warn"
    assert kind in finding.message and "--evidence occlusion" in finding.message and kind in finding.text("zh")
    assert finding.advice() != finding.advice("zh") and "occlusion" in finding.advice()
    assert not [f for f in classifier.classify(volume, evidence="none").findings if f.code.startswith("EVIDENCE")]


@pytest.mark.parametrize("kind", ["rbf_svm", "nearest_neighbours"])
def test_occlusion_explains_a_head_when_asked_for(written: dict[str, Path], kind: str) -> None:
    volume, spot, k = maker.stack_with_spot("axial")
    result = Classifier(bundle.load(written[kind]), "cpu", runtime="onnxruntime").classify(volume, evidence="occlusion")
    assert result.evidence is not None and result.evidence.method == "occlusion"
    peak = result.evidence.peak_lps(k, 1)
    assert peak is not None and np.linalg.norm(peak - spot) <= maker.cell_size_mm(volume) * 8 / 7


def test_a_network_whose_maps_are_not_shown_needs_no_torch_for_them(
    written: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = bundle.load(written["boosting"])
    info = replace(loaded.network_info, evidence="last_block")
    monkeypatch.setattr(bundle, "ENCODERS", {loaded.network: info})
    assert runtime_choice.choose(loaded, device="cpu", threads=1).runtime.name in ("openvino", "onnxruntime")


def test_the_self_test_holds_features_and_the_head_to_the_maker_s(written: dict[str, Path]) -> None:
    loaded = bundle.load(written["boosting"])
    assert loaded.onnx is not None and "maps" not in loaded.selftest
    runtime = OnnxRuntime(loaded.onnx)
    assert selftest.replay(loaded, runtime) <= 1e-6
    other = {**loaded.selftest, "features": loaded.selftest["features"] * np.float32(1.01)}
    with pytest.raises(selftest.OtherAnswers, match="feature"):
        selftest.replay(replace(loaded, selftest=other), runtime)
    with pytest.raises(selftest.OtherAnswers, match="logit"):
        selftest.replay(replace(loaded, head=replace(trees(), baseline=np.array([0.6]))), runtime)
    short = {**loaded.selftest, "features": loaded.selftest["features"][:, 1:]}
    with pytest.raises(Refusal, match="BUNDLE_SELFTEST"):
        selftest.replay(replace(loaded, selftest=short), runtime)


def test_a_threshold_within_rounding_of_a_feature_does_not_fail_the_self_test(written: dict[str, Path]) -> None:
    loaded = bundle.load(written["boosting"])
    assert loaded.onnx is not None
    at = float(loaded.selftest["features"][0, 0])
    head = replace(trees(), threshold=np.array([at, 0, 0.5, 0, 0, 0]))
    own = {**loaded.selftest, "logits": head.decide(loaded.selftest["features"]).astype(np.float32)}

    class Rounding(OnnxRuntime):
        def encode(self, images: Any, maps: bool) -> Any:
            found = super().encode(images, maps)
            return found._replace(features=found.features * np.float32(1 + 1e-6))

    rounding = Rounding(loaded.onnx)
    moved = np.abs(head.decide(rounding.encode(own["inputs"], False).features) - own["logits"]).max()
    assert moved > 1  # the tree takes the other way
    assert selftest.replay(replace(loaded, head=head, selftest=own), rounding) <= 1e-6


def rewritten(source: Path, folder: Path, change: Callable[[dict[str, Any], dict[str, Any]], None]) -> Path:
    """A copy whose manifest entry of the head and arrays are changed, hashes and all."""
    copy = Path(shutil.copytree(source, folder))
    manifest = json.loads((copy / "manifest.json").read_text())
    arrays = bundle_weights.tensors(copy, {"h": (copy / bundle.HEAD).read_bytes()}, "h", "x")
    change(manifest["members"][0]["head"], arrays)
    content = bundle_weights.saved(arrays)
    (copy / bundle.HEAD).write_bytes(content)
    manifest["files"][bundle.HEAD] = bundle_files.describe(content)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    return copy


def put(name: str, at: Any, value: Any) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(head: dict[str, Any], arrays: dict[str, Any]) -> None:
        arrays[name] = np.array(arrays[name])
        arrays[name][at] = value

    return change


def instead(name: str, make: Callable[[Any], Any]) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(head: dict[str, Any], arrays: dict[str, Any]) -> None:
        arrays[name] = make(arrays[name])

    return change


DAMAGED = {
    "infinite": ("rbf_svm", put("dual", (0, 0), np.inf), "finite"),
    "support of another width": ("rbf_svm", instead("support", lambda a: a[:, 1:]), "support"),
    "support in float32": ("rbf_svm", instead("support", lambda a: a.astype(np.float32)), "float32"),
    "two machines": ("rbf_svm", instead("intercept", lambda a: np.zeros(2)), "dual"),
    "an array too many": ("rbf_svm", lambda head, arrays: arrays.update(code=np.zeros(1)), "no use"),
    "an array gone": ("rbf_svm", lambda head, arrays: arrays.pop("factor"), "factor"),
    "no support vectors": ("rbf_svm", instead("support", lambda a: a[:0]), "support"),
    "another projection": ("rbf_svm", lambda head, arrays: arrays.update(projection=np.zeros((3, WIDTH))), "support"),
    "an unknown class": ("nearest_neighbours", put("classes", 0, 2), "class"),
    "a negative class": ("nearest_neighbours", put("classes", 0, -1), "class"),
    "more neighbours than examples": ("nearest_neighbours", lambda head, arrays: head.update(k=5), "neighbours"),
    "votes that count nothing": ("nearest_neighbours", put("class_weight", 0, 0), "votes"),
    "three labels": ("nearest_neighbours", instead("class_weight", lambda a: np.ones(3)), "2 labels"),
    "a path that turns back": ("boosting", put("left", 2, 0), "turns back"),
    "a node that is its own child": ("boosting", put("left", 0, 0), "half a leaf"),
    "a child of two": ("boosting", put("left", 2, 1), "turns back"),
    "a later child of two": ("boosting", put("left", 0, 4), "several ways"),
    "two roots at one place": ("boosting", put("root", 1, 0), "several ways"),
    "a child beyond the end": ("boosting", put("right", 2, 6), "within"),
    "a negative child": ("boosting", put("right", 2, -1), "within"),
    "a feature beyond the end": ("boosting", put("feature", 0, WIDTH), "feature"),
    "an output beyond the end": ("boosting", put("output", 0, 1), "output"),
    "fewer values than nodes": ("boosting", instead("value", lambda a: a[1:]), "value"),
    "other features": ("boosting", lambda head, arrays: head.update(features=WIDTH + 1), "reads 5 features"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_head_that_is_none_is_refused(written: dict[str, Path], tmp_path: Path, case: str) -> None:
    kind, change, word = DAMAGED[case]
    with pytest.raises(Refusal) as caught:
        bundle.load(rewritten(written[kind], tmp_path / "b", change))
    assert caught.value.code == "BUNDLE_WEIGHTS" and word in str(caught.value)


@pytest.mark.parametrize(
    "kind, change",
    [
        ("rbf_svm", {"gamma": 0}),
        ("rbf_svm", {"gamma": "1"}),
        ("rbf_svm", {"kind": "python"}),
        ("rbf_svm", {"file": "../head.safetensors"}),
        ("rbf_svm", {"file": "other.safetensors"}),
        ("rbf_svm", {"code": "1"}),
        ("nearest_neighbours", {"k": 0}),
        ("nearest_neighbours", {"k": 1.5}),
        ("nearest_neighbours", {"distance": "hamming"}),
        ("nearest_neighbours", {"temperature": 0}),
        ("nearest_neighbours", {"smoothing": 0}),
        ("boosting", {"features": 0}),
        ("boosting", {"kind": "linear"}),
    ],
)
def test_a_head_described_otherwise_is_refused(
    written: dict[str, Path], tmp_path: Path, kind: str, change: dict[str, Any]
) -> None:
    with pytest.raises(Refusal) as caught:
        bundle.load(rewritten(written[kind], tmp_path / "b", lambda head, arrays: head.update(change)))
    assert caught.value.code == "BUNDLE_MANIFEST"


def test_a_graph_that_answers_for_another_head_is_refused(written: dict[str, Path], tmp_path: Path) -> None:
    """Other programs would take the last layer's zeros for the answer."""
    copy = Path(shutil.copytree(written["rbf_svm"], tmp_path / "b"))
    content = bundle.load(maker.MADE).onnx
    assert content is not None
    (copy / bundle.ONNX).write_bytes(content)
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"][bundle.ONNX] = bundle_files.describe(content)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Refusal, match="BUNDLE_GRAPH"):
        bundle.load(copy)


def test_a_chain_of_nodes_is_refused_before_it_takes_time() -> None:
    nodes = 2 * 300 + 1  # node 2n has the leaf 2n + 1 and the node 2n + 2
    here = np.arange(nodes, dtype=np.int32)
    inner = (here % 2 == 0) & (here < nodes - 1)
    arrays = trees().arrays() | {
        "feature": np.zeros(nodes, np.int32),
        "threshold": np.zeros(nodes),
        "missing_left": np.zeros(nodes, np.uint8),
        "left": np.where(inner, here + 1, here).astype(np.int32),
        "right": np.where(inner, here + 2, here).astype(np.int32),
        "value": np.zeros(nodes),
        "root": np.zeros(1, np.int32),
        "output": np.zeros(1, np.int32),
    }
    with pytest.raises(ValueError, match="levels deep"):
        read_stored("boosting", {"features": WIDTH}, arrays)


@pytest.mark.parametrize(
    "left, right",
    [([1, 1], [1, 1]), ([0, 1], [0, 1])],
    ids=["both ways lead to one leaf", "a leaf that nothing leads to"],
)
def test_every_node_is_reached_in_one_way(left: list[int], right: list[int]) -> None:
    kept = {name: array[:2] for name, array in trees().arrays().items()}
    root = np.zeros(1, np.int32)
    arrays = kept | {"left": np.array(left, np.int32), "right": np.array(right, np.int32), "root": root}
    with pytest.raises(ValueError, match="several ways, or in none"):
        read_stored("boosting", {"features": WIDTH}, arrays | {"output": root, "baseline": np.zeros(1)})


def test_trees_are_followed_to_their_leaves() -> None:
    asked = np.array([[0.001, 9, 0, 0], [0.003, 0.5, 0, 0], [0.003, 0.6, 0, 0], [np.nan, 0, 0, 0], [1, np.nan, 0, 0]])
    expected = np.array([-1, 2, 4, -1, 4]) + 0.75  # NaN goes left at the root, right below it
    np.testing.assert_allclose(trees().raw(asked)[:, 0], expected)
    np.testing.assert_allclose(trees().raw(np.array([[0.002, 9, 0, 0]]))[:, 0], -0.25)  # as far as it goes is left
    scores = trees().decide(asked[:3].astype(np.float32))
    np.testing.assert_allclose(scores[:, 1] - scores[:, 0], np.array([-1, 2, 4]) + 0.75)
    np.testing.assert_allclose(scores.sum(axis=1), 0, atol=1e-12)


def test_nearest_neighbours_vote_smoothed_weighted_and_by_distance() -> None:
    flat = Standardiser(np.zeros(1), np.ones(1))
    examples = np.array([[0], [1], [3], [50]], np.float32)
    head = NearestNeighbourHead(flat, examples, np.array([0, 1, 1, 2], np.int32), np.ones(3), 3, "euclidean", None, 0.5)
    asked = np.zeros((1, 1), np.float32)
    np.testing.assert_allclose(np.exp(head.decide(asked))[0], np.array([1.5, 2.5, 0.5]) / 4.5)
    cool = replace(head, temperature=1.0)
    votes = np.array([1, np.exp(-1) + np.exp(-3), 0]) + 0.5
    np.testing.assert_allclose(np.exp(cool.decide(asked))[0], votes / votes.sum(), rtol=1e-12)
    np.testing.assert_allclose(cool.decide(asked - 1), cool.decide(asked), rtol=1e-12)  # only how much farther counts
    balanced = replace(head, class_weight=np.array([2.0, 1, 1]))
    np.testing.assert_allclose(np.exp(balanced.decide(asked))[0], np.array([2.5, 2.5, 0.5]) / 5.5)
    assert np.isfinite(replace(cool, temperature=1e-300).decide(asked)).all()


def test_of_examples_equally_far_the_earlier_ones_are_nearer() -> None:
    places = np.random.default_rng(0).integers(1, 4, 1000)
    earliest = np.flatnonzero(places == 1)[:20]
    head = NearestNeighbourHead(
        Standardiser(np.zeros(1), np.ones(1)),
        places[:, None].astype(np.float32),
        np.isin(np.arange(1000), earliest).astype(np.int32),
        np.ones(2),
        20,
        "euclidean",
        None,
        1.0,
    )
    np.testing.assert_allclose(np.exp(head.decide(np.zeros((1, 1), np.float32)))[0], [1 / 22, 21 / 22])


def test_cosine_neighbours_go_by_direction() -> None:
    flat = Standardiser(np.zeros(2), np.ones(2))
    examples = np.array([[1, 0], [0, 100]], np.float32)
    head = NearestNeighbourHead(flat, examples, np.array([0, 1], np.int32), np.ones(2), 1, "cosine", None, 1.0)
    assert head.decide(np.array([[50, 1], [0.1, 0.2]], np.float32)).argmax(axis=1).tolist() == [0, 1]
    nowhere = replace(head, examples=np.array([[0, 0], [1, 0]], np.float32))
    assert nowhere.decide(np.array([[-1, 0]], np.float32)).argmax() == 0  # no direction is nearer than the opposite


def test_rows_are_decided_each_by_itself_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = np.random.default_rng(1).normal(0, 0.01, (40, WIDTH)).astype(np.float32)
    whole = {kind: made(kind).decide(asked) for kind in KINDS}
    for module in ("distance_heads", "tree_head"):
        monkeypatch.setattr(f"MedImgClassifierLib.engine.{module}._AT_ONCE", 12)  # three rows, six rows
    for kind in KINDS:
        np.testing.assert_allclose(made(kind).decide(asked), whole[kind], atol=1e-12)
        assert made(kind).decide(asked[:0]).shape == (0, 2)
