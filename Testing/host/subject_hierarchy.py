"""Subject hierarchy items for nodes of the scene, made when and as Slicer's subject hierarchy plugins make them."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

OWNERS = (
    ("vtkMRMLLabelMapVolumeNode", "LabelMaps"),
    ("vtkMRMLScalarVolumeNode", "Volumes"),
    ("vtkMRMLSegmentationNode", "Segmentations"),
    ("vtkMRMLMarkupsNode", "Markups"),
    ("vtkMRMLModelNode", "Models"),
    ("vtkMRMLPlotChartNode", "Plots"),
    ("vtkMRMLPlotSeriesNode", "Plots"),
    ("vtkMRMLTableNode", "Tables"),
    ("vtkMRMLTextNode", "Texts"),
    ("vtkMRMLTransformNode", "Transforms"),
)
"""The node classes that a plugin claims, and its name, which the item carries."""


def _owner(node: Any) -> str:
    return next((name for kind, name in OWNERS if node.IsA(kind)), "")


def _add(node: Any) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(node.GetScene())
    if _owner(node) and not node.GetHideFromEditors() and not hierarchy.GetItemByDataNode(node):
        hierarchy.CreateItem(hierarchy.GetSceneItemID(), node, _owner(node))


def install(scene: Any) -> None:
    """Watch a scene. A node that is hidden when it is added gets no item; an imported scene brings its own."""

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def added(caller: Any, event: str, node: Any) -> None:
        if node is not None and node.IsA("vtkMRMLSubjectHierarchyNode"):
            slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
        elif node is not None and not scene.IsImporting():
            _add(node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def about_to_be_removed(caller: Any, event: str, node: Any) -> None:
        if node is None or scene.IsClosing() or node.IsA("vtkMRMLSubjectHierarchyNode"):
            return
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)

    def complete(*_: Any) -> None:
        slicer.vtkMRMLSubjectHierarchyNode.ResolveSubjectHierarchy(scene)
        for index in range(scene.GetNumberOfNodes()):
            _add(scene.GetNthNode(index))

    scene.AddObserver(scene.NodeAddedEvent, added)
    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, about_to_be_removed)
    scene.AddObserver(scene.EndImportEvent, complete, 10.0)
    scene.AddObserver(scene.EndCloseEvent, complete)
    complete()
