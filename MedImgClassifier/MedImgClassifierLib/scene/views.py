"""What a saved scene shows when it is opened: slice views, active volume, table and plot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import slicer

from .result_nodes import ResultNodes

if TYPE_CHECKING:
    from ..engine.result import Classification

_PRESETS = {"R": "Sagittal", "A": "Coronal", "S": "Axial"}


def arrangeViews(scene: Any, result: ResultNodes, classification: Classification) -> None:
    """Red shows the first key slice, Green and Yellow cut through its evidence; table and plot are active."""
    _arrangeSliceViews(scene, result.volume, classification)
    selection = scene.GetSingletonNode("Singleton", "vtkMRMLSelectionNode")
    selection.SetActiveVolumeID(result.volume.GetID())
    selection.SetActiveTableID(result.table.GetID())
    _viewNode(scene, "vtkMRMLTableViewNode", "TableView1").SetTableNodeID(result.table.GetID())
    if result.chart is not None:
        selection.SetActivePlotChartID(result.chart.GetID())
        _viewNode(scene, "vtkMRMLPlotViewNode", "PlotView1").SetPlotChartNodeID(result.chart.GetID())
    layout = scene.GetSingletonNode("vtkMRMLLayout", "vtkMRMLLayoutNode")
    if layout is None:
        layout = slicer.vtkMRMLLayoutNode()
        layout.SetSingletonTag("vtkMRMLLayout")
        layout = scene.AddNode(layout)
    arrangement = slicer.vtkMRMLLayoutNode.SlicerLayoutFourUpPlotTableView
    if not layout.IsLayoutDescription(arrangement):
        layout.AddLayoutDescription(arrangement, "<layout/>")  # Slicer knows its layouts; only the number is saved
    layout.SetViewArrangement(arrangement)


def _viewNode(scene: Any, className: str, tag: str) -> Any:
    """A view node under the tag that Slicer's layouts look for."""
    found = scene.GetSingletonNode(tag, className)
    if found is not None:
        return found
    node = getattr(slicer, className)()
    node.SetSingletonTag(tag)
    node.SetName(tag)
    node.SetLayoutName(tag)
    node.SetLayoutLabel("1")
    return scene.AddNode(node)


def _arrangeSliceViews(scene: Any, volumeNode: Any, classification: Classification) -> None:
    import numpy as np

    row, place = _placeToLookAt(classification)
    acquired = "RAS"[int(np.abs(classification.slices.normal_lps[row]).argmax())]
    across = [preset for axis, preset in _PRESETS.items() if axis != acquired]
    orientations = dict(zip(("Red", "Yellow", "Green"), (_PRESETS[acquired], *across), strict=True))
    for name, orientation in orientations.items():
        logic = sliceLogic(scene, name)
        view = logic.GetSliceNode()
        view.SetOrientation(orientation)
        view.RotateToVolumePlane(volumeNode)
        fitSlice(logic, volumeNode)
        view.JumpSliceByOffsetting(*(float(value) for value in place))


def _placeToLookAt(classification: Classification) -> tuple[int, Any]:
    """(row of the first key slice, RAS [3] where its evidence peaks, or its centre)."""
    if not classification.key_slices:
        row, peak = len(classification.slices) // 2, None
    else:
        row = classification.key_slices[0].row
        label = classification.key_slices[0].label
        peak = classification.evidence.peak_lps(row, label) if classification.evidence is not None else None
    place = classification.slices.centre_lps[row] if peak is None else peak
    return row, place * [-1, -1, 1]


def sliceLogic(scene: Any, name: str) -> Any:
    """A logic of our own for the slice view 'Red', 'Green' or 'Yellow' of a scene, beside that of an application."""
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLScene(scene)
    # Not AddSliceNode: that would reset a view that is there already.
    logic.SetSliceNode(scene.GetSingletonNode(name, "vtkMRMLSliceNode"))
    logic.SetSliceCompositeNode(scene.GetSingletonNode(name, "vtkMRMLSliceCompositeNode"))
    return logic


def fitSlice(logic: Any, volumeNode: Any) -> None:
    """Zoom and centre the view of a slice logic on a volume without leaving the slice that it shows."""
    offset = logic.GetSliceOffset()
    width, height = logic.GetSliceNode().GetDimensions()[:2]
    logic.FitSliceToVolume(volumeNode, width, height)
    logic.SetSliceOffset(offset)
