"""What the page is given to show: numbers and texts of a view, a plot, a table."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from MedImgClassifierLib import presenter
from MedImgClassifierLib.engine.result import Classification, Finding, KeySlice, Label, SliceResults
from MedImgClassifierLib.presenter import Shown, Situation
from MedImgClassifierLib.viewer import page_state


def classification(probabilities: list[list[float]]) -> Classification:
    rows = np.array(probabilities)
    slices = SliceResults(
        centre_lps=np.array([[0.0, 0.0, 5.0 * k] for k in range(len(rows))]),
        normal_lps=np.tile([0.0, 0.0, 1.0], (len(rows), 1)),
        native_k=tuple(range(len(rows))),
        logits=rows,
        probabilities=rows,
    )
    return Classification(
        labels=tuple(Label(f"<b>{n}</b>") for n in range(rows.shape[1])),
        slices=slices,
        evidence=None,
        findings=(),
        key_slices=(KeySlice(1, 0, "most_probable"),),
        calibrated=False,
        bundle={"id": "x", "version": "1.0.0"},
    )


def plot(found: Classification | None) -> Any:
    view = presenter.present(Situation(result=Shown(found) if found else None))
    return page_state.plot_state(found, view, "en")


def test_view_is_plain_json() -> None:
    view = presenter.present(Situation())
    state = page_state.view_state(view)
    assert json.loads(json.dumps(state)) == {**state, "findings": [], "legend": []}
    assert state["classify"]["enabled"] is False and state["answer"]["text"] == view.answer.text


def test_line_goes_through_the_middle_of_each_row() -> None:
    lines = plot(classification([[0.8, 0.2], [1.0, 0.0], [0.5, 0.5], [0.25, 0.75]]))["lines"]
    assert lines[0]["path"] == "M125.00 20.0L375.00 0.0L625.00 50.0L875.00 75.0"
    assert lines[1]["path"] == "M125.00 80.0L375.00 100.0L625.00 50.0L875.00 25.0"


def test_single_slice_is_drawn_across() -> None:
    assert plot(classification([[0.8, 0.2]]))["lines"][0]["path"] == "M0 20.0H1000"


def test_key_slices_and_ends_are_told() -> None:
    state = plot(classification([[0.8, 0.2], [0.9, 0.1]]))
    assert state["keys"] == [750.0]
    assert state["first"].startswith("slice 0,") and state["last"].startswith("slice 1,")


def test_class_that_is_seen_nowhere_is_not_in_the_legend() -> None:
    assert [line["seen"] for line in plot(classification([[0.99, 0.01], [0.97, 0.03]]))["lines"]] == [True, False]


def test_names_are_kept_as_they_are() -> None:
    """The template writes them as text, so that markup of a bundle is none on the page."""
    assert plot(classification([[0.8, 0.2]]))["lines"][0]["name"] == "<b>0</b>"


def test_nothing_is_plotted_without_an_answer() -> None:
    refused = replace(classification([[0.8, 0.2]]), findings=(Finding("EMPTY_SLICES", "refuse", "", {}),))
    assert refused.refused
    assert plot(None) is None and plot(refused) is None


def test_table_keeps_types_titles_and_places() -> None:
    slicer = pytest.importorskip("slicer", reason="tables are nodes of a scene")
    from MedImgClassifierLib.scene.results import fillTable

    table = slicer.vtkMRMLTableNode()
    fillTable(table, classification([[0.8, 0.2], [0.1, 0.9]]))
    headers, rows = page_state.table_state(table)
    titles = {header["title"]: header["key"] for header in headers}
    assert [row["row"] for row in rows] == [0, 1]
    assert [row[titles["Slice"]] for row in rows] == [0, 1]
    assert [row[titles["Probability"]] for row in rows] == [0.8, 0.9]
    assert rows[1][titles["Label"]] == "<b>1</b>"
    assert {header["align"] for header in headers if header["title"] == "Label"} == {"start"}
    assert page_state.table_state(None) == ([], [])
