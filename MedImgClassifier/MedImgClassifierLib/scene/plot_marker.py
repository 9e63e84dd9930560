"""A vertical line in the plot of probabilities, at the slice that a view shows."""

from __future__ import annotations

from typing import Any

import slicer
import vtk

from ..translation import _
from . import nodes

MARKER_KIND = "marker"

_X, _Y = "Slice", "Height"


def placeMarker(chart: Any, row: int | None) -> None:
    """Move the line to a row of the chart's own table; None takes it out of sight, as does a chart without that row.

    There is one line in a scene, made when first needed and not saved with it: it shows where somebody looks, not
    what was found. It is taken out of the chart that showed it before. Whatever of chart and line the reader deleted
    does no harm.
    """
    series = findMarker(chart.GetScene())
    x = None if row is None else _positionOfRow(chart, row)
    if x is None:
        if series is not None:
            series.SetOpacity(0.0)
        return
    if series is not None and not _isWhole(series):
        removeMarker(chart.GetScene())
        series = None
    if series is None:
        series = _addMarker(chart.GetScene(), x)
    if not _shows(chart, series):
        _takeOut(series)
        chart.AddAndObservePlotSeriesNodeID(series.GetID())
    column = series.GetTableNode().GetTable().GetColumnByName(_X)
    if column.GetValue(0) != x:
        column.SetValue(0, x)
        column.SetValue(1, x)
        series.GetTableNode().GetTable().Modified()
        series.GetTableNode().Modified()
    series.SetOpacity(1.0)


def removeMarker(scene: Any) -> None:
    """Take the line out of its chart and out of the scene, with its table."""
    series = findMarker(scene)
    if series is not None:
        _takeOut(series)
        table = series.GetTableNode()
        for node in (series, table):
            if node is not None:
                scene.RemoveNode(node)


def findMarker(scene: Any) -> Any:
    """The series node of the line, or None."""
    series = nodes.nodesOfClass(scene, "vtkMRMLPlotSeriesNode")
    return next((node for node in series if node.GetAttribute(nodes.ROLE) == MARKER_KIND), None)


def _positionOfRow(chart: Any, row: int) -> float | None:
    """Where a row stands on the axis of the chart's first series of probabilities; None where it shows none."""
    for n in range(chart.GetNumberOfPlotSeriesNodes()):
        node = chart.GetNthPlotSeriesNode(n)
        if node is None or node.GetAttribute(nodes.ROLE) == MARKER_KIND:
            continue
        column = _column(node.GetTableNode(), node.GetXColumnName())
        if column is not None and 0 <= row < column.GetNumberOfTuples():
            return float(column.GetTuple1(row))
    return None


def _isWhole(series: Any) -> bool:
    """Whether the line still has what it is drawn from."""
    columns = [_column(series.GetTableNode(), name) for name in (_X, _Y)]
    return all(column is not None and column.GetNumberOfTuples() == 2 for column in columns)


def _column(tableNode: Any, name: str) -> Any:
    """A column of numbers of a table node (or None); None where there is no such."""
    column = tableNode.GetTable().GetColumnByName(name) if tableNode is not None and name else None
    return column if column is not None and column.IsA("vtkDataArray") else None


def _addMarker(scene: Any, x: float) -> Any:
    table = scene.AddNewNodeByClass("vtkMRMLTableNode", _("Shown slice"))
    for name, values in ((_X, (x, x)), (_Y, (0.0, 1.0))):
        array = vtk.vtkDoubleArray()
        array.SetName(name)
        for value in values:
            array.InsertNextValue(value)
        table.AddColumn(array)
    series = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", _("Shown slice"))
    series.SetAndObserveTableNodeID(table.GetID())
    series.SetXColumnName(_X)
    series.SetYColumnName(_Y)
    series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
    series.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
    series.SetLineStyle(slicer.vtkMRMLPlotSeriesNode.LineStyleSolid)
    series.SetLineWidth(2)
    series.SetColor(0.5, 0.5, 0.5)  # seen on a white and on a dark page, and the colour of no label
    for node in (table, series):
        node.SetAttribute(nodes.ROLE, MARKER_KIND)
        node.SetSaveWithScene(False)
        node.SetHideFromEditors(True)
    return series


def _shows(chart: Any, series: Any) -> bool:
    count = chart.GetNumberOfPlotSeriesNodes()
    return series.GetID() in (chart.GetNthPlotSeriesNodeID(n) for n in range(count))


def _takeOut(series: Any) -> None:
    for chart in nodes.nodesOfClass(series.GetScene(), "vtkMRMLPlotChartNode"):
        if _shows(chart, series):
            chart.RemovePlotSeriesNodeID(series.GetID())
