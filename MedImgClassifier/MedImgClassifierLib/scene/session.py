"""A working MRML scene where no Slicer application made one (command line, tests)."""

from __future__ import annotations

import tempfile
from typing import Any

import slicer
import vtk

SLICE_VIEWS = {
    "Red": ("R", "Axial", (0.953, 0.290, 0.196)),
    "Green": ("G", "Coronal", (0.431, 0.690, 0.294)),
    "Yellow": ("Y", "Sagittal", (0.929, 0.835, 0.298)),
}
"""The slice views of Slicer: label, orientation to start with, colour of the bar above."""


def createScene() -> Any:
    """A vtkMRMLScene with colour nodes, slice views and what MRB files need. Inside Slicer use slicer.mrmlScene.

    The logics that serve the scene hold it and it holds them: give it to `closeScene` when it is done.
    """
    scene = slicer.vtkMRMLScene()
    addCache(scene)
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    application.GetColorLogic().SetMRMLScene(scene)
    application.GetColorLogic().AddDefaultColorNodes()
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    sliceLogics = vtk.vtkCollection()
    application.SetSliceLogics(sliceLogics)
    for name, (label, orientation, color) in SLICE_VIEWS.items():
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
        view = logic.AddSliceNode(name)
        view.SetLayoutLabel(label)
        view.SetLayoutColor(*color)
        view.SetOrientation(orientation)
        sliceLogics.AddItem(logic)
    scene.applicationLogic = application  # its owner inside Slicer is the application
    return scene


def closeScene(scene: Any) -> None:
    """Free a scene of `createScene`, its logics and its cache folder. The scene must not be used afterwards."""
    application, folder = scene.applicationLogic, scene.cacheFolder
    sliceLogics = application.GetSliceLogics()
    for n in range(sliceLogics.GetNumberOfItems()):
        sliceLogics.GetItemAsObject(n).SetMRMLScene(None)
    application.GetColorLogic().SetMRMLScene(None)
    application.SetMRMLScene(None)
    scene.Clear(True)
    del scene.applicationLogic, scene.cacheFolder
    folder.cleanup()


def addCache(scene: Any) -> None:
    """MRB files are packed and unpacked in the cache folder; `closeScene` removes it."""
    folder = tempfile.TemporaryDirectory(prefix="medimg-scene-")
    cache = slicer.vtkCacheManager()
    cache.SetRemoteCacheDirectory(folder.name)
    cache.SetMRMLScene(scene)
    scene.SetCacheManager(cache)
    dataIo = slicer.vtkDataIOManager()
    dataIo.SetCacheManager(cache)
    scene.SetDataIOManager(dataIo)
    scene.cacheFolder = folder
