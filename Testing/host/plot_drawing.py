"""A plot chart node drawn with QPainter: what is plotted, where it lies in pixels, and the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import vtk
from PySide6 import QtCore, QtGui

_PENS = {
    "none": QtCore.Qt.PenStyle.NoPen,
    "solid": QtCore.Qt.PenStyle.SolidLine,
    "dash": QtCore.Qt.PenStyle.DashLine,
    "dot": QtCore.Qt.PenStyle.DotLine,
    "dash-dot": QtCore.Qt.PenStyle.DashDotLine,
    "dash-dot-dot": QtCore.Qt.PenStyle.DashDotDotLine,
}
BACKGROUND = QtGui.QColor(255, 253, 246)
SELECTED = QtGui.QColor(255, 50, 0)


@dataclass
class Series:
    """One plotted series: its node and the points of its table, in data units."""

    node: Any
    points: list[tuple[float, float]]
    plot: Any = field(default_factory=vtk.vtkPlotLine)
    """The vtkPlot of the real chart; holds what is selected."""

    def selected(self) -> list[int]:
        rows = self.plot.GetSelection()
        return [] if rows is None else [rows.GetValue(n) for n in range(rows.GetNumberOfValues())]


def series_of(scene: Any, chart: Any) -> list[Series]:
    """What the chart plots: series whose table and columns are there and numeric; the others are left out."""
    import slicer

    found = []
    for index in range(chart.GetNumberOfNodeReferences(chart.GetPlotSeriesNodeReferenceRole())):
        node = scene.GetNodeByID(chart.GetNthPlotSeriesNodeID(index))
        table = node.GetTableNode().GetTable() if node and node.GetTableNode() else None
        if table is None:
            continue
        x, y = table.GetColumnByName(node.GetXColumnName() or ""), table.GetColumnByName(node.GetYColumnName() or "")
        needs_x = node.GetPlotType() in (
            slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter,
            slicer.vtkMRMLPlotSeriesNode.PlotTypeScatterBar,
        )
        if not _numeric(y) or (needs_x and not _numeric(x)):
            continue
        rows = range(table.GetNumberOfRows())
        points = [(x.GetComponent(r, 0) if needs_x else float(r), y.GetComponent(r, 0)) for r in rows]
        found.append(Series(node, points))
    return found


def _numeric(column: Any) -> bool:
    return column is not None and column.IsA("vtkDataArray") and not column.IsA("vtkBitArray")


def bounds(chart: Any, series: list[Series]) -> tuple[tuple[float, float], tuple[float, float]]:
    """The ranges of both axes: those of the chart where they are fixed, those of the data otherwise."""
    points = [p for s in series for p in s.points if all(map(math.isfinite, p))]
    found = []
    for axis, automatic, fixed in (
        (0, chart.GetXAxisRangeAuto(), chart.GetXAxisRange()),
        (1, chart.GetYAxisRangeAuto(), chart.GetYAxisRange()),
    ):
        values = [p[axis] for p in points]
        low, high = (min(values), max(values)) if automatic and values else (fixed if not automatic else (0.0, 1.0))
        found.append((low, high if high > low else low + 1.0))
    return found[0], found[1]


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers within a range."""
    raw = (high - low) / 5
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(s * size for s in (1, 2, 5, 10) if s * size >= raw)
    first = math.ceil(low / step - 1e-9)
    return [n * step for n in range(first, math.floor(high / step + 1e-9) + 1)]


class Picture:
    """A chart laid out in a rectangle."""

    def __init__(self, chart: Any, series: list[Series], rectangle: QtCore.QRect) -> None:
        self.chart, self.series = chart, series
        self.x_range, self.y_range = bounds(chart, series)
        self.area = QtCore.QRectF(rectangle).adjusted(52, 26 if self._title() else 8, -12, -40)

    def _title(self) -> str:
        return (self.chart.GetTitle() or "") if self.chart.GetTitleVisibility() else ""

    def pixel(self, x: float, y: float) -> QtCore.QPointF:
        (x0, x1), (y0, y1), area = self.x_range, self.y_range, self.area
        return QtCore.QPointF(
            area.left() + (x - x0) / (x1 - x0) * area.width(), area.bottom() - (y - y0) / (y1 - y0) * area.height()
        )

    def point_at(self, position: QtCore.QPointF, tolerance: float = 5.0) -> tuple[Series, int] | None:
        """The series and row that lies within some pixels of a position; the last plotted series first."""
        if not self.area.contains(position):
            return None
        for series in reversed(self.series):
            for row, point in enumerate(series.points):
                apart = self.pixel(*point) - position
                if abs(apart.x()) <= tolerance and abs(apart.y()) <= tolerance:
                    return series, row
        return None

    def draw(self, painter: QtGui.QPainter) -> None:
        painter.setRenderHint(QtGui.QPainter.RenderHint.Antialiasing)
        self._draw_axes(painter)
        painter.save()
        painter.setClipRect(self.area.adjusted(-4, -4, 4, 4))
        for series in self.series:
            self._draw_series(painter, series)
        painter.restore()
        if self.chart.GetLegendVisibility():
            self._draw_legend(painter)

    def _draw_axes(self, painter: QtGui.QPainter) -> None:
        area, centre = self.area, QtCore.Qt.AlignmentFlag.AlignCenter
        grid, ink = QtGui.QPen(QtGui.QColor(225, 222, 214)), QtGui.QPen(QtCore.Qt.GlobalColor.black)
        for value in ticks(*self.x_range):
            at = self.pixel(value, self.y_range[0])
            painter.setPen(grid)
            if self.chart.GetGridVisibility():
                painter.drawLine(at, QtCore.QPointF(at.x(), area.top()))
            painter.setPen(ink)
            painter.drawText(QtCore.QRectF(at.x() - 30, at.y() + 2, 60, 14), centre, f"{value:g}")
        for value in ticks(*self.y_range):
            at = self.pixel(self.x_range[0], value)
            painter.setPen(grid)
            if self.chart.GetGridVisibility():
                painter.drawLine(at, QtCore.QPointF(area.right(), at.y()))
            painter.setPen(ink)
            right = QtCore.Qt.AlignmentFlag.AlignRight | QtCore.Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QtCore.QRectF(at.x() - 42, at.y() - 7, 38, 14), right, f"{value:g}")
        painter.setPen(ink)
        painter.drawRect(area)
        if self._title():
            painter.drawText(QtCore.QRectF(area.left(), area.top() - 24, area.width(), 22), centre, self._title())
        if self.chart.GetXAxisTitleVisibility():
            below = QtCore.QRectF(area.left(), area.bottom() + 18, area.width(), 18)
            painter.drawText(below, centre, self.chart.GetXAxisTitle() or "")
        if self.chart.GetYAxisTitleVisibility():
            painter.save()
            painter.translate(area.left() - 42, area.center().y())
            painter.rotate(-90)
            painter.drawText(QtCore.QRectF(-90, -9, 180, 18), centre, self.chart.GetYAxisTitle() or "")
            painter.restore()

    def _draw_series(self, painter: QtGui.QPainter, series: Series) -> None:
        node = series.node
        color = QtGui.QColor.fromRgbF(*node.GetColor(), node.GetOpacity())
        painter.setPen(QtGui.QPen(color, node.GetLineWidth(), _PENS[node.GetLineStyleAsString(node.GetLineStyle())]))
        places = [self.pixel(*p) for p in series.points if all(map(math.isfinite, p))]
        painter.drawPolyline(QtGui.QPolygonF(places))
        selected = series.selected()
        radius = node.GetMarkerSize() / 2 if node.GetMarkerStyle() else 0
        for row, place in enumerate(self.pixel(*p) for p in series.points):
            chosen = row in selected
            if radius or chosen:
                painter.setPen(QtGui.QPen(SELECTED if chosen else color))
                painter.setBrush(SELECTED if chosen else color)
                painter.drawEllipse(place, radius + 2 * chosen, radius + 2 * chosen)

    def _draw_legend(self, painter: QtGui.QPainter) -> None:
        names = [series.node.GetName() or "" for series in self.series]
        if not names:
            return
        metrics = painter.fontMetrics()
        width, line = max(map(metrics.horizontalAdvance, names)) + 24, metrics.height()
        box = QtCore.QRectF(self.area.right() - width - 4, self.area.top() + 4, width, line * len(names) + 4)
        painter.setPen(QtCore.Qt.GlobalColor.black)
        painter.setBrush(QtGui.QColor(255, 255, 255, 200))
        painter.drawRect(box)
        for n, series in enumerate(self.series):
            top = box.top() + 2 + n * line
            painter.fillRect(
                QtCore.QRectF(box.left() + 4, top + line / 2 - 2, 12, 4),
                QtGui.QColor.fromRgbF(*series.node.GetColor()),
            )
            painter.setPen(QtCore.Qt.GlobalColor.black)
            painter.drawText(QtCore.QPointF(box.left() + 20, top + metrics.ascent()), names[n])
