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


def test_nothing_goes_on_once_it_is_known(result: SimpleNamespace) -> None:
    """A timer of 0 ms would keep a core busy for good."""
    assert not result.panel.panel.follower._checking.active


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


def test_model_replaced_on_disk_is_noticed_on_entering_and_by_the_next_run(
    result: SimpleNamespace, bundles: dict[str, Path]
) -> None:
    manifest = bundles["body-region"] / "manifest.json"
    manifest.write_text(manifest.read_text().replace("made for tests", "another one"))
    result.panel.exit()
    result.panel.enter()
    events()
    assert "the model was replaced or removed" in result.ui.freshnessLabel.text
    manifest.write_text(manifest.read_text().replace("another one", "yet another one"))
    result.press()
    result.settled()
    assert not result.ui.freshnessLabel.visible


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


# --- several results


@pytest.fixture
def two(result: SimpleNamespace) -> SimpleNamespace:
    """Results of the same volume by two models; that of 'sequence' is shown."""
    result.earlier = result.panel.panel.table()
    result.ui.evidenceClassSelector.setCurrentIndex(1)
    result.ui.bundleSelector.setCurrentIndex(1)
    result.press()
    result.settled()
    return result


def test_another_model_adds_a_result(two: SimpleNamespace) -> None:
    assert two.panel.panel.table() is not two.earlier
    assert two.scene.IsNodePresent(two.earlier)
    assert two.ui.resultSelector.currentNode() is two.panel.panel.table()


def test_results_that_are_not_shown_are_marked_too(two: SimpleNamespace, volume: Any) -> None:
    import slicer

    voxels(volume)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(volume)
    events()
    for table in (two.earlier, two.panel.panel.table()):
        assert table.GetDescription().startswith("OUT OF DATE")


def test_only_the_result_of_a_replaced_model_is_marked(two: SimpleNamespace, bundles: dict[str, Path]) -> None:
    manifest = bundles["body-region"] / "manifest.json"
    manifest.write_text(manifest.read_text().replace("made for tests", "another one"))
    two.panel.panel.reloadModels()
    events()
    assert two.earlier.GetDescription().startswith("OUT OF DATE (model replaced or removed)")
    assert not two.ui.freshnessLabel.visible


def test_choosing_a_result_moves_no_view(two: SimpleNamespace) -> None:
    other = two.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other")
    two.ui.resultTableView.selectRow(3)
    two.composite.SetBackgroundVolumeID(other.GetID())
    two.view.SetSliceOffset(2.0)
    two.ui.resultSelector.setCurrentNode(two.earlier)
    two.refreshed()
    assert two.composite.GetBackgroundVolumeID() == other.GetID()
    assert two.view.GetSliceOffset() == pytest.approx(2.0)


def test_earlier_result_can_be_shown_again_as_it_was(two: SimpleNamespace) -> None:
    assert two.ui.evidenceClassSelector.currentText == "HeadCT"
    two.ui.resultSelector.setCurrentNode(two.earlier)
    assert two.ui.resultTableView.mrmlTableNode() is two.earlier
    assert two.ui.evidenceClassSelector.currentText == "ChestCT"
    evidence = two.scene.GetNodeByID(two.composite.GetForegroundVolumeID())
    assert evidence is two.earlier.GetNodeReference("MedImgClassifier.Evidence")


def test_each_result_has_its_own_answer(two: SimpleNamespace) -> None:
    made = {table: two.logic.classification(table).bundle["id"] for table in (two.panel.panel.table(), two.earlier)}
    assert list(made.values()) == ["sequence", "body-region"]


def test_tables_of_others_are_no_results(two: SimpleNamespace) -> None:
    other = two.scene.AddNewNodeByClass("vtkMRMLTableNode", "measurements")
    two.ui.resultSelector.setCurrentNode(other)
    assert two.panel.panel.table() is not other


def test_removing_one_result_leaves_the_other(two: SimpleNamespace) -> None:
    shown = two.panel.panel.table()
    two.ui.removeResultButton.click()
    assert not two.scene.IsNodePresent(shown)
    assert two.scene.IsNodePresent(two.earlier)
    two.ui.resultSelector.setCurrentNode(two.earlier)
    assert two.ui.answerLabel.text.startswith("HeadCT in 5 of 5")


def test_scene_with_a_result_and_without_settings_shows_it(host: SimpleNamespace, volume: Any) -> None:
    """As one from the command line."""
    table = host.logic.process(volume, host.logic.bundles()["body-region"]).table
    host.panel.panel.settings.resultTable = None
    host.panel.exit()
    host.panel.enter()
    assert host.panel.panel.table() is table
    assert host.ui.answerLabel.text.startswith("HeadCT in 5 of 5")
