"""The stand-in for qMRMLWidget, on which others stand."""

from __future__ import annotations

from typing import Any

from PySide6 import QtWidgets
from PySide6.QtCore import Signal

SCENE_CHANGED = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}


class qMRMLWidget(QtWidgets.QWidget):
    """A widget that hands the scene on to the widgets connected to it."""

    stand_in = True
    mrmlSceneChanged = Signal(object)
    cpp_signals = SCENE_CHANGED
    """Signals whose arguments have no form in Qt's own types here, and the Python signal behind each."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: Any = None

    def setMRMLScene(self, scene: Any) -> None:
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)

    def mrmlScene(self) -> Any:
        return self._scene
