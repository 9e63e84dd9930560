"""What several tests of the scene ask: where voxels and pixels lie in the patient, what a view shows."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from example_results import CELL_PIXELS
from MedImgClassifierLib.engine.volume import Volume
from MedImgClassifierLib.scene.colors import findEvidenceColorNode
from MedImgClassifierLib.scene.geometry import arrayFromVtkMatrix, ijkToRas, vtkMatrixFromArray
from MedImgClassifierLib.scene.pictures import sliceImage


def voxelsOf(node):
    """[K, J, I] of a volume node."""
    image = node.GetImageData()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])


def brightestLps(node):
    """[3] where the brightest voxel of a node lies in the patient, through its matrix and parent transform."""
    k, j, i = np.unravel_index(voxelsOf(node).argmax(), voxelsOf(node).shape)
    return ijkLps(node, i, j, k)


def ijkLps(node, i, j, k):
    """[3] where (i, j, k) of a volume node lies in the patient, through its matrix and parent transform."""
    point = (ijkToRas(node) @ [i, j, k, 1])[:3]
    toWorld = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(node.GetParentTransformNode(), None, toWorld)
    return np.array(toWorld.TransformPoint(point)) * [-1, -1, 1]


def offsetInCells(volume: Volume, pointLps, otherLps):
    """(columns, rows, mm along the normal) from one point to another, in cells of the network."""
    offset = np.asarray(pointLps) - otherLps
    return (
        offset @ volume.row_direction_lps / (volume.spacing_mm[0] * CELL_PIXELS),
        offset @ volume.column_direction_lps / (volume.spacing_mm[1] * CELL_PIXELS),
        offset @ volume.normal_lps,
    )


def pixelLps(scene, viewName, mask):
    """[3] mean place in the patient of the pixels [h, w] of a picture of a view where mask is true."""
    rows, columns = np.nonzero(mask)
    x, y = columns.mean(), mask.shape[0] - 1 - rows.mean()
    view = scene.GetSingletonNode(viewName, "vtkMRMLSliceNode")
    ras = arrayFromVtkMatrix(view.GetXYToRAS()) @ [x, y, 0, 1]
    return ras[:3] * [-1, -1, 1]


def evidenceInView(scene, viewName, size=(280, 200)):
    """[h, w] evidence 0..255 read back from the colours of a view at opacity 1; -1 where the image shows."""
    picture = sliceImage(scene, viewName, size).astype(float)
    colors = findEvidenceColorNode(scene)
    table = np.array([colors.GetLookupTable().GetTableValue(n)[:3] for n in range(256)]) * 255
    levels = np.full(picture.shape[:2], -1)
    coloured = np.ptp(picture, axis=2) > 0  # the image itself is grey
    levels[coloured] = np.linalg.norm(picture[coloured][:, None] - table, axis=-1).argmin(axis=-1)
    return levels


def composite(scene, viewName="Red"):
    return scene.GetSingletonNode(viewName, "vtkMRMLSliceCompositeNode")


def nodeIds(scene):
    return sorted(scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes()))


def addLinearTransform(scene, matrix):
    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "moved")
    node.SetMatrixTransformToParent(vtkMatrixFromArray(np.asarray(matrix, float)))
    return node


def addAcquired(scene, volume: Volume, bend=0.0):
    """A volume as Slicer's DICOM reader loads a tilted or uneven series: an even stack under a grid transform
    that carries the corners of each slice where they were acquired. bend: mm by which one corner is off."""
    from dataclasses import replace

    from MedImgClassifierLib.scene.volumes import addVolume

    even = np.arange(len(volume.voxels))[:, None] * 4.0 * volume.normal_lps
    node = addVolume(scene, replace(volume, slice_origins_lps=volume.slice_origins_lps[0] + even), "acquired")
    acquire(node, volume, bend)
    return node


def acquire(node, volume: Volume, bend=0.0):
    """Hang a node of evenly spaced slices under the transform that Slicer makes for a tilted or uneven series.

    Written after Slicer's DICOMScalarVolumePlugin and apart from scene/acquisition.py on purpose: what is read from
    a node is checked against this, and so is the node that we make ourselves.
    """
    slices, rows, columns = volume.voxels.shape
    corners = np.array([[0, 0, 1], [columns, 0, 1], [0, rows, 1], [columns, rows, 1]])
    matrix = ijkToRas(node)
    displacements = np.empty((slices, 4, 3))
    for k in range(slices):
        acquired = (corners @ volume.slice_to_lps(k).T) * [-1, -1, 1]
        displacements[k] = acquired - (corners[:, :2] @ matrix[:3, :2].T + k * matrix[:3, 2] + matrix[:3, 3])
    displacements[:, 3, 2] += bend
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    grid = vtk.vtkImageData()
    grid.SetDimensions(2, 2, slices)
    grid.SetSpacing(spacing[0] * columns, spacing[1] * rows, spacing[2])
    grid.SetOrigin(*matrix[:3, 3])
    grid.GetPointData().SetScalars(numpy_to_vtk(displacements.reshape(-1, 3).copy(), deep=True))
    directions = np.eye(4)
    directions[:3, :3] = matrix[:3, :3] / spacing
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(grid)
    transform.SetGridDirectionMatrix(vtkMatrixFromArray(directions))
    transform.SetInterpolationModeToLinear()
    parent = node.GetScene().AddNewNodeByClass("vtkMRMLGridTransformNode", "acquisition transform")
    parent.SetAndObserveTransformToParent(transform)
    node.SetAndObserveTransformNodeID(parent.GetID())
