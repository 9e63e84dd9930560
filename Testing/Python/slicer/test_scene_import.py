"""A saved result is whole again when its scene is opened, and when it is added to one that has nodes of its own."""

from __future__ import annotations

import os
import sys
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np
import slicer
import vtk

from example_results import BUNDLE, exampleClassification, exampleVolume, spotLps
from MedImgClassifierLib.scene import result_nodes
from MedImgClassifierLib.scene.evidence_choice import recordedClassification
from MedImgClassifierLib.scene.freshness import Freshness, FreshnessWatcher
from MedImgClassifierLib.scene.hierarchy import describeInput
from MedImgClassifierLib.scene.nodes import nodesOfClass
from MedImgClassifierLib.scene.overlay import hideOverlay, showOverlay
from MedImgClassifierLib.scene.result_nodes import addResult, resultOf
from MedImgClassifierLib.scene.saving import readScene, writeScene
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.verdict import readVerdict, writeVerdict
from MedImgClassifierLib.scene.volumes import addVolume, volumeFromNode
from scene_checks import addAcquired, addLinearTransform, brightestLps, composite, nodeIds, offsetInCells

BY = "example 1.0.0"
TURN = [[0.6, -0.8, 0, 12.3456789], [0.8, 0.6, 0, -7], [0, 0, 1, 1 / 3], [0, 0, 0, 1]]


def addKind(scene, kind):
    """A volume node that lies in one of the ways that occur; the name of the node is the kind."""
    if kind == "acquired":
        return addAcquired(scene, exampleVolume("tilted"))
    node = addVolume(scene, exampleVolume("oblique" if kind == "transformed" else kind), kind)
    if kind == "transformed":
        node.SetAndObserveTransformNodeID(addLinearTransform(scene, TURN).GetID())
    return node


def madeOf(channels):
    """A classification of what these nodes hold now."""
    volumes = {channel: volumeFromNode(node) for channel, node in channels.items()}
    hashes = {channel: {"content_sha256": volume.content_sha256} for channel, volume in volumes.items()}
    return replace(exampleClassification(volumes["T1"]), provenance={"inputs": hashes})


def addReviewed(scene, kind):
    """A result with everything: patient, study, two inputs, overlay in the views, verdict. Returns its ResultNodes."""
    node = addKind(scene, kind)
    second = addVolume(scene, exampleVolume("axial"), f"{kind} second")
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), f"patient {kind}")
    hierarchy.SetItemAttribute(patient, "DICOM.PatientID", f"id {kind}")
    study = hierarchy.CreateStudyItem(patient, f"study {kind}")
    for volume in (node, second):
        hierarchy.CreateItem(study, volume)
    channels = {"T1": node, "T2": second}
    result = addResult(scene, node, madeOf(channels), channels=channels)
    showOverlay(scene, node, result.evidence, 0.4, 0.3)
    writeVerdict(scene, node, BY, "disagree", "nothing", f"comment {kind}")
    return result


class Restored(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = Path(folder.name, "scene.mrb")
        here = os.getcwd()  # MRML stays in its unpacking folder
        self.addCleanup(os.chdir, here)

    def save(self, kind):
        scene = createScene()
        addReviewed(scene, kind)
        writeScene(scene, self.path)

    def resultIn(self, scene, kind):
        tables = [t for t in nodesOfClass(scene, "vtkMRMLTableNode") if t.GetAttribute("MedImgClassifier.Role")]
        return next(r for r in map(resultOf, tables) if r.volume.GetName() == kind)

    def assertWhole(self, scene, kind):
        result = self.resultIn(scene, kind)
        self.assertTrue(all(result[:6]))
        self.assertEqual({channel: node.GetName() for channel, node in result.inputs.items()}, self.inputs(kind))
        self.assertEqual([s.GetName() for s in result.series], ["spot", "nothing"])
        for n, series in enumerate(result.series):
            self.assertIs(series.GetTableNode(), result.table)
            self.assertIs(result.chart.GetNthPlotSeriesNode(n), series)
        self.assertEqual(result.evidence.GetParentTransformNode(), result.volume.GetParentTransformNode())
        volume = volumeFromNode(result.volume)
        place = offsetInCells(volume, brightestLps(result.evidence), spotLps(volume))
        self.assertLess(np.abs(place[:2]).max(), 0.55)
        self.assertLess(abs(place[2]), 0.1)
        self.assertAlmostEqual(result.evidence.GetDisplayNode().GetLowerThreshold(), 0.3 * 255)
        self.assertEqual(recordedClassification(result.table).in_words(), result.table.GetDescription())
        verdict = readVerdict(scene, result.volume, BY)
        self.assertEqual((verdict.comment, verdict.standing), (f"comment {kind}", "current"))
        self.assertEqual(describeInput(result.volume)["patient"], f"(id {kind})")
        self.assertEqual(self.beside(scene, kind), [*sorted(self.inputs(kind).values()), f"{kind} example"])
        self.assertFresh(result.table)
        return result

    def inputs(self, kind):
        return {"T1": kind, "T2": f"{kind} second"}

    def beside(self, scene, kind):
        """Names of what stands under the study."""
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        found, study = vtk.vtkIdList(), hierarchy.GetItemByName(f"study {kind}")
        hierarchy.GetItemChildren(study, found)
        names = [hierarchy.GetItemName(found.GetId(n)) for n in range(found.GetNumberOfIds())]
        folder = hierarchy.GetItemChildWithName(study, f"{kind} example")
        self.assertEqual(hierarchy.GetNumberOfItemChildren(folder), 7)
        return sorted(names, key=lambda name: (name.endswith("example"), name))

    def assertFresh(self, table):
        watcher = FreshnessWatcher(table, BUNDLE["manifest_sha256"])
        self.assertEqual(watcher.freshness, Freshness((), checking=True))
        while not watcher.step():
            pass
        self.assertEqual(watcher.freshness, Freshness())
        watcher.close()

    def test_is_whole_in_a_scene_that_is_opened(self):
        for kind in ("axial", "sagittal", "oblique", "flipped", "acquired", "transformed"):
            with self.subTest(kind):
                self.save(kind)
                scene = readScene(self.path)
                result = self.assertWhole(scene, kind)
                for view in ("Red", "Green", "Yellow"):
                    self.assertEqual(composite(scene, view).GetForegroundVolumeID(), result.evidence.GetID())
                hideOverlay(scene, result.evidence)
                self.assertIsNone(composite(scene).GetForegroundVolumeID())

    def test_is_whole_beside_nodes_that_had_the_same_ids(self):
        for kind in ("flipped", "acquired", "transformed"):
            with self.subTest(kind):
                self.save(kind)
                scene = createScene()
                own = addReviewed(scene, "axial")
                before = nodeIds(scene)
                self.assertTrue(scene.ReadFromMRB(str(self.path), False))
                self.assertTrue(set(before) <= set(nodeIds(scene)))
                added = self.assertWhole(scene, kind)
                self.assertNotEqual(added.table.GetID(), own.table.GetID())
                self.assertEqual(self.assertWhole(scene, "axial"), own)

    def test_twice_in_one_scene_is_two_results(self):
        self.save("axial")
        scene = createScene()
        for _time in range(2):
            self.assertTrue(scene.ReadFromMRB(str(self.path), False))
        tables = [t for t in nodesOfClass(scene, "vtkMRMLTableNode") if t.GetAttribute("MedImgClassifier.Role")]
        volumes = {resultOf(table).volume.GetID() for table in tables}
        self.assertEqual((len(tables), len(volumes)), (2, 2))
        for table in tables:
            self.assertFresh(table)
            self.assertEqual(readVerdict(scene, resultOf(table).volume, BY).standing, "current")

    def test_is_made_anew_in_its_own_nodes_and_removed_whole(self):
        self.save("axial")
        scene = createScene()
        own = addReviewed(scene, "sagittal")
        self.assertTrue(scene.ReadFromMRB(str(self.path), False))
        added = self.resultIn(scene, "axial")
        before = nodeIds(scene)
        again = addResult(scene, added.volume, madeOf(added.inputs), channels=added.inputs)
        self.assertEqual((again, nodeIds(scene)), (added, before))
        self.assertFresh(added.table)
        result_nodes.removeResult(scene, added.table)
        self.assertEqual(readVerdict(scene, added.volume, BY).standing, "removed")
        self.assertEqual(self.resultIn(scene, "sagittal"), own)
        kinds = ("Table", "Text", "PlotChart", "PlotSeries", "ScalarVolume")
        left = [scene.GetNumberOfNodesByClass(f"vtkMRML{kind}Node") for kind in kinds]
        self.assertEqual(left, [1, 3, 1, 2, 5])  # one result, two verdicts, four inputs


if __name__ == "__main__":
    unittest.main()
