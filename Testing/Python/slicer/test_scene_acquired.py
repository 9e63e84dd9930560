"""A tilted, uneven series is the same for the network read from its files and as the node that Slicer makes of it."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import tempfile
import unittest
import zipfile
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import numpy as np
import slicer

from example_results import exampleVolume
from MedImgClassifierLib import resources
from MedImgClassifierLib.engine.preprocess import InputSpec, geometry, in_plane, intensity
from MedImgClassifierLib.engine.volume import Volume
from MedImgClassifierLib.scene.session import createScene
from MedImgClassifierLib.scene.volumes import volumeFromNode
from scene_checks import acquire, addAcquired

SERIES = "ct_head_ge_tilt"
ARCHIVE = Path(__file__).resolve().parents[4] / "shared" / "data" / "dicom_nrrd_real.zip"
NEEDED = ("onnxruntime", "openvino", "torch"), ("safetensors",), ("jsonschema",)


def loadAsSlicer(scene, volume: Volume, files: list[str]):
    """The node that Slicer's DICOM reader makes of a CT series, files in slice order; volume: where slices lie."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "ct")
    storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
    storage.SetFileName(files[0])
    storage.SetSingleFile(False)
    for file in files:
        storage.AddFileName(file)
    assert storage.ReadData(node)
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("[hnsf'U]", "UCUM", "Hounsfield unit")
    node.SetVoxelValueUnits(units)
    acquire(node, volume)
    return node


class SameVolume(unittest.TestCase):
    def assertSame(self, one: Volume, other: Volume):
        np.testing.assert_array_equal(one.voxels, other.voxels)
        self.assertEqual((one.voxels.dtype, one.units, one.modality), (other.voxels.dtype, other.units, other.modality))
        np.testing.assert_allclose(one.slice_origins_lps, other.slice_origins_lps, atol=1e-6)
        np.testing.assert_allclose(one.row_direction_lps, other.row_direction_lps, atol=1e-6)
        np.testing.assert_allclose(one.column_direction_lps, other.column_direction_lps, atol=1e-6)
        np.testing.assert_allclose(one.spacing_mm, other.spacing_mm, atol=1e-6)

    def test_of_a_real_tilted_head(self):
        """Geometry, voxels and network input only: no model runs on this series."""
        if not ARCHIVE.is_file():
            self.skipTest(f"real data are not at hand ({ARCHIVE.name} in ../shared/data)")
        from MedImgClassifierLib.engine.reading import read_volume

        with tempfile.TemporaryDirectory() as folder:
            with zipfile.ZipFile(ARCHIVE) as packed:
                members = [name for name in packed.namelist() if SERIES in name]
                packed.extractall(folder, members)
            files = sorted(str(path) for path in Path(folder).rglob("*.dcm"))
            read = read_volume(Path(files[0]).parent)
            node = loadAsSlicer(createScene(), read, files)
        self.assertIn("sheared by 18.5 degrees", read.irregularity)
        self.assertFalse(node.GetParentTransformNode().IsTransformToWorldLinear())
        shown = volumeFromNode(node)
        self.assertSame(shown, read)
        manifest = json.loads((resources.bundles()["body-region"] / "manifest.json").read_text("utf-8"))
        spec = InputSpec.from_json(manifest["input"])
        inputs = []
        for volume in (read, shown):
            prepared = geometry([in_plane(volume, spec.plane)], spec)
            inputs.append(intensity(prepared.images, spec, prepared.units))
        np.testing.assert_array_equal(*inputs)
        self.assertGreater(np.ptp(inputs[0]), 0.5)

    def test_of_a_synthetic_tilted_stack_and_its_probabilities(self):
        volume = tiltedHead()
        shown = volumeFromNode(addAcquired(createScene(), volume))
        self.assertSame(shown, volume)
        self.assertIn("sheared by 18.5 degrees", shown.irregularity)
        if not all(any(importlib.util.find_spec(name) for name in names) for names in NEEDED):
            self.skipTest("needs what the worker installs: safetensors, jsonschema and a runtime")
        from MedImgClassifierLib.worker.session import Session

        session, bundle = Session(), resources.bundles()["body-region"]
        read, asNode = (session.classify(v, bundle, device="cpu") for v in (volume, shown))
        session.close()
        np.testing.assert_array_equal(asNode.slices.probabilities, read.slices.probabilities)
        self.assertEqual(len(read.slices), len(volume.voxels))
        np.testing.assert_allclose(asNode.slices.centre_lps, read.slices.centre_lps, atol=1e-6)
        self.assertGreater(np.ptp(read.slices.probabilities, axis=0).max(), 0)


def tiltedHead() -> Volume:
    """A skull-like shell in HU on the tilted, uneven stack of the examples, 1 mm pixels."""
    like = exampleVolume("tilted")
    k, j, i = np.mgrid[0 : len(like.voxels), 0:160, 0:128]
    radius = np.hypot((j - 80) / 70, (i - 64) / 55) + 0.02 * k
    voxels = np.select([radius < 0.85, radius < 1], [35, 900], -1000).astype(np.int16)
    voxels += np.random.default_rng(0).integers(-10, 10, voxels.shape).astype(np.int16)
    return replace(like, voxels=voxels, spacing_mm=(1.0, 1.0), modality="CT", units="HU")


if __name__ == "__main__":
    unittest.main()
