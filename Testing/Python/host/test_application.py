"""`slicer.app`, the main window, modules, dialogs, subject hierarchy: what code meets besides widgets."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest

MODULE = """
import slicer
from slicer.ScriptedLoadableModule import *


class Probe(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = "Probe"


class ProbeWidget(ScriptedLoadableModuleWidget):
    number = {number}
    events = []

    def setup(self):
        ScriptedLoadableModuleWidget.setup(self)
        self.logic = ProbeLogic()
        ProbeWidget.events.append("setup")

    def enter(self):
        ProbeWidget.events.append("enter")

    def cleanup(self):
        ProbeWidget.events.append("cleanup")


class ProbeLogic(ScriptedLoadableModuleLogic):
    pass
"""


@pytest.fixture
def probe(slicer: Any, tmp_path: Path) -> Any:
    """A scripted module of two classes, open in a panel: (python module, panel, file)."""
    import shiboken6

    from host import application

    file = tmp_path / "Probe.py"
    file.write_text(textwrap.dedent(MODULE).format(number=1), encoding="utf-8")
    module = application.load_module(file)
    panel, window = application.open_panel(module)
    yield module, panel, file
    if shiboken6.isValid(window):
        window.close()


def test_there_is_no_main_window_until_it_is_opened(slicer: Any) -> None:
    from host import application

    assert slicer.util.mainWindow() is None and slicer.app.layoutManager() is None
    assert slicer.util.showStatusMessage("hello") is False
    window = application.open_main_window()
    assert slicer.util.mainWindow() is window
    slicer.util.showStatusMessage("hello")
    assert window.statusBar().currentMessage() == "hello"
    application.close_main_window()
    assert slicer.util.mainWindow() is None and slicer.app.layoutManager() is None


def test_slice_widgets_are_those_of_the_slice_views_that_were_added(slicer: Any) -> None:
    import vtk

    from host import application

    logic = application.add_slice_view("Red", (64, 48))
    application.open_main_window()
    layout = slicer.app.layoutManager()
    assert list(layout.sliceViewNames()) == ["Red"] and layout.sliceWidget("Blue") is None
    widget = layout.sliceWidget("Red")
    assert widget is layout.sliceWidget("Red")
    assert widget.sliceLogic() is logic and widget.mrmlSliceNode() is logic.GetSliceNode()
    corners = widget.sliceView().cornerAnnotation()
    corners.SetText(vtk.vtkCornerAnnotation.UpperRight, "HeadCT 97 %")
    widget.sliceView().scheduleRender()
    assert corners is widget.sliceView().cornerAnnotation() and corners.IsA("vtkCornerAnnotation")
    assert slicer.app.applicationLogic().GetSliceLogicByLayoutName("Red") is logic


def test_slice_view_shows_its_volume_and_its_texts(slicer: Any) -> None:
    import numpy as np

    from host import application

    volume = slicer.util.addVolumeFromArray(np.full((4, 32, 32), 200, np.uint8))
    logic = application.add_slice_view("Red", (64, 64))
    application.open_main_window()
    logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
    volume.GetDisplayNode().AutoWindowLevelOff()
    volume.GetDisplayNode().SetWindowLevelMinMax(0, 255)
    slicer.app.layoutManager().resetSliceViews()
    logic.SetSliceOffset(1.0)
    view = slicer.app.layoutManager().sliceWidget("Red").sliceView()
    view.resize(64, 64)
    assert view.grab().toImage().pixelColor(32, 32).red() == pytest.approx(200, abs=3)


def test_added_view_replaces_one_of_the_same_name(slicer: Any) -> None:
    from host import application

    before = slicer.mrmlScene.GetNumberOfNodes()
    earlier = application.add_slice_view("Red")
    once = slicer.mrmlScene.GetNumberOfNodes()
    application.add_slice_view("Red")
    assert earlier.GetMRMLScene() is None
    assert slicer.mrmlScene.GetNumberOfNodes() == once > before


def test_module_object_takes_no_invented_attribute(slicer: Any, probe: Any) -> None:
    with pytest.raises(AttributeError):
        slicer.modules.probe.tittle = "misspelt"
    assert slicer.modules.probe.title == "Probe"


def test_slicer_util_finds_module_widget_and_logic(slicer: Any, probe: Any) -> None:
    _module, panel, _file = probe
    assert slicer.util.getModuleWidget("Probe") is panel is slicer.modules.ProbeWidget
    assert slicer.util.getModuleLogic("Probe") is panel.logic
    assert slicer.modules.probe.widgetRepresentation().isEntered


def test_reload_makes_a_new_panel_of_the_new_source_and_does_not_enter_it(slicer: Any, probe: Any) -> None:
    _module, panel, file = probe
    file.write_text(MODULE.format(number=2), encoding="utf-8")
    slicer.util.reloadScriptedModule("Probe")
    assert panel.events[-1] == "cleanup"
    assert slicer.modules.ProbeWidget.number == 2 and slicer.modules.ProbeWidget.events == ["setup"]


def test_closed_panel_is_gone_when_the_next_one_opens(slicer: Any, probe: Any) -> None:
    import shiboken6

    from host import application

    module, _panel, _file = probe
    window = slicer.modules.probe.widgetRepresentation()
    window.close()
    _again, other = application.open_panel(module)
    assert not shiboken6.isValid(window)
    other.close()


@pytest.mark.parametrize("name", ["colors", "markups", "plots", "segmentations", "volumes", "tables", "texts"])
def test_modules_have_the_logics_of_slicer_core(slicer: Any, name: str) -> None:
    logic = getattr(slicer.modules, name).logic()
    assert logic.IsA("vtkMRMLAbstractLogic") and logic.GetMRMLScene() is slicer.mrmlScene


def test_color_legend_and_segmentation_work_through_them(slicer: Any) -> None:
    import numpy as np

    volume = slicer.util.addVolumeFromArray(np.zeros((3, 4, 5), np.uint8))
    legend = slicer.modules.colors.logic().AddDefaultColorLegendDisplayNode(volume)
    assert legend.IsA("vtkMRMLColorLegendDisplayNode")
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segment = node.GetSegmentation().AddEmptySegment("", "tumor")
    voxels = np.zeros((3, 4, 5), np.uint8)
    voxels[1, 1, 1] = 1
    slicer.util.updateSegmentBinaryLabelmapFromArray(voxels, node, segment, volume)
    assert slicer.util.arrayFromSegmentBinaryLabelmap(node, segment, volume).sum() == 1


@pytest.mark.parametrize(
    ("kind", "owner"),
    [
        ("vtkMRMLScalarVolumeNode", "Volumes"),
        ("vtkMRMLLabelMapVolumeNode", "LabelMaps"),
        ("vtkMRMLTableNode", "Tables"),
        ("vtkMRMLPlotChartNode", "Plots"),
        ("vtkMRMLPlotSeriesNode", "Plots"),
        ("vtkMRMLMarkupsROINode", "Markups"),
        ("vtkMRMLSegmentationNode", "Segmentations"),
        ("vtkMRMLLinearTransformNode", "Transforms"),
    ],
)
def test_node_gets_a_subject_hierarchy_item_and_loses_it(slicer: Any, kind: str, owner: str) -> None:
    scene = slicer.mrmlScene
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    node = scene.AddNewNodeByClass(kind, "mine")
    item = hierarchy.GetItemByDataNode(node)
    assert item and hierarchy.GetItemOwnerPluginName(item) == owner
    assert hierarchy.GetItemParent(item) == hierarchy.GetSceneItemID()
    scene.RemoveNode(node)
    assert hierarchy.GetItemDataNode(item) is None


def test_hidden_nodes_and_nodes_that_no_plugin_claims_get_no_item(slicer: Any) -> None:
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    hidden = slicer.vtkMRMLTableNode()
    hidden.SetHideFromEditors(True)
    for node in (slicer.mrmlScene.AddNode(hidden), slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotViewNode")):
        assert not hierarchy.GetItemByDataNode(node)


def test_imported_scene_gets_items_for_nodes_that_have_none(slicer: Any, tmp_path: Path) -> None:
    import slicer as package

    scene, other = slicer.mrmlScene, package.vtkMRMLScene()
    other.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "loaded")
    other.SetURL(str(tmp_path / "scene.mrml"))
    other.Commit()
    scene.SetURL(str(tmp_path / "scene.mrml"))
    scene.Import()
    hierarchy = package.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    assert hierarchy.GetItemByDataNode(scene.GetFirstNodeByName("loaded"))


def test_messages_are_recorded_and_answered(slicer: Any) -> None:
    import qt

    from host import dialogs

    slicer.util.errorDisplay("No model.", windowTitle="Classify", detailedText="why")
    assert (dialogs.asked[-1].text, dialogs.asked[-1].details) == ("No model.", "why")
    for answer, expected in ((qt.QMessageBox.Ok, True), (qt.QMessageBox.Cancel, False)):
        dialogs.answers.append(answer)
        assert slicer.util.confirmOkCancelDisplay("Remove?") is expected


def test_confirmation_in_testing_mode_is_false_as_in_slicer(slicer: Any) -> None:
    """Slicer 5.12 compares its `True` with the button's number, against its own documentation."""
    assert slicer.util.confirmOkCancelDisplay("Remove?") is False


def test_file_dialogs_give_paths(slicer: Any) -> None:
    import qt

    from host import dialogs

    dialogs.answers += ["/a/b.zip", ""]
    assert qt.QFileDialog.getOpenFileName(None, "Import", "", "*.zip") == "/a/b.zip"
    assert qt.QFileDialog.getExistingDirectory(None, "Import") == ""
    assert [a.title for a in dialogs.asked] == ["Import", "Import"]


def test_box_with_own_buttons_is_pressed(slicer: Any) -> None:
    import qt

    from host import dialogs

    box = qt.QMessageBox()
    small = box.addButton("Small and &fast", qt.QMessageBox.AcceptRole)
    box.addButton(qt.QMessageBox.Cancel)
    dialogs.answers.append(dialogs.press("Small"))
    box.exec_()
    assert box.clickedButton() is small


def test_dialog_that_nobody_answers_is_a_fault_and_does_not_wait(slicer: Any, recorded: list[Any]) -> None:
    import qt

    assert qt.QFileDialog.getSaveFileName(None, "Save") == ""
    qt.QDialog().exec_()
    assert [f.kind for f in recorded] == ["dialog", "dialog"]


def test_settings_are_of_this_process_only(slicer: Any) -> None:
    slicer.app.settings().setValue("Probe/number", 3)
    assert int(slicer.app.userSettings().value("Probe/number")) == 3
    assert slicer.util.settingsValue("Probe/number", 0, int) == 3
    assert "stand-in-host-" in slicer.app.settings().fileName()


def test_application_says_its_version_and_folder(slicer: Any) -> None:
    assert slicer.app.applicationVersion.startswith(f"{slicer.app.majorVersion}.{slicer.app.minorVersion}.")
    assert Path(slicer.app.temporaryPath).is_dir()
    assert slicer.util.tempDirectory().startswith(slicer.app.temporaryPath)


def test_extension_comes_from_the_server_only_if_it_is_there(slicer: Any) -> None:
    model = slicer.app.extensionsManagerModel()
    model._set(installed=["SampleExtension"], on_server=["PyTorch"])
    assert model.isExtensionInstalled("SampleExtension") and not model.isExtensionInstalled("PyTorch")
    assert model.installExtensionFromServer("PyTorch", False) and model.isExtensionInstalled("PyTorch")
    assert not model.installExtensionFromServer("Unknown", False)
    model._set()


def test_dicom_database_gives_files_and_values(slicer: Any) -> None:
    slicer.dicomDatabase._add("/d/1.dcm", "1.2.3", "1.2", _0008_0060="CT")
    assert slicer.dicomDatabase.fileForInstance("1.2.3") == "/d/1.dcm"
    assert slicer.dicomDatabase.instanceValue("1.2.3", "0008,0060") == "CT"
    assert list(slicer.dicomDatabase.filesForSeries("1.2")) == ["/d/1.dcm"]
    assert slicer.dicomDatabase.fileValue("/d/2.dcm", "0008,0060") == ""
