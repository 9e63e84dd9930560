"""The upper part of the panel: models and their cards, inputs by channel, restriction."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


def add_volume(host: SimpleNamespace, name: str) -> Any:
    import slicer

    node = host.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    slicer.util.updateVolumeFromArray(node, np.arange(5 * 16 * 20, dtype=np.int16).reshape(5, 16, 20))
    node.SetSpacing(1.0, 1.5, 5.0)
    return node


def rewrite(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")


@pytest.fixture
def two_channels(host: SimpleNamespace, bundles: dict[str, Path]) -> SimpleNamespace:
    """The model 'sequence' wants a T1 and a T2, and is chosen."""
    channels = [{"name": name, "modality": ["MR"], "units": ["arbitrary"]} for name in ("T1", "T2")]
    rewrite(bundles["sequence"], input={"channels": channels})
    host.panel.panel.reloadModels("sequence")
    return host


def further(host: SimpleNamespace) -> Any:
    """The selector of the second channel."""
    return host.ui.channelsLayout.itemAt(0, host.ui.channelsLayout.FieldRole).widget()


def test_models_are_offered_with_their_intended_use(host: SimpleNamespace) -> None:
    selector = host.ui.bundleSelector
    assert [selector.itemText(i) for i in range(selector.count)] == ["body-region", "sequence"]
    assert host.ui.intendedUseLabel.text == "Intended use: For body-region."
    selector.setCurrentIndex(1)
    assert host.ui.intendedUseLabel.text == "Intended use: For sequence."


def test_card_says_what_the_model_is_and_is_not_for(host: SimpleNamespace) -> None:
    text = host.ui.cardBrowser.toPlainText()
    for said in ("Model body-region 1.0.0", "For body-region.", "diagnosis", "made for tests", "CC0-1.0", "HeadCT"):
        assert said in text
    host.ui.bundleSelector.setCurrentIndex(1)
    assert "Model sequence" in host.ui.cardBrowser.toPlainText()


def test_text_of_a_model_is_no_markup(host: SimpleNamespace, bundles: dict[str, Path]) -> None:
    rewrite(bundles["body-region"], intended_use="<img src='x'><b>bold</b>")
    host.panel.panel.reloadModels()
    assert "<b>bold</b>" in host.ui.cardBrowser.toPlainText()


@pytest.mark.parametrize("content", ["no JSON", "[]", "{}"])
def test_model_that_cannot_be_read_is_shown_and_not_used(
    host: SimpleNamespace, volume: Any, bundles: dict[str, Path], content: str
) -> None:
    (bundles["body-region"] / "manifest.json").write_text(content, encoding="utf-8")
    host.panel.panel.reloadModels()
    assert "not readable" in host.ui.intendedUseLabel.text
    assert not host.ui.classifyButton.enabled


def test_model_that_is_gone_gives_way_to_another(
    host: SimpleNamespace, bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from MedImgClassifierLib import resources

    monkeypatch.setattr(resources, "bundles", lambda: {"sequence": bundles["sequence"]})
    host.panel.panel.reloadModels()
    assert host.ui.bundleSelector.currentText == "sequence"
    assert host.panel.panel.settings.bundle == "sequence"


def test_runtimes_and_devices_are_those_of_the_engine(host: SimpleNamespace) -> None:
    from MedImgClassifierLib.engine import runtimes
    from MedImgClassifierLib.panel import inputs

    assert set(inputs.RUNTIMES) == {"auto", *runtimes.RUNTIMES}
    assert set(inputs.DEVICES) == set(runtimes.DEVICES)


# --- inputs by channel


def test_model_of_one_channel_has_one_selector(host: SimpleNamespace) -> None:
    assert not host.ui.channelsWidget.visible
    assert host.ui.inputSelectorLabel.text == "Input volume:"


def test_each_channel_has_a_selector_of_its_own(two_channels: SimpleNamespace) -> None:
    assert two_channels.ui.inputSelectorLabel.text == "T1:"
    assert not two_channels.ui.channelsWidget.isHidden()
    assert two_channels.ui.channelsLayout.rowCount() == 1
    assert "T2: Choose an input volume" in two_channels.ui.classifyButton.toolTip or (
        "T1: Choose an input volume" in two_channels.ui.classifyButton.toolTip
    )


def test_volumes_are_assigned_to_channels_by_name(host: SimpleNamespace, bundles: dict[str, Path]) -> None:
    second, first = add_volume(host, "brain T2 axial"), add_volume(host, "brain T1 axial")
    channels = [{"name": name, "modality": ["MR"], "units": ["arbitrary"]} for name in ("T1", "T2")]
    rewrite(bundles["sequence"], input={"channels": channels})
    host.panel.panel.reloadModels("sequence")
    assert host.ui.inputSelector.currentNode() is first
    assert further(host).currentNode() is second


def test_one_volume_is_not_taken_for_two_channels(two_channels: SimpleNamespace) -> None:
    node = add_volume(two_channels, "any")
    two_channels.ui.inputSelector.setCurrentNode(node)
    further(two_channels).setCurrentNode(node)
    assert not two_channels.ui.classifyButton.enabled
    assert "T2" in two_channels.ui.classifyButton.toolTip


def test_engine_gets_a_case_of_named_channels(two_channels: SimpleNamespace) -> None:
    first, second = add_volume(two_channels, "a"), add_volume(two_channels, "b")
    two_channels.ui.inputSelector.setCurrentNode(first)
    further(two_channels).setCurrentNode(second)
    two_channels.client.answer = lambda _case: ZeroDivisionError()
    two_channels.press()
    two_channels.errors.clear()
    (case,) = two_channels.client.volumes
    assert list(case.channels) == ["T1", "T2"]
    assert case.reference == "T1"


def test_choice_for_a_further_channel_is_kept_with_the_scene(two_channels: SimpleNamespace) -> None:
    node = add_volume(two_channels, "b")
    further(two_channels).setCurrentNode(node)
    two_channels.panel.exit()
    two_channels.panel.enter()
    assert further(two_channels).currentNode() is node


def test_image_is_chosen_by_itself_where_none_was(host: SimpleNamespace) -> None:
    node = add_volume(host, "CT")
    host.panel.exit()
    host.panel.enter()
    assert host.ui.inputSelector.currentNode() is node


# --- restriction


@pytest.fixture
def roi(host: SimpleNamespace, volume: Any) -> Any:
    """Meets the slices 1 and 2 of the volume: RAS z from 6 to 11 mm."""
    node = host.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "R")
    node.SetCenter(10.0, 10.0, 8.5)
    node.SetSize(4.0, 4.0, 5.0)
    return node


def test_only_slices_that_the_roi_meets_are_classified(host: SimpleNamespace, volume: Any, roi: Any) -> None:
    import slicer

    host.ui.restrictionSelector.setCurrentNode(roi)
    host.press()
    (seen,) = host.client.volumes
    assert (seen.voxels == slicer.util.arrayFromVolume(volume)[1:3]).all()
    table = host.panel.panel.settings.resultTable
    assert [table.GetCellText(row, 0) for row in range(table.GetNumberOfRows())] == ["1", "2"]
    assert "Only slices 1 to 2, which 'R' meets" in host.ui.findingsLabel.text


def test_marker_stands_at_the_slice_of_a_restricted_result(host: SimpleNamespace, volume: Any, roi: Any) -> None:
    from MedImgClassifierLib.scene import plot_marker

    host.ui.restrictionSelector.setCurrentNode(roi)
    host.press()
    host.view.FitSliceToBackground()
    host.view.SetSliceOffset(10.0)
    host.refreshed()
    marker = plot_marker.findMarker(host.scene).GetTableNode().GetTable().GetColumn(0)
    assert marker.GetValue(0) == 2  # the second row of the result


def test_roi_beside_the_volume_is_refused(host: SimpleNamespace, volume: Any, roi: Any) -> None:
    roi.SetCenter(500.0, 0.0, 0.0)
    host.ui.restrictionSelector.setCurrentNode(roi)
    host.press()
    assert "INPUT_RESTRICTION" in host.ui.messageLabel.text
    assert host.client.volumes == []


def test_segment_is_chosen_among_those_of_a_segmentation(host: SimpleNamespace, volume: Any) -> None:
    node = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    assert host.ui.segmentSelector.isHidden()
    host.ui.restrictionSelector.setCurrentNode(node)
    assert not host.ui.classifyButton.enabled
    assert "no segment" in host.ui.classifyButton.toolTip
    for name in ("lung", "liver"):
        import slicer

        segment = slicer.vtkSegment()
        segment.SetName(name)
        node.GetSegmentation().AddSegment(segment, f"id of {name}")
    host.panel.panel.refresh()
    selector = host.ui.segmentSelector
    assert not selector.isHidden()
    assert [selector.itemText(n) for n in range(selector.count)] == ["lung", "liver"]
    selector.setCurrentIndex(1)
    assert host.panel.panel.settings.segment == "id of liver"
    host.panel.panel.refresh()
    assert selector.currentText == "liver"
    host.press()
    assert "INPUT_RESTRICTION" in host.ui.messageLabel.text and "empty" in host.ui.messageLabel.text


def test_deleted_segment_is_not_replaced_by_another(host: SimpleNamespace, volume: Any) -> None:
    import slicer

    node = host.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "S")
    for name in ("lung", "liver"):
        segment = slicer.vtkSegment()
        segment.SetName(name)
        node.GetSegmentation().AddSegment(segment, name)
    host.ui.restrictionSelector.setCurrentNode(node)
    host.ui.segmentSelector.setCurrentIndex(1)
    node.GetSegmentation().RemoveSegment("liver")
    host.ui.segmentSelector.setCurrentIndex(0)  # the panel has not looked again yet
    host.panel.panel.settings.segment = "liver"
    host.panel.panel.refresh()
    assert not host.ui.classifyButton.enabled
    assert "Choose a segment" in host.ui.classifyButton.toolTip


def test_deleted_restriction_restricts_nothing(host: SimpleNamespace, volume: Any, roi: Any) -> None:
    host.ui.restrictionSelector.setCurrentNode(roi)
    host.scene.RemoveNode(roi)
    host.press()
    assert len(host.client.volumes[0].voxels) == 5
