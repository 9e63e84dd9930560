"""From a volume to a Classification, with a network whose answer is known."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import spot_bundle as maker
from MedImgClassifierLib.engine import bundle, bundle_files
from MedImgClassifierLib.engine.classifier import Classifier, key_slices
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.result import Classification
from MedImgClassifierLib.engine.volume import Case, Source, Volume


@pytest.fixture(scope="module")
def classifier(spot_bundle: Path) -> Classifier:
    return Classifier(bundle.load(spot_bundle), "cpu", batch=4)


@pytest.mark.parametrize("kind", maker.STACKS)
def test_evidence_lands_within_a_cell_of_the_spot_in_the_patient(classifier: Classifier, kind: str) -> None:
    volume, spot, k = maker.stack_with_spot(kind)
    result = Classification.from_json(json.loads(json.dumps(classifier.classify(volume).to_json())))
    assert result.slices.best.tolist() == [int(n == k) for n in range(len(volume.voxels))]
    assert result.evidence is not None
    peak = result.evidence.peak_lps(k, 1)
    assert peak is not None
    off = np.abs(peak - spot)
    assert np.linalg.norm(off) <= maker.cell_size_mm(volume), off
    assert abs((peak - spot) @ volume.normal_lps) < 1e-6  # on exactly its slice


def test_slices_without_the_spot_show_no_evidence_for_it(classifier: Classifier) -> None:
    volume, _, k = maker.stack_with_spot("axial")
    evidence = classifier.classify(volume).evidence
    assert evidence is not None
    others = [n for n in range(len(volume.voxels)) if n != k]
    assert not evidence.shown(1)[others].any()
    assert evidence.peak_lps(others[0], 1) is None
    assert evidence.scale[0] == 0 and not evidence.shown(0).any()  # nothing ever speaks for 'dark'
    assert evidence.shown(1).max() == 1


@pytest.mark.parametrize("batch", [1, 3, 64])
def test_the_batch_does_not_change_the_answer(spot_bundle: Path, classifier: Classifier, batch: int) -> None:
    volume, _, _ = maker.stack_with_spot("oblique")
    one = classifier.classify(volume)
    other = Classifier(bundle.load(spot_bundle), "cpu", batch=batch).classify(volume)
    np.testing.assert_allclose(other.slices.logits, one.slices.logits, atol=1e-5)
    assert one.evidence is not None and other.evidence is not None
    np.testing.assert_allclose(other.evidence.maps, one.evidence.maps, atol=1e-6)


def test_uncalibrated_and_irregular_input_is_said(classifier: Classifier) -> None:
    volume, _, _ = maker.stack_with_spot("tilted")
    result = classifier.classify(volume)
    assert {finding.code for finding in result.findings} >= {"UNCALIBRATED", "IRREGULAR_STACK"}
    assert not result.calibrated and "uncalibrated" in result.in_words()


def test_a_temperature_in_the_bundle_is_applied_and_said(tmp_path: Path) -> None:
    calibration = {"slice": {"method": "temperature", "temperature": 2.0, "groups": 120}}
    made = Classifier(bundle.load(maker.write(tmp_path / "calibrated", calibration=calibration)), "cpu")
    result = made.classify(maker.stack_with_spot("axial")[0])
    halved = np.exp(result.slices.logits / 2)
    np.testing.assert_allclose(result.slices.probabilities, halved / halved.sum(axis=1, keepdims=True))
    assert result.calibrated and "UNCALIBRATED" not in {finding.code for finding in result.findings}


def test_slices_keep_the_names_readers_know(classifier: Classifier) -> None:
    volume, _, k = maker.stack_with_spot("axial")
    count = len(volume.voxels)
    uids = tuple(f"1.{n}" for n in range(count))
    source = Source(instance_numbers=tuple(range(101, 101 + count)), sop_instance_uids=uids)
    slices = classifier.classify(replace(volume, source=source)).to_json()["slices"]
    assert (slices[k]["k"], slices[k]["instance_number"], slices[k]["sop_instance_uid"]) == (k, 101 + k, f"1.{k}")


def test_provenance_names_bundle_input_and_means(classifier: Classifier, spot_bundle: Path) -> None:
    volume, _, _ = maker.stack_with_spot("axial")
    result = classifier.classify(volume)
    manifest = (spot_bundle / "manifest.json").read_bytes()
    assert result.bundle["manifest_sha256"] == bundle_files.describe(manifest)["sha256"]
    assert result.provenance["inputs"]["image"]["content_sha256"] == volume.content_sha256
    assert result.provenance["device"] == "cpu" and result.provenance["versions"]["torch"]
    changed = replace(volume, voxels=volume.voxels + np.int16(1))
    assert changed.content_sha256 != volume.content_sha256


def test_cancelling_from_progress_stops_between_batches(classifier: Classifier) -> None:
    seen: list[float] = []

    def progress(stage: str, fraction: float) -> None:
        seen.append(fraction)
        if stage == "classify" and fraction > 0:
            raise Refusal("CANCELLED")

    with pytest.raises(Refusal, match="CANCELLED"):
        classifier.classify(maker.stack_with_spot("axial")[0], progress)
    assert max(seen) < 1


@pytest.mark.parametrize(
    "change, code",
    [
        ({"voxels": np.zeros((9, 90, 120), np.int16)}, "INPUT_VALUES"),
        ({"voxels": np.full((9, 90, 120), np.nan, np.float32)}, "INPUT_VALUES"),
        ({"voxels": np.zeros((9, 90, 120, 3), np.uint8), "units": "RGB"}, "INPUT_DIMENSIONS"),
    ],
    ids=["constant", "NaN", "colour"],
)
def test_input_without_an_answer_is_refused(classifier: Classifier, change: dict, code: str) -> None:  # type: ignore[type-arg]
    volume, _, _ = maker.stack_with_spot("axial")
    with pytest.raises(Refusal) as caught:
        classifier.classify(replace(volume, **change))
    assert caught.value.code == code and caught.value.exit_status == 3


def test_another_modality_than_the_bundle_asks_for_is_refused(spot_bundle: Path, tmp_path: Path) -> None:
    channels = [{"name": "image", "modality": ["CT"], "units": []}]
    folder = maker.write(tmp_path / "ct", input={**maker.SPEC.to_json(), "channels": channels})
    made = Classifier(bundle.load(folder), "cpu")
    with pytest.raises(Refusal, match="expects CT, this input is MR"):
        made.classify(maker.stack_with_spot("axial")[0])
    with pytest.raises(Refusal, match="channel 'image'"):
        made.classify(Case.of(maker.stack_with_spot("axial")[0], "other"))


def test_single_empty_slices_are_found_not_refused(classifier: Classifier) -> None:
    volume, _, _ = maker.stack_with_spot("axial")
    voxels = volume.voxels + np.random.default_rng(0).integers(0, 3, volume.voxels.shape).astype(np.int16)
    voxels[2] = 0
    result = classifier.classify(replace(volume, voxels=voxels))
    findings = {finding.code: finding.message for finding in result.findings}
    assert "1 of 9" in findings["EMPTY_SLICES"] and "K 2" in findings["EMPTY_SLICES"]


def rewrite_selftest(folder: Path, name: str, change: float) -> None:
    from safetensors.numpy import load_file, save

    path = folder / "selftest/selftest.safetensors"
    tensors = load_file(path)
    tensors[name] = tensors[name] + np.float32(change)
    path.write_bytes(save(tensors))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["selftest/selftest.safetensors"] = bundle_files.describe(path.read_bytes())
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize("name, change", [("logits", 5), ("inputs", 1e-3)])
def test_a_runtime_or_preprocessing_that_answers_otherwise_is_refused(
    spot_bundle: Path, tmp_path: Path, name: str, change: float
) -> None:
    copy = Path(shutil.copytree(spot_bundle, tmp_path / "copy"))
    rewrite_selftest(copy, name, change)
    with pytest.raises(Refusal, match="BUNDLE_SELFTEST"):
        Classifier(bundle.load(copy), "cpu")


@pytest.mark.parametrize("shape", [(), (0,), (1, 1, 2, 2)])
def test_a_selftest_of_another_shape_is_refused(spot_bundle: Path, shape: tuple[int, ...]) -> None:
    loaded = bundle.load(spot_bundle)
    other = {name: np.zeros(shape, tensor.dtype) for name, tensor in loaded.selftest.items()}
    with pytest.raises(Refusal, match="BUNDLE_SELFTEST"):
        Classifier(replace(loaded, selftest=other), "cpu")


@pytest.mark.parametrize("words", ["DefaultCPUAllocator: can't allocate memory", "MPS backend out of memory"])
def test_memory_that_torch_did_not_get_is_status_5(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    def full(*_arguments: object) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(classifier.runtime._module, "encode", full)
    with pytest.raises(Refusal) as caught:
        classifier.classify(maker.stack_with_spot("axial")[0])
    assert caught.value.code == "RESOURCE_MEMORY" and caught.value.exit_status == 5


def test_bfloat16_runs_where_the_selftest_agrees(spot_bundle: Path) -> None:
    volume, _, k = maker.stack_with_spot("axial")
    result = Classifier(bundle.load(spot_bundle), "cpu", "bfloat16").classify(volume)
    assert result.provenance["precision"] == "bfloat16"
    assert result.slices.best[k] == 1


def test_bfloat16_is_refused_where_the_selftest_moves(spot_bundle: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(spot_bundle, tmp_path / "copy"))
    rewrite_selftest(copy, "logits", 0)
    from safetensors.numpy import load_file, save

    path = copy / "selftest/selftest.safetensors"
    tensors = load_file(path)
    tensors["logits"] = tensors["logits"][:, ::-1].copy()
    path.write_bytes(save(tensors))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"]["selftest/selftest.safetensors"] = bundle_files.describe(path.read_bytes())
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Refusal) as caught:
        Classifier(bundle.load(copy), "cpu", "bfloat16")
    assert caught.value.code == "USAGE_PRECISION_REFUSED" and caught.value.exit_status == 2


def test_weights_of_another_network_are_refused(spot_bundle: Path) -> None:
    loaded = bundle.load(spot_bundle)
    wrong = {name: tensor for name, tensor in loaded.weights.items() if not name.startswith("body.3")}
    with pytest.raises(Refusal, match="missing tensors"):
        Classifier(replace(loaded, weights=wrong), "cpu")
    with pytest.raises(Refusal, match="BUNDLE_WEIGHTS"):
        Classifier(replace(loaded, network_options={"widths": [4], "depth": 3}), "cpu")


@pytest.mark.parametrize("widths", [[-1, 4, 4, 4], [10**9, 4, 4, 4], [4.0, 4, 4, 4], [True, 4, 4, 4], [4] * 9, "4444"])
def test_network_options_that_no_network_has_are_refused_before_it_is_built(spot_bundle: Path, widths: object) -> None:
    loaded = bundle.load(spot_bundle)
    with pytest.raises(Refusal, match=r"BUNDLE_WEIGHTS.*whole numbers"):
        Classifier(replace(loaded, network_options={"widths": widths, "blocks": [1, 1, 1, 1]}), "cpu")


def test_a_device_that_is_not_there_is_a_usage_error(spot_bundle: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    with pytest.raises(Refusal) as caught:
        Classifier(bundle.load(spot_bundle), "cuda")
    assert caught.value.code == "USAGE_DEVICE_MISSING" and caught.value.exit_status == 2


def test_key_slices_are_the_surest_of_each_class_and_the_least_sure_of_all() -> None:
    probability = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.45, 0.55]])
    chosen = [(key.row, key.label, key.why) for key in key_slices(probability)]
    assert chosen == [
        (0, 0, "most_probable"), (2, 1, "most_probable"), (1, 0, "example"), (3, 1, "least_certain")
    ]  # fmt: skip
    assert [key.why for key in key_slices(np.array([[0.7, 0.3]]))] == ["most_probable"]
    same = np.tile([0.9, 0.1], (100, 1))
    assert sorted(key.row for key in key_slices(same)) == [0, 24, 49, 74, 99]  # spread over the stack


def test_a_lone_picture_is_a_volume_of_one_slice(classifier: Classifier) -> None:
    volume, _, k = maker.stack_with_spot("axial")
    picture = Volume.from_matrix(volume.voxels[k : k + 1], np.eye(4))
    result = classifier.classify(picture)
    assert result.slices.best.tolist() == [1] and result.slices.native_k == (0,)
