"""`qt.QUiLoader` for .ui files with ctk and qMRML widgets.

As in Slicer an unknown class becomes the base that the file names for it (or a plain widget), an unknown property a
dynamic one, and a connection that cannot be made is left out; each of these is recorded as a fault.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from typing import Any

from PySide6 import QtCore, QtUiTools, QtWidgets

from . import faults, pythonqt, reference

DYNAMIC_PROPERTIES = {"SlicerParameterName"}
BUILDER_PROPERTIES = {
    "QLayout": {"leftMargin", "topMargin", "rightMargin", "bottomMargin", "horizontalSpacing", "verticalSpacing"},
    "QLabel": {"buddy"},
}
"""What Qt's form builder itself understands beyond the properties of the classes."""


class _Builder(QtUiTools.QUiLoader):
    """Creates the stand-in class where there is one, and the Qt class otherwise."""

    def __init__(self, stand_ins: dict[str, type], bases: dict[str, str]) -> None:
        super().__init__()
        self._stand_ins, self._bases = stand_ins, bases

    def createWidget(self, class_name: str, parent: Any = None, name: str = "") -> QtWidgets.QWidget:
        if class_name == "Line":  # not a class but a QFrame that the loader dresses up
            return super().createWidget(class_name, parent, name)
        cls = self._stand_ins.get(class_name) or getattr(QtWidgets, class_name, None)
        if cls is None:
            base = self._bases.get(class_name, "QWidget")
            faults.note("class", f".ui file: no class '{class_name}' for '{name}': a {base} takes its place")
            cls = self._stand_ins.get(base) or getattr(QtWidgets, base, QtWidgets.QWidget)
        widget: QtWidgets.QWidget = cls(parent)
        widget.setObjectName(name)
        return widget


def _check_properties(root: ElementTree.Element) -> None:
    for element in [*root.iter("widget"), *root.iter("layout")]:
        name = element.attrib["class"]
        for item in element.findall("property"):
            wanted = item.attrib["name"]
            dynamic = item.attrib.get("stdset") == "0" and wanted in DYNAMIC_PROPERTIES
            built = any(wanted in names and reference.derives(name, base) for base, names in BUILDER_PROPERTIES.items())
            if reference.lineage(name) and not (dynamic or built or reference.has(name, "properties", wanted)):
                where = element.attrib.get("name", "")
                faults.note("property", f".ui file: {name} '{where}' has no property '{wanted}'")


def _connect(widgets: dict[str, Any], sender: str, signal: str, receiver: str, slot: str) -> None:
    for name in (sender, receiver):
        if name not in widgets:
            faults.note("connection", f".ui file: a connection names '{name}', which is not there")
            return
    target = type(widgets[receiver])
    method = getattr(widgets[receiver], slot.split("(")[0], None)
    known = reference.known_name(target)
    if method is None or (known and not reference.has(known, "slots", pythonqt.normalized(slot))):
        faults.note("connection", f".ui file: there is no slot {target.__name__}::{slot}")
        return
    pythonqt.connect(widgets[sender], signal, method)


def loader_class(stand_ins: dict[str, type]) -> type:
    """The class to install as `qt.QUiLoader`. stand_ins: custom widget classes by name."""

    class QUiLoader:
        def load(self, device: Any, parent: Any = None) -> QtWidgets.QWidget | None:
            root = ElementTree.fromstring(bytes(device.readAll().data()))
            bases = {c.findtext("class", ""): c.findtext("extends", "") for c in root.iter("customwidget")}
            _check_properties(root)
            listed = root.find("connections")
            connections = [] if listed is None else [{part.tag: part.text or "" for part in c} for c in listed]
            for tag in ("connections", "customwidgets"):  # the builder knows the classes; connections come below
                for element in root.findall(tag):
                    root.remove(element)
            buffer = QtCore.QBuffer()
            buffer.setData(ElementTree.tostring(root))
            buffer.open(QtCore.QIODevice.OpenModeFlag.ReadOnly)
            builder = _Builder(stand_ins, bases)
            with pythonqt.loading():
                top = builder.load(buffer, parent)
            if top is None:
                print(builder.errorString())
                return None
            top._builder = builder  # the loader must outlive the widgets whose Python side it made
            widgets = {w.objectName: w for w in [top, *QtCore.QObject.findChildren(top, QtWidgets.QWidget)]}
            for c in connections:
                _connect(widgets, c["sender"], c["signal"], c["receiver"], c["slot"])
            return top

    return QUiLoader
