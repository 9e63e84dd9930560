"""Classical heads answer as scikit-learn does, are chosen inside the rows they are given, and run from a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from medimg_training import classical, features, head_kinds, heads_fit
from medimg_training.cache import PreparedSet
from medimg_training.export import onnx_form_of_bundle
from medimg_training.head_export import FrozenEncoder, export_head
from medimg_training.onnx_form import Roles
from medimg_training.roles import fold_rows
from medimg_training.split import Fold
from MedImgClassifierLib.engine import bundle
from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.first_order import NAMES
from MedImgClassifierLib.engine.heads import AnyHead, LinearHead
from MedImgClassifierLib.engine.networks import build
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Percentile, Resize, ZScore
from MedImgClassifierLib.engine.result import Label
from MedImgClassifierLib.engine.tree_head import BoostingHead
from MedImgClassifierLib.engine.volume import Volume

OPTIONS = {"widths": [8, 8, 8, 8], "blocks": [1, 1, 1, 1]}
SMALL: dict[str, dict[str, Any]] = {
    "logistic": {"C": 1.0, "pca": None},
    "linear_svm": {"C": 0.1, "pca": None},
    "rbf_svm": {"C": 10.0, "gamma": 1.0, "pca": None},
    "nearest_neighbours": {"k": 5, "distance": "euclidean", "temperature": None, "pca": None},
    "boosting": {"trees": 5, "leaves": 4, "learning_rate": 0.3},
}


@pytest.fixture
def spec() -> InputSpec:
    """Of the size that the prepared images have."""
    return InputSpec((ChannelSpec("image"),), (Resize(16, 16),), (Percentile(1, 99), ZScore(0.5, 0.25)))


def blobs(classes: int, n: int = 240, width: int = 12, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features of unlike scales, classes that overlap and are unequally large."""
    random = np.random.default_rng(seed)
    labels = np.minimum(random.integers(0, classes + 1, n), classes - 1)
    centres = random.normal(0, 1.5, (classes, width))
    scale = 10.0 ** random.uniform(-2, 2, width)
    values = (centres[labels] + random.normal(0, 1.5, (n, width))) * scale + 20 * scale
    return values.astype(np.float32), labels


def both_sides(decision: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([-decision / 2, decision / 2], axis=1) if decision.ndim == 1 else decision


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("pca", [None, 5])
@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize("kind", ["logistic", "linear_svm"])
def test_a_linear_classifier_folds_with_its_scaler_and_pca_into_one_layer(
    classes: int, pca: int | None, weights: Any, kind: Any
) -> None:
    x, y = blobs(classes)
    balance = "balanced" if weights == "balanced" else None
    model: Any = LogisticRegression(C=1.0, class_weight=balance, max_iter=5000)
    if kind == "linear_svm":
        model = LinearSVC(C=1.0, class_weight=balance, dual=False, max_iter=5000)
    steps = [StandardScaler(), *([PCA(pca, svd_solver="full")] if pca else []), model]
    theirs = both_sides(make_pipeline(*steps).fit(x.astype(np.float64), y).decision_function(x.astype(np.float64)))
    head = head_kinds.fit_one(kind, x, y, classes, {"C": 1.0, "pca": pca}, weights)
    assert isinstance(head, LinearHead) and head.weight.shape == (classes, 12) and head.weight.dtype == np.float32
    assert np.ptp(theirs) > 2
    np.testing.assert_allclose(head.decide(x), theirs, atol=2e-3)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize("pca", [None, 5])
def test_the_rbf_svm_decides_as_scikit_learn_s_one_against_the_rest(classes: int, weights: Any, pca: Any) -> None:
    x, y = blobs(classes)
    wide = x.astype(np.float64)
    machine = SVC(C=10.0, gamma=1 / (pca or 12), class_weight="balanced" if weights == "balanced" else None)
    steps = [StandardScaler(), *([PCA(pca, svd_solver="full")] if pca else []), OneVsRestClassifier(machine)]
    theirs = both_sides(make_pipeline(*steps).fit(wide, y).decision_function(wide))
    head = head_kinds.fit_one("rbf_svm", x, y, classes, {**SMALL["rbf_svm"], "pca": pca}, weights)
    np.testing.assert_allclose(head.decide(x), theirs, atol=1e-9)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("distance", ["euclidean", "cosine"])
@pytest.mark.parametrize("temperature", [None, 0.5])
def test_neighbours_are_those_of_scikit_learn(classes: int, distance: str, temperature: float | None) -> None:
    x, y = blobs(classes)
    asked, _ = blobs(classes, seed=7)
    scaler = StandardScaler().fit(x.astype(np.float64))
    known, new = (scaler.transform(a.astype(np.float64)).astype(np.float32).astype(np.float64) for a in (x, asked))

    def count(away: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.exp(-(away - away[:, :1]) / temperature) if temperature else np.ones_like(away)

    model = KNeighborsClassifier(7, weights=count, metric=distance, algorithm="brute").fit(known, y)
    setting = {"k": 7, "distance": distance, "temperature": temperature, "pca": None}
    head = head_kinds.fit_one("nearest_neighbours", x, y, classes, setting, "none")
    found = np.exp(head.decide(asked))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    away, _ = model.kneighbors(new)
    total = count(away).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found * (total + classes) - 1, model.predict_proba(new) * total, atol=1e-6)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_trees_give_the_raw_predictions_of_scikit_learn(classes: int, weights: Any) -> None:
    x, y = blobs(classes, 400)
    balance = "balanced" if weights == "balanced" else None
    settings = {"learning_rate": 0.3, "max_iter": 8, "max_leaf_nodes": 9, "early_stopping": False}
    model = HistGradientBoostingClassifier(**settings, class_weight=balance, random_state=0).fit(x.astype(float), y)
    setting = {"trees": 8, "leaves": 9, "learning_rate": 0.3}
    head = head_kinds.fit_one("boosting", x, y, classes, setting, weights)
    asked = np.concatenate([x, blobs(classes, 400, seed=3)[0]])
    theirs = both_sides(model.decision_function(asked.astype(float)))
    assert np.ptp(theirs) > 1
    np.testing.assert_allclose(head.decide(asked), theirs, atol=1e-10)


@pytest.mark.parametrize("classes", [2, 3])
def test_trees_send_missing_values_where_scikit_learn_does(classes: int) -> None:
    x, y = blobs(classes, 400)
    wide = x.astype(np.float64)
    wide[np.random.default_rng(1).random(wide.shape) < 0.3] = np.nan
    wide[y == 0, 3] = np.nan  # a split that only tells missing from not
    model = HistGradientBoostingClassifier(max_iter=8, early_stopping=False, random_state=0).fit(wide, y)
    head = head_kinds.trees_of(model, wide.shape[1])
    assert isinstance(head, BoostingHead) and np.isfinite(head.threshold).all()
    np.testing.assert_allclose(
        head.decide(wide.astype(np.float32)),
        both_sides(model.decision_function(wide.astype(np.float32).astype(float))),
        atol=1e-10,
    )
    again = BoostingHead.read(head.parameters(), head.arrays())
    assert again.decide(x).tobytes() == head.decide(x).tobytes()


def test_trees_that_split_by_categories_are_refused() -> None:
    x, y = blobs(2)
    sorts = np.column_stack([np.arange(len(y)) % 5, x[:, 1]]).astype(float)
    model = HistGradientBoostingClassifier(categorical_features=[0], max_iter=5).fit(
        sorts, (sorts[:, 0] == 2) | (y == 1)
    )
    with pytest.raises(ValueError, match="categories"):
        head_kinds.trees_of(model, 2)


def test_a_feature_that_varies_by_rounding_only_has_no_say() -> None:
    x, y = blobs(2)
    x[:, 0] = 1000 + 1e-4 * (2 * y - 1)  # float32 keeps some of it, and it would tell the classes apart
    x[:, 1] = 3
    for kind in head_kinds.KINDS[:2]:
        head = head_kinds.fit_one(kind, x, y, 2, SMALL[kind], "none")
        assert isinstance(head, LinearHead)
        assert (head.weight[:, :2] == 0).all() and (head.weight[:, 2:] != 0).any()


# ---------------------------------------------------------------- the choice


def groups_of(n: int, size: int = 6) -> list[str]:
    return [f"g{k // size}" for k in range(n)]


@pytest.mark.parametrize("kind", head_kinds.KINDS)
def test_a_setting_is_chosen_by_groups_and_the_same_rows_give_the_same_head(kind: Any) -> None:
    x, y = blobs(3, 120)
    tried = heads_fit.settings_of(kind, 12)
    if kind == "boosting":
        tried = [{**setting, "trees": 4} for setting in tried[:2]]
    first, second = (heads_fit.fit_head(kind, x, y, groups_of(120), 3, choices=tried) for _ in range(2))
    assert [setting for setting, _ in first.scores] == tried and first.folds == 5
    best = max(score for _, score in first.scores)
    assert first.setting == next(setting for setting, score in first.scores if score == best)
    assert first.scores == second.scores and same(first.head, second.head)
    assert first.out_of_fold is not None and first.out_of_fold.shape == (120, 3)
    assert recall(y, first.out_of_fold.argmax(axis=1)) == pytest.approx(best)
    assert first.to_json()["tried"][0]["setting"] == tried[0]


def recall(y: NDArray[np.int64], called: NDArray[np.int64]) -> float:
    return float(np.mean([(called[y == c] == c).mean() for c in np.unique(y)]))


def same(a: AnyHead, b: AnyHead) -> bool:
    def arrays(head: Any) -> dict[str, Any]:
        return head.arrays() if hasattr(head, "arrays") else {"weight": head.weight, "bias": head.bias}

    one, other = arrays(a), arrays(b)
    return one.keys() == other.keys() and all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_no_group_is_on_both_sides_of_an_inner_fold() -> None:
    _, y = blobs(3, 120)
    groups = groups_of(120)
    folds = heads_fit.inner_folds(y, groups, 3)
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(120))
    for own, held in folds:
        assert not {groups[n] for n in own} & {groups[n] for n in held}


def test_a_memory_of_groups_does_not_win_the_choice() -> None:
    """Images of a group are copies with labels by chance of the group: one neighbour remembers them, and tells nothing
    of another group. Inner folds that divide groups would call it perfect."""
    random = np.random.default_rng(0)
    of_group = random.normal(0, 1, (20, 6))
    labels = np.repeat(np.arange(20) % 2, 6)
    x = (np.repeat(of_group, 6, axis=0) + random.normal(0, 0.01, (120, 6))).astype(np.float32)
    tried = [{"k": 1, "distance": "euclidean", "temperature": None, "pca": None}] * 2
    fitted = heads_fit.fit_head("nearest_neighbours", x, labels, groups_of(120), 2, choices=tried)
    assert recall(labels, fitted.head.decide(x).argmax(axis=1)) == 1
    assert fitted.scores[0][1] < 0.8


def test_the_grid_leaves_out_components_that_are_hardly_fewer_than_the_features() -> None:
    assert all(s["pca"] is None for s in heads_fit.settings_of("logistic", 63))
    assert {s["pca"] for s in heads_fit.settings_of("logistic", 64)} == {None, 32}
    assert heads_fit.settings_of("nearest_neighbours", 4)[0]["k"] == 31


def test_one_setting_is_fitted_without_a_choice() -> None:
    x, y = blobs(2)
    fitted = heads_fit.fit_head("logistic", x, y, ["one"] * len(y), 2, choices=[SMALL["logistic"]])
    assert (fitted.scores, fitted.folds, fitted.out_of_fold) == ((), 0, None)


def test_rows_that_leave_nothing_to_choose_on_are_refused() -> None:
    x, y = blobs(2)
    with pytest.raises(Refusal, match="class number 1 has 1 group") as caught:
        heads_fit.fit_head("logistic", x, y, ["a" if label else f"g{n}" for n, label in enumerate(y)], 2)
    assert caught.value.code == "DATA_SPLIT"
    with pytest.raises(Refusal, match="no image to fit for class number 2"):
        heads_fit.fit_head("logistic", x, y, groups_of(len(y)), 3)
    with pytest.raises(ValueError, match="not finite"):
        heads_fit.fit_head("logistic", np.where(x > 0, np.nan, x), y, groups_of(len(y)), 2)
    with pytest.raises(ValueError, match="nothing to choose"):
        heads_fit.fit_head("logistic", x, y, groups_of(len(y)), 2, choices=[])


def test_class_weights_help_the_rare_class() -> None:
    random = np.random.default_rng(2)
    y = (np.arange(300) % 15 == 0).astype(np.int64)
    x = (random.normal(0, 1, (300, 4)) + y[:, None]).astype(np.float32)
    for kind in head_kinds.KINDS:
        found = [
            float((head_kinds.fit_one(kind, x, y, 2, SMALL[kind], weights).decide(x).argmax(axis=1) == 1).mean())
            for weights in ("none", "balanced")
        ]
        assert found[1] > found[0], kind


# ---------------------------------------------------------------- features, baselines


@pytest.fixture
def network() -> Any:
    torch.manual_seed(0)
    module = build("narrow_resnet", 7, 1, **OPTIONS)  # of another task, with seven labels
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.running_mean.uniform_(-0.1, 0.1)
    return module.eval()


def test_features_are_those_of_inference_and_the_module_s_mode_stays(
    prepared: PreparedSet, spec: InputSpec, network: Any
) -> None:
    network.train()
    rows = np.array([5, 3, 60])
    found = features.features_of(features.of_network(network), prepared, rows, spec, batch=2)
    assert network.training
    with torch.inference_mode():
        expected = network.eval().encode(torch.from_numpy(prepared.inputs(rows, spec)), False)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert features.features_of(features.statistics, prepared, rows, spec).shape == (3, len(NAMES))
    assert features.features_of(features.pixels, prepared, rows, spec).shape == (3, 256)
    with pytest.raises(ValueError, match="no rows"):
        features.features_of(features.pixels, prepared, rows[:0], spec)


FOLD = Fold(tuple(f"g{n}" for n in range(22)), tuple(f"g{n}" for n in range(22, 32)))
"""Of the fixture `prepared`: its rows 0..65 and 66..95."""


def two_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each kind the small one and a second: there is a choice to be poisoned."""
    grids = {kind: {name: (value,) for name, value in small.items()} for kind, small in SMALL.items()}
    for kind, name, other in (("rbf_svm", "C", 1.0), ("boosting", "leaves", 3), ("nearest_neighbours", "k", 1)):
        grids[kind][name] += (other,)
    for kind in ("logistic", "linear_svm"):
        grids[kind]["C"] += (0.01,)
    monkeypatch.setattr(heads_fit, "GRIDS", grids)


def test_poisoned_other_rows_change_nothing_that_is_fitted(
    prepared: PreparedSet, spec: InputSpec, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_settings(monkeypatch)
    monkeypatch.setattr(heads_fit, "INNER_FOLDS", 2)
    rows = fold_rows(prepared, FOLD)
    images = np.array(prepared.images)
    images[66:] = np.random.default_rng(9).normal(0, 1e8, images[66:].shape)
    poisoned = replace(prepared, images=images, labels=np.where(np.arange(96) < 66, prepared.labels, 0))
    encoders = {**classical.WITHOUT_NETWORK, "frozen": features.of_network(network)}
    clean, dirty = (classical.run(p, spec, rows.fit, rows.select, encoders=encoders) for p in (prepared, poisoned))
    assert len(clean) == len(dirty) == 3 * len(head_kinds.KINDS)
    for a, b in zip(clean, dirty, strict=True):
        assert a.fitted.scores == b.fitted.scores and len(a.fitted.scores) == 2
        assert same(a.fitted.head, b.fitted.head), (a.features, a.fitted.kind)
        assert a.logits.shape == (30, 3) and not np.array_equal(a.logits, b.logits)


def test_pixels_tell_bars_by_their_height_and_statistics_do_not(prepared: PreparedSet, spec: InputSpec) -> None:
    rows = fold_rows(prepared, FOLD)
    found = classical.run(prepared, spec, rows.fit, rows.select, kinds=["logistic"])
    accuracy = {b.features: float((b.logits.argmax(axis=1) == prepared.labels[66:]).mean()) for b in found}
    assert accuracy["pixels"] > 0.9 and accuracy["first_order"] < 0.7, accuracy


# ---------------------------------------------------------------- bundles


def volume_of(prepared: PreparedSet, rows: slice) -> Volume:
    return Volume.from_matrix(np.array(prepared.images[rows, 0]), np.eye(4), units="arbitrary")


def fitted(kind: Any, prepared: PreparedSet, spec: InputSpec, encode: features.Encode) -> heads_fit.FittedHead:
    rows = np.arange(66)
    x = features.features_of(encode, prepared, rows, spec)
    groups = [prepared.groups[n] for n in rows]
    return heads_fit.fit_head(kind, x, prepared.labels[rows], groups, 3, choices=[SMALL[kind]])


def export(folder: Path, encoder: FrozenEncoder, head: heads_fit.FittedHead, spec: InputSpec, **more: Any) -> Path:
    identity = {
        "id": folder.name,
        "version": "1.0.0",
        "title": "Bars",
        "intended_use": "Tests.",
        "out_of_scope": [],
        "licence": "Apache-2.0",
        "credits": [],
        "known_limits": [],
    }
    labels = [Label(name) for name in ("low", "middle", "high")]
    about = {"identity": identity, "units": "arbitrary", "card": "# Bars\n", "evaluation": {}, "data": {"groups": 22}}
    return export_head(folder, encoder, head, spec, labels, **about, **more)


def frozen(network: Any) -> FrozenEncoder:
    weights = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return FrozenEncoder("narrow_resnet", OPTIONS, weights, "random")


@pytest.mark.parametrize("kind", head_kinds.KINDS)
def test_a_head_on_a_frozen_network_classifies_from_its_bundle_on_torch_and_onnxruntime(
    prepared: PreparedSet, spec: InputSpec, network: Any, tmp_path: Path, kind: Any
) -> None:
    encode = features.of_network(network)
    head = fitted(kind, prepared, spec, encode)
    loaded = bundle.load(export(tmp_path / "bars", frozen(network), head, spec))
    assert same(loaded.head, head.head) and loaded.manifest["training"]["head"] == head.to_json()
    volume = volume_of(prepared, slice(66, 78))
    expected = head.head.decide(features.features_of(encode, prepared, np.arange(66, 78), spec))
    for runtime in ("torch", "onnxruntime"):
        classifier = Classifier(loaded, "cpu", runtime=runtime, threads=1)
        result = classifier.classify(volume)
        assert result.provenance["runtime"] == runtime and classifier.selftest_difference <= 1e-3
        np.testing.assert_allclose(result.slices.logits, expected, atol=1e-3)
        if kind in ("logistic", "linear_svm"):
            assert result.evidence is not None and result.evidence.method == "closed_form"
            assert loaded.own_evidence and isinstance(loaded.head, LinearHead)
            sums = result.evidence.maps.sum((2, 3)) + loaded.head.bias
            np.testing.assert_allclose(sums, result.slices.logits, atol=2e-3)
        else:
            assert result.evidence is None and not loaded.own_evidence
            assert "EVIDENCE_OCCLUSION_ONLY" in {finding.code for finding in result.findings}


def test_a_linear_probe_shows_the_maps_of_its_own_weights(
    prepared: PreparedSet, spec: InputSpec, network: Any, tmp_path: Path
) -> None:
    head = fitted("logistic", prepared, spec, features.of_network(network)).head
    one = heads_fit.FittedHead("logistic", head, {}, (), 0, "none", None)
    loaded = bundle.load(export(tmp_path / "probe", frozen(network), one, spec, onnx=False))
    assert isinstance(head, LinearHead)
    inputs = prepared.inputs(np.arange(4), spec)
    body = network.body(torch.from_numpy(inputs)).detach().numpy()
    expected = np.einsum("ld,ndhw->nlhw", head.weight, body) / (body.shape[2] * body.shape[3])
    maps = Classifier(loaded, "cpu", runtime="torch").runtime.encode(inputs, True).class_maps
    assert maps is not None and maps.shape[1] == 3
    np.testing.assert_allclose(maps, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("kind", ["linear_svm", "boosting"])
def test_statistics_become_a_bundle_without_a_network(
    prepared: PreparedSet, spec: InputSpec, tmp_path: Path, kind: Any
) -> None:
    head = fitted(kind, prepared, spec, features.statistics)
    loaded = bundle.load(export(tmp_path / "statistics", FrozenEncoder.first_order(), head, spec))
    assert loaded.onnx is None
    result = Classifier(loaded).classify(volume_of(prepared, slice(66, 78)))
    expected = head.head.decide(features.features_of(features.statistics, prepared, np.arange(66, 78), spec))
    np.testing.assert_allclose(result.slices.logits, expected, atol=1e-6)
    assert result.provenance["runtime"] == "numpy"


def test_another_onnx_form_of_a_head_with_a_file_is_refused(
    prepared: PreparedSet, spec: InputSpec, network: Any, tmp_path: Path
) -> None:
    head = fitted("rbf_svm", prepared, spec, features.of_network(network))
    loaded = bundle.load(export(tmp_path / "svm", frozen(network), head, spec, onnx=False))
    with pytest.raises(Refusal, match="rbf_svm") as caught:
        onnx_form_of_bundle(loaded, Roles(prepared, np.arange(3), np.arange(3)), int8=False)
    assert caught.value.code == "BUNDLE_UNSUPPORTED"
