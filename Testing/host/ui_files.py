"""`qt.QUiLoader` for .ui files with ctk and qMRML widgets. Stricter than Qt: what it does not know is an error."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import pythonqt

DYNAMIC_PROPERTIES = {"SlicerParameterName"}


class _Builder(QtUiTools.QUiLoader):
    """Creates the stand-in class where there is one, and the Qt class otherwise."""

    def __init__(self, stand_ins: dict[str, type]) -> None:
        super().__init__()
        self._stand_ins = stand_ins

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> QtWidgets.QWidget:
        if class_name == "Line":  # not a class but a QFrame that the loader dresses up
            return super().createWidget(class_name, parent, name)
        cls = self._stand_ins.get(class_name) or getattr(QtWidgets, class_name, None)
        if cls is None:
            raise RuntimeError(f"no stand-in for widget class '{class_name}' ({name})")
        widget: QtWidgets.QWidget = cls(parent)
        widget.setObjectName(name)
        return widget


def _check_properties(root: ElementTree.Element, widgets: dict[str, Any]) -> None:
    for element in root.iter("widget"):
        meta = widgets[element.attrib["name"]].metaObject()
        for item in element.findall("property"):
            name = item.attrib["name"]
            if meta.indexOfProperty(name) < 0 and name not in DYNAMIC_PROPERTIES:
                raise RuntimeError(f".ui file: {meta.className()} '{element.attrib['name']}' has no property '{name}'")


def loader_class(stand_ins: dict[str, type]) -> type:
    """The class to install as `qt.QUiLoader`. stand_ins: custom widget classes by name."""

    class QUiLoader:
        def load(self, device: Any, parent: Any = None) -> QtWidgets.QWidget:
            root = ElementTree.fromstring(bytes(device.readAll().data()))
            listed = root.find("connections")
            connections = [] if listed is None else [{part.tag: part.text or "" for part in c} for c in listed]
            for tag in ("connections", "customwidgets"):  # the builder knows the classes; connections come below
                for element in root.findall(tag):
                    root.remove(element)
            buffer = QtCore.QBuffer()
            buffer.setData(ElementTree.tostring(root))
            buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
            builder = _Builder(stand_ins)
            top = builder.load(buffer, parent)
            if top is None:
                raise RuntimeError(builder.errorString())
            top._builder = builder  # the loader must outlive the widgets whose Python side it made
            widgets = {w.objectName: w for w in [top, *QtCore.QObject.findChildren(top, QtWidgets.QWidget)]}
            _check_properties(root, widgets)
            for c in connections:
                slot = getattr(widgets[c["receiver"]], c["slot"].split("(")[0])
                pythonqt.connect(widgets[c["sender"]], c["signal"], slot)
            return top

    return QUiLoader
