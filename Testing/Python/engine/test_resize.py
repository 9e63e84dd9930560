"""Resizing is antialiased and equal to Pillow's."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from MedImgClassifierLib.engine.resize import resize


@pytest.mark.parametrize(
    "before, after",
    [((512, 512), (224, 224)), ((64, 64), (64, 32)), ((93, 94), (64, 64)), ((45, 120), (224, 64)), ((7, 5), (3, 9))],
)
def test_equals_pillow_bilinear_in_mode_f(before: tuple[int, int], after: tuple[int, int]) -> None:
    image = np.random.default_rng(0).random((2, 1, *before), dtype=np.float32)
    ours = resize(image, *after)
    pillow = [Image.fromarray(x[0]).resize(after[::-1], Image.Resampling.BILINEAR) for x in image]
    assert np.abs(ours[:, 0] - np.stack([np.asarray(x) for x in pillow])).max() <= 1e-5


def test_one_pixel_stripes_average_out_instead_of_aliasing() -> None:
    stripes = np.tile(np.array([0, 1], np.float32), (1, 1, 512, 256))
    small = resize(stripes, 100, 100)
    assert np.abs(small[..., 2:-2] - 0.5).max() < 0.12


def test_the_same_size_is_returned_untouched() -> None:
    image = np.ones((1, 1, 8, 8), np.float32)
    assert resize(image, 8, 8) is image
