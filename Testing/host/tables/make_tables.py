"""Makes classes.json: what the real widget classes of Slicer, CTK and Qt have, read in their headers.

    python Testing/host/tables/make_tables.py --slicer GIT_DIR --ctk GIT_DIR --qt INCLUDE_DIR

GIT_DIR: a clone (bare or not) of the repository; the tag is read from it without checking anything out. CTK is taken
at the commit that Slicer's tag pins. INCLUDE_DIR: the folder that holds QtCore/, QtGui/ and QtWidgets/ of Qt 5.15,
for example that of Debian's qtbase5-dev (`apt-get download qtbase5-dev; dpkg -x ...`). No test needs any of these.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import headers
import PySide6

SLICER_TAG = "v5.12.3"

SLICER = [
    "qMRMLAbstractViewWidget",
    "qMRMLColorTableComboBox",
    "qMRMLLayoutManager",
    "qMRMLNodeComboBox",
    "qMRMLPlotView",
    "qMRMLPlotViewControllerWidget",
    "qMRMLPlotWidget",
    "qMRMLSegmentSelectorWidget",
    "qMRMLSliceControllerWidget",
    "qMRMLSliceView",
    "qMRMLSliceWidget",
    "qMRMLSliderWidget",
    "qMRMLSpinBox",
    "qMRMLRangeWidget",
    "qMRMLSubjectHierarchyTreeView",
    "qMRMLTableModel",
    "qMRMLTableView",
    "qMRMLTableWidget",
    "qMRMLViewControllerBar",
    "qMRMLWidget",
    "qMRMLCheckableNodeComboBox",
    "qMRMLSubjectHierarchyComboBox",
    "qSlicerAbstractCoreModule",
    "qSlicerAbstractModule",
    "qSlicerAbstractModuleWidget",
    "qSlicerApplication",
    "qSlicerCoreApplication",
    "qSlicerExtensionsManagerModel",
    "qSlicerLayoutManager",
    "qSlicerMainWindow",
    "qSlicerModuleManager",
    "qSlicerAbstractModuleFactoryManager",
    "qSlicerModuleFactoryManager",
    "qSlicerScriptedLoadableModule",
    "qSlicerLoadableModule",
    "qSlicerScriptedLoadableModuleWidget",
    "qSlicerWidget",
    "qSlicerModuleSelectorToolBar",
]

CTK = [
    "ctkCheckBox",
    "ctkCheckablePushButton",
    "ctkCollapsibleButton",
    "ctkCollapsibleGroupBox",
    "ctkColorPickerButton",
    "ctkComboBox",
    "ctkDICOMDatabase",
    "ctkDirectoryButton",
    "ctkDoubleRangeSlider",
    "ctkDoubleSlider",
    "ctkDoubleSpinBox",
    "ctkExpandButton",
    "ctkExpandableWidget",
    "ctkFittedTextBrowser",
    "ctkLayoutFactory",
    "ctkLayoutManager",
    "ctkMenuButton",
    "ctkMessageBox",
    "ctkPathLineEdit",
    "ctkPopupWidget",
    "ctkPushButton",
    "ctkRangeSlider",
    "ctkRangeWidget",
    "ctkSearchBox",
    "ctkSliderWidget",
    "ctkTreeComboBox",
    "ctkVTKAbstractView",
    "ctkVTKChartView",
    "ctkVTKRenderView",
    "ctkVTKSliceView",
    "ctkCheckableComboBox",
]

QT = [
    "QAbstractButton",
    "QAbstractItemModel",
    "QAbstractItemView",
    "QAbstractProxyModel",
    "QAbstractScrollArea",
    "QAbstractSlider",
    "QAbstractSpinBox",
    "QAbstractTableModel",
    "QAction",
    "QActionGroup",
    "QApplication",
    "QBoxLayout",
    "QButtonGroup",
    "QCheckBox",
    "QComboBox",
    "QCoreApplication",
    "QDateEdit",
    "QDateTimeEdit",
    "QDialog",
    "QDialogButtonBox",
    "QDockWidget",
    "QDoubleSpinBox",
    "QFileDialog",
    "QFormLayout",
    "QFrame",
    "QGridLayout",
    "QGroupBox",
    "QGuiApplication",
    "QHBoxLayout",
    "QHeaderView",
    "QInputDialog",
    "QItemSelectionModel",
    "QLabel",
    "QLayout",
    "QLineEdit",
    "QListView",
    "QListWidget",
    "QMainWindow",
    "QMenu",
    "QMenuBar",
    "QMessageBox",
    "QObject",
    "QPlainTextEdit",
    "QProcess",
    "QProgressBar",
    "QProgressDialog",
    "QPushButton",
    "QRadioButton",
    "QScrollArea",
    "QScrollBar",
    "QShortcut",
    "QSlider",
    "QSortFilterProxyModel",
    "QSpinBox",
    "QSplitter",
    "QStackedLayout",
    "QStackedWidget",
    "QStandardItemModel",
    "QStatusBar",
    "QTabBar",
    "QTabWidget",
    "QTableView",
    "QTableWidget",
    "QTextBrowser",
    "QTextDocument",
    "QTextEdit",
    "QTimer",
    "QToolBar",
    "QToolBox",
    "QToolButton",
    "QTranslator",
    "QTreeView",
    "QTreeWidget",
    "QVBoxLayout",
    "QWidget",
    "QWidgetAction",
    "QIODevice",
]


PYSIDE_NAMES = {"del_", "emit", "exec_", "initViewItemOption", "instanceExists", "metaObject", "print_", "raise_"}
PYSIDE_NAMES |= {"isQmlExposed", "isQuickItemType", "resolveInterface", "shutdown", "skipData"}
"""Methods that only PySide6 has, or has under another name; they are no mark of a Qt version."""
VIRTUAL = {"createSourceIndex", "initStyleOptionForIndex", "itemDelegateForIndex", "multiData", "nativeInterface"}
"""Methods that Qt itself calls and PySide6 looks up for that: they cannot be hidden."""

BASES_ELSEWHERE = {"ctkVTKOpenGLNativeWidget": "QWidget"}
"""Bases of CTK that come from VTK, by the Qt class behind them."""


def _git(repository: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(repository), *arguments], capture_output=True, text=True, check=True, errors="replace"
    ).stdout


def from_repository(repository: Path, commit: str, names: list[str]) -> dict[str, Any]:
    """The named classes, each in the header of its name."""
    paths = {Path(p).name: p for p in _git(repository, "ls-tree", "-r", "--name-only", commit).splitlines()}
    found = {}
    for name in names:
        path = paths.get(name + ".h") or paths.get(name + ".h.in")
        if path is None:
            raise SystemExit(f"no header {name}.h at {commit}")
        found[name] = headers.classes(_git(repository, "show", f"{commit}:{path}"))[name]
    return found


def from_includes(folder: Path, names: list[str]) -> dict[str, Any]:
    """The named classes, whichever header of Qt holds them; "later": methods of a later Qt, which runs here."""
    every: dict[str, Any] = {}
    methods: dict[str, set[str]] = {}
    for module in ("QtCore", "QtGui", "QtWidgets"):
        for path in sorted((folder / module).glob("q*.h")):
            text = path.read_text(encoding="utf-8")
            every |= headers.classes(text)
            methods |= headers.names(text)
    return {name: every[name] | {"later": later(name, methods)} for name in names}


def later(name: str, methods: dict[str, set[str]]) -> list[str]:
    """The methods that PySide6 has of a class, and neither it nor a base has in the headers of Qt 5.15."""
    from PySide6 import QtCore, QtGui, QtWidgets

    (cls, *_) = (getattr(m, name) for m in (QtCore, QtGui, QtWidgets) if hasattr(m, name))
    known = set[str]().union(*(methods.get(c.__name__, set()) for c in cls.__mro__), PYSIDE_NAMES, VIRTUAL)
    own = [n for n, value in vars(cls).items() if callable(value) and not isinstance(value, type)]
    return sorted(n for n in own if n[0].islower() and n not in known and not n.endswith("Event"))


def add_decorations(repository: Path, commit: str, classes: dict[str, Any]) -> None:
    """Methods that PythonQt gets for a class from a decorator object: `static_Class_method(...)`, `method(Class*)`."""
    paths = [
        p for p in _git(repository, "ls-tree", "-r", "--name-only", commit).splitlines() if "PythonQtDecorators.h" in p
    ]
    for path in paths:
        for decorator in headers.classes(_git(repository, "show", f"{commit}:{path}")).values():
            for signature in decorator["slots"]:
                static = re.match(r"static_([A-Za-z]+)_(\w+)\(", signature)
                plain = re.match(r"(?!static_|new_|delete_)(\w+)\(([A-Za-z]+)\*", signature)
                name, method = (static[1], static[2]) if static else (plain[2], plain[1]) if plain else ("", "")
                if name in classes:
                    classes[name]["methods"] = sorted({*classes[name]["methods"], method})


def qt_version(folder: Path) -> str:
    text = (folder / "QtCore" / "qtcoreversion.h").read_text(encoding="utf-8")
    match = re.search(r'QTCORE_VERSION_STR\s+"([\d.]+)"', text)
    assert match
    return match[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name in ("slicer", "ctk", "qt"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    arguments = parser.parse_args()
    slicer_commit = _git(arguments.slicer, "rev-parse", SLICER_TAG + "^{commit}").strip()
    pins = _git(arguments.slicer, "show", f"{slicer_commit}:SuperBuild/External_CTK.cmake")
    match = re.search(r'GIT_TAG\s*\n?\s*"([0-9a-f]{40})"', pins)
    assert match
    classes = from_repository(arguments.slicer, slicer_commit, SLICER)
    classes |= from_repository(arguments.ctk, match[1], CTK)
    classes |= from_includes(arguments.qt, QT)
    add_decorations(arguments.slicer, slicer_commit, classes)
    add_decorations(arguments.ctk, match[1], classes)
    for entry in classes.values():
        bases = [BASES_ELSEWHERE.get(base, base) for base in entry["bases"]]
        entry["bases"] = [base for base in bases if base in classes]
    table = {
        "made_by": "Testing/host/tables/make_tables.py",
        "sources": {
            "Slicer": {"tag": SLICER_TAG, "commit": slicer_commit},
            "CTK": {"commit": match[1], "pinned_by": f"Slicer {SLICER_TAG}"},
            "Qt": {"version": qt_version(arguments.qt), "later_than_it_in": f"PySide6 {PySide6.__version__}"},
        },
        "classes": dict(sorted(classes.items())),
    }
    lines = json.dumps(table, indent=1, ensure_ascii=True)
    lines = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", lines)
    Path(__file__).with_name("classes.json").write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
