"""Training sees what inference sees: the same intensity code, to the bit where nothing is augmented."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medimg_training.augmentation import intensity_on_device
from medimg_training.augmentation.batches import inputs_on_device, training_batch
from medimg_training.augmentation.draws import image_keys
from medimg_training.augmentation.pipeline import augment
from medimg_training.augmentation.policy import preset
from medimg_training.cache import PreparedSet
from MedImgClassifierLib.engine.preprocess import (
    ChannelSpec,
    Clip,
    InputSpec,
    IntensityOp,
    Percentile,
    Window,
    ZScore,
    intensity,
)

CPU = torch.device("cpu")
OPERATIONS: list[tuple[IntensityOp, ...]] = [
    (Clip(-200.3, 300.7),),
    (Window(40, 400),),
    (Window(40.1, 399.9), ZScore(0.485, 0.229)),
    (Percentile(1, 99),),
    (Percentile(0.5, 99.5, "foreground"),),
    (Percentile(0, 100), ZScore(0.5, 0.25)),
    (Percentile(0, 100, "foreground"),),
]
STATISTICS: list[tuple[IntensityOp, ...]] = [
    (ZScore(scope="slice"),),
    (ZScore(scope="foreground"),),
    (Percentile(2, 98, "foreground"), ZScore(scope="foreground")),
]


def images(size: tuple[int, int] = (37, 41)) -> np.ndarray:
    """Two channels of noise over a floor of one value, an image of one grey, one of two values, and one far from 0."""
    random = np.random.default_rng(0)
    out = np.maximum(random.normal(0, 400, (40, 2, *size)), -100).astype(np.float32)
    out[3], out[4] = 7.5, np.where(out[4] > 0, 1, 0)
    out[5] += 30000
    return out


def spec_of(operations: tuple[IntensityOp, ...]) -> InputSpec:
    return InputSpec((ChannelSpec("a"), ChannelSpec("b")), (), operations)


@pytest.mark.parametrize("operations", OPERATIONS, ids=str)
def test_tensor_intensity_has_the_bits_of_the_numpy_code(operations: tuple[IntensityOp, ...]) -> None:
    expected = intensity(images(), spec_of(operations), "HU")
    made = intensity_on_device.intensity(torch.from_numpy(images()), spec_of(operations), "HU")
    np.testing.assert_array_equal(made.numpy(), expected)


@pytest.mark.parametrize("percent", [0.5, 2, 12.25, 37.3, 66.23, 99])
def test_percentiles_have_the_bits_of_numpys_before_they_are_rounded(percent: float) -> None:
    given = np.random.default_rng(0).normal(0, 400, (2000, 2, 3, 3)).astype(np.float32)  # far apart: rounding shows
    low, high = intensity_on_device.percentiles(torch.from_numpy(given), percent, 100, "slice")
    expected = np.percentile(given.reshape(2000, 2, -1), (percent, 100), axis=2)  # of two percentages: in float64
    assert expected.dtype == np.float64
    np.testing.assert_array_equal(np.stack([low.numpy(), high.numpy()])[..., 0, 0], expected)


@pytest.mark.parametrize("operations", STATISTICS, ids=str)
def test_tensor_means_and_deviations_agree_with_the_numpy_code(operations: tuple[IntensityOp, ...]) -> None:
    expected = intensity(images(), spec_of(operations), "HU")
    made = intensity_on_device.intensity(torch.from_numpy(images()), spec_of(operations), "HU")
    np.testing.assert_allclose(made.numpy(), expected, rtol=0, atol=1e-5)


def test_tensor_intensity_leaves_its_input_and_heeds_units() -> None:
    given = torch.from_numpy(images())
    spec = spec_of((Window(40, 400, "HU"), Percentile(1, 99, units="arbitrary")))
    for units in ("HU", "arbitrary", "SUVbw"):
        made = intensity_on_device.intensity(given, spec, units)
        np.testing.assert_array_equal(made.numpy(), intensity(images(), spec, units))
    np.testing.assert_array_equal(given.numpy(), images())


@pytest.fixture
def mixed(prepared: PreparedSet) -> PreparedSet:
    """The bars, a third of them in HU; the operations differ by unit."""
    return replace(prepared, units=("HU", "arbitrary", "arbitrary") * 32, modalities=("CT", "MR", "") * 32)


MIXED = InputSpec(
    (ChannelSpec("image"),), (), (Window(100, 150, "HU"), Percentile(1, 99, units="arbitrary"), ZScore(0.5, 0.2))
)


def test_without_augmentation_the_training_tensor_is_the_inference_tensor_to_the_bit(mixed: PreparedSet) -> None:
    rows = np.array([5, 0, 17, 17, 90])
    made = training_batch(mixed, rows, MIXED, None, 0, 3, CPU)
    assert made.dtype == torch.float32
    np.testing.assert_array_equal(made.numpy(), mixed.inputs(rows, MIXED))
    for n, row in enumerate(rows):
        alone = intensity(mixed.images[row : row + 1], MIXED, mixed.units[row])
        np.testing.assert_array_equal(made.numpy()[n : n + 1], alone)
    np.testing.assert_array_equal(training_batch(mixed, rows, MIXED, preset("none"), 0, 3, CPU).numpy(), made.numpy())


def test_augmented_images_pass_through_the_same_intensity_code(mixed: PreparedSet) -> None:
    rows, policy = np.array([5, 0, 17, 17, 90]), preset("strong")
    repeats = np.array([0, 0, 0, 1, 0])
    made = training_batch(mixed, rows, MIXED, policy, 7, 3, CPU, repeats)
    units, modalities = [mixed.units[n] for n in rows], [mixed.modalities[n] for n in rows]
    raw = augment(torch.from_numpy(mixed.images[rows]), policy, image_keys(7, 3, rows, repeats), modalities, units)
    np.testing.assert_array_equal(made.numpy(), mixed.inputs(rows, MIXED, raw.numpy()))
    assert (made[2] != made[3]).any()
    again = training_batch(mixed, rows[2:3], MIXED, policy, 7, 3, CPU)
    np.testing.assert_array_equal(again[0].numpy(), made[2].numpy())


def test_a_batch_of_several_units_is_prepared_on_a_device_as_on_the_cpu(mixed: PreparedSet) -> None:
    rows = np.arange(9)
    made = inputs_on_device(mixed, rows, MIXED, torch.from_numpy(mixed.images[rows]))
    np.testing.assert_array_equal(made.numpy(), mixed.inputs(rows, MIXED))


def test_the_cache_is_not_changed(mixed: PreparedSet) -> None:
    before = mixed.images.copy()
    training_batch(mixed, np.arange(96), MIXED, preset("strong", ("columns", "rows")), 0, 0, CPU)
    np.testing.assert_array_equal(mixed.images, before)


def test_a_gpu_prepares_the_batch_of_the_cpu(mixed: PreparedSet) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    made = training_batch(mixed, np.arange(96), MIXED, None, 0, 0, torch.device("cuda"))
    assert made.device.type == "cuda"
    np.testing.assert_array_equal(made.cpu().numpy(), mixed.inputs(np.arange(96), MIXED))
