"""Splits: no group is in two roles, whatever is asked for."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medimg_training.datasets.manifest import Manifest
from medimg_training.schemes import make_split, split_from_column
from medimg_training.split import (
    ROLES,
    Fold,
    Split,
    read_evaluate_log,
)
from MedImgClassifierLib.engine.errors import Refusal

MakeManifest = Callable[..., Path]
FRACTIONS: dict[Any, float] = {"fit": 0.6, "select": 0.1, "calibrate": 0.1, "evaluate": 0.2}


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refused:
        call()
    assert refused.value.code == "DATA_SPLIT"
    return str(refused.value)


def test_the_column_s_words_become_roles(png_manifest: MakeManifest) -> None:
    (fold,) = split_from_column(Manifest.read(png_manifest(18))).folds
    assert fold == Fold(fit=("g0", "g1", "g3", "g4"), evaluate=("g2", "g5"))


def test_a_group_in_two_roles_is_refused(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(18, lambda rows: rows[1].update(split="test")))
    assert "group 'g0' is both in fit and in evaluate" in refusal(lambda: split_from_column(manifest))
    assert "group 'a' is both in fit and in select" in refusal(lambda: Fold(fit=("a", "b"), select=("c", "a")))


def test_a_tampered_split_file_is_refused(png_manifest: MakeManifest, tmp_path: Path) -> None:
    manifest = Manifest.read(png_manifest(18))
    split_from_column(manifest).write(tmp_path / "split.json")
    content = json.loads((tmp_path / "split.json").read_text())
    content["folds"][0]["fit"].append("g2")
    (tmp_path / "split.json").write_text(json.dumps(content))
    assert "group 'g2' is both" in refusal(lambda: Split.read(tmp_path / "split.json", manifest))


def test_words_without_a_role_and_classes_that_cannot_be_fitted_are_refused(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(18, lambda rows: rows[4].update(split="")))
    assert "sample 's4' has split ''" in refusal(lambda: split_from_column(manifest))

    def leave_out_high(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["label"] == "high":
                row.update(split="test", group="other")

    manifest = Manifest.read(png_manifest(18, leave_out_high))
    assert "role fit has no group of class high" in refusal(lambda: split_from_column(manifest))


def test_unlabelled_rows_need_no_role(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(18, lambda rows: rows[0].update(split="", label="", group="elsewhere")))
    assert "elsewhere" not in split_from_column(manifest).folds[0].fit


def test_a_made_split_keeps_groups_whole_and_roles_near_their_fractions(png_manifest: MakeManifest) -> None:
    def unequal(rows: list[dict[str, Any]]) -> None:
        for n, row in enumerate(rows):
            row["group"] = f"p{min(n // 2, 3 + n // 5)}"

    manifest = Manifest.read(png_manifest(240, unequal))
    (fold,) = make_split(manifest, FRACTIONS, seed=3).folds
    everyone = [group for role in ROLES for group in getattr(fold, role)]
    assert sorted(everyone) == sorted({row.group for row in manifest.rows})
    for role in ROLES:
        rows = [row for row in manifest.rows if row.group in getattr(fold, role)]
        assert len(rows) / 240 == pytest.approx(FRACTIONS[role], abs=0.05)
        assert all(
            count / len(rows) == pytest.approx(1 / 3, abs=0.1) for count in Counter(r.label for r in rows).values()
        )


def test_a_made_split_follows_its_seed(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(120))
    assert make_split(manifest, FRACTIONS, 1) == make_split(manifest, FRACTIONS, 1)
    assert make_split(manifest, FRACTIONS, 1) != make_split(manifest, FRACTIONS, 2)


@pytest.mark.parametrize("fractions", [{"fit": 0.5}, {"fit": 1.2, "evaluate": -0.2}, {"evaluate": 1.0}, {"train": 1.0}])
def test_fractions_that_are_none_are_refused(png_manifest: MakeManifest, fractions: dict[Any, float]) -> None:
    manifest = Manifest.read(png_manifest(18))
    refusal(lambda: make_split(manifest, fractions))


def test_too_few_groups_are_refused(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(9))
    assert "3 groups are too few" in refusal(lambda: make_split(manifest, FRACTIONS))


def test_too_few_samples_of_every_class_are_refused(png_manifest: MakeManifest) -> None:
    def one_by_one(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["group"] = row["sample"]

    manifest = Manifest.read(png_manifest(9, one_by_one))
    assert "no class has the 5 samples" in refusal(lambda: make_split(manifest, FRACTIONS))


def test_a_split_is_read_back_and_tied_to_its_manifest(png_manifest: MakeManifest, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    manifest = Manifest.read(png_manifest(60))
    split = make_split(manifest, FRACTIONS)
    split.write(path)
    assert Split.read(path, manifest) == split
    other = Manifest.read(png_manifest(60, lambda rows: rows[0].update(label="high")))
    assert "belongs to another manifest" in refusal(lambda: Split.read(path, other))
    path.write_text("{}")
    assert "is not a split" in refusal(lambda: Split.read(path, manifest))


def test_each_reading_of_the_evaluate_role_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    assert read_evaluate_log(path) == []
    log_evaluation(path, "a look", "abc")
    log_evaluation(path, "the final figures", "def", fold=1)
    entries = read_evaluate_log(path)
    assert [(e["purpose"], e["recipe_sha256"], e["fold"]) for e in entries] == [
        ("a look", "abc", 0),
        ("the final figures", "def", 1),
    ]
    assert all(entry["time"].endswith("+00:00") for entry in entries)
