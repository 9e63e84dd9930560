"""The fingerprint: what it counts, that sites add up, and that its quantiles are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from medimg_training.datasets.manifest import Manifest, write_manifest
from medimg_training.datasets.problems import RowsRefusal
from medimg_training.fingerprint import (
    Fingerprint,
    Grid,
    bin_value,
    quantile,
    read_fingerprint,
    take_fingerprint,
    value_bin,
)
from MedImgClassifierLib.engine.errors import Refusal

MakeManifest = Callable[..., Path]


def write_volume(path: Path, voxels: np.ndarray, spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> None:
    """[K, J, I] as NIfTI, axial slices; spacing along I, J, K."""
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    SimpleITK.WriteImage(image, str(path))


@pytest.fixture
def volumes(tmp_path: Path) -> Callable[..., Manifest]:
    """A manifest of NIfTI volumes [4, 10, 12], 0.8 x 0.8 x 3 mm, six groups, `rows` altered as wished."""

    def make(scale: float = 1.0, dtype: type = np.float32, **columns: str) -> Manifest:
        random, rows = np.random.default_rng(0), []
        for n in range(12):
            voxels = random.uniform(10, 200, (4, 10, 12)) * scale
            write_volume(tmp_path / f"{n}.nii.gz", voxels.astype(dtype), (0.8, 0.8, 3.0))
            row = {"sample": f"s{n}", "group": f"p{n // 2}", "group_kind": "patient", "path": f"{n}.nii.gz"}
            rows.append(row | {"label": "ab"[n // 2 % 2], **columns})
        return Manifest.read(write_manifest(tmp_path, rows, ("a", "b")))

    return make


def test_images_groups_grids_and_kinds_are_counted(volumes: Callable[..., Manifest]) -> None:
    manifest = volumes(modality="MR")
    found = take_fingerprint(manifest, manifest.rows)
    assert found.images == {"a": 24, "b": 24}
    assert found.groups == {"a": 3, "b": 3}
    assert found.group_sizes == {8: 6}
    assert found.group_count == 6
    assert found.native_planes == {"axial": 12}
    assert found.kinds == {"MR arbitrary": 48}
    assert found.grids["native"] == {Grid(10, 12, 4, 0.8, 0.8, 3.0): 12}
    assert found.grids["sagittal"] == {Grid(4, 10, 12, 3.0, 0.8, 0.8): 12}
    assert sum(found.values["MR arbitrary"].values()) == 12 * 4 * 10 * 12


def test_only_the_slices_of_a_row_count(volumes: Callable[..., Manifest]) -> None:
    manifest = volumes(plane="sagittal", slice_from="3", slice_to="5")
    found = take_fingerprint(manifest, manifest.rows)
    assert found.images == {"a": 12, "b": 12}
    assert sum(found.values[" arbitrary"].values()) == 12 * 2 * 10 * 4
    assert not found.grids["native"]
    assert found.grids["sagittal"].total() == 12


def test_a_picture_has_no_pixel_size(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(6))
    found = take_fingerprint(manifest, manifest.rows)
    assert found.native_planes == {"picture": 6}
    assert found.grids["native"] == {Grid(16, 16, 1, 0, 0, 0): 6}


def test_sites_add_up_to_the_whole(volumes: Callable[..., Manifest], tmp_path: Path) -> None:
    manifest = volumes()
    parts = [take_fingerprint(manifest, rows) for rows in (manifest.rows[:4], manifest.rows[4:])]
    whole = take_fingerprint(manifest, manifest.rows)
    assert parts[0] + parts[1] == whole
    assert (parts[0] + parts[1]).sha256 == whole.sha256
    whole.write(tmp_path / "fingerprint.json")
    assert read_fingerprint(tmp_path / "fingerprint.json") == whole


@pytest.mark.parametrize(("kind", "low", "high"), [("CT HU", -1000.0, 2000.0), ("MR arbitrary", 0.0, 30_000.0)])
def test_quantiles_of_grey_values_are_those_of_numpy(kind: str, low: float, high: float) -> None:
    values = np.random.default_rng(1).uniform(low, high, 20_000)
    bins, counts = np.unique(value_bin(values, kind), return_counts=True)
    found = Fingerprint(values={kind: Counter(dict(zip(bins.tolist(), counts.tolist(), strict=True)))})
    for share in (0.01, 0.5, 0.99):
        true = float(np.quantile(values, share))
        assert found.quantile_of_values(kind, share) == pytest.approx(true, rel=0.05, abs=8)


def test_value_bins_keep_sign_and_order() -> None:
    values = np.array([-5000.0, -3, -0.5, 0, 0.5, 3, 5000])
    bins = value_bin(values, " arbitrary")
    assert (np.diff(bins) > 0).all()
    assert [bin_value(int(at), " arbitrary") for at in bins] == pytest.approx(values, rel=0.05)


def test_all_files_that_cannot_be_read_are_named(volumes: Callable[..., Manifest], tmp_path: Path) -> None:
    manifest = volumes()
    (tmp_path / "3.nii.gz").write_bytes(b"no image")
    voxels = np.ones((1, 4, 4), np.float32)
    voxels[0, 0, 0] = np.nan
    write_volume(tmp_path / "7.nii.gz", voxels)
    rows = [replace(row, slice_to=9) if row.sample == "s9" else row for row in manifest.rows]
    with pytest.raises(RowsRefusal) as refused:
        take_fingerprint(manifest, rows)
    assert [problem.sample for problem in refused.value.problems] == ["s3", "s7", "s9"]
    assert "not finite" in refused.value.problems[1].reason
    assert "it has 4 slices, not 0..9" in refused.value.problems[2].reason


def test_quantile_of_a_tally() -> None:
    assert quantile({1: 1, 5: 2, 9: 1}, 0.5) == 5
    assert quantile({1: 1, 5: 2, 9: 1}, 0.25) == 1
    assert quantile({1: 1, 5: 2, 9: 1}, 1) == 9
    with pytest.raises(ValueError, match="nothing"):
        quantile({}, 0.5)


@pytest.mark.parametrize("content", ["[]", "{", '{"format": 9}', '{"format": 1}'])
def test_a_file_that_is_no_fingerprint_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "f.json").write_text(content)
    with pytest.raises(Refusal, match="no fingerprint"):
        read_fingerprint(tmp_path / "f.json")
