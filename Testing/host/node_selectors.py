"""Stand-ins for the widgets that choose a node, a color table or a segment."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtWidgets
from PySide6.QtCore import Property, Signal

from .mrml_widget import qMRMLWidget
from .observing import Observations

NODE_CHANGED = {
    "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
    "currentNodeChanged(bool)": "_validNodeChanged",
}


def _flag(name: str) -> Any:
    def write(self: Any, value: bool) -> None:
        self._flags[name] = value
        self._refresh()

    return Property(bool, lambda self: self._flags[name], write)


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Chooses a node of the scene; follows nodes that come, go and change their names."""

    stand_in = True
    currentNodeChanged = Signal(object)
    _validNodeChanged = Signal(bool)
    currentNodeIDChanged = Signal(str)
    nodeActivated = Signal(object)
    nodeAdded = Signal(object)
    nodeAddedByUser = Signal(object)
    cpp_signals = NODE_CHANGED | {
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
        "nodeAdded(vtkMRMLNode*)": "nodeAdded",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
    }
    _DEFAULTS = {
        "noneEnabled": False,
        "addEnabled": True,
        "removeEnabled": True,
        "editEnabled": False,
        "renameEnabled": False,
        "showHidden": False,
        "showChildNodeTypes": True,
        "selectNodeUponCreation": True,
    }

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._combo = QtWidgets.QComboBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self._scene: Any = None
        self._current: Any = None
        self._requested: Any = None
        self._types: list[str] = []
        self._hidden_types: list[str] = []
        self._attributes: list[tuple[str, str, str | None]] = []
        self._none = "None"
        self._flags = dict(self._DEFAULTS)
        self._observed = Observations(self)
        self._combo.activated.connect(self._chosen)
        self._items: list[Any] = []
        self.setEnabled(False)

    def _chosen(self, index: int) -> None:
        self._set(self._items[index])
        self.nodeActivated.emit(self._current)

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        self._scene = scene
        events = (
            (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent) if scene else ()
        )
        self._observed.watch("scene", [scene], events, self._scene_changed)
        self._refresh()
        if self._requested is not None and scene is not None:
            requested, self._requested = self._requested, None
            self.setCurrentNode(requested)
        self.setEnabled(scene is not None)

    def _nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        every = [n for kind in self._types for n in slicer.util.getNodesByClass(kind, self._scene)]
        if len(self._types) > 1:
            order = {self._scene.GetNthNode(i): i for i in range(self._scene.GetNumberOfNodes())}
            every = sorted(dict.fromkeys(every), key=lambda node: order[node])
        return [n for n in every if self._fits(n) and (self._flags["showHidden"] or not n.GetHideFromEditors())]

    def nodeCount(self) -> int:
        return len(self._nodes())

    def nodeFromIndex(self, index: int) -> Any:
        nodes = self._nodes()
        return nodes[index] if 0 <= index < len(nodes) else None

    def _fits(self, node: Any) -> bool:
        children = self._flags["showChildNodeTypes"]
        if not any(node.IsA(t) if children else node.GetClassName() == t for t in self._types):
            return False
        if any(node.IsA(t) for t in self._hidden_types):
            return False
        wanted = [(name, value) for kind, name, value in self._attributes if node.IsA(kind)]
        return all(node.GetAttribute(n) is not None and v in (None, node.GetAttribute(n)) for n, v in wanted)

    def addAttribute(self, kind: str, name: str, value: Any = None) -> None:
        self._attributes.append((kind, name, None if value is None else str(value)))
        self._refresh()

    def removeAttribute(self, kind: str, name: str) -> None:
        self._attributes = [a for a in self._attributes if a[:2] != (kind, name)]
        self._refresh()

    def _scene_changed(self) -> None:
        offered = [node for node in self._items if node is not None]
        if self._nodes() != offered:
            self._refresh()

    def _refresh(self) -> None:
        nodes = self._nodes()
        self._observed.watch("names", nodes, ("ModifiedEvent",), self._rename)
        self._items = [None, *nodes] if self._flags["noneEnabled"] else nodes
        self._combo.clear()
        for node in self._items:
            self._combo.addItem(self._text(node))
        current = self._current if any(n is self._current for n in nodes) else None
        if current is None and not self._flags["noneEnabled"] and nodes:
            current = nodes[0]
        self._set(current)

    def _text(self, node: Any) -> str:
        return self._none if node is None else node.GetName() or ""

    def _rename(self) -> None:
        if len(self._nodes()) != len(self._items) - self._flags["noneEnabled"]:
            self._refresh()  # an attribute or the hidden flag decides what is offered
        for index, node in enumerate(self._items):
            self._combo.setItemText(index, self._text(node))

    def _set(self, node: Any) -> None:
        places = [i for i, item in enumerate(self._items) if item is node]
        if not places:
            node = None
        self._combo.setCurrentIndex(places[0] if places else -1)
        if node is not self._current:
            self._current = node
            self.currentNodeIDChanged.emit(self._current_id())
            self.currentNodeChanged.emit(node)
            self._validNodeChanged.emit(node is not None)

    def setCurrentNode(self, node: Any) -> None:
        """A node or its id. Before the widget has a scene the wish is kept, as in Slicer."""
        if self._scene is None:
            self._requested = node
            return
        if isinstance(node, str):
            node = self._scene.GetNodeByID(node) if node else None
        if node is None and not self._flags["noneEnabled"] and self._items:
            self._combo.setCurrentIndex(-1)
        self._set(node)

    def setCurrentNodeID(self, node_id: str) -> None:
        self.setCurrentNode(node_id)

    def setCurrentNodeIndex(self, index: int) -> None:
        self.setCurrentNode(self.nodeFromIndex(index))

    def currentNode(self) -> Any:
        return self._current

    def _current_id(self) -> str:
        return self._current.GetID() or "" if self._current is not None else ""

    def addNode(self, kind: str = "") -> Any:
        node = self._scene.AddNewNodeByClass(kind or self._types[0])
        self.nodeAddedByUser.emit(node)
        if self._flags["selectNodeUponCreation"]:
            self.setCurrentNode(node)
        return node

    def removeCurrentNode(self) -> None:
        if self._current is not None:
            self._scene.RemoveNode(self._current)

    def _setTypes(self, types: list[str]) -> None:
        self._types = list(types)
        self._refresh()

    def _setHiddenTypes(self, types: list[str]) -> None:
        self._hidden_types = list(types)
        self._refresh()

    def _setNone(self, text: str) -> None:
        self._none = text
        self._refresh()

    nodeTypes = Property("QStringList", lambda self: self._types, _setTypes)
    hideChildNodeTypes = Property("QStringList", lambda self: self._hidden_types, _setHiddenTypes)
    noneDisplay = Property(str, lambda self: self._none, _setNone)
    currentNodeID = Property(str, _current_id, setCurrentNodeID)
    noneEnabled, addEnabled, removeEnabled = _flag("noneEnabled"), _flag("addEnabled"), _flag("removeEnabled")
    editEnabled, renameEnabled = _flag("editEnabled"), _flag("renameEnabled")
    showHidden, showChildNodeTypes = _flag("showHidden"), _flag("showChildNodeTypes")
    selectNodeUponCreation = _flag("selectNodeUponCreation")


class qMRMLColorTableComboBox(qMRMLNodeComboBox):
    """Chooses a color table, the hidden ones too."""

    stand_in = True

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._flags |= {"showHidden": True, "addEnabled": False, "removeEnabled": False}
        self._types = ["vtkMRMLColorTableNode", "vtkMRMLProceduralColorNode"]


class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """Chooses a segmentation and one of its segments. Choosing several segments is not in the stand-in."""

    stand_in = True
    currentNodeChanged = Signal(object)
    _validNodeChanged = Signal(bool)
    currentSegmentChanged = Signal(str)
    cpp_signals = qMRMLWidget.cpp_signals | NODE_CHANGED

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._nodes, self._segments, self._message = qMRMLNodeComboBox(), QtWidgets.QComboBox(), QtWidgets.QLabel()
        self._nodes.setProperty("nodeTypes", ["vtkMRMLSegmentationNode"])
        self._nodes.setProperty("addEnabled", False)
        self._box = QtWidgets.QBoxLayout(QtWidgets.QBoxLayout.Direction.TopToBottom, self)
        self._box.setContentsMargins(0, 0, 0, 0)
        for part in (self._nodes, self._segments, self._message):
            self._box.addWidget(part)
        self._none, self._segment, self._segmentation = False, "", None
        self._observed = Observations(self)
        self._nodes.currentNodeChanged.connect(self._node_changed)
        self._segments.currentIndexChanged.connect(self._segment_changed)
        self._fill()

    def setMRMLScene(self, scene: Any) -> None:
        super().setMRMLScene(scene)
        self._nodes.setMRMLScene(scene)

    def currentNode(self) -> Any:
        return self._nodes.currentNode()

    def currentNodeID(self) -> str:
        node = self._nodes.currentNode()
        return node.GetID() if node else ""

    def setCurrentNode(self, node: Any) -> None:
        self._nodes.setCurrentNode(node)

    def setCurrentNodeID(self, node_id: str) -> None:
        self._nodes.setCurrentNode(node_id)

    def _node_changed(self, node: Any) -> None:
        self._segmentation = node
        kinds = slicer.vtkSegmentation
        events = (kinds.SegmentAdded, kinds.SegmentRemoved, kinds.SegmentModified)
        self._observed.watch("segments", [node], events, self._fill)
        self._fill()
        self.currentNodeChanged.emit(node)
        self._validNodeChanged.emit(node is not None)

    def segmentIDs(self) -> list[str]:
        """Those of the list for several segments, which is empty while one is chosen (as in Slicer)."""
        return []

    def _ids(self) -> list[str]:
        node = self._segmentation
        return list(node.GetSegmentation().GetSegmentIDs()) if node and node.GetSegmentation() else []

    def _fill(self) -> None:
        ids = self._ids()
        text = "No segments in segmentation " if self._segmentation else "No node is selected "
        self._message.setText("" if ids else text)
        self._message.setVisible(not ids)
        self._segments.setVisible(bool(ids))
        was_blocked = self._segments.blockSignals(True)
        self._segments.clear()
        if ids:
            if self._none:
                self._segments.addItem("None", "")
            for segment_id in ids:
                self._segments.addItem(
                    self._segmentation.GetSegmentation().GetSegment(segment_id).GetName(), segment_id
                )
        keep = self._segment in ids or (self._none and not self._segment)
        self._segments.setCurrentIndex(self._segments.findData(self._segment) if ids and keep else -1)
        self._segments.blockSignals(was_blocked)
        if ids and not keep:
            self._segments.setCurrentIndex(1 if self._none else 0)

    def _segment_changed(self, index: int) -> None:
        if self._segmentation is not None:
            self._segment = self._segments.itemData(index) or ""
            self.currentSegmentChanged.emit(self._segment)

    def currentSegmentID(self) -> str:
        return self._segment

    def setCurrentSegmentID(self, segment_id: str) -> None:
        index = self._segments.findData(segment_id)
        if index != -1:
            self._segments.setCurrentIndex(index)

    def _setNone(self, enabled: bool) -> None:
        self._none = enabled
        self._nodes.setProperty("noneEnabled", enabled)
        self._fill()

    def _setVisible(self, visible: bool) -> None:
        self._nodes.setVisible(visible)

    def _setHorizontal(self, horizontal: bool) -> None:
        ways = QtWidgets.QBoxLayout.Direction
        self._box.setDirection(ways.LeftToRight if horizontal else ways.TopToBottom)

    noneEnabled = Property(bool, lambda self: self._none, _setNone)
    segmentationNodeSelectorVisible = Property(
        bool, lambda self: not QtWidgets.QWidget.isHidden(self._nodes), _setVisible
    )
    horizontalLayout = Property(
        bool, lambda self: self._box.direction() == QtWidgets.QBoxLayout.Direction.LeftToRight, _setHorizontal
    )
