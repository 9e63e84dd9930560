"""A classification as a table, a plot of probabilities over the slices, and its full record as text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import slicer
import vtk

from ..engine.appearance import LABEL_COLORS
from ..translation import _, language

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..engine.result import Classification

SLICE = "Slice"
INSTANCE = "Instance"
POSITION = "Position"
LABEL = "Label"
PROBABILITY = "Probability"


def probabilityColumn(label: str) -> str:
    """Name of the column that holds the probability of one label."""
    return f"P({label})"


def columnTitle(name: str) -> str:
    """What a reader calls a column that every result has, in the language of now; '' for the others."""
    titles = {SLICE: _("Slice"), INSTANCE: _("Instance"), LABEL: _("Label"), PROBABILITY: _("Probability")}
    return titles.get(name, "")


class _Column(NamedTuple):
    name: str
    title: str
    values: Sequence[Any]
    array: Any  # an empty VTK array of the column's type
    description: str = ""
    unit: str = ""


def fillTable(table: Any, classification: Classification) -> None:
    """Make a vtkMRMLTableNode hold a row a slice in typed columns, and nothing else; locked.

    Slice (K; the row where slices were resampled), Instance (where known), Position (mm along the slice normal,
    counted towards R, A or S, whichever is nearest), Label, Probability, and P(label) for each label. The classes
    are left out where a finding refuses them.
    """
    columns = _placeColumns(classification)
    if not classification.refused:
        columns += _classColumns(classification)
    content = vtk.vtkTable()
    for column in columns:
        column.array.SetName(column.name)
        for value in column.values:
            column.array.InsertNextValue(value)
        content.AddColumn(column.array)
    table.SetAndObserveSchema(None)
    table.SetAndObserveTable(content)
    for column in columns:
        table.SetColumnTitle(column.name, column.title)
        table.SetColumnDescription(column.name, column.description)
        table.SetColumnUnitLabel(column.name, column.unit)
    table.SetUseColumnTitleAsColumnHeader(True)
    table.SetDescription(classification.in_words(language()))
    table.SetLocked(True)


def _placeColumns(classification: Classification) -> list[_Column]:
    import numpy as np

    slices = classification.slices
    axis, letter = _patientAxis(classification)
    towards = np.sign(slices.normal_lps[:, axis]) * (1 if letter == "S" else -1)
    positions = np.round(slices.positions_mm * towards, 2)
    columns = [
        _Column(
            SLICE,
            columnTitle(SLICE),
            slices.native_k or range(len(slices)),
            vtk.vtkIntArray(),
            _("Index K of the acquired slice") if slices.native_k else _("Index among the resampled slices"),
        )
    ]
    if slices.instance_numbers:
        columns.append(
            _Column(
                INSTANCE, columnTitle(INSTANCE), slices.instance_numbers, vtk.vtkIntArray(), _("DICOM instance number")
            )
        )
    description = _("Position along the slice normal, counted towards {axis}").format(axis=letter)
    columns.append(_Column(POSITION, letter, positions.tolist(), vtk.vtkDoubleArray(), description, "mm"))
    return columns


def _patientAxis(classification: Classification) -> tuple[int, str]:
    """(axis of LPS, its letter in RAS) nearest to the slice normals."""
    import numpy as np

    axis = int(np.abs(classification.slices.normal_lps).mean(axis=0).argmax())
    return axis, "RAS"[axis]


def _classColumns(classification: Classification) -> list[_Column]:
    slices = classification.slices
    labels = [label.name for label in classification.labels]
    trust = _("calibrated") if classification.calibrated else _("uncalibrated")
    columns = [
        _Column(LABEL, columnTitle(LABEL), [labels[best] for best in slices.best], vtk.vtkStringArray()),
        _Column(
            PROBABILITY, columnTitle(PROBABILITY), _shown(slices.probabilities.max(axis=1)), vtk.vtkDoubleArray(), trust
        ),
    ]
    for n, label in enumerate(labels):
        values = _shown(slices.probabilities[:, n])
        columns.append(_Column(probabilityColumn(label), label, values, vtk.vtkDoubleArray(), trust))
    return columns


def _shown(probabilities: NDArray[Any]) -> list[float]:
    """To four decimals, for a table to be read; the record beside it has them all."""
    return [round(float(p), 4) for p in probabilities]


def addSeries(scene: Any, n: int) -> Any:
    """A plot series node that looks as the nth label does."""
    kinds = slicer.vtkMRMLPlotSeriesNode
    node = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode")
    node.SetPlotType(kinds.PlotTypeScatter)
    node.SetColor(*LABEL_COLORS[n % len(LABEL_COLORS)])
    node.SetLineStyle(_lineStyle(n // len(LABEL_COLORS)))
    node.SetLineWidth(2)
    node.SetMarkerStyle(kinds.MarkerStyleCircle)
    node.SetMarkerSize(5)
    return node


def fillSeries(series: Sequence[Any], classification: Classification, table: Any) -> None:
    """Make a plot series of each label draw its probability over the slices of the table."""
    for node, label in zip(series, classification.labels, strict=True):
        column = probabilityColumn(label.name)
        if node.GetYColumnName() != column:  # what the reader named stays
            node.SetName(label.name)
        node.SetAndObserveTableNodeID(table.GetID())
        node.SetXColumnName(SLICE)
        node.SetYColumnName(column)


def addChart(scene: Any, name: str) -> Any:
    """A plot chart node with letters for a small place: the panel of a module."""
    chart = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", name)
    for setSize in (chart.SetTitleFontSize, chart.SetAxisTitleFontSize, chart.SetAxisLabelFontSize):
        setSize(12)
    chart.SetLegendFontSize(10)
    return chart


def fillChart(chart: Any, classification: Classification, series: Sequence[Any]) -> None:
    """Make a chart show these series, beside others that it has, and say the answer."""
    shown = [chart.GetNthPlotSeriesNodeID(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]
    for node in series:
        if node.GetID() not in shown:
            chart.AddAndObservePlotSeriesNodeID(node.GetID())
    trust = "" if classification.calibrated else " " + _("(uncalibrated)")
    chart.SetTitle(classification.in_words(language()))
    chart.SetXAxisTitle(_("Slice"))
    chart.SetYAxisTitle(_("Probability") + trust)
    chart.SetYAxisRangeAuto(False)
    chart.SetYAxisRange(0, 1)


def _lineStyle(turn: int) -> int:
    """Colours come round again with another line."""
    kinds = slicer.vtkMRMLPlotSeriesNode
    return int((kinds.LineStyleSolid, kinds.LineStyleDash, kinds.LineStyleDot)[turn % 3])


def recordText(classification: Classification) -> str:
    """results.json of a classification."""
    return json.dumps(classification.to_json(), ensure_ascii=False, allow_nan=False)


def fillRecord(record: Any, text: str) -> None:
    """Make a vtkMRMLTextNode hold results.json, stored as a file of its own."""
    record.SetText(text)
    record.SetForceCreateStorageNode(slicer.vtkMRMLTextNode.CreateStorageNodeAlways)
