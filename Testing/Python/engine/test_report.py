"""results.json and results.csv as files, and the table on the terminal."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from MedImgClassifierLib.engine.report import display_width, table, wrapped, write_csv, write_json
from MedImgClassifierLib.engine.result import (
    NOTICE,
    Classification,
    Evidence,
    Finding,
    KeySlice,
    Label,
    Placement,
    SliceResults,
)


def made(best: list[int], names: tuple[str, ...] = ("HeadCT", "BrainMR", "ChestCT")) -> Classification:
    """Slices 2.5 mm apart whose most probable label is given; the evidence of the last slice is all zero."""
    rows, count = len(best), len(names)
    rng = np.random.default_rng(3)
    probabilities = rng.uniform(0.01, 0.1, (rows, count))
    probabilities[range(rows), best] = 0
    probabilities[range(rows), best] = 1 - probabilities.sum(axis=1)
    maps = rng.uniform(0.1, 1, (rows, count, 2, 2)).astype(np.float32)
    maps[-1] = 0
    centres = np.stack([np.full(rows, 1 / 3), np.full(rows, -2 / 3), 2.5 * np.arange(rows) - 10 + 1e-7], axis=1)
    return Classification(
        labels=tuple(Label(name) for name in names),
        slices=SliceResults(
            centre_lps=centres,
            normal_lps=np.tile([0.0, 0.0, 1.0], (rows, 1)),
            native_k=tuple(range(rows)),
            logits=np.log(probabilities),
            probabilities=probabilities,
            instance_numbers=tuple(range(rows, 0, -1)),
            sop_instance_uids=tuple(f"1.2.{n}" for n in range(rows)),
        ),
        evidence=Evidence(
            maps, np.ones(count), Placement(centres, np.array([0.1, 0, 0]), np.array([0, 0.3, 0])), "closed_form"
        ),
        findings=(Finding("QUALITY_TILT", "warn", "sheared by 18.5 degrees"),),
        key_slices=(KeySlice(0, best[0], "most_probable"),),
        calibrated=False,
        bundle={"id": "body-region", "version": "1.0.0", "title": "Body region", "intended_use": "sorting series"},
    )


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_json_file_holds_the_document_with_one_line_per_slice(tmp_path: Path) -> None:
    classification = made([0] * 20 + [1])
    write_json(classification, tmp_path / "results.json")
    text = (tmp_path / "results.json").read_text("ascii")
    assert json.loads(text) == json.loads(json.dumps(classification.to_json()))
    assert sum('"sop_instance_uid"' in line for line in text.splitlines()) == 21


def test_a_number_that_json_cannot_hold_is_not_written(tmp_path: Path) -> None:
    classification = made([0, 1])
    classification.slices.logits[1, 2] = np.nan
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(classification, tmp_path / "results.json")
    assert list(tmp_path.iterdir()) == []


def test_the_csv_file_reads_back_to_the_same_numbers(tmp_path: Path) -> None:
    classification = made([0, 1, 2, 2])
    write_csv(classification, tmp_path / "results.csv")
    rows = rows_of(tmp_path / "results.csv")
    slices, evidence = classification.slices, classification.evidence
    assert evidence is not None
    assert [int(row["k"]) for row in rows] == [0, 1, 2, 3]
    assert [int(row["instance_number"]) for row in rows] == [4, 3, 2, 1]
    assert [row["sop_instance_uid"] for row in rows] == list(slices.sop_instance_uids)
    assert [row["label"] for row in rows] == ["HeadCT", "BrainMR", "ChestCT", "ChestCT"]
    for n, row in enumerate(rows):
        assert float(row["position_mm"]) == slices.centre_lps[n, 2]
        assert [float(row[f"{axis}_lps_mm"]) for axis in "xyz"] == slices.centre_lps[n].tolist()
        assert [float(row[f"p_{label.name}"]) for label in classification.labels] == slices.probabilities[n].tolist()
        assert float(row["probability"]) == slices.probabilities[n].max()
        peak = evidence.peak_lps(n, int(slices.best[n]))
        cells = [row[f"evidence_{axis}_lps_mm"] for axis in "xyz"]
        assert cells == ["", "", ""] if peak is None else [float(cell) for cell in cells] == peak.tolist()
        assert row["calibrated"] == "no"
        assert row["bundle"] == "body-region 1.0.0"
        assert NOTICE in row["notice"]
        assert "sorting series" in row["notice"]
    assert rows[-1]["evidence_x_lps_mm"] == ""  # its evidence is all zero


def test_what_is_unknown_is_an_empty_cell(tmp_path: Path) -> None:
    classification = made([0, 1])
    slices = replace(classification.slices, native_k=None, instance_numbers=(), sop_instance_uids=())
    refusal = Finding("QUALITY_LOCALIZER", "refuse", "a localizer")
    write_csv(replace(classification, slices=slices, evidence=None, findings=(refusal,)), tmp_path / "results.csv")
    for row in rows_of(tmp_path / "results.csv"):
        unknown = ("k", "instance_number", "sop_instance_uid", "label", "probability", "evidence_x_lps_mm")
        assert [row[name] for name in unknown] == [""] * 6


@pytest.mark.parametrize(
    "name", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\tx", "\r=1", "\n=1", " =1"], ids=lambda name: repr(name)
)
def test_a_spreadsheet_finds_no_formula_in_the_csv(tmp_path: Path, name: str) -> None:
    classification = made([1, 0], ("HeadCT", name))
    classification = replace(classification, slices=replace(classification.slices, sop_instance_uids=("=1+1", "1.2")))
    write_csv(classification, tmp_path / "results.csv")
    rows = rows_of(tmp_path / "results.csv")
    assert rows[0]["label"] == f"'{name}"
    assert rows[1]["label"] == "HeadCT"
    assert rows[0]["sop_instance_uid"] == "'=1+1"
    for cell in (*rows[0], *rows[0].values()):
        numeric = cell.replace(".", "").replace("e", "").replace("-", "").isdigit()
        assert numeric or not cell.strip().startswith(("=", "+", "-", "@"))


def test_separators_quotes_and_line_breaks_in_a_label_stay_in_their_cell(tmp_path: Path) -> None:
    name = 'a,"b"\nc;胸部'
    write_csv(made([1, 0], ("HeadCT", name)), tmp_path / "results.csv")
    rows = rows_of(tmp_path / "results.csv")
    assert len(rows) == 2
    assert rows[0]["label"] == name
    assert f"p_{name}" in rows[0]


def test_the_table_merges_runs_and_ends_with_answer_findings_and_notice() -> None:
    classification = made([0, 0, 0, 1, 0])
    p = classification.slices.probabilities
    lines = table(classification).splitlines()
    assert [line.split()[0] for line in lines[1:4]] == ["0-2", "3", "4"]
    assert lines[1].split() == [
        *("0-2", "5-3", "I", "10.0", "mm", "to", "I", "5.0", "mm", "HeadCT"),
        *(f"{p[:3, 0].min():.3f}", f"{np.median(p[:3, 0]):.3f}"),
    ]
    assert lines[4:] == [
        "",
        "answer: HeadCT in 4 of 5 slices (uncalibrated)",
        "warning[QUALITY_TILT]: sheared by 18.5 degrees",
        "intended use: sorting series",
        NOTICE,
    ]


def test_the_table_of_a_refused_case_names_no_class() -> None:
    refused = replace(made([0, 0]), findings=(Finding("QUALITY_LOCALIZER", "refuse", "a localizer"),))
    assert "HeadCT" not in table(refused)
    assert "no class: a localizer" in table(refused)


@pytest.mark.parametrize("name", ["a very long label " * 12, "胸部计算机断层扫描" * 12, "x" * 300])
def test_the_table_fits_100_columns_and_stays_aligned(name: str) -> None:
    classification = made([0, 1] * 150, ("HeadCT", name))
    classification = replace(classification, findings=(Finding("QUALITY_X", "warn", name * 3),))
    lines = table(classification).splitlines()
    assert max(display_width(line) for line in lines) <= 100
    starts = {display_width(line[: line.rindex(" ")]) for line in lines[1:5]}
    assert len(starts) == 1  # the last column begins at the same place
    assert "260 further runs" in table(classification)


def test_a_label_cannot_steer_the_terminal() -> None:
    classification = made([1, 1], ("HeadCT", "\x1b[2J\x07evil\u202e"))
    text = table(replace(classification, findings=(Finding("QUALITY_X", "info", "a\rb\x1b[0m"),)))
    assert all(c.isprintable() or c == "\n" for c in text)
    assert "evil" in text


def test_wrapping_loses_no_text() -> None:
    text = "one two " + "胸" * 90 + " three"
    assert "".join(wrapped(text, 20)).replace(" ", "") == text.replace(" ", "")
    assert max(display_width(line) for line in wrapped(text, 20)) <= 20
