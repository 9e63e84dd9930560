"""Where the voxels of a volume node lie in the patient, parent transforms included."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer
import vtk

if TYPE_CHECKING:
    from ..engine.volume import Floats, Volume


def rasFromLps(matrix: Floats) -> Floats:
    """A matrix [4, 4] that ends in LPS mm as one that ends in RAS mm, and the other way round."""
    import numpy as np

    return np.asarray(np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix)


def vtkMatrixFromArray(array: Floats) -> Any:
    """vtkMatrix4x4 from an array [4, 4]."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy([float(value) for value in array.ravel()])
    return matrix


def arrayFromVtkMatrix(matrix: Any) -> Floats:
    """Array [4, 4] from a vtkMatrix4x4."""
    import numpy as np

    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def ijkToRas(volumeNode: Any) -> Floats:
    """[4, 4] from (i, j, k, 1) to RAS mm of the node itself, before any parent transform."""
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return arrayFromVtkMatrix(matrix)


def placeKey(volumeNode: Any) -> tuple[Any, ...]:
    """What differs once the matrix of a node or a parent transform has been changed; cheap."""
    parent = volumeNode.GetParentTransformNode()
    return (ijkToRas(volumeNode).tolist(), parent and (parent.GetID(), parent.GetTransformToWorldMTime()))


def isAcquisitionTransform(transformNode: Any) -> bool:
    """True for a parent transform that no matrix describes, as Slicer makes for tilted or uneven DICOM series."""
    return transformNode is not None and not transformNode.IsTransformToWorldLinear()


def linearParentToWorld(volumeNode: Any) -> Floats:
    """[4, 4] of a linear parent transform in RAS; the identity where there is none."""
    matrix = vtk.vtkMatrix4x4()
    if volumeNode.GetParentTransformNode() is not None:
        volumeNode.GetParentTransformNode().GetMatrixTransformToWorld(matrix)
    return arrayFromVtkMatrix(matrix)


def worldGeometry(volumeNode: Any) -> Volume:
    """The slices of a node in the patient (LPS), as a Volume whose voxels are zeros that take no memory.

    Slices keep the order of the node. Raises Refusal INPUT_GEOMETRY where a transform leaves no stack of flat,
    parallel slices with square corners, INPUT_VALUES where the node holds no image.
    """
    import numpy as np

    from ..engine.errors import Refusal
    from ..engine.volume import Volume

    if volumeNode.GetImageData() is None:
        raise Refusal("INPUT_VALUES", path=volumeNode.GetName(), reason="the volume holds no voxels")
    columns, rows, slices = volumeNode.GetImageData().GetDimensions()
    voxels = np.broadcast_to(np.uint8(0), (slices, rows, columns))
    try:
        if isAcquisitionTransform(volumeNode.GetParentTransformNode()):
            return _geometryOfWarpedSlices(volumeNode, voxels)
        world = linearParentToWorld(volumeNode) @ ijkToRas(volumeNode)
        return Volume.from_matrix(voxels, rasFromLps(world))
    except ValueError as problem:
        raise Refusal("INPUT_GEOMETRY", path=volumeNode.GetName(), reason=str(problem)) from problem


def _geometryOfWarpedSlices(volumeNode: Any, voxels: Any) -> Volume:
    """Origins and common axes of the slices from sample points that the non-linear transform carried along."""
    import numpy as np

    from ..engine.volume import REGULAR_TOLERANCE_MM, Volume

    slices, rows, columns = voxels.shape
    i, j = np.meshgrid(np.linspace(0, max(columns - 1, 1), 5), np.linspace(0, max(rows - 1, 1), 5), indexing="xy")
    points = _warpedSlicePoints(volumeNode, i.ravel(), j.ravel(), slices)
    # One plane is fitted to all slices: only their origins may differ.
    design = np.stack([i.ravel(), j.ravel()], axis=1)
    centred = points - points.mean(axis=1, keepdims=True)
    steps = np.linalg.lstsq(design - design.mean(axis=0), centred.mean(axis=0), rcond=None)[0]
    origins = points.mean(axis=1) - design.mean(axis=0) @ steps
    bend = float(np.abs(points - (origins[:, None] + design @ steps)).max())
    if bend > REGULAR_TOLERANCE_MM:
        raise ValueError(f"its transform bends or turns the slices by up to {bend:.1f} mm")
    spacing = np.linalg.norm(steps, axis=1)
    return Volume(
        voxels=voxels,
        row_direction_lps=steps[0] / spacing[0],
        column_direction_lps=steps[1] / spacing[1],
        spacing_mm=(float(spacing[0]), float(spacing[1])),
        slice_origins_lps=origins,
    )


def _warpedSlicePoints(volumeNode: Any, i: Floats, j: Floats, slices: int) -> Floats:
    """[K, P, 3] LPS mm of the points (i, j) [P] of every slice, after the parent transform."""
    import numpy as np
    from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

    toWorld = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(volumeNode.GetParentTransformNode(), None, toWorld)
    k = np.repeat(np.arange(slices), len(i))
    places = np.stack([np.tile(i, slices), np.tile(j, slices), k, np.ones(len(k))], axis=1)
    before, after = vtk.vtkPoints(), vtk.vtkPoints()
    after.SetDataTypeToDouble()
    before.SetData(numpy_to_vtk(np.ascontiguousarray(places @ ijkToRas(volumeNode)[:3].T), deep=True))
    toWorld.TransformPoints(before, after)
    return np.asarray(vtk_to_numpy(after.GetData()).reshape(slices, len(i), 3) * [-1.0, -1.0, 1.0])
