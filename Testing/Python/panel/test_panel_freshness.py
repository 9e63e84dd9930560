"""A result that is no longer true of its input is marked at once, in the panel and in the scene."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def result(host: SimpleNamespace, volume: Any) -> SimpleNamespace:
    """A result of which is known that it is true of its input."""
    host.press()
    host.settled()
    assert not host.ui.freshnessLabel.visible
    return host


def voxels(volume: Any) -> Any:
    import slicer

    return slicer.util.arrayFromVolume(volume)


def events() -> None:
    import slicer

    slicer.app.processEvents()


def test_fresh_result_is_not_marked(result: SimpleNamespace) -> None:
    assert result.ui.answerLabel.font.bold()
    table = result.panel.panel.settings.resultTable
    assert not table.GetDescription().startswith("OUT OF DATE")


def test_changed_voxels_are_said_at_once_everywhere(result: SimpleNamespace, volume: Any) -> None:
    import slicer

    voxels(volume)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(volume)
    events()
    assert "OUT OF DATE: the voxels were changed" in result.ui.freshnessLabel.text
    assert not result.ui.answerLabel.font.bold()
    table = result.panel.panel.settings.resultTable
    assert table.GetDescription().startswith("OUT OF DATE")
    evidence = result.scene.GetNodeByID(result.composite.GetForegroundVolumeID())
    assert evidence.GetName().startswith("OUT OF DATE")


def test_undone_change_clears_the_mark(result: SimpleNamespace, volume: Any) -> None:
    import slicer

    for step in (1, -1):
        voxels(volume)[0, 0, 0] += step
        slicer.util.arrayFromVolumeModified(volume)
        events()
    result.settled()
    assert not result.ui.freshnessLabel.visible
    assert not result.panel.panel.settings.resultTable.GetDescription().startswith("OUT OF DATE")


def test_moved_volume_is_out_of_date(result: SimpleNamespace, volume: Any) -> None:
    volume.SetOrigin(3.0, 0.0, 0.0)
    events()
    assert "OUT OF DATE: the volume was moved" in result.ui.freshnessLabel.text


def test_changed_transform_is_out_of_date(result: SimpleNamespace, volume: Any) -> None:
    import vtk

    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 3, 20.0)
    transform = result.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "T")
    transform.SetMatrixTransformToParent(matrix)
    volume.SetAndObserveTransformNodeID(transform.GetID())
    events()
    assert "OUT OF DATE: its transform was changed" in result.ui.freshnessLabel.text


def test_removed_volume_is_said_and_the_answer_stays(result: SimpleNamespace, volume: Any) -> None:
    result.scene.RemoveNode(volume)
    events()
    assert "the volume was removed" in result.ui.freshnessLabel.text
    assert result.ui.answerLabel.text.startswith("HeadCT in 5 of 5")
    result.ui.removeResultButton.click()
    assert result.ui.answerLabel.text == "No result yet."


def test_replaced_model_is_out_of_date(result: SimpleNamespace, bundles: dict[str, Path]) -> None:
    manifest = bundles["body-region"] / "manifest.json"
    manifest.write_text(manifest.read_text().replace("made for tests", "another one"))
    result.panel.panel.reloadModels()
    events()
    assert "the model was replaced or removed" in result.ui.freshnessLabel.text


def test_removed_model_is_out_of_date(
    result: SimpleNamespace, bundles: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from MedImgClassifierLib import resources

    monkeypatch.setattr(resources, "bundles", lambda: {"sequence": bundles["sequence"]})
    result.panel.panel.reloadModels()
    events()
    assert "the model was replaced or removed" in result.ui.freshnessLabel.text


def test_classifying_again_makes_it_fresh(result: SimpleNamespace, volume: Any) -> None:
    import slicer

    voxels(volume)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(volume)
    events()
    result.press()
    result.settled()
    assert not result.ui.freshnessLabel.visible
    assert not result.panel.panel.settings.resultTable.GetDescription().startswith("OUT OF DATE")


def test_text_in_the_views_is_marked_too(result: SimpleNamespace, volume: Any) -> None:
    import slicer

    result.view.FitSliceToBackground()
    events()
    voxels(volume)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(volume)
    events()
    assert "OUT OF DATE" in result.ui.currentLabel.text


def test_result_is_watched_while_another_module_is_open(result: SimpleNamespace, volume: Any) -> None:
    import slicer

    result.panel.exit()
    voxels(volume)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(volume)
    events()
    assert result.panel.panel.settings.resultTable.GetDescription().startswith("OUT OF DATE")
