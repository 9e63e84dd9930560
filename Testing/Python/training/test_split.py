"""split.json: what a fold may be, and what is read back, checked and described."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medimg_training.crossval_schemes import k_fold, nested, repeated_k_fold, with_inner
from medimg_training.datasets.manifest import Manifest
from medimg_training.schemes import make_split, split_from_column
from medimg_training.split import Fold, Split, read_evaluate_log
from MedImgClassifierLib.engine.errors import Refusal

MakeManifest = Callable[..., Path]
FRACTIONS: dict[Any, float] = {"fit": 0.6, "select": 0.1, "calibrate": 0.1, "evaluate": 0.2}


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(Refusal) as refused:
        call()
    assert refused.value.code == "DATA_SPLIT"
    return str(refused.value)


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def test_a_group_in_two_roles_or_twice_in_one_is_refused() -> None:
    assert "group 'a' is both in fit and in select" in refusal(lambda: Fold(fit=("a", "b"), select=("c", "a")))
    assert "role evaluate names a group twice" in refusal(lambda: Fold(("a",), evaluate=("b", "b")))


INNER = (Fold(("a", "b"), calibrate=("c",)), Fold(("c",), calibrate=("a", "b")))


@pytest.mark.parametrize(
    ("inner", "reason"),
    [
        ((*INNER, Fold(("a", "b", "z"), select=("c",))), "inner fold 2 and the fit role around it differ in group 'z'"),
        ((Fold(("a",), calibrate=("c",)),), "inner fold 0 and the fit role around it differ in group 'b'"),
        ((Fold(("a", "b"), evaluate=("c",)),), "must hold groups out in select or in calibrate"),
        ((Fold(("a",), ("b",), ("c",)),), "must hold groups out in select or in calibrate"),
        ((Fold(("a",), ("b",), evaluate=("c",)),), "must hold groups out in select or in calibrate"),
        ((Fold(("a", "b", "c")),), "must hold groups out in select or in calibrate"),
        ((Fold((), calibrate=("a", "b", "c")),), "nothing to fit on"),
        ((INNER[0], INNER[0]), "hold each group out once in calibrate: 'a', 'b', 'c'"),
        ((INNER[0],), "hold each group out once in calibrate: 'a', 'b'"),
        ((*INNER, Fold(("a", "b"), ("c",))), "hold each group out once in select: 'a', 'b'"),
        ((replace(INNER[0], inner=(Fold(("a",), ("b",)), Fold(("b",), ("a",)))), INNER[1]), "no other role beside fit"),
    ],
)
def test_inner_folds_hold_each_fit_group_out_once_and_know_no_other(inner: tuple[Fold, ...], reason: str) -> None:
    assert Fold(("a", "b", "c"), evaluate=("z",), inner=INNER).inner_for("calibrate") == INNER
    assert reason in refusal(lambda: Fold(("a", "b", "c"), evaluate=("z",), inner=inner))


def test_a_split_is_read_back_and_tied_to_its_manifest(png_manifest: MakeManifest, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    manifest = Manifest.read(png_manifest(90))
    for split in (
        make_split(manifest, FRACTIONS),
        split_from_column(manifest),
        repeated_k_fold(manifest, 3, [4, 5]),
        with_inner(manifest, nested(manifest, 3, 2), 4, "calibrate", 7),
    ):
        split.write(path)
        assert Split.read(path, manifest) == split
    other = Manifest.read(png_manifest(90, lambda rows: rows[0].update(label="high")))
    assert "belongs to another manifest" in refusal(lambda: Split.read(path, other))


@pytest.mark.parametrize(
    "content", ["{}", "[]", "not json", '{"format": 3}', '{"format": 1, "folds": [{"fit": [3]}], "how": ""}']
)
def test_what_is_no_split_is_refused(png_manifest: MakeManifest, tmp_path: Path, content: str) -> None:
    (tmp_path / "split.json").write_text(content)
    manifest = Manifest.read(png_manifest(18))
    assert "is not a split" in refusal(lambda: Split.read(tmp_path / "split.json", manifest))
    assert "is not a split" in refusal(lambda: Split.read(tmp_path / "nowhere.json", manifest))


def move(source: str, target: str, fold: int = 0) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        roles = content["folds"][fold]
        roles[target].append(roles[source].pop())

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda c: c["folds"][0]["fit"].append(c["folds"][0]["evaluate"][0]), "is both in fit and in evaluate"),
        (lambda c: c["folds"][0]["fit"].append("stranger"), "no labelled sample of group 'stranger'"),
        (move("evaluate", "fit"), "not evaluated exactly once over the folds: group"),
        (move("fit", "evaluate"), "not evaluated exactly once over the folds: group"),
        (move("fit", "select"), "its counts are not those of its folds"),
        (lambda c: c["counts"][0].update(groups=99), "its counts are not those of its folds"),
        (lambda c: c.update(folds=[]), "it has no folds"),
        (lambda c: c["folds"].pop(), "not evaluated exactly once"),
        (lambda c: c["parameters"].update(repeats=2), "3 folds are not 2 repeats"),
        (lambda c: c.update(scheme="by_slice"), "scheme 'by_slice' is unknown"),
        (lambda c: c["folds"][0].update(extra=[]), "is not a split"),
    ],
)
def test_a_tampered_split_file_is_refused(
    png_manifest: MakeManifest, tmp_path: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    manifest, path = Manifest.read(png_manifest(54)), tmp_path / "split.json"
    k_fold(manifest, 3).write(path)
    changed(path, change)
    assert reason in refusal(lambda: Split.read(path, manifest))


def test_a_group_that_one_repeat_misses_is_refused_though_another_has_it_twice(
    png_manifest: MakeManifest, tmp_path: Path
) -> None:
    manifest, path = Manifest.read(png_manifest(54)), tmp_path / "split.json"
    repeated_k_fold(manifest, 3, [0, 1]).write(path)
    changed(path, lambda content: content["folds"].insert(0, content["folds"].pop()))
    assert "not evaluated exactly once" in refusal(lambda: Split.read(path, manifest))


def test_splits_of_the_first_format_are_read(png_manifest: MakeManifest, tmp_path: Path) -> None:
    manifest, path = Manifest.read(png_manifest(18)), tmp_path / "split.json"
    fold = {"fit": ["g0", "g1", "g3", "g4"], "select": [], "calibrate": [], "evaluate": ["g2", "g5"]}
    content = {"format": 1, "folds": [fold], "how": "column 'split'", "manifest_sha256": manifest.sha256}
    path.write_text(json.dumps(content))
    assert Split.read(path, manifest) == split_from_column(manifest)
    path.write_text(json.dumps(content | {"how": "stratified by class within groups (fit 0.7; seed 0)"}))
    assert Split.read(path, manifest).scheme == "hold_out"


def test_the_file_is_short_enough_to_be_read_and_names_survive_it(png_manifest: MakeManifest, tmp_path: Path) -> None:
    odd = ["[1, 2]", "a\nb", "{x}, y", 'q"uo\\te', "王"]

    def rename(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            number = int(row["group"][1:])
            row["group"] = odd[number] if number < len(odd) else row["group"]

    manifest, path = Manifest.read(png_manifest(90, rename)), tmp_path / "split.json"
    split = k_fold(manifest, 2)
    split.write(path)
    assert Split.read(path, manifest) == split
    plain = Manifest.read(png_manifest(90))
    k_fold(plain, 2).write(path)
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 80
    assert json.loads(text)["manifest_sha256"] == plain.sha256
    assert {"scheme", "parameters", "seed", "counts", "folds", "how"} <= set(json.loads(text))


def test_the_description_counts_groups_and_samples_of_each_class(png_manifest: MakeManifest) -> None:
    def two_kinds(rows: list[dict[str, Any]]) -> None:
        del rows[17]  # group g5 lacks a high one
        rows[0].update(label="", group="unlabelled")

    manifest = Manifest.read(png_manifest(18, two_kinds))
    lines = split_from_column(manifest).describe().splitlines()
    assert lines[0] == "Column 'split'. Cells are groups / samples."
    assert lines[2] == "| fold | role | all | low | middle | high |"
    assert lines[4] == "| 0 | fit | 4 / 11 | 3 / 3 | 4 / 4 | 4 / 4 |"
    assert lines[5] == "| 0 | evaluate | 2 / 5 | 2 / 2 | 2 / 2 | 1 / 1 |"
    assert len(lines) == 6
    inside = with_inner(manifest, split_from_column(manifest), 2, "calibrate").describe()
    assert "Within fit: 2 inner folds to calibrate with." in inside and "select with" not in inside


def test_without_a_log_nothing_was_read(tmp_path: Path) -> None:
    assert read_evaluate_log(tmp_path / "split.json") == []
