"""The answer in words, the findings, the plot and the table, and the slice that the views show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import qt
import slicer

from ..scene import nodes
from ..scene.result_nodes import TABLE_KIND
from ..translation import _
from .widgets import noSignals, showLine, showLines

if TYPE_CHECKING:
    from ..presenter import View

_SORT_ROLE = 0x0100 + 40  # Qt.UserRole + 40: numbers, where the table view itself keeps texts only


class Results:
    """panel: Panel, whose `goToRow` brings a row of the result into the slice views."""

    def __init__(self, ui: Any, panel: Any) -> None:
        self._ui, self._panel = ui, panel
        self._plotView: Any = None
        self._table: Any = None
        self._filled: Any = None
        ui.resultSelector.addAttribute("vtkMRMLTableNode", nodes.ROLE, TABLE_KIND)
        ui.plotWidget.plotController().visible = False
        ui.resultTableView.verticalHeader().setDefaultSectionSize(22)
        ui.plotWidget.plotView().connect("dataSelected(vtkStringArray*,vtkCollection*)", self._onPointSelected)
        ui.resultTableView.sortByColumn(0, qt.Qt.AscendingOrder)  # or the last slice would stand first
        ui.resultTableView.connect("selectionChanged()", self._onRowSelected)
        ui.previousKeySliceButton.connect("clicked(bool)", lambda: panel.goToKeySlice(-1))
        ui.nextKeySliceButton.connect("clicked(bool)", lambda: panel.goToKeySlice(1))

    def show(self, view: View, table: Any, chart: Any) -> None:
        ui = self._ui
        ui.resultSelector.visible = view.has_results
        showLine(ui.freshnessLabel, view.freshness)
        showLine(ui.answerLabel, view.answer)
        showLines(ui.findingsLabel, view.findings)
        for button in (ui.previousKeySliceButton, ui.nextKeySliceButton):
            button.enabled = view.key_slices.enabled
        ui.keySliceRow.visible = view.key_slices.enabled
        self.showCurrent(view)
        ui.legendLabel.text = _legend(view)
        ui.legendLabel.visible = bool(view.legend)
        self._showTable(table)
        self._showChart(chart)

    def showCurrent(self, view: View) -> None:
        """What the views show of the result, and nothing else: called at every scroll."""
        showLine(self._ui.identityLabel, view.identity)
        showLine(self._ui.currentLabel, view.current)
        self._ui.currentLabel.visible = True  # it keeps the arrows in their place

    def showRow(self, row: int | None) -> None:
        """Select the row of the slice that the views show, without going there."""
        view = self._ui.resultTableView
        if self._table is None or row is None or row >= self._table.GetNumberOfRows():
            return
        place = view.sortFilterProxyModel().mapFromSource(view.tableModel().index(row, 0))
        selected = view.selectionModel().selectedRows()
        if selected and selected[0].row() == place.row():
            return
        with noSignals(view):
            view.selectRow(place.row())
            view.scrollTo(place)

    def _showTable(self, table: Any) -> None:
        tableView = self._ui.resultTableView
        tableView.visible = table is not None
        state = (table, table.GetMTime()) if table is not None else None
        if state == self._filled:
            return
        self._filled = state
        if tableView.mrmlTableNode() is not table:
            with noSignals(tableView):  # the selection in the earlier table is no wish to go anywhere
                tableView.setMRMLTableNode(table)
                tableView.clearSelection()
        self._table = table
        if table is not None:
            self._addSortKeys(table)
            tableView.resizeColumnsToContents()

    def _addSortKeys(self, table: Any) -> None:
        """The view's model has texts only, by which '12' would stand before '2': give it the numbers to sort by."""
        tableView = self._ui.resultTableView
        model, proxy = tableView.tableModel(), tableView.sortFilterProxyModel()
        with noSignals(model):  # it would take these for edits of the reader
            for column in range(table.GetNumberOfColumns()):
                values = table.GetTable().GetColumn(column)
                for row in range(table.GetNumberOfRows()):
                    model.setData(
                        model.index(row, column),
                        values.GetVariantValue(row).ToDouble() if values.IsNumeric() else values.GetValue(row),
                        _SORT_ROLE,
                    )
        proxy.setSortRole(_SORT_ROLE)
        proxy.invalidate()  # it has not heard of the numbers

    def _showChart(self, chart: Any) -> None:
        self._ui.plotWidget.visible = chart is not None
        if chart is None:
            return
        if self._plotView is None or not slicer.mrmlScene.IsNodePresent(self._plotView):
            self._plotView = _addPlotViewNode(self._panel.settings.parameterNode)
        if self._ui.plotWidget.mrmlPlotViewNode() is not self._plotView:
            self._ui.plotWidget.setMRMLPlotViewNode(self._plotView)
        if self._plotView.GetPlotChartNodeID() != chart.GetID():
            chart.SetLegendVisibility(False)  # it would cover the plot; ours stands below
            self._plotView.SetPlotChartNodeID(chart.GetID())

    def forgetNodes(self) -> None:
        """The scene is being closed: hold on to none of its nodes."""
        self._plotView = self._table = self._filled = None
        self._ui.resultTableView.setMRMLTableNode(None)
        self._ui.plotWidget.setMRMLPlotViewNode(None)

    def _onRowSelected(self) -> None:
        rows = self._ui.resultTableView.selectionModel().selectedRows()
        if rows:
            # by its place in the model, not in the view, which may be sorted
            self._panel.goToRow(self._ui.resultTableView.sortFilterProxyModel().mapToSource(rows[0]).row())

    def _onPointSelected(self, seriesIds: Any, selections: Any) -> None:
        """A plain click is told of before the point is selected, a rectangle afterwards: take what is told, and look
        again when the event is over."""
        for n in range(selections.GetNumberOfItems()):
            row = _firstId(selections.GetItemAsObject(n))
            if row is not None and self._panel.isResultSeries(seriesIds.GetValue(n)):
                self._panel.goToRow(row)
                break
        qt.QTimer.singleShot(0, self._takeSelection)

    def _takeSelection(self) -> None:
        """Go to the point that the chart has selected and select it no longer, so that the next click is a new one."""
        plotView = self._ui.plotWidget.plotView()
        chart = plotView.chart()
        plots = [chart.GetPlot(n) for n in range(chart.GetNumberOfPlots())]
        table = self._table.GetTable() if self._table is not None else None
        rows = [_firstId(plot.GetSelection()) for plot in plots if plot.GetInput() is table]  # not of the marker
        row = next((row for row in rows if row is not None), None)
        if row is not None:
            self._panel.goToRow(row)
        with noSignals(plotView):  # it tells of this too, and would lead back here for ever
            plotView.RemovePlotSelections()


def _legend(view: View) -> str:
    """A dot in the color of each class, and its name, which comes from a bundle and is no markup."""
    from html import escape

    from ..engine.appearance import LABEL_COLORS

    parts = []
    for n, name in view.legend:
        color = "".join(f"{round(255 * part):02x}" for part in LABEL_COLORS[n % len(LABEL_COLORS)])
        parts.append(f'<font color="#{color}">\u25cf</font>&nbsp;{escape(name)}')
    return " &nbsp; ".join(parts)


def _firstId(selection: Any) -> int | None:
    return int(selection.GetValue(0)) if selection is not None and selection.GetNumberOfValues() else None


def _addPlotViewNode(owner: Any) -> Any:
    """A plot view of the panel's own, not saved with the scene, in which a click selects a point.

    It has an owner, or the application's layout would make a widget for it, and takes no charts that are meant for the
    views of the layout.
    """
    node = slicer.vtkMRMLPlotViewNode()
    node.SetName("MedImgClassifier plot")
    node.SetSingletonTag("MedImgClassifier")
    node.SetLayoutName("MedImgClassifier")
    node.SetLayoutLabel(_("Probability"))
    node.SetHideFromEditors(True)
    node.SetSaveWithScene(False)
    node.SetDoPropagatePlotChartSelection(False)
    node.SetAndObserveParentLayoutNodeID(owner.GetID())
    node.SetInteractionMode(slicer.vtkMRMLPlotViewNode.InteractionModeSelectPoints)
    return slicer.mrmlScene.AddNode(node)
