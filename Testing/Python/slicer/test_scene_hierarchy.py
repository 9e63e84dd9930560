"""In the subject hierarchy a result stands in one folder beside its volume, whether Slicer made the items or we did."""

from __future__ import annotations

import os
import sys
import unittest
from contextlib import contextmanager
from dataclasses import replace
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import slicer
import vtk

from example_results import BUNDLE, exampleClassification, exampleVolume
from MedImgClassifierLib.engine.result import Finding
from MedImgClassifierLib.scene.hierarchy import describeInput
from MedImgClassifierLib.scene.result_nodes import addResult, removeNode, removeResult
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.verdict import writeVerdict
from MedImgClassifierLib.scene.volumes import addVolume
from scene_checks import nodeIds

BY = "example 1.0.0"
SHOWN = ("vtkMRMLVolumeNode", "vtkMRMLTableNode", "vtkMRMLTextNode", "vtkMRMLPlotChartNode", "vtkMRMLPlotSeriesNode")


@contextmanager
def automaticItems(scene):
    """As Slicer's plugin logic does it: an item under the scene for each node that is added, none when it goes."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def added(caller, event, node):
        if any(node.IsA(kind) for kind in SHOWN):
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)

    @vtk.calldata_type(vtk.VTK_OBJECT)
    def removed(caller, event, node):
        item = hierarchy.GetItemByDataNode(node)
        if item:
            hierarchy.RemoveItem(item, False, False)

    tags = [
        scene.AddObserver(scene.NodeAddedEvent, added),
        scene.AddObserver(scene.NodeAboutToBeRemovedEvent, removed),
    ]
    try:
        yield
    finally:
        for tag in tags:
            scene.RemoveObserver(tag)


class InTheApplication(unittest.TestCase):
    """The volume stands under patient and study, as Slicer loads it; items of other nodes are made by Slicer."""

    automatic = True

    def setUp(self):
        self.scene = createScene()
        self.hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        self.top = self.hierarchy.GetSceneItemID()
        if self.automatic:
            items = automaticItems(self.scene)
            items.__enter__()
            self.addCleanup(items.__exit__, None, None, None)
        self.content = exampleVolume("axial")
        self.node = addVolume(self.scene, self.content, "head")
        self.patient = self.hierarchy.CreateSubjectItem(self.top, "patient")
        self.study = self.hierarchy.CreateStudyItem(self.patient, "study")
        self.hierarchy.CreateItem(self.study, self.node)
        self.classification = exampleClassification(self.content)

    def add(self, **changes):
        return addResult(self.scene, self.node, replace(self.classification, **changes))

    def names(self, item):
        found = vtk.vtkIdList()
        self.hierarchy.GetItemChildren(item, found)
        return sorted(self.hierarchy.GetItemName(found.GetId(n)) for n in range(found.GetNumberOfIds()))

    def folder(self, name="head example"):
        return self.hierarchy.GetItemChildWithName(self.study, name)

    def assertTidy(self, *names):
        self.assertEqual(self.names(self.top), ["patient"])
        self.assertEqual(self.names(self.patient), ["study"])
        self.assertEqual(self.names(self.study), sorted(["head", *names]))

    WHOLE = (
        "head example",
        "head example evidence for spot",
        "head example probabilities",
        "head example results.json",
        "nothing",
        "spot",
    )

    def test_all_nodes_of_a_result_stand_in_one_folder_beside_the_volume(self):
        self.add()
        self.assertTidy("head example")
        self.assertEqual(self.names(self.folder()), sorted(self.WHOLE))
        self.assertEqual(self.hierarchy.GetItemLevel(self.folder()), "Folder")

    def test_another_run_and_a_verdict_use_the_same_folder(self):
        self.add()
        folder = self.folder()
        self.node.SetName("renamed")
        self.add(evidence=None)
        self.add()
        writeVerdict(self.scene, self.node, BY, "agree")
        self.assertEqual(self.names(self.study), ["head example", "renamed"])
        self.assertEqual(self.folder(), folder)
        self.assertEqual(len(self.names(folder)), len(self.WHOLE) + 1)
        self.assertIn("renamed example review", self.names(folder))

    def test_results_of_two_bundles_have_two_folders(self):
        self.add()
        self.add(bundle={**BUNDLE, "id": "other"})
        self.assertTidy("head example", "head other")

    def test_folder_goes_with_the_result(self):
        before = nodeIds(self.scene)
        table = self.add().table
        removeResult(self.scene, table)
        self.assertTidy()
        self.assertEqual(nodeIds(self.scene), before)

    def test_verdict_keeps_the_folder_until_it_is_removed(self):
        table = self.add().table
        writeVerdict(self.scene, self.node, BY, "agree")
        removeResult(self.scene, table)
        self.assertTidy("head example")
        self.assertEqual(self.names(self.folder()), ["head example review"])
        removeNode(self.scene.GetFirstNode("head example review", "vtkMRMLTextNode"))
        self.assertTidy()

    def test_result_comes_back_to_the_folder_of_its_verdict(self):
        removeResult(self.scene, self.add().table)
        table = self.add().table
        writeVerdict(self.scene, self.node, BY, "agree")
        removeResult(self.scene, table)
        self.add()
        self.assertTidy("head example")
        self.assertEqual(len(self.names(self.folder())), len(self.WHOLE) + 1)

    def test_what_the_reader_put_elsewhere_stays_there(self):
        table = self.add().table
        mine = self.hierarchy.CreateFolderItem(self.study, "mine")
        self.hierarchy.SetItemParent(self.hierarchy.GetItemByDataNode(table), mine)
        self.add()
        self.assertEqual(self.names(mine), ["head example"])
        removeResult(self.scene, table)
        self.assertTidy("mine")

    def test_what_the_reader_put_into_the_folder_stays_with_it(self):
        table = self.add().table
        note = self.scene.AddNewNodeByClass("vtkMRMLTextNode", "note")
        self.hierarchy.CreateItem(self.folder(), note)
        removeResult(self.scene, table)
        self.assertTidy("head example")
        self.assertEqual(self.names(self.folder()), ["note"])

    def test_refused_result_has_fewer_items(self):
        self.add()
        self.add(findings=(Finding("FEW_SLICES", "refuse", "too few slices"),))
        self.assertTidy("head example")
        self.assertEqual(self.names(self.folder()), ["head example", "head example results.json"])

    def test_failure_midway_leaves_no_item(self):
        for step in ("results.fillChart", "binding.bind", "hierarchy.placeBeside"):
            with self.subTest(step), mock.patch(f"MedImgClassifierLib.scene.{step}", side_effect=RuntimeError):
                self.assertRaises(RuntimeError, self.add)
                self.assertTidy()

    def test_failure_while_items_are_placed_leaves_none(self):
        from MedImgClassifierLib.scene import result_nodes

        group, noNode = result_nodes._groupOf, mock.Mock(GetScene=lambda: None)
        with mock.patch.object(result_nodes, "_groupOf", lambda *of: [*group(*of)[:3], noNode]):
            self.assertRaises(TypeError, self.add)
        self.assertTidy()


class WithoutTheApplication(InTheApplication):
    """Nobody makes items but who needs them."""

    automatic = False

    def test_nothing_is_made_where_there_is_no_hierarchy(self):
        scene = createScene()
        node = addVolume(scene, self.content, "head")
        addResult(scene, node, self.classification)
        writeVerdict(scene, node, BY, "agree")
        self.assertEqual(scene.GetNumberOfNodesByClass("vtkMRMLSubjectHierarchyNode"), 0)

    def test_nothing_is_made_where_the_hierarchy_does_not_know_the_volume(self):
        node = addVolume(self.scene, self.content, "unknown")
        addResult(self.scene, node, self.classification)
        self.assertTidy()


class InputInWords(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()
        self.node = addVolume(self.scene, exampleVolume("axial"), "head")

    def test_is_but_the_name_where_nothing_else_is_known(self):
        nothing = {"patient": "", "study": "", "series": "", "name": "head"}
        self.assertEqual(describeInput(self.node), nothing)
        self.assertEqual(self.scene.GetNumberOfNodesByClass("vtkMRMLSubjectHierarchyNode"), 0)
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        self.assertEqual(describeInput(self.node), nothing)
        hierarchy.CreateItem(hierarchy.GetSceneItemID(), self.node)
        self.assertEqual(describeInput(self.node), nothing)

    def test_is_what_dicom_says_of_patient_study_and_series(self):
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        patient = hierarchy.CreateSubjectItem(hierarchy.GetSceneItemID(), "P")
        study = hierarchy.CreateStudyItem(patient, "S")
        series = hierarchy.CreateItem(study, self.node)
        facts = (
            (patient, "PatientName", "Doe^Jane"),
            (patient, "PatientID", "0815"),
            (study, "StudyDescription", "CT head"),
            (study, "StudyDate", "20240506"),
            (series, "SeriesNumber", "3"),
            (series, "SeriesDescription", "thin slices"),
        )
        for item, tag, value in facts:
            hierarchy.SetItemAttribute(item, f"DICOM.{tag}", value)
        self.assertEqual(
            describeInput(self.node),
            {"patient": "Doe Jane (0815)", "study": "CT head 2024-05-06", "series": "3: thin slices", "name": "head"},
        )
        for item, tag in ((patient, "PatientName"), (study, "StudyDescription"), (series, "SeriesNumber")):
            hierarchy.RemoveItemAttribute(item, f"DICOM.{tag}")
        hierarchy.SetItemAttribute(study, "DICOM.StudyDate", "May")
        found = describeInput(self.node)
        self.assertEqual((found["patient"], found["study"], found["series"]), ("(0815)", "May", "thin slices"))


if __name__ == "__main__":
    unittest.main()
