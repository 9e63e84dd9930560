"""Each change of an image does what its name says, in the units and within the range of the image."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from medimg_training.augmentation import spatial, splines
from medimg_training.augmentation.draws import Draws, image_keys
from medimg_training.augmentation.pipeline import augment
from medimg_training.augmentation.policy import PRESETS, Affine, Chance, Policy, preset
from MedImgClassifierLib.engine.resize import resize


def body(count: int, size: int = 48, background: float = 20, channels: int = 1) -> torch.Tensor:
    """A textured ellipse on an even ground, somewhat left of and above the middle: no mirror image of itself."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    one = np.where(((x + 0.1) / 0.5) ** 2 + ((y + 0.15) / 0.6) ** 2 < 1, 150 + 60 * np.sin(7 * x + 3 * y), background)
    return torch.from_numpy(np.broadcast_to(one, (count, channels, size, size)).astype(np.float32).copy())


def always(strength: float) -> Chance:
    return Chance(1, strength, strength)


def changed(
    images: torch.Tensor, modality: str = "", unit: str = "arbitrary", seed: int = 0, **policy: Any
) -> torch.Tensor:
    n = len(images)
    return augment(images, Policy("test", **policy), image_keys(seed, 0, np.arange(n)), [modality] * n, [unit] * n)


# ---------------------------------------------------------------- where pixels go


@pytest.mark.parametrize("side, axis", [("columns", 3), ("rows", 2)])
def test_half_of_the_images_are_mirrored_exactly_and_only_on_the_side_that_is_allowed(side: Any, axis: int) -> None:
    images = body(400)
    out = changed(images, flips=(side,))
    mirrored = (out == images.flip(axis)).flatten(1).all(1)
    as_before = (out == images).flatten(1).all(1)
    assert (mirrored ^ as_before).all()
    assert 160 < mirrored.sum() < 240


def test_without_flips_no_preset_mirrors() -> None:
    """The stretch between three points of the image keeps its turning sense under every map of the strongest preset."""
    maps = spatial._maps(PRESETS["strong"].affine, Draws(image_keys(0, 0, np.arange(2000))), 0.5)
    assert (np.linalg.det(maps[:, :, :2]) > 0.3).all()


def test_an_affine_map_is_the_rotation_zoom_and_shift_in_pixels_that_it_says_also_in_an_oblong_image() -> None:
    """Against scipy's affine_transform with the matrix in pixels, in an image of 40 x 64."""
    affine = Affine(1, rotation_degrees=30, zoom=1.3, stretch=1.1, shear_degrees=10, shift=0.1)
    image = torch.from_numpy(ndimage.gaussian_filter(np.random.default_rng(0).random((40, 64)), 2).astype(np.float32))
    keys = image_keys(0, 0, np.arange(6))
    out = augment(image.expand(6, 1, 40, 64), Policy("test", affine=affine), keys, [""] * 6, [""] * 6)
    drawn = Draws(keys).choose("affine", Chance(1)).draws.uniform("affine: map", 6) * 2 - 1
    for picture, u in zip(out[:, 0].numpy(), drawn, strict=True):
        angle, shear = np.radians(30) * u[0], np.tan(np.radians(10) * u[3])
        zoom, stretch = 1.3 ** u[1], 1.1 ** (u[2] / 2)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        in_xy = turn @ np.array([[1, shear], [0, 1]]) @ np.diag([1 / (zoom * stretch), stretch / zoom])
        matrix = in_xy[::-1, ::-1]  # scipy counts rows first
        middle = np.array([19.5, 31.5])
        shift = 0.1 * np.array([u[5] * 40, u[4] * 64])
        expected = ndimage.affine_transform(
            image.numpy(), matrix, middle + shift - matrix @ middle, order=1, cval=np.nan
        )
        known = ndimage.binary_erosion(~np.isnan(expected), iterations=2)
        assert known.mean() > 0.4
        np.testing.assert_allclose(picture[known], expected[known], atol=2e-3 * np.ptp(image.numpy()))


@pytest.mark.parametrize("background", [20, -1000, 250])
def test_what_comes_in_from_outside_has_the_grey_of_the_border(background: float) -> None:
    out = changed(body(32, background=background), affine=Affine(1, rotation_degrees=45, zoom=1.5, shift=0.2))
    border = torch.cat([out[..., 0, :], out[..., -1, :], out[..., 0], out[..., -1]], dim=-1)
    assert (border == background).float().mean() > 0.95
    assert (out - body(32, background=background)).abs().amax((1, 2, 3)).min() > 20


def test_an_elastic_displacement_is_smooth_bounded_and_never_folds() -> None:
    strength, size = 0.47, 64
    draws = Draws(image_keys(0, 0, np.arange(200)))
    moves = spatial._displacement(np.full(200, strength), draws, size, size, torch.device("cpu")).numpy() * size / 2
    cell = size / spatial.ELASTIC_CELLS
    assert 0.3 * strength * cell < np.abs(moves).max() <= strength * cell
    dx, dy = np.diff(moves, axis=3)[:, :, :-1], np.diff(moves, axis=2)[..., :-1]
    turning = (1 + dx[:, 0]) * (1 + dy[:, 1]) - dx[:, 1] * dy[:, 0]
    assert turning.min() > 0


def test_an_elastic_change_moves_pixels_and_leaves_brightness() -> None:
    images = body(16)
    out = changed(images, elastic=always(0.4))
    assert ((out - images).abs().amax((1, 2, 3)) > 20).all()
    assert (out.mean((1, 2, 3)) / images.mean((1, 2, 3)) - 1).abs().max() < 0.15
    wavy = changed(torch.linspace(0, 1, 64).expand(4, 1, 64, 64), elastic=always(0.4))
    assert wavy[:, 0, 32].std(0).mean() > 0.01  # each image its own


def test_spline_fields_reproduce_straight_lines_and_stay_within_their_coefficients() -> None:
    ramp = torch.arange(-1.0, 6.0).expand(7, 7)  # cubic B-splines reproduce linear functions from their samples
    made = splines.field(ramp, 8, 40)
    expected = (torch.arange(40) + 0.5) / 40 * 4
    torch.testing.assert_close(made, expected.expand(8, 40), rtol=0, atol=1e-5)


def test_channels_of_an_image_move_together() -> None:
    images = body(8, channels=2)
    images[:, 1] *= 3
    out = changed(images, affine=PRESETS["strong"].affine, elastic=always(0.3))
    torch.testing.assert_close(out[:, 1], 3 * out[:, 0], rtol=1e-4, atol=1e-2)


# ---------------------------------------------------------------- sharpness


@pytest.mark.parametrize("sigma", [0.6, 1.5, 3.2])
def test_blur_is_a_gaussian_of_its_strength_in_pixels(sigma: float) -> None:
    images = body(2) + torch.linspace(0, 300, 48)  # bright at one side, where the border matters
    out = changed(images, blur=always(sigma)).numpy()
    radius = int(np.ceil(4 * sigma))
    expected = ndimage.gaussian_filter(images[0, 0].numpy().astype(np.float64), sigma, mode="nearest", radius=radius)
    np.testing.assert_allclose(out[0, 0], expected, atol=1e-2)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_low_resolution_is_antialiased_downsampling_and_linear_interpolation(share: float) -> None:
    images = body(3)
    small = resize(images.numpy(), round(48 * share), round(48 * share))
    expected = resize(small, 48, 48)
    np.testing.assert_allclose(changed(images, low_resolution=always(share)).numpy(), expected, atol=1e-2)


def test_images_of_one_batch_have_their_own_resolutions() -> None:
    detail = torch.from_numpy(np.random.default_rng(0).random((1, 1, 64, 64), np.float32)).expand(32, 1, 64, 64)
    left = changed(detail, low_resolution=Chance(1, 0.3, 1.0)).var((1, 2, 3)) / detail.var((1, 2, 3))
    assert left.min() < 0.2 and left.max() > 0.6


# ---------------------------------------------------------------- brightness


def test_gamma_is_a_power_of_the_image_in_its_own_range() -> None:
    images = body(64)
    unit = (images - images.amin()) / (images.amax() - images.amin())
    out = (changed(images, gamma=always(0.5)) - images.amin()) / (images.amax() - images.amin())
    bent = torch.stack([unit[0] ** np.exp(sign * 0.5) for sign in (-1, 1)])
    distance = (out[:, None] - bent).abs().amax((2, 3, 4))
    assert (distance.min(1).values < 1e-3).all()
    assert 16 < (distance[:, 0] < 1e-3).sum() < 48  # both directions


def test_a_window_cuts_no_more_than_its_strength_and_keeps_the_range() -> None:
    images = torch.linspace(0, 1, 48 * 48).reshape(1, 1, 48, 48).repeat(64, 1, 1, 1) ** 3 * 500 - 100
    out = changed(images, window=always(0.3))
    low, high = images.amin(), images.amax()
    bright_end = low + 0.7 * (high - low)
    saturated, emptied = (out >= high - 1e-3).flatten(1), (out <= low + 1e-3).flatten(1)
    assert not saturated[:, (images[0] < bright_end - 1).flatten()].any()
    mean = images.mean()
    assert not emptied[:, (images[0] > low + 0.3 * (mean - low) + 1).flatten()].any()
    assert emptied.float().mean() > (images == low).float().mean() + 0.05
    assert saturated.float().mean() > (images == high).float().mean() + 0.05
    assert out.amin() >= low - 1e-3 and out.amax() <= high + 1e-3


def test_a_calibrated_window_is_a_gain_about_water_and_a_shift_of_hounsfield_units() -> None:
    images = torch.linspace(-1000, 1000, 48 * 48).reshape(1, 1, 48, 48).repeat(64, 1, 1, 1)
    out = changed(images, "CT", "HU", calibrated_window=always(0.05))
    inner = (images[0].abs() < 700).flatten()
    for before, after in zip(images.flatten(1)[:, inner].numpy(), out.flatten(1)[:, inner].numpy(), strict=True):
        gain, shift = np.polyfit(before, after, 1)
        assert min(abs(gain - np.exp(0.05)), abs(gain - np.exp(-0.05))) < 1e-4
        assert abs(shift) <= 50.01
    assert (out.amin((1, 2, 3)) >= -1000.01).all() and (out.amax((1, 2, 3)) <= 1000.01).all()
    assert (out[:, 0, 24, 0] - images[:, 0, 24, 0]).std() > 15


def test_a_bias_field_is_a_slow_gain_within_its_strength() -> None:
    images = torch.full((32, 1, 48, 48), 100.0)
    images[:, :, 0, 0] = 0
    out = changed(images, "MR", bias_field=always(0.8))[:, 0, 1:, 1:] / 100
    ratio = out.amax((1, 2)) / out.amin((1, 2))
    assert ratio.max() <= np.exp(1.6) and ratio.median() > 1.2
    assert out.amax() <= 1 + 1e-5
    assert out.diff(dim=1).abs().max() < 0.1


def test_colour_has_its_gain_in_each_channel_of_rgb_and_its_other_changes_in_all_of_them_alike() -> None:
    images = body(32, channels=3)
    images[:, 1] *= 0.5
    images[:, :, 0, 0] = torch.tensor([0.0, 0.0, 0.0])
    images[:, 0, 0, 1] = 255.0  # the range of the image is that of its brightest channel
    gains = (changed(images, unit="RGB", colour=always(0.1)) / images)[:, :, 24, 20]
    assert (gains.log().abs() <= 0.1001).all() and gains.std(1).min() > 1e-4
    bent = changed(images, unit="RGB", gamma=always(0.4), window=always(0.0)) / 255
    exponents = bent[:, :, 24, 20].log() / (images[:, :, 24, 20] / 255).log()
    assert exponents.std(1).max() < 1e-3 and exponents.std() > 0.1
    apart = changed(images, gamma=always(0.4))[:, :, 24, 20]
    assert ((apart[:, 0] > images[:, 0, 24, 20]) != (apart[:, 2] > images[:, 2, 24, 20])).any()


# ---------------------------------------------------------------- noise and holes


def test_gaussian_noise_has_its_share_of_the_images_deviation() -> None:
    images = 1000 + 50 * torch.randn(8, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    images[:, :, 0, :2] = torch.tensor([0.0, 2000.0])  # room, so that nothing is cut
    added = (changed(images, noise=always(0.3)) - images).std((1, 2, 3)) / images.std((1, 2, 3))
    torch.testing.assert_close(added, torch.full((8,), 0.3), rtol=0.05, atol=0)
    above, below = ((changed(images, noise=always(0.3)) - images)[:, :, rows] for rows in (slice(32), slice(32, 64)))
    assert abs(torch.corrcoef(torch.stack([above.flatten(), below.flatten()]))[0, 1]) < 0.05


@pytest.mark.parametrize("unit, size", [("HU", 200), ("SUVbw", 2)])
def test_noise_of_calibrated_images_is_in_their_units(unit: str, size: float) -> None:
    images = torch.zeros(4, 1, 64, 64)
    images[:, :, 0, :2] = torch.tensor([-5.0, 8.0]) * size
    out = changed(images, "CT", unit, noise=always(0.2))
    torch.testing.assert_close(out[:, :, 1:].std((1, 2, 3)), torch.full((4,), 0.2 * size), rtol=0.05, atol=0)


def test_noise_of_mr_is_rician() -> None:
    """In air, of value 0, it is Rayleigh: mean sigma * sqrt(pi / 2); in tissue nearly Gaussian."""
    images = torch.zeros(4, 1, 64, 64)
    images[..., 32:] = 1000.0
    images[..., 0, 0] = 2000.0
    sigma = 0.1 * images.std(correction=0, dim=(1, 2, 3)).mean()
    out = changed(images, "MR", noise=always(0.1))
    torch.testing.assert_close(out[..., 2:32].mean(), sigma * (np.pi / 2) ** 0.5, rtol=0.03, atol=0)
    torch.testing.assert_close(out[..., 34:].std(), sigma, rtol=0.05, atol=0)


def test_a_cutout_is_one_square_of_the_mean_grey() -> None:
    images = body(64, size=50)
    out = changed(images, cutout=always(0.4))
    hidden = (out - images).abs() > 1e-2
    area = hidden.float().mean((1, 2, 3))
    assert area.max() <= 0.4**2 + 0.03 and area.median() > 0.05
    for image, hole in zip(out, hidden, strict=True):
        values = image[hole]
        assert len(values) and (values - images[0].mean()).abs().max() < 1e-2
        rows, columns = hole[0].any(1).nonzero(), hole[0].any(0).nonzero()
        box = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        assert hole.sum() == box


# ---------------------------------------------------------------- what is done to which kind of image

ONE_CHANGE = {
    "window": always(0.3),
    "calibrated_window": always(0.05),
    "gamma": always(0.4),
    "bias_field": always(0.8),
    "colour": always(0.2),
    "noise": always(0.2),
}
MEANT = {
    ("CT", "HU"): {"calibrated_window", "noise"},
    ("PT", "SUVbw"): {"calibrated_window", "noise"},
    ("", "RGB"): {"window", "gamma", "colour", "noise"},
    ("MR", "arbitrary"): {"window", "gamma", "bias_field", "noise"},
    ("", "arbitrary"): {"window", "gamma", "bias_field", "noise"},
    ("CR", "arbitrary"): {"window", "gamma", "noise"},
    ("CT", "arbitrary"): {"window", "gamma", "noise"},
    ("MR", "HU"): {"calibrated_window", "noise"},
}


@pytest.mark.parametrize("modality, unit", MEANT)
def test_only_what_means_something_for_a_kind_of_image_is_done_to_it(modality: str, unit: str) -> None:
    images = body(4, channels=3)
    done = {
        name
        for name, chance in ONE_CHANGE.items()
        if (changed(images, modality, unit, **{name: chance}) != images).flatten(1).any(1).all()
    }
    assert done == MEANT[modality, unit]


@pytest.mark.parametrize("unit", ["HU", "RGB", "arbitrary"])
@pytest.mark.parametrize("low, high", [(-1024, 3071), (0, 1), (1e5, 1e5 + 100)])
def test_every_preset_stays_within_the_range_of_the_image(unit: str, low: float, high: float) -> None:
    images = body(24, size=32, channels=3)
    images = (images - images.amin()) / (images.amax() - images.amin()) * (high - low) + low
    for name in PRESETS:
        policy = preset(name, ("columns", "rows"))
        out = augment(images, policy, image_keys(0, 0, np.arange(24)), ["MR"] * 24, [unit] * 24)
        slack = 1e-4 * (high - low) + 1e-6 * abs(high)
        assert torch.isfinite(out).all()
        assert out.amin() >= images.amin() - slack and out.amax() <= images.amax() + slack


def test_an_image_of_one_grey_keeps_it() -> None:
    for value in (0.0, -1000.0, 7.3):
        images = torch.full((24, 1, 32, 32), value)
        for unit in ("HU", "arbitrary"):
            out = augment(images, preset("strong"), image_keys(0, 0, np.arange(24)), ["MR"] * 24, [unit] * 24)
            torch.testing.assert_close(out, images, rtol=0, atol=0)


def test_rounding_in_the_interpolation_makes_no_value_that_is_not_a_number() -> None:
    """The darkest grey, interpolated against a bright border, may fall below itself; a power of that is no number."""
    images = torch.full((64, 1, 32, 32), 0.7)
    images[:, :, 6:26, 6:26] = 0.1
    out = changed(images, affine=Affine(1, rotation_degrees=30, zoom=1.2), gamma=always(0.5))
    assert torch.isfinite(out).all()


def test_a_policy_of_certain_changes_makes_all_of_them_at_once() -> None:
    """Nothing of the pipeline is lost when changes follow each other: each one more moves every image."""
    images, policy = body(12), Policy("grows")
    seen = images
    for name, chance in (
        {"affine": replace(PRESETS["strong"].affine, probability=1)} | ONE_CHANGE | {"cutout": always(0.5)}
    ).items():
        policy = replace(policy, **{name: chance})
        out = augment(images, policy, image_keys(0, 0, np.arange(12)), ["MR"] * 12, ["arbitrary"] * 12)
        if name not in ("calibrated_window", "colour"):
            assert (out != seen).flatten(1).any(1).all(), name
        seen = out
