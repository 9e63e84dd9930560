"""Scenes as MRB files: complete or not there at all."""

from __future__ import annotations

import os
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import vtk

from ..translation import _
from .binding import bind, contentHashes
from .hierarchy import addToHierarchy
from .nodes import nodesOfClass
from .overlay import showOverlay
from .result_nodes import addResult
from .session import closeScene, createScene
from .views import arrangeViews
from .volumes import addVolume, volumeFromNode

if TYPE_CHECKING:
    from ..engine.result import Classification
    from ..engine.volume import Volume


def writeScene(scene: Any, path: str | os.PathLike[str]) -> None:
    """Write a scene as MRB. Raises Refusal USAGE_OUTPUT_NOT_WRITABLE; then nothing, or the earlier file, is there."""
    from ..engine.errors import Refusal

    target = Path(path)
    try:
        # The name inside the archive is that of the file, so a folder is temporary and not the name.
        with tempfile.TemporaryDirectory(prefix=".medimg-", dir=target.parent) as folder:
            written = Path(folder) / target.name
            _keepSliceOrder(scene)
            done, printed = _captured(lambda: bool(scene.WriteToMRB(str(written))))
            if not (done and written.is_file()):
                raise OSError(printed.strip() or "the archive could not be written")
            os.replace(written, target)
    except OSError as problem:
        raise Refusal("USAGE_OUTPUT_NOT_WRITABLE", path=target, reason=problem.strerror or problem) from problem


def readScene(path: str | os.PathLike[str]) -> Any:
    """A scene from an MRB file, outside Slicer. Raises Refusal INPUT_NOT_FOUND or INPUT_NOT_AN_IMAGE."""
    from ..engine.errors import Refusal

    if not Path(path).is_file():
        raise Refusal("INPUT_NOT_FOUND", path=path)
    scene = createScene()
    with _workingFolderKept():
        if not (_holdsScene(path) and scene.ReadFromMRB(str(path))):
            closeScene(scene)
            raise Refusal("INPUT_NOT_AN_IMAGE", path=path, reason="it is not a MRML scene bundle")
    return scene


def _holdsScene(path: str | os.PathLike[str]) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".mrml") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def writeResultScene(path: str | os.PathLike[str], volume: Volume, classification: Classification) -> None:
    """An MRB that opens in Slicer with the volume, its evidence in colour, the results table and the plot."""
    scene = createScene()
    try:
        _fillScene(scene, volume, classification)
        writeScene(scene, path)
    finally:
        closeScene(scene)


def _fillScene(scene: Any, volume: Volume, classification: Classification) -> None:
    volumeNode = addVolume(scene, volume, _nameOf(volume))
    addToHierarchy(volumeNode, volume.source.series_uid)
    result = addResult(scene, volumeNode, classification)
    # Once in the scene the voxels may have another type, and tilted slices are on an even stack: it is what stands
    # there that the reader may change.
    shown = volumeFromNode(volumeNode).content_sha256
    bind(result.table, result.inputs, classification, dict.fromkeys(contentHashes(classification), shown))
    for view in ("Red", "Green", "Yellow"):
        scene.GetNodeByID(f"vtkMRMLSliceCompositeNode{view}").SetBackgroundVolumeID(volumeNode.GetID())
    if result.evidence is not None:
        showOverlay(scene, volumeNode, result.evidence)
    arrangeViews(scene, result, classification)


def _nameOf(volume: Volume) -> str:
    """Series description, or the file's name without its folder and endings."""
    return volume.source.description or Path(volume.source.path).name.split(".")[0] or _("volume")


def _keepSliceOrder(scene: Any) -> None:
    """By default a left-handed volume is read with its slices in the other order, and K would name another slice."""
    for node in nodesOfClass(scene, "vtkMRMLScalarVolumeNode"):
        node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        if storage is not None and storage.IsA("vtkMRMLVolumeArchetypeStorageNode"):
            storage.SetForceRightHandedIJKCoordinateSystem(False)


def _captured(action: Callable[[], bool]) -> tuple[bool, str]:
    """What an action of VTK returned, and what it printed: packing an archive names every file on the terminal."""
    window, shown = vtk.vtkStringOutputWindow(), vtk.vtkOutputWindow.GetInstance()
    vtk.vtkOutputWindow.SetInstance(window)
    try:
        with _workingFolderKept():
            return action(), window.GetOutput()
    finally:
        vtk.vtkOutputWindow.SetInstance(shown)


@contextmanager
def _workingFolderKept() -> Iterator[None]:
    """MRML packs and unpacks in another working folder, and stays there when it fails."""
    folder = Path.cwd()
    try:
        yield
    finally:
        os.chdir(folder)
