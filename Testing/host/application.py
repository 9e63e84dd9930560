"""Starts the stand-in application, loads a scripted module into it and opens its panel."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtWidgets

from . import pythonqt

NAME = "Stand-in host"


class _ModuleManager(QtCore.QObject):
    def module(self, name: str) -> Any:
        import slicer

        return getattr(slicer.modules, name.lower(), None)


class _Application(QtCore.QObject):
    """`slicer.app` of an application without main window and views."""

    startupCompleted = QtCore.Signal()
    applicationName = NAME

    def __init__(self, qt_application: QtWidgets.QApplication, logic: Any) -> None:
        super().__init__()
        self._qt, self._logic, self._modules = qt_application, logic, _ModuleManager()

    def applicationLogic(self) -> Any:
        return self._logic

    def moduleManager(self) -> _ModuleManager:
        return self._modules

    def layoutManager(self) -> None:
        return None

    def topLevelWidgets(self) -> list[Any]:
        return list(self._qt.topLevelWidgets())

    def testingEnabled(self) -> bool:
        return True

    def processEvents(self) -> None:
        self._qt.processEvents()

    def setOverrideCursor(self, cursor: Any) -> None:
        self._qt.setOverrideCursor(cursor)

    def restoreOverrideCursor(self) -> None:
        self._qt.restoreOverrideCursor()


def _settings_folder() -> None:
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
    folder = tempfile.mkdtemp(prefix="stand-in-host-")
    QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, QtCore.QSettings.Scope.UserScope, folder)


def _module(name: str, **content: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module
    return module


def _scene_and_logic() -> tuple[Any, Any]:
    import slicer

    scene, logic = slicer.vtkMRMLScene(), slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.GetColorLogic().AddDefaultColorNodes()
    selection = slicer.vtkMRMLSelectionNode()
    selection.SetSingletonTag("Singleton")
    scene.AddNode(selection)
    return scene, logic


def add_slice_view(name: str = "Red", size: tuple[int, int] = (256, 256)) -> Any:
    """A slice logic with its slice and composite nodes, as a layout would add; no window."""
    import slicer

    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.AddSliceNode(name)
    logic.ResizeSliceNode(*size)
    return logic


def boot() -> Any:
    """Start the application once per process; returns the package `slicer`."""
    import slicer

    if hasattr(slicer, "app"):
        return slicer
    qt_application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    _settings_folder()
    pythonqt.patch()
    qt = pythonqt.make_qt()
    ctk = _module("ctk")
    from . import ui_files, widgets

    widgets.install(ctk)
    qt.QUiLoader = ui_files.loader_class(widgets.CTK | widgets.SLICER)  # type: ignore[attr-defined]
    slicer.mrmlScene, logic = _scene_and_logic()
    slicer.app = _Application(qt_application, logic)
    slicer.modules = _module("slicer.modules")
    slicer.util = importlib.import_module("slicer.util")
    slicer.i18n = _module("slicer.i18n", tr=lambda text: text, translate=lambda context, text: text)
    from . import parameter_nodes, scripted_module

    sys.modules["slicer.parameterNodeWrapper"] = parameter_nodes
    sys.modules["slicer.ScriptedLoadableModule"] = scripted_module
    _module("SampleData", SampleDataLogic=scripted_module.SampleDataLogic)
    logging.getLogger().setLevel(logging.INFO)
    return slicer


def load_module(path: Path) -> types.ModuleType:
    """Run a scripted module's file and make its module object, as the factory does at start."""
    import slicer

    name = path.stem
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent = types.SimpleNamespace(path=str(path), icon=None, name=name)
    parent.instance = getattr(module, name)(parent)
    setattr(slicer.modules, name.lower(), parent)
    return module


def open_panel(module: types.ModuleType) -> tuple[Any, QtWidgets.QWidget]:
    """Make the module's widget in a window of a side panel's width and enter it. Returns both."""
    import slicer

    window = slicer.qMRMLWidget()
    window._entered = False
    type(window).isEntered = property(lambda self: self._entered)
    window.setLayout(QtWidgets.QVBoxLayout())
    window.setMRMLScene(slicer.mrmlScene)
    widget = getattr(module, module.__name__ + "Widget")(window)
    widget.setup()
    window._entered = True
    widget.enter()
    window.resize(440, 760)
    window.show()
    slicer.app.processEvents()
    return widget, window
