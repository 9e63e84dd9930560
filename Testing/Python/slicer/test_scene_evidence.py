"""Evidence lies where the network saw it: by its geometry, and by the pixels of the composited slice view."""

from __future__ import annotations

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np

from example_results import CELLS, KINDS, SLICES, SPOT_K, exampleClassification, exampleVolume, spotLps
from MedImgClassifierLib.scene.overlay import addEvidence, showOverlay
from MedImgClassifierLib.scene.pictures import sliceImage
from MedImgClassifierLib.scene.result_nodes import addResult
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.views import arrangeViews
from MedImgClassifierLib.scene.volumes import addVolume, volumeFromNode
from scene_checks import (
    addAcquired,
    addLinearTransform,
    brightestLps,
    composite,
    evidenceInView,
    offsetInCells,
    pixelLps,
    voxelsOf,
)

MOVE = [[0, -1, 0, 5], [1, 0, 0, -7], [0, 0, 1, 11], [0, 0, 0, 1]]


class EvidenceInTheScene(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()

    def shown(self, volume, volumeNode, opacity=1.0, maps=None):
        """The evidence of a volume in its views, Red on the slice of the spot."""
        classification = exampleClassification(volume, maps)
        result = addResult(self.scene, volumeNode, classification)
        showOverlay(self.scene, volumeNode, result.evidence, opacity)
        arrangeViews(self.scene, result, classification)
        return result.evidence

    def lookAt(self, pointLps):
        for view in ("Red", "Green", "Yellow"):
            sliceNode = self.scene.GetSingletonNode(view, "vtkMRMLSliceNode")
            sliceNode.JumpSliceByOffsetting(*(pointLps * [-1, -1, 1]))

    def assertWithinItsCell(self, volume, point, across_mm):
        column, row, along = offsetInCells(volume, point, spotLps(volume))
        self.assertLessEqual(abs(column), 0.55)
        self.assertLessEqual(abs(row), 0.55)
        self.assertLessEqual(abs(along), across_mm)

    def assertPeaksAtSpot(self, volume, evidence, across_mm):
        self.assertWithinItsCell(volume, brightestLps(evidence), across_mm)
        for view in ("Red", "Green", "Yellow"):
            levels = evidenceInView(self.scene, view)
            self.assertGreater(levels.max(), 120)
            self.assertWithinItsCell(volume, pixelLps(self.scene, view, levels >= levels.max() - 1), across_mm)

    def test_peak_is_in_the_cell_of_the_spot_for_every_stack(self):
        for kind in KINDS:
            with self.subTest(kind):
                self.scene = createScene()
                volume = exampleVolume(kind)
                evidence = self.shown(volume, addVolume(self.scene, volume, kind))
                # A tilted stack is shown on even slices 4 mm apart: its peak is on the nearest of them.
                self.assertPeaksAtSpot(volume, evidence, across_mm=2.1 if kind == "tilted" else 0.1)

    def test_peak_follows_a_parent_transform(self):
        for kind in ("axial", "oblique", "flipped"):
            with self.subTest(kind):
                self.scene = createScene()
                node = addVolume(self.scene, exampleVolume(kind), kind)
                node.SetAndObserveTransformNodeID(addLinearTransform(self.scene, MOVE).GetID())
                volume = volumeFromNode(node)
                evidence = self.shown(volume, node)
                self.assertEqual(evidence.GetTransformNodeID(), node.GetTransformNodeID())
                self.assertPeaksAtSpot(volume, evidence, across_mm=0.1)

    def test_peak_is_on_the_acquired_slice_under_an_acquisition_transform(self):
        node = addAcquired(self.scene, exampleVolume("tilted"))
        volume = volumeFromNode(node)
        evidence, _speaks = addEvidence(self.scene, exampleClassification(volume), 0, node, "evidence")
        self.assertEqual(evidence.GetTransformNodeID(), node.GetTransformNodeID())
        showOverlay(self.scene, node, evidence, 1.0)
        self.lookAt(spotLps(volume))
        self.assertPeaksAtSpot(volume, evidence, across_mm=0.2)

    def test_evidence_is_as_small_as_the_network_made_it(self):
        volume = exampleVolume("axial")
        evidence = self.shown(volume, addVolume(self.scene, volume, "axial"))
        self.assertEqual(evidence.GetImageData().GetDimensions(), (CELLS, CELLS, SLICES))
        self.assertEqual(evidence.GetImageData().GetScalarTypeAsString(), "unsigned char")

    def test_even_stacks_of_volume_and_evidence_have_the_same_slices(self):
        volume = exampleVolume("tilted")
        node = addVolume(self.scene, volume, "tilted")
        evidence, _speaks = addEvidence(self.scene, exampleClassification(volume), 0, node, "e")
        shown, seen = volumeFromNode(node), volumeFromNode(evidence)
        np.testing.assert_allclose(seen.positions_mm, shown.positions_mm, atol=1e-6)

    def test_each_slice_shows_its_own_evidence(self):
        volume = exampleVolume("axial")
        self.shown(volume, addVolume(self.scene, volume, "axial"))
        view = self.scene.GetSingletonNode("Red", "vtkMRMLSliceNode")
        offset = view.GetSliceOffset()
        for step, level in ((-2, -1), (-1, 153), (0, 255), (1, 153), (2, -1)):
            view.SetSliceOffset(offset + 4.0 * step)
            self.assertAlmostEqual(evidenceInView(self.scene, "Red").max(), level, delta=5)

    def test_cells_reach_to_the_edge_of_the_image(self):
        volume = exampleVolume("axial")
        node = addVolume(self.scene, volume, "axial")
        maps = np.ones((SLICES, 2, CELLS, CELLS), np.float32)
        self.shown(volume, node, maps=maps)
        levels = evidenceInView(self.scene, "Red", (220, 200))
        composite(self.scene).SetForegroundVolumeID(None)
        inside = sliceImage(self.scene, "Red", (220, 200)).any(axis=2)
        rows, columns = np.nonzero(inside)
        self.assertGreater(inside.mean(), 0.6)
        box = (slice(rows.min() + 2, rows.max() - 1), slice(columns.min() + 2, columns.max() - 1))
        self.assertTrue((levels[box] >= 254).all())

    def test_below_the_threshold_the_image_is_unchanged(self):
        volume = exampleVolume("axial")
        evidence = self.shown(volume, addVolume(self.scene, volume, "axial"), opacity=0.6)
        covered = sliceImage(self.scene, "Red", (280, 200)).astype(int)
        composite(self.scene).SetForegroundOpacity(1.0)
        coloured = evidenceInView(self.scene, "Red") >= 0
        composite(self.scene).SetForegroundVolumeID(None)
        plain = sliceImage(self.scene, "Red", (280, 200)).astype(int)
        self.assertTrue(0.01 < coloured.mean() < 0.2)
        np.testing.assert_array_equal(covered[~coloured], plain[~coloured])
        self.assertTrue((np.abs(covered - plain).max(axis=2)[coloured] > 10).all())
        lower = evidence.GetDisplayNode().GetLowerThreshold()
        self.assertAlmostEqual(lower, 63.75)

    def test_lower_threshold_colours_more(self):
        volume = exampleVolume("axial")
        node = addVolume(self.scene, volume, "axial")
        evidence = self.shown(volume, node)
        few = (evidenceInView(self.scene, "Red") >= 0).sum()
        showOverlay(self.scene, node, evidence, 1.0, threshold=0.1)
        self.assertGreater((evidenceInView(self.scene, "Red") >= 0).sum(), 1.5 * few)

    def test_no_evidence_is_said_and_colours_nothing(self):
        volume = exampleVolume("axial")
        node = addVolume(self.scene, volume, "axial")
        evidence, speaks = addEvidence(self.scene, exampleClassification(volume), 1, node, "none")
        self.assertFalse(speaks)
        self.assertEqual(evidence.GetAttribute("MedImgClassifier.EvidenceMethod"), "none")
        self.assertEqual(voxelsOf(evidence).max(), 0)
        showOverlay(self.scene, node, evidence, 1.0, threshold=0.0)
        self.lookAt(spotLps(volume))
        self.assertTrue(sliceImage(self.scene, "Red", (280, 200)).any())
        self.assertEqual(evidenceInView(self.scene, "Red").max(), -1)
        spoken, speaks = addEvidence(self.scene, exampleClassification(volume), 0, node, "some")
        self.assertTrue(speaks)
        self.assertEqual(spoken.GetAttribute("MedImgClassifier.EvidenceMethod"), "closed_form")

    def test_outside_the_acquired_slices_there_is_no_evidence(self):
        volume = exampleVolume("tilted")
        maps = np.ones((SLICES, 2, CELLS, CELLS), np.float32)
        evidence, _speaks = addEvidence(
            self.scene, exampleClassification(volume, maps), 0, addVolume(self.scene, volume, "tilted"), "e"
        )
        self.assertEqual(voxelsOf(evidence)[0, -1].max(), 0)

    def test_a_single_slice_is_coloured_over_its_thickness(self):
        from dataclasses import replace

        whole = exampleVolume("sagittal")
        source = replace(whole.source, sop_instance_uids=(), instance_numbers=())
        one = replace(
            whole,
            voxels=whole.voxels[SPOT_K : SPOT_K + 1],
            slice_origins_lps=whole.slice_origins_lps[SPOT_K : SPOT_K + 1],
            source=source,
        )
        maps = exampleClassification(whole).evidence.maps[SPOT_K : SPOT_K + 1]
        classification = replace(exampleClassification(one, maps), key_slices=())
        node = addVolume(self.scene, one, "one")
        result = addResult(self.scene, node, classification, label=0)
        showOverlay(self.scene, node, result.evidence, 1.0)
        arrangeViews(self.scene, result, classification)
        self.assertAlmostEqual(result.evidence.GetSpacing()[2], 4.0)
        self.assertWithinItsCell(whole, brightestLps(result.evidence), 0.1)
        self.assertGreater(evidenceInView(self.scene, "Red").max(), 245)

    def test_colour_table_exists_once_and_every_display_has_its_colours(self):
        volume = exampleVolume("axial")
        node = addVolume(self.scene, volume, "axial")
        for label in (0, 1):
            addEvidence(self.scene, exampleClassification(volume), label, node, f"e{label}")
        tables = self.scene.GetNodesByName("MedImgClassifier evidence")
        self.assertEqual(tables.GetNumberOfItems(), 1)
        self.assertEqual(tables.GetItemAsObject(0).GetNumberOfColors(), 256)
        for n in range(self.scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeDisplayNode")):
            display = self.scene.GetNthNodeByClass(n, "vtkMRMLScalarVolumeDisplayNode")
            self.assertIsNotNone(display.GetColorNode(), display.GetColorNodeID())


if __name__ == "__main__":
    unittest.main()
