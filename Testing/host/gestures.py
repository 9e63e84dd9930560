"""What a user's hand does, for tests: clicks at places that only the stand-in widgets know."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtTest, QtWidgets

_LEFT = QtCore.Qt.MouseButton.LeftButton
_NO_KEY = QtCore.Qt.KeyboardModifier.NoModifier


def click_plot_point(view: Any, series_node: Any, row: int) -> None:
    """Click a point of a plot view: the row of the table of one plotted series."""
    picture = view._picture()
    (series,) = (s for s in picture.series if s.node is series_node)
    place = picture.pixel(*series.points[row]).toPoint()
    QtTest.QTest.mouseClick(view, _LEFT, _NO_KEY, place)


def click_header(view: QtWidgets.QTableView, column: int) -> None:
    """Click the head of a table's column."""
    header = view.horizontalHeader()
    place = QtCore.QPoint(header.sectionViewportPosition(column) + 8, 5)
    QtTest.QTest.mouseClick(header.viewport(), _LEFT, _NO_KEY, place)


def click_row(view: QtWidgets.QTableView, row: int, column: int = 0) -> None:
    """Click a cell of a table view; rows are counted as they are shown."""
    place = view.visualRect(view.model().index(row, column)).center()
    QtTest.QTest.mouseClick(view.viewport(), _LEFT, _NO_KEY, place)
