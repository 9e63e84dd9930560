"""Stand-ins for the ctk widgets that panels use."""

from __future__ import annotations

from typing import Any

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

UNLIMITED = 16777215


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A titled section that folds; unfolded is checked."""

    stand_in = True
    contentsCollapsed = Signal(bool)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(None if isinstance(parent, str) else parent)
        self._collapsed = False
        self.setCheckable(True)
        self.setChecked(True)
        self.toggled.connect(lambda checked: self._collapse(not checked))
        if isinstance(parent, str):
            self.setText(parent)
        self._arrange()

    def _head_height(self) -> int:
        return int(self.fontMetrics().height()) + 10

    def _arrange(self) -> None:
        height = self._head_height()
        self.setContentsMargins(0, height, 0, 2)
        for child in self.children():
            if isinstance(child, QtWidgets.QWidget):
                child.setVisible(not self._collapsed)
        self.setMaximumHeight(height if self._collapsed else UNLIMITED)

    def showEvent(self, event: QtGui.QShowEvent) -> None:
        if self._collapsed:
            self._arrange()
        super().showEvent(event)

    def sizeHint(self) -> QtCore.QSize:
        inner = QtWidgets.QWidget.layout(self)
        hint = QtCore.QSize(0, 0) if inner is None or self._collapsed else inner.totalSizeHint()
        return hint.expandedTo(QtCore.QSize(100, self._head_height()))

    minimumSizeHint = sizeHint

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() <= self._head_height()

    def paintEvent(self, event: QtGui.QPaintEvent) -> None:
        painter, height = QtGui.QPainter(self), self._head_height()
        painter.fillRect(0, 0, QtWidgets.QWidget.width.__get__(self), height - 3, QtGui.QColor(228, 228, 232))
        mark = "\u25b6" if self._collapsed else "\u25bc"
        painter.setPen(QtGui.QColor("black" if QtWidgets.QWidget.isEnabled(self) else "gray"))
        painter.drawText(6, height - 9, f"{mark}  {QtCore.QObject.property(self, 'text')}")
        painter.end()

    def _collapse(self, collapsed: bool) -> None:
        if collapsed != self._collapsed:
            self._collapsed = collapsed
            self._arrange()
            self.contentsCollapsed.emit(collapsed)

    def _set_collapsed(self, collapsed: bool) -> None:
        self.setChecked(not collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, _set_collapsed)


class ctkDoubleSlider(QtWidgets.QWidget):
    """A slider for numbers with a fraction."""

    stand_in = True
    valueChanged = Signal(float)
    sliderMoved = Signal(float)
    sliderPressed = Signal()
    sliderReleased = Signal()
    rangeChanged = Signal(float, float)

    def __init__(self, parent: Any = None) -> None:
        super().__init__(None if isinstance(parent, QtCore.Qt.Orientation) else parent)
        self._low, self._high, self._value, self._step = 0.0, 99.0, 0.0, 1.0
        vertical = isinstance(parent, QtCore.Qt.Orientation) and parent == QtCore.Qt.Orientation.Vertical
        ways = QtCore.Qt.Orientation
        self._slider = QtWidgets.QSlider(ways.Vertical if vertical else ways.Horizontal)
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        self._slider.sliderPressed.connect(self.sliderPressed)
        self._slider.sliderReleased.connect(self.sliderReleased)
        self._slider.sliderMoved.connect(self._moved)
        self._slider.valueChanged.connect(self._stepped)
        self._scale()

    def _scale(self) -> None:
        was_blocked = self._slider.blockSignals(True)
        self._slider.setRange(0, round((self._high - self._low) / self._step))
        self._slider.setValue(round((self._value - self._low) / self._step))
        self._slider.blockSignals(was_blocked)

    def _moved(self, position: int) -> None:
        self.sliderMoved.emit(self._low + position * self._step)

    def _stepped(self, position: int) -> None:
        self._take(self._low + position * self._step)

    def _take(self, value: float) -> None:
        value = min(max(value, self._low), self._high)
        if value != self._value:
            self._value = value
            self._scale()
            self.valueChanged.emit(value)

    def setValue(self, value: float) -> None:
        self._take(float(value))

    def _set_range(self, low: float, high: float) -> None:
        self._low, self._high = float(low), float(max(low, high))
        self._take(self._value)
        self._scale()
        self.rangeChanged.emit(self._low, self._high)

    def _setStep(self, step: float) -> None:
        self._step = step
        self._scale()

    value = Property(float, lambda self: self._value, setValue)
    minimum = Property(float, lambda self: self._low, lambda self, v: self._set_range(v, max(v, self._high)))
    maximum = Property(float, lambda self: self._high, lambda self, v: self._set_range(min(v, self._low), v))
    singleStep = Property(float, lambda self: self._step, _setStep)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a spin box. While tracking is off a drag tells its value on release, as valueChanged."""

    stand_in = True
    valueChanged = Signal(float)
    valueIsChanging = Signal(float)
    decimalsChanged = Signal(int)

    _STEPS = 1000

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._tracking, self._dragging, self._page = True, False, 10.0
        self._slider = QtWidgets.QSlider(QtCore.Qt.Orientation.Horizontal)
        self._slider.setRange(0, self._STEPS)
        self._spin = QtWidgets.QDoubleSpinBox()
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._slider)
        row.addWidget(self._spin)
        self._slider.sliderPressed.connect(self._press)
        self._slider.sliderReleased.connect(self._release)
        self._slider.sliderMoved.connect(self._dragged)
        self._spin.valueChanged.connect(self._changed)

    def _press(self) -> None:
        self._dragging, self._before = True, self.value

    def _release(self) -> None:
        self._dragging = False
        if not self._tracking and self.value != self._before:
            self.valueChanged.emit(self.value)

    def _dragged(self, position: int) -> None:
        low, high = self._spin.minimum, self._spin.maximum
        self._spin.setValue(low + (high - low) * position / self._STEPS)

    def _changed(self, value: float) -> None:
        low, high = self._spin.minimum, self._spin.maximum
        self._slider.setValue(round(self._STEPS * (value - low) / (high - low)) if high > low else 0)
        if self._dragging:
            self.valueIsChanging.emit(value)
        if self._tracking or not self._dragging:
            self.valueChanged.emit(value)

    def setValue(self, value: float) -> None:
        self._spin.setValue(value)

    def setDecimals(self, decimals: int) -> None:
        self._spin.setDecimals(decimals)
        self.decimalsChanged.emit(decimals)

    def setSpinBoxVisible(self, visible: bool) -> None:
        self._spin.setVisible(visible)

    def _setTracking(self, tracking: bool) -> None:
        self._tracking = tracking

    def _setPage(self, step: float) -> None:
        self._page = step

    value = Property(float, lambda self: self._spin.value, setValue)
    minimum = Property(float, lambda self: self._spin.minimum, lambda self, v: self._spin.setMinimum(v))
    maximum = Property(float, lambda self: self._spin.maximum, lambda self, v: self._spin.setMaximum(v))
    singleStep = Property(float, lambda self: self._spin.singleStep, lambda self, v: self._spin.setSingleStep(v))
    pageStep = Property(float, lambda self: self._page, _setPage)
    decimals = Property(int, lambda self: self._spin.decimals, setDecimals)
    prefix = Property(str, lambda self: self._spin.prefix, lambda self, v: self._spin.setPrefix(v))
    suffix = Property(str, lambda self: self._spin.suffix, lambda self, v: self._spin.setSuffix(v))
    tracking = Property(bool, lambda self: self._tracking, _setTracking)
    spinBoxVisible = Property(bool, lambda self: not QtWidgets.QWidget.isHidden(self._spin), setSpinBoxVisible)


class ctkComboBox(QtWidgets.QComboBox):
    """A combo box with a text for "nothing chosen"."""

    stand_in = True

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._forced = False

    def _force(self, forced: bool) -> None:
        self._forced = forced

    def setCurrentUserDataAsString(self, text: str) -> None:
        self.setCurrentIndex(self.findData(text))

    defaultText = Property(
        str, lambda self: self.placeholderText, lambda self, text: QtWidgets.QComboBox.setPlaceholderText(self, text)
    )
    forceDefault = Property(bool, lambda self: self._forced, _force)
    currentUserDataAsString = Property(str, lambda self: str(self.currentData or ""), setCurrentUserDataAsString)


class ctkPathLineEdit(QtWidgets.QWidget):
    """A path in a line with a button that browses."""

    stand_in = True
    validInputChanged = Signal(bool)
    currentPathChanged = Signal(str)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._edit, self._button = QtWidgets.QLineEdit(), QtWidgets.QToolButton()
        self._names: list[str] = []
        self._button.setText("...")
        row = QtWidgets.QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._edit)
        row.addWidget(self._button)
        self._edit.textChanged.connect(self.currentPathChanged)
        self._button.clicked.connect(self.browse)

    def setCurrentPath(self, path: str) -> None:
        self._edit.setText(path)

    def browse(self) -> None:
        import qt

        path = qt.QFileDialog.getOpenFileName(self, "", self._edit.text, ";;".join(self._names))
        if path:
            self.setCurrentPath(path)

    def _setNames(self, names: list[str]) -> None:
        self._names = list(names)

    currentPath = Property(str, lambda self: self._edit.text, setCurrentPath)
    nameFilters = Property("QStringList", lambda self: self._names, _setNames)
    showBrowseButton = Property(
        bool,
        lambda self: not QtWidgets.QWidget.isHidden(self._button),
        lambda self, visible: self._button.setVisible(visible),
    )


class ctkMessageBox(QtWidgets.QMessageBox):
    """A message box that can be told not to come again."""

    stand_in = True

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._key, self._never = "", False

    def setDontShowAgain(self, never: bool) -> None:
        self._never = never

    def _setKey(self, key: str) -> None:
        self._key = key

    dontShowAgain = Property(bool, lambda self: self._never, setDontShowAgain)
    dontShowAgainSettingsKey = Property(str, lambda self: self._key, _setKey)
