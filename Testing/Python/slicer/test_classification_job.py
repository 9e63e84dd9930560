"""A classification in steps: copied in slabs, handed over, polled, shown; whatever happens to the scene meanwhile."""

from __future__ import annotations

import os
import sys
import unittest
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np
import vtk

from example_results import BUNDLE, exampleClassification, exampleVolume
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.scene import classification_job
from MedImgClassifierLib.scene.classification_job import ClassificationJob
from MedImgClassifierLib.scene.freshness import FreshnessWatcher
from MedImgClassifierLib.scene.restriction import record, restricted
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.volumes import addVolume, voxelsOf
from MedImgClassifierLib.scene.voxel_copy import VoxelCopy
from scene_checks import addLinearTransform, nodeIds


class Answering:
    """Stands for the worker's client and for its run: answers at the third poll."""

    def __init__(self, answer=None):
        self.answer, self.asked, self.polls, self.cancelled, self.ended = answer, [], 0, False, False
        self.stage, self.fraction, self.seconds_left = "classify", 0.5, 2.0
        self.polls_after_cancel = 2

    def start(self, case, bundle, **settings):
        self.asked.append((case, bundle, settings))
        return self

    def poll(self):
        self.polls += 1
        if self.cancelled:
            self.polls_after_cancel -= 1
        self.ended = self.polls_after_cancel == 0 if self.cancelled else self.polls == 3
        return self.ended

    def cancel(self):
        self.cancelled = True

    def result(self):
        if self.cancelled:
            raise Refusal("CANCELLED")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or exampleClassification(self.asked[0][0])


class Jobs(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()
        self.node = addVolume(self.scene, exampleVolume("axial"), "volume")
        self.before = nodeIds(self.scene)
        # a step copies one slice
        self.addCleanup(setattr, classification_job, "COPY_S", classification_job.COPY_S)
        classification_job.COPY_S = 0

    def job(self, client, **settings):
        return ClassificationJob(client, {"image": self.node}, Path("bundle"), **settings)

    def run_to_end(self, job, steps=100):
        for _ in range(steps):
            if job.step():
                return job
        self.fail("the job did not end")

    def assertRefused(self, job, code):
        with self.assertRaises(Refusal) as refused:
            job.result()
        self.assertEqual(refused.exception.code, code)
        self.assertEqual(nodeIds(self.scene), self.before)


class Copying(Jobs):
    def test_worker_gets_the_voxels_the_place_and_the_settings(self):
        client = Answering()
        self.run_to_end(self.job(client, runtime="onnxruntime"))
        ((case, bundle, settings),) = client.asked
        np.testing.assert_array_equal(case.voxels, exampleVolume("axial").voxels)
        np.testing.assert_allclose(case.slice_origins_lps, exampleVolume("axial").slice_origins_lps)
        self.assertEqual((bundle, settings), (Path("bundle"), {"runtime": "onnxruntime"}))

    def test_copy_is_of_its_own(self):
        client = Answering()
        self.run_to_end(self.job(client))
        voxelsOf(self.node)[:] = 0
        self.assertGreater(client.asked[0][0].voxels.max(), 0)

    def test_one_slice_after_the_other_is_copied_when_time_is_short(self):
        job = self.job(Answering())
        for slices in range(1, 10):
            self.assertFalse(job.step())
            self.assertEqual((job.stage, job.fraction), ("copy", slices / 10))
        job.step()
        self.assertEqual(job.stage, "classify")

    def test_all_is_copied_at_once_when_there_is_time(self):
        classification_job.COPY_S = 10
        job = self.job(Answering())
        job.step()
        self.assertEqual(job.stage, "classify")

    def change(self):
        voxelsOf(self.node)[9] += 1
        self.node.GetImageData().Modified()

    def test_volume_changed_during_the_copy_is_copied_again(self):
        client = Answering()
        job = self.job(client)
        job.step()
        self.change()
        job.step()
        self.assertEqual(job.fraction, 0.1)
        self.run_to_end(job)
        np.testing.assert_array_equal(client.asked[0][0].voxels, voxelsOf(self.node))

    def test_volume_changed_twice_is_refused(self):
        job = self.job(Answering())
        for _ in range(2):
            job.step()
            self.change()
        self.run_to_end(job)
        self.assertRefused(job, "INPUT_CHANGING")

    def test_moved_or_replaced_volume_counts_as_changed(self):
        def move():
            self.node.SetSpacing(2, 2, 2)

        def replace():
            image = vtk.vtkImageData()
            image.DeepCopy(self.node.GetImageData())
            self.node.SetAndObserveImageData(image)

        def transform():
            parent = self.scene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
            self.node.SetAndObserveTransformNodeID(parent.GetID())

        for change in (move, replace, transform):
            copy = VoxelCopy(self.node)
            copy.step(0)
            change()
            copy.step(0)
            self.assertEqual(copy.fraction, 0.1, change.__name__)

    def test_volume_without_voxels_is_refused_at_once(self):
        self.node.SetAndObserveImageData(None)
        with self.assertRaises(Refusal) as refused:
            self.job(Answering())
        self.assertEqual(refused.exception.code, "INPUT_VALUES")

    def test_voxels_taken_away_during_the_copy_are_refused(self):
        job = self.job(Answering())
        job.step()
        self.node.SetAndObserveImageData(None)
        self.run_to_end(job)
        self.assertRefused(job, "INPUT_VALUES")


class Running(Jobs):
    def test_answer_becomes_nodes(self):
        job = self.run_to_end(self.job(Answering()))
        self.assertEqual(job.result().table.GetNumberOfRows(), 10)
        self.assertIs(job.result().volume, self.node)
        self.assertEqual(len(job.classification.slices), 10)

    def test_stage_fraction_and_time_left_are_those_of_the_run(self):
        job = self.job(Answering())
        while job.stage == "copy":
            job.step()
        job.step()
        self.assertEqual((job.stage, job.fraction, job.seconds_left), ("classify", 0.5, 2.0))

    def test_longest_step_of_every_stage_is_known(self):
        job = self.run_to_end(self.job(Answering()))
        self.assertEqual(set(job.blocks), {"copy", "classify", "show"})
        self.assertTrue(all(seconds > 0 for seconds in job.blocks.values()))

    def test_refusal_of_the_worker_is_that_of_the_job(self):
        job = self.run_to_end(self.job(Answering(Refusal("RESOURCE_WORKER_DIED", reason="-9"))))
        self.assertRefused(job, "RESOURCE_WORKER_DIED")

    def test_worker_that_cannot_be_started_is_refused(self):
        client = Answering()
        client.start = lambda *_, **__: (_ for _ in ()).throw(Refusal("RESOURCE_WORKER_START", command="x", reason="y"))
        self.assertRefused(self.run_to_end(self.job(client)), "RESOURCE_WORKER_START")

    def test_answer_that_cannot_be_shown_leaves_no_node(self):
        client = Answering()
        job = self.job(client)
        while job.stage != "show":
            job.step()
        job.classification = None
        self.run_to_end(job)
        with self.assertRaises(AssertionError):
            job.result()
        self.assertEqual(nodeIds(self.scene), self.before)

    def freshness(self, job):
        watcher = FreshnessWatcher(job.result().table, BUNDLE["manifest_sha256"])
        self.addCleanup(watcher.close)
        while not watcher.step():
            pass
        return watcher.freshness.reasons

    def test_volume_moved_while_it_was_classified_is_told_as_moved_until_it_is_moved_back(self):
        transform = addLinearTransform(self.scene, np.diag([1, 1, 2, 1]))
        place = vtk.vtkMatrix4x4()
        self.node.GetIJKToRASMatrix(place)
        for reason, move, back in (
            ("geometry", lambda: self.node.SetOrigin(1, 2, 3), lambda: self.node.SetIJKToRASMatrix(place)),
            (
                "transform",
                lambda: self.node.SetAndObserveTransformNodeID(transform.GetID()),
                lambda: self.node.SetAndObserveTransformNodeID(None),
            ),
        ):
            for restriction in (None, record("roi", "box", 2, 9)):
                job = self.job(Answering(), restriction=restriction)
                while job.stage == "copy":
                    job.step()
                move()
                self.run_to_end(job)
                self.assertEqual(self.freshness(job), (reason,))
                back()
                self.assertEqual(self.freshness(job), ())


class Channels(Jobs):
    def test_channels_of_other_slice_counts_cannot_be_restricted_together(self):
        short = addVolume(self.scene, restricted(exampleVolume("axial"), 0, 4), "short")
        self.before = nodeIds(self.scene)
        client = Answering()
        for channels in ({"T1": self.node, "T2": short}, {"T2": short, "T1": self.node}):
            job = ClassificationJob(client, channels, Path("bundle"), record("roi", "box", 3, 6))
            self.run_to_end(job)
            self.assertRefused(job, "INPUT_GEOMETRY")
            with self.assertRaisesRegex(Refusal, f"'{list(channels)[1]}'"):
                job.result()
        self.assertEqual(client.asked, [])


class Ending(Jobs):
    def at(self, stage, client):
        job = self.job(client)
        while job.stage != stage:
            job.step()
        return job

    def test_cancel_ends_the_copy_at_once(self):
        client = Answering()
        job = self.at("copy", client)
        job.cancel()
        self.assertTrue(job.step())
        self.assertRefused(job, "CANCELLED")
        self.assertEqual(client.asked, [])

    def test_cancel_waits_until_the_worker_is_free(self):
        client = Answering()
        job = self.at("classify", client)
        job.cancel()
        self.assertTrue(client.cancelled)
        self.assertFalse(job.step())
        self.assertTrue(job.step())
        self.assertRefused(job, "CANCELLED")

    def test_cancel_after_the_answer_came_adds_nothing(self):
        job = self.at("show", Answering())
        job.cancel()
        self.assertTrue(job.step())
        self.assertRefused(job, "CANCELLED")

    def test_volume_deleted_at_any_stage_ends_quietly(self):
        for stage in ("copy", "classify", "show"):
            client = Answering()
            self.node = addVolume(self.scene, exampleVolume("axial"), "volume")
            job = self.at(stage, client)
            self.scene.RemoveNode(self.node.GetDisplayNode())
            self.scene.RemoveNode(self.node)
            self.before = nodeIds(self.scene)
            self.run_to_end(job)
            self.assertRefused(job, "CANCELLED")
            self.assertEqual(client.cancelled, stage == "classify")

    def test_scene_closed_at_any_stage_ends_quietly(self):
        for stage in ("copy", "classify", "show"):
            self.node = addVolume(self.scene, exampleVolume("axial"), "volume")
            job = self.at(stage, Answering())
            self.scene.Clear(False)
            self.before = nodeIds(self.scene)
            self.run_to_end(job)
            self.assertRefused(job, "CANCELLED")


if __name__ == "__main__":
    unittest.main()
