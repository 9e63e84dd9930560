"""Volumes are proposed for a bundle's channels by what they are, never by a guess, and never twice."""

from __future__ import annotations

import os
import sys
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np
import slicer

from example_results import exampleClassification, exampleVolume
from MedImgClassifierLib.scene import channels
from MedImgClassifierLib.scene.overlay import addEvidence
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.volumes import addVolume, setVoxels
from scene_checks import composite


def channel(name, modality=("MR",), units=("arbitrary",)):
    return {"name": name, "modality": list(modality), "units": list(units)}


IMAGE = channel("image", ("CT", "MR"), ("HU", "arbitrary"))


class Channels(unittest.TestCase):
    def setUp(self):
        self.scene = createScene()

    def add(self, name, modality="MR", units="", kind="vtkMRMLScalarVolumeNode", components=()):
        node = self.scene.AddNewNodeByClass(kind, name)
        setVoxels(node, np.zeros((2, 3, 4, *components), np.uint8))
        if modality:
            node.SetAttribute("MedImgClassifier.Modality", modality)
        if units:
            code = slicer.vtkCodedEntry()
            code.SetValueSchemeMeaning(units, "UCUM", units)
            node.SetVoxelValueUnits(code)
        return node

    def assigned(self, *wanted):
        """{channel: name of its volume}"""
        found = channels.assign(wanted, self.scene)
        self.assertTrue(all(proposal.why for proposal in found.values()))
        return {name: proposal.node and proposal.node.GetName() for name, proposal in found.items()}

    def test_sequences_find_their_channels_by_name(self):
        for name in ("AX T2 FLAIR", "sag_t1_mprage", "t2w tse", "T1 post Gd", "DWI b1000", "DWI_ADC", "DWI b0"):
            self.add(name)
        found = self.assigned(*(channel(name) for name in ("T1", "T1c", "T2", "FLAIR", "ADC", "b1000")))
        self.assertEqual(
            found,
            {
                "T1": "sag_t1_mprage",
                "T1c": "T1 post Gd",
                "T2": "t2w tse",
                "FLAIR": "AX T2 FLAIR",
                "ADC": "DWI_ADC",
                "b1000": "DWI b1000",
            },
        )

    def test_ct_and_pet_are_told_apart_by_modality(self):
        self.add("WB", "PT")
        self.add("thorax", "CT")
        wanted = (channel("CT", ("CT",), ("HU",)), channel("PET", ("PT",), ("SUVbw",)))
        self.assertEqual(self.assigned(*wanted), {"CT": "thorax", "PET": "WB"})

    def test_names_do_not_overrule_the_modality(self):
        self.add("PET", "CT")
        wanted = (channel("CT", ("CT",), ("HU",)), channel("PET", ("PT",), ("SUVbw",)))
        self.assertEqual(self.assigned(*wanted)["PET"], None)

    def test_a_flair_is_no_t2(self):
        self.add("t1")
        self.add("AX T2 FLAIR")
        found = self.assigned(*(channel(name) for name in ("T1", "T2", "FLAIR")))
        self.assertEqual(found, {"T1": "t1", "T2": None, "FLAIR": "AX T2 FLAIR"})

    def test_a_channel_named_after_a_modality_takes_no_other(self):
        self.add("PET-CT low dose", "CT")
        both = ("CT", "PT")
        self.assertEqual(
            self.assigned(channel("PET", both), channel("CT", both)), {"PET": None, "CT": "PET-CT low dose"}
        )

    def test_what_cannot_be_told_is_left_to_the_reader(self):
        self.add("series 5")
        self.add("series 7")
        found = channels.assign([channel("T1"), channel("T2")], self.scene)
        self.assertEqual([proposal.node for proposal in found.values()], [None, None])
        self.assertIn("'T2'", found["T2"].why)

    def test_no_volume_is_used_twice(self):
        self.add("T2")
        self.assertEqual(self.assigned(channel("T2"), channel("T2 again")), {"T2": "T2", "T2 again": None})

    def test_the_plainer_name_is_preferred(self):
        self.add("T2 SWI")
        self.add("T2")
        self.assertEqual(self.assigned(channel("T2"), channel("T1")), {"T2": "T2", "T1": None})

    def test_labels_evidence_and_empty_volumes_are_never_proposed(self):
        self.add("labels", kind="vtkMRMLLabelMapVolumeNode")
        self.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "empty")
        self.add("tensor", components=(9,))
        volume = exampleVolume("axial")
        node = addVolume(self.scene, volume, "volume")
        addEvidence(self.scene, exampleClassification(volume), 0, node, "evidence")
        self.scene.RemoveNode(node)
        self.assertEqual(self.assigned(IMAGE), {"image": None})

    def test_a_lone_channel_takes_what_is_shown_or_else_the_first_that_fits(self):
        self.add("xray", "CR")
        self.add("first")
        shown = self.add("second", "")
        self.assertEqual(self.assigned(IMAGE), {"image": "first"})
        composite(self.scene, "Green").SetBackgroundVolumeID(shown.GetID())
        self.assertEqual(self.assigned(IMAGE), {"image": "second"})
        shown.SetAttribute("MedImgClassifier.Modality", "CR")
        self.assertEqual(self.assigned(IMAGE), {"image": "first"})

    def test_units_decide(self):
        self.add("ct", "", units="[hnsf'U]")
        self.assertEqual(self.assigned(channel("image", (), ("HU",))), {"image": "ct"})
        self.assertEqual(self.assigned(channel("image", (), ("SUVbw",))), {"image": None})

    def test_colour_which_the_selector_of_the_panel_cannot_show_is_not_proposed(self):
        photo = self.add("photo", "", components=(3,), kind="vtkMRMLVectorVolumeNode")
        grey = self.add("grey vector", "", components=(1,), kind="vtkMRMLVectorVolumeNode")
        for shown in (photo, grey):
            composite(self.scene, "Red").SetBackgroundVolumeID(shown.GetID())
            for wanted in (IMAGE, channel("image", (), ("RGB",)), channel("image", (), ("RGB", "arbitrary"))):
                self.assertEqual(self.assigned(wanted), {"image": None})
        self.add("scalar", "")
        self.assertEqual(self.assigned(IMAGE), {"image": "scalar"})
        self.assertEqual(self.assigned(channel("image", (), ("RGB",))), {"image": None})

    def test_the_reason_is_said(self):
        node = self.add("T2")
        composite(self.scene, "Red").SetBackgroundVolumeID(node.GetID())
        why = channels.assign([channel("T2")], self.scene)["T2"].why
        for part in ("name", "modality (MR)", "shown"):
            self.assertIn(part, why)

    def test_modality_of_the_subject_hierarchy_counts(self):
        node = self.add("x", "")
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(self.scene)
        item = hierarchy.GetItemByDataNode(node) or hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
        hierarchy.SetItemAttribute(item, "DICOM.Modality", "CR")
        self.assertEqual(self.assigned(IMAGE), {"image": None})


if __name__ == "__main__":
    unittest.main()
