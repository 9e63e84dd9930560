"""A result in the scene is a whole: table, plot, evidence and record come, change and go together."""

from __future__ import annotations

import json
import os
import sys
import time
import unittest
from dataclasses import replace
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np

from example_results import BUNDLE, SPOT_K, exampleClassification, exampleVolume
from MedImgClassifierLib.engine.result import (
    Classification,
    Evidence,
    Finding,
    Label,
    Placement,
    SliceResults,
)
from MedImgClassifierLib.engine.volume import Volume
from MedImgClassifierLib.scene.geometry import vtkMatrixFromArray
from MedImgClassifierLib.scene.overlay import hideOverlay, showOverlay
from MedImgClassifierLib.scene.result_nodes import addResult, findResult, removeResult, resultOf
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.views import arrangeViews
from MedImgClassifierLib.scene.volumes import addVolume
from scene_checks import addLinearTransform, brightestLps, composite, nodeIds, voxelsOf


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
        coronal = replace(
            exampleVolume("axial"),
            row_direction_lps=[1, 0, 0],
            column_direction_lps=[0, 0, -1],
            slice_origins_lps=np.array([-31.0, 12.5, 40.0]) + np.arange(10)[:, None] * [0, 4.0, 0],
        )
        for content, letter, axis, sign in (
            (exampleVolume("sagittal"), "R", 0, -1),
            (coronal, "A", 1, -1),
            (exampleVolume("axial"), "S", 2, 1),
        ):
            node = addVolume(self.scene, content, letter)
            table = addResult(self.scene, node, exampleClassification(content)).table
            self.assertEqual(table.GetColumnTitle("Position"), letter)
            column = table.GetTable().GetColumnByName("Position")
            positions = [column.GetValue(n) for n in range(len(content.voxels))]
            np.testing.assert_allclose(positions, sign * content.slice_centres_lps[:, axis], atol=0.01)

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
        for step in STEPS:
            with (
                self.subTest(step),
                mock.patch(f"MedImgClassifierLib.scene.{step}", side_effect=RuntimeError("midway")),
            ):
                with self.assertRaisesRegex(RuntimeError, "midway"):
                    self.add()
                self.assertEqual(nodeIds(self.scene), self.empty)


def failing(step):
    return mock.patch(f"MedImgClassifierLib.scene.{step}", side_effect=RuntimeError("midway"))


STEPS = (
    "results.recordText",
    "results.fillRecord",
    "results.fillTable",
    "results.fillSeries",
    "results.fillChart",
    "result_nodes.addEvidence",
    "result_nodes._signAndRefer",
    "binding.bind",
    "hierarchy.placeBeside",
)


class AnotherRun(SceneOfOneVolume):
    """A result that is made anew stands in the nodes of the earlier one."""

    def other(self, **changes):
        """Another answer for the same volume: every probability the other way round."""
        slices = self.classification.slices
        turned = replace(slices, probabilities=slices.probabilities[:, ::-1], logits=slices.logits[:, ::-1])
        evidence = self.classification.evidence
        evidence = replace(evidence, maps=evidence.maps[:, ::-1], scale=evidence.scale[::-1])
        return replace(self.classification, slices=turned, evidence=evidence, **changes)

    def seen(self, result):
        """What a reader sees of a result."""
        table, chart, evidence = result.table, result.chart, result.evidence
        rows = [[table.GetCellText(r, c) for c in range(table.GetNumberOfColumns())] for r in range(10)]
        return (
            (rows, table.GetName(), table.GetDescription(), table.GetColumnTitle("P(spot)"), table.GetLocked()),
            (chart.GetTitle(), [s.GetName() for s in result.series], chart.GetNumberOfPlotSeriesNodes()),
            (evidence.GetName(), evidence.GetAttribute("MedImgClassifier.Label"), voxelsOf(evidence).tolist()),
            (evidence.GetTransformNodeID(), evidence.GetDisplayNode().GetLowerThreshold()),
            (result.provenance.GetText(), [n.GetAttributeNames() for n in result.made()]),
        )

    def test_stands_in_the_same_nodes(self):
        first = self.add()
        ids, before = nodeIds(self.scene), self.seen(first)
        second = self.add(self.other())
        self.assertEqual(nodeIds(self.scene), ids)
        self.assertEqual(second, first)
        self.assertEqual(second.table.GetDescription(), "nothing in 6 of 10 slices (uncalibrated)")
        self.assertEqual(second.chart.GetTitle(), second.table.GetDescription())
        self.assertEqual(second.evidence.GetName(), "head example evidence for nothing")
        self.assertEqual(voxelsOf(second.evidence).max(), 255)
        self.assertEqual(json.loads(second.provenance.GetText())["answer"], second.table.GetDescription())
        self.add()
        self.assertEqual(self.seen(first), before)

    def test_is_told_once(self):
        result, told = self.add(), []
        for node in (result.table, result.chart, result.evidence, result.provenance):
            node.AddObserver("ModifiedEvent", lambda caller, event: told.append(caller.GetID()))
        self.add(self.other())
        self.assertEqual(sorted(told), sorted(set(told)))
        self.assertIn(result.table.GetID(), told)

    def test_keeps_views_threshold_and_what_the_reader_named_and_styled(self):
        result = self.add()
        showOverlay(self.scene, self.volume, result.evidence, 0.35, 0.6)
        result.table.SetName("mine")
        result.series[0].SetColor(0, 1, 0)
        self.add(self.other())
        self.assertEqual(composite(self.scene).GetForegroundVolumeID(), result.evidence.GetID())
        self.assertEqual(composite(self.scene).GetForegroundOpacity(), 0.35)
        self.assertAlmostEqual(result.evidence.GetDisplayNode().GetLowerThreshold(), 0.6 * 255)
        self.assertEqual((result.table.GetName(), result.series[0].GetColor()), ("mine", (0, 1, 0)))
        hideOverlay(self.scene, result.evidence)
        self.assertIsNone(composite(self.scene).GetForegroundVolumeID())

    def test_makes_again_what_the_reader_deleted(self):
        first = self.add()
        whole = self.scene.GetNumberOfNodes()
        for node in (first.chart, first.series[0], first.provenance, first.evidence.GetDisplayNode(), first.evidence):
            self.scene.RemoveNode(node)
        second = self.add()
        self.assertIs(second.table, first.table)
        self.assertEqual([s.GetName() for s in second.series], ["spot", "nothing"])
        self.assertEqual(second.chart.GetNumberOfPlotSeriesNodes(), 2)
        self.assertEqual(self.scene.GetNumberOfNodes(), whole)

    def test_with_other_classes_has_their_series(self):
        first = self.add()
        three = (*self.classification.labels, Label("third"))
        slices = self.classification.slices
        probabilities = np.tile([0.2, 0.3, 0.5], (10, 1))
        slices = replace(slices, probabilities=probabilities, logits=np.log(probabilities))
        more = self.add(replace(self.classification, labels=three, slices=slices, evidence=None))
        self.assertEqual([s.GetYColumnName() for s in more.series], ["P(spot)", "P(nothing)", "P(third)"])
        self.assertEqual((more.evidence, more.chart.GetNumberOfPlotSeriesNodes()), (None, 3))
        again = self.add()
        self.assertEqual(again.series, first.series)
        self.assertEqual(again.chart.GetNumberOfPlotSeriesNodes(), 2)
        self.assertEqual(self.scene.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode"), 2)

    def test_that_refuses_takes_plot_and_evidence_away_and_restores_the_views(self):
        first = self.add()
        showOverlay(self.scene, self.volume, first.evidence)
        finding = Finding("FEW_SLICES", "refuse", "too few slices")
        second = self.add(replace(self.classification, findings=(finding,)))
        self.assertEqual((second.table, second.chart, second.series, second.evidence), (first.table, None, (), None))
        self.assertEqual(second.table.GetColumnIndex("P(spot)"), -1)
        self.assertEqual(second.table.GetColumnDescription("P(spot)"), "")  # which a file of the table would keep
        self.assertIsNone(composite(self.scene).GetForegroundVolumeID())
        self.assertEqual(self.scene.GetNumberOfNodesByClass("vtkMRMLPlotSeriesNode"), 0)
        self.assertIsNotNone(self.add().chart)

    def test_that_fails_midway_leaves_the_earlier_result_as_it_was(self):
        moved = addLinearTransform(self.scene, np.diag([1, 1, 2, 1]))
        self.volume.SetAndObserveTransformNodeID(moved.GetID())
        first = self.add()
        showOverlay(self.scene, self.volume, first.evidence, 0.4, 0.6)
        ids, before, references = nodeIds(self.scene), self.seen(first), resultOf(first.table)
        steps = [step for step in STEPS if "addEvidence" not in step]
        for step in (*steps, "result_nodes.fillEvidence", "result_nodes.markOutOfDate"):
            with (
                self.subTest(step),
                mock.patch(f"MedImgClassifierLib.scene.{step}", side_effect=RuntimeError("midway")),
            ):
                self.assertRaises(RuntimeError, self.add, self.other())
                self.assertEqual(nodeIds(self.scene), ids)
                self.assertEqual(self.seen(first), before)
                self.assertEqual(resultOf(first.table), references)
                self.assertEqual(composite(self.scene).GetForegroundVolumeID(), first.evidence.GetID())
        place = brightestLps(first.evidence)
        moved.SetMatrixTransformToParent(vtkMatrixFromArray(np.diag([1.0, 1.0, 3.0, 1.0])))
        np.testing.assert_allclose(brightestLps(first.evidence), place * [1, 1, 1.5])
        for series in first.series:
            self.assertIs(series.GetTableNode(), first.table)

    def test_of_a_large_series_is_quick(self):
        """300 slices and 7 classes within 250 ms; each of several times, for the first one loads libraries."""
        for cells in (2, 7):
            large = largeClassification(300, 7, cells)
            node = addVolume(self.scene, large[0], f"large {cells}")
            for run in ("first", "again"):
                with self.subTest(cells=cells, run=run):
                    started = time.perf_counter()
                    addResult(self.scene, node, large[1])
                    self.assertLess(time.perf_counter() - started, 0.25)


def largeClassification(slices, labels, cells):
    """(Volume of small slices, a random classification of it)."""
    random = np.random.default_rng(0)
    volume = Volume.from_matrix(np.zeros((slices, 32, 32), np.int16), np.diag([1, 1, 2.0, 1]))
    probabilities = random.dirichlet(np.ones(labels), slices)
    maps = random.normal(size=(slices, labels, cells, cells)).astype(np.float32)
    placement = Placement(volume.slice_origins_lps, np.array([8.0, 0, 0]), np.array([0, 8.0, 0]))
    return volume, Classification(
        labels=tuple(Label(f"class {n}") for n in range(labels)),
        slices=SliceResults(
            volume.slice_centres_lps,
            np.tile(volume.normal_lps, (slices, 1)),
            tuple(range(slices)),
            np.log(probabilities),
            probabilities,
        ),
        evidence=Evidence(maps, maps.max(axis=(0, 2, 3)), placement, "closed_form"),
        findings=(),
        key_slices=(),
        calibrated=False,
        bundle=BUNDLE,
        provenance={"inputs": {"image": {"content_sha256": volume.content_sha256}}},
    )


class SeveralInputs(SceneOfOneVolume):
    """A bundle of several channels: the result refers to all of them."""

    def setUp(self):
        super().setUp()
        self.second = addVolume(self.scene, exampleVolume("axial"), "second")
        # names that would break a reference role
        self.channels = {"T1 (a:b;c)": self.volume, "T2": self.second}
        hashes = {name: {"content_sha256": self.content.content_sha256} for name in self.channels}
        self.classification = replace(self.classification, provenance={"inputs": hashes})

    def test_are_found_by_channel_after_renaming(self):
        result = self.add(channels=self.channels)
        self.second.SetName("renamed")
        self.assertEqual(dict(result.inputs), self.channels)
        self.assertEqual(dict(resultOf(result.table).inputs), self.channels)
        self.assertIs(result.volume, self.volume)

    def test_deleted_one_is_none(self):
        result = self.add(channels=self.channels)
        self.scene.RemoveNode(self.second)
        self.assertEqual(dict(resultOf(result.table).inputs), {"T1 (a:b;c)": self.volume, "T2": None})

    def test_another_run_refers_to_its_own(self):
        third = addVolume(self.scene, exampleVolume("axial"), "third")
        first = self.add(channels=self.channels)
        self.assertEqual(dict(self.add(channels={**self.channels, "T2": third}).inputs)["T2"], third)
        alone = self.add(channels={"T1 (a:b;c)": self.volume})
        self.assertIs(alone.table, first.table)
        self.assertEqual(list(alone.inputs), ["T1 (a:b;c)"])
        self.assertIsNone(first.table.GetNodeReferenceID("MedImgClassifier.Input1"))

    def test_lone_input_is_named_by_the_record(self):
        hashes = {"inputs": {"CT": {"content_sha256": "0" * 64}}}
        result = self.add(replace(self.classification, provenance=hashes))
        self.assertEqual(dict(result.inputs), {"CT": self.volume})


if __name__ == "__main__":
    unittest.main()
