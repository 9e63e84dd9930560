"""A result says at once that its input changed, takes it back where nothing did, and is checked after opening."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
import unittest
import weakref
from dataclasses import replace
from pathlib import Path
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np

from example_results import BUNDLE, KINDS, exampleClassification, exampleVolume
from MedImgClassifierLib.engine.volume import Volume
from MedImgClassifierLib.scene import binding, freshness
from MedImgClassifierLib.scene.freshness import Freshness, FreshnessWatcher
from MedImgClassifierLib.scene.geometry import ijkToRas, vtkMatrixFromArray
from MedImgClassifierLib.scene.nodes import nodesOfClass
from MedImgClassifierLib.scene.out_of_date import markOutOfDate
from MedImgClassifierLib.scene.result_nodes import addResult, removeResult
from MedImgClassifierLib.scene.saving import readScene, writeResultScene, writeScene
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.volumes import addVolume, setVoxels, volumeFromNode
from scene_checks import addAcquired, addLinearTransform, voxelsOf

MANIFEST = BUNDLE["manifest_sha256"]
FRESH = Freshness()


def settled(watcher):
    for _turn in range(1000):
        if watcher.step(0.001):
            return watcher.freshness
    raise AssertionError("never settled")


def madeOf(node, **changes):
    """The classification of what a node holds, as the worker would say it."""
    volume = volumeFromNode(node)
    return replace(exampleClassification(volume), **changes)


class Watched(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()
        self.node = addVolume(self.scene, exampleVolume("axial"), "head")
        self.table = addResult(self.scene, self.node, madeOf(self.node)).table
        self.told = []
        self.watcher = FreshnessWatcher(self.table, MANIFEST, self.told.append)
        self.addCleanup(self.watcher.close)

    def edit(self, value=7):
        """Change one voxel as `slicer.util.arrayFromVolume` and `arrayFromVolumeModified` do."""
        voxels = voxelsOf(self.node)
        before = voxels[1, 2, 3].copy()
        voxels[1, 2, 3] = value
        self.node.GetImageData().GetPointData().GetScalars().Modified()
        self.node.Modified()
        return before

    def move(self, node, mm):
        matrix = ijkToRas(node)
        matrix[0, 3] += mm
        node.SetIJKToRASMatrix(vtkMatrixFromArray(matrix))


class Changes(Watched):
    def test_result_is_checked_first_and_then_fresh(self):
        self.assertEqual(self.watcher.freshness, Freshness((), checking=True))
        self.assertEqual(settled(self.watcher), FRESH)
        self.assertEqual(self.told, [FRESH])

    def test_other_voxels_are_told_at_once_and_stay(self):
        settled(self.watcher)
        self.edit()
        self.assertEqual(self.told[-1], Freshness(("voxels",), checking=True))
        self.assertEqual(settled(self.watcher), Freshness(("voxels",)))

    def test_replaced_image_is_told_at_once(self):
        settled(self.watcher)
        setVoxels(self.node, voxelsOf(self.node) + 1)
        self.assertEqual(self.told[-1].reasons, ("voxels",))
        self.assertEqual(settled(self.watcher).reasons, ("voxels",))

    def test_image_of_another_size_or_none_is_out_of_date(self):
        for image in (None, voxelsOf(self.node)[:5].copy(), voxelsOf(self.node)[:, :, :8].copy()):
            with self.subTest(image=None if image is None else image.shape):
                if image is None:
                    self.node.SetAndObserveImageData(None)
                else:
                    setVoxels(self.node, image)
                self.assertIn("voxels", settled(self.watcher).reasons)

    def test_touched_voxels_are_fresh_again(self):
        settled(self.watcher)
        self.edit(voxelsOf(self.node)[1, 2, 3])
        self.assertEqual(self.told[-1], Freshness(("voxels",), checking=True))
        self.assertEqual(settled(self.watcher), FRESH)

    def test_undone_change_is_fresh_again(self):
        before = self.edit()
        self.assertEqual(settled(self.watcher).reasons, ("voxels",))
        self.edit(before)
        self.assertEqual(self.watcher.freshness, Freshness(("voxels",), checking=True))
        self.assertEqual(settled(self.watcher), FRESH)

    def test_change_that_tells_no_event_is_seen_by_the_next_step(self):
        settled(self.watcher)
        voxelsOf(self.node)[1, 2, 3] = 7
        self.node.GetImageData().GetPointData().GetScalars().Modified()
        self.assertEqual(settled(self.watcher).reasons, ("voxels",))

    def test_change_while_it_is_hashed_starts_the_hash_again(self):
        with mock.patch.object(freshness, "SLAB_BYTES", 1000):
            for _step in range(10):
                self.assertFalse(self.watcher.step(0))
            self.edit()  # in what is hashed already
            self.assertEqual(settled(self.watcher).reasons, ("voxels",))

    def test_looking_at_a_volume_changes_nothing(self):
        settled(self.watcher)
        self.told.clear()
        self.node.GetImageData().GetScalarRange()
        self.node.GetDisplayNode().SetWindowLevelMinMax(1, 2)
        self.node.SetName("renamed")
        self.node.SetAttribute("some", "attribute")
        self.node.SetIJKToRASMatrix(vtkMatrixFromArray(ijkToRas(self.node)))
        self.assertEqual((self.told, self.watcher.step()), ([], True))

    def test_moved_volume_is_told_at_once_and_fresh_when_it_is_back(self):
        settled(self.watcher)
        self.move(self.node, 1)
        self.assertEqual(self.told[-1], Freshness(("geometry",), checking=True))
        self.assertEqual(settled(self.watcher), Freshness(("geometry",)))
        self.move(self.node, -1)
        self.assertEqual(settled(self.watcher), FRESH)

    def test_less_than_the_tolerance_is_no_move(self):
        self.move(self.node, binding.TOLERANCE_MM / 2)
        self.assertEqual(settled(self.watcher), FRESH)
        self.move(self.node, binding.TOLERANCE_MM)
        self.assertEqual(settled(self.watcher).reasons, ("geometry",))

    def test_other_spacing_or_slice_order_is_another_place(self):
        for change in (np.diag([1, 1.1, 1, 1]), np.diag([1, 1, -1, 1])):
            with self.subTest(change=change.tolist()):
                before = ijkToRas(self.node)
                self.node.SetIJKToRASMatrix(vtkMatrixFromArray(before @ change))
                self.assertEqual(settled(self.watcher).reasons, ("geometry",))
                self.node.SetIJKToRASMatrix(vtkMatrixFromArray(before))
                self.assertEqual(settled(self.watcher), FRESH)

    def test_transform_is_told_at_once_when_set_moved_and_taken_away(self):
        settled(self.watcher)
        still = addLinearTransform(self.scene, np.eye(4))
        self.node.SetAndObserveTransformNodeID(still.GetID())
        self.assertEqual(self.told[-1], Freshness(("transform",), checking=True))
        self.assertEqual(settled(self.watcher), FRESH)  # one that moves nothing
        above = addLinearTransform(self.scene, np.eye(4))
        still.SetAndObserveTransformNodeID(above.GetID())
        settled(self.watcher)
        above.SetMatrixTransformToParent(vtkMatrixFromArray(np.array(SHIFT, float)))
        self.assertEqual(self.told[-1], Freshness(("transform",), checking=True))
        self.assertEqual(settled(self.watcher).reasons, ("transform",))
        self.node.SetAndObserveTransformNodeID(None)
        self.assertEqual(settled(self.watcher), FRESH)

    def test_hardened_transform_is_the_same_place(self):
        moved = addLinearTransform(self.scene, SHIFT)
        self.node.SetAndObserveTransformNodeID(moved.GetID())
        addResult(self.scene, self.node, madeOf(self.node))
        self.assertEqual(settled(self.watcher), FRESH)
        self.node.HardenTransform()
        self.assertEqual(settled(self.watcher), FRESH)

    def test_bent_slices_are_out_of_date(self):
        node = addAcquired(self.scene, exampleVolume("tilted"))
        table = addResult(self.scene, node, madeOf(node)).table
        watcher = FreshnessWatcher(table, MANIFEST)
        self.addCleanup(watcher.close)
        self.assertEqual(settled(watcher), FRESH)
        bent = addAcquired(self.scene, exampleVolume("tilted"), bend=3.0)
        node.SetAndObserveTransformNodeID(bent.GetTransformNodeID())
        self.assertEqual(settled(watcher).reasons, ("transform",))

    def test_removed_volume_is_told_at_once(self):
        self.scene.RemoveNode(self.node)
        self.assertEqual(self.told[-1], Freshness(("input removed",)))
        self.assertTrue(self.watcher.step())

    def test_undo_of_the_scene_makes_it_fresh_again(self):
        for node in (self.node, self.table):
            node.UndoEnabledOn()
        self.scene.SetUndoOn()
        for change in (lambda: self.move(self.node, 5), lambda: self.scene.RemoveNode(self.node)):
            settled(self.watcher)
            self.scene.SaveStateForUndo()
            change()
            self.assertEqual(len(settled(self.watcher).reasons), 1)
            self.scene.Undo()
            self.assertEqual(settled(self.watcher), FRESH)

    def test_bundle_that_was_replaced_or_removed_is_told_at_once(self):
        settled(self.watcher)
        for installed in ("1" * 64, None):
            with self.subTest(installed):
                self.watcher.setBundle(installed)
                self.assertEqual(self.told[-1], Freshness(("bundle",)))
                self.watcher.setBundle(MANIFEST)
                self.assertEqual(self.told[-1], FRESH)

    def test_several_changes_are_told_together(self):
        self.edit()
        self.move(self.node, 5)
        self.watcher.setBundle(None)
        self.assertEqual(settled(self.watcher).reasons, ("voxels", "geometry", "bundle"))

    def test_another_run_is_fresh(self):
        self.edit()
        settled(self.watcher)
        addResult(self.scene, self.node, madeOf(self.node))
        self.assertEqual(settled(self.watcher), FRESH)

    def test_any_of_several_inputs_counts(self):
        second = addVolume(self.scene, exampleVolume("axial"), "second")
        channels = {"T1": self.node, "T2": second}
        hashes = {name: {"content_sha256": volumeFromNode(node).content_sha256} for name, node in channels.items()}
        made = madeOf(self.node, provenance={"inputs": hashes})
        addResult(self.scene, self.node, made, channels=channels)
        self.assertEqual(settled(self.watcher), FRESH)
        self.move(second, 1)
        self.assertEqual(settled(self.watcher).reasons, ("geometry",))
        self.scene.RemoveNode(second)
        self.assertEqual(settled(self.watcher).reasons, ("input removed",))

    def test_result_that_nothing_binds_says_so(self):
        for written in (None, "{}", "[]", '{"inputs": [{}], "manifest_sha256": ""}', "no JSON"):
            with self.subTest(written):
                self.table.SetAttribute("MedImgClassifier.Binding", written)
                self.assertEqual(settled(self.watcher), Freshness(("unbound",)))

    def test_result_without_the_hash_of_its_input_is_bound_to_nothing(self):
        for provenance in ({}, {"inputs": {"image": {}}}):
            addResult(self.scene, self.node, madeOf(self.node, provenance=provenance))
            self.assertEqual(settled(self.watcher), Freshness(("unbound",)))

    def test_voxels_that_changed_before_the_result_came_are_found(self):
        made = madeOf(self.node)
        self.edit()
        addResult(self.scene, self.node, made)
        self.assertEqual(settled(self.watcher).reasons, ("voxels",))


SHIFT = [[1, 0, 0, 3], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]


class Restriction(Watched):
    """Only slices first..last of the node were classified."""

    def setUp(self):
        super().setUp()
        whole = volumeFromNode(self.node)
        cut = replace(whole, voxels=whole.voxels[3:7], slice_origins_lps=whole.slice_origins_lps[3:7])
        made = madeOf(self.node)
        provenance = {
            "inputs": {"image": {"content_sha256": cut.content_sha256}},
            "restriction": {"kind": "roi", "name": "box", "first": 3, "last": 6},
        }
        addResult(self.scene, self.node, replace(made, provenance=provenance))

    def test_is_fresh_while_its_slices_are(self):
        self.assertEqual(settled(self.watcher), FRESH)
        self.edit()  # slice 1
        self.assertEqual(settled(self.watcher), FRESH)
        voxelsOf(self.node)[6, 0, 0] += 1
        self.node.GetImageData().GetPointData().GetScalars().Modified()
        self.assertEqual(settled(self.watcher).reasons, ("voxels",))

    def test_moves_with_the_volume(self):
        self.move(self.node, 1)
        self.assertEqual(settled(self.watcher).reasons, ("geometry",))

    def test_is_out_of_date_where_its_slices_are_no_more(self):
        setVoxels(self.node, voxelsOf(self.node)[:3].copy())
        self.assertIn("voxels", settled(self.watcher).reasons)


class Observers(Watched):
    def observers(self, node):
        return sum(node.HasObserver(event) for event in freshness._EVENTS)

    def test_are_gone_after_closing(self):
        self.assertEqual(self.observers(self.table), 3)
        self.watcher.close()
        self.watcher.close()
        self.assertTrue(self.watcher.closed)
        self.edit()
        self.watcher.setBundle(None)
        self.assertEqual((self.told, self.watcher._tags), ([], []))

    def test_keep_no_closed_watcher_alive(self):
        watcher = FreshnessWatcher(self.table, MANIFEST)
        watched = weakref.ref(watcher)
        watcher.close()
        del watcher
        gc.collect()
        self.assertIsNone(watched())

    def test_leave_a_removed_volume(self):
        events = freshness._EVENTS[1:]
        self.assertTrue(all(self.node.HasObserver(event) for event in events))
        self.scene.RemoveNode(self.node)
        self.assertFalse(any(self.node.HasObserver(event) for event in events))
        self.told.clear()
        self.edit()
        self.assertEqual(self.told, [])
        self.assertEqual({nodeId for nodeId, _tag in self.watcher._tags}, {self.table.GetID()})

    def test_go_with_the_result(self):
        removeResult(self.scene, self.table)
        self.assertTrue(self.watcher.closed)
        self.edit()
        self.assertEqual((self.told, self.watcher.step()), ([], True))

    def test_go_with_the_scene(self):
        self.scene.Clear(False)
        self.assertTrue(self.watcher.closed)
        self.assertEqual(self.told, [])

    def test_follow_an_input_that_was_exchanged(self):
        second = addVolume(self.scene, exampleVolume("axial"), "second")
        addResult(self.scene, self.node, madeOf(self.node), channels={"image": second})
        self.assertEqual(settled(self.watcher), FRESH)
        self.edit()
        self.assertEqual(self.watcher.freshness, FRESH)
        self.assertEqual({nodeId for nodeId, _tag in self.watcher._tags}, {self.table.GetID(), second.GetID()})
        self.move(second, 1)
        self.assertEqual(self.told[-1].reasons, ("geometry",))

    def test_watcher_may_be_closed_by_whoever_is_told(self):
        settled(self.watcher)
        self.watcher._onChange = lambda now: self.watcher.close()
        self.edit()
        self.assertTrue(self.watcher.closed)
        self.assertTrue(self.watcher.step())


class Steps(unittest.TestCase):
    def test_are_short_for_a_large_volume_and_so_is_every_event(self):
        scene = createScene()
        content = Volume.from_matrix(np.zeros((300, 512, 512), np.int16), np.diag([0.5, 0.5, 1.0, 1]))
        node = addVolume(scene, content, "large")
        made = replace(
            exampleClassification(exampleVolume("axial")),
            provenance={"inputs": {"image": {"content_sha256": content.content_sha256}}},
        )
        del content
        watcher = FreshnessWatcher(addResult(scene, node, made).table, MANIFEST)
        self.addCleanup(watcher.close)
        steps, done = [], False
        while not done:
            started = time.perf_counter()
            done = watcher.step(0.01)
            steps.append(time.perf_counter() - started)
        self.assertEqual(watcher.freshness, FRESH)
        self.assertGreater(len(steps), 5)
        self.assertLess(np.median(steps), 0.02)
        started = time.perf_counter()
        for _n in range(20):
            node.Modified()
        self.assertLess(time.perf_counter() - started, 20 * 0.005)


class Mark(Watched):
    """What a reader sees without the panel."""

    def texts(self):
        chart = self.table.GetNodeReference("MedImgClassifier.Chart")
        evidence = self.table.GetNodeReference("MedImgClassifier.Evidence")
        return self.table.GetDescription(), chart.GetTitle(), evidence.GetName()

    def attributes(self):
        roles = ("MedImgClassifier.Chart", "MedImgClassifier.Evidence")
        marked = [self.table, *(self.table.GetNodeReference(role) for role in roles)]
        return {node.GetAttribute("MedImgClassifier.OutOfDate") for node in marked}

    def test_is_put_before_every_text_and_taken_away_again(self):
        before = self.texts()
        markOutOfDate(self.table, ("voxels", "bundle"))
        words = ("OUT OF DATE (voxels changed, model replaced or removed): ", "OUT OF DATE: ", "OUT OF DATE: ")
        self.assertEqual(self.texts(), tuple(mark + text for mark, text in zip(words, before, strict=True)))
        self.assertEqual(self.attributes(), {"voxels, bundle"})
        markOutOfDate(self.table, ("transform",))
        words = ("OUT OF DATE (transform changed): ", *words[1:])
        self.assertEqual(self.texts(), tuple(mark + text for mark, text in zip(words, before, strict=True)))
        markOutOfDate(self.table, ())
        self.assertEqual((self.texts(), self.attributes()), (before, {None}))

    def test_touches_nothing_where_it_stands_already(self):
        for reasons in (("voxels",), ()):
            markOutOfDate(self.table, reasons)
            before = self.table.GetMTime()
            markOutOfDate(self.table, reasons)
            self.assertEqual(self.table.GetMTime(), before)

    def test_keeps_a_text_that_was_written_meanwhile(self):
        markOutOfDate(self.table, ("voxels",))
        self.table.GetNodeReference("MedImgClassifier.Evidence").SetName("renamed")
        markOutOfDate(self.table, ("voxels",))
        self.assertEqual(self.texts()[2], "OUT OF DATE: renamed")
        self.table.GetNodeReference("MedImgClassifier.Evidence").SetName("again")
        markOutOfDate(self.table, ())
        self.assertEqual(self.texts()[2], "again")

    def test_goes_in_another_language_than_it_came(self):
        before = self.texts()
        with mock.patch("MedImgClassifierLib.scene.out_of_date._", lambda text: f"[{text}]"):
            markOutOfDate(self.table, ("voxels",))
        markOutOfDate(self.table, ())
        self.assertEqual(self.texts(), before)

    def test_goes_with_another_run(self):
        before = self.texts()
        markOutOfDate(self.table, ("voxels",))
        addResult(self.scene, self.node, madeOf(self.node))
        self.assertEqual((self.texts(), self.attributes()), (before, {None}))

    def test_result_without_plot_and_evidence_is_marked_too(self):
        for role in ("MedImgClassifier.Chart", "MedImgClassifier.Evidence"):
            self.scene.RemoveNode(self.table.GetNodeReference(role))
        markOutOfDate(self.table, ("voxels",))
        self.assertTrue(self.table.GetDescription().startswith("OUT OF DATE"))

    def test_marking_does_not_make_the_watcher_speak(self):
        settled(self.watcher)
        self.told.clear()
        markOutOfDate(self.table, ("voxels",))
        self.assertEqual((self.told, self.watcher.step()), ([], True))


class SavedScene(unittest.TestCase):
    """After opening a scene nothing is believed until it was hashed."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "scene.mrb")

    def watched(self):
        scene = readScene(self.path)
        table = next(t for t in nodesOfClass(scene, "vtkMRMLTableNode") if t.GetAttribute("MedImgClassifier.Role"))
        watcher = FreshnessWatcher(table, MANIFEST)
        self.addCleanup(watcher.close)
        self.assertEqual(watcher.freshness, Freshness((), checking=True))
        return scene, table, watcher

    def nodes(self):
        """(name, scene, volume node) of every way in which a volume can lie in a scene."""
        for kind in KINDS[:-1]:
            scene = createScene()
            yield kind, scene, addVolume(scene, exampleVolume(kind), kind)
        scene = createScene()
        yield "acquired", scene, addAcquired(scene, exampleVolume("tilted"))
        scene = createScene()
        node = addVolume(scene, exampleVolume("oblique"), "transformed")
        turn = [[0.6, -0.8, 0, 12.3456789], [0.8, 0.6, 0, -7], [0, 0, 1, 1 / 3], [0, 0, 0, 1]]
        node.SetAndObserveTransformNodeID(addLinearTransform(scene, turn).GetID())
        yield "transformed", scene, node

    def test_is_checked_and_fresh_wherever_the_volume_lies(self):
        for name, scene, node in self.nodes():
            with self.subTest(name):
                addResult(scene, node, madeOf(node))
                writeScene(scene, self.path)
                _scene, _table, watcher = self.watched()
                self.assertEqual(settled(watcher), FRESH)

    def test_that_the_command_line_wrote_is_fresh_too(self):
        for kind in KINDS:
            with self.subTest(kind):
                volume = exampleVolume(kind)
                writeResultScene(self.path, volume, exampleClassification(volume))
                _scene, table, watcher = self.watched()
                self.assertEqual(settled(watcher), FRESH)
                node = table.GetNodeReference("MedImgClassifier.Volume")
                setVoxels(node, voxelsOf(node) + 1)
                self.assertEqual(settled(watcher).reasons, ("voxels",))

    def test_with_voxels_that_changed_since_is_out_of_date_and_keeps_its_mark(self):
        scene = createScene()
        node = addVolume(scene, exampleVolume("axial"), "axial")
        table = addResult(scene, node, madeOf(node)).table
        setVoxels(node, voxelsOf(node) + 1)
        markOutOfDate(table, ("voxels",))
        writeScene(scene, self.path)
        _scene, table, watcher = self.watched()
        self.assertEqual(table.GetAttribute("MedImgClassifier.OutOfDate"), "voxels")
        self.assertEqual(settled(watcher), Freshness(("voxels",)))
        markOutOfDate(table, ())
        self.assertEqual(table.GetDescription(), "spot in 6 of 10 slices (uncalibrated)")

    def test_without_its_volume_is_out_of_date(self):
        scene = createScene()
        node = addVolume(scene, exampleVolume("axial"), "axial")
        addResult(scene, node, madeOf(node))
        scene.RemoveNode(node)
        writeScene(scene, self.path)
        scene = readScene(self.path)
        table = next(t for t in nodesOfClass(scene, "vtkMRMLTableNode") if t.GetAttribute("MedImgClassifier.Role"))
        watcher = FreshnessWatcher(table, MANIFEST)
        self.addCleanup(watcher.close)
        self.assertEqual(watcher.freshness, Freshness(("input removed",)))


if __name__ == "__main__":
    unittest.main()
