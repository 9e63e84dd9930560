"""The line in the plot stands at the slice that is looked at, once, and leaves nothing behind."""

from __future__ import annotations

import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from example_results import exampleClassification, exampleVolume
from MedImgClassifierLib.scene import plot_marker, result_nodes
from MedImgClassifierLib.scene.saving import readScene, writeScene
from MedImgClassifierLib.scene.session import closeScene, createScene
from MedImgClassifierLib.scene.volumes import addVolume
from scene_checks import nodeIds


class PlotMarker(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()
        self.chart = self.addResult("axial").chart
        self.before = nodeIds(self.scene)

    def addResult(self, kind):
        volume = exampleVolume(kind)
        return result_nodes.addResult(self.scene, addVolume(self.scene, volume, kind), exampleClassification(volume))

    def line(self):
        """((x, y), (x, y)) of the line."""
        series = plot_marker.findMarker(self.scene)
        table = series.GetTableNode().GetTable()
        x, y = (table.GetColumnByName(name) for name in (series.GetXColumnName(), series.GetYColumnName()))
        return tuple((x.GetValue(n), y.GetValue(n)) for n in range(2))

    def seriesOf(self, chart):
        return [chart.GetNthPlotSeriesNodeID(n) for n in range(chart.GetNumberOfPlotSeriesNodes())]

    def test_it_stands_upright_at_the_slice_of_the_row_and_moves(self):
        for row in (3, 7):
            plot_marker.placeMarker(self.chart, row)
            self.assertEqual(self.line(), ((row, 0), (row, 1)))
        self.assertEqual(len(nodeIds(self.scene)), len(self.before) + 2)
        self.assertEqual(self.seriesOf(self.chart).count(plot_marker.findMarker(self.scene).GetID()), 1)

    def test_moving_tells_the_plot(self):
        plot_marker.placeMarker(self.chart, 3)
        events = []
        series = plot_marker.findMarker(self.scene)
        series.AddObserver(series.TableModifiedEvent, lambda *_: events.append(1))
        plot_marker.placeMarker(self.chart, 3)
        self.assertEqual(events, [])
        plot_marker.placeMarker(self.chart, 4)
        self.assertTrue(events)

    def test_no_row_takes_it_out_of_sight_and_makes_nothing(self):
        plot_marker.placeMarker(self.chart, None)
        self.assertEqual(nodeIds(self.scene), self.before)
        plot_marker.placeMarker(self.chart, 2)
        plot_marker.placeMarker(self.chart, None)
        self.assertEqual(plot_marker.findMarker(self.scene).GetOpacity(), 0.0)
        plot_marker.placeMarker(self.chart, 2)
        self.assertEqual(plot_marker.findMarker(self.scene).GetOpacity(), 1.0)

    def test_another_chart_takes_it_over(self):
        other = self.addResult("sagittal").chart
        plot_marker.placeMarker(self.chart, 2)
        shown = len(self.seriesOf(self.chart))
        plot_marker.placeMarker(other, 5)
        self.assertEqual(len(self.seriesOf(self.chart)), shown - 1)
        self.assertIn(plot_marker.findMarker(self.scene).GetID(), self.seriesOf(other))
        self.assertEqual(self.line()[0][0], 5)

    def test_removing_it_leaves_the_scene_as_it_was(self):
        series = self.seriesOf(self.chart)
        plot_marker.removeMarker(self.scene)
        plot_marker.placeMarker(self.chart, 2)
        plot_marker.removeMarker(self.scene)
        self.assertEqual(nodeIds(self.scene), self.before)
        self.assertEqual(self.seriesOf(self.chart), series)

    def test_it_outlives_its_chart_without_harm(self):
        plot_marker.placeMarker(self.chart, 2)
        self.scene.RemoveNode(self.chart)
        other = self.addResult("sagittal").chart
        plot_marker.placeMarker(other, 1)
        self.assertEqual(self.line()[0][0], 1)

    def test_a_chart_whose_series_or_table_the_reader_deleted_shows_no_line(self):
        def deleteSeries(result):
            for series in result.series:
                self.scene.RemoveNode(series)
                yield

        def deleteTable(result):
            self.scene.RemoveNode(result.table)
            yield

        for delete in (deleteSeries, deleteTable):
            result = self.addResult("sagittal")
            plot_marker.placeMarker(result.chart, 2)
            self.assertEqual(plot_marker.findMarker(self.scene).GetOpacity(), 1.0)
            for _deleted in delete(result):
                plot_marker.placeMarker(result.chart, 3)
            self.assertEqual(plot_marker.findMarker(self.scene).GetOpacity(), 0.0)
            plot_marker.placeMarker(self.chart, 4)
            self.assertEqual((self.line()[0][0], plot_marker.findMarker(self.scene).GetOpacity()), (4, 1.0))

    def test_a_row_that_the_table_does_not_hold_shows_no_line(self):
        plot_marker.placeMarker(self.chart, 9)
        for row in (10, -1):
            plot_marker.placeMarker(self.chart, row)
            self.assertEqual(plot_marker.findMarker(self.scene).GetOpacity(), 0.0)

    def test_a_line_whose_table_the_reader_deleted_or_emptied_is_drawn_anew(self):
        for damage in (
            lambda table: self.scene.RemoveNode(table),
            lambda table: table.GetTable().RemoveColumn(0),
            lambda table: table.GetTable().RemoveRow(1),
        ):
            plot_marker.placeMarker(self.chart, 3)
            damage(plot_marker.findMarker(self.scene).GetTableNode())
            plot_marker.placeMarker(self.chart, 4)
            self.assertEqual(self.line(), ((4, 0), (4, 1)))
            self.assertEqual(len(nodeIds(self.scene)), len(self.before) + 2)

    def test_it_is_not_saved_and_the_chart_forgets_it(self):
        series = self.seriesOf(self.chart)
        plot_marker.placeMarker(self.chart, 2)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "scene.mrb")
            writeScene(self.scene, path)
            again = readScene(path)
        self.addCleanup(closeScene, again)
        self.assertIsNone(plot_marker.findMarker(again))
        chart = again.GetFirstNode(self.chart.GetName(), "vtkMRMLPlotChartNode")
        self.assertEqual(len(self.seriesOf(chart)), len(series))
        again.AddNewNodeByClass("vtkMRMLPlotSeriesNode", "another")
        shown = [chart.GetNthPlotSeriesNode(n).GetName() for n in range(chart.GetNumberOfPlotSeriesNodes())]
        self.assertEqual(shown, ["spot", "nothing"])


if __name__ == "__main__":
    unittest.main()
