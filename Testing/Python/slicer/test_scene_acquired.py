"""A tilted, uneven series is the same read from its files and as a node, Slicer's or ours, which shows it in place."""

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

from example_results import COLUMNS, KINDS, ROWS, SLICES, SPOT_K, exampleClassification, exampleVolume, spotLps
from MedImgClassifierLib import resources
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import InputSpec, geometry, in_plane, intensity
from MedImgClassifierLib.engine.slice_view import display_window
from MedImgClassifierLib.engine.volume import Source, Volume
from MedImgClassifierLib.scene.acquisition import addAcquiredVolume
from MedImgClassifierLib.scene.geometry import arrayFromVtkMatrix, ijkToRas
from MedImgClassifierLib.scene.overlay import addEvidence, showOverlay
from MedImgClassifierLib.scene.pictures import sliceImage
from MedImgClassifierLib.scene.saving import readScene, writeScene
from MedImgClassifierLib.scene.session import closeScene, createScene
from MedImgClassifierLib.scene.slice_link import jumpToRow, rowAtView, viewCentreLps
from MedImgClassifierLib.scene.volumes import addVolume, volumeFromNode
from scene_checks import (
    acquire,
    addAcquired,
    brightestLps,
    composite,
    evidenceInView,
    ijkLps,
    nodeIds,
    offsetInCells,
    pixelLps,
)

SERIES = "ct_head_ge_tilt"
ARCHIVE = Path(__file__).resolve().parents[4] / "shared" / "data" / "dicom_nrrd_real.zip"
VIEWS = ("Red", "Green", "Yellow")
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


class VolumeCase(unittest.TestCase):
    def assertSame(self, one: Volume, other: Volume, atol=1e-6):
        np.testing.assert_array_equal(one.voxels, other.voxels)
        self.assertEqual((one.voxels.dtype, one.units, one.modality), (other.voxels.dtype, other.units, other.modality))
        np.testing.assert_allclose(one.slice_origins_lps, other.slice_origins_lps, rtol=0, atol=atol)
        np.testing.assert_allclose(one.row_direction_lps, other.row_direction_lps, atol=1e-6)
        np.testing.assert_allclose(one.column_direction_lps, other.column_direction_lps, atol=1e-6)
        np.testing.assert_allclose(one.spacing_mm, other.spacing_mm, atol=1e-6)

    def realFiles(self):
        """Paths of the files of a real tilted head, in slice order."""
        if not ARCHIVE.is_file():
            self.skipTest(f"real data are not at hand ({ARCHIVE.name} in ../shared/data)")
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        with zipfile.ZipFile(ARCHIVE) as packed:
            packed.extractall(folder.name, [name for name in packed.namelist() if SERIES in name])
        return sorted(str(path) for path in Path(folder.name).rglob("*.dcm"))


class SameVolume(VolumeCase):
    def test_of_a_real_tilted_head(self):
        """Geometry, voxels and network input only: no model runs on this series."""
        files = self.realFiles()
        from MedImgClassifierLib.engine.reading import read_volume

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


class AcquiredNodes(VolumeCase):
    """`addAcquiredVolume`: what a Volume is made of stands in the scene, and in the views where it was acquired."""

    def setUp(self):
        self.scene = createScene()

    def add(self, volume: Volume):
        self.scene = createScene()
        node = addAcquiredVolume(self.scene, volume, "head")
        for name in VIEWS:
            composite(self.scene, name).SetBackgroundVolumeID(node.GetID())
        return node

    def lookAt(self, pointLps):
        for name in VIEWS:
            view = self.scene.GetSingletonNode(name, "vtkMRMLSliceNode")
            view.JumpSliceByCentering(*(float(x) for x in np.asarray(pointLps) * [-1, -1, 1]))

    def assertGivesBack(self, node, volume: Volume, atol=1e-6):
        back = volumeFromNode(node)
        self.assertSame(back, volume, atol)
        self.assertEqual(back.irregularity, volume.irregularity)
        for name in ("series_uid", "sop_instance_uids", "instance_numbers"):
            self.assertEqual(getattr(back.source, name), getattr(volume.source, name))

    def test_give_the_volume_back(self):
        for kind, volume in steepStacks().items():
            with self.subTest(kind):
                self.assertIn("sheared by 30.0 degrees", volume.irregularity)
                self.assertIn("uneven slice steps of 1.08 to 7.00 mm", volume.irregularity)
                node = self.add(volume)
                self.assertGivesBack(node, volume)
                self.assertEqual(node.GetParentTransformNode().GetName(), "head acquisition transform")
                self.assertIsNone(node.GetAttribute("MedImgClassifier.Resampled"))
                axes = ijkToRas(node)[:3, :3] / node.GetSpacing()
                np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-9)

    def test_give_colours_and_two_slices_back(self):
        stack = steepStacks()["oblique"]
        colours = np.random.default_rng(0).integers(0, 255, (SLICES, 9, 7, 3)).astype(np.uint8)
        photographs = replace(stack, voxels=colours, units="RGB", modality="XC")
        two = replace(
            stack, voxels=stack.voxels[:2], slice_origins_lps=stack.slice_origins_lps[:2], source=Source(), units="HU"
        )
        for volume in (photographs, two):
            self.assertGivesBack(self.add(volume), volume)

    def test_give_a_real_tilted_head_back(self):
        files = self.realFiles()
        from MedImgClassifierLib.engine.reading import read_volume

        read = read_volume(Path(files[0]).parent)
        self.assertIn("sheared by 18.5 degrees", read.irregularity)
        self.assertTrue(read.source.series_uid and read.source.sop_instance_uids and read.source.instance_numbers)
        self.assertGivesBack(self.add(read), read)

    def test_of_a_regular_stack_are_those_of_addVolume(self):
        one = exampleVolume("oblique")
        one = replace(one, voxels=one.voxels[:1], slice_origins_lps=one.slice_origins_lps[:1], source=Source())
        for kind, volume in {**{kind: exampleVolume(kind) for kind in KINDS[:-1]}, "one slice": one}.items():
            with self.subTest(kind):
                node, usual = self.add(volume), addVolume(self.scene, volume, "usual")
                self.assertIsNone(node.GetParentTransformNode())
                np.testing.assert_array_equal(ijkToRas(node), ijkToRas(usual))
                self.assertGivesBack(node, replace(volume, source=volumeFromNode(usual).source))
                self.assertEqual(set(node.GetAttributeNames()), set(usual.GetAttributeNames()))

    def test_have_their_slices_where_the_transform_of_slicers_reader_puts_them(self):
        """Also the far corners of the outermost pixels, on two transforms that were made in different ways."""
        volume = exampleVolume("tilted")
        ours, slicers = addAcquiredVolume(self.scene, volume, "ours"), addAcquired(self.scene, volume)
        for k in range(SLICES):
            for i, j in ((0, 0), (-0.5, -0.5), (COLUMNS - 0.5, -0.5), (-0.5, ROWS - 0.5), (COLUMNS - 0.5, ROWS - 0.5)):
                acquired = volume.slice_to_lps(k) @ [i, j, 1]
                np.testing.assert_allclose(ijkLps(ours, i, j, k), acquired, atol=1e-9)
                np.testing.assert_allclose(ijkLps(slicers, i, j, k), acquired, atol=1e-9)

    def test_stand_even_about_where_they_were_acquired(self):
        """What knows no such transforms (volume rendering) is wrong by little more than half the shear."""
        for kind, volume in steepStacks().items():
            with self.subTest(kind):
                node = self.add(volume)
                even = np.array([(ijkToRas(node) @ [0, 0, k, 1])[:3] for k in range(SLICES)]) * [-1, -1, 1]
                moved = np.linalg.norm(even - volume.slice_origins_lps, axis=1)
                whole = np.linalg.norm(volume.slice_origins_lps[-1] - volume.slice_origins_lps[0]) * np.sin(np.pi / 6)
                self.assertLess(moved.max(), 0.65 * whole)
                self.assertAlmostEqual(node.GetSpacing()[2], 4.0)

    def test_are_the_same_once_they_were_saved_and_opened(self):
        for kind, volume in steepStacks().items():
            with self.subTest(kind), tempfile.TemporaryDirectory() as folder:
                self.add(volume)
                writeScene(self.scene, Path(folder) / "scene.mrb")
                opened = readScene(Path(folder) / "scene.mrb")
                node = opened.GetFirstNodeByName("head")
                self.assertGivesBack(node, volume, atol=1e-4)
                np.testing.assert_allclose(brightestLps(node), spotLps(volume), atol=1e-4)
                closeScene(opened)

    def test_have_the_window_of_their_acquired_values(self):
        volume = tiltedHead()
        display = self.add(volume).GetDisplayNode()
        black, white, _words = display_window(volume)
        self.assertEqual((display.GetWindowLevelMin(), display.GetWindowLevelMax()), (black, white))

    def test_leave_their_transform_to_what_else_lies_on_their_slices(self):
        volume = steepStacks()["axial"]
        node = self.add(volume)
        evidence, _speaks = addEvidence(self.scene, exampleClassification(volume), 0, node, "evidence")
        parent, before = node.GetParentTransformNode(), brightestLps(evidence)
        self.scene.RemoveNode(node)
        self.assertIs(evidence.GetParentTransformNode(), parent)
        np.testing.assert_array_equal(brightestLps(evidence), before)
        self.scene.RemoveNode(evidence)
        self.scene.RemoveNode(parent)
        self.assertEqual(self.scene.GetNumberOfNodesByClass("vtkMRMLGridTransformNode"), 0)

    def test_of_slices_in_no_order_are_refused_and_nothing_is_made(self):
        stack, before = steepStacks()["axial"], nodeIds(self.scene)
        twice = stack.slice_origins_lps[[0, 1, 1, *range(3, SLICES)]]
        for origins in (stack.slice_origins_lps[[1, 0, *range(2, SLICES)]], twice):
            with self.assertRaisesRegex(Refusal, "INPUT_GEOMETRY.*'head'.*do not follow one another"):
                addAcquiredVolume(self.scene, replace(stack, slice_origins_lps=origins), "head")
        self.assertEqual(nodeIds(self.scene), before)

    def test_show_a_landmark_of_any_slice_at_its_place(self):
        for kind, volume in steepStacks().items():
            for k in (0, 2, 3, SPOT_K, SLICES - 1):
                with self.subTest(kind, slice=k):
                    voxels = np.zeros_like(volume.voxels)
                    voxels[k, 11:14, 37:40] = 1000
                    landmark = volume.slice_to_lps(k) @ [38, 12, 1]
                    self.add(replace(volume, voxels=voxels))
                    self.lookAt(landmark)
                    # Inner slices fade towards both neighbours, outer ones stay bright to their end: up to 3.5 mm.
                    reach = 1.75 if k in (0, SLICES - 1) else 0.5
                    for name in VIEWS:
                        picture = sliceImage(self.scene, name, (280, 200))[..., 0]
                        self.assertGreater(picture.max(), 150)
                        offset = pixelLps(self.scene, name, picture > 0.9 * picture.max()) - landmark
                        axes = (volume.row_direction_lps, volume.column_direction_lps, volume.normal_lps)
                        self.assertLess(max(abs(offset @ axis) for axis in axes), reach)

    def test_fill_the_views_as_far_as_their_slabs_reach(self):
        for kind, volume in steepStacks().items():
            for part in (-0.03, -0.01, 0, 0.4, 0.73, 1, 1.09, 1.11):  # from 0.54 mm before to 3.5 mm after 36 mm
                with self.subTest(kind, part=part):
                    self.assertFillsViews(volume, part)

    def test_fill_the_views_on_both_sides_of_a_gap(self):
        volume = exampleVolume("axial")
        along = volume.normal_lps + 0.3 * volume.column_direction_lps
        heights = np.cumsum([0, 3, 3, 3, 3, 20, 3, 3, 3, 3])[:, None]
        self.assertFillsViews(replace(volume, slice_origins_lps=heights * along), 0.5)

    def assertFillsViews(self, volume: Volume, part):
        """Each pixel has the grey of its slice, or between two, where voxels at their acquired place cover it.

        part: where the views stand, from 0 in the first slice to 1 in the last.
        """
        greys = np.linspace(100, 1000, SLICES).astype(np.int16)[:, None, None]
        node = self.add(replace(volume, voxels=np.broadcast_to(greys, volume.voxels.shape)))
        node.GetDisplayNode().SetWindowLevelMinMax(0, 1000)
        first, last = volume.slice_centres_lps[[0, -1]]
        self.lookAt(first + part * (last - first))
        for name in VIEWS:
            seen = sliceImage(self.scene, name, (280, 200))[..., 0]
            k, margin = coverage(volume, self.pixels(name, seen.shape))
            expected = np.interp(k, np.arange(SLICES), greys.ravel()) * 255 / 1000
            np.testing.assert_allclose(seen[margin > 0.01], expected[margin > 0.01], rtol=0, atol=2)
            np.testing.assert_array_equal(seen[margin < -0.01], 0)

    def pixels(self, name, shape):
        """[h, w, 3] LPS mm of the pixels of a picture of a view."""
        y, x = np.mgrid[0 : shape[0], 0 : shape[1]]
        toRas = arrayFromVtkMatrix(self.scene.GetSingletonNode(name, "vtkMRMLSliceNode").GetXYToRAS())
        return (np.stack([x, y[::-1], 0 * x, 0 * x + 1], axis=-1) @ toRas.T)[..., :3] * [-1, -1, 1]

    def test_have_the_bounds_to_which_views_are_fitted(self):
        for kind, volume in steepStacks().items():
            with self.subTest(kind):
                found = [0.0] * 6
                self.add(volume).GetRASBounds(found)
                first, second, *_between, last = volume.slice_origins_lps
                ends = [1.5 * first - 0.5 * second, 1.5 * last - 0.5 * volume.slice_origins_lps[-2]]
                corners = [
                    origin + volume.slice_to_lps(0) @ [i, j, 0]
                    for origin in (*ends, *volume.slice_origins_lps)
                    for i in (-0.5, COLUMNS - 0.5)
                    for j in (-0.5, ROWS - 0.5)
                ]
                ras = np.array(corners) * [-1, -1, 1]
                np.testing.assert_allclose(found, np.stack([ras.min(axis=0), ras.max(axis=0)], axis=1).ravel())

    def test_carry_evidence_to_the_slice_that_it_explains(self):
        for kind, volume in steepStacks().items():
            with self.subTest(kind):
                node, classification = self.add(volume), exampleClassification(volume)
                evidence, _speaks = addEvidence(self.scene, classification, 0, node, "evidence")
                showOverlay(self.scene, node, evidence, 1.0)
                peak = classification.evidence.peak_lps(SPOT_K, 0)
                self.assertLess(max(np.abs(offsetInCells(volume, peak, spotLps(volume)))), 0.55)
                np.testing.assert_allclose(brightestLps(evidence), peak, atol=1e-6)
                self.lookAt(peak)
                for name in VIEWS:
                    levels = evidenceInView(self.scene, name)
                    self.assertGreater(levels.max(), 240)
                    place = pixelLps(self.scene, name, levels >= levels.max() - 1)
                    column, row, along = offsetInCells(volume, place, peak)
                    self.assertLess(max(abs(column), abs(row)), 0.1)
                    self.assertLess(abs(along), 0.3)

    def test_let_views_jump_to_their_slices(self):
        for kind, volume in steepStacks().items():
            with self.subTest(kind):
                node = self.add(volume)
                classification = exampleClassification(volume)
                for row in range(SLICES):
                    self.assertEqual(jumpToRow(self.scene, classification, node, row), list(VIEWS))
                    for name in VIEWS:
                        view = self.scene.GetSingletonNode(name, "vtkMRMLSliceNode")
                        self.assertEqual(rowAtView(classification, node, view).row, row)
                        position = viewCentreLps(view) @ volume.normal_lps
                        self.assertAlmostEqual(position, volume.positions_mm[row], places=3)


def tiltedHead() -> Volume:
    """A skull-like shell in HU on the tilted, uneven stack of the examples, 1 mm pixels."""
    like = exampleVolume("tilted")
    k, j, i = np.mgrid[0 : len(like.voxels), 0:160, 0:128]
    radius = np.hypot((j - 80) / 70, (i - 64) / 55) + 0.02 * k
    voxels = np.select([radius < 0.85, radius < 1], [35, 900], -1000).astype(np.int16)
    voxels += np.random.default_rng(0).integers(-10, 10, voxels.shape).astype(np.int16)
    return replace(like, voxels=voxels, spacing_mm=(1.0, 1.0), modality="CT", units="HU")


def steepStacks() -> dict[str, Volume]:
    """The examples, tilted by 30 degrees and with steps of 1.08 to 7 mm: upright, turned, and in falling order."""
    heights = np.cumsum([0, 1.08, 4, 7, 4, 4, 4, 1.08, 4, 7])[:, None]
    stacks = {}
    for kind, like, sign in (("axial", "axial", 1), ("oblique", "oblique", 1), ("falling", "oblique", -1)):
        volume = exampleVolume(like)
        along = volume.normal_lps + np.tan(np.radians(30)) * volume.column_direction_lps
        source = replace(volume.source, series_uid="1.2.840.7")
        origins = volume.slice_origins_lps[0] + sign * heights * along
        stacks[kind] = replace(volume, slice_origins_lps=origins, source=source)
    return stacks


def coverage(volume: Volume, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """([...] k of points [..., 3] LPS, [...] by how many voxels they lie inside) of a stack that is sheared evenly
    between its slices, and beyond the outer ones as between them and the next. Outside it is negative."""
    origins = volume.slice_origins_lps
    origins = np.concatenate([[2 * origins[0] - origins[1]], origins, [2 * origins[-1] - origins[-2]]])
    indices, heights = np.arange(-1, SLICES + 1), points @ volume.normal_lps
    order = np.argsort(origins @ volume.normal_lps)
    k, *corner = (np.interp(heights, origins[order] @ volume.normal_lps, axis[order]) for axis in (indices, *origins.T))
    offset = points - np.stack(corner, axis=-1)
    i = offset @ volume.row_direction_lps / volume.spacing_mm[0]
    j = offset @ volume.column_direction_lps / volume.spacing_mm[1]
    return k, np.min([i + 0.5, COLUMNS - 0.5 - i, j + 0.5, ROWS - 0.5 - j, k + 0.5, SLICES - 0.5 - k], axis=0)


if __name__ == "__main__":
    unittest.main()
