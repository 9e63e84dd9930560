"""A segmentation of evidence covers what the overlay colours, and stays the reader's own."""

from __future__ import annotations

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import vtk_to_numpy

from example_results import CELL_PIXELS, CELLS, COLUMNS, KINDS, ROWS, SLICES, exampleClassification, exampleVolume
from MedImgClassifierLib.engine.appearance import LABEL_COLORS
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.scene import result_nodes
from MedImgClassifierLib.scene.evidence_segmentation import addEvidenceSegmentation
from MedImgClassifierLib.scene.geometry import arrayFromVtkMatrix, ijkToRas
from MedImgClassifierLib.scene.overlay import isEvidence, setThreshold, showOverlay
from MedImgClassifierLib.scene.pictures import sliceImage
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.views import arrangeViews
from MedImgClassifierLib.scene.volumes import addVolume, setVoxels, volumeFromNode
from scene_checks import addAcquired, evidenceInView, nodeIds


class EvidenceSegmentation(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()

    def prepare(self, kind="axial", maps=None):
        volume = exampleVolume("tilted" if kind == "acquired" else kind)
        self.node = addAcquired(self.scene, volume) if kind == "acquired" else addVolume(self.scene, volume, kind)
        seen = volume if kind == "tilted" else volumeFromNode(self.node)
        self.classification = exampleClassification(seen, maps)
        self.result = result_nodes.addResult(self.scene, self.node, self.classification, label=0)

    def segmented(self, labels=("spot",), threshold=0.25, interpolated=True):
        return addEvidenceSegmentation(
            self.scene, self.result.table, self.classification, self.node, labels, threshold, interpolated
        )

    def maskOf(self, segmentation, segment="spot"):
        """bool [K, J, I] of a segment on the voxels of the volume."""
        image = slicer.vtkOrientedImageData()
        self.assertTrue(segmentation.GetBinaryLabelmapRepresentation(segment, image))
        mask = np.zeros(self.node.GetImageData().GetDimensions()[::-1], bool)
        i0, i1, j0, j1, k0, k1 = image.GetExtent()
        part = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
        mask[k0 : k1 + 1, j0 : j1 + 1, i0 : i1 + 1] = part > 0
        matrix = vtk.vtkMatrix4x4()
        image.GetImageToWorldMatrix(matrix)
        np.testing.assert_allclose(arrayFromVtkMatrix(matrix), ijkToRas(self.node), atol=1e-6)
        return mask

    def expected(self, level, interpolated):
        """bool [K, J, I]: cells between which evidence is linear, or of which the nearest counts, by numpy."""
        shown = np.round(self.classification.evidence.shown(0) * 255)
        first = CELL_PIXELS / 2 - 0.5
        columns = (np.arange(COLUMNS) - first) / CELL_PIXELS
        rows = (np.arange(ROWS) - first + (COLUMNS - ROWS) / 2) / CELL_PIXELS
        weights = []
        for places in (rows, columns):
            places = np.clip(places, 0, CELLS - 1)
            distance = np.abs(places[:, None] - np.arange(CELLS))
            weights.append(np.maximum(1 - distance, 0) if interpolated else distance == distance.min(axis=1)[:, None])
        values = np.einsum("jr,krc,ic->kji", weights[0].astype(float), shown, weights[1].astype(float))
        return values, values >= level

    def test_voxels_are_those_whose_evidence_reaches_the_threshold(self):
        self.prepare()
        for interpolated in (True, False):
            for threshold in (0.25, 0.6):
                with self.subTest(interpolated=interpolated, threshold=threshold):
                    mask = self.maskOf(self.segmented(threshold=threshold, interpolated=interpolated))
                    values, expected = self.expected(threshold * 255, interpolated)
                    clear = np.abs(values - threshold * 255) > 1  # cells are bytes, and so is what lies between
                    self.assertGreater(expected[clear].sum(), 20)
                    np.testing.assert_array_equal(mask[clear], expected[clear])

    def test_it_covers_what_the_overlay_colours_in_every_kind_of_stack(self):
        for kind in (*KINDS, "acquired"):
            with self.subTest(kind):
                self.scene = createScene()
                self.prepare(kind)
                mask = self.maskOf(self.segmented(threshold=0.3))
                showOverlay(self.scene, self.node, self.result.evidence, 1.0, 0.3)
                arrangeViews(self.scene, self.result, self.classification)
                coloured = evidenceInView(self.scene, "Red") >= 0
                covering = addVolume(self.scene, exampleVolume("axial"), "mask")
                covering.CopyOrientation(self.node)
                covering.SetAndObserveTransformNodeID(self.node.GetTransformNodeID())
                setVoxels(covering, mask.astype(np.uint8) * 255)
                setThreshold(covering, 0.5)
                display = covering.GetDisplayNode()
                display.SetAndObserveColorNodeID(self.result.evidence.GetDisplayNode().GetColorNodeID())
                display.SetWindowLevelMinMax(0, 255)
                red = self.scene.GetSingletonNode("Red", "vtkMRMLSliceCompositeNode")
                red.SetForegroundVolumeID(covering.GetID())
                picture = sliceImage(self.scene, "Red", (280, 200))
                covered = np.ptp(picture.astype(int), axis=2) > 0
                self.assertGreater(coloured.sum(), 300)
                self.assertLess((coloured != covered).sum(), 0.12 * coloured.sum())  # the border, in whole voxels

    def test_segments_have_the_names_and_colours_of_their_classes(self):
        maps = np.ones((SLICES, 2, CELLS, CELLS), np.float32)
        self.prepare(maps=maps)
        segmentation = self.segmented(("nothing", "spot")).GetSegmentation()
        for n, name in ((0, "spot"), (1, "nothing")):
            segment = segmentation.GetSegment(name)
            self.assertEqual(segment.GetName(), name)
            np.testing.assert_allclose(segment.GetColor(), LABEL_COLORS[n])
        self.assertEqual(segmentation.GetNumberOfSegments(), 2)

    def test_a_class_that_nothing_speaks_for_gets_no_segment(self):
        self.prepare()
        segmentation = self.segmented(("spot", "nothing"), threshold=0.0).GetSegmentation()
        self.assertEqual(list(segmentation.GetSegmentIDs()), ["spot"])

    def test_refused_where_no_class_reaches_the_threshold_and_nothing_is_left(self):
        self.prepare()
        before = nodeIds(self.scene)
        with self.assertRaises(Refusal) as caught:
            self.segmented(("nothing",))
        self.assertEqual(caught.exception.code, "INPUT_NO_EVIDENCE")
        with self.assertRaises(ValueError):
            self.segmented(("elsewhere",))
        self.assertEqual(nodeIds(self.scene), before)

    def test_no_surface_is_shown_in_3d(self):
        self.prepare()
        node = self.segmented()
        self.assertFalse(node.GetDisplayNode().GetVisibility3D())
        self.assertTrue(node.GetDisplayNode().GetVisibility2DFill())
        surface = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
        self.assertFalse(node.GetSegmentation().ContainsRepresentation(surface))

    def test_it_says_what_it_was_made_of_and_outlives_the_result(self):
        self.prepare("acquired")
        node = self.segmented(threshold=0.4)
        self.assertEqual(node.GetNodeReferenceID("MedImgClassifier.Result"), self.result.table.GetID())
        self.assertEqual(node.GetTransformNodeID(), self.node.GetTransformNodeID())
        result_nodes.removeResult(self.scene, self.result.table)
        self.assertTrue(self.scene.IsNodePresent(node))
        for name, value in (("Bundle", "example 1.0.0"), ("Threshold", "0.4"), ("Method", "closed_form")):
            self.assertEqual(node.GetAttribute(f"MedImgClassifier.{name}"), value)
        self.assertIn("not for diagnosis", node.GetAttribute("MedImgClassifier.Notice"))
        self.assertIn("40 %", node.GetDescription())
        self.assertFalse(isEvidence(node))


if __name__ == "__main__":
    unittest.main()
