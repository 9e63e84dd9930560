"""Every mistake of a manifest is named at once, and what is right is kept as it is."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from medimg_training.datasets.manifest import Manifest, write_manifest
from medimg_training.datasets.problems import RowsRefusal, write_problems
from MedImgClassifierLib.engine.errors import Refusal

MakeManifest = Callable[..., Path]


def problems(make: Callable[[], object]) -> list[tuple[int, str, str]]:
    with pytest.raises(RowsRefusal) as refused:
        make()
    assert refused.value.code == "DATA_MANIFEST"
    return [(one.line, one.column, one.reason) for one in refused.value.problems]


def test_typed_columns_are_read_and_others_stay_covariates(png_manifest: MakeManifest) -> None:
    known = {"study": "st", "series_uid": "se", "site": "si", "scanner": "GE X", "acquired": "2024-03-31", "fold": 2}
    row = Manifest.read(png_manifest(3, lambda rows: rows[1].update(known | {"modality": "CT"}))).rows[1]
    assert (row.study, row.series_uid, row.site, row.scanner) == ("st", "se", "si", "GE X")
    assert (row.acquired, row.fold) == (date(2024, 3, 31), 2)
    assert row.covariates == {"modality": "CT"}


@pytest.mark.parametrize(
    ("change", "column", "said"),
    [
        ({"acquired": "31.03.2024"}, "acquired", "acquired '31.03.2024' is not a date like 2024-03-31"),
        ({"acquired": "2024-02-30"}, "acquired", "is not a date"),
        ({"acquired": "20240331"}, "acquired", "is not a date"),
        ({"fold": "-1"}, "fold", "fold '-1' is not a whole number"),
        ({"label": "middle "}, "label", "label 'middle ' begins or ends with a space"),
        ({"label": "\u00a0middle"}, "label", "begins or ends with a space"),
        ({"label": "Middle"}, "label", "label 'Middle' is written differently from class 'middle'"),
        ({"label": "  "}, "label", "begins or ends with a space"),
    ],
)
def test_a_wrong_value_is_named_with_line_and_column(
    png_manifest: MakeManifest, change: dict[str, Any], column: str, said: str
) -> None:
    ((line, where, reason),) = problems(lambda: png_manifest(6, lambda rows: rows[1].update(change)))
    assert (line, where) == (3, column)
    assert said in reason


def test_all_problems_come_with_the_refusal_and_into_a_table(png_manifest: MakeManifest, tmp_path: Path) -> None:
    def spoil(rows: list[dict[str, Any]]) -> None:
        rows[1].update(label="middle ", fold="x")
        rows[4].update(path="nowhere.png")
        rows[7].update(sample="s0")

    with pytest.raises(RowsRefusal) as refused:
        png_manifest(9, spoil)
    assert "line 3: label 'middle '" in str(refused.value)
    assert "3 rows have problems" in str(refused.value)
    assert [(one.line, one.sample, one.column) for one in refused.value.problems] == [
        (3, "s1", "label"),
        (3, "s1", "fold"),
        (6, "s4", "path"),
        (9, "s0", "sample"),
    ]
    assert write_problems(tmp_path / "new" / "problems.csv", refused.value)
    with (tmp_path / "new" / "problems.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [row["line"] for row in written] == ["3", "3", "6", "9"]
    assert written[2] == {"line": "6", "sample": "s4", "column": "path", "reason": "'nowhere.png' does not exist"}
    assert not write_problems(tmp_path / "none.csv", Refusal("CANCELLED"))
    assert not (tmp_path / "none.csv").exists()


@pytest.mark.parametrize(
    ("first", "second", "column", "said"),
    [
        ({}, {"label": "low"}, "path", "the same file and slices stand already in line 2"),
        ({}, {"label": "middle"}, "label", "it is labelled 'middle', the same image in line 2 'low'"),
        (
            {"slice_to": 4},
            {"label": "low", "slice_from": 3},
            "slice_from",
            "some of its slices stand already in line 2",
        ),
        ({"slice_from": 3}, {"label": "middle", "slice_to": 4}, "label", "it is labelled 'middle'"),
        ({}, {"label": "low", "path": "../data/0.png"}, "path", "the same file and slices"),
        ({"label": ""}, {"label": "low"}, "path", "the same file and slices"),
    ],
)
def test_the_same_slices_twice_are_found(
    png_manifest: MakeManifest, first: dict[str, Any], second: dict[str, Any], column: str, said: str
) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0].update(first)
        rows[4].update({"path": "0.png", **second})

    ((line, where, reason),) = problems(lambda: png_manifest(9, change))
    assert (line, where) == (6, column)
    assert said in reason


def test_other_slices_and_planes_of_one_file_are_right(png_manifest: MakeManifest) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        rows[0].update(slice_from=0, slice_to=4, plane="axial")
        rows[4].update(path="0.png", slice_from=4, plane="axial")
        rows[5].update(path="0.png", plane="sagittal")

    assert len(Manifest.read(png_manifest(9, change)).rows) == 9


def test_a_long_range_is_compared_beyond_its_neighbour(png_manifest: MakeManifest) -> None:
    def change(rows: list[dict[str, Any]]) -> None:
        for row, first, stop in zip(rows[:3], (0, 2, 6), (9, 3, 8), strict=True):
            row.update(path="0.png", label="low", slice_from=first, slice_to=stop)

    assert [line for line, _, _ in problems(lambda: png_manifest(9, change))] == [3, 4]


def test_a_class_without_a_row_and_a_group_of_two_kinds_are_found(png_manifest: MakeManifest) -> None:
    def no_high(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row.update(label=row["label"].replace("high", "low"))

    assert problems(lambda: png_manifest(6, no_high)) == [(0, "label", "class 'high' has no row")]
    found = problems(lambda: png_manifest(6, lambda rows: rows[1].update(group_kind="patient")))
    said = "group 'g0' is of kind 'patient' here and of kind 'cluster' in line 2"
    assert found == [(3, "group_kind", said)]


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"classes": ["low", "middle", "high "]}, "class 'high ' begins or ends with a space"),
        ({"classes": ["low", "middle", "Low"]}, "classes 'low' and 'Low' differ only in case or spaces"),
        ({"task": "binary"}, "task 'binary' has two classes, not 3"),
    ],
)
def test_classes_that_a_reader_would_take_for_one_are_refused(
    png_manifest: MakeManifest, about: dict[str, Any], said: str
) -> None:
    path = png_manifest(6)
    file = path.with_suffix(".json")
    file.write_text(json.dumps(json.loads(file.read_text()) | about))
    with pytest.raises(Refusal, match=said):
        Manifest.read(path)


def test_an_ordinal_task_keeps_the_order_of_its_classes(png_manifest: MakeManifest) -> None:
    manifest = Manifest.read(png_manifest(6, task="ordinal"))
    assert (manifest.task, manifest.classes) == ("ordinal", ("low", "middle", "high"))


def test_lines_are_counted_as_an_editor_does_and_damaged_ones_do_not_hide_others(png_manifest: MakeManifest) -> None:
    path = png_manifest(6, lambda rows: rows[0].update(site="two\nlines"))
    lines = path.read_text().splitlines()
    lines[3] += ",more"
    lines[6] = lines[6].replace("middle", "tall").replace("low", "tall").replace("high", "tall")
    path.write_text("\n".join(lines) + "\n")
    assert [line for line, _, _ in problems(lambda: Manifest.read(path))] == [4, 7]


def test_nothing_is_written_where_a_row_is_wrong_and_what_was_there_stays(png_manifest: MakeManifest) -> None:
    path = png_manifest(6)
    before = path.read_bytes()
    problems(lambda: png_manifest(6, lambda rows: rows[0].update(label="tall")))
    assert path.read_bytes() == before
    row = {"sample": "s", "group": "g", "group_kind": "patient", "path": "0.png", "label": "x"}
    with pytest.raises(Refusal):
        write_manifest(path.parent / "new", [row], ["low", "high"])
    assert not (path.parent / "new").exists()
    assert not list(path.parent.glob("*.part"))


def test_a_write_that_fails_leaves_no_table_that_fits_another_json(
    png_manifest: MakeManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    from medimg_training import durable

    path = png_manifest(6)
    replace = durable.os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).name == "manifest.csv":
            raise OSError("disk full")
        replace(source, target)

    monkeypatch.setattr(durable.os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        png_manifest(6, task="ordinal")
    assert not path.exists()
    assert not list(path.parent.glob("*.part"))
