"""`slicer.modules`: the logics that slicer-core has, behind module objects, and scripted modules."""

from __future__ import annotations

import types
from typing import Any

import slicer
from PySide6 import QtCore, QtWidgets

from .mrml_widget import SCENE_CHANGED

LOGICS = {
    "cropvolume": "vtkSlicerCropVolumeLogic",
    "markups": "vtkSlicerMarkupsLogic",
    "models": "vtkSlicerModelsLogic",
    "plots": "vtkSlicerPlotsLogic",
    "segmentations": "vtkSlicerSegmentationsModuleLogic",
    "tables": "vtkSlicerTablesLogic",
    "texts": "vtkSlicerTextsLogic",
    "transforms": "vtkSlicerTransformLogic",
    "volumes": "vtkSlicerVolumesLogic",
}
CONVERSION_RULES = (
    "vtkBinaryLabelmapToClosedSurfaceConversionRule",
    "vtkClosedSurfaceToBinaryLabelmapConversionRule",
    "vtkFractionalLabelmapToClosedSurfaceConversionRule",
    "vtkClosedSurfaceToFractionalLabelmapConversionRule",
)


class _Module:
    """A C++ module object: it has these attributes and takes no others."""

    def __init__(self, name: str, path: str, logic: Any = None) -> None:
        self.name, self.path, self._logic = name, path, logic
        self.title, self.helpText, self.acknowledgementText = name, "", ""
        self.categories: list[str] = []
        self.dependencies: list[str] = []
        self.contributors: list[str] = []
        self.associatedNodeTypes: list[str] = []
        self.icon: Any = None
        self.index = -1
        self.hidden = False
        self.widgetRepresentationCreationEnabled = True
        self._widget: Any = None
        self._instance: Any = None
        self._complete = True

    def __setattr__(self, name: str, value: Any) -> None:
        if getattr(self, "_complete", False) and not hasattr(self, name):
            raise AttributeError(f"'{type(self).__name__}' has no attribute '{name}'")
        object.__setattr__(self, name, value)

    def logic(self) -> Any:
        return self._logic

    def mrmlScene(self) -> Any:
        return slicer.mrmlScene

    def widgetRepresentation(self) -> Any:
        return self._widget


class qSlicerScriptedLoadableModule(_Module):
    """The C++ side of a scripted module: `parent` of its Python class."""

    def __init__(self, name: str, path: str) -> None:
        logic = slicer.vtkSlicerScriptedLoadableModuleLogic()
        logic.SetMRMLScene(slicer.mrmlScene)
        super().__init__(name, path, logic)


class qSlicerScriptedLoadableModuleWidget(QtWidgets.QWidget):
    """The C++ side of a scripted module's widget: `parent` of its Python class."""

    stand_in = True
    mrmlSceneChanged = QtCore.Signal(object)
    cpp_signals = SCENE_CHANGED

    def __init__(self, parent: Any = None) -> None:
        super().__init__(parent)
        self._scene: Any = None
        self._entered, self._self, self._make = False, None, None

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def self(this) -> Any:
        """The Python object."""
        return this._self

    def reload(self) -> None:
        """A new Python object of the module's class as it now is, set up and, as in Slicer, not entered."""
        self._make(self)

    def enter(self) -> None:
        self._entered = True
        self._self.enter()

    def exit(self) -> None:
        self._entered = False
        self._self.exit()

    isEntered = QtCore.Property(bool, lambda self: self._entered)


def install(scene: Any, application_logic: Any, modules: types.ModuleType) -> None:
    """Make the module objects. Their logics are those of slicer-core, on the application's scene."""
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    for rule in CONVERSION_RULES:
        factory.RegisterConverterRule(getattr(slicer, rule)())
    modules.colors = _Module("Colors", "", application_logic.GetColorLogic())  # type: ignore[attr-defined]
    for name, class_name in LOGICS.items():
        logic = getattr(slicer, class_name)()
        logic.SetMRMLApplicationLogic(application_logic)
        logic.SetMRMLScene(scene)
        application_logic.SetModuleLogic(name.capitalize(), logic)
        setattr(modules, name, _Module(name.capitalize(), "", logic))
    slicer.qSlicerScriptedLoadableModule = qSlicerScriptedLoadableModule
    slicer.qSlicerScriptedLoadableModuleWidget = qSlicerScriptedLoadableModuleWidget
