"""Stand-ins for the table view, its model and the sort proxy between them."""

from __future__ import annotations

from typing import Any

import vtk
from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from .mrml_widget import SCENE_CHANGED
from .observing import Observations


def _cell_text(table: Any, row: int, column: int) -> str:
    """As the real model makes it: a vtkVariant in words."""
    return str(table.GetValue(row, column).ToString())


class qMRMLTableModel(QtGui.QStandardItemModel):
    """A table node as rows of text items. Without column titles as header the names are the first row, as in Slicer."""

    stand_in = True

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._node: Any = None
        self._observed = Observations(self)
        self.itemChanged.connect(self._edited)
        self._filling = False

    def _set_node(self, node: Any) -> None:
        self._node = node
        self._observed.watch("table", [node], ("ModifiedEvent",), self._update)
        self._update()

    def _offset(self) -> int:
        return 0 if self._node.GetUseColumnTitleAsColumnHeader() else 1

    def _table_row(self, index: QtCore.QModelIndex) -> int:
        """The table's row of an index of this model (not of the proxy)."""
        return index.row() - self._offset()

    def _table_column(self, index: QtCore.QModelIndex) -> int:
        return index.column() + (1 if self._node.GetUseFirstColumnAsRowHeader() else 0)

    def _update(self) -> None:
        table = self._node.GetTable() if self._node else None
        self._filling = True
        try:
            if table is None or not table.GetNumberOfColumns():
                self.setRowCount(0)
                self.setColumnCount(0)
            else:
                self._fill(table)
        finally:
            self._filling = False

    def _fill(self, table: Any) -> None:
        first = 1 if self._node.GetUseFirstColumnAsRowHeader() else 0
        offset, rows = self._offset(), table.GetNumberOfRows()
        self.setRowCount(rows + offset)
        self.setColumnCount(table.GetNumberOfColumns() - first)
        for column in range(first, table.GetNumberOfColumns()):
            self.setHeaderData(column - first, QtCore.Qt.Orientation.Horizontal, self._header(column, column - first))
            for row in range(-offset, rows):
                item = self.item(row + offset, column - first)
                if item is None:
                    item = QtGui.QStandardItem()
                    self.setItem(row + offset, column - first, item)
                item.setText(_cell_text(table, row, column) if row >= 0 else table.GetColumnName(column))
                item.setEditable(not self._node.GetLocked())
                item.setToolTip(self._tooltip(column))
        for row in range(-offset, rows):
            label = _cell_text(table, row, 0) if first and row >= 0 else str(row + offset + 1)
            self.setHeaderData(row + offset, QtCore.Qt.Orientation.Vertical, label)

    def _header(self, column: int, shown: int) -> str:
        name = self._node.GetColumnName(column)
        if not self._node.GetUseColumnTitleAsColumnHeader():
            letters = ""
            while shown >= 0:
                letters, shown = chr(ord("A") + shown % 26) + letters, shown // 26 - 1
            return letters
        unit = self._node.GetColumnUnitLabel(name)
        return (self._node.GetColumnTitle(name) or name) + (f" [{unit}]" if unit else "")

    def _tooltip(self, column: int) -> str:
        name = self._node.GetColumnName(column)
        return "<p>".join([f"<b>{name}</b>", self._node.GetColumnDescription(name) or ""])

    def _edited(self, item: QtGui.QStandardItem) -> None:
        if self._filling or self._node is None:
            return
        row, column = self._table_row(item.index()), self._table_column(item.index())
        if row >= 0:
            self._node.GetTable().SetValue(row, column, vtk.vtkVariant(item.text()))
            self._node.GetTable().Modified()
        else:
            self._node.RenameColumn(column, item.text())


class qMRMLTableView(QtWidgets.QTableView):
    """Shows a table node through a sort proxy: a row of the view is not a row of the table.

    As in Slicer, sorting by a click on a column's head is off until setSortingEnabled, and it compares texts.
    """

    stand_in = True
    mrmlSceneChanged = Signal(object)
    _changed = Signal()
    cpp_signals = SCENE_CHANGED | {"selectionChanged()": "_changed"}

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._view_node: Any = None
        self._observed = Observations(self)
        proxy = QtCore.QSortFilterProxyModel(self)
        proxy.setSourceModel(qMRMLTableModel(self))
        self.setModel(proxy)
        self.horizontalHeader().setStretchLastSection(False)
        expanding = QtWidgets.QSizePolicy.Policy.Expanding
        self.setSizePolicy(expanding, expanding)

    def tableModel(self) -> Any:
        return self.sortFilterProxyModel().sourceModel

    def sortFilterProxyModel(self) -> Any:
        return self.model()

    def mrmlScene(self) -> Any:
        return self._scene

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            if self._view_node is not None and self._view_node.GetScene() is not scene:
                self.setMRMLTableViewNode(None)
            self.mrmlSceneChanged.emit(scene)

    def mrmlTableViewNode(self) -> Any:
        return self._view_node

    def setMRMLTableViewNode(self, node: Any) -> None:
        if node is not self._view_node:
            self._view_node = node
            self._observed.watch("view node", [node], ("ModifiedEvent",), self._from_view_node)
            self._from_view_node()

    def _from_view_node(self) -> None:
        if self._view_node is not None:
            self.setMRMLTableNode(self._view_node.GetTableNode() if self._scene else None)

    def mrmlTableNode(self) -> Any:
        return self.tableModel()._node

    def setMRMLTableNode(self, node: Any) -> None:
        if node is not None and not node.IsA("vtkMRMLTableNode"):
            node = None
        self.tableModel()._set_node(node)
        self.sortFilterProxyModel().invalidate()
        self.horizontalHeader().setMinimumSectionSize(60)
        self.resizeColumnsToContents()
        self._changed.emit()

    def selectionChanged(self, selected: QtCore.QItemSelection, deselected: QtCore.QItemSelection) -> None:
        super().selectionChanged(selected, deselected)
        self._changed.emit()

    def _lock_titles(self, locked: bool) -> None:
        node = self.mrmlTableNode()
        if node is not None and bool(node.GetUseColumnTitleAsColumnHeader()) != locked:
            node.SetUseColumnTitleAsColumnHeader(locked)
            self.resizeColumnsToContents()

    def _titles_locked(self) -> bool:
        node = self.mrmlTableNode()
        return node is not None and bool(node.GetUseColumnTitleAsColumnHeader())

    def copySelection(self) -> None:
        """Rows of the model whose place in the view is selected, as Slicer has it."""
        lines = []
        model, selection = self.tableModel(), self.selectionModel()
        for row in range(model.rowCount()):
            if selection.rowIntersectsSelection(row, QtCore.QModelIndex()):
                columns = range(model.columnCount())
                chosen = [c for c in columns if selection.columnIntersectsSelection(c, QtCore.QModelIndex())]
                lines.append("\t".join(model.item(row, c).text() for c in chosen))
        QtWidgets.QApplication.clipboard().setText("\n".join(lines))

    firstRowLocked = Property(bool, _titles_locked, _lock_titles)
