"""Tiny data that every training test may build on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medimg_training import cli
from medimg_training.cache import PreparedSet
from medimg_training.datasets.manifest import write_manifest
from medimg_training.recipe import Recipe
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Percentile, Resize, ZScore

CLASSES = ("low", "middle", "high")


def bars(n: int, size: int = 16, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise [n, size, size] with a bright bar whose height tells the class [n]."""
    random = np.random.default_rng(seed)
    labels = np.arange(n) % len(CLASSES)
    images = random.normal(100, 20, (n, size, size))
    for image, label in zip(images, labels, strict=True):
        image[label * size // 3 : label * size // 3 + 3] += 80
    return np.clip(images, 0, 255).astype(np.float32), labels


@pytest.fixture(autouse=True)
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def unchecked() -> Iterator[Callable[..., None]]:
    """The class of the tests' images stands at their border, which the checks before a training rightly refuse: they
    are left out. Gives the real ones."""
    own = cli._check
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli, "_check", lambda *arguments: None)
        yield own


@pytest.fixture
def checked(unchecked: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    """With the checks before a training."""
    monkeypatch.setattr(cli, "_check", unchecked)


@pytest.fixture
def spec() -> InputSpec:
    return InputSpec((ChannelSpec("image"),), (Resize(12, 12),), (Percentile(1, 99), ZScore(0.5, 0.25)))


@pytest.fixture
def prepared() -> PreparedSet:
    """96 images in 32 groups of three, one of each class."""
    images, labels = bars(96)
    names = tuple(f"s{n}" for n in range(96))
    groups = tuple(f"g{n // 3}" for n in range(96))
    units, modalities = ("arbitrary",) * 96, ("",) * 96
    return PreparedSet(images[:, None], labels, CLASSES, names, (0,) * 96, groups, units, modalities)


@pytest.fixture
def recipe() -> Callable[..., Recipe]:
    """A recipe whose network is as small as the registry allows."""

    def make(preset: str = "adamw", **choices: Any) -> Recipe:
        tiny = {"network_options": {"widths": (8, 8, 8, 8), "blocks": (1, 1, 1, 1)}, "epochs": 3, "batch": 16}
        return Recipe.of(preset, "narrow_resnet", **{**tiny, **choices})

    return make


@pytest.fixture
def png_manifest(tmp_path: Path) -> Callable[..., Path]:
    """Writes images of bars as PNG files with a manifest; `change` may alter its rows."""

    def make(n: int = 72, change: Callable[[list[dict[str, Any]]], object] = lambda rows: None, **about: Any) -> Path:
        images, labels = bars(n)
        folder = tmp_path / "data"
        folder.mkdir(exist_ok=True)
        rows: list[dict[str, Any]] = []
        for k, (image, label) in enumerate(zip(images, labels, strict=True)):
            Image.fromarray(image.astype(np.uint8)).save(folder / f"{k}.png")
            split = ("train", "train", "test")[k // 3 % 3]
            row = {"sample": f"s{k}", "group": f"g{k // 3}", "group_kind": "cluster", "path": f"{k}.png"}
            rows.append(row | {"label": CLASSES[label], "split": split, "site": "here"})
        change(rows)
        return write_manifest(folder, rows, CLASSES, **about)

    return make
