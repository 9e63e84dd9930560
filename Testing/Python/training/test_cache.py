"""The cache holds each sample as inference would see it after geometry, slices where the manifest counts them."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

from medimg_training.cache import in_plane_of_rows, prepare
from medimg_training.datasets.manifest import Manifest, write_manifest
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.preprocess import ChannelSpec, InputSpec, Pad, Percentile, Resize, geometry
from MedImgClassifierLib.engine.reading import read_volume

MakeManifest = Callable[..., Path]


@pytest.fixture
def volumes(tmp_path: Path) -> Callable[..., Manifest]:
    """A manifest of one volume of 5 x 6 x 7 voxels (K, J, I) whose slices along K run downwards (towards inferior)."""

    def make(**row: Any) -> Manifest:
        image = SimpleITK.GetImageFromArray(np.arange(5 * 6 * 7, dtype=np.int16).reshape(5, 6, 7))
        image.SetDirection((1, 0, 0, 0, -1, 0, 0, 0, -1))
        SimpleITK.WriteImage(image, str(tmp_path / "v.nii.gz"))
        rows = [{"sample": "v", "group": "p", "group_kind": "patient", "path": "v.nii.gz", "label": "b", **row}]
        (tmp_path / "other.nii.gz").write_bytes(b"never read: the class a needs a row")
        rows.append({"sample": "o", "group": "o", "group_kind": "patient", "path": "other.nii.gz", "label": "a"})
        manifest = Manifest.read(write_manifest(tmp_path, rows, ["a", "b"]))
        return replace(manifest, rows=manifest.rows[:1])

    return make


def test_images_labels_groups_and_names_belong_together(
    png_manifest: MakeManifest, spec: InputSpec, tmp_path: Path
) -> None:
    manifest = Manifest.read(png_manifest(12, lambda rows: rows[7].update(label="")))
    prepared = prepare(manifest, manifest.rows, spec, tmp_path / "cache")
    assert prepared.images.shape == (12, 1, 12, 12)
    assert prepared.images.dtype == np.float32
    for n, row in enumerate(manifest.rows):
        alone = geometry([read_volume(row.path)], spec).images
        assert np.array_equal(prepared.images[[n]], alone)
        assert (prepared.samples[n], prepared.groups[n], prepared.slices[n]) == (row.sample, row.group, 0)
    assert prepared.labels[7] == -1
    assert list(prepared.of_groups({"g2"})) == [6, 8]
    assert list(prepared.of_groups({"g2"}, labelled=False)) == [6, 7, 8]
    with pytest.raises(ValueError, match="read-only"):
        prepared.images[0] = 0


@pytest.mark.parametrize(
    ("plane", "count", "first"),
    [
        ("axial", 5, np.arange(168, 210).reshape(6, 7)),  # the lowest slice is the last of the file
        ("coronal", 6, np.arange(210).reshape(5, 6, 7)[:, 5]),  # the most anterior row is the last
        ("sagittal", 7, np.arange(210).reshape(5, 6, 7)[:, :, 0]),  # +I runs towards left
    ],
)
def test_slices_are_counted_towards_left_posterior_and_superior(
    volumes: Callable[..., Manifest], tmp_path: Path, plane: str, count: int, first: np.ndarray
) -> None:
    spec = InputSpec((ChannelSpec("image"),), (Pad(8, 8),), ())
    manifest = volumes(plane=plane)
    prepared = prepare(manifest, manifest.rows, spec, tmp_path / "cache")
    assert prepared.slices == tuple(range(count))
    assert set(np.unique(first)) <= set(np.unique(prepared.images[0]))
    part = volumes(plane=plane, slice_from=1, slice_to=3)
    some = prepare(part, part.rows, spec, tmp_path / "some")
    assert some.slices == (1, 2)
    assert np.array_equal(some.images, prepared.images[1:3])
    assert list(some.labels) == [1, 1]


def test_the_plane_of_the_specification_holds_where_a_row_names_none(
    volumes: Callable[..., Manifest], tmp_path: Path
) -> None:
    spec = InputSpec((ChannelSpec("image"),), (Pad(8, 8),), (), plane="sagittal")
    manifest = volumes()
    assert len(prepare(manifest, manifest.rows, spec, tmp_path / "cache")) == 7


def test_slices_that_are_not_there_are_refused(volumes: Callable[..., Manifest], tmp_path: Path) -> None:
    manifest = volumes(slice_from=2, slice_to=6)
    with pytest.raises(Refusal, match=r"has 5 slices, not 2..6") as refused:
        prepare(manifest, manifest.rows, InputSpec((ChannelSpec("image"),), (), ()), tmp_path / "cache")
    assert refused.value.code == "DATA_MANIFEST"
    assert not (tmp_path / "cache").exists()


def test_images_of_different_size_and_unreadable_ones_leave_nothing(
    png_manifest: MakeManifest, spec: InputSpec, tmp_path: Path
) -> None:
    path = png_manifest(6)
    manifest = Manifest.read(path)
    (path.parent / "4.png").write_bytes(b"no picture")
    with pytest.raises(Refusal) as refused:
        prepare(manifest, manifest.rows, spec, tmp_path / "cache")
    assert refused.value.code == "INPUT_NOT_AN_IMAGE"
    assert not (tmp_path / "cache").exists()
    from PIL import Image

    Image.new("L", (9, 10)).save(path.parent / "4.png")
    with pytest.raises(Refusal, match="after geometry"):
        prepare(manifest, manifest.rows, replace(spec, geometry=()), tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_a_cache_is_used_again_until_rows_files_or_geometry_change(
    png_manifest: MakeManifest, spec: InputSpec, tmp_path: Path
) -> None:
    path = png_manifest(6)
    manifest = Manifest.read(path)
    about = tmp_path / "cache" / "cache.json"

    def written(manifest: Manifest, spec: InputSpec) -> bool:
        """Whether the cache was made anew."""
        if about.exists():
            os.utime(about, (1, 1))
        prepare(manifest, manifest.rows, spec, tmp_path / "cache")
        return about.stat().st_mtime != 1

    assert written(manifest, spec)
    assert not written(manifest, spec)
    assert not written(manifest, replace(spec, intensity=(Percentile(0, 100),)))
    assert written(manifest, replace(spec, geometry=(Resize(8, 8),)))
    os.utime(path.parent / "2.png", (5, 5))
    assert written(manifest, replace(spec, geometry=(Resize(8, 8),)))
    other = Manifest.read(png_manifest(6, lambda rows: rows[0].update(label="high")))
    assert written(other, replace(spec, geometry=(Resize(8, 8),)))
    with (tmp_path / "cache" / "images.f32").open("ab") as file:
        file.truncate(100)
    assert written(other, replace(spec, geometry=(Resize(8, 8),)))


def test_the_fingerprint_sees_pixels_labels_and_order_of_its_rows_only(
    png_manifest: MakeManifest, spec: InputSpec, tmp_path: Path
) -> None:
    manifest = Manifest.read(png_manifest(9))
    prepared = prepare(manifest, manifest.rows, spec, tmp_path / "cache")
    rows = np.array([0, 1, 2])
    images, labels = prepared.images.copy(), prepared.labels.copy()
    images[5], labels[5] = 0, 0
    assert replace(prepared, images=images, labels=labels).fingerprint(rows) == prepared.fingerprint(rows)
    assert prepared.fingerprint(rows[::-1]) != prepared.fingerprint(rows)
    labels[1] = 2
    assert replace(prepared, labels=labels).fingerprint(rows) != prepared.fingerprint(rows)
    images[1, 0, 0, 0] += 1
    assert replace(prepared, images=images).fingerprint(rows) != prepared.fingerprint(rows)


def test_the_modality_is_the_manifest_s_else_the_file_s(spec: InputSpec, tmp_path: Path) -> None:
    image = SimpleITK.GetImageFromArray(np.zeros((1, 8, 8), np.int16))
    image.SetMetaData("0008|0060", "CT")
    row = {"group": "g", "group_kind": "patient"}
    rows = [row | {"sample": "stated", "modality": "MR", "label": "low", "path": "1.dcm"}]
    rows += [row | {"sample": "left empty", "modality": "", "label": "high", "path": "2.dcm"}]
    for own in rows:
        SimpleITK.WriteImage(image, str(tmp_path / own["path"]))
    manifest = Manifest.read(write_manifest(tmp_path, rows, ("low", "high")))
    assert prepare(manifest, manifest.rows, spec, tmp_path / "cache").modalities == ("MR", "CT")


def test_the_plane_of_the_rows_is_that_of_the_specification(png_manifest: Callable[..., Path], spec: InputSpec) -> None:
    manifest = Manifest.read(png_manifest(3))
    rows = [replace(row, plane="sagittal", slice_to=1) for row in manifest.rows]
    assert in_plane_of_rows(spec, rows, manifest.path).plane == "sagittal"
    assert in_plane_of_rows(spec, manifest.rows, manifest.path) == spec
    assert in_plane_of_rows(spec, [rows[0], manifest.rows[1]], manifest.path).plane == "native"
    with pytest.raises(Refusal, match="rows are cut in sagittal, the input specification says axial"):
        in_plane_of_rows(replace(spec, plane="axial"), rows, manifest.path)
    with pytest.raises(Refusal, match="range of slices and no plane"):
        in_plane_of_rows(replace(spec, plane="axial"), [replace(manifest.rows[0], slice_to=1)], manifest.path)


@pytest.mark.parametrize("channel", [{"units": ("HU",)}, {"modality": ("CT",)}])
def test_images_that_the_bundle_would_refuse_are_not_trained_on(
    channel: dict[str, Any], png_manifest: Callable[..., Path], spec: InputSpec, tmp_path: Path
) -> None:
    manifest = Manifest.read(png_manifest(3, lambda rows: [row.update(modality="MR") for row in rows]))
    asked = replace(spec, channels=(ChannelSpec("image", **channel),))
    with pytest.raises(Refusal, match="the input specification asks for"):
        prepare(manifest, manifest.rows, asked, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()
