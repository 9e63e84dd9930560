"""Pressing Classify: what arrives in the scene and in the panel, and what does not when something is wrong."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def nodes(scene: Any) -> set[str]:
    return {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}


def press(host: SimpleNamespace) -> None:
    assert host.ui.classifyButton.enabled, host.ui.classifyButton.toolTip
    host.ui.classifyButton.click()


def result_table(host: SimpleNamespace) -> Any:
    return host.logic.getParameterNode().resultTable


def test_classify_shows_answer_findings_table_and_overlay(host: SimpleNamespace, volume: Any) -> None:
    press(host)
    assert host.ui.answerLabel.text == "HeadCT in 5 of 5 slices (uncalibrated)"
    assert host.ui.findingsLabel.visible and "slice steps differ" in host.ui.findingsLabel.text
    assert host.ui.resultTableView.mrmlTableNode() is result_table(host)
    assert result_table(host).GetNumberOfRows() == 5
    foreground = host.scene.GetNodeByID(host.composite.GetForegroundVolumeID())
    assert foreground is not None and foreground.GetName()
    assert host.composite.GetBackgroundVolumeID() == volume.GetID()


def test_engine_gets_the_voxels_and_place_of_the_chosen_volume(host: SimpleNamespace, volume: Any) -> None:
    import slicer

    press(host)
    (seen,) = host.client.volumes
    assert (seen.voxels == slicer.util.arrayFromVolume(volume)).all()
    assert seen.spacing_mm == pytest.approx((1.0, 1.5))
    assert host.client.bundles[0].name == "body-region"


def test_panel_is_ready_again_after_a_run(host: SimpleNamespace, volume: Any) -> None:
    press(host)
    assert host.ui.classifyButton.text == "Classify"
    assert not host.ui.progressBar.visible
    assert host.ui.inputsCollapsibleButton.enabled


def test_progress_is_shown_and_inputs_are_locked_while_running(host: SimpleNamespace, volume: Any) -> None:
    seen: dict[str, Any] = {}

    def look() -> None:
        seen.update(
            value=host.ui.progressBar.value,
            visible=host.ui.progressBar.visible,
            button=host.ui.classifyButton.text,
            inputs=host.ui.inputsCollapsibleButton.enabled,
        )

    host.client.before = look
    press(host)
    assert seen == {"value": 50, "visible": True, "button": "Cancel", "inputs": False}


def test_cancel_leaves_nothing_behind(host: SimpleNamespace, volume: Any) -> None:
    before = nodes(host.scene)
    host.client.before = host.ui.classifyButton.click
    press(host)
    assert nodes(host.scene) == before
    assert result_table(host) is None
    assert host.ui.answerLabel.text == "No result yet."
    assert host.ui.classifyButton.enabled


def test_refusal_is_one_line_and_leaves_no_node(
    host: SimpleNamespace, volume: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from MedImgClassifierLib.engine.errors import Refusal

    def refuse() -> None:
        raise Refusal("INPUT_MODALITY", bundle="body-region", expected="CT", found="PT")

    before = nodes(host.scene)
    host.client.before = refuse
    with caplog.at_level(logging.ERROR):
        press(host)
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.getMessage().startswith("error[INPUT_MODALITY]:") and "\n" not in record.getMessage()
    assert nodes(host.scene) == before
    assert host.ui.classifyButton.enabled


def test_unexpected_error_leaves_a_working_panel(host: SimpleNamespace, volume: Any) -> None:
    def break_down() -> None:
        raise ZeroDivisionError

    host.client.before = break_down
    before = nodes(host.scene)
    press(host)
    (error,) = host.errors
    host.errors.clear()
    assert isinstance(error, ZeroDivisionError)
    assert nodes(host.scene) == before
    host.client.before = lambda: None
    press(host)
    assert result_table(host) is not None


def test_closing_the_scene_while_running_ends_quietly(host: SimpleNamespace, volume: Any) -> None:
    host.client.before = lambda: host.scene.Clear(False)
    press(host)
    assert result_table(host) is None
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0
    assert not host.ui.classifyButton.enabled


def test_deleting_the_input_while_running_ends_quietly(host: SimpleNamespace, volume: Any) -> None:
    host.client.before = lambda: host.scene.RemoveNode(volume)
    press(host)
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0
    assert not host.ui.classifyButton.enabled


def test_deleting_the_input_disables_classify(host: SimpleNamespace, volume: Any) -> None:
    press(host)
    host.scene.RemoveNode(volume)
    assert not host.ui.classifyButton.enabled or host.ui.inputSelector.currentNode() is not None
    host.ui.inputSelector.setCurrentNode(None)
    assert "input volume" in host.ui.classifyButton.toolTip


def test_closing_the_scene_clears_the_panel(host: SimpleNamespace, volume: Any) -> None:
    press(host)
    host.scene.Clear(False)
    assert host.ui.answerLabel.text == "No result yet."
    assert host.ui.resultTableView.mrmlTableNode() is None
    assert not host.ui.classifyButton.enabled


def test_panel_works_again_after_the_scene_was_closed(host: SimpleNamespace, volume: Any) -> None:
    import slicer

    host.scene.Clear(False)
    node = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "next")
    slicer.util.updateVolumeFromArray(node, np.zeros((3, 8, 8), np.int16))
    host.ui.inputSelector.setCurrentNode(node)
    press(host)
    assert result_table(host).GetNumberOfRows() == 3


def test_remove_result_takes_all_its_nodes_and_restores_the_views(host: SimpleNamespace, volume: Any) -> None:
    before = nodes(host.scene)
    press(host)
    host.ui.removeResultButton.click()
    left = nodes(host.scene) - before
    assert all(host.scene.GetNodeByID(i).IsA("vtkMRMLColorNode") for i in left), left
    assert not host.composite.GetForegroundVolumeID()
    assert host.ui.answerLabel.text == "No result yet."
    assert not host.ui.removeResultButton.enabled


def test_table_deleted_elsewhere_clears_the_panel(host: SimpleNamespace, volume: Any) -> None:
    press(host)
    host.scene.RemoveNode(result_table(host))
    assert host.ui.answerLabel.text == "No result yet."


def test_classifying_again_replaces_the_result(host: SimpleNamespace, volume: Any) -> None:
    press(host)
    tables = host.scene.GetNumberOfNodesByClass("vtkMRMLTableNode")
    volumes = host.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    press(host)
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == tables
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == volumes


def test_evidence_is_not_offered_as_an_image_to_classify(host: SimpleNamespace, volume: Any) -> None:
    press(host)
    evidence = host.scene.GetNodeByID(host.composite.GetForegroundVolumeID())
    host.ui.inputSelector.setCurrentNode(evidence)
    assert not host.ui.classifyButton.enabled
    assert "evidence" in host.ui.classifyButton.toolTip
