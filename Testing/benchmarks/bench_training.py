"""Training on cached images against the bare step of the network: what the loop costs beside it.

The bare step is forward, cross-entropy, backward and optimiser on one batch that is ready; ours is an epoch of
`fit` from the cached images on: order, intensity code, transfer, loss, gradient norm, step.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
import torch
from timing import Row, alternate, ratio, show
from torch import nn

from medimg_training.cache import PreparedSet
from medimg_training.fit import TrainingData, one_epoch
from medimg_training.recipe import Recipe
from medimg_training.state import FitState
from MedImgClassifierLib.engine.networks import build
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Percentile, ZScore

SIZES = {64: (64, 3), 224: (8, 3)}
"""Pixels -> images of a batch, batches of an epoch."""

SPEC = InputSpec((ChannelSpec("image"),), (), (Percentile(1, 99), ZScore(0.5, 0.25)))


def images_of(size: int, count: int) -> PreparedSet:
    images = np.random.default_rng(0).normal(100, 30, (count, 1, size, size)).astype(np.float32)
    names = tuple(map(str, range(count)))
    labels, classes = np.arange(count) % 5, tuple("abcde")
    return PreparedSet(images, labels, classes, names, (0,) * count, names, ("arbitrary",) * count, ("",) * count)


def network(memory: torch.memory_format) -> nn.Module:
    torch.manual_seed(0)
    return build("resnet18", labels=5).to(memory_format=memory).train()


def bare(size: int, batch: int, batches: int, memory: torch.memory_format, amp: bool) -> Callable[[], object]:
    module = network(memory)
    optimizer = torch.optim.SGD(module.parameters(), 0.001, momentum=0.9)
    x = torch.randn(batch, 1, size, size).to(memory_format=memory)
    y = torch.arange(batch) % 5

    def steps() -> None:
        for _ in range(batches):
            optimizer.zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16) if amp else nullcontext():
                logits = module(x)
            nn.functional.cross_entropy(logits.float(), y).backward()
            optimizer.step()

    return steps


def ours(size: int, batch: int, batches: int, amp: str) -> Callable[[], object]:
    recipe = Recipe.of("sgd", "resnet18", batch=batch, amp=amp, epochs=1000)
    prepared = images_of(size, batch * batches)
    data = TrainingData(recipe, prepared, SPEC, np.arange(len(prepared)), None, torch.device("cpu"))
    state = FitState(recipe, network(torch.channels_last), data.device)

    def epoch() -> None:
        one_epoch(state, data, lambda: None, lambda: None)
        state.begin_epoch(state.epoch + 1)

    return epoch


def run(size: int) -> list[Row]:
    batch, batches = SIZES[size]
    plain, last = torch.contiguous_format, torch.channels_last
    taken = alternate(
        {
            "bare": bare(size, batch, batches, last, amp=False),
            "ours": ours(size, batch, batches, "off"),
            "bare bf16": bare(size, batch, batches, last, amp=True),
            "ours bf16": ours(size, batch, batches, "bfloat16"),
            "bare nchw": bare(size, batch, batches, plain, amp=False),
        }
    )
    rate = batch * batches / float(np.median(taken["ours"]))
    remark = f"{rate:.1f} images/s with batches of {batch}"
    half = "goal at least 1.6 where the CPU has bf16"
    return [
        ("rate of training, of the bare step's", "x", ratio(taken["bare"], taken["ours"]), f"goal 0.97; {remark}"),
        ("the same in bf16", "x", ratio(taken["bare bf16"], taken["ours bf16"]), "goal 0.97"),
        ("training in bf16 against float32", "x", ratio(taken["ours"], taken["ours bf16"]), half),
        ("bare step in bf16 against float32 NCHW", "x", ratio(taken["bare nchw"], taken["bare bf16"]), half),
        (
            "bare step channels-last against NCHW",
            "x",
            ratio(taken["bare nchw"], taken["bare"]),
            "what the layout gives",
        ),
    ]


if __name__ == "__main__":
    torch.set_num_threads(1)
    for pixels in SIZES:
        show(f"Training ResNet-18 at {pixels} px, one thread", run(pixels))
