"""The stand-in widgets behave like the real ones where panels depend on it."""

from __future__ import annotations

from typing import Any

import pytest


def add_table(scene: Any, rows: int = 12) -> Any:
    import vtk

    node = scene.AddNewNodeByClass("vtkMRMLTableNode", "result")
    for name, array, value in (
        ("Slice", vtk.vtkIntArray(), lambda i: i),
        ("Label", vtk.vtkStringArray(), lambda i: "even" if i % 2 == 0 else "odd"),
        ("P(even)", vtk.vtkDoubleArray(), lambda i: i / rows),
        ("P(odd)", vtk.vtkDoubleArray(), lambda i: 1 - i / rows),
    ):
        array.SetName(name)
        for row in range(rows):
            array.InsertNextValue(value(row))
        node.AddColumn(array)
    node.SetUseColumnTitleAsColumnHeader(True)
    return node


def add_chart(scene: Any, table: Any) -> tuple[Any, list[Any]]:
    chart, series = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "plot"), []
    for column, color in (("P(even)", (1, 0, 0)), ("P(odd)", (0, 0, 1))):
        node = scene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", column)
        node.SetAndObserveTableNodeID(table.GetID())
        node.SetXColumnName("Slice")
        node.SetYColumnName(column)
        node.SetPlotType(node.PlotTypeScatter)
        node.SetColor(*color)
        node.SetMarkerStyle(node.MarkerStyleCircle)
        node.SetMarkerSize(7)
        chart.AddAndObservePlotSeriesNodeID(node.GetID())
        series.append(node)
    return chart, series


@pytest.fixture
def plot(slicer: Any) -> Any:
    """A plot widget of 420x300 that shows two series; `selected` collects what dataSelected told."""
    from types import SimpleNamespace

    scene = slicer.mrmlScene
    table = add_table(scene)
    chart, series = add_chart(scene, table)
    widget, node = slicer.qMRMLPlotWidget(), scene.AddNewNodeByClass("vtkMRMLPlotViewNode")
    widget.setMRMLScene(scene)
    widget.setMRMLPlotViewNode(node)
    node.SetPlotChartNodeID(chart.GetID())
    widget.resize(420, 300)
    widget.show()
    told: list[Any] = []

    def selected(ids: Any, rows: Any) -> None:
        values = [rows.GetItemAsObject(n) for n in range(rows.GetNumberOfItems())]
        told.append(
            {ids.GetValue(n): [v.GetValue(i) for i in range(v.GetNumberOfValues())] for n, v in enumerate(values)}
        )

    assert widget.plotView().connect("dataSelected(vtkStringArray*,vtkCollection*)", selected)
    yield SimpleNamespace(
        widget=widget, view=widget.plotView(), node=node, chart=chart, series=series, table=table, told=told
    )
    widget.close()


def colors(view: Any) -> set[tuple[int, int, int]]:
    image = view.grab().toImage()
    pixels = (image.pixelColor(x, y) for x in range(image.width()) for y in range(0, image.height(), 2))
    return {(c.red(), c.green(), c.blue()) for c in pixels}


def test_plot_draws_the_series_in_their_colors(plot: Any) -> None:
    assert {(255, 0, 0), (0, 0, 255)} <= colors(plot.view)


def test_plot_follows_series_chart_and_table(plot: Any) -> None:
    plot.series[0].SetColor(0, 1, 0)
    assert (0, 255, 0) in colors(plot.view) and (255, 0, 0) not in colors(plot.view)
    plot.chart.RemovePlotSeriesNodeID(plot.series[1].GetID())
    assert (0, 0, 255) not in colors(plot.view)
    before = plot.view._picture().pixel(5, 0.5)
    plot.table.GetTable().GetColumn(2).SetValue(11, 3.0)
    plot.table.GetTable().Modified()
    assert plot.view._picture().pixel(5, 0.5) != before


def test_plot_keeps_what_was_drawn_when_its_view_node_is_taken_away(plot: Any) -> None:
    plot.widget.setMRMLPlotViewNode(None)
    assert (255, 0, 0) in colors(plot.view)


def test_series_without_numbers_is_left_out(plot: Any) -> None:
    plot.series[0].SetYColumnName("Label")
    assert plot.view.chart().GetNumberOfPlots() == 1


def test_click_tells_first_of_the_old_then_of_the_new_selection(plot: Any) -> None:
    from host import gestures

    even, odd = (node.GetID() for node in plot.series)
    gestures.click_plot_point(plot.view, plot.series[0], 3)
    assert plot.told == [{}, {even: [3]}]
    gestures.click_plot_point(plot.view, plot.series[1], 9)
    assert plot.told[2:] == [{even: [3]}, {even: [3], odd: [9]}]
    assert plot.view.chart().GetPlot(1).GetSelection().GetValue(0) == 9
    plot.view.RemovePlotSelections()
    assert plot.view.chart().GetPlot(1).GetSelection() is None


def test_click_beside_every_point_tells_nothing(plot: Any) -> None:
    from PySide6 import QtCore, QtTest

    place = plot.view._picture().pixel(5.5, 0.9).toPoint()
    left, none = QtCore.Qt.MouseButton.LeftButton, QtCore.Qt.KeyboardModifier.NoModifier
    QtTest.QTest.mouseClick(plot.view, left, none, place)
    assert plot.told == []


def test_points_are_hit_as_vtk_s_chart_hits_them() -> None:
    """The tolerance of 5 pixels, against vtkChartXY itself where it can render."""
    from PySide6 import QtCore

    from host import plot_drawing

    class Chart:
        def __getattr__(self, name: str) -> Any:
            return lambda: (0, 10) if "Range" in name and "Auto" not in name else False

    picture = plot_drawing.Picture(Chart(), [plot_drawing.Series(None, [(5.0, 5.0)])], QtCore.QRect(0, 0, 400, 300))
    at = picture.pixel(5.0, 5.0)
    assert picture.point_at(at + QtCore.QPointF(4, 0)) is not None
    assert picture.point_at(at + QtCore.QPointF(7, 0)) is None


@pytest.fixture
def table(slicer: Any) -> Any:
    view = slicer.qMRMLTableView()
    view.setMRMLScene(slicer.mrmlScene)
    view.setMRMLTableNode(add_table(slicer.mrmlScene))
    view.resize(500, 500)
    view.show()
    yield view
    view.close()


def test_table_stands_behind_a_sort_proxy(table: Any) -> None:
    import qt

    from host import gestures

    assert isinstance(table.model(), qt.QSortFilterProxyModel)
    assert not table.sortingEnabled
    table.setSortingEnabled(True)
    gestures.click_header(table, 2)
    gestures.click_header(table, 2)
    first = table.model().index(0, 0)
    shown, source = first.data(), table.sortFilterProxyModel().mapToSource(first).row()
    assert str(source) == shown != "0"


def test_selection_is_told_without_arguments(table: Any) -> None:
    from host import gestures

    calls: list[Any] = []
    table.connect("selectionChanged()", lambda *rest: calls.append(rest))
    gestures.click_row(table, 3)
    assert calls == [()]
    assert table.selectionModel().currentIndex.row() == 3


def test_table_header_shows_titles_and_units(table: Any) -> None:
    import qt

    node = table.mrmlTableNode()
    node.SetColumnTitle("Slice", "Schicht")
    node.SetColumnUnitLabel("Slice", "mm")
    assert table.model().headerData(0, qt.Qt.Horizontal) == "Schicht [mm]"
    node.SetUseColumnTitleAsColumnHeader(False)
    assert table.model().headerData(0, qt.Qt.Horizontal) == "A"
    assert table.model().index(0, 0).data() == "Slice"


def test_locked_table_is_not_edited_and_an_open_one_is(table: Any) -> None:
    import qt

    node, model = table.mrmlTableNode(), table.tableModel()
    model.item(2, 1).setText("unsure")
    assert node.GetCellText(2, 1) == "unsure"
    node.SetLocked(True)
    node.Modified()
    assert not model.item(2, 1).flags() & qt.Qt.ItemIsEditable


@pytest.fixture
def selector(slicer: Any) -> Any:
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    box.noneEnabled = True
    box.setMRMLScene(slicer.mrmlScene)
    return box


def offered(box: Any) -> list[str]:
    return [box.nodeFromIndex(i).GetName() for i in range(box.nodeCount())]


def test_selector_follows_nodes_that_come_go_hide_and_change_names(slicer: Any, selector: Any) -> None:
    scene = slicer.mrmlScene
    ct = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "labels")
    scene.AddNewNodeByClass("vtkMRMLTextNode", "text")
    assert offered(selector) == ["CT", "labels"]
    selector.showChildNodeTypes = False
    assert offered(selector) == ["CT"]
    ct.SetName("CT head")
    assert selector._combo.itemText(1) == "CT head"
    ct.SetHideFromEditors(True)
    assert offered(selector) == []
    ct.SetHideFromEditors(False)
    scene.RemoveNode(ct)
    assert offered(selector) == []


def test_selector_tells_of_the_node_and_whether_there_is_one(slicer: Any, selector: Any) -> None:
    nodes, valid, ids = [], [], []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", nodes.append)
    selector.connect("currentNodeChanged(bool)", valid.append)
    selector.connect("currentNodeIDChanged(QString)", ids.append)
    ct = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    selector.currentNodeID = ct.GetID()
    slicer.mrmlScene.RemoveNode(ct)
    assert (nodes, valid, ids) == ([ct, None], [True, False], ["vtkMRMLScalarVolumeNode1", ""])


def test_selector_remembers_a_wish_until_it_has_a_scene(slicer: Any) -> None:
    ct = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes, box.noneEnabled = ["vtkMRMLScalarVolumeNode"], True
    box.setCurrentNode(ct)
    assert box.currentNode() is None and not box.enabled
    box.setMRMLScene(slicer.mrmlScene)
    assert box.currentNode() is ct and box.enabled


def test_selector_filters_by_attribute(slicer: Any, selector: Any) -> None:
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "evidence").SetAttribute("Kind", "evidence")
    selector.addAttribute("vtkMRMLScalarVolumeNode", "Kind", "evidence")
    assert offered(selector) == ["evidence"]


def test_deleted_selector_follows_nothing_any_more(slicer: Any, selector: Any) -> None:
    import shiboken6

    shiboken6.delete(selector)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "CT")  # an error here would be recorded


def test_color_tables_are_offered_though_hidden(slicer: Any) -> None:
    box = slicer.qMRMLColorTableComboBox()
    box.setMRMLScene(slicer.mrmlScene)
    table = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", "mine")
    table.SetHideFromEditors(True)
    assert "mine" in offered(box)


def test_segment_is_chosen_and_told(slicer: Any) -> None:
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "organs")
    liver = node.GetSegmentation().AddEmptySegment("", "liver")
    widget, told = slicer.qMRMLSegmentSelectorWidget(), []
    widget.connect("currentSegmentChanged(QString)", told.append)
    widget.setMRMLScene(slicer.mrmlScene)
    widget.setCurrentNode(node)
    assert widget.currentSegmentID() == liver
    spleen = node.GetSegmentation().AddEmptySegment("", "spleen")
    widget.setCurrentSegmentID(spleen)
    assert told == [liver, spleen]
    node.GetSegmentation().RemoveSegment(spleen)
    assert widget.currentSegmentID() == liver


def test_slider_without_tracking_tells_at_the_end_of_a_drag() -> None:
    import ctk

    slider, values, changing = ctk.ctkSliderWidget(), [], []
    slider.minimum, slider.maximum, slider.tracking = 0, 100, False
    slider.connect("valueChanged(double)", values.append)
    slider.connect("valueIsChanging(double)", changing.append)
    slider._slider.setSliderDown(True)
    slider._slider.setSliderPosition(300)
    assert (values, changing) == ([], [30.0])
    slider._slider.setSliderDown(False)
    assert values == [30.0]
    slider.value = 40
    assert values == [30.0, 40.0]


def test_section_folds() -> None:
    import ctk
    import qt

    section, told = ctk.ctkCollapsibleButton(), []
    inside = qt.QLabel("inside", section)
    section.connect("contentsCollapsed(bool)", told.append)
    section.show()
    section.collapsed = True
    assert told == [True] and not inside.visible and not section.checked
    section.checked = True
    assert told == [True, False] and inside.visible
