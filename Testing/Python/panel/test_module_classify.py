"""Pressing Classify: what arrives in the scene and in the panel, and what does not when something is wrong."""

from __future__ import annotations

import logging
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def nodes(scene: Any) -> set[str]:
    return {scene.GetNthNode(i).GetID() for i in range(scene.GetNumberOfNodes())}


def result_table(host: SimpleNamespace) -> Any:
    return host.logic.getParameterNode().resultTable


def answers(host: SimpleNamespace, answer: Exception) -> None:
    host.client.answer = lambda _volume: answer


def test_classify_shows_answer_findings_table_plot_and_overlay(host: SimpleNamespace, volume: Any) -> None:
    host.press()
    assert host.ui.answerLabel.text == "HeadCT in 5 of 5 slices (uncalibrated), median 87 %"
    assert host.ui.findingsLabel.visible and "slice steps differ" in host.ui.findingsLabel.text
    assert host.ui.resultTableView.mrmlTableNode() is result_table(host)
    assert result_table(host).GetNumberOfRows() == 5
    chart = host.ui.plotWidget.mrmlPlotViewNode().GetPlotChartNode()
    assert chart is not None and chart.GetNumberOfPlotSeriesNodes() >= 3
    foreground = host.scene.GetNodeByID(host.composite.GetForegroundVolumeID())
    assert foreground is not None and foreground.GetName()
    assert host.composite.GetBackgroundVolumeID() == volume.GetID()


def test_engine_gets_the_voxels_and_place_of_the_chosen_volume(host: SimpleNamespace, volume: Any) -> None:
    import slicer

    host.press()
    (seen,) = host.client.volumes
    assert (seen.voxels == slicer.util.arrayFromVolume(volume)).all()
    assert seen.spacing_mm == pytest.approx((1.0, 1.5))
    assert host.client.bundles[0].name == "body-region"


def test_engine_gets_the_runtime_and_device_that_were_chosen(host: SimpleNamespace, volume: Any) -> None:
    host.press()
    host.ui.runtimeSelector.setCurrentIndex(host.ui.runtimeSelector.findText("onnxruntime"))
    host.ui.deviceSelector.setCurrentIndex(host.ui.deviceSelector.findText("cpu"))
    host.press()
    assert host.client.settings == [
        {"runtime": "auto", "device": "auto"},
        {"runtime": "onnxruntime", "device": "cpu"},
    ]
    assert host.ui.runtimeWhyLabel.text == "only one"


def test_panel_is_ready_again_after_a_run(host: SimpleNamespace, volume: Any) -> None:
    host.press()
    assert host.ui.classifyButton.text == "Classify"
    assert not host.ui.progressBar.visible
    assert host.ui.inputsCollapsibleButton.enabled


def test_progress_is_shown_and_inputs_are_locked_while_running(host: SimpleNamespace, volume: Any) -> None:
    seen: dict[str, Any] = {}

    def look() -> None:
        seen.update(
            value=host.ui.progressBar.value,
            visible=host.ui.progressBar.visible,
            words=host.ui.progressLabel.text,
            button=host.ui.classifyButton.text,
            inputs=host.ui.inputsCollapsibleButton.enabled,
            export=host.ui.exportButton.enabled,
        )

    host.client.before = look
    host.press()
    assert seen == {
        "value": 50,
        "visible": True,
        "words": "Classifying, 12 s left",
        "button": "Cancel",
        "inputs": False,
        "export": False,
    }


def test_application_handles_events_while_a_volume_is_classified(host: SimpleNamespace, volume: Any) -> None:
    import qt

    ticks: list[int] = []
    timer = qt.QTimer()
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start(0)
    host.press()
    timer.stop()
    assert len(ticks) > 3


def test_pressing_twice_cancels_and_leaves_nothing_behind(host: SimpleNamespace, volume: Any) -> None:
    before = nodes(host.scene)
    host.client.before = host.ui.classifyButton.click
    host.press()
    assert nodes(host.scene) == before
    assert result_table(host) is None
    assert host.ui.answerLabel.text == "No result yet."
    assert host.ui.classifyButton.enabled and host.ui.classifyButton.text == "Classify"
    assert not host.ui.messageLabel.visible


def test_cancel_is_said_until_it_has_happened(host: SimpleNamespace, volume: Any) -> None:
    seen: list[tuple[str, bool]] = []

    def cancel() -> None:
        host.ui.classifyButton.click()
        seen.append((host.ui.classifyButton.text, host.ui.classifyButton.enabled))

    host.client.before = cancel
    host.press()
    assert seen == [("Canceling...", False)]


def test_refusal_is_said_in_the_panel_and_leaves_no_node(
    host: SimpleNamespace, volume: Any, caplog: pytest.LogCaptureFixture
) -> None:
    from MedImgClassifierLib.engine.errors import Refusal

    before = nodes(host.scene)
    answers(host, Refusal("INPUT_MODALITY", bundle="body-region", expected="CT", found="PT"))
    with caplog.at_level(logging.ERROR):
        host.press()
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert record.getMessage().startswith("error[INPUT_MODALITY]:") and "\n" not in record.getMessage()
    assert host.ui.messageLabel.visible
    assert host.ui.messageLabel.text == record.getMessage()
    assert nodes(host.scene) == before
    assert host.ui.classifyButton.enabled


def test_refusal_goes_with_the_next_choice(host: SimpleNamespace, volume: Any) -> None:
    from MedImgClassifierLib.engine.errors import Refusal

    answers(host, Refusal("RESOURCE_WORKER_DIED", reason="killed"))
    host.press()
    assert host.ui.messageLabel.visible
    host.ui.bundleSelector.setCurrentIndex(1)
    assert not host.ui.messageLabel.visible


def test_worker_that_cannot_start_is_a_refusal(host: SimpleNamespace, volume: Any) -> None:
    from MedImgClassifierLib.engine.errors import Refusal

    def start(*_: Any, **__: Any) -> Any:
        raise Refusal("RESOURCE_WORKER_START", command="python", reason="no such file")

    host.client.start = start
    host.press()
    assert "RESOURCE_WORKER_START" in host.ui.messageLabel.text
    assert host.ui.classifyButton.enabled


def test_unexpected_error_leaves_a_working_panel(host: SimpleNamespace, volume: Any) -> None:
    answer = host.client.answer
    answers(host, ZeroDivisionError())
    before = nodes(host.scene)
    host.press()
    (error,) = host.errors
    host.errors.clear()
    assert isinstance(error, ZeroDivisionError)
    assert nodes(host.scene) == before
    host.client.answer = answer
    host.press()
    assert result_table(host) is not None


def test_failed_run_keeps_the_result_that_was_there(host: SimpleNamespace, volume: Any) -> None:
    from MedImgClassifierLib.engine.errors import Refusal

    host.press()
    before = nodes(host.scene)
    answers(host, Refusal("RESOURCE_WORKER_DIED", reason="killed"))
    host.press()
    assert nodes(host.scene) == before
    assert host.ui.answerLabel.text.startswith("HeadCT in 5 of 5")


def test_closing_the_scene_while_running_ends_quietly(host: SimpleNamespace, volume: Any) -> None:
    host.client.before = lambda: host.scene.Clear(False)
    host.press()
    assert result_table(host) is None
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0
    assert not host.ui.classifyButton.enabled
    assert not host.ui.messageLabel.visible


def test_closing_the_scene_when_the_nodes_were_just_made_ends_quietly(host: SimpleNamespace, volume: Any) -> None:
    end = host.panel.panel.runner._onEnd

    def close(work: Any) -> None:
        host.scene.Clear(False)
        end(work)

    host.panel.panel.runner._onEnd = close
    host.press()
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0
    assert host.ui.answerLabel.text == "No result yet."


def test_deleting_the_input_while_running_ends_quietly(host: SimpleNamespace, volume: Any) -> None:
    host.client.before = lambda: host.scene.RemoveNode(volume)
    host.press()
    assert host.scene.GetNumberOfNodesByClass("vtkMRMLTableNode") == 0
    assert not host.ui.classifyButton.enabled


def test_leaving_the_panel_while_running_keeps_the_run(host: SimpleNamespace, volume: Any) -> None:
    host.client.before = host.panel.exit
    host.press()
    assert result_table(host) is not None
    host.panel.enter()
    assert host.ui.answerLabel.text.startswith("HeadCT in 5 of 5")


def test_deleting_the_input_disables_classify(host: SimpleNamespace, volume: Any) -> None:
    host.press()
    host.scene.RemoveNode(volume)
    assert not host.ui.classifyButton.enabled
    assert "input volume" in host.ui.classifyButton.toolTip


def test_closing_the_scene_clears_the_panel(host: SimpleNamespace, volume: Any) -> None:
    host.press()
    host.scene.Clear(False)
    assert host.ui.answerLabel.text == "No result yet."
    assert host.ui.resultTableView.mrmlTableNode() is None
    assert not host.ui.classifyButton.enabled


def test_panel_works_again_after_the_scene_was_closed(host: SimpleNamespace, volume: Any) -> None:
    import slicer

    host.press()
    host.scene.Clear(False)
    node = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "next")
    slicer.util.updateVolumeFromArray(node, np.arange(192, dtype=np.int16).reshape(3, 8, 8))
    host.ui.inputSelector.setCurrentNode(node)
    host.press()
    assert result_table(host).GetNumberOfRows() == 3


def test_remove_result_takes_all_its_nodes_and_restores_the_views(host: SimpleNamespace, volume: Any) -> None:
    before = nodes(host.scene)
    host.press()
    host.ui.removeResultButton.click()
    left = [host.scene.GetNodeByID(i) for i in nodes(host.scene) - before]
    # the view of the panel itself, and what belongs to no result
    assert all(node.IsA("vtkMRMLPlotViewNode") or node.IsA("vtkMRMLColorNode") for node in left), left
    assert not host.composite.GetForegroundVolumeID()
    assert host.ui.answerLabel.text == "No result yet."
    assert not host.ui.removeResultButton.enabled


def test_table_deleted_elsewhere_clears_the_panel(host: SimpleNamespace, volume: Any) -> None:
    host.press()
    host.scene.RemoveNode(result_table(host))
    assert host.ui.answerLabel.text == "No result yet."


def test_classifying_again_reuses_the_nodes(host: SimpleNamespace, volume: Any) -> None:
    host.press()
    before = nodes(host.scene)
    table = result_table(host)
    host.press()
    assert nodes(host.scene) == before
    assert result_table(host) is table


def test_evidence_is_not_offered_as_an_image_to_classify(host: SimpleNamespace, volume: Any) -> None:
    host.press()
    evidence = host.scene.GetNodeByID(host.composite.GetForegroundVolumeID())
    host.ui.inputSelector.setCurrentNode(evidence)
    assert not host.ui.classifyButton.enabled
    assert "evidence" in host.ui.classifyButton.toolTip


def test_log_has_one_line_a_run_and_no_name_of_the_volume(
    host: SimpleNamespace, volume: Any, caplog: pytest.LogCaptureFixture
) -> None:
    volume.SetName("Doe^Jane")
    with caplog.at_level(logging.INFO):
        host.press()
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.INFO]
    assert len([line for line in lines if line.startswith("Classified a volume by body-region 1.0.0 in")]) == 1
    assert not any("Doe" in line for line in lines)


def test_script_classifies_without_the_panel(host: SimpleNamespace, volume: Any, bundles: dict[str, Any]) -> None:
    stages: list[str] = []
    result = host.logic.process(volume, bundles["body-region"], progress=lambda stage, _: stages.append(stage))
    assert result.table.GetNumberOfRows() == 5
    assert host.logic.classification(result.table).in_words() == "HeadCT in 5 of 5 slices (uncalibrated)"
    assert "classify" in stages


def test_script_that_stops_a_run_leaves_nothing(host: SimpleNamespace, volume: Any, bundles: dict[str, Any]) -> None:
    before = nodes(host.scene)

    def stop(stage: str, _fraction: float) -> None:
        if stage == "classify":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        host.logic.process(volume, bundles["body-region"], progress=stop)
    assert nodes(host.scene) == before
