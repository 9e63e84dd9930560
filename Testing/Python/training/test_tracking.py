"""What can be followed: history.jsonl, TensorBoard, a bar where there is a terminal and lines where there is none."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from medimg_training.cache import PreparedSet
from medimg_training.fit import fit
from medimg_training.recipe import Recipe
from medimg_training.roles import fold_rows
from medimg_training.split import Fold
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import InputSpec

FOLD = Fold(tuple(f"g{n}" for n in range(20)), tuple(f"g{n}" for n in range(20, 25)))
MakeRecipe = Callable[..., Recipe]


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a stand-in for TensorBoard's SummaryWriter is told."""
    told: list[Any] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int) -> None:
            told.append(("open", Path(folder).name, purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            told.append((name, step))

        def flush(self) -> None:
            pass

        def close(self) -> None:
            told.append("close")

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    return told


def test_the_history_has_a_line_an_epoch_with_loss_rate_speed_and_gradient(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path
) -> None:
    result = fit(recipe(), prepared, spec, *fold_rows(prepared, FOLD)[:2], tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert lines == result.history
    names = {"epoch", "loss", "rate", "gradient_norm", "seconds", "images_per_second", "select_loss", "select_accuracy"}
    assert [line["epoch"] for line in lines] == [0, 1, 2]
    for line in lines:
        assert set(line) == names
        assert line["gradient_norm"] > 0
        assert line["images_per_second"] == pytest.approx(48 / line["seconds"], rel=0.2)  # three batches of 16


def test_a_gradient_beyond_float16_stays_out_of_the_history(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first scale of float16 is often too large for the first steps, which are then left out."""
    import torch

    def large(*arguments: Any, **choices: Any) -> Any:
        return scaler(*arguments, init_scale=2.0**40, **choices)

    scaler = torch.amp.GradScaler
    monkeypatch.setattr(torch.amp, "GradScaler", large)
    result = fit(recipe(amp="float16", epochs=2), prepared, spec, *fold_rows(prepared, FOLD)[:2], tmp_path)
    first, last = (entry["gradient_norm"] for entry in result.history)
    assert first == 0 and np.isfinite(last)
    assert "Infinity" not in (tmp_path / "history.jsonl").read_text()


def test_without_a_terminal_each_epoch_is_one_plain_line_with_the_time_left(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(recipe(), prepared, spec, *fold_rows(prepared, FOLD)[:2], tmp_path, progress=True)
    told = capsys.readouterr().err
    assert "\r" not in told and "\x1b" not in told
    lines = told.splitlines()
    assert [line.partition(",")[0] for line in lines] == [f"fit: epoch {n} of 3" for n in (1, 2, 3)]
    assert all(re.search(r", \d+:\d\d left: loss \d", line) for line in lines)
    assert "00:00 left" in lines[-1]
    fit(recipe(), prepared, spec, *fold_rows(prepared, FOLD)[:2], tmp_path / "quiet")
    assert capsys.readouterr().err == ""


def test_on_a_terminal_one_bar_runs_over_all_epochs(
    prepared: PreparedSet,
    spec: InputSpec,
    recipe: MakeRecipe,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    fit(recipe(), prepared, spec, *fold_rows(prepared, FOLD)[:2], tmp_path, progress=True)
    told = capsys.readouterr().err
    assert "\r" in told and "9/9" in told and "fit: epoch" not in told


def test_tensorboard_shows_the_history_and_all_of_it_again_after_a_stop(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path, written: list[Any]
) -> None:
    for _ in range(2):  # the second time everything comes from the checkpoint
        fit(recipe(), prepared, spec, *fold_rows(prepared, FOLD)[:2], tmp_path, tensorboard=True)
    half = len(written) // 2
    assert written[:half] == written[half:]
    assert written[0] == ("open", "tensorboard", 0) and written[half - 1] == "close"
    scalars = set(written) - {written[0], "close"}
    assert len(scalars) == half - 2 == 3 * 7
    assert {("loss", 0), ("gradient_norm", 1), ("select/accuracy", 2)} <= scalars


def test_without_tensorboard_installed_it_is_refused_before_anything_is_written(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(Refusal, match="pip install tensorboard") as refused:
        fit(recipe(), prepared, spec, *fold_rows(prepared, FOLD)[:2], tmp_path / "out", tensorboard=True)
    assert refused.value.code == "RESOURCE_MISSING_LIBRARY"
    assert not (tmp_path / "out").exists()
