"""A .ui file is loaded as Slicer loads it; what is wrong in it is told to tests only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

FRAME = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Panel</class>
 <widget class="qMRMLWidget" name="Panel">
  <layout class="QVBoxLayout" name="layout">
   <property name="leftMargin"><number>3</number></property>
   <item>{item}</item>
  </layout>
 </widget>
 <customwidgets>
  <customwidget><class>qMRMLTimeMachine</class><extends>QLabel</extends><header>x.h</header></customwidget>
 </customwidgets>
 <connections>{connection}</connections>
</ui>
"""
SELECTOR = '<widget class="qMRMLNodeComboBox" name="selector">{}</widget>'
CONNECTION = "<connection><sender>{}</sender><signal>{}</signal><receiver>{}</receiver><slot>{}</slot></connection>"
SCENE = CONNECTION.format("Panel", "mrmlSceneChanged(vtkMRMLScene*)", "selector", "setMRMLScene(vtkMRMLScene*)")


def load(slicer: Any, folder: Path, item: str, connection: str = "") -> Any:
    path = folder / "Panel.ui"
    path.write_text(FRAME.format(item=item, connection=connection), encoding="utf-8")
    top = slicer.util.loadUI(str(path))
    return slicer.util.childWidgetVariables(top), top


def test_scene_reaches_the_widgets_through_the_connections(slicer: Any, tmp_path: Path) -> None:
    ui, top = load(slicer, tmp_path, SELECTOR.format(""), SCENE)
    top.setMRMLScene(slicer.mrmlScene)
    assert ui.selector.mrmlScene() is slicer.mrmlScene


def test_unknown_class_becomes_the_base_that_the_file_names(slicer: Any, tmp_path: Path, recorded: list[Any]) -> None:
    text = '<property name="text"><string>soon</string></property>'
    ui, _top = load(slicer, tmp_path, f'<widget class="qMRMLTimeMachine" name="machine">{text}</widget>')
    assert ui.machine.text == "soon"
    assert [f.kind for f in recorded] == ["class"]


def test_unknown_property_becomes_a_dynamic_one(slicer: Any, tmp_path: Path, recorded: list[Any]) -> None:
    item = SELECTOR.format('<property name="noneEnabledd"><bool>true</bool></property>')
    ui, _top = load(slicer, tmp_path, item)
    assert ui.selector.property("noneEnabledd") is True
    assert [f.kind for f in recorded] == ["property"]


def test_parameter_name_is_a_dynamic_property_on_purpose(slicer: Any, tmp_path: Path) -> None:
    item = SELECTOR.format('<property name="SlicerParameterName" stdset="0"><string>volume</string></property>')
    ui, _top = load(slicer, tmp_path, item)
    assert ui.selector.property("SlicerParameterName") == "volume"


@pytest.mark.parametrize(
    "connection",
    [
        CONNECTION.format("Panel", "mrmlSceneChanged(vtkMRMLScene*)", "nobody", "setMRMLScene(vtkMRMLScene*)"),
        CONNECTION.format("Panel", "mrmlSceneChanged(vtkMRMLScene*)", "selector", "setScene(vtkMRMLScene*)"),
        CONNECTION.format("Panel", "mrmlSceneChanged(vtkMRMLScene*)", "selector", "mrmlScene()"),
        CONNECTION.format("Panel", "sceneChanged(vtkMRMLScene*)", "selector", "setMRMLScene(vtkMRMLScene*)"),
    ],
    ids=["no such receiver", "no such slot", "not a slot", "no such signal"],
)
def test_connection_that_cannot_be_made_is_left_out(
    slicer: Any, tmp_path: Path, recorded: list[Any], connection: str
) -> None:
    ui, top = load(slicer, tmp_path, SELECTOR.format(""), connection)
    top.setMRMLScene(slicer.mrmlScene)
    assert ui.selector.mrmlScene() is None
    assert len(recorded) == 1 and recorded[0].kind in ("connection", "signal")
