"""Volume nodes of tilted or uneven stacks as they were acquired, the way Slicer's DICOM reader shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer
import vtk

from .geometry import ijkToRas, vtkMatrixFromArray
from .volumes import addVolume

if TYPE_CHECKING:
    from ..engine.volume import Floats, Volume


def addAcquiredVolume(scene: Any, volume: Volume, name: str) -> Any:
    """`addVolume`, but slices of an irregular stack are not resampled: `volumeFromNode` gives the Volume back.

    In the node they stand evenly, and its parent transform '<name> acquisition transform' carries each to where it
    was acquired, in the views too. As in Slicer the transform stays when the volume is removed, since evidence and
    whatever else lies on its slices hangs under it as well: who removes all of that removes it last.
    Raises Refusal INPUT_GEOMETRY where slices of an irregular stack do not follow one another along their normal.
    """
    from dataclasses import replace

    if not volume.irregularity:
        return addVolume(scene, volume, name)
    even = _evenOrigins(volume, name)
    node = addVolume(scene, replace(volume, slice_origins_lps=even), name)
    parent = scene.AddNewNodeByClass("vtkMRMLGridTransformNode", f"{name} acquisition transform")
    parent.SetAndObserveTransformToParent(_transform(node, volume.slice_origins_lps - even))
    node.SetAndObserveTransformNodeID(parent.GetID())
    return node


def _evenOrigins(volume: Volume, name: str) -> Floats:
    """[K, 3] LPS mm: the origins of the slices on an unsheared stack, a median step apart, about the middle slice.

    So displacements are small, for what knows no such transforms. And views undo them by trial and error, beginning
    with the displacement at the very place: among mean steps, or where no slice rests, that goes astray at a gap.
    """
    import numpy as np

    from ..engine.errors import Refusal

    steps = np.diff(volume.positions_mm)
    if steps.min() <= 0 <= steps.max():
        reason = "its slices do not follow one another along their normal"
        raise Refusal("INPUT_GEOMETRY", path=name, reason=reason)
    middle = len(volume.voxels) // 2
    fromMiddle = np.arange(len(volume.voxels))[:, None] - middle
    return np.asarray(volume.slice_origins_lps[middle] + fromMiddle * (np.median(steps) * volume.normal_lps))


def _transform(volumeNode: Any, displacements: Floats) -> Any:
    """A vtkOrientedGridTransform that moves each slice of a node, as a whole, by a displacement [K, 3] in LPS mm.

    The grid has the corners of the slices, and is linear between them. Outside it repeats its outermost layers: one
    more at either end goes on as the last two do, so that the outer halves of the outer slices are as thick as their
    inner ones, as `slice_link.slabs` has it.
    """
    import numpy as np
    from vtk.util.numpy_support import numpy_to_vtk

    matrix = ijkToRas(volumeNode)
    columns, rows, slices = volumeNode.GetImageData().GetDimensions()
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    grid = vtk.vtkImageData()
    grid.SetDimensions(2, 2, slices + 2)
    grid.SetSpacing(*(spacing * (columns, rows, 1)))
    grid.SetOrigin(*(matrix[:3, 3] - matrix[:3, 2]))
    before, after = 2 * displacements[0] - displacements[1], 2 * displacements[-1] - displacements[-2]
    layers = np.concatenate([[before], displacements, [after]]) * [-1.0, -1.0, 1.0]
    grid.GetPointData().SetScalars(numpy_to_vtk(np.repeat(layers, 4, axis=0), deep=True))
    directions = np.eye(4)
    directions[:3, :3] = matrix[:3, :3] / spacing
    transform = slicer.vtkOrientedGridTransform()
    transform.SetDisplacementGridData(grid)
    transform.SetGridDirectionMatrix(vtkMatrixFromArray(directions))
    transform.SetInterpolationModeToLinear()
    return transform
