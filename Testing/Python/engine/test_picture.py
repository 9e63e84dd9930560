"""Evidence is drawn where it lies in the patient, and overlay.png says what a reader must know."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import NDArray
from PIL import Image

from MedImgClassifierLib.engine.picture import overlay_figure, overlay_picture, with_evidence
from MedImgClassifierLib.engine.preprocess import in_plane
from MedImgClassifierLib.engine.result import (
    NOTICE,
    Classification,
    Evidence,
    Finding,
    KeySlice,
    Label,
    Placement,
    SliceResults,
)
from MedImgClassifierLib.engine.slice_view import display_window, displayed, evidence_on_slice, slice_view
from MedImgClassifierLib.engine.volume import Volume

Floats = NDArray[np.float64]

K, J, I = 6, 64, 50  # noqa: E741 - the axes' names
SPACING = (1.6, 0.9)  # along I, along J: far from square
CELLS = (4, 5)  # rows, columns
SPOT_SLICE, SPOT_CELL = 3, (1, 3)
HALF_PIXEL = float(np.hypot(*SPACING)) / 2


def turned(axis: int, degrees: float) -> Floats:
    a, (u, v) = np.radians(degrees), [x for x in range(3) if x != axis]
    matrix = np.eye(3)
    matrix[u, u] = matrix[v, v] = np.cos(a)
    matrix[u, v], matrix[v, u] = -np.sin(a), np.sin(a)
    return matrix


@dataclass(frozen=True)
class Stack:
    """A way to store slices, and where its stored axes (I, J) must go on the display."""

    across: Floats
    down: Floats
    step: Floats
    right: tuple[str, int]  # which stored axis runs to the right of the display, and which way
    below: tuple[str, int]

    def display_axes(self) -> tuple[Floats, Floats]:
        stored = {"I": self.across, "J": self.down}
        return stored[self.right[0]] * self.right[1], stored[self.below[0]] * self.below[1]


X, Y, Z = np.eye(3)
OBLIQUE = turned(0, 25) @ turned(2, -20) @ turned(1, 15)
STACKS = {
    "axial": Stack(X, Y, 4 * Z, ("I", 1), ("J", 1)),
    "axial, k downwards": Stack(X, Y, -4 * Z, ("I", 1), ("J", 1)),
    "axial, flipped left-right": Stack(-X, Y, 4 * Z, ("I", -1), ("J", 1)),
    "axial, flipped both ways": Stack(-X, -Y, 4 * Z, ("I", -1), ("J", -1)),
    "axial, transposed and flipped": Stack(-Y, X, 4 * Z, ("J", 1), ("I", -1)),
    "sagittal as acquired": Stack(Y, -Z, -4 * X, ("I", 1), ("J", 1)),
    "sagittal as in NIfTI": Stack(-Y, Z, 4 * X, ("I", -1), ("J", -1)),
    "sagittal, transposed": Stack(Z, Y, 4 * X, ("J", 1), ("I", -1)),
    "coronal as acquired": Stack(X, -Z, 4 * Y, ("I", 1), ("J", 1)),
    "coronal, flipped": Stack(-X, Z, -4 * Y, ("I", -1), ("J", -1)),
    "oblique": Stack(OBLIQUE @ X, OBLIQUE @ Y, OBLIQUE @ (4 * Z), ("I", 1), ("J", 1)),
    "oblique coronal, flipped": Stack(OBLIQUE @ -X, OBLIQUE @ Z, OBLIQUE @ (4 * Y), ("I", -1), ("J", -1)),
    "tilted (sheared)": Stack(X, turned(0, 18.5) @ Y, 4 * Z, ("I", 1), ("J", 1)),
}
each_stack = pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS.keys())


def volume_of(stack: Stack, uneven: bool = False) -> Volume:
    steps = np.array([0, 1, 1.3, 2, 3, 3.2] if uneven else np.arange(K), float)
    origins = np.array([-37.0, 52.0, 11.0]) + steps[:, None] * stack.step
    return Volume(np.zeros((K, J, I), np.float32), stack.across, stack.down, SPACING, origins)


def pixel_lps(volume: Volume, k: int) -> Floats:
    """[J, I, 3] centres of the pixels of a slice, written out."""
    j, i = np.mgrid[:J, :I]
    along, down = volume.row_direction_lps * SPACING[0], volume.column_direction_lps * SPACING[1]
    return np.asarray(volume.slice_origins_lps[k] + i[..., None] * along + j[..., None] * down)


def placement_on(volume: Volume) -> Placement:
    """A network that saw the slices transposed, flipped and cropped: its rows run along -I, its columns along J."""
    across, down = volume.row_direction_lps, volume.column_direction_lps
    return Placement(volume.slice_origins_lps + 66 * across + 9.3 * down, down * 10.7, across * -14.0)


def classified(
    volume: Volume, maps: NDArray[np.float32], placement: Placement, names: tuple[str, ...]
) -> Classification:
    rows, count = maps.shape[:2]
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(rows, count))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return Classification(
        labels=tuple(Label(name) for name in names),
        slices=SliceResults(
            volume.slice_centres_lps[:rows],
            np.tile(volume.normal_lps, (rows, 1)),
            tuple(range(rows)),
            logits,
            probabilities,
            tuple(range(1, rows + 1)),
        ),
        evidence=Evidence(maps, np.maximum(maps, 0).max(axis=(0, 2, 3)).astype(float), placement, "closed_form"),
        findings=(Finding("QUALITY_TILT", "warn", "the gantry was tilted"),),
        key_slices=(KeySlice(rows // 2, 0, "most_probable"),),
        calibrated=False,
        bundle={"id": "b", "version": "1.2.3", "title": "Body region", "intended_use": "sorting series"},
    )


def spot_case(volume: Volume) -> tuple[Classification, Floats]:
    """One cell of one slice speaks for label 0; where it lies in LPS mm."""
    maps = np.full((K, 2, *CELLS), -1, np.float32)
    maps[SPOT_SLICE, 0, *SPOT_CELL] = 3
    placement = placement_on(volume)
    across, down = volume.row_direction_lps, volume.column_direction_lps
    spot = volume.slice_origins_lps[SPOT_SLICE] + (66 - 14 * 1) * across + (9.3 + 10.7 * 3) * down
    return classified(volume, maps, placement, ("spot", "other")), spot


# ---------------------------------------------------------------- evidence on a slice


@each_stack
@pytest.mark.parametrize("uneven", [False, True], ids=["even", "uneven"])
def test_the_strongest_evidence_lies_on_the_pixel_nearest_to_its_cell(stack: Stack, uneven: bool) -> None:
    volume = volume_of(stack, uneven)
    classification, spot = spot_case(volume)
    drawn = evidence_on_slice(classification, volume, SPOT_SLICE, 0)
    assert drawn.shape == (J, I)
    assert drawn.dtype == np.float32
    j, i = np.unravel_index(drawn.argmax(), drawn.shape)
    assert np.linalg.norm(pixel_lps(volume, SPOT_SLICE)[j, i] - spot) <= HALF_PIXEL
    assert drawn.max() > 0.8
    for n in set(range(K)) - {SPOT_SLICE}:
        assert not evidence_on_slice(classification, volume, n, 0).any()
    assert not evidence_on_slice(classification, volume, SPOT_SLICE, 1).any()


@each_stack
def test_evidence_that_is_linear_in_the_patient_stays_so_on_every_pixel(stack: Stack) -> None:
    volume = volume_of(stack)
    placement = placement_on(volume)
    slope = np.array([0.011, -0.017, 0.013])
    row, column = np.mgrid[: CELLS[0], : CELLS[1]]
    cells = np.stack([placement.origins_lps[n] for n in range(K)])[:, None, None] + (
        column[..., None] * placement.column_step_lps + row[..., None] * placement.row_step_lps
    )
    maps = (cells @ slope + 20).astype(np.float32)[:, None].repeat(2, axis=1)
    classification = classified(volume, maps, placement, ("ramp", "other"))
    for n in (0, 4):
        drawn = evidence_on_slice(classification, volume, n, 0)
        j, i = np.mgrid[:J, :I]
        across = (66 - i * SPACING[0]) / 14.0  # in cells, by the definition of placement_on
        down = (j * SPACING[1] - 9.3) / 10.7
        between = (across >= 0) & (across <= CELLS[0] - 1) & (down >= 0) & (down <= CELLS[1] - 1)
        reached = (across >= -0.5) & (across <= CELLS[0] - 0.5) & (down >= -0.5) & (down <= CELLS[1] - 0.5)
        assert between.sum() > 300
        assert (~reached).sum() > 100
        expected = (pixel_lps(volume, n) @ slope + 20) / maps.max()
        np.testing.assert_allclose(drawn[between], expected[between], atol=2e-6)
        assert (drawn[reached] > 0).all()
        assert (drawn[~reached] == 0).all()


@pytest.mark.parametrize("plane", ["axial", "sagittal", "coronal"])
def test_slices_cut_in_another_plane_carry_their_evidence_where_it_lies(plane: str) -> None:
    matrix = np.diag([1.0, 1.2, 2.0, 1.0])
    matrix[:3, 3] = [-20, -30, 40]
    volume = Volume.from_matrix(np.zeros((20, 30, 40), np.float32), matrix)
    cut = in_plane(volume, plane)  # type: ignore[arg-type]
    origins = cut.slice_origins_lps + 5 * cut.row_direction_lps + 5 * cut.column_direction_lps
    placement = Placement(origins, cut.row_direction_lps * 9, cut.column_direction_lps * 9)
    maps = np.zeros((len(cut.voxels), 2, 3, 3), np.float32)
    maps[7, 0, 1, 2] = 1
    classification = classified(cut, maps, placement, ("spot", "other"))
    slices = replace(classification.slices, native_k=None, instance_numbers=())
    drawn = evidence_on_slice(replace(classification, slices=slices), volume, 7, 0)
    j, i = np.unravel_index(drawn.argmax(), drawn.shape)
    found = cut.slice_to_lps(7) @ [i, j, 1]
    spot = origins[7] + 18 * cut.row_direction_lps + 9 * cut.column_direction_lps
    assert np.linalg.norm(found - spot) <= max(cut.spacing_mm)
    assert overlay_figure(replace(classification, slices=slices), volume).axes


def test_a_volume_that_was_not_classified_is_not_drawn_under_the_evidence() -> None:
    volume = volume_of(STACKS["axial"])
    classification, _ = spot_case(volume)
    moved = replace(volume, slice_origins_lps=volume.slice_origins_lps + 3 * Z)
    for other in (moved, volume_of(STACKS["sagittal as acquired"]), replace(
        volume, voxels=volume.voxels[:2], slice_origins_lps=volume.slice_origins_lps[:2]
    )):  # fmt: skip
        with pytest.raises(ValueError, match="not the one that was classified"):
            overlay_figure(classification, other)


# ---------------------------------------------------------------- display


@each_stack
def test_slices_are_shown_as_radiologists_see_them(stack: Stack) -> None:
    volume = volume_of(stack)
    rng = np.random.default_rng(1)
    volume = replace(volume, voxels=rng.normal(size=(K, J, I)).astype(np.float32))
    stored, shown = slice_view(volume, 2), displayed(slice_view(volume, 2))
    right, below = (axis / np.linalg.norm(axis) for axis in shown.to_lps[:, :2].T)
    for found, expected in zip((right, below), stack.display_axes(), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-12)
    for row, column in ((0, 0), (5, 17), (shown.image.shape[0] - 1, 3)):
        i, j, _ = np.linalg.lstsq(stored.to_lps, shown.to_lps @ [column, row, 1], rcond=None)[0].round().astype(int)
        assert shown.image[row, column] == stored.image[j, i]


def test_ct_is_shown_in_a_soft_tissue_window_and_other_images_between_percentiles_of_the_body() -> None:
    volume = volume_of(STACKS["axial"])
    assert display_window(replace(volume, units="HU")) == (-160, 240, "CT window W 400 L 40 HU")
    voxels = np.zeros((K, J, I), np.float32)
    voxels[:, 20:40, 10:40] = np.linspace(100, 200, 30)
    voxels[0, 30, 30] = 1e6  # one hot voxel must not darken the rest
    black, white, words = display_window(replace(volume, voxels=voxels))
    assert black == 0
    assert 190 < white <= 200
    assert words.startswith("grey scale 0 to ")
    assert np.isfinite(display_window(volume)[:2]).all()  # an empty volume


def test_colour_gets_stronger_with_evidence_and_begins_at_the_threshold() -> None:
    evidence = np.array([[0, 0.1, 0.2499, 0.25, 0.5, 0.75, 1]], np.float32)
    grey = np.full((1, 7, 3), 0.5, np.float32)
    shown = with_evidence(grey, evidence)[0]
    np.testing.assert_array_equal(shown[:3], grey[0, :3])
    change = np.abs(with_evidence(grey * 0, evidence)[0]).sum(axis=1)
    assert (np.diff(change[2:]) > 0.1).all()
    assert shown.min() >= 0
    assert shown.max() <= 1
    assert (
        np.ptp(
            with_evidence(np.arange(2, dtype=np.float32)[:, None, None].repeat(3, 2), np.ones((2, 1), "f4")), 0
        ).min()
        > 0.3
    )


# ---------------------------------------------------------------- the picture


def panel_box(figure: Figure, number: int = 1) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) pixels of a panel in the PNG."""
    (axes,) = (a for a in figure.axes if a.get_gid() == f"panel-{number}")
    box = axes.get_position()
    return (
        round(box.x0 * 1600),
        round((1 - box.y1) * 1000),
        round(box.x1 * 1600),
        round((1 - box.y0) * 1000),
    )


def png(classification: Classification, volume: Volume, path: Path) -> NDArray[np.int64]:
    overlay_picture(classification, volume, path)
    return np.asarray(Image.open(path).convert("RGB"), np.int64)


def words_of(figure: Figure) -> str:
    return "\n".join(t.get_text() for t in figure.findobj(Text) if isinstance(t, Text) and t.get_visible())


@pytest.mark.parametrize(
    "name",
    [
        "axial",
        "axial, transposed and flipped",
        "sagittal as in NIfTI",
        "coronal, flipped",
        "oblique",
        "tilted (sheared)",
    ],
)
def test_a_bright_spot_and_its_evidence_fall_on_the_same_place_of_the_png(name: str, tmp_path: Path) -> None:
    stack = STACKS[name]
    volume = volume_of(stack)
    classification, spot = spot_case(volume)
    near = np.linalg.norm(pixel_lps(volume, SPOT_SLICE) - spot, axis=-1) < 2.5
    volume.voxels[SPOT_SLICE][near] = 100
    empty = replace(classification.evidence, maps=classification.evidence.maps * 0 - 1, scale=np.zeros(2))  # type: ignore[type-var, union-attr]
    with_colour = png(classification, volume, tmp_path / "a.png")
    without = png(replace(classification, evidence=empty), volume, tmp_path / "b.png")
    assert with_colour.shape == (1000, 1600, 3)
    left, top, right, bottom = panel_box(overlay_figure(classification, volume))
    grey, colour = (image[top:bottom, left:right] for image in (without, with_colour))
    mm_per_pixel = (SPACING[0] * I if stack.right[0] == "I" else SPACING[1] * J) / (right - left)
    high, wide = grey.shape[:2]
    inner = np.zeros((high, wide), bool)  # letters stand at the rim, the note of the grey picture at the top
    inner[high // 5 : -high // 12, wide // 12 : -wide // 12] = True
    white = np.argwhere((grey.min(axis=2) > 200) & inner).mean(axis=0)
    warm = np.where(inner, (colour[..., 0] - colour[..., 2]) * (grey.max(axis=2) < 60), 0)
    strongest = np.argwhere(warm >= 0.9 * warm.max()).mean(axis=0)
    assert warm.max() > 60
    assert np.linalg.norm(strongest - white) * mm_per_pixel < 5  # a cell measures 10.7 x 14 mm
    to_right, below = stack.display_axes()
    offset = spot - volume.slice_centres_lps[SPOT_SLICE]
    expected = (
        np.array([bottom - top - 1, right - left - 1]) / 2
        + np.array([offset @ below, offset @ to_right]) / mm_per_pixel
    )
    assert np.linalg.norm(white - expected) * mm_per_pixel < 1.5
    assert np.linalg.norm(strongest - expected) * mm_per_pixel < 5


def test_panels_have_the_proportions_of_the_patient_and_millimetres_as_coordinates() -> None:
    volume = volume_of(STACKS["axial"])
    classification, _ = spot_case(volume)
    figure = overlay_figure(classification, volume)
    left, top, right, bottom = panel_box(figure)
    (axes,) = (a for a in figure.axes if a.get_gid() == "panel-1")
    corners = axes.transData.transform(
        [[-SPACING[0] / 2, -SPACING[1] / 2], [SPACING[0] * (I - 0.5), SPACING[1] * (J - 0.5)]]
    )
    np.testing.assert_allclose(corners, [[left, 1000 - top], [right, 1000 - bottom]], atol=1)
    assert (right - left) / (bottom - top) == pytest.approx(SPACING[0] * I / (SPACING[1] * J), rel=0.01)


@pytest.mark.parametrize(
    ("peak", "note", "coloured"),
    [(-1.0, "no evidence", False), (0.2, "weak evidence (at most 0.20)", False), (0.9, "", True)],
)
def test_a_panel_says_when_nothing_speaks_for_its_label(peak: float, note: str, coloured: bool, tmp_path: Path) -> None:
    volume = volume_of(STACKS["axial"])
    classification, _ = spot_case(volume)
    assert classification.evidence is not None
    classification.evidence.maps[:] = -1
    classification.evidence.maps[0, 0, 0, 0] = 1 if peak > 0 else -1
    classification.evidence.maps[SPOT_SLICE, 0, *SPOT_CELL] = peak
    evidence = replace(classification.evidence, scale=np.array([float(peak > 0), 0.0]))
    classification = replace(classification, evidence=evidence)
    figure = overlay_figure(classification, volume)
    (axes,) = (a for a in figure.axes if a.get_gid() == "panel-1")
    notes = [t.get_text() for t in axes.texts if "evidence" in t.get_text()]
    assert notes == ([note] if note else [])
    image = np.asarray(axes.images[0].get_array())
    assert bool(np.ptp(image, axis=2).any()) == coloured


def test_the_picture_says_model_window_doubts_and_notice() -> None:
    volume = replace(volume_of(STACKS["axial"]), units="HU")
    classification, _ = spot_case(volume)
    words = words_of(overlay_figure(classification, volume))
    for expected in (
        classification.in_words(),
        "Body region  1.2.3",
        "uncalibrated",
        "warning[QUALITY_TILT]: the gantry was tilted",
        "sorting series",
        "CT window W 400 L 40 HU",
        "slice 3 (image 4), S 23.0 mm",
        "most probable",
        "evidence for spot\n(scaled over the case)",
        NOTICE,
    ):
        assert expected in words, expected
    assert "uncalibrated" not in words_of(overlay_figure(replace(classification, calibrated=True), volume))


def test_a_refused_case_is_drawn_without_class_probability_or_evidence() -> None:
    volume = volume_of(STACKS["axial"])
    classification, _ = spot_case(volume)
    refused = replace(classification, findings=(Finding("QUALITY_LOCALIZER", "refuse", "a localizer"),))
    figure = overlay_figure(refused, volume)
    assert "spot" not in words_of(figure)
    assert "no class: a localizer" in words_of(figure)
    assert all(not np.ptp(np.asarray(axes.images[0].get_array()), axis=2).any() for axes in figure.axes if axes.images)


def test_a_probability_that_only_rounds_to_certainty_is_not_called_100_percent() -> None:
    volume = volume_of(STACKS["axial"])
    classification, _ = spot_case(volume)
    classification.slices.probabilities[SPOT_SLICE] = [0.9996, 0.0004]
    words = words_of(overlay_figure(classification, volume))
    assert "spot  > 99 %" in words


def many(slices: int, names: tuple[str, ...], keys: int) -> tuple[Classification, Volume]:
    volume = Volume.from_matrix(
        np.random.default_rng(2).normal(size=(slices, 16, 9)).astype("f4"), np.diag([2.0, 3, 4, 1])
    )
    maps = np.random.default_rng(3).normal(size=(slices, len(names), 2, 2)).astype(np.float32)
    placement = Placement(volume.slice_origins_lps, np.array([9.0, 0, 0]), np.array([0, 24.0, 0]))
    rows = np.unique(np.linspace(0, slices - 1, keys).astype(int))
    chosen = [KeySlice(int(row), int(row) % len(names), "most_probable") for row in rows]
    chosen.append(KeySlice(int(rows[0]), 0, "least_certain"))
    return replace(classified(volume, maps, placement, names), key_slices=tuple(chosen)), volume


@pytest.mark.parametrize(
    ("slices", "names", "keys", "panels"),
    [
        (1, ("HeadCT", "BrainMR"), 1, 1),
        (300, ("HeadCT", "BrainMR"), 3, 3),
        (300, tuple(f"label {n}" for n in range(12)), 6, 6),
        (4, tuple(f"a very long label name {n} that goes on and on and on" * 3 for n in range(12)), 4, 4),
        (6, ("a $\\frac{1}{2$ label", "x_y^z"), 5, 5),
        (40, ("HeadCT", "BrainMR"), 12, 6),
    ],
)
def test_nothing_written_leaves_the_page_or_runs_into_its_neighbour(
    slices: int, names: tuple[str, ...], keys: int, panels: int
) -> None:
    classification, volume = many(slices, names, keys)
    long = Finding("QUALITY_LONG", "warn", "a long sentence about the acquisition " * 20)
    figure = overlay_figure(replace(classification, findings=(long,) * 5), volume)
    figure.canvas.draw()
    drawn = [a for a in figure.axes if str(a.get_gid()).startswith("panel-")]
    assert len(drawn) == panels
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if text.get_visible() and text.get_text().strip():
            box = text.get_window_extent()
            assert min(box.x0, box.y0, 1600 - box.x1, 1000 - box.y1) >= 0, text.get_text()
    boxes = [(t.get_window_extent(), t.get_text()) for axes in drawn for t in outside(axes)]
    boxes += [(axes.get_window_extent(), "image") for axes in drawn]
    for index, (one, what) in enumerate(boxes):
        for other, which in boxes[index + 1 :]:
            assert not one.overlaps(other), f"{what!r} and {which!r}"


def outside(axes: Axes) -> list[Text]:
    """The texts above and below a panel."""
    image = axes.get_window_extent()
    return [t for t in axes.texts if t.get_text() and not t.get_window_extent().overlaps(image)]


def test_the_strip_shows_all_labels_as_parts_of_one() -> None:
    classification, volume = many(30, tuple(f"label {n}" for n in range(12)), 3)
    figure = overlay_figure(classification, volume)
    (axes,) = (a for a in figure.axes if a.get_gid() == "probabilities")
    layers = {patch.get_label(): patch.get_data() for patch in axes.patches if hasattr(patch, "get_data")}
    assert len(layers) == 8
    assert "5 others" in layers
    floor = np.zeros(30)
    for data in layers.values():
        np.testing.assert_allclose(np.asarray(data.baseline), floor)
        floor = data.values
    np.testing.assert_allclose(floor, 1)
    named = next(name for name in layers if name != "5 others")
    data, column = layers[named], [x.name for x in classification.labels].index(str(named))
    np.testing.assert_allclose(data.values - np.asarray(data.baseline), classification.slices.probabilities[:, column])


def test_drawing_leaves_the_callers_matplotlib_alone() -> None:
    code = (
        "import sys, MedImgClassifierLib.engine.picture as p; assert 'matplotlib' not in sys.modules; "
        "from matplotlib.figure import Figure; p._settle_text(Figure()); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path), "HOME": "/tmp"})
