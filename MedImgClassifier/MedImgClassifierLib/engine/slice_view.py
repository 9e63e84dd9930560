"""One classified slice as a reader looks at it: its pixels in display orientation, window, and evidence.

Every image here travels with its own matrix [3, 3] from (column, row, 1) to LPS mm, so that what is drawn
over it (evidence, letters) is placed in the patient and never stretched to fit.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .preprocess import Orient, in_plane
from .result import Classification, Evidence, Placement
from .volume import Volume

Floats = NDArray[np.float64]

PLANES: tuple[Literal["sagittal"], Literal["coronal"], Literal["axial"]] = ("sagittal", "coronal", "axial")
SAME_SLICE_MM = 0.5
CT_WINDOW = (40.0, 400.0)
"""Centre and width in HU of the soft tissue window."""


class SliceView(NamedTuple):
    """image [rows, columns] of grey values; to_lps [3, 3] from (column, row, 1) to LPS mm of pixel centres."""

    image: NDArray[np.float32]
    to_lps: Floats

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """(along a row, down a column)."""
        across, down = np.linalg.norm(self.to_lps[:, :2], axis=0)
        return float(across), float(down)


def classified_slices(classification: Classification, volume: Volume) -> tuple[Volume, list[int]]:
    """The volume with its slices along the plane that was classified, and which of them each row is.

    volume: the one that was classified, as it was read. Raises ValueError where a row lies on none of its slices.
    """
    slices = classification.slices
    by_axis = np.argsort(-np.abs(slices.normal_lps).max(axis=0))  # the likeliest first: in_plane may resample
    native = slices.native_k is not None
    for sliced in (volume,) if native else (in_plane(volume, PLANES[axis]) for axis in by_axis):
        along_normal = slices.normal_lps @ sliced.slice_origins_lps.T  # [N, K]
        off = np.abs(along_normal - slices.positions_mm[:, None])
        at = np.array(slices.native_k) if native else off.argmin(axis=1)
        parallel = (np.abs(slices.normal_lps @ sliced.normal_lps) > 0.999).all()
        if parallel and at.max() < len(sliced.voxels) and (off[np.arange(len(at)), at] < SAME_SLICE_MM).all():
            return sliced, [int(k) for k in at]
    raise ValueError("the classified slices do not lie in this volume: it is not the one that was classified")


def slice_view(volume: Volume, k: int) -> SliceView:
    """Slice k as it is stored [J, I]; colour becomes luma (ITU-R BT.601)."""
    image = np.asarray(volume.voxels[k], np.float32)
    return SliceView(_luma(image) if volume.units == "RGB" else image, volume.slice_to_lps(k))


def _luma(colours: NDArray[np.float32]) -> NDArray[np.float32]:
    return colours @ np.array([0.299, 0.587, 0.114], np.float32)


def evidence_on_slice(classification: Classification, volume: Volume, n: int, label: int) -> NDArray[np.float32]:
    """[J, I] evidence of row n for one label at each pixel of its slice, 0..1 of the case's largest.

    Interpolated bilinearly between the centres of the network's cells, where their placement says that
    they lie in the patient; 0 outside the network's field of view. Raises ValueError without evidence.
    """
    if classification.evidence is None:
        raise ValueError("this classification holds no evidence")
    volume, rows = classified_slices(classification, volume)
    return evidence_on_view(classification.evidence, n, label, slice_view(volume, rows[n]))


def evidence_on_view(evidence: Evidence, n: int, label: int, view: SliceView) -> NDArray[np.float32]:
    """As `evidence_on_slice`, for any image that lies in the plane of slice n, as flipped or transposed for display."""
    cells = evidence.shown(label)[n]
    placement = evidence.placement
    lps_to_cell = np.linalg.pinv(np.stack([placement.column_step_lps, placement.row_step_lps], axis=1))  # [2, 3]
    to_cell = lps_to_cell @ view.to_lps
    to_cell[:, 2] -= lps_to_cell @ placement.origins_lps[n]
    j, i = np.ogrid[: view.image.shape[0], : view.image.shape[1]]
    column, row = (a * i + b * j + c for a, b, c in to_cell)
    return np.asarray(_bilinear(cells, row, column), np.float32)


def _bilinear(cells: NDArray[np.float32], row: Floats, column: Floats) -> Floats:
    """Cells at fractional places; a cell reaches half a cell beyond its centre, beyond that there is nothing."""
    h, w = cells.shape
    inside = (row >= -0.5) & (row <= h - 0.5) & (column >= -0.5) & (column <= w - 0.5)
    row, column = np.clip(row, 0, h - 1), np.clip(column, 0, w - 1)
    top, left = row.astype(int), column.astype(int)
    below, right = np.minimum(top + 1, h - 1), np.minimum(left + 1, w - 1)
    down, across = row - top, column - left
    upper = cells[top, left] * (1 - across) + cells[top, right] * across
    lower = cells[below, left] * (1 - across) + cells[below, right] * across
    return np.asarray((upper * (1 - down) + lower * down) * inside)


def displayed(view: SliceView) -> SliceView:
    """The same pixels in radiological display orientation, by the patient axes nearest to the slice's own.

    Axial: patient's left on the right, anterior on top. Coronal: left on the right, superior on top.
    Sagittal: anterior on the left, superior on top. Pixels are flipped and transposed, never interpolated.
    """
    stored = Placement(view.to_lps[None, :, 2], view.to_lps[:, 0], view.to_lps[:, 1])
    images, at = Orient().apply(view.image[None, None], stored)
    return SliceView(images[0, 0], np.column_stack([at.column_step_lps, at.row_step_lps, at.origins_lps[0]]))


def patient_letter(direction_lps: Floats) -> str:
    """The side of the patient that a direction points to: one of R L A P I S, by the nearest axis."""
    axis = int(np.abs(direction_lps).argmax())
    return ("RL", "AP", "IS")[axis][int(direction_lps[axis] > 0)]


def display_window(volume: Volume) -> tuple[float, float, str]:
    """(black, white, in words). HU: soft tissue; else from the 1st percentile of all voxels to the 99.5th
    of the body, taken as the voxels above the mean, so that a large empty background does not count."""
    if volume.units == "HU":
        centre, width = CT_WINDOW
        return centre - width / 2, centre + width / 2, f"CT window W {width:.0f} L {centre:.0f} HU"
    every = max(1, round((volume.voxels.size / 4e6) ** (1 / 3)))
    values = np.asarray(volume.voxels[::every, ::every, ::every], np.float32)
    values = _luma(values) if volume.units == "RGB" else values
    body = values[values > values.mean()]
    black = float(np.percentile(values, 1))
    white = float(np.percentile(body, 99.5)) if body.size else black
    what = "luma of the colours" if volume.units == "RGB" else f"{volume.units} units"
    return black, white, f"grey scale {black:.4g} to {white:.4g} ({what})"
