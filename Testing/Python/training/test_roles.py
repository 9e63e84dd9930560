"""Rows know their role: fitting on others is an error of types and of the run, and evaluating is logged first."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import medimg_training
from medimg_training import roles
from medimg_training.cache import PreparedSet
from medimg_training.fit import fit
from medimg_training.onnx_form import Roles, make
from medimg_training.predict import predict_logits
from medimg_training.recipe import Recipe
from medimg_training.roles import (
    CalibrateRows,
    EvaluateRows,
    FitRows,
    SelectRows,
    fold_rows,
    indices_of,
    read_evaluate,
    require_apart,
)
from medimg_training.split import Fold, Split, read_evaluate_log
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import InputSpec

PACKAGE = Path(medimg_training.__file__).parent
FOLD = Fold(("g0", "g1"), ("g2",), ("g3", "g4"), ("g5", "g6"))
MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def split(tmp_path: Path) -> Split:
    """Two folds, whose split.json is in tmp_path."""
    made = Split((FOLD, replace(FOLD, fit=FOLD.evaluate, evaluate=FOLD.fit)), "by hand", "of no manifest")
    made.write(tmp_path / "split.json")
    return made


def refused(call: Callable[[], object], code: str = "DATA_SPLIT") -> str:
    with pytest.raises(Refusal) as refusal:
        call()
    assert refusal.value.code == code
    return str(refusal.value)


def test_rows_are_the_labelled_images_of_a_fold_s_groups(prepared: PreparedSet) -> None:
    prepared.labels[4] = -1
    rows = fold_rows(prepared, FOLD)
    assert [type(part) for part in rows] == [FitRows, SelectRows, CalibrateRows]
    assert [list(part.indices) for part in rows] == [[0, 1, 2, 3, 5], [6, 7, 8], [9, 10, 11, 12, 13, 14]]
    assert rows.fit.groups == ("g0", "g0", "g0", "g1", "g1") and len(rows.fit) == 5
    assert len(fold_rows(prepared, Fold(("g0",))).select) == 0


def test_rows_cannot_be_made_of_chosen_numbers_nor_changed(prepared: PreparedSet) -> None:
    rows: Any = fold_rows(prepared, FOLD).fit
    with pytest.raises(TypeError, match="FitRows come from fold_rows or read_evaluate only"):
        FitRows(np.arange(3), ("g9",) * 3, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="maker"):
        replace(rows, indices=np.arange(6))
    with pytest.raises(FrozenInstanceError):
        rows.indices = np.arange(6)
    with pytest.raises(ValueError, match="read-only"):
        rows.indices[0] = 17


def test_a_part_of_rows_keeps_their_role(prepared: PreparedSet, split: Split, tmp_path: Path) -> None:
    read_evaluate(tmp_path / "split.json", 0, prepared, split, "a look", "abc")
    rows = read_evaluate(tmp_path / "split.json", 0, prepared, split, "another look", "abc")
    part = rows.part(prepared.labels[rows.indices] == 1)
    assert type(part) is EvaluateRows and part.reading == 2
    assert (list(part.indices), part.groups) == ([16, 19], ("g5", "g6"))
    for wrong in (np.array([0, 1]), np.ones(5, np.bool_), np.ones(6)):
        with pytest.raises(ValueError, match="6 times true or false"):
            rows.part(wrong)


def test_the_evaluate_role_is_had_only_through_the_log(prepared: PreparedSet, split: Split, tmp_path: Path) -> None:
    path = tmp_path / "split.json"
    assert read_evaluate_log(path) == []
    assert "evaluate" not in fold_rows(prepared, FOLD)._fields
    first = read_evaluate(path, 0, prepared, split, "a look", "abc")
    other = read_evaluate(path, 1, prepared, split, "another fold", "abc")
    again = read_evaluate(path, 0, prepared, split, "the final figures", "def")
    assert list(first.indices) == list(again.indices) == [15, 16, 17, 18, 19, 20]
    assert list(other.indices) == [0, 1, 2, 3, 4, 5]
    assert [rows.reading for rows in (first, other, again)] == [1, 1, 2]
    entries = read_evaluate_log(path)
    assert [(e["fold"], e["purpose"], e["recipe_sha256"]) for e in entries] == [
        (0, "a look", "abc"),
        (1, "another fold", "abc"),
        (0, "the final figures", "def"),
    ]
    assert all(entry["time"].endswith("+00:00") for entry in entries)


def test_where_the_log_cannot_be_written_nothing_is_read(
    prepared: PreparedSet, split: Split, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(opened: int) -> None:
        if stat.S_ISREG(os.fstat(opened).st_mode):  # the log itself, not its folder
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(roles.os, "fsync", full)
        text = refused(
            lambda: read_evaluate(tmp_path / "split.json", 0, prepared, split, "x", "y"), "USAGE_OUTPUT_NOT_WRITABLE"
        )
    assert "No space left" in text
    (tmp_path / "evaluate_log.jsonl").unlink()
    (tmp_path / "evaluate_log.jsonl").mkdir()
    refused(lambda: read_evaluate(tmp_path / "split.json", 0, prepared, split, "x", "y"), "USAGE_OUTPUT_NOT_WRITABLE")


def test_a_line_of_the_log_that_was_cut_short_stays_a_reading(
    prepared: PreparedSet, split: Split, tmp_path: Path
) -> None:
    log = tmp_path / "evaluate_log.jsonl"
    log.write_text('{"fold": 1, "purpose": "whole"}\n{"fold": 0, "purp', encoding="utf-8")
    rows = read_evaluate(tmp_path / "split.json", 0, prepared, split, "after the crash", "abc")
    assert rows.reading == 2
    entries = read_evaluate_log(tmp_path / "split.json")
    assert entries[1] == {"damaged": '{"fold": 0, "purp'} and entries[2]["purpose"] == "after the crash"
    assert len(log.read_text(encoding="utf-8").splitlines()) == 3


def test_readings_that_cannot_be_are_refused_and_not_logged(
    prepared: PreparedSet, split: Split, tmp_path: Path
) -> None:
    path = tmp_path / "split.json"
    changed = replace(split, folds=(Fold(("g0",), evaluate=("g1",)),))
    assert "another split" in refused(lambda: read_evaluate(path, 0, prepared, changed, "x", "y"))
    assert "no fold 2" in refused(lambda: read_evaluate(path, 2, prepared, split, "x", "y"))
    assert "no fold -1" in refused(lambda: read_evaluate(path, -1, prepared, split, "x", "y"))
    prepared.labels[18:21] = -1
    assert "evaluate group 'g6'" in refused(lambda: read_evaluate(path, 0, prepared, split, "x", "y"))
    empty = Split((Fold(("g0",)),), "by hand", "")
    empty.write(path)
    assert "nobody in evaluate" in refused(lambda: read_evaluate(path, 0, prepared, empty, "x", "y"))
    assert not (tmp_path / "evaluate_log.jsonl").exists()


def test_fitting_and_predicting_take_rows_of_their_role_only(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, split: Split, tmp_path: Path
) -> None:
    fit_rows, select_rows, calibrate_rows = fold_rows(prepared, FOLD)
    evaluate_rows = read_evaluate(tmp_path / "split.json", 0, prepared, split, "x", "y")
    out = tmp_path / "fit"
    for wrong in (select_rows, calibrate_rows, evaluate_rows, np.arange(60)):
        with pytest.raises(TypeError, match=f"FitRows are needed here, not {type(wrong).__name__}"):
            fit(recipe(), prepared, spec, wrong, select_rows, out)  # type: ignore[arg-type]
    for wrong in (fit_rows, calibrate_rows, evaluate_rows):
        with pytest.raises(TypeError, match=f"SelectRows are needed here, not {type(wrong).__name__}"):
            fit(recipe(), prepared, spec, fit_rows, wrong, out)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Rows are needed here, not ndarray"):
        predict_logits(None, prepared, np.arange(3), spec)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="SelectRows are needed here, not EvaluateRows"):
        make(None, Roles(prepared, fit_rows, evaluate_rows), np.zeros((1, 1, 12, 12)))  # type: ignore[arg-type]
    assert not out.exists()


def test_rows_of_another_set_or_another_fold_are_refused(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path
) -> None:
    rows = fold_rows(prepared, FOLD)
    other = replace(prepared, groups=prepared.groups[3:] + prepared.groups[:3])
    assert "FitRows are of another prepared set" in refused(lambda: indices_of(FitRows, rows.fit, other))
    few = replace(prepared, groups=prepared.groups[:4])
    few = replace(few, labels=few.labels[:4])
    assert "another prepared set" in refused(lambda: indices_of(FitRows, rows.fit, few))
    crossed = fold_rows(prepared, Fold(("g9",), ("g1", "g7"))).select
    assert "group 'g1' is in FitRows and SelectRows" in refused(lambda: require_apart(rows.fit, crossed))
    refused(lambda: fit(recipe(), prepared, spec, rows.fit, crossed, tmp_path / "fit"))
    assert not (tmp_path / "fit").exists()


SNIPPET = """\
from pathlib import Path
import numpy as np
from medimg_training.cache import PreparedSet
from medimg_training.fit import fit
from medimg_training.onnx_form import Roles
from medimg_training.predict import predict_logits
from medimg_training.recipe import Recipe
from medimg_training.roles import CalibrateRows, EvaluateRows, FitRows, FoldRows, SelectRows
from MedImgClassifierLib.engine.preprocess import InputSpec

def use(recipe: Recipe, p: PreparedSet, spec: InputSpec, rows: FoldRows, evaluate: EvaluateRows, out: Path) -> None:
    result = fit(recipe, p, spec, rows.fit, rows.select, out)
    predict_logits(result.module, p, evaluate, spec)
    Roles(p, rows.fit, rows.select)
    fit(recipe, p, spec, rows.fit.part(p.labels[rows.fit.indices] > 0), rows.select, out)
    fit(recipe, p, spec, evaluate, rows.select, out)  # WRONG "EvaluateRows"; expected "FitRows"
    fit(recipe, p, spec, rows.select, rows.select, out)  # WRONG "SelectRows"; expected "FitRows"
    fit(recipe, p, spec, rows.calibrate, rows.select, out)  # WRONG "CalibrateRows"; expected "FitRows"
    fit(recipe, p, spec, rows.fit, evaluate, out)  # WRONG "EvaluateRows"; expected "SelectRows"
    fit(recipe, p, spec, np.arange(3), rows.select, out)  # WRONG expected "FitRows"
    fit(recipe, p, spec, evaluate.part(p.labels > 0), rows.select, out)  # WRONG "EvaluateRows"; expected "FitRows"
    predict_logits(result.module, p, np.arange(3), spec)  # WRONG expected "Rows"
    Roles(p, rows.fit, evaluate)  # WRONG "EvaluateRows"; expected "SelectRows"
    FitRows(np.arange(3), ("a",) * 3)  # WRONG Missing positional argument "maker"
    rows.evaluate  # WRONG has no attribute "evaluate"
"""


def test_mypy_sees_every_row_in_the_wrong_place(tmp_path: Path) -> None:
    (tmp_path / "snippet.py").write_text(SNIPPET, encoding="utf-8")
    # without torch and its like, which take a minute and have nothing to do with rows
    skipped = ("torch", "torchvision", "sklearn", "scipy", "onnx", "onnxruntime", "openvino", "SimpleITK", "tqdm")
    skips = "".join(f"[mypy-{name}.*]\nfollow_imports = skip\nignore_missing_imports = True\n" for name in skipped)
    search = f"{PACKAGE.parent}:{PACKAGE.parents[1] / 'MedImgClassifier'}"
    about = f"[mypy]\nmypy_path = {search}\nfollow_imports = silent\nignore_missing_imports = True\n"
    (tmp_path / "mypy.ini").write_text(about + skips, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "snippet.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    found = {int(line): text for line, text in re.findall(r"snippet\.py:(\d+): error: (.*)", done.stdout)}
    expected = {
        number: line.partition("# WRONG ")[2]
        for number, line in enumerate(SNIPPET.splitlines(), 1)
        if "# WRONG " in line
    }
    assert set(found) == set(expected), done.stdout + done.stderr
    assert all(expected[number] in found[number] for number in expected), done.stdout


def test_groups_become_rows_in_one_file_and_a_split_by_slice_is_made_in_one() -> None:
    """`of_groups` gives bare numbers of any role, so only `roles` may call it."""

    def users(pattern: str) -> set[str]:
        files = PACKAGE.rglob("*.py")
        return {file.name for file in files if re.search(pattern, file.read_text(encoding="utf-8"))}

    assert users(r"\.of_groups\(") == {"roles.py"}
    assert users(r"\b(StratifiedKFold|KFold|ShuffleSplit|StratifiedShuffleSplit|train_test_split)\b") == {"leakage.py"}


def test_the_log_is_text_that_others_read(prepared: PreparedSet, split: Split, tmp_path: Path) -> None:
    read_evaluate(tmp_path / "split.json", 0, prepared, split, "a look\nat 患者", "abc")
    (line,) = (tmp_path / "evaluate_log.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line)["purpose"] == "a look\nat 患者" and "患者" in line
