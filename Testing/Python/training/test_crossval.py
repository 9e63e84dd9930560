"""Training by a plan: each image answered by models that never saw its group, and everything can be done again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medimg_training import crossval
from medimg_training.cache import PreparedSet
from medimg_training.crossval import split_of, train_by_plan
from medimg_training.datasets.manifest import Manifest
from medimg_training.evaluation.predictions import Predictions
from medimg_training.plan import Choice, Plan
from medimg_training.split import Split, read_evaluate_log
from MedImgClassifierLib.cli import main
from MedImgClassifierLib.engine.errors import Refusal

MakeManifest = Callable[..., Path]
WISHES: dict[str, Any] = {
    "plane": "native",
    "field_of_view_mm": 0,
    "size": 16,
    "modality": "",
    "units": "arbitrary",
    "intensity": "percentile",
    "network": "narrow_resnet",
    "norm": "batch",
    "pretrained": "random",
    "preset": "adamw",
    "learning_rate": 0.01,
    "epochs": 2,
    "batch": 16,
    "sampler": "natural",
    "class_weights": "none",
    "augmentation": "light",
    "flips": [],
    "amp": "off",
    "scheme": "k_fold",
    "folds": 3,
    "seeds": 2,
}


@pytest.fixture
def manifest(png_manifest: MakeManifest) -> Manifest:
    def change(rows: list[dict[str, Any]]) -> None:
        for n, row in enumerate(rows):
            row.update(fold=str(n // 3 % 2), site=("north", "south")[n // 3 % 2], age=str(20 + n))

    return Manifest.read(png_manifest(36, change))


def plan_for(manifest: Manifest, **wishes: Any) -> Plan:
    choices = {name: Choice(value, "for the test") for name, value in {**WISHES, **wishes}.items()}
    return Plan(choices, manifest.task, manifest.classes, manifest.sha256, "0" * 64)


def trained(plan: Plan, manifest: Manifest, out: Path) -> Split:
    out.mkdir(exist_ok=True)
    split = split_of(plan, manifest, out / "split.json")
    train_by_plan(plan, manifest, split, out, device="cpu")
    return split


def test_every_image_is_answered_once_a_seed_by_a_model_that_never_saw_its_group(
    manifest: Manifest, tmp_path: Path
) -> None:
    split = trained(plan_for(manifest), manifest, tmp_path)
    answers = Predictions.read(tmp_path / "predictions.csv")
    assert len(answers) == 2 * 36
    for seed in (0, 1):
        assert sorted(np.array(answers.samples)[answers.seeds == seed]) == sorted(row.sample for row in manifest.rows)
    for group, fold in zip(answers.groups, answers.folds, strict=True):
        assert group in split.folds[fold].evaluate
        assert group not in split.folds[fold].fit
    assert answers.covariates["age"][0] == next(
        r.covariates["age"] for r in manifest.rows if r.sample == answers.samples[0]
    )
    assert set(answers.covariates) == {"site", "age"}
    one, other = answers.by_seed()
    assert not np.array_equal(one.logits, other.logits)
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["n"], figures["seeds"], figures["folds"]) == (36, 2, 3)
    assert "balanced accuracy" in (tmp_path / "figures.md").read_text()


def test_poisoned_images_of_a_fold_change_no_model_that_does_not_fit_them(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(manifest, seeds=1, sampler="balanced", class_weights="balanced")
    split = trained(plan, manifest, tmp_path / "clean")
    held_out = set(split.folds[0].evaluate)
    prepare = crossval.prepare

    def poisoned(*arguments: Any, **named: Any) -> PreparedSet:
        prepared = prepare(*arguments, **named)
        images = np.array(prepared.images)
        images[[group in held_out for group in prepared.groups]] *= -1e6
        return PreparedSet(**{**vars(prepared), "images": images})

    monkeypatch.setattr(crossval, "prepare", poisoned)
    trained(plan, manifest, tmp_path / "dirty")
    losses = []
    for name in ("clean", "dirty"):
        lines = (tmp_path / name / "fold_0" / "seed_0" / "history.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[0] == losses[1]
    clean, dirty = (Predictions.read(tmp_path / name / "predictions.csv") for name in ("clean", "dirty"))
    assert not np.array_equal(clean.logits, dirty.logits)  # the poison was there


def test_a_run_that_was_stopped_goes_on_and_reads_nothing_twice(
    manifest: Manifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_for(manifest)
    trained(plan, manifest, tmp_path / "whole")
    fit, calls = crossval.fit, iter(range(100))

    def stopped(*arguments: Any, **named: Any) -> Any:
        if next(calls) == 4:
            raise KeyboardInterrupt
        return fit(*arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(crossval, "fit", stopped)
        with pytest.raises(KeyboardInterrupt):
            trained(plan, manifest, tmp_path / "parts")
    assert not (tmp_path / "parts" / "predictions.csv").exists()
    trained(plan, manifest, tmp_path / "parts")
    same = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("whole", "parts")]
    assert same[0] == same[1]
    for name in ("whole", "parts"):
        assert len(read_evaluate_log(tmp_path / name / "split.json")) == 6
    trained(plan, manifest, tmp_path / "whole")
    assert len(read_evaluate_log(tmp_path / "whole" / "split.json")) == 6


def test_another_plan_in_the_same_folder_is_refused(manifest: Manifest, tmp_path: Path) -> None:
    trained(plan_for(manifest, seeds=1), manifest, tmp_path)
    for wishes, code in (({"epochs": 3}, "DATA_CHECKPOINT"), ({"folds": 2}, "DATA_SPLIT")):
        with pytest.raises(Refusal) as refused:
            trained(plan_for(manifest, seeds=1, **wishes), manifest, tmp_path)
        assert refused.value.code == code


def test_the_plan_s_scheme_makes_the_folds(manifest: Manifest, tmp_path: Path) -> None:
    for scheme, folds in (("fold_column", 2), ("column", 1)):
        split = split_of(plan_for(manifest, scheme=scheme), manifest, tmp_path / f"{scheme}.json")
        assert (split.scheme, len(split.folds)) == (scheme, folds)
        assert Split.read(tmp_path / f"{scheme}.json", manifest) == split


def test_a_column_without_test_is_refused(png_manifest: MakeManifest, tmp_path: Path) -> None:
    manifest = Manifest.read(png_manifest(18, lambda rows: [row.update(split="train") for row in rows]))
    with pytest.raises(Refusal, match="nobody to evaluate"):
        split_of(plan_for(manifest, scheme="column"), manifest, tmp_path / "split.json")
    assert not (tmp_path / "split.json").exists()


def test_from_the_plan_to_the_figures_by_commands(
    png_manifest: MakeManifest, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = png_manifest(36, lambda rows: [row.pop("split") for row in rows])
    out, manifest = tmp_path / "run", Manifest.read(path)
    wishes = [f"--set={name}={json.dumps(value)}" for name, value in WISHES.items()]
    assert main(["plan", str(path), "--out", str(out), *wishes]) == 0
    assert main(["train", str(path), "--out", str(out), "--plan", "--device", "cpu"]) == 0
    assert "mean of 2 seeds" in capsys.readouterr().out
    assert len(Predictions.read(out / "predictions.csv")) == 2 * len(manifest.rows)
    assert main(["train", str(path), "--out", str(out), "--plan", "--learning-rate", "0.5"]) == 2
    assert "--learning-rate is no option beside --plan" in capsys.readouterr().err
    plan = plan_for(manifest).changed({"epochs": 5}, "edited")
    plan.write(tmp_path / "other.json")
    assert main(["train", str(path), "--out", str(out), "--plan", str(tmp_path / "other.json")]) == 3
    assert "error[DATA_CHECKPOINT]" in capsys.readouterr().err


def test_a_network_that_does_not_take_the_plan_s_size_is_refused_before_it_is_fitted(
    manifest: Manifest, tmp_path: Path
) -> None:
    plan = plan_for(manifest, network="alexnet", size=8)
    plan = Plan({name: own for name, own in plan.choices.items() if name != "norm"}, *list(vars(plan).values())[1:])
    with pytest.raises(Refusal) as refused:
        trained(plan, manifest, tmp_path)
    assert refused.value.code == "USAGE_NETWORK_SIZE"
    assert not (tmp_path / "fold_0").exists()
