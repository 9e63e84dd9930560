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
    """The named classes, whichever header of Qt holds them."""
    every: dict[str, Any] = {}
    for module in ("QtCore", "QtGui", "QtWidgets"):
        for path in sorted((folder / module).glob("q*.h")):
            every |= headers.classes(path.read_text(encoding="utf-8"))
    return {name: every[name] for name in names}


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
    for entry in classes.values():
        entry["bases"] = [base for base in entry["bases"] if base in classes]
    table = {
        "made_by": "Testing/host/tables/make_tables.py",
        "sources": {
            "Slicer": {"tag": SLICER_TAG, "commit": slicer_commit},
            "CTK": {"commit": match[1], "pinned_by": f"Slicer {SLICER_TAG}"},
            "Qt": {"version": qt_version(arguments.qt)},
        },
        "classes": dict(sorted(classes.items())),
    }
    lines = json.dumps(table, indent=1, ensure_ascii=True)
    lines = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", lines)
    Path(__file__).with_name("classes.json").write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
