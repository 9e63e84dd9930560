"""Rows of a classification and what the slice views show: which row a view shows, and views jump to a row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from . import nodes
from .geometry import arrayFromVtkMatrix, worldGeometry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.result import Classification, KeySlice
    from ..engine.volume import Floats, Volume

PARALLEL_DEGREES = 1.0
"""A view turned by more than this against the slices cuts through several of them: 4 mm over a head of 240 mm."""

_MOVED_MM = 0.1


class RowInView(NamedTuple):
    """The row of a classification that a slice view shows, or the nearest one."""

    row: int
    isExact: bool  # the view is parallel to the slices and its plane is in the slab of this one
    distance: float  # mm from the plane (or the centre of a view that is not parallel) to that of the row


class RowPlanes(NamedTuple):
    """Where the rows of a classification lie now in the patient, in LPS mm: [N] rows of one stack of slices."""

    centres: Floats  # [N, 3]
    normal: Floats  # [3]
    starts: Floats  # [N] where the slab of each begins along the normal
    ends: Floats  # [N] and ends
    extent: tuple[float, float]  # of the whole volume along that normal, mm
    slices: Volume  # of the node


def rowPlanes(classification: Classification, volumeNode: Any) -> RowPlanes | None:
    """The planes of all rows; None where the volume holds no voxels or its transform leaves no stack of slices.

    A row that counts in the node's slices (native_k) goes where that slice is now. One of slices that were
    resampled, or of a node that shows them resampled, stays where the classification says that it was.
    """
    import numpy as np

    from ..engine.errors import Refusal

    if volumeNode.GetImageData() is None:
        return None
    try:
        slices = worldGeometry(volumeNode)
    except Refusal:
        return None
    rows = classification.slices.native_k
    if rows is None or volumeNode.GetAttribute(nodes.RESAMPLED) or max(rows, default=0) >= len(slices.voxels):
        centres, normal = classification.slices.centre_lps, classification.slices.normal_lps[0]
        starts, ends = slabs(centres @ normal, slices.slice_thickness_mm)
    else:
        centres, normal = slices.slice_centres_lps[list(rows)], slices.normal_lps
        starts, ends = (side[list(rows)] for side in slabs(slices.positions_mm, slices.slice_thickness_mm))
    return RowPlanes(np.asarray(centres), normal, starts, ends, _extentAlong(slices, normal), slices)


def _extentAlong(slices: Volume, normal: Floats) -> tuple[float, float]:
    """(from, to) mm that a volume, the slabs of its slices included, reaches along a direction."""
    import numpy as np

    rows, columns = slices.voxels.shape[1:3]
    corners = np.array([(i, j, 1) for i in (-0.5, columns - 0.5) for j in (-0.5, rows - 0.5)])
    inPlane = corners @ np.stack([slices.slice_to_lps(0)[:, 0], slices.slice_to_lps(0)[:, 1], np.zeros(3)])
    starts, ends = slabs(slices.positions_mm, slices.slice_thickness_mm)
    reach = [
        ((slices.slice_origins_lps + (side - slices.positions_mm)[:, None] * slices.normal_lps)[:, None] + inPlane)
        for side in (starts, ends)
    ]
    positions = np.concatenate(reach) @ normal
    return float(positions.min()), float(positions.max())


def slabs(positions: Floats, thickness: float | None) -> tuple[Floats, Floats]:
    """([N] starts, [N] ends) mm of the slabs of slices at positions [N] along their normal.

    They reach half way to their neighbours, and as far at the outer ends; a single one has its thickness, or 1 mm.
    """
    import numpy as np

    order = np.argsort(positions)
    ordered = positions[order]
    if len(ordered) == 1:
        half = (thickness or 1.0) / 2
        return positions - half, positions + half
    between = (ordered[1:] + ordered[:-1]) / 2
    borders = np.concatenate([[2 * ordered[0] - between[0]], between, [2 * ordered[-1] - between[-1]]])
    starts, ends = np.empty(len(order)), np.empty(len(order))
    starts[order], ends[order] = borders[:-1], borders[1:]
    return starts, ends


def rowAtView(classification: Classification, volumeNode: Any, sliceNode: Any) -> RowInView | None:
    """The row that a slice view of the volume shows, at its centre, as (row, isExact, distance in mm).

    None where the view shows another background, or a place outside the volume or among slices that were not
    classified: its plane where the view is parallel to the slices, its centre where it is not.
    """
    if not showsVolume(sliceNode, volumeNode):
        return None
    planes = rowPlanes(classification, volumeNode)
    return rowOnPlanes(planes, sliceNode) if planes is not None else None


def rowOnPlanes(planes: RowPlanes, sliceNode: Any) -> RowInView | None:
    """`rowAtView` for planes that are known already, whatever the view shows."""
    import numpy as np

    centre = viewCentreLps(sliceNode)
    position = float(centre @ planes.normal)
    parallel = isParallel(planes, sliceNode)
    inside = planes.extent[0] <= position <= planes.extent[1] if parallel else _isInside(planes.slices, centre)
    inSlab = (planes.starts <= position) & (position <= planes.ends)
    if not inside or not inSlab.any():
        return None
    distances = np.where(inSlab, np.abs(planes.centres @ planes.normal - position), np.inf)
    row = int(distances.argmin())
    return RowInView(row, parallel, float(distances[row]))


def _isInside(slices: Volume, point: Floats) -> bool:
    """Whether a point (LPS) lies in a voxel of a volume, between its slices included."""
    import numpy as np

    starts, ends = slabs(slices.positions_mm, slices.slice_thickness_mm)
    position = float(point @ slices.normal_lps)
    nearest = int(np.abs(slices.positions_mm - position).argmin())
    offset = point - slices.slice_origins_lps[nearest]
    i = float(offset @ slices.row_direction_lps) / slices.spacing_mm[0]
    j = float(offset @ slices.column_direction_lps) / slices.spacing_mm[1]
    rows, columns = slices.voxels.shape[1:3]
    inPlane = -0.5 <= i <= columns - 0.5 and -0.5 <= j <= rows - 0.5
    return bool(inPlane and starts[nearest] <= position <= ends[nearest])


def viewCentreLps(sliceNode: Any) -> Floats:
    """[3] what lies in the middle of a slice view, LPS mm."""
    width, height = sliceNode.GetDimensions()[:2]
    ras: NDArray[Any] = arrayFromVtkMatrix(sliceNode.GetXYToRAS()) @ [width / 2, height / 2, 0, 1]
    return ras[:3] * [-1, -1, 1]


def isParallel(planes: RowPlanes, sliceNode: Any) -> bool:
    """Whether a view looks along the normal of the slices, from either side, within PARALLEL_DEGREES."""
    import numpy as np

    normal = arrayFromVtkMatrix(sliceNode.GetSliceToRAS())[:3, 2] * [-1, -1, 1]
    cosine = abs(float(normal @ planes.normal)) / float(np.linalg.norm(normal))
    return bool(cosine >= np.cos(np.radians(PARALLEL_DEGREES)))


def showsVolume(sliceNode: Any, volumeNode: Any) -> bool:
    """Whether the background of a slice view is this volume."""
    composite = sliceNode.GetScene().GetSingletonNode(sliceNode.GetLayoutName(), "vtkMRMLSliceCompositeNode")
    return composite is not None and composite.GetBackgroundVolumeID() == volumeNode.GetID()


def isElsewhere(volumeNode: Any) -> bool:
    """Whether there are slice views and none of them shows this volume."""
    views = nodes.nodesOfClass(volumeNode.GetScene(), "vtkMRMLSliceCompositeNode")
    return bool(views) and all(view.GetBackgroundVolumeID() != volumeNode.GetID() for view in views)


def jumpToRow(
    scene: Any, classification: Classification, volumeNode: Any, row: int, label: int | None = None
) -> list[str]:
    """Let all slice views that show the volume show a row; returns their names. No view is turned.

    Views parallel to the slices go to its plane and stay where they are in it. Others are centred on the place that
    speaks most for a label (None: the most probable one of the row), or on the centre of the slice where none does.
    """
    planes = rowPlanes(classification, volumeNode)
    if planes is None:
        return []
    target = _placeOfRow(planes, classification, row, label) * [-1, -1, 1]
    plane = planes.centres[row] * [-1, -1, 1]
    jumped = []
    for view in nodes.nodesOfClass(scene, "vtkMRMLSliceNode"):
        if not showsVolume(view, volumeNode):
            continue
        if isParallel(planes, view):
            view.JumpSliceByOffsetting(*(float(value) for value in plane))
        else:
            view.JumpSliceByCentering(*(float(value) for value in target))
        jumped.append(view.GetLayoutName())
    return jumped


def _placeOfRow(planes: RowPlanes, classification: Classification, row: int, label: int | None) -> Floats:
    """[3] LPS: the evidence's peak in a row, or the centre of its slice.

    A volume that was moved since it was classified has its peak elsewhere: then the centre, which moved with it.
    """
    import numpy as np

    centre: Floats = planes.centres[row]
    moved = float(np.linalg.norm(centre - classification.slices.centre_lps[row])) > _MOVED_MM
    if classification.evidence is None or moved:
        return centre
    best = int(classification.slices.best[row]) if label is None else label
    peak = classification.evidence.peak_lps(row, best)
    return centre if peak is None else np.asarray(peak)


def nextKeySlice(classification: Classification, row: int | None, direction: int) -> KeySlice | None:
    """The key slice after (direction 1) or before (-1) a row, in the order of the rows; None where there is none.

    After the last one comes the first again. row None: from the beginning.
    """
    if not classification.key_slices:
        return None
    ordered = sorted(classification.key_slices, key=lambda key: key.row)
    if direction < 0:
        ordered.reverse()
    beyond = (key for key in ordered if row is not None and (key.row - row) * direction > 0)
    return next(beyond, ordered[0])
