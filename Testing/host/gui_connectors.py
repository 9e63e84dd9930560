"""Which widgets a parameter can be bound to: an exact widget class for a type, as in Slicer's parameterNodeWrapper."""

from __future__ import annotations

import enum
import pathlib
from collections.abc import Callable
from typing import Any

import ctk
import qt
import slicer

from .parameter_types import Choice, Maximum, Minimum, WithinRange, node_types, split


class Connector:
    """One widget: its signal, how its value is read and written."""

    def __init__(self, widget: Any, signal: str, read: Callable[[], Any], write: Callable[[Any], None]) -> None:
        self.widget, self.read, self.write = widget, read, write
        self._signal, self._slot = signal, None

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        if self._slot is not None:
            self.widget.disconnect(self._signal, self._slot)
        self._slot = callback
        if callback is not None and self._signal:
            self.widget.connect(self._signal, callback)


def _attribute(widget: Any, signal: str, name: str, convert: Callable[[Any], Any]) -> Connector:
    return Connector(widget, signal, lambda: convert(getattr(widget, name)), lambda value: setattr(widget, name, value))


def create(widget: Any, hint: Any) -> Connector:
    """The connector of a widget and a (possibly annotated) type. Raises RuntimeError where there is none."""
    kind, annotations = split(hint)
    exact = type(widget)
    if kind is bool and exact in (qt.QCheckBox, qt.QPushButton):
        return _attribute(widget, "toggled(bool)", "checked", bool)
    if kind is int and exact in (qt.QSlider, qt.QSpinBox):
        return _number(widget, kind, annotations, "valueChanged(int)")
    if kind in (int, float) and exact in (qt.QDoubleSpinBox, ctk.ctkSliderWidget, ctk.ctkDoubleSlider):
        return _number(widget, kind, annotations, "valueChanged(double)")
    if kind in (int, float, str, bool) and exact in (qt.QComboBox, ctk.ctkComboBox):
        return _choice(widget, kind, annotations)
    if isinstance(kind, type) and issubclass(kind, enum.Enum) and exact in (qt.QComboBox, ctk.ctkComboBox):
        label = getattr(kind, "label", lambda member: member.name)
        return _combo(widget, list(kind), [label(member) for member in kind])
    if kind is str and exact is qt.QLineEdit:
        return _attribute(widget, "textChanged(QString)", "text", str)
    if kind is str and exact is qt.QLabel:
        return _attribute(widget, "", "text", str)
    if kind is str and exact is qt.QTextEdit:
        return Connector(widget, "textChanged()", widget.toPlainText, widget.setPlainText)
    if isinstance(kind, type) and issubclass(kind, pathlib.PurePath) and exact is ctk.ctkPathLineEdit:
        write = lambda value: setattr(widget, "currentPath", str(value))  # noqa: E731
        return Connector(widget, "currentPathChanged(QString)", lambda: kind(widget.currentPath), write)
    if node_types(kind) and exact is slicer.qMRMLNodeComboBox:
        widget.nodeTypes = [_class_name(node_type) for node_type in node_types(kind)]  # whatever the .ui file said
        return Connector(widget, "currentNodeChanged(vtkMRMLNode*)", widget.currentNode, widget.setCurrentNode)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{hint}' to widget type '{exact}'")


def _class_name(node_type: type) -> str:
    try:
        return str(node_type().GetClassName())
    except TypeError as error:
        message = "Slicer makes a node to learn its class name, so the type of a bound parameter is no abstract class"
        raise TypeError(f"{message}: {node_type.__name__}. Name the classes: A | B | None") from error


def _first(annotations: tuple[Any, ...], kind: type) -> Any:
    return next((a for a in annotations if isinstance(a, kind)), None)


def _number(widget: Any, kind: Any, annotations: tuple[Any, ...], signal: str) -> Connector:
    within = _first(annotations, WithinRange)
    low, high = within or _first(annotations, Minimum), within or _first(annotations, Maximum)
    if type(widget) in (qt.QSlider, ctk.ctkSliderWidget) and not (low and high):
        raise RuntimeError(f"Cannot have a connection to {type(widget).__name__} where the number is unbounded.")
    if kind is int and hasattr(widget, "decimals"):
        widget.decimals = 0
    whole = type(widget) in (qt.QSlider, qt.QSpinBox)
    widget.minimum = low.minimum if low else -(2**31) if whole else float("-inf")
    widget.maximum = high.maximum if high else 2**31 - 1 if whole else float("inf")
    return _attribute(widget, signal, "value", kind)


def _choice(widget: Any, kind: Any, annotations: tuple[Any, ...]) -> Connector:
    choice = _first(annotations, Choice)
    if choice is None:
        raise RuntimeError("A combo box is bound to a parameter with the Choice annotation only.")
    return _combo(widget, list(choice.choices), [str(value) for value in choice.choices])


def _combo(widget: Any, values: list[Any], texts: list[str]) -> Connector:
    widget.clear()
    widget.addItems(texts)

    def write(value: Any) -> None:
        widget.currentIndex = values.index(value)

    return Connector(widget, "currentIndexChanged(int)", lambda: values[widget.currentIndex], write)
