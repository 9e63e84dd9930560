"""Images a second that reach the network: PIL files through torch's DataLoader, and the cache augmented in batches.

One thread. Both ways end with a float32 batch of one channel, scaled and shifted by fixed numbers ('percentiles': with
the percentiles of each image instead). 'alike' is what torchvision's transforms do here, by the batch: rotation, zoom
and shift for all images, a mirrored half, brightness and contrast (window, gamma) for all. 'medium' is the preset.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from timing import Row, alternate, ratio, show
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from medimg_training.augmentation.batches import training_batch
from medimg_training.augmentation.policy import Affine, Chance, Policy, preset
from medimg_training.cache import PreparedSet
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Percentile, Resize, Window, ZScore

BATCH, MODALITIES = 64, ("MR", "CT", "CR", "")
ALIKE = Policy(
    "alike",
    flips=("columns",),
    affine=Affine(1, rotation_degrees=15, zoom=1.2, shift=0.08),
    window=Chance(1, 0, 0.25),
    gamma=Chance(1, 0, 0.3),
)


class Files(Dataset[torch.Tensor]):
    """Pictures on disk, opened, changed and made tensors one at a time, as most training code does."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths
        self.change = transforms.Compose(
            [
                transforms.RandomAffine(15, (0.08, 0.08), (1 / 1.2, 1.2), interpolation=Image.Resampling.BILINEAR),
                transforms.RandomHorizontalFlip(),
                transforms.ColorJitter(0.25, 0.25),
                transforms.ToTensor(),
                transforms.Normalize(0.5, 0.25),
            ]
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.paths[index]) as picture:
            changed: torch.Tensor = self.change(picture)
        return changed


def run(size: int, count: int) -> list[Row]:
    torch.set_num_threads(1)
    pictures = phantoms(count, size)
    with tempfile.TemporaryDirectory(prefix="medimg-bench-") as scratch:
        paths = [Path(scratch, f"{n}.png") for n in range(count)]
        for path, picture in zip(paths, pictures, strict=True):
            Image.fromarray(picture).save(path)
        images = pictures[:, None].astype(np.float32)
        images.tofile(Path(scratch, "images.f32"))
        cached = prepared(np.memmap(Path(scratch, "images.f32"), np.float32, "r", shape=images.shape))
        fixed, percentile = spec(size, Window(127.5, 255)), spec(size, Percentile(1, 99))
        taken = alternate(
            {
                "pil": files(paths, 0),
                "pil, 2 workers": files(paths, 2),
                "alike": batches(cached, fixed, ALIKE),
                "medium": batches(cached, fixed, preset("medium", ("columns",))),
                "none": batches(cached, fixed, None),
                "medium, percentiles": batches(cached, percentile, preset("medium", ("columns",))),
            }
        )
    rows: list[Row] = []
    for name, seconds in taken.items():
        rate = count / sorted(seconds)[len(seconds) // 2]
        against = ratio(taken["pil"], seconds)
        goal = ", goal 6" if name == "alike" and size == 64 else ""
        rows.append((name, "images/s", rate, f"x{against:.2f} of PIL without workers{goal}"))
    rows.append(("alike against PIL with 2 workers", "x", ratio(taken["pil, 2 workers"], taken["alike"]), "one epoch"))
    return rows


def files(paths: list[Path], workers: int) -> Callable[[], None]:
    """An epoch of the DataLoader; with workers their start is in it, as in every epoch of a plain loop."""

    def epoch() -> None:
        for batch in DataLoader(Files(paths), BATCH, shuffle=True, num_workers=workers):
            assert batch.shape[1] == 1

    return epoch


def batches(cached: PreparedSet, spec: InputSpec, policy: Policy | None) -> Callable[[], None]:
    """An epoch of the cache, in another order every time."""
    epochs = iter(range(10**6))

    def epoch() -> None:
        number = next(epochs)
        order = np.random.default_rng(number).permutation(len(cached))
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch = training_batch(cached, rows, spec, policy, 0, number, torch.device("cpu"))
            assert batch.shape[1] == 1

    return epoch


def spec(size: int, first: Window | Percentile) -> InputSpec:
    return InputSpec((ChannelSpec("image"),), (Resize(size, size),), (first, ZScore(0.5, 0.25)))


def prepared(images: np.ndarray) -> PreparedSet:
    n = len(images)
    names = tuple(str(k) for k in range(n))
    kinds = tuple(MODALITIES[k % len(MODALITIES)] for k in range(n))
    return PreparedSet(images, np.zeros(n, np.int64), ("a",), names, (0,) * n, names, ("arbitrary",) * n, kinds)


def phantoms(count: int, size: int) -> np.ndarray:
    """uint8 [count, size, size]: an ellipse with texture on a dark ground."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    a, b = random.uniform(0.4, 0.9, (2, count, 1, 1))
    body = (x / a) ** 2 + (y / b) ** 2 < 1
    return (body * (120 + 20 * random.normal(size=(count, size, size)))).clip(0, 255).astype(np.uint8)


def run_parts(size: int) -> list[Row]:
    """What each change of 'medium' costs where every image gets it, on top of fetching and intensity."""
    torch.set_num_threads(1)
    cached, fixed = prepared(phantoms(4 * BATCH, size)[:, None].astype(np.float32)), spec(size, Window(127.5, 255))
    medium, parts = preset("medium"), {}
    for name in ("affine", "elastic", "bias_field", "blur", "low_resolution", "noise", "window", "gamma", "cutout"):
        always = replace(Policy(), **{name: replace(getattr(medium, name), probability=1)})
        parts[name] = batches(cached, fixed, always)
    taken = alternate({"none": batches(cached, fixed, None), **parts})
    least = sorted(taken["none"])[2]
    return [
        (name, "us/image", 1e6 * (sorted(seconds)[2] - (least if name != "none" else 0)) / len(cached), "every image")
        for name, seconds in taken.items()
    ]


if __name__ == "__main__":
    show("Batches for training, 64 px, 1 thread", run(64, 2048))
    show("Batches for training, 224 px, 1 thread", run(224, 192))
    show("Each change alone, 64 px, 1 thread", run_parts(64))
