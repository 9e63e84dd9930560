"""Showing evidence borrows the slice views and gives them back."""

from __future__ import annotations

import os
import sys
import unittest
from types import SimpleNamespace
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np
import slicer

from example_results import exampleClassification, exampleVolume
from MedImgClassifierLib.scene import colors, legend, overlay
from MedImgClassifierLib.scene.overlay import addEvidence, hideOverlay, showOverlay
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.volumes import addVolume
from scene_checks import addLinearTransform, brightestLps, composite, nodeIds, voxelsOf


class Overlay(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()
        volume = exampleVolume("axial")
        self.volume = addVolume(self.scene, volume, "volume")
        self.other = addVolume(self.scene, volume, "other")
        self.evidence, _speaks = addEvidence(self.scene, exampleClassification(volume), 0, self.volume, "evidence")

    def test_views_of_the_volume_and_empty_views_show_it(self):
        composite(self.scene, "Green").SetBackgroundVolumeID(self.volume.GetID())
        showOverlay(self.scene, self.volume, self.evidence, 0.4, 0.2)
        for view in ("Red", "Green", "Yellow"):
            self.assertEqual(composite(self.scene, view).GetBackgroundVolumeID(), self.volume.GetID())
            self.assertEqual(composite(self.scene, view).GetForegroundVolumeID(), self.evidence.GetID())
            self.assertEqual(composite(self.scene, view).GetForegroundOpacity(), 0.4)
        self.assertAlmostEqual(self.evidence.GetDisplayNode().GetLowerThreshold(), 51)

    def test_views_of_another_volume_are_left_alone(self):
        composite(self.scene, "Yellow").SetBackgroundVolumeID(self.other.GetID())
        showOverlay(self.scene, self.volume, self.evidence)
        self.assertEqual(composite(self.scene, "Yellow").GetBackgroundVolumeID(), self.other.GetID())
        self.assertIsNone(composite(self.scene, "Yellow").GetForegroundVolumeID())

    def test_hiding_restores_foreground_and_opacity(self):
        red, green = composite(self.scene, "Red"), composite(self.scene, "Green")
        red.SetBackgroundVolumeID(self.volume.GetID())
        red.SetForegroundVolumeID(self.other.GetID())
        red.SetForegroundOpacity(0.7)
        for opacity in (0.3, 0.9):  # moving the slider shows it again, and must not forget what was there first
            showOverlay(self.scene, self.volume, self.evidence, opacity)
        hideOverlay(self.scene, self.evidence)
        self.assertEqual(red.GetForegroundVolumeID(), self.other.GetID())
        self.assertEqual(red.GetForegroundOpacity(), 0.7)
        self.assertIsNone(green.GetForegroundVolumeID())
        self.assertEqual(green.GetForegroundOpacity(), 0.0)

    def test_what_is_remembered_is_of_the_latest_showing(self):
        red = composite(self.scene, "Red")
        red.SetBackgroundVolumeID(self.volume.GetID())
        showOverlay(self.scene, self.volume, self.evidence)
        hideOverlay(self.scene, self.evidence)
        red.SetForegroundVolumeID(self.other.GetID())
        red.SetForegroundOpacity(0.2)
        showOverlay(self.scene, self.volume, self.evidence)
        hideOverlay(self.scene, self.evidence)
        self.assertEqual((red.GetForegroundVolumeID(), red.GetForegroundOpacity()), (self.other.GetID(), 0.2))

    def test_a_foreground_that_the_reader_chose_meanwhile_stays(self):
        showOverlay(self.scene, self.volume, self.evidence)
        red = composite(self.scene, "Red")
        red.SetForegroundVolumeID(self.other.GetID())
        hideOverlay(self.scene, self.evidence)
        self.assertEqual(red.GetForegroundVolumeID(), self.other.GetID())
        # ... and is what a later showing remembers.
        showOverlay(self.scene, self.volume, self.evidence)
        hideOverlay(self.scene, self.evidence)
        self.assertEqual(red.GetForegroundVolumeID(), self.other.GetID())

    def test_a_background_that_the_reader_chose_meanwhile_stays_and_evidence_goes(self):
        showOverlay(self.scene, self.volume, self.evidence)
        red = composite(self.scene, "Red")
        red.SetBackgroundVolumeID(self.other.GetID())
        hideOverlay(self.scene, self.evidence)
        self.assertEqual(red.GetBackgroundVolumeID(), self.other.GetID())
        self.assertIsNone(red.GetForegroundVolumeID())

    def test_no_view_remembers_anything_after_hiding(self):
        showOverlay(self.scene, self.volume, self.evidence)
        composite(self.scene, "Red").SetForegroundVolumeID(self.other.GetID())
        hideOverlay(self.scene, self.evidence)
        for view in ("Red", "Green", "Yellow"):
            self.assertFalse([name for name in composite(self.scene, view).GetAttributeNames() if "Previous" in name])

    def test_hiding_one_result_does_not_forget_what_was_there_before_another(self):
        second, _speaks = addEvidence(self.scene, exampleClassification(exampleVolume("axial")), 0, self.volume, "b")
        red = composite(self.scene, "Red")
        red.SetForegroundVolumeID(self.other.GetID())
        showOverlay(self.scene, self.volume, self.evidence)
        showOverlay(self.scene, self.volume, second)
        hideOverlay(self.scene, self.evidence)
        self.assertEqual(red.GetForegroundVolumeID(), second.GetID())
        hideOverlay(self.scene, second)
        self.assertEqual(red.GetForegroundVolumeID(), self.other.GetID())

    def test_opacity_changes_only_where_the_evidence_is_seen(self):
        showOverlay(self.scene, self.volume, self.evidence, 0.5)
        yellow = composite(self.scene, "Yellow")
        yellow.SetForegroundVolumeID(self.other.GetID())
        overlay.setOpacity(self.scene, self.evidence, 0.8)
        self.assertEqual(composite(self.scene, "Red").GetForegroundOpacity(), 0.8)
        self.assertEqual(yellow.GetForegroundOpacity(), 0.5)

    def test_linked_views_of_another_volume_are_not_drawn_in(self):
        """Also while the reader's mouse is down in a linked view, when Slicer copies what happens there."""
        every = slicer.vtkMRMLSliceCompositeNode
        yellow, green = composite(self.scene, "Yellow"), composite(self.scene, "Green")
        for view in ("Red", "Green", "Yellow"):
            composite(self.scene, view).SetBackgroundVolumeID(self.volume.GetID())
            composite(self.scene, view).SetLinkedControl(1)
            composite(self.scene, view).SetHotLinkedControl(1)
        yellow.SetBackgroundVolumeID(self.other.GetID())
        yellow.SetForegroundOpacity(0.15)
        green.SetForegroundOpacity(0.35)
        red = composite(self.scene, "Red")
        red.SetInteractionFlags(every.ForegroundVolumeFlag | every.ForegroundOpacityFlag)
        red.SetInteracting(1)
        red.SetForegroundOpacity(0.35)
        self.assertEqual(yellow.GetForegroundOpacity(), 0.35)  # that is the link
        yellow.SetForegroundOpacity(0.15)
        for change in (
            lambda: showOverlay(self.scene, self.volume, self.evidence, 0.6),
            lambda: overlay.setOpacity(self.scene, self.evidence, 0.7),
            lambda: hideOverlay(self.scene, self.evidence),
        ):
            change()
            self.assertEqual(yellow.GetBackgroundVolumeID(), self.other.GetID())
            self.assertIsNone(yellow.GetForegroundVolumeID())
            self.assertEqual(yellow.GetForegroundOpacity(), 0.15)
        self.assertEqual(green.GetForegroundOpacity(), 0.35)
        for view in (red, green, yellow):
            self.assertEqual((view.GetLinkedControl(), view.GetHotLinkedControl()), (1, 1))
        self.assertEqual(red.GetInteracting(), 1)

    def test_showing_tells_each_view_once(self):
        events = []
        red = composite(self.scene, "Red")
        tag = red.AddObserver("ModifiedEvent", lambda *_: events.append(1))
        showOverlay(self.scene, self.volume, self.evidence)
        red.RemoveObserver(tag)
        self.assertEqual(len(events), 1)


class Filling(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()
        self.classification = exampleClassification(exampleVolume("axial"))
        self.volume = addVolume(self.scene, exampleVolume("axial"), "volume")
        self.evidence, _speaks = addEvidence(self.scene, self.classification, 0, self.volume, "evidence")

    def test_other_evidence_comes_into_the_same_node(self):
        moved = addVolume(self.scene, exampleVolume("sagittal"), "moved")
        overlay.setThreshold(self.evidence, 0.6)
        before = nodeIds(self.scene)
        speaks = overlay.fillEvidence(self.evidence, exampleClassification(exampleVolume("sagittal")), 0, moved)
        self.assertTrue(speaks)
        self.assertEqual(nodeIds(self.scene), before)
        fresh, _speaks = addEvidence(self.scene, exampleClassification(exampleVolume("sagittal")), 0, moved, "fresh")
        np.testing.assert_allclose(brightestLps(self.evidence), brightestLps(fresh))
        self.assertAlmostEqual(self.evidence.GetDisplayNode().GetLowerThreshold(), 0.6 * 255)

    def test_what_speaks_for_nothing_is_said(self):
        self.assertFalse(overlay.fillEvidence(self.evidence, self.classification, 1, self.volume))
        self.assertEqual(self.evidence.GetAttribute("MedImgClassifier.Label"), "nothing")
        self.assertEqual(self.evidence.GetAttribute("MedImgClassifier.EvidenceMethod"), "none")
        self.assertEqual(voxelsOf(self.evidence).max(), 0)

    def test_evidence_that_cannot_be_made_leaves_the_node_as_it_was(self):
        from dataclasses import replace

        voxels = voxelsOf(self.evidence).copy()
        without = replace(self.classification, evidence=None)
        for fill in (overlay.fillEvidence, overlay.changeClass):
            with self.assertRaises(ValueError):
                fill(self.evidence, without, 1, self.volume)
        np.testing.assert_array_equal(voxelsOf(self.evidence), voxels)
        self.assertEqual(self.evidence.GetAttribute("MedImgClassifier.Label"), "spot")

    def test_another_class_lies_on_a_volume_that_was_moved_since(self):
        before = brightestLps(self.evidence)
        move = addLinearTransform(self.scene, [[1, 0, 0, 30], [0, 1, 0, 0], [0, 0, 1, -8], [0, 0, 0, 1]])
        self.volume.SetAndObserveTransformNodeID(move.GetID())
        overlay.changeClass(self.evidence, self.classification, 1, self.volume)
        overlay.changeClass(self.evidence, self.classification, 0, self.volume)
        np.testing.assert_allclose(brightestLps(self.evidence) - before, [-30, 0, -8])


class ColorMaps(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()
        volume = exampleVolume("axial")
        self.volume = addVolume(self.scene, volume, "volume")
        self.evidence, _speaks = addEvidence(self.scene, exampleClassification(volume), 0, self.volume, "evidence")

    def colorsShown(self):
        return self.evidence.GetDisplayNode().GetColorNode()

    def test_only_what_is_used_is_made_and_only_once(self):
        self.assertIs(self.colorsShown(), colors.findEvidenceColorNode(self.scene, "inferno"))
        tables = len([name for name in nodeIds(self.scene) if "ColorTable" in name])
        self.assertEqual(len(colors.findEvidenceColorNodes(self.scene)), 1)
        for colorMap in ("viridis", "inferno", "viridis"):
            overlay.setColorMap(self.evidence, colorMap)
            self.assertIs(self.colorsShown(), colors.findEvidenceColorNode(self.scene, colorMap))
        self.assertEqual(len(colors.findEvidenceColorNodes(self.scene)), 2)
        self.assertEqual(len([name for name in nodeIds(self.scene) if "ColorTable" in name]), tables + 1)
        with self.assertRaises(ValueError):
            overlay.setColorMap(self.evidence, "rainbow")
        self.assertIs(self.colorsShown(), colors.findEvidenceColorNode(self.scene, "viridis"))

    def test_every_map_has_a_title_grows_lighter_and_is_never_grey(self):
        for colorMap in colors.COLOR_MAPS:
            with self.subTest(colorMap):
                self.assertTrue(colors.colorMapTitle(colorMap))
                table = colors.evidenceColorNode(self.scene, colorMap).GetLookupTable()
                values = np.array([table.GetTableValue(n)[:3] for n in range(256)])
                light = values @ [0.2126, 0.7152, 0.0722]
                self.assertTrue((np.diff(light) > -1e-3).all())
                self.assertGreater(light[-1] - light[0], 0.4)
                self.assertGreater(np.ptp(values, axis=1).min(), 0.15)

    def test_blue_keeps_its_hue(self):
        table = colors.evidenceColorNode(self.scene, "blue").GetLookupTable()
        values = np.array([table.GetTableValue(n)[:3] for n in range(256)])
        self.assertTrue((np.diff(values, axis=1) > 0).all())  # red < green < blue all the way


class Legend(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()
        volume = exampleVolume("axial")
        self.classification = exampleClassification(volume)
        self.volume = addVolume(self.scene, volume, "volume")
        self.evidence, _speaks = addEvidence(self.scene, self.classification, 0, self.volume, "evidence")

    def withColors(self):
        logic = slicer.vtkSlicerColorLogic()
        logic.SetMRMLScene(self.scene)
        self.addCleanup(logic.SetMRMLScene, None)
        modules = SimpleNamespace(colors=SimpleNamespace(logic=lambda: logic))
        return mock.patch.object(slicer, "modules", modules, create=True)

    def test_without_color_legends_nothing_is_made(self):
        before = nodeIds(self.scene)
        with mock.patch.object(slicer, "modules", SimpleNamespace(), create=True):
            self.assertFalse(legend.showLegend(self.evidence))
        self.assertEqual(nodeIds(self.scene), before)

    def test_it_names_class_and_method_and_follows_the_class(self):
        with self.withColors():
            self.assertTrue(legend.showLegend(self.evidence))
            self.assertTrue(legend.showLegend(self.evidence))
        shown = legend.legendOf(self.evidence)
        self.assertEqual(shown.GetTitleText(), "spot (closed_form)")
        self.assertEqual(self.evidence.GetNumberOfDisplayNodes(), 2)
        self.assertEqual(self.evidence.GetDisplayNode().GetClassName(), "vtkMRMLScalarVolumeDisplayNode")
        overlay.changeClass(self.evidence, self.classification, 1, self.volume)
        self.assertEqual(shown.GetTitleText(), "nothing (nothing speaks for it)")

    def test_it_is_made_without_modules_where_its_nodes_are_known(self):
        logic = slicer.vtkSlicerColorLogic()
        logic.SetMRMLScene(self.scene)
        self.addCleanup(logic.SetMRMLScene, None)
        with mock.patch.object(slicer, "modules", SimpleNamespace(), create=True):
            self.assertTrue(legend.showLegend(self.evidence))
        self.assertTrue(legend.legendOf(self.evidence).GetVisibility())

    def test_it_goes_with_the_overlay(self):
        before = nodeIds(self.scene)
        with self.withColors():
            showOverlay(self.scene, self.volume, self.evidence)
            legend.showLegend(self.evidence)
        hideOverlay(self.scene, self.evidence)
        self.assertIsNone(legend.legendOf(self.evidence))
        self.assertEqual(nodeIds(self.scene), before)


if __name__ == "__main__":
    unittest.main()
