"""Starts the stand-in application, loads a scripted module into it and opens its panel."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import logging
import os
import sys
import tempfile
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6 import QtCore, QtWidgets

from . import pythonqt

CHECKOUT = "SLICER_PYTHON_DIR"
"""Environment variable: Base/Python of a Slicer checkout, whose files then take the place of the host's own."""
SWAPPED = ("i18n", "packaging", "ScriptedLoadableModule", "parameterNodeWrapper")


_folder = tempfile.TemporaryDirectory(prefix="stand-in-host-", ignore_cleanup_errors=True)
"""Settings, temporary files and the empty home of the application; goes with the process."""


def _settings_folder() -> None:
    QtCore.QCoreApplication.setOrganizationName("stand-in")
    QtCore.QCoreApplication.setApplicationName("host")
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.Format.IniFormat)
    scope = QtCore.QSettings.Scope.UserScope
    QtCore.QSettings.setPath(QtCore.QSettings.Format.IniFormat, scope, str(Path(_folder.name, "settings")))


def _module(name: str, **content: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module
    return module


def _scene_and_logic() -> tuple[Any, Any]:
    import slicer

    scene, logic = slicer.vtkMRMLScene(), slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    Path(_folder.name, "share", "ColorFiles").mkdir(parents=True)  # an installation has some; here is none
    logic.SetHomeDirectory(_folder.name)
    logic.SetShareDirectory("share")
    colors = slicer.vtkSlicerColorLogic()
    colors.SetMRMLApplicationLogic(logic)
    colors.SetMRMLScene(scene)
    colors.AddDefaultColorNodes()
    logic.SetColorLogic(colors)
    selection = slicer.vtkMRMLSelectionNode()
    selection.SetSingletonTag("Singleton")
    scene.AddNode(selection)
    return scene, logic


def add_slice_view(name: str = "Red", size: tuple[int, int] = (256, 256)) -> Any:
    """A slice logic with its slice and composite nodes, as a layout would add; no window."""
    import slicer
    import vtk

    from . import main_window

    _remove_slice_view(main_window.slice_logics.pop(name, None))
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.AddSliceNode(name)
    logic.ResizeSliceNode(*size)
    main_window.slice_logics[name] = logic
    every = vtk.vtkCollection()
    for one in main_window.slice_logics.values():
        every.AddItem(one)
    slicer.app.applicationLogic().SetSliceLogics(every)
    return logic


def _remove_slice_view(logic: Any) -> None:
    """A logic that somebody still holds would go on to add its nodes to the scene."""
    import slicer

    if logic is None:
        return
    model = logic.GetSliceModelNode()
    nodes = (model, logic.GetSliceModelDisplayNode(), model.GetParentTransformNode() if model else None)
    logic.SetMRMLScene(None)
    for node in nodes:
        if node is not None and slicer.mrmlScene.IsNodePresent(node):
            slicer.mrmlScene.RemoveNode(node)


def boot(main_window: bool = False) -> Any:
    """Start the application once per process; returns the package `slicer`.

    main_window: whether there is a main window with a layout; open_main_window and close_main_window change it.
    """
    import slicer

    if not hasattr(slicer, "app"):
        _start(slicer)
    if main_window:
        open_main_window()
    return slicer


def _start(slicer: Any) -> None:
    qt_application = QtWidgets.QApplication.instance() or QtWidgets.QApplication([])
    _settings_folder()
    pythonqt.patch()
    qt = pythonqt.make_qt()
    ctk = _module("ctk")
    slicer.mrmlScene, logic = _scene_and_logic()
    from . import dialogs, dicom_database, modules, pip, slicer_app, subject_hierarchy, ui_files, widgets

    widgets.install(ctk)
    qt.QUiLoader = ui_files.loader_class(widgets.CTK | widgets.SLICER)  # type: ignore[attr-defined]
    slicer.app = slicer_app.qSlicerApplication(qt_application, logic, _folder.name)
    slicer.dicomDatabase = dicom_database.ctkDICOMDatabase()
    slicer.modules = _module("slicer.modules")
    slicer.util = importlib.import_module("slicer.util")
    modules.install(slicer.mrmlScene, logic, slicer.modules)
    subject_hierarchy.install(slicer.mrmlScene)
    dialogs.install_qt(qt)
    dialogs.install_messages(slicer.util)
    pip.install(slicer.util)
    _install_python_files(slicer, os.environ.get(CHECKOUT))
    logging.getLogger().setLevel(logging.INFO)


def _install_python_files(slicer: Any, checkout: str | None) -> None:
    """The Python files of Slicer that modules import: the host's own, or those of a checkout."""
    if checkout:
        from . import checkout_names

        checkout_names.install()
        slicer.__path__.append(str(Path(checkout, "slicer")))
        for name in SWAPPED:
            importlib.import_module("slicer." + name)
    else:
        from . import translations

        sys.modules["slicer.i18n"] = slicer.i18n = translations
        from . import parameter_nodes, python_packaging, scripted_module

        for name, module in zip(SWAPPED[1:], (python_packaging, scripted_module, parameter_nodes), strict=True):
            sys.modules["slicer." + name] = module
            setattr(slicer, name, module)
    from . import sample_data

    sys.modules["SampleData"] = sample_data


@contextlib.contextmanager
def testing(enabled: bool) -> Iterator[None]:
    """Whether the application says that it was started with --testing, for a while. At the start it does."""
    import slicer

    before, slicer.app._testing = slicer.app.testingEnabled(), enabled
    try:
        yield
    finally:
        slicer.app._testing = before


def set_language(locale: str) -> None:
    """Start over in a language ("zh_CN", "en_US"): no translation is loaded until code loads one."""
    import slicer

    slicer.app._set_language(locale)
    slicer.app.processEvents()


def open_main_window() -> Any:
    """Give the application a main window and a layout manager; returns the window."""
    import slicer

    from . import main_window

    if slicer.util.mainWindow() is None:
        slicer.app._layout = main_window.qSlicerLayoutManager()
        slicer.app._window = main_window.qSlicerMainWindow()
        slicer.app._window.show()
    return slicer.app._window


def close_main_window() -> None:
    """Back to --no-main-window."""
    import shiboken6
    import slicer

    window = slicer.util.mainWindow()
    slicer.app._layout = None
    if window is not None:
        window.close()
        slicer.app._window = None
        shiboken6.delete(window)


def load_module(path: Path) -> types.ModuleType:
    """Run a scripted module's file and make its module object, as the factory does at start."""
    import slicer

    from . import modules

    name = path.stem
    sys.path.insert(0, str(path.parent))
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    parent = modules.qSlicerScriptedLoadableModule(name, str(path))
    setattr(slicer.modules, name.lower(), parent)
    parent._instance = getattr(module, name)(parent)
    setattr(slicer.modules, name + "Instance", parent._instance)
    return module


def open_panel(module: types.ModuleType) -> tuple[Any, QtWidgets.QWidget]:
    """Make the module's widget in a window of a side panel's width and enter it. Returns both."""
    import slicer

    from . import modules

    _delete_closed(getattr(slicer.modules, module.__name__.lower())._widget)
    window = modules.qSlicerScriptedLoadableModuleWidget()
    window.setLayout(QtWidgets.QVBoxLayout())
    window.setMRMLScene(slicer.mrmlScene)
    window._make = _make_widget
    window._module_name = module.__name__
    getattr(slicer.modules, module.__name__.lower())._widget = window
    _make_widget(window)
    window.enter()
    window.resize(440, 760)
    window.show()
    slicer.app.processEvents()
    return window.self(), window


def _delete_closed(window: Any) -> None:
    """The window of an earlier panel, if it was closed: it would go on to follow the scene."""
    import shiboken6
    import slicer

    if window is not None and shiboken6.isValid(window) and not window.visible:
        slicer.app.processEvents()  # what it had left for later
        shiboken6.delete(window)


def _make_widget(window: Any) -> None:
    """The Python object of a module's widget, of the class as it now is; reloading does not enter it."""
    import slicer

    name = window._module_name + "Widget"
    window._self = getattr(sys.modules[window._module_name], name)(window)
    setattr(slicer.modules, name, window._self)
    window._self.setup()
