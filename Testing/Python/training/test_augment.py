"""Augmentation: reproducible, in the units of its input, blind to the label; and what counts as background."""

from __future__ import annotations

import numpy as np
import pytest

from medimg_training.augment import StrongAugment, remove_background

UNKNOWN = [""] * 6


def pictures(count: int = 6) -> np.ndarray:
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    disc = np.where(x**2 + (1.3 * y) ** 2 < 0.4, 150 + 80 * np.sin(9 * x), 20)
    return np.stack([disc + n for n in range(count)])[:, None].astype(np.float32)


def test_the_same_generator_gives_the_same_images_and_another_does_not() -> None:
    augment = StrongAugment()
    one, same, other = (augment(pictures(), UNKNOWN, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert np.abs(one - other).mean() > 1


@pytest.mark.parametrize("low, high", [(-1024, 3071), (0, 1), (5, 5)])
def test_values_stay_in_the_range_of_each_image(low: float, high: float) -> None:
    images = pictures()
    images = (images - images.min()) / np.ptp(images) * (high - low) + low
    for seed in range(8):
        out = StrongAugment()(images.astype(np.float32), UNKNOWN, np.random.default_rng(seed))
        assert np.isfinite(out).all()
        assert out.min() >= images.min() - 1e-2 and out.max() <= images.max() + 1e-2


def test_the_input_is_not_changed() -> None:
    images = pictures()
    before = images.copy()
    StrongAugment()(images, UNKNOWN, np.random.default_rng(0))
    np.testing.assert_array_equal(images, before)


def test_each_change_is_really_made() -> None:
    """Without the random changes only the eight bits and the JPEG are left; each one adds to that."""
    still = {"rotation_degrees": 0, "zoom": (1, 1), "stretch": 0, "shift": 0, "flip": 0, "gamma": 1, "remap": 0}
    still |= {"noise": 0, "offset": 0, "size": (1, 1), "surface": (0, 0), "jpeg_quality": (95, 96)}

    def moved(modality: tuple[str] = ("MR",), **changes: object) -> float:
        augment = StrongAugment(**{**still, **changes})  # type: ignore[arg-type]
        images = pictures(64)
        return float(np.abs(augment(images, modality * 64, np.random.default_rng(0)) - images).mean())

    base = moved()
    for change in ({"rotation_degrees": 40}, {"zoom": (0.5, 0.6)}, {"shift": 0.3}, {"flip": 1}, {"gamma": 4.0}):
        assert moved(**change) > base + 0.5, change
    for change in ({"remap": 1}, {"noise": 0.3}, {"offset": 0.9}, {"surface": (2, 3)}, {"size": (0.2, 0.25)}):
        assert moved(**change) > base + 0.5, change


def test_ct_keeps_its_contrast_while_mr_may_swap_it() -> None:
    changes = {"remap": 1, "surface": (2, 3), "jpeg_quality": (95, 96), "offset": 0, "gamma": 1, "noise": 0, "flip": 0}
    still = {"rotation_degrees": 0, "zoom": (1, 1), "stretch": 0, "shift": 0, "size": (1, 1)}
    augment, images = StrongAugment(**changes, **still), pictures(48)  # type: ignore[arg-type]

    def order_kept(modality: str) -> float:
        out = augment(images, [modality] * 48, np.random.default_rng(0))
        return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(images, out, strict=True)]))

    assert order_kept("CT") > 0.85 > order_kept("MR")


def test_a_grey_background_is_taken_away_with_what_lies_below_it() -> None:
    image = np.full((64, 64), 101, np.float32)
    image[20:40, 20:40] = 180
    image[5, 5] = 90  # ringing of the compression
    out = remove_background(image)
    assert out[0, 0] == out[5, 5] == out.min()
    assert abs((out[30, 30] - out[0, 0]) - 79) < 5


def test_bright_or_busy_borders_are_left_alone() -> None:
    bright = np.full((64, 64), 250, np.float32)
    bright[16:48, 16:48] = 90
    busy = np.random.default_rng(0).uniform(0, 255, (64, 64)).astype(np.float32)
    for image in (bright, busy):
        np.testing.assert_array_equal(remove_background(image), image)
