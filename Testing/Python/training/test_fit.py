"""Fitting: it learns, forgets nothing at a crash, sees only what it may see, and sees what inference sees."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medimg_training import checkpoint
from medimg_training.augmentation.batches import training_batch
from medimg_training.cache import PreparedSet
from medimg_training.fit import FitResult, fit, training_inputs
from medimg_training.predict import predict_logits
from medimg_training.recipe import Recipe
from medimg_training.roles import fold_rows
from medimg_training.split import Fold
from medimg_training.state import FitState
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import InputSpec, Percentile, Window, intensity

NAMES = tuple(f"g{n}" for n in range(32))
FOLD = Fold(NAMES[:20], NAMES[20:25], NAMES[25:])
_BLANK = np.zeros((96, 1, 1, 1), np.float32)
_EACH = (tuple(f"g{n // 3}" for n in range(96)), ("",) * 96, ("",) * 96)
# the groups are those of the fixture `prepared`, and so are the rows
FIT, SELECT, HELD_OUT = fold_rows(
    PreparedSet(_BLANK, np.zeros(96, np.int64), ("a", "b"), ("",) * 96, (0,) * 96, *_EACH), FOLD
)
MakeRecipe = Callable[..., Recipe]


def noise(images: np.ndarray, modalities: Sequence[str], random: np.random.Generator) -> np.ndarray:
    return images + random.normal(0, 5, images.shape).astype(np.float32)


def same_weights(one: FitResult, other: FitResult) -> bool:
    pairs = zip(one.module.state_dict().values(), other.module.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def timeless(result: FitResult) -> list[dict[str, Any]]:
    """The history without what a clock has told."""
    return [{k: v for k, v in line.items() if k not in ("seconds", "images_per_second")} for line in result.history]


class Plain(torch.nn.Module):
    """Without batch norm, so that the images of a batch do not see each other."""

    def __init__(self, labels: int) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 16), torch.nn.ReLU())
        self.head = torch.nn.Linear(16, labels)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.body(images))
        return logits


@pytest.fixture
def plain_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medimg_training.fit.build", lambda name, labels, channels, **options: Plain(labels))


class KilledError(Exception):
    pass


def killed_in(epoch: int, batch: int, batches: int = 3) -> Callable[..., np.ndarray]:
    """Augmentation that dies when it is asked for that batch."""
    calls = iter(range(10_000))

    def augment(images: np.ndarray, modalities: Sequence[str], random: np.random.Generator) -> np.ndarray:
        if next(calls) == epoch * batches + batch:
            raise KilledError
        return noise(images, modalities, random)

    return augment


def test_a_tiny_set_is_learned(prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path) -> None:
    result = fit(recipe(epochs=12, learning_rate=0.01), prepared, spec, FIT, SELECT, tmp_path)
    logits = predict_logits(result.module, prepared, HELD_OUT, spec, batch=8)
    assert (logits.argmax(1) == prepared.labels[HELD_OUT.indices]).mean() >= 0.95
    assert result.history[-1]["loss"] < 0.5 * result.history[0]["loss"]


def test_the_brief_s_preset_is_sgd_with_momentum_at_a_constant_rate(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path
) -> None:
    sgd = recipe("sgd", epochs=2)
    assert (sgd.optimizer, sgd.learning_rate, sgd.weight_decay, sgd.label_smoothing) == ("sgd", 0.001, 0.0, 0.0)
    result = fit(sgd, prepared, spec, FIT, SELECT, tmp_path)
    assert {entry["rate"] for entry in result.history} == {0.001}
    state = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    assert {group["momentum"] for group in state["optimizer"]["param_groups"]} == {0.9}


def test_adamw_warms_up_and_ends_at_zero(recipe: MakeRecipe) -> None:
    rates = [recipe("adamw").rate(step, 100) for step in range(101)]
    assert rates[0] < rates[4] == max(rates) == 0.001
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[100] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("place", [(0, 0), (1, 2), (2, 1)])
@pytest.mark.parametrize("choices", [{}, {"ema_decay": 0.9, "images_per_class": 16}])
def test_a_run_killed_anywhere_and_resumed_ends_with_the_same_bits(
    prepared: PreparedSet,
    spec: InputSpec,
    recipe: MakeRecipe,
    tmp_path: Path,
    place: tuple[int, int],
    choices: dict[str, Any],
) -> None:
    chosen = recipe(**choices)
    whole = fit(chosen, prepared, spec, FIT, SELECT, tmp_path / "whole", noise)
    with pytest.raises(KilledError):
        fit(chosen, prepared, spec, FIT, SELECT, tmp_path / "killed", killed_in(*place))
    resumed = fit(chosen, prepared, spec, FIT, SELECT, tmp_path / "killed", noise)
    assert same_weights(whole, resumed)
    assert timeless(whole) == timeless(resumed)
    lines = (tmp_path / "killed" / "history.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2]


def test_dropout_goes_on_where_it_stopped(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(name: str, labels: int, channels: int, **options: Any) -> torch.nn.Module:
        nn = torch.nn
        return nn.Sequential(nn.Flatten(), nn.Linear(256, 16), nn.Dropout(0.5), nn.Linear(16, labels))

    monkeypatch.setattr("medimg_training.fit.build", build)
    whole = fit(recipe(), prepared, spec, FIT, SELECT, tmp_path / "whole", noise)
    with pytest.raises(KilledError):
        fit(recipe(), prepared, spec, FIT, SELECT, tmp_path / "killed", killed_in(1, 1))
    torch.manual_seed(99)
    assert same_weights(whole, fit(recipe(), prepared, spec, FIT, SELECT, tmp_path / "killed", noise))


@pytest.mark.parametrize("call", range(2, 9))
def test_a_run_killed_while_saving_resumes_from_an_intact_checkpoint(
    prepared: PreparedSet,
    spec: InputSpec,
    recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: int,
) -> None:
    whole = fit(recipe(), prepared, spec, FIT, SELECT, tmp_path / "whole")
    calls, rename = iter(range(1000)), os.replace

    def dies(*paths: Any) -> None:
        if next(calls) == call:
            raise KilledError
        rename(*paths)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", dies)
        with pytest.raises(KilledError):
            fit(recipe(), prepared, spec, FIT, SELECT, tmp_path / "killed")
    found = checkpoint.load(tmp_path / "killed", {})
    assert found is not None
    assert same_weights(whole, fit(recipe(), prepared, spec, FIT, SELECT, tmp_path / "killed"))


def test_a_damaged_checkpoint_gives_way_to_the_one_before_it(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = fit(recipe(), prepared, spec, FIT, SELECT, tmp_path)
    current = tmp_path / "checkpoint.pt"
    content = bytearray(current.read_bytes())
    content[len(content) // 2] ^= 1
    current.write_bytes(content)
    assert same_weights(whole, fit(recipe(), prepared, spec, FIT, SELECT, tmp_path))
    assert "damaged" in caplog.text


def test_a_folder_with_only_damaged_checkpoints_is_refused(tmp_path: Path) -> None:
    for name in (checkpoint.CURRENT, checkpoint.PREVIOUS):
        (tmp_path / name).write_bytes(b"x" * 100)
    with pytest.raises(Refusal, match="damaged") as refused:
        checkpoint.load(tmp_path, {})
    assert refused.value.code == "DATA_CHECKPOINT"


def test_a_checkpoint_of_another_recipe_data_or_input_is_refused(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path
) -> None:
    fit(recipe(epochs=1), prepared, spec, FIT, SELECT, tmp_path)
    other_data = replace(prepared, images=prepared.images + 1)
    other_spec = replace(spec, intensity=(Percentile(0, 100),))
    for what, arguments in {
        "recipe": (recipe(epochs=2), prepared, spec),
        "data": (recipe(epochs=1), other_data, spec),
        "input": (recipe(epochs=1), prepared, other_spec),
    }.items():
        with pytest.raises(Refusal, match=f"another {what}") as refused:
            fit(*arguments, FIT, SELECT, tmp_path)
        assert refused.value.code == "DATA_CHECKPOINT"


def test_poisoned_held_out_and_select_images_change_nothing_that_is_fitted(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path
) -> None:
    poisoned = replace(prepared, images=prepared.images.copy(), labels=prepared.labels.copy())
    held_out, select = HELD_OUT.indices, SELECT.indices
    poisoned.images[select] = poisoned.images[held_out[0]] * -7
    poisoned.images[held_out] = np.nan
    poisoned.labels[held_out] = 0
    clean = fit(recipe(class_weights="balanced"), prepared, spec, FIT, SELECT, tmp_path / "clean")
    dirty = fit(recipe(class_weights="balanced"), poisoned, spec, FIT, SELECT, tmp_path / "dirty")
    assert same_weights(clean, dirty)
    assert clean.made_with == dirty.made_with


@pytest.mark.parametrize("units", [("arbitrary",) * 96, ("HU", "arbitrary") * 48])
def test_without_augmentation_the_training_tensor_is_the_inference_tensor_bit_for_bit(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, units: tuple[str, ...]
) -> None:
    prepared = replace(prepared, units=units)
    spec = replace(spec, intensity=(Window(100, 150, units="HU"), *spec.intensity))
    rows = np.array([5, 2, 80, 41])
    trained = training_inputs(recipe(), prepared, spec, rows, None, epoch=3, batch=1)
    alone = np.concatenate([intensity(prepared.images[[n]], spec, units[n]) for n in rows])
    assert trained.dtype == np.float32
    assert np.array_equal(trained, alone)


def test_augmentation_depends_on_seed_epoch_and_batch_alone(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe
) -> None:
    def made(seed: int, epoch: int, batch: int) -> bytes:
        return training_inputs(recipe(seed=seed), prepared, spec, FIT.indices[:4], noise, epoch, batch).tobytes()

    assert made(1, 2, 3) == made(1, 2, 3)
    assert len({made(1, 2, 3), made(0, 2, 3), made(1, 0, 3), made(1, 2, 0)}) == 4
    before = prepared.images.copy()

    def emptied(images: np.ndarray, modalities: Sequence[str], random: np.random.Generator) -> np.ndarray:
        return np.multiply(images, 0, out=images)

    training_inputs(recipe(), prepared, spec, FIT.indices[:4], emptied, 0, 0)
    assert np.array_equal(prepared.images, before)


def test_the_average_of_the_weights_is_what_is_returned(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path
) -> None:
    plain = fit(recipe(), prepared, spec, FIT, SELECT, tmp_path / "plain")
    averaged = fit(recipe(ema_decay=0.99), prepared, spec, FIT, SELECT, tmp_path / "averaged")
    state = torch.load(tmp_path / "averaged" / "checkpoint.pt", weights_only=True)
    last, mean = state["module"]["head.weight"], averaged.module.state_dict()["head.weight"]
    assert torch.equal(last, plain.module.state_dict()["head.weight"])  # averaging does not disturb training
    assert not torch.equal(last, mean)
    assert (last - mean).abs().max() < 0.2


@pytest.mark.parametrize("amp", ["bfloat16", "float16"])
def test_reduced_precision_trains_float32_weights(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path, amp: str
) -> None:
    result = fit(recipe(epochs=2, amp=amp), prepared, spec, FIT, SELECT, tmp_path)
    assert {p.dtype for p in result.module.parameters()} == {torch.float32}
    assert result.history[1]["loss"] < result.history[0]["loss"]


def test_a_class_without_images_and_a_diverging_loss_are_refused(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path
) -> None:
    with pytest.raises(Refusal, match="class high") as refused:
        fit(recipe(), prepared, spec, FIT.part(prepared.labels[FIT.indices] < 2), SELECT, tmp_path)
    assert refused.value.code == "DATA_SPLIT"
    with pytest.raises(Refusal) as refused:
        fit(recipe("sgd", learning_rate=1e30), prepared, spec, FIT, SELECT, tmp_path)
    assert refused.value.code == "DATA_DIVERGED"
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_loss_that_is_no_number_leaves_the_last_good_checkpoint(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(1000))

    def spoilt(*arguments: Any) -> torch.Tensor:
        inputs = training_batch(*arguments)
        return inputs * torch.nan if next(calls) == 4 else inputs

    with monkeypatch.context() as patch, pytest.raises(Refusal, match="epoch 1") as refused:
        patch.setattr("medimg_training.fit.training_batch", spoilt)
        fit(recipe(), prepared, spec, FIT, SELECT, tmp_path / "spoilt")
    assert refused.value.code == "DATA_DIVERGED"
    assert len((tmp_path / "spoilt" / "history.jsonl").read_text().splitlines()) == 1
    resumed = fit(recipe(), prepared, spec, FIT, SELECT, tmp_path / "spoilt")
    assert same_weights(resumed, fit(recipe(), prepared, spec, FIT, SELECT, tmp_path / "whole"))


def test_weights_that_left_the_numbers_in_the_last_step_are_not_saved(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of an epoch was taken before its last step and is still finite then."""
    update = FitState.update

    def overshot(state: FitState, loss: torch.Tensor) -> None:
        update(state, loss)
        if state.step == 6:
            next(state.module.parameters()).data[0, 0, 0, 0] = np.inf

    monkeypatch.setattr(FitState, "update", overshot)
    with pytest.raises(Refusal, match="epoch 1") as refused:
        fit(recipe(), prepared, spec, FIT, SELECT, tmp_path)
    assert refused.value.code == "DATA_DIVERGED"
    found = checkpoint.load(tmp_path, {})
    assert found is not None and found[0]["epoch"] == 1


@pytest.mark.parametrize("choices", [{}, {"ema_decay": 0.9, "accumulate": 2}])
def test_a_long_epoch_is_saved_inside_and_goes_on_from_there_with_the_same_bits(
    prepared: PreparedSet,
    spec: InputSpec,
    recipe: MakeRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    choices: dict[str, Any],
) -> None:
    chosen = recipe(**choices)
    whole = fit(chosen, prepared, spec, FIT, SELECT, tmp_path / "whole", noise)
    monkeypatch.setattr("medimg_training.fit.SAVE_SECONDS", 0.0)
    with pytest.raises(KilledError):
        fit(chosen, prepared, spec, FIT, SELECT, tmp_path / "killed", killed_in(1, 2))
    found = checkpoint.load(tmp_path / "killed", {})
    assert found is not None
    assert (found[0]["epoch"], found[0]["within"]["batch"], found[0]["step"]) == (1, 2, 5)
    asked: list[int] = []

    def counted(images: np.ndarray, modalities: Sequence[str], random: np.random.Generator) -> np.ndarray:
        asked.append(len(images))
        return noise(images, modalities, random)

    resumed = fit(chosen, prepared, spec, FIT, SELECT, tmp_path / "killed", counted)
    assert len(asked) == 4  # the last batch of the second epoch, and the third
    assert same_weights(whole, resumed)
    assert timeless(whole) == timeless(resumed)


def test_a_history_that_a_crash_left_behind_its_checkpoint_is_completed(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path
) -> None:
    fit(recipe(), prepared, spec, FIT, SELECT, tmp_path)
    whole = (tmp_path / "history.jsonl").read_text()
    (tmp_path / "history.jsonl").write_text(whole.splitlines()[0] + "\n")
    fit(recipe(), prepared, spec, FIT, SELECT, tmp_path)
    assert (tmp_path / "history.jsonl").read_text() == whole


@pytest.mark.parametrize("parts", [3, 16])
@pytest.mark.parametrize("choices", [{}, {"class_weights": "balanced", "loss": "focal", "label_smoothing": 0.1}])
def test_gradients_of_parts_make_the_step_of_the_whole_batch(
    prepared: PreparedSet,
    spec: InputSpec,
    recipe: MakeRecipe,
    tmp_path: Path,
    plain_network: None,
    parts: int,
    choices: dict[str, Any],
) -> None:
    rare = FIT.part((prepared.labels[FIT.indices] > 0) | (FIT.indices < 12))
    whole = fit(recipe("sgd", learning_rate=0.1, **choices), prepared, spec, rare, SELECT, tmp_path / "whole")
    divided = recipe("sgd", learning_rate=0.1, accumulate=parts, **choices)
    found = fit(divided, prepared, spec, rare, SELECT, tmp_path / "parts")
    for one, other in zip(whole.module.parameters(), found.module.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
    for key in ("loss", "gradient_norm"):
        assert [e[key] for e in whole.history] == pytest.approx([e[key] for e in found.history], rel=1e-4)


@pytest.mark.parametrize("amp", ["off", "float16"])
def test_a_long_gradient_is_scaled_down_to_the_clip_norm_and_logged_as_it_was(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path, plain_network: None, amp: str
) -> None:
    def moved(clip_norm: float | None) -> tuple[float, float]:
        chosen = recipe("sgd", batch=60, epochs=1, learning_rate=0.5, clip_norm=clip_norm, amp=amp)
        torch.manual_seed(chosen.seed)
        before = [p.detach().clone() for p in Plain(3).parameters()]
        result = fit(chosen, prepared, spec, FIT, SELECT, tmp_path / str(clip_norm))
        pairs = zip(result.module.parameters(), before, strict=True)
        distance = sum(float((now.detach() - first).square().sum()) for now, first in pairs) ** 0.5
        return distance, result.history[0]["gradient_norm"]

    distance, norm = moved(None)
    assert distance == pytest.approx(0.5 * norm, rel=1e-3)
    assert norm > 0.1
    clipped, same = moved(0.01)
    assert clipped == pytest.approx(0.5 * 0.01, rel=1e-3)
    assert same == pytest.approx(norm, rel=1e-5)
    assert moved(1e6)[0] == pytest.approx(distance, rel=1e-5)


def test_logit_adjustment_answers_the_fitted_images_alone_and_only_in_training(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path, plain_network: None
) -> None:
    """With constant images only the frequencies can be learned: adjusted by them, all classes come out alike."""
    dull = replace(prepared, images=np.zeros_like(prepared.images))
    dull.labels[60:] = 2
    rows = FIT.part((prepared.labels[FIT.indices] < 2) | (FIT.indices < 15))
    learned = {}
    for tau in (0.0, 1.0):
        chosen = recipe("sgd", epochs=30, batch=45, learning_rate=0.5, logit_adjustment=tau)
        result = fit(chosen, dull, spec, rows, SELECT, tmp_path / str(tau))
        logits = predict_logits(result.module, dull, rows, spec)[0]
        learned[tau] = np.exp(logits) / np.exp(logits).sum()
    assert learned[0.0] == pytest.approx([4 / 9, 4 / 9, 1 / 9], abs=0.05)
    assert learned[1.0] == pytest.approx([1 / 3] * 3, abs=0.05)


def test_patients_with_many_slices_do_not_dominate_a_group_balanced_training(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path, plain_network: None
) -> None:
    """Constant images again: one patient with 20 slices of class 0, four with one of class 1, four with one of 2."""
    dull = replace(prepared, images=np.zeros_like(prepared.images), labels=np.array([0] * 20 + [1, 2] * 38))
    dull = replace(dull, groups=("big",) * 20 + tuple(f"small {n}" for n in range(76)))
    few = fold_rows(dull, Fold(("big", *(f"small {n}" for n in range(8)))))
    learned = {}
    for sampler in ("natural", "group_balanced"):
        chosen = recipe("sgd", epochs=30, batch=28, learning_rate=0.5, sampler=sampler)
        result = fit(chosen, dull, spec, few.fit, few.select, tmp_path / sampler)
        logits = predict_logits(result.module, dull, few.fit, spec)[0]
        learned[sampler] = np.exp(logits) / np.exp(logits).sum()
    assert learned["natural"] == pytest.approx([20 / 28, 4 / 28, 4 / 28], abs=0.06)
    assert learned["group_balanced"] == pytest.approx([1 / 9, 4 / 9, 4 / 9], abs=0.06)


def test_an_ordinal_training_learns(prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path) -> None:
    result = fit(recipe(epochs=12, learning_rate=0.01, loss="ordinal"), prepared, spec, FIT, SELECT, tmp_path)
    logits = predict_logits(result.module, prepared, HELD_OUT, spec)
    assert (logits.argmax(1) == prepared.labels[HELD_OUT.indices]).mean() >= 0.95


def test_ctrl_c_leaves_the_last_full_epoch(
    prepared: PreparedSet, spec: InputSpec, recipe: MakeRecipe, tmp_path: Path
) -> None:
    calls = iter(range(1000))

    def interrupted(images: np.ndarray, modalities: Sequence[str], random: np.random.Generator) -> np.ndarray:
        if next(calls) == 5:
            raise KeyboardInterrupt
        return images

    with pytest.raises(KeyboardInterrupt):
        fit(recipe(), prepared, spec, FIT, SELECT, tmp_path, interrupted)
    found = checkpoint.load(tmp_path, {})
    assert found is not None
    assert found[0]["epoch"] == 1
