"""The result and the slice views belong together: rows, points and key slices lead to slices, and back."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def result(host: SimpleNamespace, volume: Any) -> SimpleNamespace:
    """Classified and shown in the Red view, axial."""
    host.press()
    host.view.FitSliceToBackground()
    host.settled()
    return host


def offset(host: SimpleNamespace) -> float:
    return float(host.view.GetSliceOffset())


def scroll(host: SimpleNamespace, position: float) -> None:
    import slicer

    host.view.SetSliceOffset(position)
    for _ in range(3):
        slicer.app.processEvents()


def positions(host: SimpleNamespace) -> list[float]:
    """Slice offsets of the rows, in RAS mm: 5 slices, 5 mm apart."""
    return [0.0, 5.0, 10.0, 15.0, 20.0]


def marker(host: SimpleNamespace) -> float:
    from MedImgClassifierLib.scene import plot_marker

    return float(plot_marker.findMarker(host.scene).GetTableNode().GetTable().GetColumn(0).GetValue(0))


def shown_rows(host: SimpleNamespace) -> list[str]:
    """Slices of the table view from top to bottom."""
    model = host.ui.resultTableView.model()
    return [model.index(row, 0).data() for row in range(model.rowCount())]


def test_clicking_a_row_goes_to_its_slice(result: SimpleNamespace) -> None:
    result.ui.resultTableView.selectRow(3)
    assert offset(result) == pytest.approx(positions(result)[3])


def test_row_of_a_sorted_table_goes_to_its_own_slice(result: SimpleNamespace) -> None:
    import qt

    result.ui.resultTableView.sortByColumn(0, qt.Qt.DescendingOrder)
    assert shown_rows(result) == ["4", "3", "2", "1", "0"]
    result.ui.resultTableView.selectRow(1)
    assert offset(result) == pytest.approx(positions(result)[3])


def test_numbers_are_sorted_as_numbers(host: SimpleNamespace, volume: Any) -> None:
    import numpy as np
    import qt
    import slicer

    slicer.util.updateVolumeFromArray(volume, np.arange(12 * 16 * 20, dtype=np.int16).reshape(12, 16, 20))
    host.press()
    host.ui.resultTableView.sortByColumn(0, qt.Qt.DescendingOrder)
    assert shown_rows(host)[:3] == ["11", "10", "9"]


def test_point_of_the_plot_goes_to_its_slice(result: SimpleNamespace) -> None:
    import vtk

    series = result.panel.panel.settings.resultTable.GetNodeReference("MedImgClassifier.Series")
    ids, selections, rows = vtk.vtkStringArray(), vtk.vtkCollection(), vtk.vtkIdTypeArray()
    ids.InsertNextValue(series.GetID())
    rows.InsertNextValue(4)
    selections.AddItem(rows)
    result.ui.plotWidget.plotView().dataSelected.emit(ids, selections)
    assert offset(result) == pytest.approx(positions(result)[4])


def test_point_of_the_marker_is_no_slice(result: SimpleNamespace) -> None:
    import vtk

    from MedImgClassifierLib.scene import plot_marker

    scroll(result, 10.0)
    ids, selections, rows = vtk.vtkStringArray(), vtk.vtkCollection(), vtk.vtkIdTypeArray()
    ids.InsertNextValue(plot_marker.findMarker(result.scene).GetID())
    rows.InsertNextValue(1)
    selections.AddItem(rows)
    result.ui.plotWidget.plotView().dataSelected.emit(ids, selections)
    assert offset(result) == pytest.approx(10.0)


def test_scrolling_moves_marker_row_and_words(result: SimpleNamespace) -> None:
    for row, position in enumerate(positions(result)):
        scroll(result, position)
        assert marker(result) == row
        assert result.ui.currentLabel.text.startswith(f"slice {row}, S {position:.1f} mm: HeadCT 87 %")
        (selected,) = result.ui.resultTableView.selectionModel().selectedRows()
        assert selected.data() == str(row)
        assert offset(result) == pytest.approx(position)


def test_view_across_the_slices_shows_the_nearest_one(result: SimpleNamespace) -> None:
    view = result.view.GetSliceNode()
    view.SetOrientation("Sagittal")
    view.JumpSliceByCentering(10.0, 12.0, 11.0)
    scroll(result, float(result.view.GetSliceOffset()))
    assert "nearest slice" in result.ui.currentLabel.text


def test_view_that_shows_a_slice_exactly_has_the_word(result: SimpleNamespace, volume: Any) -> None:
    """A jump moves the views across the slices too, which are told later."""
    from host import application

    across = application.add_slice_view("Green")
    across.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
    across.GetSliceNode().SetOrientation("Sagittal")
    across.GetSliceNode().JumpSliceByCentering(10.0, 12.0, 10.0)
    scroll(result, 0.0)
    result.panel.panel.goToRow(2)
    scroll(result, 10.0)
    across.GetSliceNode().JumpSliceByCentering(10.0, 12.0, 16.0)
    scroll(result, 10.0)
    assert result.ui.currentLabel.text.startswith("slice 2, S 10.0 mm: HeadCT 87 %")


def test_view_of_another_volume_shows_no_slice_of_the_result(result: SimpleNamespace) -> None:
    other = result.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other")
    result.composite.SetBackgroundVolumeID(other.GetID())
    scroll(result, 0.0)
    assert result.ui.currentLabel.text == ""
    assert "(not in the slice views)" in result.ui.identityLabel.text


def test_key_slices_follow_one_another(result: SimpleNamespace) -> None:
    scroll(result, 0.0)
    result.ui.nextKeySliceButton.click()
    assert offset(result) == pytest.approx(positions(result)[2])


def test_row_brings_the_volume_back_into_the_views(result: SimpleNamespace) -> None:
    other = result.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "other")
    result.composite.SetBackgroundVolumeID(other.GetID())
    result.panel.panel.goToRow(1)
    volume = result.panel.panel.settings.inputVolume
    assert result.composite.GetBackgroundVolumeID() == volume.GetID()


def test_marker_is_not_saved_with_the_scene(result: SimpleNamespace) -> None:
    from MedImgClassifierLib.scene import plot_marker

    scroll(result, 10.0)
    assert not plot_marker.findMarker(result.scene).GetSaveWithScene()
    assert not result.ui.plotWidget.mrmlPlotViewNode().GetSaveWithScene()


# --- what only the real widgets do, and the host as they do


def test_plot_is_not_disabled_by_a_run(host: SimpleNamespace, volume: Any) -> None:
    """A disabled one takes in nothing, and would go on to show the earlier result."""
    host.press()
    seen: list[bool] = []
    host.client.before = lambda: seen.append(host.ui.plotWidget.enabled)
    host.press()
    assert seen == [True]


def test_click_in_the_plot_ends(result: SimpleNamespace) -> None:
    from host import gestures

    told: list[int] = []
    result.ui.plotWidget.plotView().connect("dataSelected(vtkStringArray*,vtkCollection*)", lambda *_: told.append(1))
    series = result.panel.panel.table().GetNodeReference("MedImgClassifier.Series")
    gestures.click_plot_point(result.ui.plotWidget.plotView(), series, 4)
    result.refreshed()
    assert offset(result) == pytest.approx(positions(result)[4])
    before = len(told)
    result.refreshed()
    assert len(told) == before


def test_plot_view_is_the_panel_s_own(result: SimpleNamespace) -> None:
    node = result.ui.plotWidget.mrmlPlotViewNode()
    assert node.GetParentLayoutNode() is not None  # or the layout makes a widget for it
    assert not node.GetDoPropagatePlotChartSelection()  # or it shows the charts of others


def test_deleted_series_leaves_text_and_panel_alive(result: SimpleNamespace) -> None:
    table = result.panel.panel.table()
    for n in reversed(range(table.GetNumberOfNodeReferences("MedImgClassifier.Series"))):
        result.scene.RemoveNode(table.GetNthNodeReference("MedImgClassifier.Series", n))
    scroll(result, 15.0)
    assert result.ui.currentLabel.text.startswith("slice 3, S 15.0 mm")


def test_order_of_a_sorted_table_is_right_after_another_run(host: SimpleNamespace, volume: Any) -> None:
    import numpy as np
    import qt
    import slicer

    host.press()
    host.ui.resultTableView.sortByColumn(0, qt.Qt.DescendingOrder)
    slicer.util.updateVolumeFromArray(volume, np.arange(12 * 16 * 20, dtype=np.int16).reshape(12, 16, 20))
    host.press()
    assert shown_rows(host) == [str(k) for k in reversed(range(12))]


def test_evidence_comes_back_with_its_volume(result: SimpleNamespace, volume: Any) -> None:
    """A key slice of a result whose volume no view shows any more: it would look as if there was no evidence."""
    import slicer

    other = slicer.mrmlScene.CopyNode(volume)
    composites = [
        slicer.mrmlScene.GetNthNodeByClass(n, "vtkMRMLSliceCompositeNode")
        for n in range(slicer.mrmlScene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode"))
    ]
    for view in composites:
        view.SetBackgroundVolumeID(other.GetID())
        view.SetForegroundVolumeID(None)
    result.panel.panel.goToKeySlice(1)
    evidence = slicer.mrmlScene.GetNodeByID(composites[0].GetForegroundVolumeID() or "")
    assert composites[0].GetBackgroundVolumeID() == volume.GetID()
    assert evidence is not None and "evidence" in evidence.GetName()
