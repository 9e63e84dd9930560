"""What is drawn for an image depends on seed, epoch and sample, and on nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from medimg_training.augmentation.batches import repeats_in_epoch
from medimg_training.augmentation.draws import Draws, image_keys
from medimg_training.augmentation.pipeline import augment
from medimg_training.augmentation.policy import Chance, Policy, preset

MODALITIES = ["MR", "CT", "", "CR"] * 4
UNITS = ["arbitrary", "HU", "arbitrary", "SUVbw"] * 4
STRONG = preset("strong", ("columns", "rows"))


def pictures(count: int = 16, rows: int = 32, columns: int = 48, channels: int = 1) -> torch.Tensor:
    random = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : rows * 1j, -1 : 1 : columns * 1j]
    disc = np.where(x**2 + (1.3 * y) ** 2 < 0.6, 400 + 300 * np.sin(9 * x), -500)
    return torch.from_numpy((disc + random.normal(0, 30, (count, channels, rows, columns))).astype(np.float32))


def changed(rows: list[int], policy: Policy = STRONG, seed: int = 3, epoch: int = 5) -> torch.Tensor:
    keys = image_keys(seed, epoch, np.array(rows))
    return augment(pictures()[rows], policy, keys, [MODALITIES[n] for n in rows], [UNITS[n] for n in rows])


def test_an_image_is_the_same_bits_in_any_order_and_any_batch() -> None:
    whole = changed(list(range(16)))
    order = np.random.default_rng(1).permutation(16)
    torch.testing.assert_close(changed(order.tolist()), whole[order], rtol=0, atol=0)
    for rows in ([3], [4, 9], list(range(5, 16))):
        torch.testing.assert_close(changed(rows), whole[rows], rtol=0, atol=0)


@pytest.mark.parametrize("size", [(17, 23), (33, 31)])
def test_the_same_holds_to_rounding_where_rows_do_not_fill_the_registers_of_a_processor(size: tuple[int, int]) -> None:
    images = pictures(16, *size)
    keys = image_keys(0, 0, np.arange(16))
    whole = augment(images, STRONG, keys, MODALITIES, UNITS)
    alone = [
        augment(images[n : n + 1], STRONG, keys[n : n + 1], MODALITIES[n : n + 1], UNITS[n : n + 1]) for n in range(16)
    ]
    torch.testing.assert_close(torch.cat(alone), whole, rtol=0, atol=0.01)  # of a range of 1300


def test_seed_epoch_and_sample_each_change_the_image() -> None:
    here = changed([0, 1, 2])
    for other in (changed([0, 1, 2], seed=4), changed([0, 1, 2], epoch=6)):
        assert ((here - other).abs().amax((1, 2, 3)) > 20).all()
    images = pictures(1).expand(16, 1, 32, 48)
    same = augment(images, STRONG, image_keys(0, 0, np.arange(16)), ["MR"] * 16, ["arbitrary"] * 16)
    assert len({image.numpy().tobytes() for image in same}) == 16


def test_keys_do_not_repeat_over_neighbouring_seeds_epochs_and_samples() -> None:
    keys = [image_keys(seed, epoch, np.arange(200)) for seed in range(-5, 5) for epoch in range(20)]
    assert len(np.unique(np.concatenate(keys))) == 10 * 20 * 200


def test_an_image_that_comes_again_in_an_epoch_is_changed_in_another_way() -> None:
    rows = np.array([4, 7, 4, 4, 7, 1])
    repeats = repeats_in_epoch(rows)
    assert repeats.tolist() == [0, 0, 1, 2, 1, 0]
    assert len(np.unique(image_keys(0, 0, rows, repeats))) == 6
    np.testing.assert_array_equal(image_keys(0, 0, rows, repeats)[:2], image_keys(0, 0, rows[:2]))


def test_switching_one_change_off_leaves_the_others_as_they_were() -> None:
    without = changed(list(range(16)), replace(STRONG, noise=Chance(), blur=Chance(), flips=()))
    drawn = Draws(image_keys(3, 5, np.arange(16)))
    noisy = drawn.choose("noise", STRONG.noise).rows.tolist() + drawn.choose("blur", STRONG.blur).rows.tolist()
    mirrored = [drawn.choose(f"flip {side}", Chance(0.5)).rows.tolist() for side in ("columns", "rows")]
    kept = sorted(set(range(16)) - set(noisy) - set(mirrored[0]) - set(mirrored[1]))
    assert kept
    torch.testing.assert_close(changed(list(range(16)))[kept], without[kept], rtol=0, atol=0)


def test_an_image_that_nothing_was_drawn_for_keeps_its_bits_and_the_input_is_not_touched() -> None:
    images, keys = pictures(), image_keys(0, 0, np.arange(16))
    before = images.clone()
    rarely = Policy("rarely", noise=Chance(0.5, 0.3, 0.3))
    out = augment(images, rarely, keys, MODALITIES, UNITS)
    noisy = np.isin(np.arange(16), Draws(keys).choose("noise", rarely.noise).rows)
    assert 2 < noisy.sum() < 14
    assert ((out != images).flatten(1).any(1).numpy() == noisy).all()
    torch.testing.assert_close(images, before, rtol=0, atol=0)
    nothing = augment(images, preset("none"), keys, MODALITIES, UNITS)
    torch.testing.assert_close(nothing, images, rtol=0, atol=0)
    assert nothing.data_ptr() != images.data_ptr()


def test_uniform_numbers_are_even_and_streams_do_not_know_of_each_other() -> None:
    draws = Draws(image_keys(0, 0, np.arange(20000)))
    a, b = draws.uniform("one", 2), draws.uniform("other", 2)
    numbers = np.concatenate([a, b], axis=1)
    assert numbers.min() >= 0 and numbers.max() < 1
    assert np.abs(np.histogram(numbers, 20, (0, 1))[0] / numbers.size - 0.05).max() < 0.003
    assert np.abs(np.corrcoef(numbers.T) - np.eye(4)).max() < 0.03


def test_chances_hold_and_strengths_fill_their_range() -> None:
    chosen = Draws(image_keys(0, 0, np.arange(20000))).choose("blur", Chance(0.3, 2, 5))
    assert abs(len(chosen.rows) / 20000 - 0.3) < 0.012
    assert chosen.strength.min() > 2 - 1e-9 and chosen.strength.max() < 5 and abs(chosen.strength.mean() - 3.5) < 0.05
    only = np.arange(20000) % 2 == 0
    some = Draws(image_keys(0, 0, np.arange(20000))).choose("blur", Chance(0.3, 2, 5), only)
    np.testing.assert_array_equal(some.rows, chosen.rows[chosen.rows % 2 == 0])


def reference_pair(key_stream: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The noise as its definition says, in numpy's unsigned words."""
    first, step = (
        key_stream.astype(np.uint32)[:, None],
        (key_stream >> np.uint64(32)).astype(np.uint32)[:, None] | np.uint32(1),
    )
    word = np.arange(count, dtype=np.uint32) * step + first
    word = (word ^ (word >> np.uint32(16))) * np.uint32(0x21F0AAAD)
    word = (word ^ (word >> np.uint32(15))) * np.uint32(0x735A2D97)
    word ^= word >> np.uint32(15)
    radius = np.sqrt(-2 * np.log(((word >> np.uint32(16)) + 0.5) / 65536))
    angle = 2 * np.pi * (word & np.uint32(0xFFFF)) / 65536
    return radius * np.cos(angle), radius * np.sin(angle)


@pytest.mark.parametrize("count", [1, 37, 4096])
def test_noise_words_wrap_around_as_unsigned_numbers_do(count: int) -> None:
    draws = Draws(image_keys(0, 0, np.arange(9)))
    made = draws.normal_pair("noise", count, torch.device("cpu"))
    for ours, expected in zip(made, reference_pair(draws._stream("noise"), count), strict=True):
        np.testing.assert_allclose(ours.numpy(), expected, atol=3e-6)


def test_noise_is_normal_and_independent_between_pixels_images_and_parts() -> None:
    from scipy.stats import kstest

    fields = torch.cat(Draws(image_keys(0, 0, np.arange(8))).normal_pair("noise", 20000, torch.device("cpu"))).numpy()
    assert kstest(fields.ravel()[::7], "norm").pvalue > 0.01
    assert np.abs(np.corrcoef(fields) - np.eye(16)).max() < 0.035
    for lag in (1, 64, 10000):
        assert abs(np.mean(fields[:, lag:] * fields[:, :-lag])) < 0.02


def test_lengths_that_do_not_agree_are_refused() -> None:
    with pytest.raises(ValueError, match="as many"):
        augment(pictures(2), STRONG, image_keys(0, 0, np.arange(2)), ["MR"], ["HU", "HU"])


@pytest.fixture(params=["cuda"])
def accelerator(request: pytest.FixtureRequest) -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    return torch.device(request.param)


def test_a_gpu_makes_the_same_images_to_rounding(accelerator: torch.device) -> None:
    keys = image_keys(0, 0, np.arange(16))
    images = pictures(16, 64, 64)
    here = augment(images, STRONG, keys, MODALITIES, UNITS)
    there = augment(images.to(accelerator), STRONG, keys, MODALITIES, UNITS).cpu()
    assert ((here - there).abs() > 0.5).float().mean() < 1e-3  # of a range of 1300
