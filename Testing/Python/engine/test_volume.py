"""Volume and Case: where slices lie, what one matrix may hide, and the even stack of a tilted, uneven one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.volume import Case, Volume

TILT = np.radians(18.5)
STEPS_MM = np.array([4.0, 4.0, 4.0, 1.08, 7.0, 7.0, 7.0])


def volume(origins: Any, voxels: NDArray[Any] | None = None, **changes: Any) -> Volume:
    """Slices of 9 x 8 voxels (0.5 mm along I, 0.8 mm along J), axial unless `changes` turns them."""
    origins = np.asarray(origins, float)
    voxels = np.zeros((len(origins), 9, 8), np.int16) if voxels is None else voxels
    arguments: dict[str, Any] = {
        "voxels": voxels,
        "row_direction_lps": np.array([1.0, 0, 0]),
        "column_direction_lps": np.array([0, 1.0, 0]),
        "spacing_mm": (0.5, 0.8),
        "slice_origins_lps": origins,
    }
    return Volume(**(arguments | changes))


def even_origins(count: int = 5, step: float = 2.5) -> NDArray[np.float64]:
    return np.array([10.0, -20.0, 30.0]) + np.arange(count)[:, None] * np.array([0, 0, step])


def tilted() -> Volume:
    """A gantry-tilted, unevenly stepped stack whose voxels are the linear field `field`."""
    column = np.array([0, np.cos(TILT), np.sin(TILT)])
    heights = np.concatenate([[0.0], np.cumsum(STEPS_MM)]) / np.cos(TILT)
    origins = np.array([10.0, -20.0, 30.0]) + heights[:, None] * np.array([0, 0, 1.0])  # the table moves along z
    empty = volume(
        origins,
        np.zeros((len(origins), 40, 36), np.float32),
        column_direction_lps=column,
    )
    return replace(empty, voxels=field(places(empty)).astype(np.float32))


def places(v: Volume) -> NDArray[np.float64]:
    """[K, J, I, 3] LPS of every voxel, by slice_to_lps."""
    j, i = np.mgrid[: v.voxels.shape[1], : v.voxels.shape[2]]
    pixels = np.stack([i, j, np.ones_like(i)], axis=-1)
    return np.stack([pixels @ v.slice_to_lps(k).T for k in range(len(v.voxels))])


def field(lps: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1000 + lps @ np.array([3.0, -2.0, 5.0]))


def test_a_matrix_comes_back_as_it_went_in() -> None:
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    matrix = np.eye(4)
    matrix[:3, :3] = turn * np.array([0.5, 0.8, 2.5])
    matrix[:3, 3] = [10, -20, 30]
    v = Volume.from_matrix(np.zeros((5, 9, 8)), matrix)
    assert v.ijk_to_lps == pytest.approx(matrix)
    assert v.spacing_mm == pytest.approx((0.5, 0.8))
    assert v.slice_thickness_mm == pytest.approx(2.5)
    assert v.irregularity == ""


def test_a_left_handed_matrix_keeps_its_slice_direction() -> None:
    matrix = np.diag([0.5, 0.8, -2.5, 1.0])
    v = Volume.from_matrix(np.zeros((5, 9, 8)), matrix)
    assert v.ijk_to_lps == pytest.approx(matrix)
    assert np.diff(v.positions_mm) == pytest.approx(-2.5)


def test_a_sheared_matrix_is_kept_slice_by_slice_and_told() -> None:
    matrix = np.diag([0.5, 0.8, 2.5, 1.0])
    matrix[1, 2] = 1.0
    v = Volume.from_matrix(np.zeros((5, 9, 8)), matrix)
    assert "sheared by 21.8 degrees" in v.irregularity
    assert v.ijk_to_lps is None
    assert v.slice_origins_lps[4] == pytest.approx([0, 4, 10])
    assert v.slice_thickness_mm == pytest.approx(2.5), "thickness is along the normal, not along the shear"


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_matrix_with_a_zero_axis_is_an_error(axis: int) -> None:
    matrix = np.eye(4)
    matrix[:3, axis] = 0
    with pytest.raises(ValueError, match="zero"):
        Volume.from_matrix(np.zeros((5, 9, 8)), matrix)


@pytest.mark.parametrize(
    "changes",
    [
        {"voxels": np.zeros((9, 8))},
        {"voxels": np.zeros((5, 0, 8))},
        {"voxels": np.zeros((4, 9, 8))},
        {"spacing_mm": (0.5, 0.0)},
        {"row_direction_lps": np.array([2.0, 0, 0])},
        {"column_direction_lps": np.array([0.1, 0.995, 0])},
        {"slice_origins_lps": np.full((5, 3), np.nan)},
        {"units": "RGB"},
    ],
)
def test_a_volume_that_contradicts_itself_is_an_error(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        volume(even_origins(), **changes)


def test_slice_to_lps_gives_the_centre_of_every_voxel() -> None:
    v = volume(even_origins())
    assert v.slice_to_lps(2) @ [0, 0, 1] == pytest.approx([10, -20, 35])
    assert v.slice_to_lps(2) @ [7, 8, 1] == pytest.approx([13.5, -13.6, 35])
    assert v.slice_centres_lps[2] == pytest.approx([11.75, -16.8, 35])
    assert places(v)[4, 8, 7] == pytest.approx((v.ijk_to_lps @ [7, 8, 4, 1])[:3])  # type: ignore[operator]


def test_uneven_steps_are_told_with_their_sizes() -> None:
    origins = even_origins()
    origins[3:, 2] += 1.5
    v = volume(origins)
    assert v.irregularity == "uneven slice steps of 2.50 to 4.00 mm"
    assert v.ijk_to_lps is None


def test_deviations_up_to_a_tenth_of_a_millimetre_are_a_regular_stack() -> None:
    origins = even_origins()
    origins[2, 2] += 0.09
    assert volume(origins).ijk_to_lps is not None
    origins[2, 2] += 0.02
    assert volume(origins).ijk_to_lps is None


def test_tilt_and_uneven_steps_are_both_told() -> None:
    v = tilted()
    assert v.irregularity == "sheared by 18.5 degrees (gantry tilt) and uneven slice steps of 1.08 to 7.00 mm"
    assert v.ijk_to_lps is None


def test_a_single_slice_has_a_matrix_with_its_thickness() -> None:
    v = volume(even_origins(1), slice_thickness_mm=4.0)
    assert v.ijk_to_lps is not None
    assert v.ijk_to_lps[:3, 2] == pytest.approx([0, 0, 4])


def test_a_regular_volume_is_its_own_regular_form() -> None:
    v = volume(even_origins())
    assert v.regular() == (v, 0.0)


def test_the_regular_form_of_a_tilted_uneven_stack_holds_the_same_field() -> None:
    regular, _ = tilted().regular()
    assert regular.irregularity == ""
    assert regular.ijk_to_lps is not None
    assert regular.slice_origins_lps[0] @ regular.normal_lps == pytest.approx(tilted().positions_mm[0])
    expected = field(places(regular))
    background = tilted().voxels.min()
    # only voxels all of whose acquired neighbours exist can hold the field
    inside = np.abs(regular.voxels - expected) < 0.05
    core = np.zeros_like(inside)
    drift = round(STEPS_MM.sum() * np.tan(TILT) / 0.8)
    core[:-1, drift + 2 : 38, 2:-2] = True
    assert core.sum() > 100
    assert inside[core].all()
    assert (regular.voxels >= background - 1e-3).all()


def test_the_shift_says_how_far_slices_lie_from_an_even_upright_stack() -> None:
    v = tilted()
    _, shift = v.regular()
    even = np.linspace(0, STEPS_MM.sum(), 8)
    at = np.concatenate([[0.0], np.cumsum(STEPS_MM)])
    expected = np.hypot(at * np.tan(TILT), at - even).max()
    assert shift == pytest.approx(expected)


def test_slices_too_far_apart_for_an_even_stack_are_refused_before_it_fills_the_memory() -> None:
    origins = np.array([[0, 0, z] for z in (0.0, 0.02, 0.04, 1e6)])
    with pytest.raises(Refusal, match=r"INPUT_GEOMETRY.*uneven"):
        volume(origins).regular()
    sheared = np.array([[1e7 * k, 0, k] for k in range(4)])
    with pytest.raises(Refusal, match=r"INPUT_GEOMETRY.*sheared"):
        volume(sheared).regular()


def test_the_regular_form_drops_the_slice_uids_it_no_longer_has() -> None:
    v = tilted()
    v = replace(v, source=replace(v.source, sop_instance_uids=("1.2",) * 8, instance_numbers=(1,) * 8))
    regular, _ = v.regular()
    assert regular.source.sop_instance_uids == ()
    assert regular.source.instance_numbers == ()


def test_the_content_hash_knows_voxels_and_geometry_and_nothing_else() -> None:
    voxels = np.arange(5 * 9 * 8, dtype=np.int16).reshape(5, 9, 8)
    base = volume(even_origins(), voxels)
    changed = voxels.copy()
    changed[4, 8, 7] += 1
    others = [
        volume(even_origins(), changed),
        volume(even_origins(), voxels.astype(np.float32)),
        volume(even_origins(step=2.6), voxels),
        volume(even_origins(), voxels, spacing_mm=(0.5, 0.81)),
        volume(even_origins(), voxels, row_direction_lps=np.array([-1.0, 0, 0])),
        volume(even_origins(), voxels, column_direction_lps=np.array([0, -1.0, 0])),
    ]
    hashes = {v.content_sha256 for v in [base, *others]}
    assert len(hashes) == 1 + len(others)
    renamed = replace(base, source=replace(base.source, path="other", description="other"))
    assert renamed.content_sha256 == base.content_sha256
    assert volume(even_origins(), np.asfortranarray(voxels)).content_sha256 == base.content_sha256


def test_a_lone_volume_is_a_case_of_one_channel() -> None:
    v = volume(even_origins())
    case = Case.of(v, "T1")
    assert case.reference == "T1"
    assert case.reference_volume is v


def test_a_case_needs_a_volume_in_its_reference_channel() -> None:
    v = volume(even_origins())
    assert Case({"T1": v, "FLAIR": None}, "T1").reference_volume is v
    for reference in ("FLAIR", "T2"):
        with pytest.raises(ValueError, match=reference):
            Case({"T1": v, "FLAIR": None}, reference)
