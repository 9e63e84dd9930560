"""From a volume to a Classification, with a network whose answer is known."""

from __future__ import annotations

import json
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info, threadpool_limits

import spot_bundle as maker
from MedImgClassifierLib.engine import bundle, bundle_files
from MedImgClassifierLib.engine.classifier import Classifier, key_slices
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import geometry, intensity
from MedImgClassifierLib.engine.result import Classification
from MedImgClassifierLib.engine.runtimes import Encoded
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
    assert result.provenance["device"] == "cpu" and result.provenance["versions"]["numpy"]
    runtime = classifier.runtime.name
    assert result.provenance["runtime"] == runtime and result.provenance["versions"][runtime]
    assert result.provenance["runtime_choice"].startswith(f"{runtime} on cpu is the first that can run it")
    changed = replace(volume, voxels=volume.voxels + np.int16(1))
    assert changed.content_sha256 != volume.content_sha256


@pytest.mark.parametrize("kind", ["axial", "oblique"])
def test_occlusion_shows_the_spot_where_the_network_s_own_evidence_does(classifier: Classifier, kind: str) -> None:
    volume, spot, k = maker.stack_with_spot(kind)
    seen: list[float] = []
    result = classifier.classify(volume, lambda stage, fraction: seen.append(fraction), evidence="occlusion")
    assert result.evidence is not None and result.evidence.method == "occlusion"
    assert result.evidence.maps.shape == (len(volume.voxels), 2, 7, 7)
    assert seen == sorted(seen) and len(seen) > 100 and seen[-1] == 1
    peak = result.evidence.peak_lps(k, 1)
    assert peak is not None and np.linalg.norm(peak - spot) <= maker.cell_size_mm(volume) * 8 / 7
    assert result.provenance["seconds"]["occlusion"] > 0


def test_evidence_that_the_runtime_cannot_make_is_a_finding_with_its_price(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = classifier.runtime.encode
    monkeypatch.setattr(classifier.runtime, "encode", lambda images, maps: encode(images, False))
    result = classifier.classify(maker.stack_with_spot("axial")[0])
    assert result.evidence is None
    (finding,) = [finding for finding in result.findings if finding.code == "EVIDENCE_NOT_AVAILABLE"]
    assert "occlusion would take about" in finding.message and finding.severity == "warn"


def test_numpy_leaves_the_cores_to_the_runtime(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    def threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info() if pool["internal_api"] == "openblas"]

    encode, seen = classifier.runtime.encode, []

    def watched(images: NDArray[np.float32], maps: bool) -> Encoded:
        seen.extend(threads())
        return encode(images, maps)

    monkeypatch.setattr(classifier.runtime, "encode", watched)
    with threadpool_limits(2, "blas"):
        before = threads()
        if not before:
            pytest.skip("numpy does not use OpenBLAS here")
        classifier.classify(maker.stack_with_spot("axial")[0])
        assert threads() == before == [2] * len(before)
    assert seen and set(seen) == {1}


@pytest.mark.parametrize("answers", ["too few", "none"])
def test_a_runtime_that_fails_is_named_in_one_line(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch, answers: str
) -> None:
    encode = classifier.runtime.encode

    def failing(images: NDArray[np.float32], maps: bool) -> Encoded:
        if answers == "none":
            raise RuntimeError("output size is too small\nat some line")
        return encode(images[1:], maps)

    monkeypatch.setattr(classifier.runtime, "encode", failing)
    with pytest.raises(Refusal, match="RESOURCE_RUNTIME_FAILED") as refused:
        classifier.classify(maker.stack_with_spot("axial")[0])
    assert ("answers for" if answers == "too few" else "(output size is too small)") in refused.value.message()
    assert refused.value.exit_status == 5


def test_batches_prepared_ahead_answer_as_one_and_a_cancelled_run_ends_it(classifier: Classifier) -> None:
    volume = maker.stack_with_spot("tilted")[0]
    spec = classifier.bundle.spec
    prepared = geometry([volume], spec, 0, len(volume.voxels))
    features = classifier.runtime.encode(intensity(prepared.images, spec, prepared.units), False).features
    result = classifier.classify(volume)
    np.testing.assert_allclose(result.slices.logits, classifier.bundle.head.decide(features), atol=1e-5)
    assert result.evidence is not None
    steps = [np.diff(at.origins_lps, axis=0) for at in (result.evidence.placement, prepared.placement)]
    np.testing.assert_allclose(*steps, atol=1e-9)

    def cancel(stage: str, fraction: float) -> None:
        raise Refusal("CANCELLED")

    with pytest.raises(Refusal, match="CANCELLED"):
        classifier.classify(volume, cancel)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("prepare")]


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


@pytest.mark.parametrize("name, change", [("logits", 5), ("inputs", 1e-3), ("maps", 3)])
def test_runtimes_or_preprocessing_that_answer_otherwise_are_refused(
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


def test_slices_that_show_nothing_are_no_key_slices() -> None:
    probability = np.array([[0.99, 0.01], [0.6, 0.4], [0.7, 0.3], [0.5, 0.5]])
    contrast = np.array([False, True, True, False])
    assert {(key.row, key.why) for key in key_slices(probability, contrast)} == {
        (2, "most_probable"),
        (1, "least_certain"),
    }
    assert key_slices(probability, np.zeros(4, bool)) == ()


def test_key_slices_of_a_case_leave_out_its_empty_slices(classifier: Classifier) -> None:
    volume, _, k = maker.stack_with_spot("axial")  # all slices but that of the spot show nothing
    assert {key.row for key in classifier.classify(volume).key_slices} == {k}


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
