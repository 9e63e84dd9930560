"""A saved scene is complete: another process opens it and finds volume, evidence, table, plot and record."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np
import vtk

from example_results import exampleClassification, exampleVolume, spotLps
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.scene.saving import readScene, writeResultScene, writeScene
from MedImgClassifierLib.scene.session import closeScene, createScene
from scene_checks import offsetInCells, pixelLps

# Run in a fresh process: opens the scene and prints what it finds there as JSON.
_LOOK = """
import hashlib, json, sys
import numpy as np
from MedImgClassifierLib.scene.nodes import nodesOfClass
from MedImgClassifierLib.scene.result_nodes import resultOf
from MedImgClassifierLib.scene.saving import readScene
from MedImgClassifierLib.scene.volumes import volumeFromNode
from scene_checks import brightestLps, composite, evidenceInView, pixelLps

scene = readScene(sys.argv[1])
table = next(t for t in nodesOfClass(scene, "vtkMRMLTableNode") if t.GetAttribute("MedImgClassifier.Role"))
result = resultOf(table)
display = result.evidence.GetDisplayNode()
color = [0.0] * 4
display.GetColorNode().GetColor(255, color)
composite(scene).SetForegroundOpacity(1.0)
levels = evidenceInView(scene, "Red")
selection = scene.GetSingletonNode("Singleton", "vtkMRMLSelectionNode")
columns = [table.GetColumnName(n) for n in range(table.GetNumberOfColumns())]
print("FOUND " + json.dumps({
    "name": result.volume.GetName(),
    "voxels": hashlib.sha256(volumeFromNode(result.volume).voxels.tobytes()).hexdigest(),
    "spot": list(brightestLps(result.volume)),
    "peak": list(brightestLps(result.evidence)),
    "evidence size": result.evidence.GetImageData().GetDimensions(),
    "color": color,
    "window": [display.GetWindowLevelMin(), display.GetWindowLevelMax()],
    "threshold": [display.GetApplyThreshold(), display.GetLowerThreshold()],
    "pixel": list(pixelLps(scene, "Red", levels >= levels.max() - 1)),
    "coloured": float((levels >= 0).mean()),
    "views": [composite(scene, v).GetBackgroundVolumeID() == result.volume.GetID() for v in ("Red", "Green", "Yellow")],
    "columns": columns,
    "types": [table.GetTable().GetColumn(n).GetDataTypeAsString() for n in range(len(columns))],
    "rows": table.GetNumberOfRows(),
    "key row": [table.GetTable().GetValue(6, n).ToString() for n in range(4)],
    "series": [(s.GetName(), s.GetTableNode() == table) for s in result.series],
    "charted": result.chart.GetNumberOfPlotSeriesNodes(),
    "record": json.loads(result.provenance.GetText())["answer"],
    "active": [selection.GetActiveVolumeID() == result.volume.GetID(),
               selection.GetActiveTableID() == table.GetID(),
               selection.GetActivePlotChartID() == result.chart.GetID()],
    "use": table.GetAttribute("MedImgClassifier.IntendedUse"),
}))
"""


def found(path):
    """What a fresh process finds in a saved scene, and what it printed besides."""
    paths = [os.path.dirname(os.path.abspath(__file__)), *sys.path]
    process = subprocess.run(
        [sys.executable, "-c", _LOOK, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in paths if p)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    lines = [line for line in process.stdout.splitlines() if line.startswith("FOUND ")]
    assert process.returncode == 0 and lines, process.stderr
    return json.loads(lines[0][6:]), process.stderr


class SavedScene(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def write(self, kind, name="scene.mrb"):
        volume = exampleVolume(kind)
        writeResultScene(self.folder / name, volume, exampleClassification(volume))
        return volume, self.folder / name

    def test_fresh_process_finds_everything(self):
        volume, path = self.write("axial")
        seen, errors = found(path)
        self.assertNotIn("ERR|", errors)
        self.assertEqual(seen["name"], "head axial")
        self.assertEqual(seen["voxels"], hashlib.sha256(volume.voxels.tobytes()).hexdigest())
        np.testing.assert_allclose(seen["spot"], spotLps(volume), atol=1e-3)
        self.assertEqual(seen["evidence size"], [8, 8, 10])
        np.testing.assert_allclose(seen["color"], [0.948, 0.949, 0.491, 1], atol=0.01)
        self.assertEqual(seen["window"], [0, 255])
        self.assertEqual(seen["threshold"], [1, 63.75])
        self.assertTrue(0.01 < seen["coloured"] < 0.2)
        self.assertEqual(seen["views"], [True, True, True])
        self.assertEqual(seen["columns"][:4], ["Slice", "Instance", "Position", "Label"])
        self.assertEqual(seen["types"], ["int", "int", "double", "string", "double", "double", "double"])
        self.assertEqual(seen["rows"], 10)
        self.assertEqual(seen["key row"], ["6", "107", "64", "spot"])
        self.assertEqual(seen["series"], [["spot", True], ["nothing", True]])
        self.assertEqual(seen["charted"], 2)
        self.assertEqual(seen["record"], "spot in 6 of 10 slices (uncalibrated)")
        self.assertEqual(seen["active"], [True, True, True])
        self.assertEqual(seen["use"], "Tests; nothing else: not diagnosis.")

    def test_evidence_is_still_at_the_spot_after_reopening(self):
        for kind in ("sagittal", "oblique", "flipped", "tilted"):
            with self.subTest(kind):
                volume, path = self.write(kind, f"{kind}.mrb")
                seen, _errors = found(path)
                for place in ("peak", "pixel"):
                    column, row, along = offsetInCells(volume, seen[place], spotLps(volume))
                    self.assertLess(max(abs(column), abs(row)), 0.55)
                    self.assertLess(abs(along), 2.1 if kind == "tilted" else 0.1)
                if kind != "tilted":  # slice k of a flipped stack is slice k after reopening
                    self.assertLess(np.abs(np.subtract(seen["spot"], spotLps(volume))).max(), 1e-3)

    def test_result_stands_in_its_folder_and_the_volume_knows_its_series(self):
        import slicer

        from MedImgClassifierLib.scene.volumes import volumeFromNode

        volume = exampleVolume("axial")
        volume = replace(volume, source=replace(volume.source, series_uid="1.2.3"))
        writeResultScene(self.folder / "scene.mrb", volume, exampleClassification(volume))
        scene = readScene(self.folder / "scene.mrb")
        self.assertEqual(volumeFromNode(scene.GetFirstNodeByName("head axial")).source.series_uid, "1.2.3")
        hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
        top = hierarchy.GetSceneItemID()
        self.assertEqual(hierarchy.GetNumberOfItemChildren(top), 2)
        self.assertEqual(hierarchy.GetNumberOfItemChildren(hierarchy.GetItemByName("head axial example")), 6)

    def test_slices_of_a_flipped_stack_keep_their_index(self):
        from MedImgClassifierLib.scene.volumes import volumeFromNode

        volume, path = self.write("flipped")
        node = readScene(path).GetFirstNodeByName("head flipped")
        np.testing.assert_array_equal(volumeFromNode(node).voxels, volume.voxels)

    def test_writing_again_replaces_the_file_and_leaves_nothing_beside_it(self):
        _volume, path = self.write("axial")
        self.write("sagittal")
        self.assertEqual([p.name for p in self.folder.iterdir()], ["scene.mrb"])
        self.assertIsNotNone(readScene(path).GetFirstNodeByName("head sagittal"))

    def test_failed_writing_is_refused_and_keeps_the_earlier_file(self):
        _volume, path = self.write("axial")
        before = path.read_bytes()
        here = Path.cwd()

        def fail(_path):
            os.chdir(self.folder)  # MRML stays in its packing folder when it fails
            vtk.vtkOutputWindow.GetInstance().DisplayErrorText("disk full")
            return False

        scene = createScene()
        scene.WriteToMRB = fail
        with self.assertRaisesRegex(Refusal, r"USAGE_OUTPUT_NOT_WRITABLE.*scene\.mrb.*disk full"):
            writeScene(scene, path)
        self.assertEqual(Path.cwd(), here)
        self.assertEqual(path.read_bytes(), before)
        self.assertEqual([p.name for p in self.folder.iterdir()], ["scene.mrb"])

    def test_nothing_stays_in_the_temporary_folder(self):
        _volume, path = self.write("axial")
        with tempfile.TemporaryDirectory() as scratch, mock.patch.object(tempfile, "tempdir", scratch):
            self.write("axial")
            self.assertEqual(os.listdir(scratch), [])
            closeScene(readScene(path))
            self.assertEqual(os.listdir(scratch), [])
            path.write_text("not a scene")
            with self.assertRaises(Refusal):
                readScene(path)
            self.assertEqual(os.listdir(scratch), [])

    def test_missing_folder_is_refused(self):
        with self.assertRaisesRegex(Refusal, "USAGE_OUTPUT_NOT_WRITABLE"):
            writeScene(createScene(), self.folder / "nowhere" / "scene.mrb")
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_files_that_are_no_scene_are_refused(self):
        here = Path.cwd()
        (self.folder / "text.mrb").write_text("not a scene")
        _volume, path = self.write("axial")
        (self.folder / "cut.mrb").write_bytes(path.read_bytes()[:-100])
        spoilt = bytearray(path.read_bytes())
        spoilt[:400] = bytes(400)
        (self.folder / "spoilt.mrb").write_bytes(spoilt)
        for name in ("text.mrb", "cut.mrb", "spoilt.mrb"):
            with self.subTest(name), self.assertRaisesRegex(Refusal, "INPUT_NOT_AN_IMAGE"):
                readScene(self.folder / name)
        self.assertEqual(Path.cwd(), here)
        with self.assertRaisesRegex(Refusal, "INPUT_NOT_FOUND"):
            readScene(self.folder / "none.mrb")

    def test_picture_of_the_reopened_view_peaks_at_the_spot(self):
        from scene_checks import composite, evidenceInView

        volume, path = self.write("axial")
        scene = readScene(path)
        composite(scene).SetForegroundOpacity(1.0)
        levels = evidenceInView(scene, "Red")
        place = pixelLps(scene, "Red", levels >= levels.max() - 1)
        column, row, along = offsetInCells(volume, place, spotLps(volume))
        self.assertLess(max(abs(column), abs(row)), 0.55)
        self.assertLess(abs(along), 0.1)


if __name__ == "__main__":
    unittest.main()
