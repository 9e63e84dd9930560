"""A result in the scene is a whole: table, plot, evidence and record come, change and go together."""

from __future__ import annotations

import json
import os
import sys
import unittest
from dataclasses import replace
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np

from example_results import BUNDLE, SPOT_K, exampleClassification, exampleVolume
from MedImgClassifierLib.engine.result import Classification, Finding
from MedImgClassifierLib.scene import result_nodes
from MedImgClassifierLib.scene.overlay import hideOverlay, showOverlay
from MedImgClassifierLib.scene.result_nodes import addResult, findResult, removeResult
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.views import arrangeViews
from MedImgClassifierLib.scene.volumes import addVolume
from scene_checks import composite, nodeIds, voxelsOf


class SceneOfOneVolume(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()
        self.content = exampleVolume("axial")
        self.classification = exampleClassification(self.content)
        self.volume = addVolume(self.scene, self.content, "head")
        self.empty = nodeIds(self.scene)

    def add(self, classification=None, **options):
        return addResult(self.scene, self.volume, classification or self.classification, **options)


class Table(SceneOfOneVolume):
    def test_has_a_typed_row_for_each_slice(self):
        table = self.add().table
        types = {}
        for n in range(table.GetNumberOfColumns()):
            types[table.GetColumnName(n)] = table.GetTable().GetColumn(n).GetDataTypeAsString()
        self.assertEqual(
            types,
            {
                "Slice": "int",
                "Instance": "int",
                "Position": "double",
                "Label": "string",
                "Probability": "double",
                "P(spot)": "double",
                "P(nothing)": "double",
            },
        )
        self.assertEqual(table.GetNumberOfRows(), len(self.content.voxels))
        row = [table.GetTable().GetValue(SPOT_K, n).ToString() for n in range(5)]
        self.assertEqual(row[:4], ["6", "107", "64", "spot"])
        self.assertAlmostEqual(float(row[4]), self.classification.slices.probabilities[SPOT_K, 0], places=4)
        for n, name in enumerate(("P(spot)", "P(nothing)")):
            column = table.GetTable().GetColumnByName(name)
            values = [column.GetValue(k) for k in range(table.GetNumberOfRows())]
            np.testing.assert_allclose(values, self.classification.slices.probabilities[:, n], atol=1e-4)
        self.assertTrue(table.GetLocked())

    def test_position_is_along_the_patient_axis_of_the_slices_in_ras(self):
        content = exampleVolume("sagittal")
        node = addVolume(self.scene, content, "sagittal")
        table = addResult(self.scene, node, exampleClassification(content)).table
        self.assertEqual(table.GetColumnTitle("Position"), "R (mm)")
        column = table.GetTable().GetColumnByName("Position")
        positions = [column.GetValue(n) for n in range(len(content.voxels))]
        np.testing.assert_allclose(positions, -content.slice_centres_lps[:, 0], atol=0.01)

    def test_unknown_instance_numbers_have_no_column(self):
        slices = replace(self.classification.slices, instance_numbers=(), native_k=None)
        table = self.add(replace(self.classification, slices=slices)).table
        self.assertEqual(table.GetColumnIndex("Instance"), -1)
        self.assertEqual(table.GetColumnIndex("Slice"), 0)

    def test_refers_to_all_and_survives_renames(self):
        result = self.add()
        for node in (self.volume, result.evidence, result.chart, *result.series, result.provenance):
            node.SetName("renamed")
        found = findResult(self.scene, self.volume, "example 1.0.0")
        self.assertEqual(found, result)

    def test_every_node_says_what_it_is_for(self):
        result = self.add()
        for node in (result.table, result.evidence, result.chart, *result.series, result.provenance):
            self.assertEqual(node.GetAttribute("MedImgClassifier.Notice"), "Research use only, not for diagnosis.")
            self.assertEqual(node.GetAttribute("MedImgClassifier.IntendedUse"), BUNDLE["intended_use"])
            self.assertEqual(node.GetAttribute("MedImgClassifier.Bundle"), "example 1.0.0")


class PlotAndRecord(SceneOfOneVolume):
    def test_one_line_a_label_over_the_slices(self):
        result = self.add()
        self.assertEqual([series.GetName() for series in result.series], ["spot", "nothing"])
        self.assertEqual(result.chart.GetNumberOfPlotSeriesNodes(), 2)
        for series, column in zip(result.series, ("P(spot)", "P(nothing)"), strict=True):
            self.assertEqual(series.GetTableNode(), result.table)
            self.assertEqual((series.GetXColumnName(), series.GetYColumnName()), ("Slice", column))
        self.assertEqual(result.chart.GetTitle(), "spot in 6 of 10 slices (uncalibrated)")

    def test_record_is_results_json(self):
        record = json.loads(self.add().provenance.GetText())
        self.assertEqual(record, self.classification.to_json())
        self.assertEqual(Classification.from_json(record).counts(), self.classification.counts())

    def test_refused_class_is_not_shown(self):
        finding = Finding("FEW_SLICES", "refuse", "too few slices")
        result = self.add(replace(self.classification, findings=(finding,)))
        self.assertEqual((result.evidence, result.series, result.chart), (None, (), None))
        self.assertEqual(result.table.GetColumnIndex("Label"), -1)
        self.assertEqual(result.table.GetColumnIndex("P(spot)"), -1)
        self.assertEqual(result.table.GetDescription(), "no class: too few slices")

    def test_without_evidence_the_rest_is_there(self):
        result = self.add(replace(self.classification, evidence=None))
        self.assertIsNone(result.evidence)
        self.assertEqual(len(result.series), 2)


class Group(SceneOfOneVolume):
    def test_running_again_replaces_the_result_and_stays_in_the_views(self):
        first = self.add()
        showOverlay(self.scene, self.volume, first.evidence, 0.35, 0.6)
        count = self.scene.GetNumberOfNodes()
        second = self.add()
        self.assertEqual(self.scene.GetNumberOfNodes(), count)
        self.assertFalse(self.scene.IsNodePresent(first.table))
        self.assertEqual(composite(self.scene).GetForegroundVolumeID(), second.evidence.GetID())
        self.assertEqual(composite(self.scene).GetForegroundOpacity(), 0.35)
        self.assertAlmostEqual(second.evidence.GetDisplayNode().GetLowerThreshold(), 0.6 * 255)
        hideOverlay(self.scene, second.evidence)
        self.assertIsNone(composite(self.scene).GetForegroundVolumeID())

    def test_running_again_for_another_label_changes_the_evidence(self):
        self.assertEqual(voxelsOf(self.add().evidence).max(), 255)
        self.assertEqual(voxelsOf(self.add(label=1).evidence).max(), 0)

    def test_results_of_other_bundles_and_volumes_stay(self):
        other = addVolume(self.scene, self.content, "other")
        kept = [
            addResult(self.scene, other, self.classification),
            self.add(replace(self.classification, bundle={**BUNDLE, "version": "2.0.0"})),
        ]
        self.add()
        self.add()
        for result in kept:
            self.assertTrue(self.scene.IsNodePresent(result.table))
        self.assertEqual(self.scene.GetNumberOfNodesByClass("vtkMRMLTableNode"), 3)

    def test_removing_leaves_nothing_and_restores_the_views(self):
        other = addVolume(self.scene, self.content, "other")
        red = composite(self.scene)
        red.SetBackgroundVolumeID(self.volume.GetID())
        red.SetForegroundVolumeID(other.GetID())
        red.SetForegroundOpacity(0.7)
        before = nodeIds(self.scene)
        result = self.add()
        showOverlay(self.scene, self.volume, result.evidence)
        removeResult(self.scene, result.table)
        self.assertEqual(nodeIds(self.scene), before)
        self.assertEqual((red.GetForegroundVolumeID(), red.GetForegroundOpacity()), (other.GetID(), 0.7))

    def test_removing_one_of_two_leaves_the_colours_to_the_other(self):
        kept = self.add(replace(self.classification, bundle={**BUNDLE, "version": "2.0.0"}))
        removeResult(self.scene, self.add().table)
        self.assertIsNotNone(kept.evidence.GetDisplayNode().GetColorNode())

    def test_removing_a_result_that_is_active_leaves_no_dangling_selection(self):
        result = self.add()
        arrangeViews(self.scene, result, self.classification)
        removeResult(self.scene, result.table)
        selection = self.scene.GetSingletonNode("Singleton", "vtkMRMLSelectionNode")
        self.assertIn(selection.GetActiveTableID(), (None, ""))
        self.assertIn(selection.GetActivePlotChartID(), (None, ""))

    def test_failure_midway_leaves_no_node(self):
        for step in ("addProvenance", "addProbabilitySeries", "addEvidence", "_signAndRefer"):
            with self.subTest(step), mock.patch.object(result_nodes, step, side_effect=RuntimeError("midway")):
                with self.assertRaisesRegex(RuntimeError, "midway"):
                    self.add()
                self.assertEqual(nodeIds(self.scene), self.empty)

    def test_failure_midway_keeps_the_earlier_result(self):
        first = self.add()
        showOverlay(self.scene, self.volume, first.evidence)
        before = nodeIds(self.scene)
        with mock.patch.object(result_nodes, "_signAndRefer", side_effect=RuntimeError("midway")):
            self.assertRaises(RuntimeError, self.add)
        self.assertEqual(nodeIds(self.scene), before)
        self.assertEqual(composite(self.scene).GetForegroundVolumeID(), first.evidence.GetID())


if __name__ == "__main__":
    unittest.main()
