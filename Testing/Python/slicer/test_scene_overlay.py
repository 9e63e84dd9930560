"""Showing evidence borrows the slice views and gives them back."""

from __future__ import annotations

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from example_results import exampleClassification, exampleVolume
from MedImgClassifierLib.scene.overlay import addEvidence, hideOverlay, showOverlay
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.volumes import addVolume
from scene_checks import composite


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


if __name__ == "__main__":
    unittest.main()
