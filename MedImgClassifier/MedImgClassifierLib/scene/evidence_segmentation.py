"""Evidence above a threshold as a segmentation: for readers who want outlines, volumes, or to go on editing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import slicer
import vtk

from ..translation import _
from . import nodes
from .evidence_cells import evidenceCells
from .geometry import ijkToRas, vtkMatrixFromArray

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.result import Classification
    from ..engine.volume import Floats

SEGMENTATION_KIND = "evidence segmentation"
RESULT_ROLE = nodes.PREFIX + "Result"
THRESHOLD = nodes.PREFIX + "Threshold"
METHOD = nodes.PREFIX + "Method"


def addEvidenceSegmentation(
    scene: Any,
    table: Any,
    classification: Classification,
    volumeNode: Any,
    labels: Sequence[str],
    threshold: float,
    interpolated: bool = True,
) -> Any:
    """A vtkMRMLSegmentationNode of where the evidence for each of some classes is at least `threshold` (0..1).

    Voxels are those of the volume; between cells evidence is linear, as the overlay draws it, or that of the nearest
    cell. A segment has the name and colour of its class; a class without a voxel gets none. Classes of slices say
    nothing between them, so no surface is shown in 3D. The node is the reader's own: it stays when the result is
    removed, and says what it was made of (bundle, notice, method, threshold; a reference to the results table).
    Raises Refusal INPUT_NO_EVIDENCE where no class reaches the threshold, ValueError for an unknown class; then
    nothing is added.
    """
    from ..engine.appearance import LABEL_COLORS
    from ..engine.errors import Refusal

    names = [label.name for label in classification.labels]
    maps = {
        label: _labelmap(classification, names.index(label), volumeNode, threshold, interpolated) for label in labels
    }
    if not any(labelmap is not None for labelmap in maps.values()):
        raise Refusal("INPUT_NO_EVIDENCE", labels=", ".join(labels), percent=round(100 * threshold))
    kind = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()
    segmentation = slicer.vtkSegmentation()
    segmentation.SetSourceRepresentationName(kind)
    for label, labelmap in maps.items():
        if labelmap is not None:
            segment = slicer.vtkSegment()
            segment.SetName(label)
            segment.SetColor(*LABEL_COLORS[names.index(label) % len(LABEL_COLORS)])
            segment.AddRepresentation(kind, labelmap)
            segmentation.AddSegment(segment, label)
    title = _("{name} evidence").format(name=table.GetName())
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", scene.GenerateUniqueName(title))
    node.SetAndObserveSegmentation(segmentation)
    node.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.CreateDefaultDisplayNodes()
    node.GetDisplayNode().SetVisibility3D(False)
    _mark(node, table, classification, threshold)
    return node


def _mark(node: Any, table: Any, classification: Classification, threshold: float) -> None:
    """Say on the node what it was made of: that outlives the result."""
    assert classification.evidence is not None  # its cells were made
    nodes.signNode(node, classification.bundle, SEGMENTATION_KIND)
    node.SetAttribute(METHOD, classification.evidence.method)
    node.SetAttribute(THRESHOLD, f"{threshold:g}")
    node.SetNodeReferenceID(RESULT_ROLE, table.GetID())
    text = _("Evidence of at least {percent} % of the case's largest, by {bundle}. {notice}")
    bundle, notice = node.GetAttribute(nodes.BUNDLE), node.GetAttribute(nodes.NOTICE)
    node.SetDescription(text.format(percent=round(100 * threshold), bundle=bundle, notice=notice))


def _labelmap(classification: Classification, label: int, volumeNode: Any, threshold: float, interpolated: bool) -> Any:
    """vtkOrientedImageData of 0 and 1 on the voxels that evidence can reach; None where no voxel is 1."""
    import numpy as np
    from vtk.util.numpy_support import vtk_to_numpy

    cells, matrix = evidenceCells(classification, label, volumeNode)
    level = max(threshold * 255, 1)  # what the overlay colours: 0 never
    voxelToCell = np.linalg.inv(matrix) @ ijkToRas(volumeNode)
    extent = _extentOf(cells >= level, voxelToCell, volumeNode.GetImageData().GetDimensions())
    if extent is None:
        return None
    reslice = vtk.vtkImageReslice()
    reslice.SetInputData(_imageOf(cells))
    reslice.SetResliceAxes(vtkMatrixFromArray(voxelToCell))
    reslice.SetOutputSpacing(1, 1, 1)
    reslice.SetOutputOrigin(0, 0, 0)
    reslice.SetOutputExtent(*extent)
    if interpolated:
        reslice.SetInterpolationModeToLinear()
    reslice.Update()
    image = reslice.GetOutput()
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    isThere = False
    for plane in voxels:  # in place, so that a large volume is in memory once
        np.greater_equal(plane, level, out=plane, casting="unsafe")
        isThere = isThere or bool(plane.any())
    if not isThere:
        return None
    labelmap = slicer.vtkOrientedImageData()
    labelmap.ShallowCopy(image)
    labelmap.SetGeometryFromImageToWorldMatrix(vtkMatrixFromArray(ijkToRas(volumeNode)))
    return labelmap


def _imageOf(cells: NDArray[Any]) -> Any:
    """vtkImageData of cells [K, h, w], cell (0, 0, 0) at the origin, 1 apart."""
    from vtk.util.numpy_support import numpy_to_vtk

    image = vtk.vtkImageData()
    image.SetDimensions(*cells.shape[::-1])
    image.GetPointData().SetScalars(numpy_to_vtk(cells.ravel(), deep=True))
    return image


def _extentOf(spoken: NDArray[Any], voxelToCell: Floats, dimensions: Sequence[int]) -> tuple[int, ...] | None:
    """(i0, i1, j0, j1, k0, k1) of the voxels within a cell of those that are true in [K, h, w]; None where none is."""
    import numpy as np

    places = np.argwhere(spoken)[:, ::-1]
    if not len(places):
        return None
    corners = np.array([(x, y, z, 1) for x in (0, 1) for y in (0, 1) for z in (0, 1)], float)
    low, high = places.min(axis=0) - 1.0, places.max(axis=0) + 1.0
    corners[:, :3] = low + corners[:, :3] * (high - low)
    voxels = (corners @ np.linalg.inv(voxelToCell).T)[:, :3]
    first = np.maximum(np.floor(voxels.min(axis=0)), 0).astype(int)
    last = np.minimum(np.ceil(voxels.max(axis=0)), np.array(dimensions) - 1).astype(int)
    if (first > last).any():
        return None
    return tuple(int(n) for pair in zip(first, last, strict=True) for n in pair)
