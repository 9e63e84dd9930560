"""Volume nodes and engine volumes say the same about voxels and where they lie."""

from __future__ import annotations

import os
import sys
import unittest
from dataclasses import replace

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np

from example_results import KINDS, exampleVolume, spotLps
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.volume import Source, Volume
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.volumes import addVolume, volumeFromNode
from scene_checks import addAcquired, addLinearTransform, brightestLps, voxelsOf


class VolumeNodes(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()

    def assertSameGeometry(self, one: Volume, other: Volume, atol: float = 1e-6):
        np.testing.assert_allclose(one.slice_origins_lps, other.slice_origins_lps, atol=atol)
        np.testing.assert_allclose(one.row_direction_lps, other.row_direction_lps, atol=atol)
        np.testing.assert_allclose(one.column_direction_lps, other.column_direction_lps, atol=atol)
        np.testing.assert_allclose(one.spacing_mm, other.spacing_mm, atol=atol)

    def test_regular_stacks_come_back_as_they_went_in(self):
        for kind in KINDS[:-1]:
            with self.subTest(kind):
                volume = exampleVolume(kind)
                back = volumeFromNode(addVolume(self.scene, volume, kind))
                self.assertSameGeometry(back, volume)
                np.testing.assert_array_equal(back.voxels, volume.voxels)
                self.assertEqual(back.voxels.dtype, volume.voxels.dtype)
                self.assertEqual(back.modality, "MR")
                self.assertEqual(back.source.sop_instance_uids, volume.source.sop_instance_uids)
                self.assertEqual(back.source.instance_numbers, volume.source.instance_numbers)

    def test_node_shows_the_spot_at_its_place_in_the_patient(self):
        for kind in KINDS[:-1]:
            with self.subTest(kind):
                volume = exampleVolume(kind)
                node = addVolume(self.scene, volume, kind)
                np.testing.assert_allclose(brightestLps(node), spotLps(volume), atol=1e-6)

    def test_tilted_stack_is_shown_even_and_says_so(self):
        volume = exampleVolume("tilted")
        node = addVolume(self.scene, volume, "tilted")
        regular, shift = volume.regular()
        self.assertSameGeometry(volumeFromNode(node), regular)
        self.assertIn("sheared by 18.5 degrees", node.GetAttribute("MedImgClassifier.Resampled"))
        self.assertAlmostEqual(float(node.GetAttribute("MedImgClassifier.LargestShiftMm")), shift, places=2)
        self.assertIsNone(node.GetAttribute("DICOM.instanceUIDs"))
        self.assertIsNone(addVolume(self.scene, exampleVolume("axial"), "a").GetAttribute("MedImgClassifier.Resampled"))

    def test_voxels_are_copies(self):
        node = addVolume(self.scene, exampleVolume("axial"), "axial")
        volumeFromNode(node).voxels[:] = 7
        self.assertEqual(voxelsOf(node).max(), 1000)

    def test_voxel_types_that_vtk_lacks_keep_their_values(self):
        matrix = np.eye(4)
        for voxels in (
            np.array([[[0, 1]]], bool),
            np.array([[[0.5, 2]]], np.float16),
            np.array([[[-5, 70000]]], np.int64),
            np.array([[[0, 2**40]]], np.int64),
            np.array([[[3, 700]]], ">i2"),
        ):
            with self.subTest(voxels.dtype):
                back = volumeFromNode(addVolume(self.scene, Volume.from_matrix(voxels, matrix), "v"))
                np.testing.assert_array_equal(back.voxels, voxels)

    def test_colour_image_stays_a_colour_image(self):
        voxels = np.random.default_rng(1).integers(0, 255, (1, 5, 7, 3)).astype(np.uint8)
        back = volumeFromNode(addVolume(self.scene, Volume.from_matrix(voxels, np.eye(4), units="RGB"), "rgb"))
        np.testing.assert_array_equal(back.voxels, voxels)
        self.assertEqual(back.units, "RGB")

    def test_series_comes_back_from_the_subject_hierarchy(self):
        for kind in ("axial", "tilted"):
            with self.subTest(kind):
                volume = exampleVolume(kind)
                volume = replace(volume, source=replace(volume.source, series_uid="1.2.840.7"))
                node = addVolume(self.scene, volume, kind)
                self.assertEqual(volumeFromNode(node).source.series_uid, "1.2.840.7")
                other = addVolume(self.scene, exampleVolume(kind), "other")
                self.assertEqual(volumeFromNode(other).source.series_uid, "")

    def test_without_a_series_no_hierarchy_is_made(self):
        addVolume(self.scene, exampleVolume("axial"), "axial")
        self.assertEqual(self.scene.GetNumberOfNodesByClass("vtkMRMLSubjectHierarchyNode"), 0)

    def test_hounsfield_units_make_it_ct(self):
        volume = Volume.from_matrix(np.zeros((2, 3, 4), np.int16), np.eye(4), units="HU")
        back = volumeFromNode(addVolume(self.scene, volume, "ct"))
        self.assertEqual((back.units, back.modality), ("HU", "CT"))

    def test_uids_that_do_not_match_the_slices_are_not_taken(self):
        node = addVolume(self.scene, exampleVolume("axial"), "axial")
        node.SetAttribute("DICOM.instanceUIDs", "1.2.3 1.2.4")
        node.SetAttribute("DICOM.instanceNumbers", "Unknown")
        self.assertEqual(volumeFromNode(node).source, Source(path="axial", format="MRML"))

    def test_linear_parent_transform_moves_the_stack(self):
        volume = exampleVolume("oblique")
        node = addVolume(self.scene, volume, "oblique")
        move = [[0, -1, 0, 5], [1, 0, 0, -7], [0, 0, 1, 11], [0, 0, 0, 1]]
        node.SetAndObserveTransformNodeID(addLinearTransform(self.scene, move).GetID())
        np.testing.assert_allclose(spotLps(volumeFromNode(node)), brightestLps(node), atol=1e-6)
        self.assertGreater(np.linalg.norm(spotLps(volumeFromNode(node)) - spotLps(volume)), 10)

    def test_acquisition_transform_gives_the_acquired_positions(self):
        volume = exampleVolume("tilted")
        back = volumeFromNode(addAcquired(self.scene, volume))
        self.assertSameGeometry(back, volume, atol=0.01)
        self.assertIn("sheared by 18.5 degrees", back.irregularity)

    def test_bent_slices_are_refused(self):
        node = addAcquired(self.scene, exampleVolume("tilted"), bend=3.0)
        with self.assertRaisesRegex(Refusal, r"INPUT_GEOMETRY.*'acquired'.*bends or turns"):
            volumeFromNode(node)

    def test_slices_that_a_transform_shears_in_plane_are_refused(self):
        node = addVolume(self.scene, exampleVolume("axial"), "axial")
        shear = [[1, 0.3, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
        node.SetAndObserveTransformNodeID(addLinearTransform(self.scene, shear).GetID())
        with self.assertRaisesRegex(Refusal, "INPUT_GEOMETRY.*orthogonal"):
            volumeFromNode(node)

    def test_node_without_voxels_is_refused(self):
        with self.assertRaisesRegex(Refusal, "INPUT_VALUES.*'empty'"):
            volumeFromNode(self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty"))


if __name__ == "__main__":
    unittest.main()
