"""From a Volume to the network's input, and where each input pixel lies in the patient.

Preprocessing exists once, here, on numpy: training and inference call the same `geometry` and `intensity`
with the same InputSpec. Geometry comes first (what training caches), intensity second (what follows
augmentation). Images are float32 [N, C, H, W]; positions are LPS millimetres.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .errors import Refusal
from .resize import resize
from .result import Placement
from .volume import Volume

Images = NDArray[np.float32]
Plane = Literal["native", "axial", "sagittal", "coronal"]
Scope = Literal["fixed", "slice", "foreground"]

HU_FLOOR = -1024
"""CT padding outside the field of view is stored below air; it is raised to this before anything is averaged."""

LONGEST_SIDE, LARGEST_SQUARE = 1 << 16, 1 << 26
"""Pixels that padding to a square may make: needles of pixels (1 x 1000 mm) would fill the memory."""

# (direction of increasing I, direction of increasing J) in which a reader expects a slice, by the axis of its normal
_DISPLAY_AXES = {0: ((0, 1, 0), (0, 0, -1)), 1: ((1, 0, 0), (0, 0, -1)), 2: ((1, 0, 0), (0, 1, 0))}
_PLANE_NORMAL = {"sagittal": 0, "coronal": 1, "axial": 2}


# ---------------------------------------------------------------- geometry operations


@dataclass(frozen=True)
class Orient:
    """Flip and transpose in plane to the display orientation: anterior or superior up, patient left on the right."""

    op: ClassVar[str] = "orient"

    def apply(self, images: Images, at: Placement) -> tuple[Images, Placement]:
        across, down = (v / np.linalg.norm(v) for v in (at.column_step_lps, at.row_step_lps))
        want_across, want_down = _DISPLAY_AXES[int(np.abs(np.cross(across, down)).argmax())]
        if abs(across @ want_across) + abs(down @ want_down) < abs(across @ want_down) + abs(down @ want_across):
            images = images.swapaxes(2, 3)
            at = Placement(at.origins_lps, at.row_step_lps, at.column_step_lps)
        rows, columns = images.shape[2:]
        if at.column_step_lps @ want_across < 0:
            images = images[..., ::-1]
            origins = at.origins_lps + (columns - 1) * at.column_step_lps
            at = Placement(origins, -at.column_step_lps, at.row_step_lps)
        if at.row_step_lps @ want_down < 0:
            images = images[..., ::-1, :]
            origins = at.origins_lps + (rows - 1) * at.row_step_lps
            at = Placement(origins, at.column_step_lps, -at.row_step_lps)
        return images, at


@dataclass(frozen=True)
class Pad:
    """Pad around the centre: to a square in mm where rows and columns are 0, else to at least that many pixels.

    The margin gets the image's smallest value. A square that is then resized to a square is never stretched.
    """

    op: ClassVar[str] = "pad"
    rows: int = 0
    columns: int = 0

    def apply(self, images: Images, at: Placement) -> tuple[Images, Placement]:
        height, width = images.shape[2:]
        rows, columns = self.rows, self.columns
        if not (rows or columns):
            tall, wide = float(np.linalg.norm(at.row_step_lps)), float(np.linalg.norm(at.column_step_lps))
            side = max(height * tall, width * wide)
            rows, columns = round(side / tall), round(side / wide)
            if max(rows, columns) > LONGEST_SIDE or rows * columns > LARGEST_SQUARE:
                reason = f"with pixels of {tall:g} x {wide:g} mm a square image would have {rows} x {columns}"
                raise Refusal("INPUT_GEOMETRY", path="image", reason=reason)
        above, left = max(rows - height, 0) // 2, max(columns - width, 0) // 2
        if height >= rows and width >= columns:
            return images, at
        shape = (*images.shape[:2], max(rows, height), max(columns, width))
        padded = np.empty(shape, np.float32)
        padded[:] = images.min(axis=(2, 3), keepdims=True)
        padded[:, :, above : above + height, left : left + width] = images
        return padded, _moved(at, -above, -left)


@dataclass(frozen=True)
class Crop:
    """Keep at most this many rows and columns around the centre."""

    op: ClassVar[str] = "crop"
    rows: int
    columns: int

    def apply(self, images: Images, at: Placement) -> tuple[Images, Placement]:
        height, width = images.shape[2:]
        above, left = max(height - self.rows, 0) // 2, max(width - self.columns, 0) // 2
        kept = images[:, :, above : above + self.rows, left : left + self.columns]
        return kept, _moved(at, above, left)


@dataclass(frozen=True)
class Resize:
    """Resize to a fixed number of rows and columns, antialiased (equal to Pillow's bilinear in mode 'F')."""

    op: ClassVar[str] = "resize"
    rows: int
    columns: int

    def apply(self, images: Images, at: Placement) -> tuple[Images, Placement]:
        vertical, horizontal = images.shape[2] / self.rows, images.shape[3] / self.columns
        moved = _moved(at, (vertical - 1) / 2, (horizontal - 1) / 2)
        at = Placement(moved.origins_lps, at.column_step_lps * horizontal, at.row_step_lps * vertical)
        return resize(images, self.rows, self.columns), at


@dataclass(frozen=True)
class Resample:
    """Bring pixels to a spacing in mm, low-passed where that is coarser."""

    op: ClassVar[str] = "resample"
    spacing_mm: float

    def apply(self, images: Images, at: Placement) -> tuple[Images, Placement]:
        height, width = images.shape[2:]
        rows = max(1, round(height * float(np.linalg.norm(at.row_step_lps)) / self.spacing_mm))
        columns = max(1, round(width * float(np.linalg.norm(at.column_step_lps)) / self.spacing_mm))
        return Resize(rows, columns).apply(images, at)


def _moved(at: Placement, rows: float, columns: float) -> Placement:
    origins = at.origins_lps + rows * at.row_step_lps + columns * at.column_step_lps
    return Placement(origins, at.column_step_lps, at.row_step_lps)


# ---------------------------------------------------------------- intensity operations


@dataclass(frozen=True)
class Clip:
    """Limit values. units: only where the volume has these units ('' = always)."""

    op: ClassVar[str] = "clip"
    low: float
    high: float
    units: str = ""

    def apply(self, images: Images) -> None:
        np.clip(images, self.low, self.high, out=images)


@dataclass(frozen=True)
class Window:
    """Map a window (centre, width) to 0..1 and cut what is outside."""

    op: ClassVar[str] = "window"
    center: float
    width: float
    units: str = ""

    def apply(self, images: Images) -> None:
        images -= np.float32(self.center - self.width / 2)
        images *= np.float32(1 / self.width)
        np.clip(images, 0, 1, out=images)


@dataclass(frozen=True)
class Percentile:
    """Map two percentiles of each image to 0 and 1 and cut what is outside.

    scope: 'slice' = all pixels of the image, 'foreground' = those above its smallest value. An image without
    contrast becomes 0.
    """

    op: ClassVar[str] = "percentile"
    low: float
    high: float
    scope: Scope = "slice"
    units: str = ""

    def apply(self, images: Images) -> None:
        for image in images.reshape(-1, images.shape[2] * images.shape[3]):
            low, high = np.percentile(_in_scope(image, self.scope), (self.low, self.high))
            if high > low:
                image -= np.float32(low)
                image *= np.float32(1 / (high - low))
                np.clip(image, 0, 1, out=image)
            else:
                image[:] = 0


@dataclass(frozen=True)
class ZScore:
    """Subtract a mean and divide by a standard deviation; scope 'fixed' uses the two given numbers."""

    op: ClassVar[str] = "zscore"
    mean: float = 0.0
    std: float = 1.0
    scope: Scope = "fixed"
    units: str = ""

    def apply(self, images: Images) -> None:
        if self.scope == "fixed":
            images -= np.float32(self.mean)
            images *= np.float32(1 / self.std)
            return
        for image in images.reshape(-1, images.shape[2] * images.shape[3]):
            values = _in_scope(image, self.scope)
            image -= values.mean(dtype=np.float64).astype(np.float32)
            image *= np.float32(1 / max(float(values.std(dtype=np.float64)), 1e-6))


def _in_scope(image: NDArray[np.float32], scope: Scope) -> NDArray[np.float32]:
    above = image[image > image.min()] if scope == "foreground" else image
    return above if above.size else image


# ---------------------------------------------------------------- the specification

GeometryOp = Orient | Pad | Crop | Resize | Resample
IntensityOp = Clip | Window | Percentile | ZScore
_GEOMETRY: dict[str, type[GeometryOp]] = {cls.op: cls for cls in (Orient, Pad, Crop, Resize, Resample)}
_INTENSITY: dict[str, type[IntensityOp]] = {cls.op: cls for cls in (Clip, Window, Percentile, ZScore)}


@dataclass(frozen=True)
class ChannelSpec:
    """What one channel must be. Empty modality or units: any grey image. Units ('RGB',): a colour image.

    Raises ValueError where the units may be RGB or others: a network takes three planes or one."""

    name: str
    modality: tuple[str, ...] = ()
    units: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if "RGB" in self.units and set(self.units) != {"RGB"}:
            raise ValueError(f"channel '{self.name}' takes RGB or other units; a network takes either")

    @property
    def is_colour(self) -> bool:
        return "RGB" in self.units

    @property
    def planes(self) -> int:
        """Channels of the network's input that it becomes: 3 of a colour image (red, green, blue), else 1."""
        return 3 if self.is_colour else 1


@dataclass(frozen=True)
class InputSpec:
    """What a network wants to see, in words a manifest can hold. Level 'slice': one image per slice."""

    channels: tuple[ChannelSpec, ...]
    geometry: tuple[GeometryOp, ...]
    intensity: tuple[IntensityOp, ...]
    plane: Plane = "native"
    level: Literal["slice"] = "slice"

    def to_json(self) -> dict[str, Any]:
        return {
            "level": self.level,
            "plane": self.plane,
            "channels": [json.loads(json.dumps(asdict(channel))) for channel in self.channels],
            "geometry": [{"op": op.op, **asdict(op)} for op in self.geometry],
            "intensity": [{"op": op.op, **asdict(op)} for op in self.intensity],
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> InputSpec:
        """Raises KeyError, TypeError or ValueError for operations or arguments outside the closed sets."""
        channels = tuple(
            ChannelSpec(c["name"], tuple(c.get("modality", ())), tuple(c.get("units", ())))
            for c in document["channels"]
        )
        return cls(
            channels=channels,
            geometry=tuple(_operation(_GEOMETRY, op) for op in document["geometry"]),
            intensity=tuple(_operation(_INTENSITY, op) for op in document["intensity"]),
            plane=document["plane"],
            level=document["level"],
        )

    @property
    def network_channels(self) -> int:
        """C of the network's input [N, C, H, W]."""
        return sum(channel.planes for channel in self.channels)

    @property
    def size(self) -> tuple[int, int] | None:
        """Rows and columns of every input; None where they depend on the image."""
        last = self.geometry[-1] if self.geometry else None
        return (last.rows, last.columns) if isinstance(last, Resize) else None

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON form."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()


def _operation(known: Mapping[str, type[Any]], document: Mapping[str, Any]) -> Any:
    arguments = dict(document)
    name = arguments.pop("op")
    if name not in known:
        raise ValueError(f"unknown operation '{name}'")
    return known[name](**arguments)


# ---------------------------------------------------------------- what training and inference call


@dataclass(frozen=True)
class Prepared:
    """Images after geometry. images: float32 [N, C, H, W]; placement: of their pixels; units: of their values."""

    images: Images
    placement: Placement
    units: str


def in_plane(volume: Volume, plane: Plane) -> Volume:
    """The volume with its slices along an anatomical plane, by transposing the array (nothing is interpolated,
    except that an irregular stack is made regular first). Slices then run right to left, anterior to posterior or
    inferior to superior. 'native' returns the volume as it is."""
    if plane == "native":
        return volume
    even = volume.regular()[0]
    matrix, voxels = even.ijk_to_lps, even.voxels
    assert matrix is not None  # regular() leaves one matrix
    normal = _PLANE_NORMAL[plane]
    directions = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    across = int(np.abs(directions[normal]).argmax())  # array axis (0 = i, 1 = j, 2 = k) along the plane's normal
    others = [axis for axis in (0, 1, 2) if axis != across]
    voxels = voxels.transpose([2 - across, 2 - others[1], 2 - others[0], *range(3, voxels.ndim)])
    matrix = matrix[:, [*others, across, 3]]
    if matrix[normal, 2] < 0:
        voxels = voxels[::-1]
        matrix[:3, 3] += (len(voxels) - 1) * matrix[:3, 2]
        matrix[:3, 2] *= -1
    return Volume.from_matrix(voxels, matrix, modality=volume.modality, units=volume.units, source=volume.source)


def check_colour(volume: Volume, channel: ChannelSpec, path: object) -> None:
    """Raises Refusal: INPUT_DIMENSIONS for a colour image where a grey one is asked for, INPUT_GREY for the reverse.

    path: what the refusal calls the image."""
    if volume.units == "RGB" and not channel.is_colour:
        raise Refusal("INPUT_DIMENSIONS", path=path, shape="a colour image")
    if channel.is_colour and volume.units != "RGB":
        raise Refusal("INPUT_GREY", path=path)


def geometry(volumes: Sequence[Volume], spec: InputSpec, start: int = 0, stop: int | None = None) -> Prepared:
    """Slices start..stop (half-open) of the channels' volumes, already in the spec's plane, after the geometry list.

    volumes: one per channel, in the spec's order, all on the same grid. The images keep their units; those of a colour
    channel are its red, green and blue, one after the other. Raises the refusals of `check_colour`.
    """
    first, at_plane = volumes[0], 0
    images = np.empty((len(first.voxels[start:stop]), spec.network_channels, *first.voxels.shape[1:3]), np.float32)
    for channel, volume in zip(spec.channels, volumes, strict=True):
        check_colour(volume, channel, volume.source.path or "image")
        voxels = volume.voxels[start:stop]
        may_be_below = volume.units == "HU" and np.can_cast(np.int16, voxels.dtype)
        planes = np.maximum(voxels, HU_FLOOR) if may_be_below else voxels
        own = images[:, at_plane : at_plane + channel.planes]
        own[:] = np.moveaxis(planes, 3, 1) if channel.is_colour else planes[:, None]
        at_plane += channel.planes
    at = Placement(
        origins_lps=first.slice_origins_lps[start:stop],
        column_step_lps=first.row_direction_lps * first.spacing_mm[0],
        row_step_lps=first.column_direction_lps * first.spacing_mm[1],
    )
    for op in spec.geometry:
        images, at = op.apply(images, at)
    return Prepared(np.ascontiguousarray(images), at, first.units)


def intensity(images: Images, spec: InputSpec, units: str) -> Images:
    """The intensity list on a copy of images [N, C, H, W]; every statistic is per image and channel."""
    out = np.array(images, np.float32, copy=True, order="C")
    for op in spec.intensity:
        if op.units in ("", units):
            op.apply(out)
    return out
