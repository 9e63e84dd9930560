"""Occlusion: what hiding a place takes from each logit, in the cell of that place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from MedImgClassifierLib.engine import occlusion
from MedImgClassifierLib.engine.bundle import load
from MedImgClassifierLib.engine.evidence import place
from MedImgClassifierLib.engine.occlusion import FORWARDS, GRID, METHOD, occlusion_maps
from MedImgClassifierLib.engine.onnx_runtime import OnnxRuntime
from MedImgClassifierLib.engine.preprocess import geometry, intensity
from spot_bundle import CELL_PIXELS, STACKS, cell_size_mm, stack_with_spot

Floats = NDArray[np.float64]


class Decider:
    """Two logits of an image: its first channel's mean square, which no occluder adds up to, and minus its brightest
    pixel. Keeps the sizes of the batches it was given."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def __call__(self, images: NDArray[np.float32]) -> Floats:
        self.batches.append(len(images))
        return np.stack([(images[:, 0].astype(float) ** 2).mean((1, 2)), -images.max((1, 2, 3))], 1).astype(np.float64)


def noise(count: int, channels: int, height: int, width: int) -> NDArray[np.float32]:
    return np.random.default_rng(3).normal(2, 1, (count, channels, height, width)).astype(np.float32)


@pytest.mark.parametrize("size", [(7, 7), (28, 28), (64, 50), (31, 96)])
def test_maps_are_those_of_a_loop_over_the_places(size: tuple[int, int]) -> None:
    """A cell at a time: the four occluders that hold it, each cut at the border of the image."""
    height, width = size
    images, decide = noise(2, 3, *size), Decider()
    expected = np.empty((2, 2, GRID, GRID))
    for n, image in enumerate(images):
        whole = decide(image[None])[0]
        for row, column in np.ndindex(GRID, GRID):
            lost = []
            for up in (row - 1, row):
                for left in (column - 1, column):
                    hidden = image.copy()
                    top, bottom = (round(max(0, min(GRID, at)) * height / GRID) for at in (up, up + 2))
                    start, stop = (round(max(0, min(GRID, at)) * width / GRID) for at in (left, left + 2))
                    for channel in range(3):
                        hidden[channel, top:bottom, start:stop] = image[channel].mean(dtype=np.float64)
                    lost.append(whole - decide(hidden[None])[0])
            expected[n, :, row, column] = np.mean(lost, axis=0)
    maps = occlusion_maps(images, decide(images), decide, batch=50)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, expected, rtol=1e-5, atol=1e-6)


def test_batches_are_never_larger_than_asked_for_and_do_not_change_the_maps() -> None:
    images, one, many = noise(3, 1, 14, 14), Decider(), Decider()
    logits = Decider()(images)
    before = images.copy()
    maps = occlusion_maps(images, logits, many, batch=100)
    assert many.batches == [100, 92] and sum(many.batches) == 3 * FORWARDS
    np.testing.assert_array_equal(occlusion_maps(images, logits, one, batch=1), maps)
    assert set(one.batches) == {1}
    np.testing.assert_array_equal(images, before)


def test_progress_can_cancel_between_batches() -> None:
    done: list[float] = []
    decide = Decider()

    def progress(fraction: float) -> None:
        done.append(fraction)
        if fraction >= 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        occlusion_maps(noise(1, 1, 14, 14), np.zeros((1, 2)), decide, batch=16, progress=progress)
    assert done == [0, 0.25, 0.5]
    assert decide.batches == [16, 16]


def test_an_image_without_contrast_has_no_evidence() -> None:
    images = np.full((1, 1, 20, 20), 0.1, np.float32)
    maps = occlusion_maps(images, Decider()(images), Decider(), batch=64)
    np.testing.assert_array_equal(maps, 0)


def test_an_image_smaller_than_its_cells_is_an_error() -> None:
    with pytest.raises(ValueError, match="6 x 20"):
        occlusion_maps(noise(1, 1, 6, 20), np.zeros((1, 2)), Decider(), batch=4)


@pytest.mark.parametrize("size", [(14, 14), (32, 25), (19, 48)])
def test_a_small_thing_stands_out_in_the_cell_that_it_lies_in(size: tuple[int, int]) -> None:
    """Pixel by pixel over the whole image; within half a pixel of a border either of the two cells is right."""
    height, width = size
    places = list(np.ndindex(height, width))
    images = np.zeros((len(places), 1, height, width), np.float32)
    for n, place_ in enumerate(places):
        images[n, 0, *place_] = 1

    def brightest(images: NDArray[np.float32]) -> Floats:
        peak = images.max((1, 2, 3)).astype(np.float64)
        return np.stack([peak, -peak], 1)

    maps = occlusion_maps(images, brightest(images), brightest, batch=4096)
    first, stride = occlusion.cells(height, width)
    for n, place_ in enumerate(places):
        found = np.unravel_index(maps[n, 0].argmax(), (GRID, GRID))
        away = np.abs(np.array(first) + np.array(stride) * found - place_)
        assert (away <= np.array(stride) / 2 + 0.5).all(), (place_, found)


def test_cells_divide_the_input_evenly() -> None:
    first, stride = occlusion.cells(64, 140)
    assert stride == (64 / GRID, 20)
    assert first[1] == 9.5  # of pixels 0 .. 19
    for size, at, step in ((64, first[0], stride[0]), (140, first[1], stride[1])):
        edges = np.array([at - step / 2, at + (GRID - 0.5) * step])
        np.testing.assert_allclose(edges, [-0.5, size - 0.5])


@pytest.mark.parametrize("kind", STACKS)
def test_a_spot_is_found_where_it_lies_in_the_patient(kind: str, spot_bundle: Path) -> None:
    volume, spot, k = stack_with_spot(kind)
    bundle = load(spot_bundle)
    assert bundle.onnx is not None
    runtime = OnnxRuntime(bundle.onnx)
    prepared = geometry([volume], bundle.spec, k - 1, k + 1)
    inputs = intensity(prepared.images, bundle.spec, prepared.units)

    def decide(images: NDArray[np.float32]) -> Floats:
        return bundle.head.decide(runtime.encode(images, maps=False).features)

    maps = occlusion_maps(inputs, decide(inputs), decide, batch=32)
    evidence = place(maps, prepared.placement, occlusion.cells(*inputs.shape[2:]), METHOD)
    assert evidence.method == "occlusion"
    assert evidence.scale[1] > 1 and evidence.scale[0] == 0
    np.testing.assert_array_equal(maps[0], 0)  # nothing to see on the slice below
    found = evidence.peak_lps(1, 1)
    assert found is not None
    pixel = cell_size_mm(volume) / CELL_PIXELS
    away = (found - spot) @ np.stack([volume.row_direction_lps, volume.column_direction_lps], 1)
    assert (np.abs(away) <= pixel * (64 / GRID / 2 + 0.5)).all()  # half a cell, whose edge is off by half a pixel


def test_the_time_it_takes_is_foretold_by_the_number_of_images() -> None:
    decide = Decider()
    occlusion_maps(noise(3, 1, 14, 14), np.zeros((3, 2)), decide, batch=64)
    assert occlusion.seconds(0.5, slices=3) == 0.5 * sum(decide.batches)


@pytest.mark.parametrize(
    ("duration", "said"), [(0.2, "1 s"), (42.4, "42 s"), (89.9, "90 s"), (700, "12 min"), (5500, "1.5 h")]
)
def test_what_is_not_to_be_had_is_said_with_what_the_other_way_takes(duration: float, said: str) -> None:
    finding = occlusion.instead("vit_b_16", "openvino", duration)
    assert finding.code == "EVIDENCE_NOT_AVAILABLE" and finding.severity == "warn"
    assert finding.message == (
        "evidence of the network vit_b_16 needs torch, but openvino runs it here, so there is none; "
        f"occlusion would take about {said} (--evidence occlusion)"
    )
