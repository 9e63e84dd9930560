"""Evidence for another class replaces the one in the scene, also in a scene that was saved and reopened."""

from __future__ import annotations

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np
from vtk.util.numpy_support import vtk_to_numpy

from example_results import exampleClassification, exampleVolume
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.scene import evidence_choice, overlay, result_nodes
from MedImgClassifierLib.scene.colors import findEvidenceColorNode
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.volumes import addVolume
from scene_checks import addAcquired, composite


class EvidenceChoice(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()
        volume = exampleVolume("axial")
        self.volume = addVolume(self.scene, volume, "volume")
        self.classification = exampleClassification(volume)
        self.table = result_nodes.addResult(self.scene, self.volume, self.classification, label=0).table

    def cells(self):
        image = result_nodes.resultOf(self.table).evidence.GetImageData()
        return vtk_to_numpy(image.GetPointData().GetScalars())

    def test_record_gives_the_classification_back(self):
        found = evidence_choice.recordedClassification(self.table)
        self.assertEqual(found.labels, self.classification.labels)
        np.testing.assert_array_equal(found.evidence.maps, self.classification.evidence.maps)

    def test_deleted_or_altered_record_gives_nothing(self):
        record = result_nodes.resultOf(self.table).provenance
        record.SetText("{}")
        self.assertIsNone(evidence_choice.recordedClassification(self.table))
        self.scene.RemoveNode(record)
        self.assertIsNone(evidence_choice.recordedClassification(self.table))

    def test_all_classes_are_offered_while_volume_and_evidence_are_there(self):
        offered = evidence_choice.offeredLabels(self.table, self.classification)
        self.assertEqual(offered, ["spot", "nothing"])
        self.scene.RemoveNode(self.volume)
        self.assertEqual(evidence_choice.offeredLabels(self.table, self.classification), [])

    def test_chosen_class_takes_the_place_of_the_other(self):
        nodes = self.scene.GetNumberOfNodes()
        self.assertGreater(self.cells().max(), 0)
        evidence_choice.chooseEvidence(self.table, self.classification, "nothing")
        self.assertEqual(evidence_choice.shownLabel(self.table), "nothing")
        self.assertEqual(self.cells().max(), 0)
        self.assertEqual(self.scene.GetNumberOfNodes(), nodes)

    def test_node_stays_and_its_name_follows(self):
        before = result_nodes.resultOf(self.table).evidence
        names = [before.GetName()]
        for label in ("nothing", "spot"):
            self.assertIs(evidence_choice.chooseEvidence(self.table, self.classification, label), before)
            self.assertIn(label, before.GetName())
            names.append(before.GetName())
        self.assertEqual(names[0], names[2])
        self.assertEqual(before.GetAttribute("MedImgClassifier.Role"), "evidence")

    def test_colours_and_threshold_outlive_the_choice(self):
        evidence = result_nodes.resultOf(self.table).evidence
        overlay.setColorMap(evidence, "blue")
        overlay.setThreshold(evidence, 0.7)
        evidence_choice.chooseEvidence(self.table, self.classification, "nothing")
        self.assertIs(evidence.GetDisplayNode().GetColorNode(), findEvidenceColorNode(self.scene, "blue"))
        self.assertAlmostEqual(evidence.GetDisplayNode().GetLowerThreshold(), 0.7 * 255)

    def test_volume_that_was_bent_meanwhile_leaves_the_evidence_as_it_was(self):
        bent = addAcquired(self.scene, exampleVolume("tilted"), bend=3.0)
        cells = self.cells().copy()
        self.volume.SetAndObserveTransformNodeID(bent.GetTransformNodeID())
        with self.assertRaises(Refusal):
            evidence_choice.chooseEvidence(self.table, self.classification, "nothing")
        np.testing.assert_array_equal(self.cells(), cells)
        self.assertEqual(evidence_choice.shownLabel(self.table), "spot")
        self.assertIn("spot", result_nodes.resultOf(self.table).evidence.GetName())

    def test_choosing_what_is_shown_changes_nothing(self):
        before = result_nodes.resultOf(self.table).evidence
        self.assertIs(evidence_choice.chooseEvidence(self.table, self.classification, "spot"), before)

    def test_unknown_class_leaves_the_scene_as_it_was(self):
        nodes = self.scene.GetNumberOfNodes()
        with self.assertRaises(ValueError):
            evidence_choice.chooseEvidence(self.table, self.classification, "elsewhere")
        self.assertEqual(self.scene.GetNumberOfNodes(), nodes)
        self.assertEqual(evidence_choice.shownLabel(self.table), "spot")

    def test_views_follow_the_choice_and_are_given_back(self):
        red = composite(self.scene, "Red")
        red.SetBackgroundVolumeID(self.volume.GetID())
        overlay.showOverlay(self.scene, self.volume, result_nodes.resultOf(self.table).evidence, 0.4, 0.2)
        evidence_choice.chooseEvidence(self.table, self.classification, "nothing")
        shown = result_nodes.resultOf(self.table).evidence
        self.assertEqual(red.GetForegroundVolumeID(), shown.GetID())
        self.assertAlmostEqual(shown.GetDisplayNode().GetLowerThreshold(), 0.2 * 255)
        evidence_choice.hideEvidence(self.table)
        self.assertIsNone(red.GetForegroundVolumeID())

    def test_volume_comes_into_view_only_where_no_view_shows_it(self):
        other = addVolume(self.scene, exampleVolume("axial"), "other")
        views = [composite(self.scene, name) for name in ("Red", "Green", "Yellow")]
        for view in views:
            view.SetBackgroundVolumeID(other.GetID())
        views[0].SetBackgroundVolumeID(self.volume.GetID())
        evidence_choice.bringIntoView(self.volume)
        self.assertEqual(views[1].GetBackgroundVolumeID(), other.GetID())
        views[0].SetBackgroundVolumeID(other.GetID())
        evidence_choice.bringIntoView(self.volume)
        self.assertEqual({view.GetBackgroundVolumeID() for view in views}, {self.volume.GetID()})


if __name__ == "__main__":
    unittest.main()
