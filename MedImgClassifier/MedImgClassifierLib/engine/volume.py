"""Volume (one channel) and Case (the named channels of one patient).

Slice positions are the truth: a gantry-tilted or unevenly spaced series is a Volume like any other,
only without one matrix that describes it. Coordinates are LPS millimetres throughout; array axes are
[K, J, I], where K is the slice order (not "axial"), J runs down a slice and I along its rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import Refusal

Floats = NDArray[np.float64]

REGULAR_TOLERANCE_MM = 0.1
"""Largest deviation of a slice origin from an even, unsheared stack that one matrix may hide."""

_LARGEST_REGULAR = 1 << 28  # voxels, 1 GiB as float32


@dataclass(frozen=True)
class Source:
    """Where voxels came from. UIDs and instance numbers are per slice, in slice order."""

    path: str = ""
    format: str = ""
    series_uid: str = ""
    study_uid: str = ""
    frame_of_reference_uid: str = ""
    sop_instance_uids: tuple[str, ...] = ()
    instance_numbers: tuple[int, ...] = ()
    description: str = ""
    notes: tuple[str, ...] = ()
    """What reading had to decide, as (finding code, detail) rendered 'CODE: detail'."""


@dataclass(frozen=True)
class Volume:
    """One channel of voxels and where each slice lies in the patient.

    voxels             [K, J, I], or [K, J, I, 3] only where `units` is 'RGB'
    row_direction_lps  unit vector of increasing I
    column_direction_lps  unit vector of increasing J
    spacing_mm         (along I, along J)
    slice_origins_lps  [K, 3] centre of voxel (i=0, j=0) of each slice
    slice_thickness_mm extent along the normal where the source states it, else None
    modality           DICOM modality ('CT', 'MR', 'CR', ...), '' when unknown
    units              'HU', 'SUVbw', 'RGB' or 'arbitrary'
    """

    voxels: NDArray[np.generic]
    row_direction_lps: Floats
    column_direction_lps: Floats
    spacing_mm: tuple[float, float]
    slice_origins_lps: Floats
    modality: str = ""
    units: str = "arbitrary"
    slice_thickness_mm: float | None = None
    source: Source = field(default_factory=Source)

    def __post_init__(self) -> None:
        if self.voxels.ndim != (4 if self.units == "RGB" else 3) or 0 in self.voxels.shape:
            raise ValueError(f"voxels must be [K, J, I], not {self.voxels.shape}")
        for name in ("row_direction_lps", "column_direction_lps", "slice_origins_lps"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), np.float64))
        if self.slice_origins_lps.shape != (len(self.voxels), 3):
            raise ValueError(f"slice_origins_lps must be [{len(self.voxels)}, 3], not {self.slice_origins_lps.shape}")
        axes = np.stack([self.row_direction_lps, self.column_direction_lps])
        if not np.allclose(axes @ axes.T, np.eye(2), atol=1e-3):
            raise ValueError("row and column directions must be orthogonal unit vectors")
        if not (min(self.spacing_mm) > 0 and np.isfinite(self.slice_origins_lps).all()):
            raise ValueError("spacing must be positive and slice origins finite")

    @classmethod
    def from_matrix(
        cls,
        voxels: NDArray[np.generic],
        ijk_to_lps: Floats,
        *,
        modality: str = "",
        units: str = "arbitrary",
        source: Source | None = None,
    ) -> Volume:
        """A regular stack from voxels [K, J, I] and the matrix [4, 4] from (i, j, k, 1) to LPS mm."""
        matrix = np.asarray(ijk_to_lps, np.float64)
        spacing = np.linalg.norm(matrix[:3, :3], axis=0)
        if not (np.isfinite(matrix).all() and (spacing > 0).all()):
            raise ValueError("the matrix has a zero or non-finite axis")
        row, column = matrix[:3, 0] / spacing[0], matrix[:3, 1] / spacing[1]
        return cls(
            voxels=voxels,
            row_direction_lps=row,
            column_direction_lps=column,
            spacing_mm=(float(spacing[0]), float(spacing[1])),
            slice_origins_lps=matrix[:3, 3] + np.arange(len(voxels))[:, None] * matrix[:3, 2],
            slice_thickness_mm=float(abs(matrix[:3, 2] @ np.cross(row, column))),
            modality=modality,
            units=units,
            source=source or Source(),
        )

    @property
    def normal_lps(self) -> Floats:
        """Unit normal of the slices: row direction x column direction, [3]."""
        return np.cross(self.row_direction_lps, self.column_direction_lps)

    @property
    def positions_mm(self) -> Floats:
        """[K] position of each slice along the normal."""
        return np.asarray(self.slice_origins_lps @ self.normal_lps)

    @property
    def slice_centres_lps(self) -> Floats:
        """[K, 3] centre of each slice."""
        rows, columns = self.voxels.shape[1:3]
        across = self.row_direction_lps * (self.spacing_mm[0] * (columns - 1) / 2)
        down = self.column_direction_lps * (self.spacing_mm[1] * (rows - 1) / 2)
        return np.asarray(self.slice_origins_lps + across + down)

    def slice_to_lps(self, k: int) -> Floats:
        """[3, 3] matrix from (i, j, 1) of slice k to LPS mm."""
        return np.stack(
            [
                self.row_direction_lps * self.spacing_mm[0],
                self.column_direction_lps * self.spacing_mm[1],
                self.slice_origins_lps[k],
            ],
            axis=1,
        )

    @cached_property
    def slice_step_lps(self) -> Floats:
        """[3] mean step from one slice to the next; for a single slice its thickness (or 1 mm) along the normal."""
        if len(self.voxels) == 1:
            return self.normal_lps * (self.slice_thickness_mm or 1.0)
        return np.asarray((self.slice_origins_lps[-1] - self.slice_origins_lps[0]) / (len(self.voxels) - 1))

    @cached_property
    def irregularity(self) -> str:
        """Why no single matrix describes the stack, in words; '' where one does."""
        step, even = self.slice_step_lps, np.arange(len(self.voxels))[:, None]
        deviation = np.abs(self.slice_origins_lps - (self.slice_origins_lps[0] + even * step)).max()
        along = float(step @ self.normal_lps)
        sideways = float(np.linalg.norm(step - along * self.normal_lps)) * (len(self.voxels) - 1)
        reasons = []
        if sideways > REGULAR_TOLERANCE_MM:
            angle = np.degrees(np.arctan2(np.linalg.norm(step - along * self.normal_lps), abs(along)))
            reasons.append(f"sheared by {angle:.1f} degrees (gantry tilt)")
        if deviation > REGULAR_TOLERANCE_MM:
            steps = np.diff(self.positions_mm)
            reasons.append(f"uneven slice steps of {np.abs(steps).min():.2f} to {np.abs(steps).max():.2f} mm")
        return " and ".join(reasons)

    @property
    def ijk_to_lps(self) -> Floats | None:
        """[4, 4] from (i, j, k, 1) to LPS mm; None where the stack is uneven or sheared by more than 0.1 mm."""
        if self.irregularity:
            return None
        matrix = np.eye(4)
        matrix[:3, 0] = self.row_direction_lps * self.spacing_mm[0]
        matrix[:3, 1] = self.column_direction_lps * self.spacing_mm[1]
        matrix[:3, 2] = self.slice_step_lps
        matrix[:3, 3] = self.slice_origins_lps[0]
        return matrix

    @cached_property
    def content_sha256(self) -> str:
        """Hash of voxels and geometry: two volumes that classify alike share it."""
        digest = ContentDigest(self.voxels.shape, self.voxels.dtype, self)
        digest.update(self.voxels)
        return digest.hexdigest()

    def regular(self) -> tuple[Volume, float]:
        """The same content on an even, unsheared stack, and the largest shift of a slice in mm.

        Slices of the new stack are a median step apart along the normal, from the first acquired slice to
        the last; each is interpolated linearly between its two acquired neighbours, which are moved in
        their own plane where the stack was sheared. Places outside every acquired slice get the smallest
        voxel value. The shift is how far an acquired slice lies from where a reader that ignores the
        irregularity would draw it (the even stack from the first slice along its mean step's normal).
        Raises Refusal INPUT_GEOMETRY where slices lie so far apart that the even stack would fill the memory.
        """
        if not self.irregularity:
            return self, 0.0
        order = np.argsort(self.positions_mm)
        positions, normal = self.positions_mm[order], self.normal_lps
        in_plane = np.stack([self.row_direction_lps, self.column_direction_lps])
        offsets = (self.slice_origins_lps[order] @ in_plane.T) / np.array(self.spacing_mm)  # [K, (i, j)] voxels
        step = float(np.median(np.diff(positions)))
        count = round((positions[-1] - positions[0]) / step) + 1
        low = np.floor(offsets.min(axis=0))
        size = np.ceil(offsets.max(axis=0) - low).astype(int) + np.array(self.voxels.shape[2:0:-1])
        if count * size.prod(dtype=float) > max(_LARGEST_REGULAR, 4 * self.voxels.size):
            reason = f"an even stack of it would have {count} x {size[1]} x {size[0]} voxels ({self.irregularity})"
            raise Refusal("INPUT_GEOMETRY", path=self.source.path or "volume", reason=reason)
        targets = positions[0] + step * np.arange(count)
        right = np.clip(np.searchsorted(positions, targets), 1, len(positions) - 1)
        weight = np.clip((targets - positions[right - 1]) / (positions[right] - positions[right - 1]), 0, 1)
        voxels = np.empty((count, size[1], size[0], *self.voxels.shape[3:]), np.float32)
        moved: dict[int, NDArray[np.float32]] = {}
        for made, r, w in zip(voxels, right, weight, strict=True):
            for k in {r - 1, r} - moved.keys():
                moved[k] = self._moved_slice(order[k], offsets[k] - low, size)
            moved = {k: moved[k] for k in (r - 1, r)}  # two slices in memory at a time
            made[:] = (1 - w) * moved[r - 1] + w * moved[r]
        origin = positions[0] * normal + (low * np.array(self.spacing_mm)) @ in_plane
        even = positions[0] + np.arange(len(positions)) * (positions[-1] - positions[0]) / (len(positions) - 1)
        drift = (offsets - offsets[0]) * np.array(self.spacing_mm)
        shift = float(np.sqrt((drift**2).sum(axis=1) + (positions - even) ** 2).max())
        regular = replace(
            self,
            voxels=voxels,
            slice_origins_lps=origin + step * np.arange(count)[:, None] * normal,
            slice_thickness_mm=step,
            source=replace(self.source, sop_instance_uids=(), instance_numbers=()),
        )
        return regular, shift

    def _moved_slice(self, k: int, offset: Floats, size: NDArray[np.int64]) -> NDArray[np.float32]:
        """Slice k drawn [size j, size i] at a fractional voxel offset (i, j), bilinearly; each colour by itself."""
        columns, rows = (int(n) for n in size)
        source = self.voxels[k].astype(np.float32)
        whole = np.floor(offset).astype(int)
        fraction = (offset - whole).astype(np.float32)
        canvas = np.full((rows + 1, columns + 1, *source.shape[2:]), float(self.voxels.min()), np.float32)
        canvas[whole[1] : whole[1] + source.shape[0], whole[0] : whole[0] + source.shape[1]] = source
        before_i = np.concatenate([canvas[:, :1], canvas[:, :-1]], axis=1)
        canvas = (1 - fraction[0]) * canvas + fraction[0] * before_i
        before_j = np.concatenate([canvas[:1], canvas[:-1]], axis=0)
        canvas = (1 - fraction[1]) * canvas + fraction[1] * before_j
        return np.asarray(canvas[:rows, :columns], np.float32)


@dataclass(frozen=True)
class Case:
    """The named channels of one patient. `reference` names the channel that results are laid on."""

    channels: Mapping[str, Volume | None]
    reference: str
    patient_key: str = ""

    def __post_init__(self) -> None:
        if self.channels.get(self.reference) is None:
            raise ValueError(f"the reference channel '{self.reference}' holds no volume")

    @classmethod
    def of(cls, volume: Volume, channel: str = "image") -> Case:
        """A lone volume as a case of one channel."""
        return cls({channel: volume}, channel)

    @property
    def reference_volume(self) -> Volume:
        volume = self.channels[self.reference]
        assert volume is not None  # checked when the case was made
        return volume


class ContentDigest:
    """`Volume.content_sha256` of voxels of this shape and type that are given piece by piece, in memory's order.

    geometry: where they lie; its own voxels do not count.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], geometry: Volume) -> None:
        self._geometry = geometry
        self._digest = hashlib.sha256(repr((shape, str(dtype), geometry.spacing_mm)).encode())

    def update(self, voxels: NDArray[Any]) -> None:
        self._digest.update(np.ascontiguousarray(voxels).data)

    def hexdigest(self) -> str:
        """Once all voxels were given."""
        digest, geometry = self._digest.copy(), self._geometry
        for array in (geometry.row_direction_lps, geometry.column_direction_lps, geometry.slice_origins_lps):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()
