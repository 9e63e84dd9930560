"""What is chosen in the viewer is what the module's panel finds in the saved scene."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("slicer", reason="the viewer's scene needs slicer-core")

from MedImgClassifierLib.scene.saving import readScene, writeScene
from MedImgClassifierLib.scene.session import closeScene, createScene
from MedImgClassifierLib.viewer.settings import MODULE, SceneSettings

NAMES = (
    *("bundle", "segment", "runtime", "device", "evidenceLabel"),
    *("overlayVisible", "overlayOpacity", "overlayThreshold", "colorMap", "legendVisible"),
)


@pytest.fixture
def scene() -> Iterator[Any]:
    made = createScene()
    yield made
    closeScene(made)


def test_defaults_are_those_of_the_module(scene: Any) -> None:
    """Read from the module's own source, which only Slicer or its stand-in can load."""
    import ast

    source = (Path(__file__).resolve().parents[3] / "MedImgClassifier" / "MedImgClassifier.py").read_text("utf-8")
    node = next(n for n in ast.parse(source).body if getattr(n, "name", "") == "MedImgClassifierParameterNode")
    fields = {f.target.id: f for f in node.body if isinstance(f, ast.AnnAssign)}  # type: ignore[attr-defined,union-attr]
    settings = SceneSettings(scene)
    assert set(fields) == {*NAMES, "inputVolume", "resultTable"}
    for name in NAMES:
        default = fields[name].value
        assert getattr(settings, name) == (ast.literal_eval(default) if default is not None else ""), name


def test_what_is_chosen_is_kept_in_the_scene(scene: Any) -> None:
    settings = SceneSettings(scene)
    volume = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "ct")
    settings.inputVolume, settings.bundle, settings.overlayOpacity, settings.overlayVisible = volume, "x", 0.3, False
    again = SceneSettings(scene)
    assert (again.inputVolume, again.bundle, again.overlayOpacity, again.overlayVisible) == (volume, "x", 0.3, False)
    assert again.parameterNode is settings.parameterNode
    settings.inputVolume = None
    assert again.inputVolume is None


def test_parameters_are_written_as_slicers_wrapper_writes_them(scene: Any) -> None:
    settings = SceneSettings(scene)
    settings.legendVisible, settings.overlayThreshold, settings.colorMap = True, 0.25, "blue"
    node = scene.GetSingletonNode(MODULE, "vtkMRMLScriptedModuleNode")
    assert [node.GetParameter(n) for n in ("legendVisible", "overlayThreshold", "colorMap")] == ["True", "0.25", "blue"]
    assert node.GetAttribute("ModuleName") == MODULE


def test_they_survive_saving(scene: Any, tmp_path: Path) -> None:
    settings = SceneSettings(scene)
    settings.evidenceLabel = "bright"
    writeScene(scene, tmp_path / "scene.mrb")
    opened = readScene(tmp_path / "scene.mrb")
    assert SceneSettings(opened).evidenceLabel == "bright"
    closeScene(opened)


def test_what_the_module_does_not_have_is_an_error(scene: Any) -> None:
    settings = SceneSettings(scene)
    with pytest.raises(AttributeError):
        settings.colour = "red"
    with pytest.raises(AttributeError):
        _ = settings.colour
