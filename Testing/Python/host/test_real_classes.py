"""The stand-ins and the panel's .ui file against the table of the real classes."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
UI_FILES = sorted((ROOT / "MedImgClassifier" / "Resources" / "UI").glob("*.ui"))


def stand_ins() -> list[type]:
    from host import dicom_database, main_window, modules, slicer_app, widgets

    found = {*widgets.CTK.values(), *widgets.SLICER.values()}
    for module in (dicom_database, main_window, modules, slicer_app):
        found |= {c for c in vars(module).values() if isinstance(c, type) and "stand_in" in vars(c)}
    return sorted(found, key=lambda cls: cls.__name__)


def own_classes(cls: type) -> list[type]:
    return [c for c in cls.__mro__ if "stand_in" in vars(c)]


def in_qt(name: str, member: str) -> bool:
    """Whether a Qt class that the real class derives from has a method."""
    from PySide6 import QtCore, QtGui, QtWidgets

    from host import reference

    for qt_class in (vars(m).get(name) or getattr(m, name, None) for m in (QtCore, QtGui, QtWidgets)):
        if qt_class is not None and hasattr(qt_class, member):
            return True
    return any(in_qt(base, member) for base in reference.classes().get(name, {"bases": ()})["bases"])


def invented(cls: type) -> list[str]:
    """The properties, signals and methods of a stand-in that the real class does not offer to Python."""
    from PySide6 import QtCore

    from host import reference

    name, found = cls.__name__, []
    mapped = getattr(cls, "cpp_signals", {})
    found += [s for s in mapped if not reference.has(name, "signals", s)]
    meta = cls.staticMetaObject  # type: ignore[attr-defined]
    for own in own_classes(cls):
        for member, value in vars(own).items():
            if isinstance(value, QtCore.Signal):
                if member not in mapped.values() and not member.startswith("_"):
                    signatures = [
                        bytes(meta.method(i).methodSignature().data()).decode() for i in range(meta.methodCount())
                    ]
                    found += [
                        s for s in signatures if s.startswith(member + "(") and not reference.has(name, "signals", s)
                    ]
            elif isinstance(value, QtCore.Property):
                found += [] if reference.has(name, "properties", member) else [member]
            elif callable(value) and not member.startswith("_") and member != "staticMetaObject":
                found += [] if reference.has(name, "methods", member) or in_qt(name, member) else [member + "()"]
    return found


def test_every_stand_in_is_a_class_of_the_table(slicer: Any) -> None:
    from host import reference

    assert [c.__name__ for c in stand_ins() if c.__name__ not in reference.classes()] == []


def test_no_stand_in_offers_what_the_real_class_lacks(slicer: Any) -> None:
    assert {c.__name__: invented(c) for c in stand_ins() if invented(c)} == {}


def test_an_invented_signal_property_and_method_are_found(slicer: Any) -> None:
    from PySide6 import QtCore

    from host import mrml_widget

    body = {
        "stand_in": True,
        "sceneGone": QtCore.Signal(int),
        "sceneName": QtCore.Property(str, lambda self: ""),
        "closeScene": lambda self: None,
    }
    wrong = type("qMRMLWidget", (mrml_widget.qMRMLWidget,), body)
    assert invented(wrong) == ["sceneGone(int)", "sceneName", "closeScene()"]


@pytest.mark.parametrize("path", UI_FILES, ids=lambda p: p.name)
def test_ui_file_names_real_classes_properties_signals_and_slots(slicer: Any, path: Path, recorded: list[Any]) -> None:
    slicer.util.loadUI(str(path))
    assert [str(fault) for fault in recorded] == []


@pytest.mark.parametrize("path", UI_FILES, ids=lambda p: p.name)
def test_every_widget_class_of_a_ui_file_is_in_the_table(path: Path) -> None:
    from host import reference

    used = {w.attrib["class"] for w in ElementTree.parse(path).iter("widget")} - {"Line"}
    assert used - set(reference.classes()) == set()


def test_table_says_where_it_comes_from() -> None:
    from host import reference

    table = json.loads(reference.TABLE.read_text(encoding="utf-8"))
    assert (ROOT / table["made_by"]).is_file()
    assert table["sources"]["Slicer"]["tag"].startswith("v5.12") and len(table["sources"]["Slicer"]["commit"]) == 40
    assert len(table["sources"]["CTK"]["commit"]) == 40
    assert table["sources"]["Qt"]["version"].startswith("5.15")


def test_table_agrees_with_the_classes_of_qt_that_run_here() -> None:
    """PySide6 is Qt 6: most members are the same, and a parser that missed a kind would show."""
    from PySide6 import QtCore, QtWidgets

    from host import reference

    for name in ("QAbstractButton", "QProgressBar", "QLineEdit", "QLabel", "QAbstractSlider", "QTabWidget"):
        meta = getattr(QtWidgets, name).staticMetaObject
        methods = [meta.method(i) for i in range(meta.methodOffset(), meta.methodCount())]
        kinds = QtCore.QMetaMethod.MethodType
        signals = {bytes(m.methodSignature().data()).decode() for m in methods if m.methodType() == kinds.Signal}
        entry = reference.classes()[name]
        assert set(entry["signals"]) == signals, name
        properties = {meta.property(i).name() for i in range(meta.propertyOffset(), meta.propertyCount())}
        assert set(entry["properties"]) == properties, name
