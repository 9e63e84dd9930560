"""Fitting: a loop to be read from top to bottom.

The budget of epochs is fixed and nothing is selected on the way; rows of the select role only give a curve.
On the CPU a run that was stopped at any moment and started again ends with the same bits as one that was not
(with the same number of threads).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.networks import build
from MedImgClassifierLib.engine.preprocess import InputSpec
from MedImgClassifierLib.engine.runtimes import Device
from MedImgClassifierLib.engine.torch_runtime import choose_device

from . import checkpoint
from .augmentation.batches import repeats_in_epoch, training_batch
from .augmentation.draws import image_keys
from .augmentation.mixing import mix
from .cache import Images, Indices, PreparedSet
from .losses import Loss, loss_of
from .predict import predict_logits
from .pretrained import Origin, start_from
from .recipe import Recipe
from .roles import FitRows, SelectRows, indices_of, require_apart
from .sampling import class_counts, epoch_batches
from .state import FitState
from .tracking import Progress, TensorBoard, write_history

SAVE_SECONDS = 600.0
"""An epoch that takes longer is saved inside, too."""

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
    tensorboard: bool = False,
    device: Device = "auto",
) -> FitResult:
    """Train `recipe.network` on the images `fit_rows` of the cache; go on where a checkpoint in `out` stopped.

    augment: in place of the recipe's own policy, for an augmentation that the recipe only names.

    Writes checkpoint.pt, checkpoint.previous.pt and history.jsonl (one line an epoch) into `out`, with `tensorboard`
    its curves into tensorboard/, too. Raises Refusal DATA_SPLIT (a class has no image to fit), DATA_CHECKPOINT (damaged
    or of another recipe or data), DATA_DIVERGED (the last finite state is kept), DATA_WEIGHTS, DATA_WEIGHTS_ABSENT,
    BUNDLE_..., USAGE_DEVICE_MISSING, RESOURCE_MISSING_LIBRARY, and TypeError for rows of another role.
    """
    rows = indices_of(FitRows, fit_rows, prepared)
    indices_of(SelectRows, select_rows, prepared)
    require_apart(fit_rows, select_rows)
    _check_classes(prepared, rows)
    board = TensorBoard(out) if tensorboard else None
    data = TrainingData(recipe, prepared, spec, rows, augment, torch.device(choose_device(device)))
    made_with = {"recipe": recipe.sha256, "data": prepared.fingerprint(rows), "input": spec.sha256}
    state = _begun(data, out, made_with)
    out.mkdir(parents=True, exist_ok=True)

    def save() -> None:
        state.refuse_divergence()
        checkpoint.save(out, {"made_with": made_with, **state.to_dict()})
        write_history(out, state.history)

    with Progress(progress, data.steps, state.step) as bar, board or nullcontext():
        if board:
            board.show(state.history)
        while state.epoch < recipe.epochs:
            entry = one_epoch(state, data, save, bar.batch)
            entry |= _curve(state.fitted, prepared, spec, select_rows)
            state.history.append(entry)
            state.begin_epoch(state.epoch + 1)
            save()
            bar.epoch(entry, recipe.epochs)
            if board:
                board.show([entry])
    return FitResult(state.fitted.cpu().eval(), recipe, state.origin, state.history, made_with)


def one_epoch(
    state: FitState, data: TrainingData, save: Callable[[], None], done: Callable[[], None]
) -> dict[str, float]:
    """What is left of an epoch. Images and targets depend only on (seed, epoch, batch)."""
    saved = before = perf_counter()
    state.module.train()
    for images, targets in _ahead(data.batches(state.epoch, state.batch)):
        state.set_rate(data.steps)
        loss = _gradients(state, data.loss, images, targets)
        state.update(loss)
        done()
        now = perf_counter()
        state.seconds, before = state.seconds + now - before, now
        if now - saved > SAVE_SECONDS:
            save()
            saved = before = perf_counter()
    state.refuse_divergence()  # the first to wait for a GPU
    state.seconds += perf_counter() - before
    speed = {"seconds": round(state.seconds, 3), "images_per_second": round(data.images / state.seconds, 3)}
    return {"epoch": state.epoch, **state.summary(), **speed}


def _gradients(state: FitState, loss: Loss, images: Tensor, targets: Tensor) -> Tensor:
    """Leave the gradient of the mean loss of a batch in the parameters, and return that loss."""
    recipe, total = state.recipe, torch.zeros((), device=state.device)
    half = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(recipe.amp)
    weight = loss.weight(targets)
    parts = min(recipe.accumulate, len(images))
    for x, y in zip(images.tensor_split(parts), targets.tensor_split(parts), strict=True):
        with torch.autocast(state.device.type, half) if half else nullcontext():
            logits = state.module(x)
        value = loss(logits.float(), y) / weight
        torch.autograd.backward(state.scaler.scale(value))
        total += value.detach()
    return total


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


class TrainingData:
    """What the network is shown, epoch for epoch, and the loss it is told.

    images: of an epoch;  steps: of all epochs
    """

    def __init__(
        self,
        recipe: Recipe,
        prepared: PreparedSet,
        spec: InputSpec,
        rows: Indices,
        augment: Augment | None,
        device: torch.device,
    ) -> None:
        self.recipe, self.prepared, self.spec, self.rows = recipe, prepared, spec, rows
        self.augment, self.policy, self.device = augment, recipe.policy, device
        counts = class_counts(recipe, prepared.labels, rows, prepared.groups, len(prepared.classes))
        self.loss = loss_of(recipe, counts, device)
        batches = self._rows(0)
        self.images, self.steps = sum(map(len, batches)), recipe.epochs * len(batches)

    def batches(self, epoch: int, first: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Images [B, C, H, W] and targets [B, L] on the device, from batch `first` on."""
        prepared, seed, batches = self.prepared, self.recipe.seed, self._rows(epoch)
        times = np.split(repeats_in_epoch(np.concatenate(batches)), np.cumsum([len(rows) for rows in batches])[:-1])
        for number, (rows, repeats) in enumerate(zip(batches, times, strict=True)):
            if number < first:
                continue
            if self.augment is None:
                images = training_batch(prepared, rows, self.spec, self.policy, seed, epoch, self.device, repeats)
            else:
                inputs = training_inputs(self.recipe, prepared, self.spec, rows, self.augment, epoch, number)
                images = torch.from_numpy(inputs).to(self.device)
            labels = torch.from_numpy(prepared.labels[rows])
            targets = one_hot(labels, len(prepared.classes)).float().to(self.device)
            if self.policy is not None and self.policy.mixes:
                images, targets = mix(images, targets, image_keys(seed, epoch, rows, repeats), self.policy)
            yield images.contiguous(memory_format=torch.channels_last), targets

    def _rows(self, epoch: int) -> list[Indices]:
        return epoch_batches(self.recipe, self.prepared.labels, self.rows, epoch, self.prepared.groups)


def _begun(data: TrainingData, out: Path, made_with: dict[str, str]) -> FitState:
    """The state at the last checkpoint in `out`; at the first weights where there is none."""
    recipe, prepared = data.recipe, data.prepared
    torch.manual_seed(recipe.seed)
    channels = prepared.images.shape[1]
    module = build(recipe.network, labels=len(prepared.classes), channels=channels, **recipe.network_options)
    if found := checkpoint.load(out, made_with):
        stored, damaged = found
        state = FitState(recipe, module, data.device)
        state.restore(stored)
        if damaged:
            logging.getLogger(__name__).warning("%s: %s; going on from epoch %d", out, damaged, state.epoch)
        write_history(out, state.history)  # which a crash may have left an epoch behind
        return state
    origin = start_from(module, recipe.network, recipe.pretrained, recipe.network_options, prepared.classes)
    state = FitState(recipe, module, data.device)
    state.origin = origin
    return state


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


def _ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items; the next one is made in a second thread while this one is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = thread.submit(next, items, None)
            yield item
