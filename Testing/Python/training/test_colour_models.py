"""A model for colour images: from PNG files to a bundle, and from a PNG file to results."""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medimg_training.cache import prepare
from medimg_training.cli import add_commands
from medimg_training.datasets.manifest import Manifest, write_manifest
from MedImgClassifierLib.cli import main
from MedImgClassifierLib.engine import bundle
from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Resize, Window
from MedImgClassifierLib.engine.reading import read_volume
from MedImgClassifierLib.engine.result import Classification
from MedImgClassifierLib.engine.volume import Volume

SIDE, COUNT = 16, 288  # an ONNX form is checked on 200 images
SPEC = InputSpec((ChannelSpec("image", (), ("RGB",)),), (Resize(SIDE, SIDE),), (Window(127.5, 255),))
CLASSES = ("reddish", "greenish")


def tinted(label: int, seed: int) -> np.ndarray:
    """[20, 24, 3] noise, more of it in red or in green, with one sum of the two at each pixel: grey tells nothing."""
    random = np.random.default_rng(seed)
    noise = random.integers(0, 60, (20, 24))
    more = 150 + random.integers(0, 30, (20, 24))
    image = np.zeros((20, 24, 3), np.uint8)
    image[..., label], image[..., 1 - label], image[..., 2] = more, 180 - more + 30, noise
    return image


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tinted")
    rows = []
    for n in range(COUNT):
        Image.fromarray(tinted(n % 2, n)).save(folder / f"{n}.png")
        row = {"sample": f"s{n}", "group": f"g{n // 2}", "group_kind": "cluster", "path": f"{n}.png"}
        rows.append(row | {"label": CLASSES[n % 2]})
    return write_manifest(folder, rows, CLASSES)


@pytest.fixture(scope="module")
def trained(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of `medimg train`."""
    out = tmp_path_factory.mktemp("trained")
    (out / "input.json").write_text(json.dumps(SPEC.to_json()))
    words = "--network narrow_resnet --preset adamw --learning-rate 0.01 --epochs 5 --batch 32 --device cpu"
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    command = ["train", str(manifest), "--out", str(out / "run"), "--input", str(out / "input.json"), *words.split()]
    command += ["--name", "tints"]
    parsed = parser.parse_args(command)
    assert parsed.run(parsed) == 0
    return out / "run" / "tints-0.1.0"


def test_the_cache_holds_three_planes_of_each_image(manifest: Path, tmp_path: Path) -> None:
    read = Manifest.read(manifest)
    prepared = prepare(read, read.rows, SPEC, tmp_path / "cache")
    assert prepared.images.shape == (COUNT, 3, SIDE, SIDE) and set(prepared.units) == {"RGB"}
    inputs = prepared.inputs(np.arange(2), SPEC)
    assert inputs[0, 0].mean() > inputs[0, 1].mean() and inputs[1, 0].mean() < inputs[1, 1].mean()
    again = prepare(read, read.rows, SPEC, tmp_path / "cache")
    assert np.array_equal(again.images, prepared.images)


@pytest.mark.parametrize("is_colour", [False, True])
def test_images_of_the_other_kind_are_refused_by_name_and_leave_no_cache(
    manifest: Path, tmp_path: Path, is_colour: bool
) -> None:
    grey = InputSpec((ChannelSpec("image"),), SPEC.geometry, SPEC.intensity)
    at = manifest.parent / "grey.png"
    Image.fromarray(tinted(0, 0)[..., 0]).save(at)
    read = Manifest.read(manifest)
    rows = [*read.rows[:2], replace(read.rows[2], path=at)] if is_colour else read.rows
    with pytest.raises(Refusal) as caught:
        prepare(read, rows, SPEC if is_colour else grey, tmp_path / "cache")
    assert caught.value.code == ("INPUT_GREY" if is_colour else "INPUT_DIMENSIONS")
    assert str(at if is_colour else manifest.parent / "0.png") in str(caught.value)
    assert not (tmp_path / "cache").exists()


def test_a_cache_of_grey_images_is_not_taken_for_one_of_colour(manifest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    rows = []
    for name in CLASSES:
        Image.fromarray(tinted(0, 0)[..., 0]).save(folder / f"{name}.png")
        rows.append({"sample": name, "group": name, "group_kind": "cluster", "path": f"{name}.png", "label": name})
    read = Manifest.read(write_manifest(folder, rows, CLASSES))
    grey = InputSpec((ChannelSpec("image"),), SPEC.geometry, SPEC.intensity)
    assert prepare(read, read.rows, grey, tmp_path / "cache").images.shape[1] == 1
    with pytest.raises(Refusal, match="INPUT_GREY"):
        prepare(read, read.rows, SPEC, tmp_path / "cache")


def test_the_bundle_says_that_it_takes_colour_and_answers_by_it(trained: Path) -> None:
    loaded = bundle.load(trained)
    assert loaded.spec == SPEC and loaded.manifest["selftest"]["units"] == "RGB"
    assert loaded.selftest["voxels"].shape[0] == 3 and loaded.selftest["inputs"].shape[1:] == (3, SIDE, SIDE)
    answers = {}
    for runtime in ("torch", "onnxruntime", "openvino"):
        classifier = Classifier(loaded, "cpu", runtime=runtime, threads=1)
        for label in (0, 1):
            path = trained.parent / "one.png"
            Image.fromarray(tinted(label, 100 + label)).save(path)
            result = classifier.classify(read_volume(path))
            assert result.slices.best.tolist() == [label]
            answers[runtime, label] = result.slices.logits
    for (_, label), logits in answers.items():
        np.testing.assert_allclose(logits, answers["torch", label], atol=1e-4)


def test_a_slice_of_one_colour_is_no_key_slice(trained: Path) -> None:
    flat = np.zeros((20, 24, 3), np.uint8)
    flat[:] = (255, 0, 0)
    stack = Volume.from_matrix(np.stack([flat, tinted(1, 3), flat]), np.eye(4), units="RGB")
    result = Classifier(bundle.load(trained), "cpu", runtime="onnxruntime", threads=1).classify(stack)
    assert {key.row for key in result.key_slices} == {1}
    assert "EMPTY_SLICES" in {finding.code for finding in result.findings}


def test_occlusion_hides_all_colours_of_a_place(trained: Path) -> None:
    image = np.concatenate([tinted(0, 5)[:, :12], np.full((20, 12, 3), 90, np.uint8)], axis=1)
    path = trained.parent / "half.png"
    Image.fromarray(image).save(path)
    classifier = Classifier(bundle.load(trained), "cpu", runtime="onnxruntime", threads=1)
    evidence = classifier.classify(read_volume(path), evidence="occlusion").evidence
    assert evidence is not None
    left, right = np.abs(evidence.maps[0, 0, :, :3]).mean(), np.abs(evidence.maps[0, 0, :, 4:]).mean()
    assert left > right


def test_medimg_classify_takes_a_colour_picture_to_its_results(trained: Path, tmp_path: Path) -> None:
    path, out = tmp_path / "photo.png", tmp_path / "out"
    Image.fromarray(tinted(1, 7)).save(path)
    assert main(["classify", str(path), "--bundle", str(trained), "--out", str(out)]) == 0
    names = {"results.json", "results.csv", "report.html", "overlay.png"}
    assert {file.name for file in out.iterdir()} == names | ({"scene.mrb"} if find_spec("slicer") else set())
    document = json.loads((out / "results.json").read_text(encoding="utf-8"))
    found = Classification.from_json(document)
    assert found.labels[int(found.slices.best[0])].name == "greenish"
    (described,) = document["provenance"]["inputs"].values()
    assert described["units"] == "RGB" and described["shape"] == [1, 20, 24, 3]
    assert "greenish" in (out / "results.csv").read_text(encoding="utf-8-sig")
    assert (out / "report.html").read_text(encoding="utf-8").count("data:image/png") >= 1
    assert np.asarray(Image.open(out / "overlay.png").convert("RGB")).std() > 10


def test_medimg_classify_refuses_a_grey_picture_and_leaves_nothing(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "grey.png", tmp_path / "out"
    Image.fromarray(tinted(1, 7)[..., 0]).save(path)
    assert main(["classify", str(path), "--bundle", str(trained), "--out", str(out)]) == 3
    assert "error[INPUT_GREY]" in capsys.readouterr().err
    assert not out.exists()


def test_a_grey_model_refuses_a_colour_picture_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "photo.png", tmp_path / "out"
    Image.fromarray(tinted(1, 7)).save(path)
    assert main(["classify", str(path), "--bundle", "body-region", "--out", str(out)]) == 3
    told = capsys.readouterr().err
    assert "error[INPUT_DIMENSIONS]" in told and "colour image" in told
    assert not out.exists()


def change(folder: Path, edit: Callable[[dict], None]) -> Refusal:  # type: ignore[type-arg]
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))
    with pytest.raises(Refusal) as caught:
        bundle.load(folder)
    return caught.value


def test_a_bundle_of_grey_or_colour_is_refused(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "copy")
    told = change(tmp_path / "copy", lambda m: m["input"]["channels"][0].update(units=["RGB", "HU"]))
    assert told.code == "BUNDLE_MANIFEST" and "RGB or other units" in str(told)
    told = change(tmp_path / "copy", lambda m: m["input"]["channels"][0].update(units=["arbitrary"]))
    assert told.code == "BUNDLE_GRAPH"  # it takes three planes
