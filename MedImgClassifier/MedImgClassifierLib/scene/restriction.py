"""Classifying only the slices that a region of interest or a segment meets.

Nothing is cropped within a slice: a network was trained on whole slices, and a part of one would be another kind of
image to it. K counts in the slices of the volume node; ranges are inclusive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import slicer
import vtk

from ..translation import _
from .geometry import arrayFromVtkMatrix, ijkToRas, isAcquisitionTransform, rasFromLps, worldGeometry
from .slice_link import slabs

if TYPE_CHECKING:
    from ..engine.result import Classification
    from ..engine.volume import Floats, Volume

_TOUCHING_MM = 1e-3
"""What overlaps by less only touches: a box drawn to the border of a slab does not meet the next slice."""


def slicesIn(volumeNode: Any, roiNode: Any) -> tuple[int, int]:
    """(first, last) slice of a volume whose slab a markups ROI meets, each where its parent transform puts it.

    Raises Refusal INPUT_RESTRICTION where the ROI is gone, has no size, or meets no slice; INPUT_GEOMETRY where
    the volume is no stack of slices.
    """
    import numpy as np

    if roiNode is None:
        raise _refusal("", _("it was deleted"))
    size = np.array(roiNode.GetSize())
    if not (size > 0).all():
        raise _refusal(roiNode.GetName(), _("it has no size"))
    toWorld = rasFromLps(arrayFromVtkMatrix(roiNode.GetObjectToWorldMatrix()))
    slices = worldGeometry(volumeNode)
    meets = _boxesMeet(toWorld[:3, 3], toWorld[:3, :3] * (size / 2), *_slabBoxes(slices))
    return _range(meets, roiNode.GetName())


def slicesInSegment(volumeNode: Any, segmentationNode: Any, segmentID: str) -> tuple[int, int]:
    """(first, last) slice of a volume whose slab a segment meets, each where its parent transform puts it.

    A row of the segment's voxels counts from its first to its last one. The segmentation is left as it is.
    Raises Refusal INPUT_RESTRICTION where the segment is gone, empty, or meets no slice; INPUT_GEOMETRY where the
    volume is no stack of slices.
    """
    segmentation = segmentationNode.GetSegmentation() if segmentationNode is not None else None
    segment = segmentation.GetSegment(segmentID) if segmentation is not None else None
    if segment is None:
        raise _refusal("", _("it was deleted"))
    name = segment.GetName()
    labelmap, value = _labelmapOf(segmentation, segmentID)
    boxes = _boxesOfPlanes(labelmap, value)
    if not len(boxes):
        raise _refusal(name, _("it is empty"))
    parent = segmentationNode.GetParentTransformNode()
    if parent is volumeNode.GetParentTransformNode():
        slices = _ownGeometry(volumeNode)  # their common transform, whatever it is, moves neither against the other
        parent = None
    else:
        slices = worldGeometry(volumeNode)
    lowest, highest = _reachOfSegment(slices, labelmap, value, boxes, parent)
    starts, ends = slabs(slices.positions_mm, slices.slice_thickness_mm)
    meets = (starts < highest - _TOUCHING_MM) & (ends > lowest + _TOUCHING_MM)
    return _range(meets, name)


def record(kind: str, name: str, first: int, last: int) -> dict[str, Any]:
    """A restriction as it stands in provenance["restriction"]. kind: 'roi' or 'segment'."""
    return {"kind": kind, "name": name, "first": first, "last": last}


def restricted(volume: Volume, first: int, last: int) -> Volume:
    """The slices first..last of a Volume as a Volume of its own, with their UIDs and instance numbers.

    Voxels are not copied, and nothing is cropped within a slice. Raises ValueError for slices that it has not.
    """
    from dataclasses import replace

    if not 0 <= first <= last < len(volume.voxels):
        raise ValueError(f"a volume of {len(volume.voxels)} slices has no slices {first} to {last}")
    part = slice(first, last + 1)
    starts, ends = slabs(volume.positions_mm, volume.slice_thickness_mm)
    source = replace(
        volume.source,
        sop_instance_uids=volume.source.sop_instance_uids[part],
        instance_numbers=volume.source.instance_numbers[part],
    )
    return replace(
        volume,
        voxels=volume.voxels[part],
        slice_origins_lps=volume.slice_origins_lps[part],
        slice_thickness_mm=volume.slice_thickness_mm or float(ends[first] - starts[first]),
        source=source,
    )


def widened(classification: Classification, restriction: Mapping[str, Any]) -> Classification:
    """A classification of a `restricted` Volume as one of the whole node: native_k counts in the node's slices.

    The restriction (see `record`) is kept in its provenance. Rows of slices that were resampled have no native_k.
    """
    from dataclasses import replace

    rows = classification.slices.native_k
    counted = None if rows is None else tuple(int(restriction["first"]) + k for k in rows)
    return replace(
        classification,
        slices=replace(classification.slices, native_k=counted),
        provenance={**classification.provenance, "restriction": dict(restriction)},
    )


def _ownGeometry(volumeNode: Any) -> Volume:
    """The slices of a node before its parent transform, as `worldGeometry`."""
    import numpy as np

    from ..engine.errors import Refusal
    from ..engine.volume import Volume

    columns, rows, count = volumeNode.GetImageData().GetDimensions()
    voxels = np.broadcast_to(np.uint8(0), (count, rows, columns))
    try:
        return Volume.from_matrix(voxels, rasFromLps(ijkToRas(volumeNode)))
    except ValueError as problem:
        raise Refusal("INPUT_GEOMETRY", path=volumeNode.GetName(), reason=str(problem)) from problem


def _refusal(name: str, reason: str) -> Exception:
    from ..engine.errors import Refusal

    return Refusal("INPUT_RESTRICTION", name=name, reason=reason)


def _range(meets: Any, name: str) -> tuple[int, int]:
    """(first, last) of the slices that are met. Raises Refusal INPUT_RESTRICTION where none is."""
    import numpy as np

    found = np.flatnonzero(meets)
    if not len(found):
        raise _refusal(name, _("it lies outside the volume"))
    return int(found[0]), int(found[-1])


def _slabBoxes(slices: Volume) -> tuple[Floats, Floats]:
    """([K, 3] centres, [K, 3, 3] half edges as columns) of the slabs of slices, LPS mm."""
    import numpy as np

    rows, columns = slices.voxels.shape[1:3]
    starts, ends = slabs(slices.positions_mm, slices.slice_thickness_mm)
    middle = (starts + ends) / 2 - slices.positions_mm
    centres = slices.slice_centres_lps + middle[:, None] * slices.normal_lps
    halves = np.empty((len(centres), 3, 3))
    halves[:, :, 0] = slices.row_direction_lps * (slices.spacing_mm[0] * columns / 2)
    halves[:, :, 1] = slices.column_direction_lps * (slices.spacing_mm[1] * rows / 2)
    halves[:, :, 2] = slices.normal_lps * ((ends - starts) / 2)[:, None]
    return centres, halves


def _boxesMeet(centre: Floats, half: Floats, centres: Floats, halves: Floats) -> Any:
    """[K] whether a box [3], [3, 3] meets each of K boxes; half edges are columns, and need not be square.

    Two boxes are apart where one of 15 axes separates them (normals of their faces, cross products of their edges).
    """
    import numpy as np

    edges, others = half.T, halves.transpose(0, 2, 1)
    around = ((1, 2), (2, 0), (0, 1))
    axes = [np.broadcast_to(np.cross(edges[a], edges[b]), centres.shape) for a, b in around]
    axes += [np.cross(others[:, a], others[:, b]) for a, b in around]
    axes += [np.cross(edge, others[:, n]) for edge in edges for n in range(3)]
    meets = np.ones(len(centres), bool)
    for axis in axes:
        length = np.linalg.norm(axis, axis=1)
        usable = length > 1e-9  # edges that run alike give no axis
        unit = axis / np.where(usable, length, 1)[:, None]
        apart = np.abs(((centres - centre) * unit).sum(axis=1))
        reach = np.abs(unit @ half).sum(axis=1) + np.abs(np.einsum("kx,kxe->ke", unit, halves)).sum(axis=1)
        meets &= ~usable | (apart < reach - _TOUCHING_MM)
    return meets


def _labelmapOf(segmentation: Any, segmentID: str) -> tuple[Any, int]:
    """(binary labelmap, value of the segment in it); made on the side where there is only a surface."""
    kind = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    if not segmentation.ContainsRepresentation(kind):
        copy = slicer.vtkSegmentation()
        copy.SetSourceRepresentationName(segmentation.GetSourceRepresentationName())
        copy.CopySegmentFromSegmentation(segmentation, segmentID)
        copy.CreateRepresentation(kind)
        segmentation = copy
    segment = segmentation.GetSegment(segmentID)
    return segment.GetRepresentation(kind), segment.GetLabelValue()


def _boxesOfPlanes(labelmap: Any, value: int) -> Any:
    """[P, 5] (z, first y, last y, first x, last x) around a segment, of each plane of voxels that holds some of it."""
    import numpy as np

    boxes = [np.empty((0, 5), int)]
    for z, plane in enumerate(_planesOf(labelmap)):
        mask = plane == value
        y = np.flatnonzero(mask.any(axis=1))
        if len(y):
            x = np.flatnonzero(mask.any(axis=0))
            boxes.append(np.array([[z, y[0], y[-1], x[0], x[-1]]]))
    return np.concatenate(boxes)


def _planesOf(labelmap: Any) -> Any:
    """[Z, Y, X] the voxels of a labelmap where they lie in memory; without any plane where there is none."""
    import numpy as np
    from vtk.util.numpy_support import vtk_to_numpy

    scalars = labelmap.GetPointData().GetScalars() if labelmap is not None else None
    if scalars is None:
        return np.empty((0, 0, 0), np.uint8)
    return vtk_to_numpy(scalars).reshape(labelmap.GetDimensions()[::-1])


def _reachOfSegment(slices: Volume, labelmap: Any, value: int, boxes: Any, parent: Any) -> tuple[float, float]:
    """(from, to) mm along the normal of what lies over the images of the slices, of a segment under a transform node.

    (inf, -inf) where nothing does. Where no transform bends the planes, only those are looked through whose boxes
    reach farther than what was found: few of them, so that a large segment does not hold the application up.
    """
    import numpy as np

    placed = vtk.vtkMatrix4x4()
    labelmap.GetImageToWorldMatrix(placed)  # its 'world' is that of the segmentation node before its transform
    matrix = arrayFromVtkMatrix(placed)
    planes = _planesOf(labelmap)
    firstIjk = labelmap.GetExtent()[::2]

    def lines(ofBoxes: Any) -> tuple[Floats, Floats]:
        sides = (_inRas(points + firstIjk, matrix, parent) for points in _rowEdges(planes, value, ofBoxes))
        begins, stops = (points * [-1, -1, 1] for points in sides)
        return begins, stops

    if isAcquisitionTransform(parent):
        return _reachAlongNormal(slices, *lines(boxes))
    corners = _inRas(_cornersOf(boxes).reshape(-1, 3) + firstIjk, matrix, parent) * [-1, -1, 1]
    axes, low, high = _imageRectangle(slices)
    inPlane = (corners @ axes.T).reshape(-1, 8, 2)
    isOver = (inPlane.max(axis=1) > low).all(axis=1) & (inPlane.min(axis=1) < high).all(axis=1)
    heights = (corners @ slices.normal_lps).reshape(-1, 8)
    boxes, bottoms, tops = boxes[isOver], heights.min(axis=1)[isOver], heights.max(axis=1)[isOver]
    lowest, highest = float("inf"), float("-inf")
    while len(boxes):
        n = int(bottoms.argmin())
        if bottoms[n] >= lowest:
            n = int(tops.argmax())
            if tops[n] <= highest:
                break
        begins, stops = lines(boxes[n : n + 1])
        ends = begins @ slices.normal_lps, stops @ slices.normal_lps
        wider = (np.minimum(*ends) < lowest) | (np.maximum(*ends) > highest)
        found = _reachAlongNormal(slices, begins[wider], stops[wider])
        lowest, highest = min(lowest, found[0]), max(highest, found[1])
        bottoms[n], tops[n] = float("inf"), float("-inf")
    return lowest, highest


def _cornersOf(boxes: Any) -> Floats:
    """[P, 8, 3] (x, y, z) corners of the voxels in boxes [P, 5] of planes."""
    import numpy as np

    z, y0, y1, x0, x1 = boxes.T
    corners = [(x, y, z + dz) for x in (x0 - 0.5, x1 + 0.5) for y in (y0 - 0.5, y1 + 0.5) for dz in (-0.5, 0.5)]
    return np.array(corners).transpose(2, 0, 1)


def _rowEdges(planes: Any, value: int, boxes: Any) -> tuple[Floats, Floats]:
    """([R, 3] begins, [R, 3] ends) of the four long edges of every row of a segment's voxels in planes [Z, Y, X].

    A row is from its first voxel to its last one. In (x, y, z) counted from the first voxel of the planes.
    """
    import numpy as np

    rows = []  # first x, last x, y, z
    for z, y0, y1, x0, x1 in boxes:
        mask = planes[z, y0 : y1 + 1, x0 : x1 + 1] == value
        y = np.flatnonzero(mask.any(axis=1))
        first, last = mask[y].argmax(axis=1), x1 - x0 - mask[y, ::-1].argmax(axis=1)
        rows.append(np.stack([first + x0, last + x0, y + y0, np.full_like(y, z)], axis=1))
    firstX, lastX, y, z = np.concatenate(rows).T
    edges: tuple[list[Floats], list[Floats]] = [], []
    for dy, dz in ((-0.5, -0.5), (-0.5, 0.5), (0.5, -0.5), (0.5, 0.5)):
        for side, x in zip(edges, (firstX - 0.5, lastX + 0.5), strict=True):
            side.append(np.stack([x, y + dy, z + dz], axis=1))
    return np.concatenate(edges[0]), np.concatenate(edges[1])


def _inRas(points: Floats, matrix: Floats, parent: Any) -> Floats:
    """[P, 3] RAS of voxel indices, through the matrix of their image and a parent transform node (or None)."""
    placed: Floats = points @ matrix[:3, :3].T + matrix[:3, 3]
    return _carried(placed, parent) if parent is not None else placed


def _carried(points: Floats, transformNode: Any) -> Floats:
    """[P, 3] RAS where a parent transform, linear or not, puts points."""
    from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    toWorld = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(transformNode, None, toWorld)
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    for place in (before, after):
        place.SetDataTypeToDouble()
    before.SetData(numpy_to_vtk(points, deep=True))
    toWorld.TransformPoints(before, after)
    carried: Floats = vtk_to_numpy(after.GetData()).copy()
    return carried


def _reachAlongNormal(slices: Volume, begins: Floats, stops: Floats) -> tuple[float, float]:
    """(from, to) mm along the normal of what lies over the images of the slices, of lines [P, 3] (LPS).

    (inf, -inf) where nothing does.
    """
    import numpy as np

    axes, low, high = _imageRectangle(slices)
    start, step = begins @ axes.T, (stops - begins) @ axes.T
    enter, leave = np.zeros(len(begins)), np.ones(len(begins))
    for axis in range(2):
        along = np.abs(step[:, axis]) > 1e-9
        divisor = np.where(along, step[:, axis], 1.0)
        to = np.sort([(edge[axis] - start[:, axis]) / divisor for edge in (low, high)], axis=0)
        beside = ~along & ((start[:, axis] <= low[axis]) | (start[:, axis] >= high[axis]))
        enter = np.where(along, np.maximum(enter, to[0]), np.where(beside, np.inf, enter))
        leave = np.where(along, np.minimum(leave, to[1]), leave)
    seen = enter < leave
    if not seen.any():
        return float("inf"), float("-inf")
    line = np.stack([begins, stops - begins]) @ slices.normal_lps  # [2, P]
    positions = np.concatenate([line[0, seen] + t[seen] * line[1, seen] for t in (enter, leave)])
    return float(positions.min()), float(positions.max())


def _imageRectangle(slices: Volume) -> tuple[Floats, Floats, Floats]:
    """([2, 3] in-plane axes, [2] from, [2] to) mm along them: where the images of all slices lie."""
    import numpy as np

    axes = np.stack([slices.row_direction_lps, slices.column_direction_lps])
    origins = slices.slice_origins_lps @ axes.T
    half = np.array(slices.spacing_mm) / 2
    high = origins.max(axis=0) + half * (2 * np.array(slices.voxels.shape[2:0:-1]) - 1)
    return axes, origins.min(axis=0) - half, high
