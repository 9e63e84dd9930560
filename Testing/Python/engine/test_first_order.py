"""First-order statistics as an encoder: right numbers, no weights, no runtime but numpy, no maps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spot_bundle as maker
from MedImgClassifierLib.engine import bundle, first_order, runtime_choice, selftest
from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.first_order import NAMES
from MedImgClassifierLib.engine.heads import LinearHead
from MedImgClassifierLib.engine.tree_head import BoostingHead

BRIGHTEST = NAMES.index("maximum")


def named(image: np.ndarray) -> dict[str, float]:
    (row,) = first_order.first_order(np.asarray(image, np.float32)[None, None])
    return dict(zip(NAMES, map(float, row), strict=True))


def test_the_numbers_of_a_known_image() -> None:
    image = np.zeros((10, 10))
    image[5:] = 4.0  # half 0, half 4
    found = named(image)
    assert found["mean"] == 2 and found["standard_deviation"] == 2
    assert found["skewness"] == 0 and found["excess_kurtosis"] == pytest.approx(-2)
    assert [found[f"percentile_{p}"] for p in (5, 25, 75, 95)] == [0, 0, 4, 4]
    assert (found["minimum"], found["median"], found["maximum"]) == (0, 2, 4)
    assert found["root_mean_square"] == pytest.approx(np.sqrt(8)) and found["entropy"] == pytest.approx(1)
    assert found["gradient_mean"] == pytest.approx(0.4)  # 2 across two rows of ten
    assert found["gradient_percentile_95"] == 2
    assert found["laplacian_root_mean_square"] == pytest.approx(np.sqrt(2 / 8))  # 1 on two of eight inner rows


def test_a_tail_to_the_right_is_skewed_and_uniform_values_have_five_bits() -> None:
    ramp = np.arange(1024.0).reshape(32, 32)
    assert named(ramp)["entropy"] == pytest.approx(5)
    assert named(ramp**4)["skewness"] > 0.5 > -0.5 > named(-(ramp**4))["skewness"]
    np.testing.assert_allclose(named(ramp)["percentile_25"], np.quantile(ramp, 0.25))


@pytest.mark.parametrize("value", [0.0, 0.1, -1000.0])
def test_an_image_of_one_value_has_finite_numbers(value: float) -> None:
    found = named(np.full((7, 9), value))
    assert found["mean"] == pytest.approx(value) and found["maximum"] == pytest.approx(value)
    for name in ("standard_deviation", "skewness", "excess_kurtosis", "entropy", "gradient_mean"):
        assert found[name] == 0, name


def test_channels_follow_each_other_and_images_do_not_mix() -> None:
    images = np.random.default_rng(0).normal(0, 1, (3, 2, 8, 8)).astype(np.float32)
    features = first_order.first_order(images)
    assert features.shape == (3, 2 * len(NAMES)) and features.dtype == np.float32
    np.testing.assert_array_equal(features[1, len(NAMES) :], first_order.first_order(images[1:2, 1:])[0])
    assert first_order.first_order(images[:0]).shape == (0, 2 * len(NAMES))
    with pytest.raises(ValueError, match="2 x 8"):
        first_order.first_order(images[:, :, :2])


def write(folder: Path, head: LinearHead | BoostingHead, **changes: Any) -> Path:
    """A bundle that calls a slice bright by its statistics."""
    linear = isinstance(head, LinearHead)
    weights = {"head.weight": head.weight, "head.bias": head.bias} if linear else {}
    stored = None if linear else head
    identity = {"version": "1.0.0", "title": "Statistics", "intended_use": "Tests.", "licence": "Apache-2.0"}
    asked: dict[str, Any] = {
        "identity": identity | {"id": folder.name, "out_of_scope": [], "credits": [], "known_limits": []},
        "labels": maker.LABELS,
        "spec": maker.SPEC,
        "network": "first_order",
        "network_options": {},
        "weights": weights,
        "selftest": selftest.of_network(maker.SPEC, "first_order", {}, weights, "arbitrary", stored),
        "selftest_units": "arbitrary",
        "card": "# Statistics\n",
        "training": {},
        "evaluation": [],
        "head": stored,
    }
    return bundle.write(folder, **(asked | changes))


def linear() -> LinearHead:
    weight = np.zeros((2, len(NAMES)), np.float32)
    weight[1, BRIGHTEST] = 10
    return LinearHead(weight, np.array([5, 0], np.float32))


def boosted() -> BoostingHead:
    here = np.arange(3, dtype=np.int32)
    return BoostingHead(
        feature=np.array([BRIGHTEST, 0, 0], np.int32),
        threshold=np.array([0.5, 0, 0]),
        missing_left=np.zeros(3, np.uint8),
        left=np.maximum(here, 1),
        right=np.array([2, 1, 2], np.int32),
        value=np.array([0, -1.0, 1.0]),
        root=np.zeros(1, np.int32),
        output=np.zeros(1, np.int32),
        baseline=np.zeros(1),
        read_features=len(NAMES),
    )


@pytest.mark.parametrize("head", [linear(), boosted()], ids=["linear", "boosting"])
def test_a_bundle_without_a_network_classifies_in_numpy_alone(tmp_path: Path, head: Any) -> None:
    loaded = bundle.load(write(tmp_path / "statistics", head))
    volume, spot, k = maker.stack_with_spot("axial")
    classifier = Classifier(loaded)
    result = classifier.classify(volume)
    assert result.slices.best.tolist() == [int(n == k) for n in range(len(volume.voxels))]
    assert (result.provenance["runtime"], result.provenance["device"]) == ("numpy", "cpu")
    assert result.evidence is None
    assert [f.code for f in result.findings if f.code.startswith("EVIDENCE")] == ["EVIDENCE_OCCLUSION_ONLY"]
    shown = classifier.classify(volume, evidence="occlusion").evidence
    assert shown is not None and shown.method == "occlusion"
    peak = shown.peak_lps(k, 1)
    assert peak is not None and np.linalg.norm(peak - spot) <= maker.cell_size_mm(volume) * 8 / 7
    (trial,) = runtime_choice.try_all(loaded)
    assert trial.runtime == "numpy" and trial.difference is not None and trial.difference <= 1e-6


def test_what_runs_networks_is_refused_and_so_is_another_device(tmp_path: Path) -> None:
    loaded = bundle.load(write(tmp_path / "statistics", linear()))
    with pytest.raises(Refusal, match="USAGE_RUNTIME") as caught:
        runtime_choice.choose(loaded, "onnxruntime")
    assert "'first_order' is none" in str(caught.value)
    with pytest.raises(Refusal, match="USAGE_DEVICE_MISSING"):
        runtime_choice.choose(loaded, device="cuda")
    with pytest.raises(Refusal, match="USAGE_PRECISION_REFUSED"):
        runtime_choice.choose(loaded, precision="int8")
    with pytest.raises(Refusal, match="USAGE_RUNTIME"):
        runtime_choice.choose(bundle.load(maker.MADE), "numpy")


def test_a_head_for_other_statistics_or_a_graph_is_refused(tmp_path: Path) -> None:
    short = LinearHead(linear().weight[:, 1:], linear().bias)
    answers = selftest.of_network(maker.SPEC, "first_order", {}, {}, "arbitrary", boosted())
    with pytest.raises(Refusal, match="BUNDLE_WEIGHTS"):
        write(tmp_path / "b", linear(), weights={"head.weight": short.weight, "head.bias": short.bias})
    with pytest.raises(Refusal, match="BUNDLE_MANIFEST"):
        write(tmp_path / "b", linear(), onnx=bundle.load(maker.MADE).onnx)
    with pytest.raises(Refusal, match="BUNDLE_WEIGHTS"):
        write(tmp_path / "b", replace(boosted(), read_features=1 + len(NAMES)), selftest=answers)
    assert list(tmp_path.iterdir()) == []
