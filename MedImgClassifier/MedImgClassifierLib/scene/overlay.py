"""Evidence in the slice views: a small coloured volume on the network's own grid, over the volume it explains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..engine.appearance import EVIDENCE_THRESHOLD
from . import nodes
from .colors import evidenceColorNode
from .evidence_cells import evidenceCells
from .geometry import vtkMatrixFromArray
from .legend import hideLegend, retitleLegend
from .volumes import setVoxels

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.result import Classification

DEFAULT_OPACITY = 0.5


def addEvidence(scene: Any, classification: Classification, label: int, volumeNode: Any, name: str) -> tuple[Any, bool]:
    """Add the evidence for one label as a uint8 volume (0..255 is 0..1 of the case's largest), never upsampled.

    Its voxels are the network's cells, placed where the classification says that they lie; it hangs under the
    parent transform of the volume, and Slicer interpolates it while drawing. Returns the node, and whether
    anything speaks for the label: if not, the node says 'none' and colours nothing.
    Raises ValueError where the classification holds no evidence at all.
    """
    cells, matrix = evidenceCells(classification, label, volumeNode)
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    node.SetIJKToRASMatrix(vtkMatrixFromArray(matrix))
    speaks = _fill(node, cells, classification, label, volumeNode)
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(evidenceColorNode(scene).GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 255)
    display.InterpolateOn()
    setThreshold(node, EVIDENCE_THRESHOLD)
    return node, speaks


def fillEvidence(node: Any, classification: Classification, label: int, volumeNode: Any) -> bool:
    """Make a node of `addEvidence` show other evidence, with its display as the reader chose it; one event each.

    Returns whether anything speaks for the label. Raises what `addEvidence` raises; then the node is as it was.
    """
    cells, matrix = evidenceCells(classification, label, volumeNode)
    with nodes.oneEvent(node):
        node.SetIJKToRASMatrix(vtkMatrixFromArray(matrix))
        return _fill(node, cells, classification, label, volumeNode)


def changeClass(node: Any, classification: Classification, label: int, volumeNode: Any) -> bool:
    """`fillEvidence` for another label of the classification that the node shows already.

    All its labels have one grid, and that stays among the voxels of the volume where it is: a transform that the
    volume was given meanwhile carries both, though the classification does not know of it.
    """
    cells, _matrix = evidenceCells(classification, label, volumeNode)
    if node.GetImageData() is None or cells.shape != node.GetImageData().GetDimensions()[::-1]:
        return fillEvidence(node, classification, label, volumeNode)
    with nodes.oneEvent(node):
        return _fill(node, cells, classification, label, volumeNode)


def _fill(node: Any, cells: NDArray[Any], classification: Classification, label: int, volumeNode: Any) -> bool:
    evidence = classification.evidence
    assert evidence is not None  # its cells were made
    speaks = bool(evidence.scale[label] > 0)
    setVoxels(node, cells)
    node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
    node.SetAttribute(nodes.LABEL, classification.labels[label].name)
    node.SetAttribute(nodes.EVIDENCE_METHOD, evidence.method if speaks else nodes.NO_EVIDENCE)
    retitleLegend(node)
    return speaks


def setThreshold(evidenceNode: Any, threshold: float) -> None:
    """Colour only evidence of at least `threshold` (0..1); what is exactly 0 is never coloured."""
    display = evidenceNode.GetDisplayNode()
    with nodes.oneEvent(display):
        display.AutoThresholdOff()
        display.SetThreshold(max(threshold * 255, 1), 255)
        display.ApplyThresholdOn()


def setOpacity(scene: Any, evidenceNode: Any, opacity: float) -> None:
    """Opacity (0..1) of evidence in the views that show it; the others keep theirs."""
    for view in viewsShowing(scene, evidenceNode):
        with _unlinked(view):
            view.SetForegroundOpacity(opacity)


def setColorMap(evidenceNode: Any, colorMap: str) -> None:
    """Colour evidence by one of `colors.COLOR_MAPS`. Raises ValueError for another."""
    colors = evidenceColorNode(evidenceNode.GetScene(), colorMap)
    evidenceNode.GetDisplayNode().SetAndObserveColorNodeID(colors.GetID())


def showOverlay(
    scene: Any,
    volumeNode: Any,
    evidenceNode: Any,
    opacity: float = DEFAULT_OPACITY,
    threshold: float = EVIDENCE_THRESHOLD,
) -> None:
    """Lay evidence over its volume in every slice view that shows the volume or nothing.

    Each view remembers its foreground and opacity until `hideOverlay`; other views, and whether views are linked,
    are left alone.
    """
    setThreshold(evidenceNode, threshold)
    for view in nodes.nodesOfClass(scene, "vtkMRMLSliceCompositeNode"):
        if view.GetBackgroundVolumeID() not in (None, "", volumeNode.GetID()):
            continue
        with _unlinked(view):
            if not isEvidence(scene.GetNodeByID(view.GetForegroundVolumeID() or "")):
                # A reference, not an attribute: ids may change when a scene is saved and loaded.
                view.SetNodeReferenceID(nodes.PREVIOUS_FOREGROUND, view.GetForegroundVolumeID() or None)
                view.SetAttribute(nodes.PREVIOUS_OPACITY, str(view.GetForegroundOpacity()))
            view.SetBackgroundVolumeID(volumeNode.GetID())
            view.SetForegroundVolumeID(evidenceNode.GetID())
            view.SetForegroundOpacity(opacity)


def hideOverlay(scene: Any, evidenceNode: Any) -> None:
    """Give the views that show this evidence their earlier foreground and opacity back, and remove its legend.

    Views where the reader chose another foreground meanwhile keep that.
    """
    for view in viewsShowing(scene, evidenceNode):
        previous = view.GetNodeReference(nodes.PREVIOUS_FOREGROUND)
        opacity = view.GetAttribute(nodes.PREVIOUS_OPACITY)
        with _unlinked(view):
            view.SetForegroundVolumeID(previous.GetID() if previous is not None else None)
            view.SetForegroundOpacity(float(opacity) if opacity is not None else 0.0)
    for view in nodes.nodesOfClass(scene, "vtkMRMLSliceCompositeNode"):
        if not isEvidence(scene.GetNodeByID(view.GetForegroundVolumeID() or "")):
            with _unlinked(view):
                view.RemoveNodeReferenceIDs(nodes.PREVIOUS_FOREGROUND)
                view.RemoveAttribute(nodes.PREVIOUS_OPACITY)
    hideLegend(evidenceNode)


def isEvidence(node: Any) -> bool:
    """Whether a node (or None) was made by `addEvidence`."""
    return node is not None and node.GetAttribute(nodes.EVIDENCE_METHOD) is not None


def viewsShowing(scene: Any, evidenceNode: Any) -> list[Any]:
    """The slice composite nodes whose foreground is this evidence."""
    views = nodes.nodesOfClass(scene, "vtkMRMLSliceCompositeNode")
    return [view for view in views if view.GetForegroundVolumeID() == evidenceNode.GetID()]


@contextmanager
def _unlinked(view: Any) -> Iterator[None]:
    """Change one slice view and no other.

    What happens to a linked view while its reader is 'interacting' with it is copied to all views of its group,
    also to those of another volume. Ours is no such act: each view has its own foreground to be given back.
    """
    interacting = view.GetInteracting()
    view.SetInteracting(0)
    try:
        with nodes.oneEvent(view):
            yield
    finally:
        view.SetInteracting(interacting)
