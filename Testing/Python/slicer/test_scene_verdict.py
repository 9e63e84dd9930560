"""A reviewer's verdict stays, whatever becomes of the result, and says what it was given on."""

from __future__ import annotations

import json
import os
import sys
import unittest
from dataclasses import replace
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np

from example_results import BUNDLE, exampleClassification, exampleVolume
from MedImgClassifierLib.scene import verdict
from MedImgClassifierLib.scene.nodes import nodesOfClass
from MedImgClassifierLib.scene.result_nodes import addResult, removeResult
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.verdict import readVerdict, writeVerdict
from MedImgClassifierLib.scene.volumes import addVolume
from scene_checks import nodeIds

BY = "example 1.0.0"


class Reviewed(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()
        volume = exampleVolume("axial")
        self.node = addVolume(self.scene, volume, "head")
        self.classification = exampleClassification(volume)
        self.result = addResult(self.scene, self.node, self.classification)

    def write(self, *given):
        return writeVerdict(self.scene, self.node, BY, *given)

    def read(self):
        return readVerdict(self.scene, self.node, BY)

    def reviews(self):
        return [n for n in nodesOfClass(self.scene, "vtkMRMLTextNode") if n.GetName().endswith("review")]

    def test_is_read_as_it_was_written(self):
        self.assertIsNone(self.read())
        with mock.patch.object(verdict, "datetime", wraps=verdict.datetime) as clock:
            clock.datetime.now.return_value = verdict.datetime.datetime(2024, 5, 6, 7, 8, 9)
            comment = "凝血 “spot” & <noise>\nsecond line"
            written = self.write("disagree", " nothing ", comment)
        clock.datetime.now.assert_called_with(clock.UTC)
        self.assertEqual(written, self.read())
        self.assertEqual(written[:5], ("disagree", "nothing", comment, "2024-05-06T07:08:09Z", True))
        self.assertEqual((written.standing, written.earlier), ("current", False))
        self.assertEqual(
            {key: value for key, value in written.judged.items() if key != "record_sha256"},
            {
                "answer": "spot in 6 of 10 slices (uncalibrated)",
                "bundle": {"id": "example", "version": "1.0.0", "manifest_sha256": "0" * 64},
                "inputs": self.hashes(),
            },
        )

    def hashes(self):
        return {"image": self.classification.provenance["inputs"]["image"]["content_sha256"]}

    def test_stands_in_one_file_of_its_own_beside_the_volume(self):
        self.write("agree")
        (node,) = self.reviews()
        self.assertEqual(node.GetName(), "head example review")
        self.assertEqual(node.GetForceCreateStorageNode(), node.CreateStorageNodeAlways)
        self.assertIs(node.GetNodeReference("MedImgClassifier.Volume"), self.node)
        before = nodeIds(self.scene)
        self.write("unsure", "", "later")
        self.assertEqual(nodeIds(self.scene), before)
        self.assertEqual((self.read().verdict, self.read().comment), ("unsure", "later"))

    def test_class_that_the_model_does_not_have_is_kept_and_flagged(self):
        self.assertFalse(self.write("disagree", "elsewhere").known)
        self.assertEqual((self.read().correctedClass, self.read().known), ("elsewhere", False))
        self.assertTrue(self.write("disagree", "spot").known)
        self.assertTrue(self.write("disagree").known)

    def test_survives_another_run_and_says_that_it_judged_an_earlier_result(self):
        written = self.write("agree")
        slices = replace(self.classification.slices, logits=self.classification.slices.logits - 1)
        addResult(self.scene, self.node, replace(self.classification, slices=slices))
        self.assertEqual(self.read(), written._replace(standing="earlier"))
        self.assertTrue(self.read().earlier)
        self.assertFalse(self.write("agree").earlier)

    def test_survives_the_removal_of_the_result_and_of_its_record(self):
        written = self.write("agree")
        self.scene.RemoveNode(self.result.provenance)
        self.assertEqual(self.read(), written._replace(standing="removed"))
        removeResult(self.scene, self.result.table)
        self.assertEqual(self.read(), written._replace(standing="removed"))
        addResult(self.scene, self.node, self.classification)
        self.assertEqual(self.read(), written)  # the very same result again

    def test_is_one_for_each_volume_and_bundle(self):
        other = addVolume(self.scene, exampleVolume("axial"), "other")
        addResult(self.scene, other, self.classification)
        addResult(self.scene, self.node, replace(self.classification, bundle={**BUNDLE, "version": "2.0.0"}))
        self.write("agree")
        self.assertIsNone(readVerdict(self.scene, other, BY))
        self.assertIsNone(readVerdict(self.scene, self.node, "example 2.0.0"))
        writeVerdict(self.scene, other, BY, "disagree")
        writeVerdict(self.scene, self.node, "example 2.0.0", "unsure")
        self.assertEqual(self.read().verdict, "agree")
        self.assertEqual(readVerdict(self.scene, other, BY).verdict, "disagree")

    def test_is_found_after_renaming(self):
        self.write("agree")
        for node in (self.node, *self.reviews()):
            node.SetName("renamed")
        self.assertEqual(self.read().verdict, "agree")

    def test_record_is_hashed_once_for_each_time_that_it_changes(self):
        self.write("agree")
        record = self.result.provenance
        text = record.GetText()
        hashing = mock.Mock(wraps=verdict.hashlib.sha256)
        with mock.patch.object(verdict, "hashlib", mock.Mock(sha256=hashing)):
            for expected in ("current", "earlier", "current"):
                record.SetText(text if expected == "current" else text + " ")
                record.Modified()
                hashing.reset_mock()
                for _scroll in range(5):
                    self.assertEqual(self.read().standing, expected)
                self.assertEqual(hashing.call_count, 1)

    def test_text_that_is_no_verdict_is_none(self):
        self.write("agree")
        (node,) = self.reviews()
        good = json.loads(node.GetText())
        for text in ("", "no JSON", "[]", "{}", "7", *(json.dumps({**good, key: 5}) for key in good)):
            with self.subTest(text[:60]):
                node.SetText(text)
                self.assertIsNone(self.read())

    def test_what_cannot_be_judged_is_refused_and_changes_nothing(self):
        before = nodeIds(self.scene)
        for given in (("maybe",), ("agree", "spot")):
            with self.subTest(given), self.assertRaises(ValueError):
                self.write(*given)
        self.result.provenance.SetText("no record")
        self.assertRaises(ValueError, self.write, "agree")
        self.scene.RemoveNode(self.result.provenance)
        self.assertRaises(ValueError, self.write, "agree")
        with self.assertRaises(ValueError):
            writeVerdict(self.scene, self.node, "other 1", "agree")
        self.assertEqual(set(nodeIds(self.scene)) - set(before), set())
        self.assertEqual(self.reviews(), [])

    def test_of_a_large_record_is_quick(self):
        import time

        maps = np.zeros((10, 2, 64, 64), np.float32)
        large = exampleClassification(exampleVolume("axial"), maps)
        addResult(self.scene, self.node, large)
        started = time.perf_counter()
        self.write("agree")
        self.assertLess(time.perf_counter() - started, 0.05)


if __name__ == "__main__":
    unittest.main()
