"""`medimg export` and the end of `medimg train`: a bundle with its ONNX form, whole or not at all."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medimg_training import export as export_module
from medimg_training import onnx_export, onnx_form
from medimg_training.body_region.recipe import IDENTITY
from medimg_training.cli import add_commands
from medimg_training.datasets.manifest import Manifest, write_manifest
from medimg_training.onnx_form import OnnxForm
from medimg_training.split import Fold, Split
from MedImgClassifierLib import resources
from MedImgClassifierLib.engine import bundle, runtime_choice, selftest
from MedImgClassifierLib.engine.errors import Refusal

CLASSES = ("low", "middle", "high")
COUNT = 600


def medimg(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    parsed = parser.parse_args([str(word) for word in words])
    return int(parsed.run(parsed))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures of bars with a manifest, a trained bundle and its split. What is to be evaluated with is spoilt."""
    folder = tmp_path_factory.mktemp("work")
    random = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for k in range(COUNT):
        label = k % len(CLASSES)
        image = random.normal(100, 20, (16, 16))
        image[label * 5 : label * 5 + 3] += 80
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / f"{k}.png")
        split = ("train", "val", "train", "val", "test", "train", "val")[k // 3 % 7]
        row = {"sample": f"s{k}", "group": f"g{k // 3}", "group_kind": "cluster", "path": f"{k}.png"}
        rows.append(row | {"label": CLASSES[label], "split": split})
    manifest = write_manifest(folder, rows, CLASSES)
    words = "--size 16 --network narrow_resnet --preset adamw --learning-rate 0.01 --epochs 3 --batch 32 --device cpu"
    options = [*words.split(), "--split-column", "--name", "bars", "--ema-decay", "0.9"]
    assert medimg("train", manifest, "--out", folder / "out", *options) == 0
    for row in rows:
        if row["split"] == "test":
            (folder / row["path"]).write_bytes(b"not an image")
    return folder


@pytest.fixture
def form(work: Path, monkeypatch: pytest.MonkeyPatch) -> OnnxForm:
    """The form of the trained bundle, which is then not made anew; what asks for one gets it."""
    made = bundle.load(work / "out" / "bars-0.1.0")
    answers = {name: tensor for name, tensor in made.selftest.items() if name.startswith("logits.")}
    ready = OnnxForm(made.onnx, made.onnx_int8, (), (), answers, ("Measured before.",))
    monkeypatch.setattr(OnnxForm, "record", lambda form: made.manifest["agreement"])
    monkeypatch.setattr(onnx_form, "make", lambda *arguments, **choices: ready)
    return ready


def export(work: Path, out: Path, *more: str) -> int:
    data = ("--manifest", work / "manifest.csv", "--split", work / "out" / "split.json")
    return medimg("export", work / "out" / "bars-0.1.0", *data, "--out", out, *more)


def test_a_trained_bundle_has_its_form_and_runs_without_torch(work: Path) -> None:
    loaded = bundle.load(work / "out" / "bars-0.1.0")
    assert loaded.onnx is not None and loaded.onnx_int8 is not None
    record = loaded.manifest["agreement"]
    assert {row["runtime"] for row in record["parity"] if row["passed"]} == {"onnxruntime", "openvino"}
    assert {row["images"] for row in record["reduced"]} == {258}  # all of the select role
    for runtime in ("onnxruntime", "openvino"):
        choice = runtime_choice.choose(loaded, runtime, "cpu")
        assert choice.difference < 1e-5
    offered = {(row["runtime"], row["precision"]) for row in record["reduced"] if row["offered"]}
    assert offered
    for runtime, precision in offered:
        assert runtime_choice.choose(loaded, runtime, "cpu", precision).runtime.precision == precision
    assert loaded.card.count("## Runtimes") == 1 and "| onnxruntime int8 | 258" in loaded.card


def test_a_bundle_is_exported_again_from_its_weights_and_the_data(
    work: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export(work, tmp_path / "new" / "bundle") == 0
    told = capsys.readouterr().out
    assert "| onnxruntime | 3 + 200" in told and str(tmp_path / "new" / "bundle") in told
    before, after = bundle.load(work / "out" / "bars-0.1.0"), bundle.load(tmp_path / "new" / "bundle")
    assert after.onnx == before.onnx
    for name in ("weights.safetensors", "model.onnx"):
        assert (after.path / name).read_bytes() == (before.path / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["bundle"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new"]


def test_everything_but_the_form_is_kept(work: Path, form: OnnxForm, tmp_path: Path) -> None:
    first = bundle.load(work / "out" / "bars-0.1.0")
    calibration = {"slice": {"method": "temperature", "temperature": 1.5, "groups": 40}}
    contact = {"contact": "someone", "calibration": calibration}
    plain = OnnxForm(None, None, (), (), {}, ())
    old = export_module.export_again(tmp_path / "old", first, plain, **contact)
    files = {name: (old / name).read_bytes() for name in ("manifest.json",)}
    manifest = json.loads(files["manifest.json"]) | {"created": "2020-01-01T00:00:00Z"}
    (old / "NOTE.txt").write_text("kept")
    (old / "SIGNATURE.json").write_text("{}")
    manifest["files"]["NOTE.txt"] = bundle.bundle_files.describe(b"kept")
    (old / "manifest.json").write_text(json.dumps(manifest))
    made = bundle.load(export_module.export_again(tmp_path / "new", bundle.load(old), form, version="0.2.0"))
    assert made.manifest["version"] == "0.2.0"
    same = set(manifest) - {"version", "created", "agreement", "files", "members"}
    assert {key: made.manifest[key] for key in same} == {key: manifest[key] for key in same}
    assert {"contact", "calibration"} <= same and made.temperature == 1.5
    assert (made.path / "NOTE.txt").read_text() == "kept" and not (made.path / "SIGNATURE.json").exists()
    assert made.card.count("## Runtimes") == 1 and made.card.endswith("Measured before.\n")
    assert (made.path / "weights.safetensors").read_bytes() == (old / "weights.safetensors").read_bytes()
    assert not set(bundle.load(old).selftest) - {"voxels", "inputs", "logits", "maps"}
    assert set(made.selftest) == {"voxels", "inputs", "logits", "maps", *form.answers}


def test_int8_may_be_left_out(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = bundle.load(work / "out" / "bars-0.1.0").onnx
    monkeypatch.setattr(onnx_form, "to_onnx", lambda *arguments: graph)
    export(work, tmp_path / "new", "--no-int8")
    made = bundle.load(tmp_path / "new")
    assert made.onnx is not None and made.onnx_int8 is None
    assert {row["precision"] for row in made.manifest["agreement"]["reduced"]} == {"bfloat16"}


def test_being_interrupted_leaves_nothing(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = bundle.load(work / "out" / "bars-0.1.0").onnx
    monkeypatch.setattr(onnx_form, "to_onnx", lambda *arguments: graph)

    def interrupted(*arguments: Any) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(onnx_form, "to_int8", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(work, tmp_path / "new" / "bundle")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_never_replaced(work: Path, form: OnnxForm, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(Refusal, match="it exists") as refused:
        export(work, tmp_path / "mine")
    assert refused.value.code == "USAGE_OUTPUT_NOT_WRITABLE"
    with pytest.raises(Refusal) as refused:
        export(work, work / "0.png" / "new")
    assert refused.value.code == "USAGE_OUTPUT_NOT_WRITABLE"


@pytest.mark.parametrize(
    ("change", "code", "what"),
    [
        ({"classes": ("low", "high", "middle")}, "DATA_MANIFEST", "its classes are low, high, middle"),
        ({"folds": 2}, "DATA_SPLIT", "2 folds"),
        ({"fold": Fold((), ("g1",))}, "DATA_SPLIT", "role fit has no labelled sample"),
        ({"sha256": "other"}, "DATA_SPLIT", "another manifest"),
    ],
)
def test_data_that_does_not_fit_the_bundle_is_refused(
    work: Path, form: OnnxForm, tmp_path: Path, change: dict[str, Any], code: str, what: str
) -> None:
    rows = [
        {"sample": f"s{k}", "group": f"g{k}", "group_kind": "cluster", "path": f"{k}.png", "label": CLASSES[k]}
        for k in range(3)
    ]
    path = write_manifest(tmp_path / "data", rows, change.get("classes", CLASSES), root=str(work))
    fold = change.get("fold", Fold(("g0",), ("g1",)))
    split = Split((fold,) * change.get("folds", 1), "by hand", change.get("sha256", Manifest.read(path).sha256))
    split.write(tmp_path / "split.json")
    words = ("--manifest", path, "--split", tmp_path / "split.json", "--out", tmp_path / "new")
    with pytest.raises(Refusal, match=what) as refused:
        medimg("export", work / "out" / "bars-0.1.0", *words)
    assert refused.value.code == code
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["data", "split.json"]


def test_a_bundle_whose_self_test_fails_here_is_refused(
    work: Path, form: OnnxForm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def otherwise(*arguments: Any) -> float:
        raise selftest.OtherAnswers("|d probability| 0.3")

    monkeypatch.setattr(selftest, "replay", otherwise)
    with pytest.raises(Refusal, match="d probability") as refused:
        export(work, tmp_path / "new")
    assert refused.value.code == "BUNDLE_SELFTEST"
    assert list(tmp_path.iterdir()) == []


def test_training_asks_for_the_libraries_of_the_form_before_anything(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_export, "LIBRARIES", ("no_such_library",))
    with pytest.raises(Refusal, match="no_such_library"):
        medimg("train", work / "manifest.csv", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(Refusal, match="no_such_library"):
        export(work, tmp_path / "new")


def test_the_shipped_bundle_has_its_form_within_ten_million_bytes() -> None:
    loaded = bundle.load(resources.bundles()["body-region"])
    assert loaded.manifest["version"] == IDENTITY["version"] and f"body-region {IDENTITY['version']}" in loaded.card
    assert loaded.onnx is not None and loaded.onnx_int8 is not None
    record = loaded.manifest["agreement"]
    assert {row["runtime"] for row in record["parity"] if row["passed"]} == {"onnxruntime", "openvino"}
    assert {row["precision"] for row in record["reduced"] if row["offered"]} == {"bfloat16", "int8"}
    assert sum(file.stat().st_size for file in loaded.path.rglob("*") if file.is_file()) <= 10_000_000
