"""Telling which row of a classification each slice view shows, as the reader scrolls."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import slicer
import vtk

from . import nodes
from .slice_link import RowInView, RowPlanes, rowOnPlanes, rowPlanes, showsVolume

if TYPE_CHECKING:
    from ..engine.result import Classification

Told = Callable[[str, int | None, bool], None]


class SliceLink:
    """Watches the slice views of a scene for one classification of one volume.

    tell(viewName, row, isExact) is called once for each change of what a view shows; row is None where it shows
    another volume or a place outside. Nodes are held by id. Deleting the volume, as closing the scene does, ends the
    watch; `follow` starts it again, on the same object. `stop` leaves no observer behind.
    """

    def __init__(self, scene: Any, tell: Told) -> None:
        self._scene = scene
        self._tell = tell
        self._classification: Classification | None = None
        self._volumeId = ""
        self._planes: RowPlanes | None = None
        self._planesAreOld = True
        self._shown: dict[str, tuple[int | None, bool]] = {}
        self._observed: dict[str, list[int]] = {}  # tags by node id
        self._sceneTags: list[int] = []

    def follow(self, classification: Classification, volumeNode: Any) -> None:
        """Watch for rows of this classification from now on, and tell at once what each view shows."""
        self.stop()
        self._classification = classification
        self._volumeId = volumeNode.GetID()
        events = slicer.vtkMRMLScene
        for event, react in (
            (events.NodeAddedEvent, self._onNodeAdded),
            (events.NodeAboutToBeRemovedEvent, self._onNodeRemoved),
        ):
            self._sceneTags.append(self._scene.AddObserver(event, react))
        transformed = slicer.vtkMRMLTransformableNode.TransformModifiedEvent
        self._observe(volumeNode, (vtk.vtkCommand.ModifiedEvent, transformed), self._onVolumeMoved)
        for className in ("vtkMRMLSliceNode", "vtkMRMLSliceCompositeNode"):
            for node in nodes.nodesOfClass(self._scene, className):
                self._observe(node, (vtk.vtkCommand.ModifiedEvent,), self._onViewChanged)
        self._tellAll()

    def stop(self) -> None:
        """Watch no longer. Nothing is told."""
        for tag in self._sceneTags:
            self._scene.RemoveObserver(tag)
        self._sceneTags = []
        for nodeId in list(self._observed):
            self._forget(self._scene.GetNodeByID(nodeId), nodeId)
        self._classification, self._volumeId = None, ""
        self._planes, self._planesAreOld = None, True
        self._shown = {}

    def rowInView(self, viewName: str) -> RowInView | None:
        """What a view shows now, with the distance; None where that is no row."""
        view = self._scene.GetSingletonNode(viewName, "vtkMRMLSliceNode")
        volumeNode = self._scene.GetNodeByID(self._volumeId) if self._volumeId else None
        if self._classification is None or view is None or volumeNode is None or not showsVolume(view, volumeNode):
            return None
        if self._planesAreOld:
            self._planes, self._planesAreOld = rowPlanes(self._classification, volumeNode), False
        return rowOnPlanes(self._planes, view) if self._planes is not None else None

    def _observe(self, node: Any, events: tuple[int, ...], react: Callable[[Any, str], None]) -> None:
        self._observed[node.GetID()] = [node.AddObserver(event, react) for event in events]

    def _forget(self, node: Any, nodeId: str) -> None:
        for tag in self._observed.pop(nodeId, []):
            if node is not None:
                node.RemoveObserver(tag)

    def _onViewChanged(self, node: Any, _event: str) -> None:
        self._tellOf(node.GetLayoutName())

    def _onVolumeMoved(self, _node: Any, _event: str) -> None:
        self._planesAreOld = True
        self._tellAll()

    @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]
    def _onNodeAdded(self, _scene: Any, _event: str, node: Any) -> None:
        isView = node.IsA("vtkMRMLSliceNode") or node.IsA("vtkMRMLSliceCompositeNode")
        if isView and node.GetID() not in self._observed:
            self._observe(node, (vtk.vtkCommand.ModifiedEvent,), self._onViewChanged)
            self._tellOf(node.GetLayoutName())

    @vtk.calldata_type(vtk.VTK_OBJECT)  # type: ignore[untyped-decorator]
    def _onNodeRemoved(self, _scene: Any, _event: str, node: Any) -> None:
        if node.GetID() == self._volumeId:
            self.stop()
        else:
            self._forget(node, node.GetID())

    def _tellAll(self) -> None:
        for view in nodes.nodesOfClass(self._scene, "vtkMRMLSliceNode"):
            self._tellOf(view.GetLayoutName())

    def _tellOf(self, viewName: str | None) -> None:
        if not viewName or self._classification is None:
            return
        found = self.rowInView(viewName)
        shown = (found.row, found.isExact) if found is not None else (None, False)
        if self._shown.get(viewName) != shown:
            self._shown[viewName] = shown
            self._tell(viewName, *shown)
