"""Fitting: a loop to be read from top to bottom.

The budget of epochs is fixed and nothing is selected on the way; rows of the select role only give a curve.
On the CPU a run that was stopped at any moment and started again ends with the same bits as one that was not
(with the same number of threads).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.networks import build
from MedImgClassifierLib.engine.preprocess import InputSpec
from MedImgClassifierLib.engine.runtimes import Device
from MedImgClassifierLib.engine.torch_runtime import choose_device

from . import checkpoint
from .cache import Images, Indices, PreparedSet
from .durable import write_durably
from .predict import predict_logits
from .pretrained import Origin, start_from
from .recipe import Recipe
from .roles import FitRows, SelectRows, indices_of, require_apart

Augment = Callable[[Images, Sequence[str], np.random.Generator], Images]
"""(images [B, C, H, W] after geometry, their modalities, generator) -> images of the same shape and units."""

T = TypeVar("T")


@dataclass(frozen=True)
class FitResult:
    """A fitted network. module: in evaluation mode, on the CPU; made_with: hashes of recipe, data and input."""

    module: nn.Module
    recipe: Recipe
    origin: Origin
    history: list[dict[str, Any]]
    made_with: dict[str, str]


def fit(
    recipe: Recipe,
    prepared: PreparedSet,
    spec: InputSpec,
    fit_rows: FitRows,
    select_rows: SelectRows,
    out: Path,
    augment: Augment | None = None,
    *,
    progress: bool = False,
    device: Device = "auto",
) -> FitResult:
    """Train `recipe.network` on the images `fit_rows` of the cache; go on where a checkpoint in `out` stopped.

    Writes checkpoint.pt, checkpoint.previous.pt and history.jsonl (one line an epoch) into `out`.
    Raises Refusal DATA_SPLIT (a class has no image to fit), DATA_CHECKPOINT (damaged or of another recipe or data),
    DATA_WEIGHTS, DATA_DIVERGED, USAGE_DEVICE_MISSING, and TypeError for rows of another role.
    """
    rows = indices_of(FitRows, fit_rows, prepared)
    indices_of(SelectRows, select_rows, prepared)
    require_apart(fit_rows, select_rows)
    _check_classes(prepared, rows)
    out.mkdir(parents=True, exist_ok=True)
    made_with = {"recipe": recipe.sha256, "data": prepared.fingerprint(rows), "input": spec.sha256}
    run = _Run(recipe, len(prepared.classes), prepared.images.shape[1], torch.device(choose_device(device)))
    if found := checkpoint.load(out, made_with):
        state, damaged = found
        if damaged:
            logging.getLogger(__name__).warning("%s: %s; going on from epoch %d", out, damaged, state["epoch"])
        run.restore(state)
    else:
        run.origin = start_from(run.module, recipe.network, recipe.pretrained)
    weights = _class_weights(recipe, prepared.labels[rows], len(prepared.classes)).to(run.device)
    steps = recipe.epochs * len(epoch_batches(recipe, prepared.labels, rows, 0))
    with tqdm(desc="fit", total=steps, initial=run.step, disable=not progress, unit="batch") as bar:
        while run.epoch < recipe.epochs:
            started = perf_counter()
            loss = _one_epoch(run, prepared, spec, rows, augment, weights, bar.update)
            entry: dict[str, Any] = {"epoch": run.epoch, "loss": loss, "rate": run.rate}
            entry |= _curve(run.fitted, prepared, spec, select_rows)
            run.history.append(entry | {"seconds": round(perf_counter() - started, 3)})
            run.epoch += 1
            checkpoint.save(out, {"made_with": made_with, **run.state()})
            _write_history(out, run.history)
            bar.set_postfix({key: f"{value:.4g}" for key, value in entry.items()})
    return FitResult(run.fitted.cpu().eval(), recipe, run.origin, run.history, made_with)


def _one_epoch(
    run: _Run,
    prepared: PreparedSet,
    spec: InputSpec,
    rows: Indices,
    augment: Augment | None,
    weights: torch.Tensor,
    done: Callable[[], object],
) -> float:
    """One pass; returns the mean loss. Images and labels depend only on (seed, epoch, batch)."""
    recipe, device = run.recipe, run.device
    batches = epoch_batches(recipe, prepared.labels, rows, run.epoch)
    inputs = (training_inputs(recipe, prepared, spec, own, augment, run.epoch, b) for b, own in enumerate(batches))
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(recipe.amp)
    total = torch.zeros((), device=device)
    run.module.train()
    for chosen, images in zip(batches, _ahead(inputs), strict=True):
        run.set_rate(len(batches))
        x = torch.from_numpy(images).to(device, memory_format=torch.channels_last)
        y = torch.from_numpy(prepared.labels[chosen]).to(device)
        with torch.autocast(device.type, half) if half else nullcontext():
            logits = run.module(x)
        loss = cross_entropy(logits.float(), y, weights, label_smoothing=recipe.label_smoothing)
        run.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(run.scaler.scale(loss))
        run.scaler.step(run.optimizer)
        run.scaler.update()
        run.step += 1
        run.update_average()
        total += loss.detach()
        done()
    mean = float(total) / len(batches)
    if not np.isfinite(mean):
        raise Refusal("DATA_DIVERGED", epoch=run.epoch)
    return mean


def training_inputs(
    recipe: Recipe,
    prepared: PreparedSet,
    spec: InputSpec,
    rows: Indices,
    augment: Augment | None,
    epoch: int,
    batch: int,
) -> Images:
    """[len(rows), C, H, W] what the network is trained on: augmentation, then the intensity code of inference."""
    images = np.array(prepared.images[rows], np.float32)
    if augment is not None:
        random = np.random.default_rng([recipe.seed, 1, epoch, batch])
        modalities = [prepared.modalities[n] for n in rows]
        images = np.ascontiguousarray(augment(images, modalities, random), np.float32)
    return prepared.inputs(rows, spec, images)


def epoch_batches(recipe: Recipe, labels: Indices, rows: Indices, epoch: int) -> list[Indices]:
    """Rows of each batch of an epoch, all batches of one size (what does not fill one waits for another epoch)."""
    random = np.random.default_rng([recipe.seed, 0, epoch])
    if recipe.images_per_class is None:
        order = random.permutation(rows)
    else:
        drawn = []
        for label in np.unique(labels[rows]):
            own = rows[labels[rows] == label]
            rounds = -(-recipe.images_per_class // len(own))
            drawn.append(np.concatenate([random.permutation(own) for _ in range(rounds)])[: recipe.images_per_class])
        order = random.permutation(np.concatenate(drawn))
    size = min(recipe.batch, len(order))
    return [order[start : start + size] for start in range(0, len(order) - size + 1, size)]


class _Run:
    """All that changes while fitting, which is what a checkpoint holds."""

    def __init__(self, recipe: Recipe, labels: int, channels: int, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.device = recipe, device
        module = build(recipe.network, labels=labels, channels=channels, **recipe.network_options)
        self.module: nn.Module = module.to(device).to(memory_format=torch.channels_last)
        self.average = deepcopy(self.module).requires_grad_(False).eval() if recipe.ema_decay else None
        self.optimizer = _optimizer(recipe, self.module)
        self.scaler = torch.amp.GradScaler(device.type, enabled=recipe.amp == "float16")
        self.origin = Origin("random")
        self.epoch = self.step = 0
        self.history: list[dict[str, Any]] = []

    @property
    def fitted(self) -> nn.Module:
        """The network to evaluate: the averaged one where there is one."""
        return self.module if self.average is None else self.average

    @property
    def rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def set_rate(self, steps_per_epoch: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.step, steps_per_epoch * self.recipe.epochs)

    def update_average(self) -> None:
        """Exponential moving average of weights and batch statistics, shorter while there are few steps."""
        if self.average is None or self.recipe.ema_decay is None:
            return
        decay = min(self.recipe.ema_decay, self.step / (self.step + 10))
        for mean, value in zip(self.average.state_dict().values(), self.module.state_dict().values(), strict=True):
            mean.lerp_(value, 1 - decay) if mean.is_floating_point() else mean.copy_(value)

    def state(self) -> dict[str, Any]:
        cuda = torch.cuda.get_rng_state_all() if self.device.type == "cuda" else []
        return {
            "module": self.module.state_dict(),
            "average": self.average.state_dict() if self.average is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": [torch.get_rng_state(), *cuda],
            "origin": self.origin.to_json(),
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
        }

    def restore(self, state: dict[str, Any]) -> None:
        self.module.load_state_dict(state["module"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        torch.set_rng_state(state["random"][0])
        if self.device.type == "cuda" and state["random"][1:]:
            torch.cuda.set_rng_state_all(state["random"][1:])
        self.origin = Origin(**state["origin"])
        self.epoch, self.step, self.history = state["epoch"], state["step"], state["history"]


def _optimizer(recipe: Recipe, module: nn.Module) -> torch.optim.Optimizer:
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            module.parameters(), recipe.learning_rate, momentum=0.9, weight_decay=recipe.weight_decay
        )
    matrices = [p for p in module.parameters() if p.ndim > 1]
    others = [p for p in module.parameters() if p.ndim <= 1]  # biases and normalisation are not decayed
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, recipe.learning_rate)


def _class_weights(recipe: Recipe, labels: Indices, count: int) -> torch.Tensor:
    if recipe.class_weights == "none":
        return torch.ones(count)
    return torch.from_numpy(len(labels) / (count * np.bincount(labels, minlength=count))).float()


def _check_classes(prepared: PreparedSet, rows: Indices) -> None:
    labels = prepared.labels[rows]
    if len(labels) and labels.min() < 0:
        raise ValueError("unlabelled images cannot be fitted")
    missing = [name for n, name in enumerate(prepared.classes) if n not in labels]
    if missing:
        raise Refusal("DATA_SPLIT", reason=f"no image to fit for class {', '.join(missing)}")


def _curve(module: nn.Module, prepared: PreparedSet, spec: InputSpec, rows: SelectRows) -> dict[str, float]:
    """Loss and accuracy on the select role, {} where it is empty."""
    if not len(rows):
        return {}
    logits = torch.from_numpy(predict_logits(module, prepared, rows, spec))
    labels = torch.from_numpy(prepared.labels[rows.indices])
    accuracy = (logits.argmax(1) == labels).float().mean()
    return {"select_loss": float(cross_entropy(logits, labels)), "select_accuracy": float(accuracy)}


def _write_history(out: Path, history: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(entry) + "\n" for entry in history)
    write_durably(out / "history.jsonl", lines.encode())


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; the next one is made in a second thread while this one is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
