"""Stand-ins for the plot view and the widget around it."""

from __future__ import annotations

from typing import Any

import slicer
import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from . import plot_drawing
from .mrml_widget import SCENE_CHANGED, qMRMLWidget
from .observing import Observations


class qMRMLPlotView(QtWidgets.QWidget):
    """Draws the chart of its plot view node; a click on a point selects it.

    As in VTK's charts a click emits dataSelected twice, first with what was selected before, and the points selected
    in other series stay selected. A click on no point emits nothing. As in Slicer nothing changes while there is no
    scene or no plot view node: what was drawn last stays. `chart()` holds a plot for each series, with its selection.
    """

    stand_in = True
    mrmlSceneChanged = Signal(object)
    dataSelected = Signal(object, object)
    cpp_signals = SCENE_CHANGED | {"dataSelected(vtkStringArray*,vtkCollection*)": "dataSelected"}

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._vtk_chart = vtk.vtkChartXY()
        self._scene: Any = None
        self._node: Any = None
        self._chart: Any = None
        self._series: list[plot_drawing.Series] = []
        self._observed = Observations(self)
        self._pressed: QtCore.QPointF | None = None

    def chart(self) -> Any:
        return self._vtk_chart

    def setMRMLScene(self, scene: Any) -> None:
        if scene is self._scene:
            return
        self._scene = scene
        events = (scene.EndBatchProcessEvent,) if scene else ()
        self._observed.watch("scene", [scene], events, self._update)
        self._take_chart()
        if self._node is not None and self._node.GetScene() is not scene:
            self.setMRMLPlotViewNode(None)
        self.mrmlSceneChanged.emit(scene)

    def setMRMLPlotViewNode(self, node: Any) -> None:
        if node is self._node:
            return
        self._node = node
        events = ("ModifiedEvent", slicer.vtkMRMLPlotViewNode.PlotChartNodeChangedEvent)
        self._observed.watch("node", [node], events, self._take_chart)
        self._take_chart()

    def _take_chart(self) -> None:
        found = self._scene.GetNodeByID(self._node.GetPlotChartNodeID() or "") if self._scene and self._node else None
        self._observed.watch("chart", [found], ("ModifiedEvent",), self._update)
        self._update()

    def _update(self) -> None:
        if self._scene is None or self._node is None or not self.enabled:  # as in Slicer, and nothing makes up for it
            return
        self._chart = self._scene.GetNodeByID(self._node.GetPlotChartNodeID() or "")
        plots = {series.node.GetID(): series.plot for series in self._series}
        self._series = plot_drawing.series_of(self._scene, self._chart) if self._chart else []
        self._vtk_chart.ClearPlots()
        for series in self._series:
            series.plot = plots.get(series.node.GetID()) or series.plot
            series.plot.SetInputData(series.node.GetTableNode().GetTable())
            self._vtk_chart.AddPlot(series.plot)
        self.update()

    def _picture(self) -> plot_drawing.Picture | None:
        return plot_drawing.Picture(self._chart, self._series, self.rect) if self._chart else None

    def fitToContent(self) -> None:
        points = [p for s in self._series for p in s.points]
        if self._chart and points:
            self._chart.SetXAxisRange(min(x for x, _ in points), max(x for x, _ in points))
            self._chart.SetYAxisRange(min(y for _, y in points), max(y for _, y in points))
        self.update()

    def RemovePlotSelections(self) -> None:
        for series in self._series:
            series.plot.SetSelection(None)
        self._emit_selection()  # VTK's chart tells of this as of a click
        self.update()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        painter.fillRect(self.rect, plot_drawing.BACKGROUND)
        picture = self._picture()
        if picture:
            picture.draw(painter)
        painter.end()

    def mousePressEvent(self, event: QtGui.QMouseEvent) -> None:
        self._pressed = event.position() if event.button() == QtCore.Qt.MouseButton.LeftButton else None

    def mouseReleaseEvent(self, event: QtGui.QMouseEvent) -> None:
        if self._pressed == event.position():
            self._click(event.position())
        self._pressed = None

    def _click(self, position: QtCore.QPointF) -> None:
        picture = self._picture()
        hit = picture.point_at(position) if picture else None
        moves = self._node and self._node.GetInteractionMode() == self._node.InteractionModeMovePoints
        if hit is None or moves:
            return
        self._emit_selection()
        series, row = hit
        rows = vtk.vtkIdTypeArray()
        rows.InsertNextValue(row)
        series.plot.SetSelection(rows)
        self.update()
        self._emit_selection()

    def _emit_selection(self) -> None:
        names, selections = vtk.vtkStringArray(), vtk.vtkCollection()
        for series in self._series:
            rows = series.plot.GetSelection()
            if rows is not None and rows.GetNumberOfValues():
                selections.AddItem(rows)
                names.InsertNextValue(series.node.GetID())
        self.dataSelected.emit(names, selections)


class qMRMLPlotViewControllerWidget(qMRMLWidget):
    """The bar over a plot view: its label and a button that fits the axes."""

    stand_in = True

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._view: Any = None
        self._node: Any = None
        self._label = QtWidgets.QLabel("P")
        fit = QtWidgets.QToolButton()
        fit.setText("Fit")
        fit.clicked.connect(self.fitPlotToAxes)
        self._bar = QtWidgets.QWidget()
        row = QtWidgets.QHBoxLayout(self._bar)
        row.setContentsMargins(2, 0, 2, 0)
        row.addWidget(self._label)
        row.addWidget(fit)
        row.addStretch(1)
        column = QtWidgets.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._bar)

    def barWidget(self) -> QtWidgets.QWidget:
        return self._bar

    def barLayout(self) -> Any:
        return self._bar.layout()

    def setPlotView(self, view: Any) -> None:
        self._view = view

    def setMRMLPlotViewNode(self, node: Any) -> None:
        self._node = node

    def mrmlPlotViewNode(self) -> Any:
        return self._node

    def fitPlotToAxes(self) -> None:
        if self._view is not None:
            self._view.fitToContent()


class qMRMLPlotWidget(qMRMLWidget):
    """A plot view under its controller bar. The scene reaches both through setMRMLScene."""

    stand_in = True

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._controller, self._view = qMRMLPlotViewControllerWidget(), qMRMLPlotView()
        expanding = QtWidgets.QSizePolicy.Policy.Expanding
        self._view.setSizePolicy(expanding, expanding)
        column = QtWidgets.QVBoxLayout(self)
        column.setSpacing(0)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self._controller)
        column.addWidget(self._view, 1)
        self._controller.setPlotView(self._view)

    def setMRMLScene(self, scene: Any) -> None:
        super().setMRMLScene(scene)
        self._view.setMRMLScene(scene)
        self._controller.setMRMLScene(scene)

    def plotView(self) -> qMRMLPlotView:
        return self._view

    viewWidget = plotView

    def plotController(self) -> qMRMLPlotViewControllerWidget:
        return self._controller

    controllerWidget = plotController

    def setMRMLPlotViewNode(self, node: Any) -> None:
        self._view.setMRMLPlotViewNode(node)
        self._controller.setMRMLPlotViewNode(node)

    def setMRMLAbstractViewNode(self, node: Any) -> None:
        self.setMRMLPlotViewNode(slicer.vtkMRMLPlotViewNode.SafeDownCast(node))

    def mrmlPlotViewNode(self) -> Any:
        return self._view._node

    mrmlAbstractViewNode = mrmlPlotViewNode

    def _label(self) -> str:
        node = self.mrmlPlotViewNode()
        return node.GetLayoutLabel() if node else ""

    def _set_label(self, text: str) -> None:
        if self.mrmlPlotViewNode():
            self.mrmlPlotViewNode().SetLayoutLabel(text)

    viewLabel = Property(str, _label, _set_label)
