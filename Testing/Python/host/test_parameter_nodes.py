"""Typed parameters and the widgets they are bound to; runs with the host's own files and with those of a checkout."""

from __future__ import annotations

import enum
from pathlib import Path
from types import SimpleNamespace
from typing import Annotated, Any

import pytest


class Mode(enum.Enum):
    FAST = 1
    GOOD = 2


@pytest.fixture
def node(slicer: Any) -> Any:
    return slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScriptedModuleNode")


def wrapper_class(**hints: Any) -> Any:
    from slicer.parameterNodeWrapper import parameterNodeWrapper

    defaults = {name: value[1] for name, value in hints.items() if isinstance(value, tuple)}
    types = {name: value[0] if isinstance(value, tuple) else value for name, value in hints.items()}
    return parameterNodeWrapper(type("Settings", (), {"__annotations__": types, **defaults}))


def named(widget: Any, parameter: str) -> Any:
    widget.setProperty("SlicerParameterName", parameter)
    return widget


def test_values_are_kept_in_the_node_with_their_types(slicer: Any, node: Any) -> None:
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    settings_class = wrapper_class(
        count=int,
        opacity=(float, 0.5),
        name=(str, "auto"),
        shown=bool,
        mode=Mode,
        folder=Path,
        labels=list[str],
        limit=int | None,
        volume=slicer.vtkMRMLScalarVolumeNode,
        region=slicer.vtkMRMLMarkupsROINode | slicer.vtkMRMLSegmentationNode | None,
    )
    settings = settings_class(node)
    assert (settings.count, settings.opacity, settings.name, settings.shown) == (0, 0.5, "auto", False)
    assert (settings.mode, settings.volume, settings.region) == (Mode.FAST, None, None)
    settings.count, settings.opacity, settings.shown, settings.mode = 3, 0.25, True, Mode.GOOD
    settings.folder, settings.labels, settings.limit, settings.volume = Path("a b"), ["x", "y, z"], 7, volume
    settings.region = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLMarkupsROINode")
    again = settings_class(node)
    assert (again.count, again.opacity, again.shown, again.mode) == (3, 0.25, True, Mode.GOOD)
    assert (again.folder, list(again.labels), again.limit, again.volume) == (Path("a b"), ["x", "y, z"], 7, volume)
    assert again.region is settings.region is not None
    settings.labels.append("w")
    assert list(again.labels) == ["x", "y, z", "w"]


def test_wrong_values_are_refused(slicer: Any, node: Any) -> None:
    from slicer.parameterNodeWrapper import Choice, Minimum, WithinRange

    settings = wrapper_class(
        opacity=(Annotated[float, WithinRange(0, 1)], 0.5),
        count=(Annotated[int, Minimum(1)], 1),
        device=(Annotated[str, Choice(["cpu", "gpu"])], "cpu"),
        volume=slicer.vtkMRMLScalarVolumeNode,
    )(node)
    for name, value, error in (
        ("opacity", 1.5, ValueError),
        ("opacity", "0.5", (TypeError, ValueError)),
        ("opacity", None, (TypeError, ValueError)),
        ("count", 0, ValueError),
        ("device", "tpu", ValueError),
        ("volume", slicer.mrmlScene.AddNewNodeByClass("vtkMRMLTextNode"), TypeError),
    ):
        with pytest.raises(error):
            setattr(settings, name, value)
    assert (settings.opacity, settings.count, settings.device, settings.volume) == (0.5, 1, "cpu", None)


def test_type_without_a_form_in_the_node_is_refused_at_once() -> None:
    with pytest.raises(Exception, match="serializer"):
        wrapper_class(thing=complex)


def test_removed_node_is_no_value_any_more(slicer: Any, node: Any) -> None:
    settings = wrapper_class(volume=slicer.vtkMRMLScalarVolumeNode)(node)
    settings.volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    slicer.mrmlScene.RemoveNode(settings.volume)
    node.Modified()
    assert settings.volume is None


def test_widgets_and_parameters_follow_each_other(slicer: Any, node: Any) -> None:
    import ctk
    import qt
    from slicer.parameterNodeWrapper import Choice, WithinRange

    settings = wrapper_class(
        shown=(bool, True),
        opacity=(Annotated[float, WithinRange(0, 1)], 0.5),
        count=(Annotated[int, WithinRange(0, 9)], 2),
        device=(Annotated[str, Choice(["cpu", "gpu"])], "cpu"),
        mode=Mode,
        name=str,
        volume=slicer.vtkMRMLScalarVolumeNode,
    )(node)
    selector = slicer.qMRMLNodeComboBox()
    selector.noneEnabled = True
    selector.setMRMLScene(slicer.mrmlScene)
    ui = SimpleNamespace(
        shown=named(qt.QCheckBox(), "shown"),
        opacity=named(ctk.ctkSliderWidget(), "opacity"),
        count=named(qt.QSpinBox(), "count"),
        device=named(qt.QComboBox(), "device"),
        mode=named(qt.QComboBox(), "mode"),
        name=named(qt.QLineEdit(), "name"),
        volume=named(selector, "volume"),
        other=qt.QLabel(),
    )
    volume = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    tag = settings.connectGui(ui)
    assert (ui.shown.checked, ui.opacity.value, ui.opacity.maximum, ui.count.maximum) == (True, 0.5, 1, 9)
    assert [ui.device.itemText(i) for i in range(ui.device.count)] == ["cpu", "gpu"]
    assert [ui.mode.itemText(i) for i in range(ui.mode.count)] == ["FAST", "GOOD"]
    ui.shown.checked, ui.opacity.value, ui.count.value, ui.name.text = False, 0.75, 5, "A"
    ui.device.setCurrentIndex(1)
    ui.mode.setCurrentIndex(1)
    ui.volume.setCurrentNode(volume)
    assert (settings.shown, settings.opacity, settings.count, settings.name) == (False, 0.75, 5, "A")
    assert (settings.device, settings.mode, settings.volume) == ("gpu", Mode.GOOD, volume)
    settings.opacity, settings.volume = 0.25, None
    assert (ui.opacity.value, ui.volume.currentNode()) == (0.25, None)
    settings.disconnectGui(tag)
    ui.shown.checked, settings.opacity = True, 1.0
    assert (settings.shown, ui.opacity.value) == (False, 0.25)


def test_binding_a_node_selector_sets_its_node_types(slicer: Any, node: Any) -> None:
    settings = wrapper_class(region=slicer.vtkMRMLMarkupsROINode | slicer.vtkMRMLSegmentationNode | None)(node)
    selector = slicer.qMRMLNodeComboBox()
    selector.nodeTypes = ["vtkMRMLTextNode"]
    settings.connectGui(SimpleNamespace(selector=named(selector, "region")))
    assert list(selector.nodeTypes) == ["vtkMRMLMarkupsROINode", "vtkMRMLSegmentationNode"]


@pytest.mark.parametrize(
    "case", ["combo box without choices", "slider without bounds", "no such widget", "abstract node"]
)
def test_binding_that_slicer_refuses_is_refused(slicer: Any, node: Any, case: str) -> None:
    import ctk
    import qt

    kind, widget = {
        "combo box without choices": (str, qt.QComboBox),
        "slider without bounds": (float, ctk.ctkSliderWidget),
        "no such widget": (bool, qt.QToolButton),
        "abstract node": (slicer.vtkMRMLDisplayableNode, slicer.qMRMLNodeComboBox),
    }[case]
    settings = wrapper_class(thing=kind)(node)
    with pytest.raises((RuntimeError, TypeError)):
        settings.connectGui(SimpleNamespace(widget=named(widget(), "thing")))


def test_subclass_of_a_bindable_widget_is_not_bindable(slicer: Any, node: Any) -> None:
    import qt

    own = type("CheckBox", (qt.QCheckBox,), {})
    with pytest.raises(RuntimeError):
        wrapper_class(shown=bool)(node).connectGui(SimpleNamespace(box=named(own(), "shown")))


def test_parameter_that_is_not_there_is_refused(slicer: Any, node: Any) -> None:
    import qt

    with pytest.raises(ValueError):
        wrapper_class(shown=bool)(node).connectGui(SimpleNamespace(box=named(qt.QCheckBox(), "hidden")))


def test_cleared_node_gives_the_defaults_again(slicer: Any, node: Any) -> None:
    settings = wrapper_class(opacity=(float, 0.5))(node)
    settings.opacity = 0.75
    node.UnsetParameter("opacity")
    assert settings.opacity == 0.5
