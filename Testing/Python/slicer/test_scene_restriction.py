"""A region or a segment says which slices are classified, and rows keep their place in the node."""

from __future__ import annotations

import os
import sys
import unittest
from dataclasses import replace
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

from example_results import KINDS, SLICES, exampleClassification, exampleVolume
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.scene import restriction
from MedImgClassifierLib.scene.geometry import ijkToRas, vtkMatrixFromArray
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.volumes import addVolume, volumeFromNode
from scene_checks import addAcquired, addLinearTransform, nodeIds

TURNED = [[0, -1, 0, 5], [1, 0, 0, -7], [0, 0, 1, 11], [0, 0, 0, 1]]
LABELMAP = slicer.vtkSegmentationConverter.GetBinaryLabelmapRepresentationName()


class RestrictionCase(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()

    def volumeOf(self, kind):
        volume = exampleVolume("tilted" if kind == "acquired" else kind)
        return addAcquired(self.scene, volume) if kind == "acquired" else addVolume(self.scene, volume, kind)

    def roi(self, centreLps, size, axesLps=None, parent=None):
        node = self.scene.AddNewNodeByClass("vtkMRMLMarkupsROINode", "box")
        node.SetSize(*size)
        matrix = np.eye(4)
        matrix[:3, :3] = np.diag([-1, -1, 1]) @ (np.eye(3) if axesLps is None else axesLps)
        matrix[:3, 3] = np.asarray(centreLps) * [-1, -1, 1]
        if parent is not None:
            matrix = np.linalg.inv(parent) @ matrix
            node.SetAndObserveTransformNodeID(addLinearTransform(self.scene, parent).GetID())
        node.SetAndObserveObjectToNodeMatrix(vtkMatrixFromArray(matrix))
        return node

    def assertRefused(self, part, action):
        before = nodeIds(self.scene)
        with self.assertRaises(Refusal) as caught:
            action()
        self.assertEqual(caught.exception.code, "INPUT_RESTRICTION")
        self.assertIn(part, caught.exception.message())
        self.assertEqual(nodeIds(self.scene), before)


class Region(RestrictionCase):
    def test_slices_whose_slab_the_box_meets_in_every_kind_of_stack(self):
        for kind in (*KINDS[:4], "acquired"):
            with self.subTest(kind):
                self.scene = createScene()
                node = self.volumeOf(kind)
                volume = volumeFromNode(node)
                axes = np.stack([volume.row_direction_lps, volume.column_direction_lps, volume.normal_lps], axis=1)
                parent = np.array(TURNED, float)
                for first, last in ((3, 5), (0, 2), (7, 9)):
                    ends = volume.slice_centres_lps[[first, last]]
                    size = (10, 10, abs(float((ends[1] - ends[0]) @ volume.normal_lps)) + 0.2)
                    for box in (
                        self.roi(ends.mean(axis=0), size, axes),
                        self.roi(ends.mean(axis=0), size, axes, parent),
                    ):
                        self.assertEqual(restriction.slicesIn(node, box), (first, last))

    def test_a_box_to_the_borders_of_slabs_does_not_meet_the_next_slices(self):
        node = self.volumeOf("axial")
        centre = volumeFromNode(node).slice_centres_lps[4]
        self.assertEqual(restriction.slicesIn(node, self.roi(centre, (10, 10, 12))), (3, 5))
        self.assertEqual(restriction.slicesIn(node, self.roi(centre, (10, 10, 12.1))), (2, 6))
        self.assertEqual(restriction.slicesIn(node, self.roi(centre, (10, 10, 0.1))), (4, 4))

    def test_a_turned_box_reaches_with_its_corners(self):
        node = self.volumeOf("axial")
        centre = volumeFromNode(node).slice_centres_lps[4]
        c = np.sqrt(0.5)
        turned = np.array([[c, 0, c], [0, 1, 0], [-c, 0, c]])
        self.assertEqual(restriction.slicesIn(node, self.roi(centre, (10, 10, 10))), (3, 5))
        self.assertEqual(restriction.slicesIn(node, self.roi(centre, (10, 10, 10), turned)), (2, 6))

    def test_a_box_that_meets_the_volume_in_a_corner_only_counts_there(self):
        """A long thin box that leans: only where it is inside the image does it meet slices."""
        node = self.volumeOf("axial")
        volume = volumeFromNode(node)
        edge = volume.slice_centres_lps[0] + volume.row_direction_lps * volume.spacing_mm[0] * 28
        lean = np.array([1.0, 0.0, 1.0]) / np.sqrt(2)  # out of the image while it rises
        axes = np.stack([[0, 1, 0], np.cross(lean, [0, 1, 0]), lean], axis=1)
        box = self.roi(edge - 6 * np.array([1.0, 0, 0]), (1, 1, 200), axes)
        first, last = restriction.slicesIn(node, box)
        self.assertEqual((first, last), (0, 2))  # 6 mm before the edge, so 6 mm up and half a voxel: slices at 0, 4, 8

    def test_a_thin_box_that_passes_an_edge_of_the_volume_meets_what_points_in_it_meet(self):
        node = self.volumeOf("axial")
        volume = volumeFromNode(node)
        middle = volume.slice_centres_lps.mean(axis=0)
        along = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in (1201, 21, 21)), indexing="ij"), axis=-1)
        for offset, turn in (
            ([-13.5, -31.3, -7.7], [[-0.175, 0.525, 0.833], [0.300, -0.777, 0.553], [0.938, 0.347, -0.021]]),
            ([-1.4, 25.7, 7.0], [[-0.210, -0.742, 0.636], [-0.294, -0.573, -0.765], [0.932, -0.348, -0.097]]),
        ):
            axes, _r = np.linalg.qr(np.array(turn))
            box = self.roi(middle + offset, (60, 2, 2), axes)
            points = (middle + offset + (along.reshape(-1, 3) * [30, 1, 1]) @ axes.T) - volume.slice_origins_lps[0]
            i = points @ volume.row_direction_lps / volume.spacing_mm[0]
            j = points @ volume.column_direction_lps / volume.spacing_mm[1]
            k = points @ volume.normal_lps / 4
            inside = (np.abs(i - 27.5) < 28) & (np.abs(j - 19.5) < 20) & (np.abs(k - 4.5) < 5)
            met = np.unique(np.round(k[inside]).astype(int))
            self.assertTrue(0 < len(met) < 5)
            self.assertEqual(restriction.slicesIn(node, box), (met[0], met[-1]))

    def test_volume_under_a_transform(self):
        node = self.volumeOf("sagittal")
        node.SetAndObserveTransformNodeID(addLinearTransform(self.scene, TURNED).GetID())
        centre = volumeFromNode(node).slice_centres_lps[6]
        self.assertEqual(restriction.slicesIn(node, self.roi(centre, (1, 1, 1))), (6, 6))

    def test_refused_where_it_is_gone_empty_or_elsewhere(self):
        node = self.volumeOf("axial")
        self.assertRefused("deleted", lambda: restriction.slicesIn(node, None))
        centre = volumeFromNode(node).slice_centres_lps[4]
        flat, beside = self.roi(centre, (10, 0, 10)), self.roi(centre + np.array([500, 0, 0]), (10, 10, 10))
        self.assertRefused("no size", lambda: restriction.slicesIn(node, flat))
        self.assertRefused("outside", lambda: restriction.slicesIn(node, beside))


class Segment(RestrictionCase):
    def segmentation(self, voxels, matrix, start=(0, 0, 0), transform=None):
        """A segmentation with one segment 'lesion' of voxels [K, J, I]; the first one is at index `start` (i, j, k)."""
        node = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
        image = slicer.vtkOrientedImageData()
        ends = [first + size - 1 for first, size in zip(start, voxels.shape[::-1], strict=True)]
        image.SetExtent(start[0], ends[0], start[1], ends[1], start[2], ends[2])
        image.GetPointData().SetScalars(numpy_to_vtk(voxels.astype(np.uint8).ravel(), deep=True))
        image.SetGeometryFromImageToWorldMatrix(vtkMatrixFromArray(np.asarray(matrix, float)))
        segment = slicer.vtkSegment()
        segment.SetName("lesion")
        segment.AddRepresentation(LABELMAP, image)
        node.GetSegmentation().SetSourceRepresentationName(LABELMAP)
        node.GetSegmentation().AddSegment(segment, "lesion")
        if transform is not None:
            node.SetAndObserveTransformNodeID(transform)
        return node

    def test_slices_of_a_segment_on_the_grid_of_the_volume(self):
        for kind in (*KINDS[:4], "acquired", "moved"):
            with self.subTest(kind):
                self.scene = createScene()
                node = self.volumeOf("axial" if kind == "moved" else kind)
                if kind == "moved":
                    node.SetAndObserveTransformNodeID(addLinearTransform(self.scene, TURNED).GetID())
                voxels = np.zeros((SLICES, 40, 56))
                voxels[3, 10:12, 20] = voxels[5, 12, 30:33] = 1
                found = self.segmentation(voxels, ijkToRas(node), transform=node.GetTransformNodeID())
                self.assertEqual(restriction.slicesInSegment(node, found, "lesion"), (3, 5))

    def test_a_segment_on_a_grid_and_under_a_transform_of_its_own(self):
        """1 mm voxels along the patient's axes, moved into place by a transform; the volume is oblique."""
        node = self.volumeOf("oblique")
        volume = volumeFromNode(node)
        place = volume.slice_centres_lps[4] * [-1, -1, 1]
        grid, move = np.eye(4), np.eye(4)
        grid[:3, 3], move[:3, 3] = place - 100, 100
        transform = addLinearTransform(self.scene, move).GetID()
        voxels = np.zeros((3, 3, 3))
        voxels[1, 1, 1] = 1
        found = self.segmentation(voxels, grid, start=(-1, -1, -1), transform=transform)
        self.assertEqual(restriction.slicesInSegment(node, found, "lesion"), (4, 4))

    def test_a_transform_that_volume_and_segmentation_share_does_not_matter(self):
        """Not even one that bends slices: such a volume is refused later, with its own reason."""
        bent = addAcquired(self.scene, exampleVolume("tilted"), bend=3.0)
        voxels = np.zeros((SLICES, 40, 56))
        voxels[2, 10, 20] = 1
        found = self.segmentation(voxels, ijkToRas(bent), transform=bent.GetTransformNodeID())
        self.assertEqual(restriction.slicesInSegment(bent, found, "lesion"), (2, 2))

    def test_a_coarse_voxel_counts_with_all_of_it(self):
        node = self.volumeOf("axial")
        grid = np.diag([5.0, 5.0, 13.0, 1.0])
        grid[:3, 3] = volumeFromNode(node).slice_centres_lps[4] * [-1, -1, 1]
        found = self.segmentation(np.ones((1, 1, 1)), grid)
        self.assertEqual(restriction.slicesInSegment(node, found, "lesion"), (2, 6))

    def test_only_what_lies_over_the_image_counts(self):
        """A row of voxels that leans through the volume and out of it at both sides."""
        node = self.volumeOf("axial")
        volume = volumeFromNode(node)
        grid = np.eye(4)
        grid[:3, 0] = np.array([1.0, 0.0, 0.1])
        grid[:3, 3] = volume.slice_centres_lps[4] * [-1, -1, 1]
        found = self.segmentation(np.ones((1, 1, 401)), grid, start=(-200, 0, 0))
        self.assertEqual(restriction.slicesInSegment(node, found, "lesion"), (3, 5))  # 25 mm to a side rise 2.5 mm

    def test_planes_that_are_passed_over_would_change_nothing(self):
        """Random blobs on turned grids, partly beside the volume: as found when every plane is looked through."""
        node = self.volumeOf("oblique")
        centre = volumeFromNode(node).slice_centres_lps[4] * [-1, -1, 1]
        random = np.random.default_rng(5)
        answers = set()
        for trial in range(40):
            turn, _r = np.linalg.qr(random.normal(size=(3, 3)))
            grid = np.eye(4)
            grid[:3, :3] = turn * random.uniform(0.5, 2, 3)
            grid[:3, 3] = centre + random.normal(size=3) * 25
            voxels = np.zeros((24, 16, 20))
            for _blob in range(3):
                z, y, x = (random.integers(0, n - 3) for n in voxels.shape)
                voxels[z : z + 3, y : y + 2, x : x + 3] = random.random((3, 2, 3)) < 0.5
            found = self.segmentation(voxels, grid, start=(-10, -8, -12))
            labelmap = found.GetSegmentation().GetSegment("lesion").GetRepresentation(LABELMAP)
            boxes = restriction._boxesOfPlanes(labelmap, 1)
            given = (volumeFromNode(node), labelmap, 1, boxes, None)
            few = restriction._reachOfSegment(*given)
            with mock.patch.object(restriction, "isAcquisitionTransform", lambda _parent: True):
                every = restriction._reachOfSegment(*given)
            np.testing.assert_allclose(few, every, atol=1e-9, err_msg=str(trial))
            answers.add(np.isfinite(few[0]))
        self.assertEqual(answers, {True, False})

    def test_few_planes_of_a_large_segment_are_looked_through(self):
        node = self.volumeOf("axial")
        looked = []
        rowEdges = restriction._rowEdges
        for turn in (np.eye(3), np.diag([1, -1, -1]), np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]])):
            grid = np.eye(4)
            grid[:3, :3] = turn
            grid[:3, 3] = volumeFromNode(node).slice_centres_lps[4] * [-1, -1, 1]
            found = self.segmentation(np.ones((60, 60, 60)), grid, start=(-30, -30, -30))
            with mock.patch.object(restriction, "_rowEdges", lambda *given: looked.append(1) or rowEdges(*given)):
                self.assertEqual(restriction.slicesInSegment(node, found, "lesion"), (0, 9))
        self.assertLessEqual(len(looked), 3 * 2)

    def test_a_segment_of_a_shared_labelmap_is_told_from_its_neighbour(self):
        node = self.volumeOf("axial")
        voxels = np.zeros((SLICES, 40, 56))
        voxels[2, 10, 10], voxels[7, 10, 10] = 1, 2
        found = self.segmentation(voxels, ijkToRas(node))
        other = slicer.vtkSegment()
        other.SetName("other")
        other.SetLabelValue(2)
        other.AddRepresentation(LABELMAP, found.GetSegmentation().GetSegment("lesion").GetRepresentation(LABELMAP))
        found.GetSegmentation().AddSegment(other, "other")
        self.assertEqual(restriction.slicesInSegment(node, found, "lesion"), (2, 2))
        self.assertEqual(restriction.slicesInSegment(node, found, "other"), (7, 7))

    def test_a_segment_that_is_only_a_surface_is_left_as_it_is(self):
        slicer.vtkSegmentationConverterFactory.GetInstance().RegisterConverterRule(
            slicer.vtkClosedSurfaceToBinaryLabelmapConversionRule()
        )
        node = self.volumeOf("axial")
        sphere = vtk.vtkSphereSource()
        sphere.SetCenter(*(volumeFromNode(node).slice_centres_lps[4] * [-1, -1, 1]))
        sphere.SetRadius(7.0)
        sphere.SetThetaResolution(30)
        sphere.SetPhiResolution(30)
        sphere.Update()
        surface = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
        found = self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surface")
        found.GetSegmentation().SetSourceRepresentationName(surface)
        segment = slicer.vtkSegment()
        segment.AddRepresentation(surface, sphere.GetOutput())
        found.GetSegmentation().AddSegment(segment, "ball")
        self.assertEqual(restriction.slicesInSegment(node, found, "ball"), (2, 6))
        self.assertFalse(found.GetSegmentation().ContainsRepresentation(LABELMAP))

    def test_refused_where_it_is_gone_empty_or_elsewhere(self):
        node = self.volumeOf("axial")
        voxels = np.zeros((SLICES, 40, 56))
        empty = self.segmentation(voxels, ijkToRas(node))
        beside = ijkToRas(node)
        beside[0, 3] += 500
        voxels[3, 10, 10] = 1
        elsewhere = self.segmentation(voxels, beside)
        self.assertRefused("deleted", lambda: restriction.slicesInSegment(node, None, "lesion"))
        self.assertRefused("deleted", lambda: restriction.slicesInSegment(node, empty, "gone"))
        self.assertRefused("empty", lambda: restriction.slicesInSegment(node, empty, "lesion"))
        self.assertRefused("outside", lambda: restriction.slicesInSegment(node, elsewhere, "lesion"))


class Restricted(unittest.TestCase):
    def test_slices_are_cut_with_their_origins_and_identity_and_nothing_else(self):
        volume = exampleVolume("tilted")
        part = restriction.restricted(volume, 4, 7)
        np.testing.assert_array_equal(part.voxels, volume.voxels[4:8])
        self.assertTrue(np.shares_memory(part.voxels, volume.voxels))
        np.testing.assert_array_equal(part.slice_origins_lps, volume.slice_origins_lps[4:8])
        self.assertEqual(part.source.sop_instance_uids, volume.source.sop_instance_uids[4:8])
        self.assertEqual(part.source.instance_numbers, (105, 106, 107, 108))
        self.assertEqual(
            (part.modality, part.units, part.spacing_mm), (volume.modality, volume.units, volume.spacing_mm)
        )
        whole = restriction.restricted(volume, 0, SLICES - 1)
        self.assertEqual(whole.content_sha256, volume.content_sha256)
        self.assertNotEqual(part.content_sha256, volume.content_sha256)

    def test_a_volume_without_identity_stays_without(self):
        volume = exampleVolume("axial")
        volume = replace(volume, source=replace(volume.source, sop_instance_uids=(), instance_numbers=()))
        part = restriction.restricted(volume, 2, 3)
        self.assertEqual((part.source.sop_instance_uids, part.source.instance_numbers), ((), ()))

    def test_a_single_slice_is_as_thick_as_its_slab(self):
        volume = replace(exampleVolume("axial"), slice_thickness_mm=None)
        part = restriction.restricted(volume, 4, 4)
        self.assertAlmostEqual(part.slice_thickness_mm, 4.0)
        self.assertAlmostEqual(abs(part.slice_step_lps @ part.normal_lps), 4.0)

    def test_slices_that_are_not_there_are_an_error(self):
        volume = exampleVolume("axial")
        for first, last in ((-1, 2), (3, 2), (5, SLICES)):
            with self.assertRaises(ValueError):
                restriction.restricted(volume, first, last)

    def test_rows_count_in_the_node_again_and_the_restriction_is_kept(self):
        volume = exampleVolume("axial")
        part = restriction.restricted(volume, 4, 8)
        classification = exampleClassification(part, np.zeros((5, 2, 8, 8), np.float32))
        made = restriction.record("segment", "lesion", 4, 8)
        wide = restriction.widened(classification, made)
        self.assertEqual(wide.slices.native_k, (4, 5, 6, 7, 8))
        self.assertEqual(wide.slices.instance_numbers, volume.source.instance_numbers[4:9])
        expected = {"kind": "segment", "name": "lesion", "first": 4, "last": 8}
        self.assertEqual(wide.provenance["restriction"], expected)
        self.assertEqual(classification.slices.native_k, (0, 1, 2, 3, 4))
        resampled = replace(classification, slices=replace(classification.slices, native_k=None))
        self.assertIsNone(restriction.widened(resampled, made).slices.native_k)


if __name__ == "__main__":
    unittest.main()
