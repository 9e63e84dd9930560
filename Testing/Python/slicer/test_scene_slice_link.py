"""Rows of a classification and slice views find each other, wherever the volume lies and however views are turned."""

from __future__ import annotations

import gc
import os
import sys
import unittest
import weakref
from dataclasses import replace

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np
import vtk

from example_results import KINDS, SLICES, SPOT_K, exampleClassification, exampleVolume, spotLps
from MedImgClassifierLib.engine.result import KeySlice
from MedImgClassifierLib.scene import slice_link
from MedImgClassifierLib.scene.restriction import record, restricted, widened
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.slice_watch import SliceLink
from MedImgClassifierLib.scene.volumes import addVolume, volumeFromNode
from scene_checks import addAcquired, addLinearTransform, composite

VIEWS = ("Red", "Green", "Yellow")
TURNED = [[0, -1, 0, 5], [1, 0, 0, -7], [0, 0, 1, 11], [0, 0, 0, 1]]


class LinkCase(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()

    def show(self, node):
        for name in VIEWS:
            composite(self.scene, name).SetBackgroundVolumeID(node.GetID())

    def view(self, name):
        return self.scene.GetSingletonNode(name, "vtkMRMLSliceNode")

    def lookAlong(self, node):
        """Red looks along the slices of a volume, the others across."""
        self.show(node)
        acquired = volumeFromNode(node)
        axes = (acquired.row_direction_lps, acquired.column_direction_lps, acquired.normal_lps)
        turns = {"Red": (0, 1, 2), "Green": (0, 2, 1), "Yellow": (1, 2, 0)}
        for name, (x, y, z) in turns.items():
            matrix = self.view(name).GetSliceToRAS()
            for column, axis in enumerate((axes[x], axes[y], axes[z])):
                for row, value in enumerate(axis * [-1, -1, 1]):
                    matrix.SetElement(row, column, value)
            self.view(name).UpdateMatrices()
        return acquired

    def lookAt(self, name, pointLps):
        self.view(name).JumpSliceByCentering(*(float(x) for x in np.asarray(pointLps) * [-1, -1, 1]))

    def rowAt(self, name, classification, node):
        return slice_link.rowAtView(classification, node, self.view(name))


class RowOfAView(LinkCase):
    def test_each_slice_is_found_exactly_in_every_kind_of_stack(self):
        for kind in (*KINDS, "moved", "acquired"):
            with self.subTest(kind):
                self.scene = createScene()
                if kind == "acquired":
                    node = addAcquired(self.scene, exampleVolume("tilted"))
                else:
                    node = addVolume(self.scene, exampleVolume("oblique" if kind == "moved" else kind), kind)
                if kind == "moved":
                    node.SetAndObserveTransformNodeID(addLinearTransform(self.scene, TURNED).GetID())
                seen = self.lookAlong(node)
                volume = exampleVolume("tilted") if kind == "tilted" else seen
                classification = exampleClassification(volume)
                for k in range(SLICES):
                    for name in ("Red", "Green"):
                        self.lookAt(name, volume.slice_centres_lps[k])
                    self.assertEqual(self.rowAt("Red", classification, node)[:2], (k, True))
                    self.assertEqual(self.rowAt("Green", classification, node)[:2], (k, False))
                    self.assertAlmostEqual(self.rowAt("Red", classification, node).distance, 0, delta=0.1)

    def test_between_two_slices_the_nearer_one_and_how_far_it_is(self):
        node = addVolume(self.scene, exampleVolume("flipped"), "volume")
        volume = self.lookAlong(node)
        classification = exampleClassification(volume)
        step = volume.slice_step_lps
        for part, row in ((0.4, 4), (0.6, 5)):
            self.lookAt("Red", volume.slice_centres_lps[4] + part * step)
            found = self.rowAt("Red", classification, node)
            self.assertEqual(found[:2], (row, True))
            self.assertAlmostEqual(found.distance, 1.6, places=6)

    def test_a_view_turned_a_little_is_exact_and_one_turned_more_is_not(self):
        node = addVolume(self.scene, exampleVolume("axial"), "volume")
        volume = self.lookAlong(node)
        classification = exampleClassification(volume)
        for degrees, exact in ((0.5, True), (1.5, False)):
            self.lookAlong(node)
            turn = vtk.vtkTransform()
            turn.SetMatrix(self.view("Red").GetSliceToRAS())
            turn.RotateX(degrees)
            turn.GetMatrix(self.view("Red").GetSliceToRAS())
            self.view("Red").UpdateMatrices()
            self.lookAt("Red", volume.slice_centres_lps[3])
            self.assertEqual(self.rowAt("Red", classification, node)[:2], (3, exact))

    def test_outside_the_volume_there_is_no_row(self):
        node = addVolume(self.scene, exampleVolume("axial"), "volume")
        volume = self.lookAlong(node)
        classification = exampleClassification(volume)
        first, step = volume.slice_centres_lps[0], volume.slice_step_lps
        self.lookAt("Red", first - 0.4 * step)
        self.assertEqual(self.rowAt("Red", classification, node).row, 0)
        for outside in (first - 0.6 * step, first + (SLICES - 0.4) * step):
            self.lookAt("Red", outside)
            self.lookAt("Green", outside)
            self.assertIsNone(self.rowAt("Red", classification, node))
            self.assertIsNone(self.rowAt("Green", classification, node))
        aside = volume.slice_centres_lps[2] + 200 * volume.row_direction_lps
        self.lookAt("Red", aside)  # panned aside it still shows that slice
        self.lookAt("Green", aside)
        self.assertEqual(self.rowAt("Red", classification, node).row, 2)
        self.assertIsNone(self.rowAt("Green", classification, node))

    def test_among_slices_that_were_not_classified_there_is_no_row(self):
        for kind in ("axial", "acquired"):
            with self.subTest(kind):
                self.scene = createScene()
                example = exampleVolume("tilted" if kind == "acquired" else kind)
                node = addAcquired(self.scene, example) if kind == "acquired" else addVolume(self.scene, example, kind)
                volume = self.lookAlong(node)
                part = exampleClassification(restricted(volume, 2, 4), np.zeros((3, 2, 8, 8), np.float32))
                part = replace(part, key_slices=())
                wide = widened(part, record("roi", "box", 2, 4))
                for k in range(SLICES):
                    for name in ("Red", "Green"):
                        self.lookAt(name, volume.slice_centres_lps[k])
                        found = self.rowAt(name, wide, node)
                        expected = (k - 2, name == "Red") if 2 <= k <= 4 else None
                        self.assertEqual(found and found[:2], expected)

    def test_a_single_slice_classified_on_an_even_stack_counts_as_far_as_its_slab(self):
        node = addVolume(self.scene, exampleVolume("tilted"), "volume")
        volume = self.lookAlong(node)
        part = restricted(volume, 4, 4)
        classification = replace(exampleClassification(part, np.zeros((1, 2, 8, 8), np.float32)), key_slices=())
        wide = widened(classification, record("roi", "box", 4, 4))
        for part, row in ((0.4, 0), (0.6, None)):
            self.lookAt("Red", volume.slice_centres_lps[4] + part * volume.slice_step_lps)
            found = self.rowAt("Red", wide, node)
            self.assertEqual(found and found.row, row)

    def test_a_view_of_another_volume_shows_no_row(self):
        node = addVolume(self.scene, exampleVolume("axial"), "volume")
        other = addVolume(self.scene, exampleVolume("axial"), "other")
        volume = self.lookAlong(node)
        composite(self.scene, "Red").SetBackgroundVolumeID(other.GetID())
        self.lookAt("Red", volume.slice_centres_lps[2])
        self.assertIsNone(self.rowAt("Red", exampleClassification(volume), node))

    def test_rows_follow_a_volume_that_was_moved_since(self):
        node = addVolume(self.scene, exampleVolume("sagittal"), "volume")
        classification = exampleClassification(volumeFromNode(node))
        node.SetAndObserveTransformNodeID(addLinearTransform(self.scene, TURNED).GetID())
        moved = self.lookAlong(node)
        self.lookAt("Red", moved.slice_centres_lps[7])
        self.assertEqual(self.rowAt("Red", classification, node)[:2], (7, True))

    def test_a_restricted_classification_counts_in_the_node(self):
        node = addVolume(self.scene, exampleVolume("axial"), "volume")
        volume = self.lookAlong(node)
        part = exampleClassification(restricted(volume, 4, 8), np.zeros((5, 2, 8, 8), np.float32))
        classification = widened(part, record("roi", "R", 4, 8))
        for k, found in ((4, (0, True)), (6, (2, True)), (8, (4, True))):
            self.lookAt("Red", volume.slice_centres_lps[k])
            self.assertEqual(self.rowAt("Red", classification, node)[:2], found)

    def test_resampled_slices_are_found_by_their_place(self):
        """A sagittal stack, classified on axial slices 3 mm apart."""
        node = addVolume(self.scene, exampleVolume("sagittal"), "volume")
        volume = self.lookAlong(node)
        centres = volume.slice_centres_lps.mean(axis=0) + np.arange(-4, 6)[:, None] * [0.0, 0.0, 3.0]
        plain = exampleClassification(volume)
        slices = replace(
            plain.slices, centre_lps=centres, normal_lps=np.tile([0.0, 0.0, 1.0], (SLICES, 1)), native_k=None
        )
        classification = replace(plain, slices=slices, evidence=None)
        for row in range(SLICES):
            for name in VIEWS:
                self.lookAt(name, centres[row])
            self.assertEqual(self.rowAt("Yellow", classification, node)[:2], (row, False))
            axial = [name for name in VIEWS if self.rowAt(name, classification, node).isExact]
            self.assertEqual(len(axial), 1)
            self.assertEqual(self.rowAt(axial[0], classification, node).row, row)

    def test_a_volume_that_is_bent_or_empty_has_no_rows(self):
        node = addVolume(self.scene, exampleVolume("axial"), "volume")
        classification = exampleClassification(self.lookAlong(node))
        bent = addAcquired(self.scene, exampleVolume("tilted"), bend=3.0)
        node.SetAndObserveTransformNodeID(bent.GetTransformNodeID())
        self.assertIsNone(self.rowAt("Red", classification, node))
        node.SetAndObserveTransformNodeID(None)
        node.SetAndObserveImageData(None)
        self.assertIsNone(self.rowAt("Red", classification, node))


class Jumping(LinkCase):
    def test_all_views_of_the_volume_show_the_row_and_none_is_turned(self):
        for kind in (*KINDS, "acquired"):
            with self.subTest(kind):
                self.scene = createScene()
                if kind == "acquired":
                    node = addAcquired(self.scene, exampleVolume("tilted"))
                else:
                    node = addVolume(self.scene, exampleVolume(kind), kind)
                seen = self.lookAlong(node)
                classification = exampleClassification(exampleVolume("tilted") if kind == "tilted" else seen)
                before = [self.orientation(name) for name in VIEWS]
                for row in (0, 5, SLICES - 1):
                    self.assertEqual(slice_link.jumpToRow(self.scene, classification, node, row), list(VIEWS))
                    found = [self.rowAt(name, classification, node)[:2] for name in VIEWS]
                    self.assertEqual(found, [(row, True), (row, False), (row, False)])
                np.testing.assert_allclose([self.orientation(name) for name in VIEWS], before)

    def orientation(self, name):
        matrix = self.view(name).GetSliceToRAS()
        return [matrix.GetElement(row, column) for row in range(3) for column in range(3)]

    def test_views_across_are_centred_on_the_peak_of_the_evidence(self):
        node = addVolume(self.scene, exampleVolume("oblique"), "volume")
        volume = self.lookAlong(node)
        classification = exampleClassification(volume)
        peak = classification.evidence.peak_lps(SPOT_K, 0)
        self.assertLess(np.linalg.norm(peak - spotLps(volume)), 10)
        slice_link.jumpToRow(self.scene, classification, node, SPOT_K, label=0)
        for name in ("Green", "Yellow"):
            np.testing.assert_allclose(slice_link.viewCentreLps(self.view(name)), peak, atol=1e-6)
        slice_link.jumpToRow(self.scene, classification, node, 1, label=0)  # nothing speaks for it there
        for name in ("Green", "Yellow"):
            centre = slice_link.viewCentreLps(self.view(name))
            np.testing.assert_allclose(centre, volume.slice_centres_lps[1], atol=1e-6)

    def test_a_parallel_view_keeps_its_place_in_the_plane(self):
        node = addVolume(self.scene, exampleVolume("axial"), "volume")
        volume = self.lookAlong(node)
        aside = volume.slice_centres_lps[2] + 17 * volume.row_direction_lps - 9 * volume.column_direction_lps
        self.lookAt("Red", aside)
        slice_link.jumpToRow(self.scene, exampleClassification(volume), node, 5)
        centre = slice_link.viewCentreLps(self.view("Red"))
        np.testing.assert_allclose(centre, aside + 3 * volume.slice_step_lps, atol=1e-6)

    def test_views_of_another_volume_stay_where_they_are(self):
        node = addVolume(self.scene, exampleVolume("axial"), "volume")
        other = addVolume(self.scene, exampleVolume("axial"), "other")
        volume = self.lookAlong(node)
        composite(self.scene, "Yellow").SetBackgroundVolumeID(other.GetID())
        before = slice_link.viewCentreLps(self.view("Yellow"))
        jumped = slice_link.jumpToRow(self.scene, exampleClassification(volume), node, 8)
        self.assertEqual(jumped, ["Red", "Green"])
        np.testing.assert_array_equal(slice_link.viewCentreLps(self.view("Yellow")), before)

    def test_a_volume_that_was_moved_is_centred_on_its_slice_and_not_where_evidence_was(self):
        node = addVolume(self.scene, exampleVolume("axial"), "volume")
        classification = exampleClassification(volumeFromNode(node))
        node.SetAndObserveTransformNodeID(addLinearTransform(self.scene, TURNED).GetID())
        moved = self.lookAlong(node)
        slice_link.jumpToRow(self.scene, classification, node, SPOT_K, label=0)
        centre = slice_link.viewCentreLps(self.view("Green"))
        np.testing.assert_allclose(centre, moved.slice_centres_lps[SPOT_K], atol=1e-6)

    def test_key_slices_come_in_the_order_of_rows_and_round_again(self):
        keys = (KeySlice(6, 0, "most_probable"), KeySlice(1, 1, "most_probable"), KeySlice(4, 0, "least_certain"))
        classification = replace(exampleClassification(exampleVolume("axial")), key_slices=keys)
        for row, direction, found in (
            (None, 1, 1),
            (None, -1, 6),
            (1, 1, 4),
            (2, 1, 4),
            (6, 1, 1),
            (4, -1, 1),
            (0, -1, 6),
        ):
            self.assertEqual(slice_link.nextKeySlice(classification, row, direction).row, found)
        self.assertIsNone(slice_link.nextKeySlice(replace(classification, key_slices=()), 3, 1))


class Watching(LinkCase):
    def setUp(self):
        super().setUp()
        self.node = addVolume(self.scene, exampleVolume("axial"), "volume")
        self.volume = self.lookAlong(self.node)
        self.classification = exampleClassification(self.volume)
        self.told = []
        self.link = SliceLink(self.scene, lambda *what: self.told.append(what))
        self.addCleanup(self.link.stop)
        slice_link.jumpToRow(self.scene, self.classification, self.node, 2)

    def follow(self):
        self.link.follow(self.classification, self.node)
        told, self.told[:] = list(self.told), []
        return told

    def test_it_tells_at_once_what_is_shown(self):
        self.assertEqual(self.follow(), [("Red", 2, True), ("Green", 2, False), ("Yellow", 2, False)])

    def test_scrolling_is_told_once_for_each_change(self):
        self.follow()
        for part in (0.1, 0.2, 0.7, 0.8, 1.0):
            self.lookAt("Red", self.volume.slice_centres_lps[2] + part * self.volume.slice_step_lps)
        self.assertEqual(self.told, [("Red", 3, True)])
        self.assertEqual(self.link.rowInView("Red").row, 3)

    def test_leaving_the_volume_and_another_background_are_told(self):
        self.follow()
        self.lookAt("Red", self.volume.slice_centres_lps[0] - 3 * self.volume.slice_step_lps)
        composite(self.scene, "Green").SetBackgroundVolumeID(None)
        composite(self.scene, "Green").SetForegroundOpacity(0.3)
        self.assertEqual(self.told, [("Red", None, False), ("Green", None, False)])
        self.assertIsNone(self.link.rowInView("Green"))
        composite(self.scene, "Green").SetBackgroundVolumeID(self.node.GetID())
        self.assertEqual(self.told[2:], [("Green", 2, False)])

    def test_a_moved_volume_is_told(self):
        self.follow()
        transform = addLinearTransform(self.scene, [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 4.0], [0, 0, 0, 1]])
        self.node.SetAndObserveTransformNodeID(transform.GetID())
        self.assertIn(("Red", 1, True), self.told)
        transform.SetMatrixTransformToParent(vtk.vtkMatrix4x4())
        self.assertEqual(self.told[-3:], [("Red", 2, True), ("Green", 2, False), ("Yellow", 2, False)])

    def test_a_view_that_comes_later_is_watched(self):
        import slicer

        self.follow()
        logic = slicer.vtkMRMLSliceLogic()
        logic.SetMRMLApplicationLogic(self.scene.applicationLogic)
        logic.SetMRMLScene(self.scene)
        view = logic.AddSliceNode("Slice4")
        view.GetSliceToRAS().DeepCopy(self.view("Red").GetSliceToRAS())
        view.UpdateMatrices()
        logic.GetSliceCompositeNode().SetBackgroundVolumeID(self.node.GetID())
        self.lookAt("Slice4", self.volume.slice_centres_lps[5])
        self.assertEqual(self.told[-1], ("Slice4", 5, True))
        logic.SetMRMLScene(None)

    def assertUnobserved(self, end):
        """What observes is held by what it observes: a link that goes away when it is let go observes nothing."""
        link = SliceLink(self.scene, lambda *what: self.told.append(what))
        link.follow(self.classification, self.node)
        link.follow(self.classification, self.node)  # again, without a stop in between
        gone = weakref.ref(link)
        end(link)
        self.told.clear()
        self.lookAt("Red", self.volume.slice_centres_lps[7])
        self.assertEqual(self.told, [])
        del link
        gc.collect()
        self.assertIsNone(gone())

    def test_stopping_leaves_no_observer(self):
        self.assertUnobserved(lambda link: link.stop())

    def test_deleting_the_volume_ends_the_watch_and_leaves_no_observer(self):
        self.assertUnobserved(lambda _link: self.scene.RemoveNode(self.node))

    def test_closing_the_scene_leaves_no_observer(self):
        self.assertUnobserved(lambda _link: self.scene.Clear(False))

    def test_nothing_is_told_while_the_scene_closes(self):
        transform = addLinearTransform(self.scene, TURNED)
        node = addVolume(self.scene, exampleVolume("axial"), "under it")  # the transform is removed first
        node.SetAndObserveTransformNodeID(transform.GetID())
        volume = self.lookAlong(node)
        self.lookAt("Red", volume.slice_centres_lps[2])
        self.link.follow(exampleClassification(volume), node)
        self.told.clear()
        self.scene.Clear(False)
        self.assertEqual(self.told, [])

    def test_closing_the_scene_is_survived_and_it_can_follow_again(self):
        self.follow()
        self.scene.Clear(False)
        self.assertEqual(self.told, [])
        self.node = addVolume(self.scene, exampleVolume("sagittal"), "next")
        self.volume = self.lookAlong(self.node)
        self.classification = exampleClassification(self.volume)
        slice_link.jumpToRow(self.scene, self.classification, self.node, 4)
        self.assertEqual(self.told, [])
        self.assertEqual(self.follow()[0], ("Red", 4, True))


if __name__ == "__main__":
    unittest.main()
