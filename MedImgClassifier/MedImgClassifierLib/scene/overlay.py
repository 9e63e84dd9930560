"""Evidence in the slice views: a small coloured volume on the network's own grid, over the volume it explains."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..engine.appearance import EVIDENCE_THRESHOLD
from . import nodes
from .colors import evidenceColorNode
from .geometry import (
    ijkToRas,
    isAcquisitionTransform,
    linearParentToWorld,
    rasFromLps,
    vtkMatrixFromArray,
    worldGeometry,
)
from .volumes import setVoxels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.result import Classification, Evidence
    from ..engine.volume import Floats

DEFAULT_OPACITY = 0.5


def addEvidence(scene: Any, classification: Classification, label: int, volumeNode: Any, name: str) -> tuple[Any, bool]:
    """Add the evidence for one label as a uint8 volume (0..255 is 0..1 of the case's largest), never upsampled.

    Its voxels are the network's cells, placed where the classification says that they lie; it hangs under the
    parent transform of the volume, and Slicer interpolates it while drawing. Returns the node, and whether
    anything speaks for the label: if not, the node says 'none' and colours nothing.
    Raises ValueError where the classification holds no evidence at all.
    """
    evidence = classification.evidence
    if evidence is None:
        raise ValueError("this classification holds no evidence")
    if isAcquisitionTransform(volumeNode.GetParentTransformNode()):
        cells, matrix = _onSlicesOfNode(evidence, label, classification, volumeNode)
    else:
        cells, matrix = _onEvenStack(evidence, label, volumeNode)
    speaks = bool(evidence.scale[label] > 0)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    setVoxels(node, cells)
    node.SetIJKToRASMatrix(vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.SetAttribute(nodes.LABEL, classification.labels[label].name)
    node.SetAttribute(nodes.EVIDENCE_METHOD, evidence.method if speaks else nodes.NO_EVIDENCE)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(evidenceColorNode(scene).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 255)
    display.InterpolateOn()
    setThreshold(node, EVIDENCE_THRESHOLD)
    return node, speaks


def setThreshold(evidenceNode: Any, threshold: float) -> None:
    """Colour only evidence of at least `threshold` (0..1); what is exactly 0 is never coloured."""
    display = evidenceNode.GetDisplayNode()
    display.AutoThresholdOff()
    display.SetThreshold(max(threshold * 255, 1), 255)
    display.ApplyThresholdOn()


def showOverlay(
    scene: Any,
    volumeNode: Any,
    evidenceNode: Any,
    opacity: float = DEFAULT_OPACITY,
    threshold: float = EVIDENCE_THRESHOLD,
) -> None:
    """Lay evidence over its volume in every slice view that shows the volume or nothing.

    Each view remembers its foreground and opacity until `hideOverlay`; other views are left alone.
    """
    setThreshold(evidenceNode, threshold)
    for view in nodes.nodesOfClass(scene, "vtkMRMLSliceCompositeNode"):
        if view.GetBackgroundVolumeID() not in (None, "", volumeNode.GetID()):
            continue
        if not isEvidence(scene.GetNodeByID(view.GetForegroundVolumeID() or "")):
            # A reference, not an attribute: ids may change when a scene is saved and loaded.
            view.SetNodeReferenceID(nodes.PREVIOUS_FOREGROUND, view.GetForegroundVolumeID() or None)
            view.SetAttribute(nodes.PREVIOUS_OPACITY, str(view.GetForegroundOpacity()))
        view.SetBackgroundVolumeID(volumeNode.GetID())
        view.SetForegroundVolumeID(evidenceNode.GetID())
        view.SetForegroundOpacity(opacity)


def hideOverlay(scene: Any, evidenceNode: Any) -> None:
    """Give the views that show this evidence their earlier foreground and opacity back."""
    for view in viewsShowing(scene, evidenceNode):
        previous = view.GetNodeReference(nodes.PREVIOUS_FOREGROUND)
        opacity = view.GetAttribute(nodes.PREVIOUS_OPACITY)
        view.SetForegroundVolumeID(previous.GetID() if previous is not None else None)
        view.SetForegroundOpacity(float(opacity) if opacity is not None else 0.0)
        view.RemoveNodeReferenceIDs(nodes.PREVIOUS_FOREGROUND)
        view.RemoveAttribute(nodes.PREVIOUS_OPACITY)


def isEvidence(node: Any) -> bool:
    """Whether a node (or None) was made by `addEvidence`."""
    return node is not None and node.GetAttribute(nodes.EVIDENCE_METHOD) is not None


def viewsShowing(scene: Any, evidenceNode: Any) -> list[Any]:
    """The slice composite nodes whose foreground is this evidence."""
    views = nodes.nodesOfClass(scene, "vtkMRMLSliceCompositeNode")
    return [view for view in views if view.GetForegroundVolumeID() == evidenceNode.GetID()]


def exchangeEvidence(scene: Any, old: Any, new: Any) -> None:
    """Show new evidence where the old one is shown, with the threshold that the reader chose."""
    display = old.GetDisplayNode()
    if display is not None:
        new.GetDisplayNode().SetThreshold(display.GetLowerThreshold(), 255)
    for view in viewsShowing(scene, old):
        view.SetForegroundVolumeID(new.GetID())


def _bytes(shown: NDArray[Any]) -> NDArray[Any]:
    import numpy as np

    return np.round(shown * 255).astype(np.uint8)


def _onEvenStack(evidence: Evidence, label: int, volumeNode: Any) -> tuple[NDArray[Any], Floats]:
    """Cells [K, h, w] and their IJK to RAS, in the coordinates of the node (its linear parent transform undone).

    An irregular stack becomes even as `Volume.regular` makes the shown volume even, so both have the same slices.
    """
    from dataclasses import replace

    import numpy as np

    from ..engine.volume import Volume

    placement = evidence.placement
    spacing = [float(np.linalg.norm(step)) for step in (placement.column_step_lps, placement.row_step_lps)]
    stack = Volume(
        voxels=evidence.shown(label),
        row_direction_lps=placement.column_step_lps / spacing[0],
        column_direction_lps=placement.row_step_lps / spacing[1],
        spacing_mm=(spacing[0], spacing[1]),
        slice_origins_lps=placement.origins_lps,
        slice_thickness_mm=float(volumeNode.GetSpacing()[2]),
    )
    if stack.irregularity:
        # Outside the acquired slices the even stack repeats the smallest value, which must be "nothing" here.
        padded = np.pad(stack.voxels, ((0, 0), (0, 1), (0, 1)))
        stack, _shift = replace(stack, voxels=padded).regular()
    matrix = stack.ijk_to_lps
    assert matrix is not None  # regular() made it so
    return _bytes(stack.voxels), np.linalg.inv(linearParentToWorld(volumeNode)) @ rasFromLps(matrix)


def _onSlicesOfNode(
    evidence: Evidence, label: int, classification: Classification, volumeNode: Any
) -> tuple[NDArray[Any], Floats]:
    """Cells on the node's own slices, and their IJK to RAS before its non-linear parent transform.

    The transform bends patient space, but cells keep their place among the voxels of a slice.
    """
    import numpy as np

    rows = classification.slices.native_k
    if rows is None:
        raise ValueError("slices that were resampled have no place among those of a volume with such a transform")
    slices = worldGeometry(volumeNode)
    shown = evidence.shown(label)
    cells = np.zeros((len(slices.voxels), *shown.shape[1:]), np.float32)
    cells[list(rows)] = shown
    inPlane = np.stack([slices.row_direction_lps, slices.column_direction_lps])
    perVoxel = 1 / np.array(slices.spacing_mm)[:, None]
    offset = evidence.placement.origins_lps[0] - slices.slice_origins_lps[rows[0]]
    cellToVoxel = np.eye(4)
    for column, vector in enumerate((evidence.placement.column_step_lps, evidence.placement.row_step_lps)):
        cellToVoxel[:2, column] = (perVoxel * inPlane) @ vector
    cellToVoxel[:2, 3] = (perVoxel * inPlane) @ offset
    return _bytes(cells), ijkToRas(volumeNode) @ cellToVoxel
