"""`medimg train`: from a manifest to a bundle that the engine loads and that answers alike."""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from medimg_training import cli, fit
from medimg_training.augmentation.policy import preset
from medimg_training.cli import add_commands
from medimg_training.recipe import Recipe
from medimg_training.split import read_evaluate_log
from MedImgClassifierLib.engine import bundle
from MedImgClassifierLib.engine.classifier import Classifier
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.reading import read_volume
from MedImgClassifierLib.engine.volume import Case

MakeManifest = Callable[..., Path]


def medimg(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    add_commands(parser.add_subparsers())
    parsed = parser.parse_args([str(word) for word in words])
    return int(parsed.run(parsed))


def train(manifest: Path, out: Path, *more: str) -> int:
    tiny = "--size 16 --network narrow_resnet --preset adamw --learning-rate 0.01 --epochs 2 --batch 16 --device cpu"
    return medimg("train", manifest, "--out", out, *tiny.split(), *more)


def test_a_manifest_becomes_a_bundle_that_answers_as_in_training(
    png_manifest: MakeManifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest, out = png_manifest(144), tmp_path / "out"
    assert train(manifest, out, "--split-column", "--name", "bars", "--ema-decay", "0.5") == 0
    assert "| balanced accuracy | all |" in capsys.readouterr().out
    loaded = bundle.load(out / "bars-0.1.0")
    assert [label.name for label in loaded.labels] == ["low", "middle", "high"]
    assert loaded.manifest["training"]["origin"]["kind"] == "random"
    assert loaded.manifest["evaluation"][0]["figures"]["n"] == 48
    assert "balanced accuracy" in loaded.card
    assert "Research use only, not for diagnosis" in loaded.card
    classifier = Classifier(loaded, "cpu")
    with (out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 48
    for row in rows[:3]:
        alone = classifier.classify(Case.of(read_volume(manifest.parent / f"{row['sample'][1:]}.png")))
        logits = [float(row[f"logit.{name}"]) for name in ("low", "middle", "high")]
        assert alone.slices.logits[0] == pytest.approx(logits, abs=1e-4)
    assert [entry["purpose"] for entry in read_evaluate_log(out / "split.json")] == ["figures of medimg train"]


def test_the_same_command_again_changes_nothing_but_the_log(png_manifest: MakeManifest, tmp_path: Path) -> None:
    manifest, out = png_manifest(), tmp_path / "out"
    for _ in range(2):
        train(manifest, out, "--seed", "4")
        weights = (out / "my-model-0.1.0" / "weights.safetensors").read_bytes()
    history = (out / "fit" / "history.jsonl").read_text().splitlines()
    assert len(history) == 2
    assert len(read_evaluate_log(out / "split.json")) == 2
    assert (out / "my-model-0.1.0" / "weights.safetensors").read_bytes() == weights
    split = json.loads((out / "split.json").read_text())["folds"][0]
    assert split["fit"] and split["select"] and split["evaluate"]


def test_another_recipe_in_the_same_folder_is_refused(png_manifest: MakeManifest, tmp_path: Path) -> None:
    manifest, out = png_manifest(), tmp_path / "out"
    train(manifest, out)
    with pytest.raises(Refusal) as refused:
        train(manifest, out, "--label-smoothing", "0.1")
    assert refused.value.code == "DATA_CHECKPOINT"


def test_ctrl_c_says_how_to_go_on(png_manifest: MakeManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest, out = png_manifest(), tmp_path / "out"
    inputs, calls = fit.training_batch, iter(range(1000))

    def interrupted(*arguments: Any) -> torch.Tensor:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return inputs(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(fit, "training_batch", interrupted)
        with pytest.raises(Refusal) as refused:
            train(manifest, out)
    assert refused.value.code == "CANCELLED_TRAINING"
    assert refused.value.exit_status == 6
    assert not (out / "my-model-0.1.0").exists()
    assert train(manifest, out) == 0


def test_an_input_specification_from_a_file_is_used(png_manifest: MakeManifest, tmp_path: Path) -> None:
    wanted = {
        "level": "slice",
        "plane": "native",
        "channels": [{"name": "image", "modality": [], "units": []}],
        "geometry": [{"op": "resize", "rows": 12, "columns": 10}],
        "intensity": [{"op": "zscore", "mean": 100.0, "std": 50.0, "scope": "fixed", "units": ""}],
    }
    (tmp_path / "input.json").write_text(json.dumps(wanted))
    train(png_manifest(), tmp_path / "out", "--input", str(tmp_path / "input.json"), "--split-column")
    assert bundle.load(tmp_path / "out" / "my-model-0.1.0").spec.to_json() == wanted
    (tmp_path / "input.json").write_text("{}")
    with pytest.raises(Refusal) as refused:
        train(png_manifest(), tmp_path / "other", "--input", str(tmp_path / "input.json"))
    assert refused.value.code == "DATA_MANIFEST"
    (tmp_path / "input.json").write_text(json.dumps(wanted | {"channels": 2 * wanted["channels"]}))
    with pytest.raises(Refusal) as refused:
        train(png_manifest(), tmp_path / "other", "--input", str(tmp_path / "input.json"))
    assert refused.value.code == "DATA_MANIFEST"


@pytest.mark.parametrize(
    "words",
    ["--network alexnet", "--network resnet18 --size 32 --batch 1", "--network vit_b_16 --size 15"],
)
def test_a_network_that_cannot_be_trained_on_such_batches_is_refused(
    png_manifest: MakeManifest, tmp_path: Path, words: str
) -> None:
    with pytest.raises(Refusal) as refused:
        train(png_manifest(), tmp_path / "out", *words.split())
    assert refused.value.code == "USAGE_NETWORK_SIZE"
    assert not (tmp_path / "out" / "fit").exists()


def test_a_network_for_one_size_is_made_for_that_of_its_input(
    png_manifest: MakeManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipes = []

    def interrupted(recipe: Recipe, *_: object, **__: object) -> None:
        recipes.append(recipe)
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "fit", interrupted)
    with pytest.raises(Refusal):
        train(png_manifest(), tmp_path / "out", "--network", "vit_b_16", "--size", "32")
    assert [recipe.network_options for recipe in recipes] == [{"image_size": 32}]


def test_a_split_that_stands_there_is_not_taken_for_that_of_the_column(
    png_manifest: MakeManifest, tmp_path: Path
) -> None:
    manifest, out = png_manifest(), tmp_path / "out"
    train(manifest, out)
    with pytest.raises(Refusal) as refused:
        train(manifest, out, "--split-column")
    assert refused.value.code == "DATA_SPLIT"
    content = json.loads((out / "split.json").read_text())
    (out / "split.json").write_text(json.dumps(content | {"folds": content["folds"] * 2, "counts": []}))
    with pytest.raises(Refusal, match="2 folds"):
        train(manifest, out)


@pytest.mark.parametrize(
    "words",
    [
        "--epochs 0",
        "--name Bad_Name",
        "--bundle-version 1",
        "--ema-decay 1",
        "--learning-rate -1",
        "--seed -1",
        "--title=",
    ],
)
def test_a_choice_that_cannot_be_is_refused_before_anything_is_done(
    png_manifest: MakeManifest, tmp_path: Path, words: str
) -> None:
    with pytest.raises(SystemExit) as stopped:
        train(png_manifest(), tmp_path / "out", *words.split())
    assert stopped.value.code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words", ["--accumulate 17", "--logit-adjustment 1 --class-weights balanced", "--flip rows", "--stem small"]
)
def test_choices_that_exclude_each_other_are_refused(png_manifest: MakeManifest, tmp_path: Path, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        train(png_manifest(), tmp_path / "out", *words.split())
    assert refused.value.code == "USAGE_RECIPE"
    assert not (tmp_path / "out").exists()


def test_every_choice_of_the_command_reaches_the_recipe(
    png_manifest: MakeManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[Recipe, bool]] = []

    def interrupted(recipe: Recipe, *_: object, tensorboard: bool, **__: object) -> None:
        made.append((recipe, tensorboard))
        raise KeyboardInterrupt

    monkeypatch.setattr(fit, "fit", interrupted)
    monkeypatch.setattr("medimg_training.tracking.require_tensorboard", lambda: None)
    words = (
        "--loss focal --focal-gamma 1.5 --sampler group_balanced --logit-adjustment 0.5 --accumulate 2 --clip-norm 3 "
    )
    words += "--augment light --flip columns --norm group "
    words += "--warm-up 0.2 --label-smoothing 0.1 --ema-decay 0.5 --amp bfloat16 --seed 7 --tensorboard"
    with pytest.raises(Refusal):
        train(png_manifest(), tmp_path / "out", *words.split())
    wanted = {"loss": "focal", "focal_gamma": 1.5, "sampler": "group_balanced", "logit_adjustment": 0.5} | {
        "accumulate": 2,
        "clip_norm": 3.0,
        "warm_up": 0.2,
        "label_smoothing": 0.1,
        "ema_decay": 0.5,
        "amp": "bfloat16",
        "seed": 7,
        "optimizer": "adamw",
        "learning_rate": 0.01,
        "epochs": 2,
        "batch": 16,
    }
    ((recipe, tensorboard),) = made
    assert recipe.policy == preset("light", ("columns",))
    assert recipe.network_options == {"norm": "group"}
    assert {name: value for name, value in recipe.to_json().items() if name in wanted} == wanted
    assert tensorboard


def test_tensorboard_that_is_not_installed_is_refused_at_once(
    png_manifest: MakeManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(Refusal) as refused:
        train(png_manifest(), tmp_path / "out", "--tensorboard")
    assert refused.value.code == "RESOURCE_MISSING_LIBRARY"
    assert not (tmp_path / "out").exists()


def test_a_missing_manifest_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as refused:
        train(tmp_path / "manifest.csv", tmp_path / "out")
    assert refused.value.code == "DATA_MANIFEST"
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_is_refused(png_manifest: MakeManifest) -> None:
    manifest = png_manifest()
    with pytest.raises(Refusal) as refused:
        train(manifest, manifest / "out")
    assert refused.value.code == "USAGE_OUTPUT_NOT_WRITABLE"


def test_the_verb_is_offered_without_loading_torch_or_scikit_learn() -> None:
    heavy = "{'torch', 'sklearn'} & {*sys.modules}"
    code = f"import sys; sys.path[:0] = {sys.path!r}; import {cli.__name__}; print({heavy})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.usefixtures("checked")
def test_what_is_checked_stops_a_training_until_it_is_waived(png_manifest: MakeManifest, tmp_path: Path) -> None:
    manifest, out = png_manifest(), tmp_path / "out"
    with pytest.raises(Refusal, match="BACKGROUND_SHORTCUT") as refused:
        train(manifest, out)
    assert refused.value.code == "DATA_CHECK"
    assert not (out / "fit").exists()
    waive = ("--waive", "BACKGROUND_SHORTCUT", "--reason", "the class is in the border", "--who", "the test")
    assert medimg("check", manifest, *waive) == 0
    assert train(manifest, out) == 0


def test_the_plane_that_was_trained_is_that_of_the_bundle(png_manifest: MakeManifest, tmp_path: Path) -> None:
    change = {"plane": "axial", "slice_from": "0", "slice_to": "1"}
    manifest = png_manifest(72, lambda rows: [row.update(change) for row in rows])
    train(manifest, tmp_path / "out", "--epochs", "1")
    assert bundle.load(tmp_path / "out" / "my-model-0.1.0").spec.plane == "axial"
    several = png_manifest(72, lambda rows: [row.update(plane="axial") for row in rows[:3]])
    with pytest.raises(Refusal, match="several planes") as refused:
        train(several, tmp_path / "other")
    assert refused.value.code == "DATA_MANIFEST"
