"""Colour images: read as red, green and blue, prepared plane by plane, and never taken for grey ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from MedImgClassifierLib.engine import quality, selftest
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import (
    ChannelSpec,
    Crop,
    InputSpec,
    Orient,
    Pad,
    Resample,
    Resize,
    Window,
    geometry,
    in_plane,
    intensity,
)
from MedImgClassifierLib.engine.reading import read_volume
from MedImgClassifierLib.engine.runtimes import Encoded
from MedImgClassifierLib.engine.slice_view import display_window, slice_view
from MedImgClassifierLib.engine.volume import Case, Volume

COLOUR = ChannelSpec("image", (), ("RGB",))
GREY = ChannelSpec("image")
OPS = (Orient(), Pad(), Crop(40, 40), Resample(0.7), Resize(24, 20))


def spec_of(*channels: ChannelSpec) -> InputSpec:
    return InputSpec(channels, OPS, (Window(127.5, 255),))


def stack(slices: int = 3, matrix: NDArray[np.float64] | None = None) -> Volume:
    voxels = np.random.default_rng(4).integers(0, 256, (slices, 30, 44, 3)).astype(np.uint8)
    at = np.diag([-0.8, 1.1, 3.0, 1]) if matrix is None else matrix
    return Volume.from_matrix(voxels, at, units="RGB")


def plane_of(volume: Volume, colour: int) -> Volume:
    """One colour of a stack as a grey stack."""
    return replace(volume, voxels=volume.voxels[..., colour], units="arbitrary")


def refused(call: Callable[[], Any]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        call()
    assert caught.value.message("zh")
    return caught.value


# --- reading


def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 7, 3)).astype(np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_a_png_in_colour_is_one_slice_of_three_planes(tmp_path: Path, mode: str) -> None:
    made = picture().convert(mode)
    made.save(tmp_path / "image.png")
    v = read_volume(tmp_path / "image.png")
    assert (v.units, v.modality, v.voxels.dtype) == ("RGB", "", np.uint8)
    assert np.array_equal(v.voxels, np.asarray(made.convert("RGB"))[None])
    assert v.ijk_to_lps == pytest.approx(np.eye(4))


def test_a_jpeg_in_colour_is_read_and_a_grey_one_stays_grey(tmp_path: Path) -> None:
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    Image.fromarray(red).save(tmp_path / "red.jpg", quality=95)
    Image.fromarray(red[..., 0]).convert("RGB").save(tmp_path / "grey.jpg")
    v = read_volume(tmp_path / "red.jpg")
    assert v.units == "RGB" and v.voxels.shape == (1, 16, 16, 3)
    assert np.abs(v.voxels.astype(int) - red).max() <= 3
    assert read_volume(tmp_path / "grey.jpg").units == "arbitrary"


def test_four_inks_are_not_red_green_and_blue(tmp_path: Path) -> None:
    Image.new("CMYK", (7, 6), (10, 200, 30, 255)).save(tmp_path / "inks.jpg")
    assert refused(lambda: read_volume(tmp_path / "inks.jpg")).code == "INPUT_DIMENSIONS"


# --- preparing


def test_geometry_does_to_each_colour_what_it_does_to_a_grey_image() -> None:
    volume, spec = stack(), spec_of(COLOUR)
    prepared = geometry([volume], spec)
    assert prepared.images.shape == (3, 3, 24, 20) and prepared.units == "RGB"
    for colour in range(3):
        alone = geometry([plane_of(volume, colour)], spec_of(GREY))
        assert np.array_equal(prepared.images[:, colour], alone.images[:, 0])
        assert np.array_equal(prepared.placement.origins_lps, alone.placement.origins_lps)
    assert np.array_equal(geometry([volume], spec, 1, 2).images, prepared.images[1:2])


def test_colour_and_grey_channels_stand_in_the_order_of_the_specification() -> None:
    volume, grey = stack(), plane_of(stack(), 2)
    spec = spec_of(ChannelSpec("depth"), ChannelSpec("photograph", (), ("RGB",)))
    assert spec.network_channels == 4
    images = geometry([grey, volume], spec).images
    assert np.array_equal(images[:, 0], images[:, 3])
    assert np.array_equal(images[:, 1:], geometry([volume], spec_of(COLOUR)).images)
    turned = spec_of(*spec.channels[::-1])
    assert np.array_equal(geometry([volume, grey], turned).images, images[:, [1, 2, 3, 0]])
    case = Case({"depth": grey, "photograph": volume}, "depth")
    assert "MODALITY_UNKNOWN" in {finding.code for finding in quality.check(case, spec, "b")}
    other = Case({"depth": grey, "photograph": stack(2)}, "depth")
    assert refused(lambda: quality.check(other, spec, "b")).code == "INPUT_GEOMETRY"


@pytest.mark.parametrize("plane", ["sagittal", "coronal", "axial"])
def test_another_plane_and_an_uneven_stack_keep_their_colours(plane: Any) -> None:
    volume = stack(5)
    tilted = volume.slice_origins_lps + np.array([[0, 0, 0], [0, 1, 0], [0, 2, 0.5], [0, 3, 0], [0, 4, 0]])
    for one in (volume, replace(volume, slice_origins_lps=tilted)):
        turned = in_plane(one, plane)
        assert turned.units == "RGB" and turned.voxels.shape[3] == 3
        for colour in range(3):
            alone = in_plane(plane_of(one, colour), plane)
            assert np.array_equal(turned.slice_origins_lps, alone.slice_origins_lps)
            # outside every slice a stack has its smallest value, here that of all colours
            assert np.array_equal(turned.voxels[..., colour], alone.voxels)


def test_the_number_of_planes_is_that_of_the_network() -> None:
    assert [spec_of(*channels).network_channels for channels in ((GREY,), (COLOUR,), (GREY, GREY))] == [1, 3, 2]
    assert InputSpec.from_json(spec_of(COLOUR).to_json()) == spec_of(COLOUR)
    assert spec_of(COLOUR).sha256 != spec_of(GREY).sha256


def test_a_channel_is_colour_or_not() -> None:
    document = spec_of(COLOUR).to_json()
    document["channels"][0]["units"] = ["RGB", "arbitrary"]
    with pytest.raises(ValueError, match="RGB or other units"):
        InputSpec.from_json(document)


# --- the gate


def test_colour_is_refused_where_grey_is_asked_for_and_grey_where_colour_is() -> None:
    volume = stack()
    for channel in (GREY, ChannelSpec("image", (), ("HU",))):
        spec = spec_of(channel)
        told = refused(lambda spec=spec: quality.check(Case.of(volume), spec, "b"))
        assert told.code == "INPUT_DIMENSIONS" and "colour image" in str(told)
        assert refused(lambda spec=spec: geometry([volume], spec)).code == "INPUT_DIMENSIONS"
    grey = replace(plane_of(volume, 0), source=replace(volume.source, path="scan.png"))
    for one in (grey, replace(grey, units="HU", modality="CT")):
        told = refused(lambda one=one: quality.check(Case.of(one), spec_of(COLOUR), "b"))
        assert told.code == "INPUT_GREY" and "'scan.png' is a grey image" in str(told) and told.exit_status == 3
        assert refused(lambda one=one: geometry([one], spec_of(COLOUR))).code == "INPUT_GREY"


def test_contrast_is_looked_for_in_each_colour() -> None:
    flat = np.zeros((3, 6, 7, 3), np.uint8)
    flat[:] = (200, 30, 90)  # one colour everywhere
    even = Volume.from_matrix(flat, np.eye(4), units="RGB")
    assert refused(lambda: quality.check(Case.of(even), spec_of(COLOUR), "b")).code == "INPUT_VALUES"
    flat[1, 2, 3, 2] += 1
    findings = quality.check(Case.of(even), spec_of(COLOUR), "b")
    (empty,) = (finding for finding in findings if finding.code == "EMPTY_SLICES")
    assert "2 of 3" in empty.message
    lost = flat.astype(np.float32)
    lost[0, 0, 0, 1] = np.nan
    damaged = Volume.from_matrix(lost, np.eye(4), units="RGB")
    assert refused(lambda: quality.check(Case.of(damaged), spec_of(COLOUR), "b")).code == "INPUT_VALUES"


# --- the self-test


def test_the_self_test_of_a_colour_model_is_in_colour() -> None:
    class Runtime:
        seen: NDArray[np.float32]

        def encode(self, images: NDArray[np.float32], maps: bool) -> Encoded:
            self.seen = images
            return Encoded(images.mean((2, 3)), images[:, :2])

    class Head:
        def decide(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
            return features[:, :2].astype(np.float64)

    runtime: Any = Runtime()
    head: Any = Head()
    made = selftest.make(spec_of(COLOUR), runtime, head, "RGB")
    assert made["voxels"].shape == (3, 3, 96, 80) and made["voxels"].dtype == np.int16
    assert made["voxels"].min() >= 0 and 200 < made["voxels"].max() <= 255
    assert np.mean((made["voxels"] > 110) & (made["voxels"] < 150)) > 0.1  # soft tissue is a middle grey, not cut off
    assert not np.array_equal(made["voxels"][0], made["voxels"][1])
    assert np.array_equal(made["inputs"], runtime.seen) and runtime.seen.shape == (3, 3, 24, 20)
    colours = Volume.from_matrix(np.moveaxis(made["voxels"], 0, 3), np.eye(4), units="RGB")
    expected = intensity(geometry([colours], spec_of(COLOUR)).images, spec_of(COLOUR), "RGB")
    assert np.array_equal(made["inputs"], expected)


# --- the display


def test_colour_is_shown_by_its_luma_between_percentiles_of_it() -> None:
    voxels = np.zeros((1, 10, 10, 3), np.uint8)
    voxels[0, :, 2:] = (255, 0, 0)
    voxels[0, :, 6:] = (0, 255, 0)
    volume = Volume.from_matrix(voxels, np.eye(4), units="RGB")
    view = slice_view(volume, 0)
    assert view.image.shape == (10, 10)
    assert view.image[0, [0, 3, 8]] == pytest.approx([0, 0.299 * 255, 0.587 * 255], abs=0.01)
    black, white, words = display_window(volume)
    assert (black, white) == pytest.approx((0, 0.587 * 255), abs=0.1)
    assert "luma" in words
