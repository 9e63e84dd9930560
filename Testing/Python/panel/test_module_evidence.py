"""The evidence controls act on the slice views' composite nodes and on the evidence volume's display."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def result(host: SimpleNamespace, volume: Any) -> SimpleNamespace:
    host.press()
    host.settled()
    return host


def foreground(host: SimpleNamespace) -> Any:
    return host.scene.GetNodeByID(host.composite.GetForegroundVolumeID() or "")


def brightest_corner(host: SimpleNamespace) -> tuple[int, ...]:
    import numpy as np
    import slicer

    cells = slicer.util.arrayFromVolume(foreground(host))
    return tuple(int(i) for i in np.unravel_index(int(cells.argmax()), cells.shape))[1:]


def test_overlay_goes_off_and_on_again(result: SimpleNamespace) -> None:
    assert result.ui.overlayCheckBox.checked
    result.ui.overlayCheckBox.click()
    assert foreground(result) is None
    result.ui.overlayCheckBox.click()
    assert foreground(result) is not None


def test_overlay_off_gives_back_what_was_shown_before(host: SimpleNamespace, volume: Any) -> None:
    other = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "PET")
    host.composite.SetBackgroundVolumeID(volume.GetID())
    host.composite.SetForegroundVolumeID(other.GetID())
    host.composite.SetForegroundOpacity(0.2)
    host.press()
    host.ui.overlayCheckBox.click()
    assert host.composite.GetForegroundVolumeID() == other.GetID()
    assert host.composite.GetForegroundOpacity() == pytest.approx(0.2)


def test_opacity_slider_sets_the_views_opacity(result: SimpleNamespace) -> None:
    result.ui.opacitySlider.value = 0.85
    assert result.composite.GetForegroundOpacity() == pytest.approx(0.85)


def test_threshold_slider_hides_weaker_evidence(result: SimpleNamespace) -> None:
    result.ui.thresholdSlider.value = 0.6
    display = foreground(result).GetDisplayNode()
    assert display.GetApplyThreshold()
    assert display.GetLowerThreshold() == pytest.approx(0.6 * 255, abs=1)


def test_classes_are_offered_in_the_model_s_order_and_the_answer_is_chosen(result: SimpleNamespace) -> None:
    selector = result.ui.evidenceClassSelector
    assert [selector.itemText(i) for i in range(selector.count)] == ["HeadCT", "ChestCT", "HandXR"]
    assert selector.currentText == "HeadCT"
    assert brightest_corner(result) == (0, 0)


def test_choosing_another_class_shows_its_evidence(result: SimpleNamespace) -> None:
    volumes = result.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    result.ui.thresholdSlider.value = 0.6
    result.ui.evidenceClassSelector.setCurrentIndex(1)
    assert brightest_corner(result) == (3, 3)
    assert foreground(result).GetDisplayNode().GetLowerThreshold() == pytest.approx(0.6 * 255, abs=1)
    assert result.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode") == volumes


def test_a_class_without_evidence_is_said_and_colors_nothing(result: SimpleNamespace) -> None:
    import slicer

    result.ui.evidenceClassSelector.setCurrentIndex(2)
    assert result.ui.evidenceNoteLabel.visible
    assert "Nothing in this volume speaks for HandXR" in result.ui.evidenceNoteLabel.text
    assert slicer.util.arrayFromVolume(foreground(result)).max() == 0
    result.ui.evidenceClassSelector.setCurrentIndex(0)
    assert not result.ui.evidenceNoteLabel.visible


def test_choosing_a_class_while_the_overlay_is_off_changes_no_view(result: SimpleNamespace) -> None:
    result.ui.overlayCheckBox.click()
    result.ui.evidenceClassSelector.setCurrentIndex(1)
    assert foreground(result) is None
    result.ui.overlayCheckBox.click()
    assert brightest_corner(result) == (3, 3)


def test_entering_the_panel_leaves_the_views_alone(result: SimpleNamespace) -> None:
    result.panel.exit()
    result.composite.SetForegroundVolumeID(None)
    result.panel.enter()
    assert foreground(result) is None


def test_controls_wait_for_a_result(host: SimpleNamespace, volume: Any) -> None:
    assert not host.ui.evidenceCollapsibleButton.enabled


def test_evidence_deleted_elsewhere_takes_its_controls_along(result: SimpleNamespace) -> None:
    result.scene.RemoveNode(foreground(result))
    result.refreshed()
    assert not result.ui.evidenceCollapsibleButton.enabled
    result.ui.opacitySlider.value = 0.1


def test_reopened_scene_offers_every_class_from_the_record(result: SimpleNamespace) -> None:
    result.logic.forgetResults()
    result.panel.exit()
    result.panel.enter()
    assert result.ui.answerLabel.text.startswith("HeadCT in 5 of 5")
    result.ui.evidenceClassSelector.setCurrentIndex(1)
    assert brightest_corner(result) == (3, 3)


def test_color_map_is_that_of_the_overlay(result: SimpleNamespace) -> None:
    before = foreground(result).GetDisplayNode().GetColorNodeID()
    assert result.ui.colorMapSelector.currentText == "Red to yellow"
    result.ui.colorMapSelector.setCurrentIndex(1)
    assert foreground(result).GetDisplayNode().GetColorNodeID() != before
    result.ui.colorMapSelector.setCurrentIndex(0)
    assert foreground(result).GetDisplayNode().GetColorNodeID() == before


def test_legend_comes_and_goes(result: SimpleNamespace) -> None:
    from MedImgClassifierLib.scene import legend

    assert legend.legendOf(foreground(result)) is None
    result.ui.legendCheckBox.click()
    assert "HeadCT" in legend.legendOf(foreground(result)).GetTitleText()
    result.ui.evidenceClassSelector.setCurrentIndex(1)
    assert "ChestCT" in legend.legendOf(foreground(result)).GetTitleText()
    result.ui.legendCheckBox.click()
    assert legend.legendOf(foreground(result)) is None


def test_segment_is_made_of_the_shown_class_above_the_threshold(result: SimpleNamespace) -> None:
    result.ui.evidenceClassSelector.setCurrentIndex(1)
    result.ui.segmentationButton.click()
    node = result.scene.GetFirstNodeByClass("vtkMRMLSegmentationNode")
    segmentation = node.GetSegmentation()
    assert [segmentation.GetNthSegment(n).GetName() for n in range(segmentation.GetNumberOfSegments())] == ["ChestCT"]
    result.ui.removeResultButton.click()
    assert result.scene.IsNodePresent(node)  # it is the reader's own


def test_no_segment_where_nothing_speaks_for_the_class(result: SimpleNamespace) -> None:
    result.ui.evidenceClassSelector.setCurrentIndex(2)
    assert not result.ui.segmentationButton.enabled


def test_foreground_that_the_reader_chooses_stays_while_the_threshold_moves(result: SimpleNamespace) -> None:
    other = result.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "PET")
    result.composite.SetForegroundVolumeID(other.GetID())
    result.ui.thresholdSlider.value = 0.7
    assert result.composite.GetForegroundVolumeID() == other.GetID()


# --- an overlay that nobody answers for is not left in the views


def test_overlay_goes_with_a_table_that_was_deleted_elsewhere(result: SimpleNamespace) -> None:
    result.scene.RemoveNode(result.panel.panel.table())
    result.refreshed()
    assert foreground(result) is None


def test_overlay_of_a_result_that_is_not_chosen_is_hidden(result: SimpleNamespace) -> None:
    table = result.panel.panel.table()
    result.ui.resultSelector.setCurrentNode(None)
    assert foreground(result) is None
    result.ui.resultSelector.setCurrentNode(table)
    assert foreground(result) is not None


def test_overlay_of_a_result_without_record_is_hidden(result: SimpleNamespace) -> None:
    result.scene.RemoveNode(result.panel.panel.table().GetNodeReference("MedImgClassifier.Provenance"))
    result.panel.panel.refresh()
    assert foreground(result) is None


def test_views_of_another_volume_are_left_alone_by_a_run(host: SimpleNamespace, volume: Any) -> None:
    other = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other patient")
    fused = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "fused with it")
    host.composite.SetBackgroundVolumeID(other.GetID())
    host.composite.SetForegroundVolumeID(fused.GetID())
    host.press()
    assert host.composite.GetBackgroundVolumeID() == other.GetID()
    assert host.composite.GetForegroundVolumeID() == fused.GetID()
    host.panel.panel.goToRow(1)  # asked for
    assert host.composite.GetBackgroundVolumeID() == volume.GetID()
    assert host.composite.GetForegroundVolumeID() != fused.GetID()
