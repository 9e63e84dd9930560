"""The manifest: what it says is kept, and each mistake is refused with its line."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from medimg_training.datasets.manifest import Manifest
from MedImgClassifierLib.engine.errors import Refusal

MakeManifest = Callable[..., Path]


def test_rows_classes_and_unknown_columns_are_kept(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(6, lambda rows: rows[4].update(acquired="2024-02-01", fold="3", age="40")))
    assert manifest.classes == ("low", "middle", "high")
    assert manifest.task == "multiclass"
    row = manifest.rows[4]
    assert (row.sample, row.group, row.group_kind, row.label, row.split) == ("s4", "g1", "cluster", "middle", "train")
    assert row.path.is_file()
    assert (row.plane, row.slice_from, row.slice_to) == ("", 0, None)
    assert (row.site, row.study, row.acquired, row.fold) == ("here", "", date(2024, 2, 1), 3)
    assert (manifest.rows[0].acquired, manifest.rows[0].fold) == (None, None)
    assert row.covariates == {"age": "40"}


def test_slices_and_plane_are_read(png_manifest: MakeManifest) -> None:
    change = {"plane": "sagittal", "slice_from": 3, "slice_to": 9}
    row = Manifest.read(png_manifest(3, lambda rows: rows[0].update(change))).rows[0]
    assert (row.plane, row.slice_from, row.slice_to) == ("sagittal", 3, 9)


def test_an_empty_label_is_unlabelled(png_manifest: MakeManifest) -> None:
    assert Manifest.read(png_manifest(6, lambda rows: rows[1].update(label=""))).rows[1].label == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sample": ""}, "line 3: 'sample' and 'path' must not be empty"),
        ({"sample": "s0"}, "line 3: sample 's0' stands already in line 2"),
        ({"group": ""}, "line 3: 'group' must not be empty"),
        ({"group_kind": "person"}, "line 3: group_kind 'person' is none of patient"),
        ({"group_kind": "none"}, "line 3: group_kind 'none' needs the reason as 'group_waiver'"),
        ({"path": "x" * 300}, "xx' does not exist"),
        ({"path": "nowhere.png"}, "line 3: 'nowhere.png' does not exist"),
        ({"label": "tall"}, "line 3: label 'tall' is none of low, middle, high"),
        ({"plane": "oblique"}, "line 3: plane 'oblique' is none of native"),
        ({"slice_from": "-1"}, "line 3: slice_from '-1' is not a whole number"),
        ({"slice_to": "2.5"}, "line 3: slice_to '2.5' is not a whole number"),
        ({"slice_from": "4", "slice_to": "4"}, "line 3: slice_to must be larger"),
    ],
)
def test_a_mistake_in_a_row_is_refused_with_its_line(
    png_manifest: MakeManifest, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(Refusal) as refused:
        png_manifest(3, lambda rows: rows[1].update(change))
    assert refused.value.code == "DATA_MANIFEST"
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("sample,group,", "sample,cluster,", "line 1: column group is missing"),
        ("site", "split", "line 1: a column name stands twice"),
        ("s1,g0", "s1,g0,g0", "line 3: it has not as many fields"),
        (",test,here\n", "\n", "it has not as many fields"),
        ("s1,", '"s1,', "manifest.csv"),
    ],
)
def test_a_damaged_table_is_refused(png_manifest: MakeManifest, old: str, new: str, said: str) -> None:
    path = png_manifest(9)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(Refusal) as refused:
        Manifest.read(path)
    assert refused.value.code == "DATA_MANIFEST"
    assert said in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["low"]},
        {"classes": ["low", "low", "high"]},
        {"classes": None},
        {"task": "regression"},
        {"sha256": []},
        {"sha256": {"0.png": 3}},
        {"surprise": 1},
    ],
)
def test_a_wrong_manifest_json_is_refused(png_manifest: MakeManifest, change: dict[str, Any]) -> None:
    path = png_manifest(3)
    about = path.with_suffix(".json")
    about.write_text(json.dumps(json.loads(about.read_text()) | change))
    with pytest.raises(Refusal) as refused:
        Manifest.read(path)
    assert refused.value.code == "DATA_MANIFEST"


@pytest.mark.parametrize("name", ["manifest.csv", "manifest.json"])
def test_a_missing_file_is_refused(png_manifest: MakeManifest, name: str) -> None:
    path = png_manifest(3)
    (path.parent / name).unlink()
    with pytest.raises(Refusal) as refused:
        Manifest.read(path)
    assert refused.value.code == "DATA_MANIFEST"


def test_an_empty_table_is_refused(png_manifest: MakeManifest) -> None:
    path = png_manifest(3)
    path.write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(Refusal, match="no rows"):
        Manifest.read(path)


def test_ungrouped_rows_need_a_recorded_waiver_and_stand_each_for_itself(png_manifest: MakeManifest) -> None:
    def ungroup(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row.update(group_kind="none", group="")

    manifest = Manifest.read(png_manifest(3, ungroup, group_waiver="phantoms, made one by one"))
    assert manifest.group_waiver == "phantoms, made one by one"
    assert [row.group for row in manifest.rows] == ["s0", "s1", "s2"]


def test_a_file_that_is_not_the_listed_one_is_refused(png_manifest: MakeManifest) -> None:
    folder = png_manifest(3).parent
    right = {"1.png": hashlib.sha256((folder / "1.png").read_bytes()).hexdigest()}
    Manifest.read(png_manifest(3, sha256=right))
    with pytest.raises(Refusal, match=r"line 3: '1.png' is not the file that was listed"):
        png_manifest(3, sha256={"1.png": "0" * 64})
    with pytest.raises(Refusal, match=r"is a folder"):
        png_manifest(3, lambda rows: rows[1].update(path="."), sha256={".": "0" * 64})


def test_a_folder_is_no_manifest() -> None:
    with pytest.raises(Refusal) as refused:
        Manifest.read(".")
    assert refused.value.code == "DATA_MANIFEST"


def test_the_hash_changes_with_the_table_and_with_the_classes(png_manifest: MakeManifest) -> None:
    first = Manifest.read(png_manifest(6)).sha256
    assert Manifest.read(png_manifest(6)).sha256 == first
    assert Manifest.read(png_manifest(6, units="HU")).sha256 != first
    assert Manifest.read(png_manifest(6, lambda rows: rows[5].update(site="there"))).sha256 != first
