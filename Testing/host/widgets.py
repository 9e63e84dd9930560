"""Stand-ins for the ctk and qMRML widgets that the panel uses: the real widgets' properties, signals and slots,
as far as needed and no others, so that a call that the real widget lacks fails here too."""

from __future__ import annotations

from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal


class ctkCollapsibleButton(QtWidgets.QWidget):
    """A titled section that folds."""

    stand_in = True
    contentsCollapsed = Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._text, self._collapsed = "", False
        self._head = QtWidgets.QToolButton(self)
        self._head.setToolButtonStyle(QtCore.Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._head.clicked.connect(lambda *_: self.setCollapsed(not self._collapsed))
        self._arrange()

    def _arrange(self) -> None:
        self._head.setText(self._text)
        arrow = QtCore.Qt.ArrowType.RightArrow if self._collapsed else QtCore.Qt.ArrowType.DownArrow
        self._head.setArrowType(arrow)
        height = self._head.sizeHint().height()
        self.setContentsMargins(0, height + 2, 0, 2)
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget) and child is not self._head:
                child.setVisible(not self._collapsed)
        self.setMaximumHeight(height + 4 if self._collapsed else 16777215)

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        if self._collapsed:
            self._arrange()
        super().showEvent(event)

    def resizeEvent(self, event: QtGui.QResizeEvent) -> None:
        self._head.resize(event.size().width(), self._head.sizeHint().height())

    def setCollapsed(self, collapsed: bool) -> None:
        if collapsed != self._collapsed:
            self._collapsed = collapsed
            self._arrange()
            self.contentsCollapsed.emit(collapsed)

    def _setText(self, text: str) -> None:
        self._text = text
        self._arrange()

    text = Property(str, lambda self: self._text, _setText)
    collapsed = Property(bool, lambda self: self._collapsed, setCollapsed)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a spin box; the spin box holds the value."""

    stand_in = True
    valueChanged = Signal(float)

    _STEPS = 1000

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._slider.setRange(0, self._STEPS)
        self._spin = QtWidgets.QDoubleSpinBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        row.addWidget(self._spin)
        self._slider.sliderMoved.connect(self._dragged)
        self._spin.valueChanged.connect(self._changed)

    def _dragged(self, position: int) -> None:
        low, high = self._spin.minimum, self._spin.maximum
        self._spin.setValue(low + (high - low) * position / self._STEPS)

    def _changed(self, value: float) -> None:
        low, high = self._spin.minimum, self._spin.maximum
        self._slider.setValue(round(self._STEPS * (value - low) / (high - low)) if high > low else 0)
        self.valueChanged.emit(value)

    def setValue(self, value: float) -> None:
        self._spin.setValue(value)

    value = Property(float, lambda self: self._spin.value, setValue)
    minimum = Property(float, lambda self: self._spin.minimum, lambda self, v: self._spin.setMinimum(v))
    maximum = Property(float, lambda self: self._spin.maximum, lambda self, v: self._spin.setMaximum(v))
    singleStep = Property(float, lambda self: self._spin.singleStep, lambda self, v: self._spin.setSingleStep(v))
    decimals = Property(int, lambda self: self._spin.decimals, lambda self, v: self._spin.setDecimals(v))


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that hands the scene on to the widgets connected to it."""

    stand_in = True
    mrmlSceneChanged = Signal(object)
    node_signals = ("mrmlSceneChanged(vtkMRMLScene*)",)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        self._scene = scene
        self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene


def _flag(name: str) -> Any:
    def write(self: Any, value: bool) -> None:
        self._flags[name] = value
        self._refresh()

    return Property(bool, lambda self: self._flags[name], write)


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """Chooses a node of the scene; follows nodes that come and go."""

    stand_in = True
    currentNodeChanged = Signal(object)
    node_signals = ("currentNodeChanged(vtkMRMLNode*)",)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._combo = QtWidgets.QComboBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._combo)
        self._scene: Any = None
        self._current: Any = None
        self._types: list[str] = []
        self._tags: list[int] = []
        self._none = "None"
        names = ("noneEnabled", "addEnabled", "removeEnabled", "editEnabled", "renameEnabled")
        self._flags = dict.fromkeys(names, False) | {"showHidden": False, "showChildNodeTypes": True}
        self._flags |= {"addEnabled": True, "removeEnabled": True}
        self._combo.activated.connect(lambda index: self._set(self._items[index]))
        self._items: list[Any] = []

    def setMRMLScene(self, scene: Any) -> None:
        for tag in self._tags:
            self._scene.RemoveObserver(tag)
        self._scene, self._tags = scene, []
        if scene is not None:
            events = (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent)
            self._tags = [scene.AddObserver(event, self._refresh) for event in events]
        self._refresh()

    def nodes(self) -> list[Any]:
        if self._scene is None:
            return []
        every = [self._scene.GetNthNode(i) for i in range(self._scene.GetNumberOfNodes())]
        return [n for n in every if self._fits(n) and (self._flags["showHidden"] or not n.GetHideFromEditors())]

    def _fits(self, node: Any) -> bool:
        children = self._flags["showChildNodeTypes"]
        return any(node.IsA(t) if children else node.GetClassName() == t for t in self._types)

    def _refresh(self, *_: Any) -> None:
        nodes = self.nodes()
        self._items = [None, *nodes] if self._flags["noneEnabled"] else nodes
        self._combo.clear()
        for node in self._items:
            self._combo.addItem(self._none if node is None else node.GetName())
        current = self._current if any(n is self._current for n in nodes) else None
        if current is None and not self._flags["noneEnabled"] and nodes:
            current = nodes[0]
        self._set(current)

    def _set(self, node: Any) -> None:
        places = [i for i, item in enumerate(self._items) if item is node]
        self._combo.setCurrentIndex(places[0] if places else -1)
        if node is not self._current:
            self._current = node
            self.currentNodeChanged.emit(node)

    def setCurrentNode(self, node: Any) -> None:
        self._set(self._scene.GetNodeByID(node) if isinstance(node, str) else node)

    def currentNode(self) -> Any:
        return self._current

    def _setTypes(self, types: list[str]) -> None:
        self._types = list(types)
        self._refresh()

    def _setNone(self, text: str) -> None:
        self._none = text
        self._refresh()

    nodeTypes = Property("QStringList", lambda self: self._types, _setTypes)
    noneDisplay = Property(str, lambda self: self._none, _setNone)
    noneEnabled, addEnabled, removeEnabled = _flag("noneEnabled"), _flag("addEnabled"), _flag("removeEnabled")
    editEnabled, renameEnabled = _flag("editEnabled"), _flag("renameEnabled")
    showHidden, showChildNodeTypes = _flag("showHidden"), _flag("showChildNodeTypes")


class qMRMLTableView(QtWidgets.QTableView):
    """Shows a table node."""

    stand_in = True

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._tag = 0
        self.setModel(QtGui.QStandardItemModel(self))

    def setMRMLScene(self, scene: Any) -> None:
        """The real view keeps the scene to reach a table view node; there is none here."""

    def setMRMLTableNode(self, node: Any) -> None:
        if self._node is not None:
            self._node.RemoveObserver(self._tag)
        self._node = node
        if node is not None:
            self._tag = node.AddObserver("ModifiedEvent", self._fill)
        self._fill()

    def mrmlTableNode(self) -> Any:
        return self._node

    def _fill(self, *_: Any) -> None:
        model: Any = self.model()
        model.clear()
        if self._node is None:
            return
        columns = range(self._node.GetNumberOfColumns())
        names = [self._node.GetColumnName(c) for c in columns]
        if self._node.GetUseColumnTitleAsColumnHeader():
            names = [self._node.GetColumnTitle(name) for name in names]
        model.setHorizontalHeaderLabels(names)
        for row in range(self._node.GetNumberOfRows()):
            model.appendRow([QtGui.QStandardItem(self._node.GetCellText(row, c)) for c in columns])


CTK = {"ctkCollapsibleButton": ctkCollapsibleButton, "ctkSliderWidget": ctkSliderWidget}
SLICER = {"qMRMLWidget": qMRMLWidget, "qMRMLNodeComboBox": qMRMLNodeComboBox, "qMRMLTableView": qMRMLTableView}


def install(ctk: Any) -> None:
    """Put the stand-ins where code looks for them: module `ctk` and package `slicer`."""
    for name, cls in CTK.items():
        setattr(ctk, name, cls)
    for name, cls in SLICER.items():
        setattr(slicer, name, cls)
