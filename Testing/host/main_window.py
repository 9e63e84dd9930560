"""The main window and its layout: slice widgets around the slice logics that tests add."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from .mrml_widget import SCENE_CHANGED, qMRMLWidget

slice_logics: dict[str, Any] = {}
"""By name of the view, as `application.add_slice_view` makes them."""


class qMRMLSliceView(QtWidgets.QWidget):
    """Shows the composited layers of a slice logic, and the texts of its corner annotation."""

    stand_in = True

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._logic: Any = None
        self._corners = vtk.vtkCornerAnnotation()
        self._scheduled = 0

    def _set_logic(self, logic: Any) -> None:
        self._logic = logic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode() if self._logic else None

    def cornerAnnotation(self) -> Any:
        return self._corners

    def scheduleRender(self) -> None:
        self._scheduled += 1
        self.update()

    def forceRender(self) -> None:
        self.repaint()

    def _text(self) -> str:
        return self._corners.GetText(vtk.vtkCornerAnnotation.UpperLeft) or ""

    def setCornerAnnotationText(self, text: str) -> None:
        self._corners.SetText(vtk.vtkCornerAnnotation.UpperLeft, text)
        self.scheduleRender()

    cornerAnnotationText = Property(str, _text, setCornerAnnotationText)

    def _image(self) -> QtGui.QImage | None:
        self._logic.UpdatePipeline()
        blend = self._logic.GetBlend()
        if not blend.GetNumberOfInputConnections(0):
            return None
        blend.Update()
        output = blend.GetOutput()
        width, height = output.GetDimensions()[:2]
        values = output.GetPointData().GetScalars()
        if values is None:
            return None
        from vtk.util.numpy_support import vtk_to_numpy

        pixels = vtk_to_numpy(values).reshape(height, width, -1)[::-1, :, :3].astype("uint8")
        return QtGui.QImage(pixels.tobytes(), width, height, 3 * width, QtGui.QImage.Format.Format_RGB888).copy()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect, QtCore.Qt.GlobalColor.black)
        image = self._image() if self._logic and self._logic.GetSliceNode() else None
        if image is not None:
            painter.drawImage(self.rect, image)
        painter.setPen(QtGui.QColor(255, 255, 160))
        flags = QtCore.Qt.AlignmentFlag
        corners = vtk.vtkCornerAnnotation
        for place, align in (
            (corners.LowerLeft, flags.AlignLeft | flags.AlignBottom),
            (corners.LowerRight, flags.AlignRight | flags.AlignBottom),
            (corners.UpperLeft, flags.AlignLeft | flags.AlignTop),
            (corners.UpperRight, flags.AlignRight | flags.AlignTop),
            (corners.UpperEdge, flags.AlignHCenter | flags.AlignTop),
            (corners.LowerEdge, flags.AlignHCenter | flags.AlignBottom),
        ):
            painter.drawText(self.rect.adjusted(4, 4, -4, -4), align, self._corners.GetText(place) or "")
        painter.end()


class qMRMLSliceWidget(qMRMLWidget):
    """A slice view of the layout."""

    stand_in = True
    cpp_signals = SCENE_CHANGED

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._logic: Any = None
        self._view = qMRMLSliceView()
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._view)

    def _set_logic(self, logic: Any) -> None:
        self._logic = logic
        self._view._set_logic(logic)
        width, height = logic.GetSliceNode().GetDimensions()[:2]
        self._view.setMinimumSize(width, height)

    def sliceView(self) -> qMRMLSliceView:
        return self._view

    viewWidget = sliceView

    def sliceLogic(self) -> Any:
        return self._logic

    logic = sliceLogic

    def mrmlSliceNode(self) -> Any:
        return self._logic.GetSliceNode()

    mrmlAbstractViewNode = mrmlSliceNode

    def mrmlSliceCompositeNode(self) -> Any:
        return self._logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        self._logic.FitSliceToBackground(*self.mrmlSliceNode().GetDimensions()[:2])

    sliceViewName = Property(str, lambda self: self.mrmlSliceNode().GetLayoutName())
    sliceOrientation = Property(
        str, lambda self: self.mrmlSliceNode().GetOrientation(), lambda self, o: self.mrmlSliceNode().SetOrientation(o)
    )


class qSlicerLayoutManager(QtCore.QObject):
    """`slicer.app.layoutManager()`: the slice views that are there."""

    stand_in = True
    layoutChanged = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._widgets: dict[str, qMRMLSliceWidget] = {}

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(n for n, logic in slice_logics.items() if logic.GetSliceNode() and logic.GetSliceNode().GetScene())

    def sliceWidget(self, name: str) -> qMRMLSliceWidget | None:
        if name not in self.sliceViewNames():
            return None
        widget = self._widgets.get(name)
        if widget is None or widget.sliceLogic() is not slice_logics[name]:
            widget = self._widgets[name] = qMRMLSliceWidget()
            widget.setMRMLScene(slicer.mrmlScene)
            widget._set_logic(slice_logics[name])
        return widget

    def mrmlSliceLogics(self) -> Any:
        return slicer.app.applicationLogic().GetSliceLogics()

    def resetSliceViews(self) -> None:
        for name in self.sliceViewNames():
            widget = self.sliceWidget(name)
            assert widget is not None
            widget.fitSliceToBackground()

    def _node(self) -> Any:
        node = slicer.mrmlScene.GetSingletonNode("vtkMRMLLayout", "vtkMRMLLayoutNode")
        if node is None:
            node = slicer.vtkMRMLLayoutNode()
            node.SetSingletonTag("vtkMRMLLayout")
            node = slicer.mrmlScene.AddNode(node)
        return node

    def setLayout(self, layout: int) -> None:
        node = self._node()
        if not node.IsLayoutDescription(layout):
            node.AddLayoutDescription(layout, "<layout/>")
        if node.GetViewArrangement() != layout:
            node.SetViewArrangement(layout)
            self.layoutChanged.emit(layout)

    layout = Property(int, lambda self: self._node().GetViewArrangement(), setLayout)
    threeDViewCount = Property(int, lambda self: 0)
    tableViewCount = Property(int, lambda self: 0)
    plotViewCount = Property(int, lambda self: 0)


class qSlicerModuleSelectorToolBar(QtWidgets.QToolBar):
    """Where the user, and `slicer.util.selectModule`, chooses a module. Tests enter panels themselves."""

    stand_in = True

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._selected = ""

    def selectModule(self, name: str) -> None:
        self._selected = name

    selectedModule = Property(str, lambda self: self._selected)


class qSlicerMainWindow(QtWidgets.QMainWindow):
    """Found by `slicer.util.mainWindow()` through its name; has a status bar."""

    stand_in = True

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("qSlicerMainWindow")
        self.statusBar()
        self._selector = qSlicerModuleSelectorToolBar()
        self.addToolBar(self._selector)

    def moduleSelector(self) -> qSlicerModuleSelectorToolBar:
        return self._selector
