"""InputSpec, its operations, and the place of every pixel they make."""

from __future__ import annotations

import numpy as np
import pytest

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import (
    ChannelSpec,
    Clip,
    Crop,
    InputSpec,
    Orient,
    Pad,
    Percentile,
    Resample,
    Resize,
    Window,
    ZScore,
    geometry,
    in_plane,
    intensity,
)
from MedImgClassifierLib.engine.volume import Volume

IMAGE = (ChannelSpec("image"),)
GRADIENT = np.array([1.0, -2.0, 0.5])  # of the test field, per mm


def ramp_volume(matrix: np.ndarray, shape: tuple[int, int, int] = (4, 30, 50)) -> Volume:
    """Voxel values are a linear function of LPS position, so that a pixel's value tells its place."""
    k, j, i = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    places = np.stack([i, j, k, np.ones_like(i)], axis=-1) @ matrix.T
    return Volume.from_matrix(field(places[..., :3]).astype(np.float32), matrix)


def field(places: np.ndarray) -> np.ndarray:
    return places @ GRADIENT + 300


def matrices() -> dict[str, np.ndarray]:
    turn = np.linalg.qr(np.array([[1, 0.2, 0.1], [-0.2, 1, 0.3], [0, -0.3, 1]]))[0]
    turn *= np.sign(np.diag(turn))
    made = {
        "axial": np.diag([0.8, 1.1, 3.0, 1]),
        "flipped": np.diag([-0.8, -1.1, 3.0, 1]),
        "sagittal_transposed": np.array([[0, 0, 2.0, 0], [0, 1.2, 0, 0], [-0.9, 0, 0, 0], [0, 0, 0, 1.0]]),
    }
    oblique = np.eye(4)
    oblique[:3, :3] = turn @ np.diag([0.8, 1.1, 3.0])
    made["oblique"] = oblique
    for matrix in made.values():
        matrix[:3, 3] = (-12.0, 30.0, 7.0)
    return made


@pytest.mark.parametrize("name", matrices())
@pytest.mark.parametrize(
    "ops",
    [
        (Orient(),),
        (Crop(20, 24),),
        (Orient(), Crop(20, 41), Resize(13, 11)),
        (Resample(2.0),),
        (Orient(), Resample(0.5), Crop(32, 32)),
    ],
    ids=lambda ops: "-".join(op.op for op in ops),
)
def test_every_pixel_shows_the_field_at_its_place(name: str, ops: tuple) -> None:  # type: ignore[type-arg]
    volume = ramp_volume(matrices()[name])
    prepared = geometry([volume], InputSpec(IMAGE, ops, ()))
    n, _, rows, columns = prepared.images.shape
    at = prepared.placement
    r, c = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    for k in range(n):
        places = at.origins_lps[k] + c[..., None] * at.column_step_lps + r[..., None] * at.row_step_lps
        inner = (slice(2, -2), slice(2, -2))  # a triangle filter is cut off at the border
        off_mm = np.abs(prepared.images[k, 0] - field(places)) / np.linalg.norm(GRADIENT)
        assert off_mm[inner].max() < 0.1


def test_needles_of_pixels_are_refused_before_they_fill_the_memory() -> None:
    needles = Volume.from_matrix(np.zeros((1, 16, 16), np.int16), np.diag([0.001, 1000, 1, 1]))
    with pytest.raises(Refusal, match=r"0\.001") as refused:
        geometry([needles], InputSpec(IMAGE, (Pad(), Resize(64, 64)), ()))
    assert refused.value.code == "INPUT_GEOMETRY"
    flat = Volume.from_matrix(np.zeros((1, 4096, 4096), np.uint8), np.diag([0.1, 1, 1, 1]))
    with pytest.raises(Refusal, match=r"4096 x 40960|40960 x 4096"):  # neither side too long, but too many pixels
        geometry([flat], InputSpec(IMAGE, (Pad(), Resize(64, 64)), ()))
    plate = Volume.from_matrix(np.zeros((1, 16, 16), np.int16), np.diag([0.1, 10, 1, 1]))
    assert geometry([plate], InputSpec(IMAGE, (Pad(), Resize(64, 64)), ())).images.shape == (1, 1, 64, 64)


def test_padding_keeps_places_and_never_stretches() -> None:
    matrix = matrices()["axial"]
    matrix[:2, :2] = np.diag([0.8, 0.8])
    volume = ramp_volume(matrix)
    prepared = geometry([volume], InputSpec(IMAGE, (Pad(),), ()))
    assert prepared.images.shape[2:] == (50, 50)
    np.testing.assert_array_equal(prepared.images[:, 0, 10:40], volume.voxels)
    assert (prepared.images[0, 0, :10] == volume.voxels[0].min()).all()
    np.testing.assert_allclose(prepared.placement.cell_centre_lps(1, 10, 0), volume.slice_origins_lps[1])


def test_a_disc_stays_round_where_pixels_are_not_square() -> None:
    y, x = np.mgrid[0:200, 0:50]
    disc = ((y - 100) ** 2 + (4 * (x - 25)) ** 2 < 60**2) * 1000  # pixels of 1 x 4 mm
    volume = Volume.from_matrix(disc[None].astype(np.int16), np.diag([4.0, 1.0, 5.0, 1.0]))
    shown = geometry([volume], InputSpec(IMAGE, (Pad(), Resize(64, 64)), ())).images[0, 0] > 500
    assert abs(shown.any(axis=0).sum() - shown.any(axis=1).sum()) <= 2


@pytest.mark.parametrize("rows, columns", [(60, 0), (0, 60), (40, 60)])
def test_padding_to_a_size_never_cuts(rows: int, columns: int) -> None:
    prepared = geometry([ramp_volume(matrices()["axial"])], InputSpec(IMAGE, (Pad(rows, columns),), ()))
    assert prepared.images.shape[2:] == (max(rows, 30), max(columns, 50))


def test_orient_shows_every_storage_of_a_slice_alike() -> None:
    volume = ramp_volume(matrices()["axial"])
    shown = geometry([volume], InputSpec(IMAGE, (Orient(),), ())).images
    matrix = volume.ijk_to_lps
    assert matrix is not None
    flipped = matrix.copy()
    flipped[:3, 3] += 49 * matrix[:3, 0] + 29 * matrix[:3, 1]
    flipped[:3, :2] *= -1
    stored_flipped = Volume.from_matrix(volume.voxels[:, ::-1, ::-1], flipped)
    stored_transposed = Volume.from_matrix(volume.voxels.swapaxes(1, 2), matrix[:, [1, 0, 2, 3]])
    for other in (stored_flipped, stored_transposed):
        np.testing.assert_array_equal(geometry([other], InputSpec(IMAGE, (Orient(),), ())).images, shown)


@pytest.mark.parametrize("plane, axis", [("sagittal", 0), ("coronal", 1), ("axial", 2)])
@pytest.mark.parametrize("name", matrices())
def test_in_plane_turns_the_stack_and_keeps_every_voxel_in_place(name: str, plane: str, axis: int) -> None:
    volume = ramp_volume(matrices()[name])
    turned = in_plane(volume, plane)  # type: ignore[arg-type]
    assert abs(turned.normal_lps).argmax() == axis
    assert turned.slice_step_lps[axis] > 0
    assert turned.voxels.size == volume.voxels.size
    k, j, i = 1, 2, 3
    place = turned.slice_to_lps(k) @ np.array([i, j, 1.0])
    assert abs(turned.voxels[k, j, i] - field(place)) < 1e-2


def test_ct_padding_below_air_does_not_darken_its_neighbours() -> None:
    voxels = np.full((1, 32, 32), 40, np.int16)
    voxels[:, :, :16] = -3024
    ct = Volume.from_matrix(voxels, np.eye(4), modality="CT", units="HU")
    shown = geometry([ct], InputSpec(IMAGE, (Resize(8, 8),), ()))
    assert shown.images.min() == -1024
    small = Volume.from_matrix(np.full((1, 32, 32), 7, np.uint8), np.eye(4), modality="CT", units="HU")
    assert geometry([small], InputSpec(IMAGE, (), ())).images.max() == 7


def test_intensity_operations_by_hand() -> None:
    image = np.array([[0, 1, 2, 3, 100]], np.float32)[None, None]
    spec = InputSpec(IMAGE, (), (Clip(0, 3), Window(2, 2), ZScore(0.5, 0.25)))
    np.testing.assert_allclose(intensity(image, spec, "arbitrary")[0, 0, 0], [-2, -2, 0, 2, 2])
    halves = intensity(image, InputSpec(IMAGE, (), (Percentile(0, 75),)), "arbitrary")[0, 0, 0]
    np.testing.assert_allclose(halves, [0, 1 / 3, 2 / 3, 1, 1], rtol=1e-6)
    scored = intensity(image, InputSpec(IMAGE, (), (ZScore(scope="foreground"),)), "arbitrary")[0, 0, 0, 1:]
    assert abs(scored.mean()) < 1e-6 and abs(scored.std() - 1) < 1e-6


def test_an_image_without_contrast_becomes_zero_not_nan() -> None:
    flat = np.full((1, 1, 4, 4), 7, np.float32)
    assert (intensity(flat, InputSpec(IMAGE, (), (Percentile(1, 99),)), "arbitrary") == 0).all()
    assert np.isfinite(intensity(flat, InputSpec(IMAGE, (), (ZScore(scope="slice"),)), "arbitrary")).all()


def test_an_operation_for_hu_leaves_other_units_alone_and_never_writes_into_its_input() -> None:
    images = np.full((1, 1, 2, 2), 5000, np.float32)
    spec = InputSpec(IMAGE, (), (Clip(-1024, 3071, "HU"),))
    assert intensity(images, spec, "arbitrary").max() == 5000
    assert intensity(images, spec, "HU").max() == 3071
    assert images.max() == 5000


def test_batches_give_the_same_bits_as_single_slices() -> None:
    volume = ramp_volume(matrices()["oblique"], (6, 40, 50))
    spec = InputSpec(IMAGE, (Orient(), Pad(), Resize(32, 32)), (Percentile(5, 99.5), ZScore(0.3, 0.3)))
    whole = intensity(geometry([volume], spec).images, spec, "arbitrary")
    single = [intensity(geometry([volume], spec, k, k + 1).images, spec, "arbitrary") for k in range(6)]
    np.testing.assert_array_equal(whole, np.concatenate(single))


def test_spec_survives_json_and_its_hash_follows_every_change() -> None:
    spec = InputSpec((ChannelSpec("ct", ("CT",), ("HU",)),), (Orient(), Pad(64, 64)), (Window(40, 400, "HU"),), "axial")
    assert InputSpec.from_json(spec.to_json()) == spec
    other = InputSpec(spec.channels, spec.geometry, (Window(40, 401, "HU"),), "axial")
    assert other.sha256 != spec.sha256


@pytest.mark.parametrize(
    "list_name, op", [("geometry", {"op": "exec"}), ("intensity", {"op": "window"}), ("intensity", {"op": "orient"})]
)
def test_an_operation_outside_the_closed_set_is_an_error(list_name: str, op: dict) -> None:  # type: ignore[type-arg]
    document = InputSpec(IMAGE, (), ()).to_json() | {list_name: [op]}
    with pytest.raises((ValueError, TypeError)):
        InputSpec.from_json(document)
