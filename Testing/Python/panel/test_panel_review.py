"""The reviewer's verdict, and the result saved as files."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def result(host: SimpleNamespace, volume: Any) -> SimpleNamespace:
    host.press()
    host.settled()
    return host


def review(host: SimpleNamespace, verdict: str, corrected: str = "", comment: str = "") -> None:
    getattr(host.ui, verdict + "Button").click()
    if corrected:
        host.ui.correctedClassSelector.setCurrentText(corrected)
    host.ui.commentEdit.plainText = comment
    host.ui.saveReviewButton.click()


def saved(host: SimpleNamespace) -> Any:
    return host.panel.panel.currentVerdict()


def test_review_waits_for_a_result_and_a_verdict(host: SimpleNamespace, volume: Any) -> None:
    assert not host.ui.reviewCollapsibleButton.enabled
    host.press()
    assert host.ui.reviewCollapsibleButton.enabled
    assert not host.ui.saveReviewButton.enabled
    host.ui.unsureButton.click()
    assert host.ui.saveReviewButton.enabled


def test_verdict_is_kept_with_class_and_comment(result: SimpleNamespace) -> None:
    review(result, "disagree", "ChestCT", "it is a chest")
    found = saved(result)
    assert (found.verdict, found.correctedClass, found.comment) == ("disagree", "ChestCT", "it is a chest")
    assert result.ui.reviewNoteLabel.text == f"Saved {found.time}"


def test_correct_class_is_asked_of_who_disagrees_only(result: SimpleNamespace) -> None:
    result.ui.agreeButton.click()
    assert result.ui.correctedClassSelector.isHidden()
    result.ui.disagreeButton.click()
    assert not result.ui.correctedClassSelector.isHidden()
    selector = result.ui.correctedClassSelector
    assert [selector.itemText(n) for n in range(selector.count)] == ["HeadCT", "ChestCT", "HandXR"]


def test_class_of_an_earlier_disagreement_does_not_go_with_agreement(result: SimpleNamespace) -> None:
    review(result, "disagree", "ChestCT")
    review(result, "agree")
    assert (saved(result).verdict, saved(result).correctedClass) == ("agree", "")


def test_correct_class_may_be_one_that_the_model_does_not_have(result: SimpleNamespace) -> None:
    review(result, "disagree", "FootXR")
    assert saved(result).correctedClass == "FootXR" and not saved(result).known


def test_review_survives_a_run_and_says_that_it_was_of_an_earlier_one(result: SimpleNamespace, volume: Any) -> None:
    import slicer

    review(result, "agree", comment="sure")
    slicer.util.arrayFromVolume(volume)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(volume)
    result.press()
    assert saved(result).verdict == "agree"
    assert result.ui.agreeButton.checked and result.ui.commentEdit.plainText == "sure"
    assert "earlier result" in result.ui.reviewNoteLabel.text


def test_review_survives_the_removal_of_the_result(result: SimpleNamespace) -> None:
    review(result, "unsure", comment="look again")
    result.ui.removeResultButton.click()
    assert result.ui.commentEdit.plainText == ""
    result.press()
    assert result.ui.commentEdit.plainText == "look again"


def test_words_being_written_are_not_overwritten(result: SimpleNamespace) -> None:
    result.ui.unsureButton.click()
    result.ui.commentEdit.plainText = "half a sen"
    result.panel.panel.refresh()
    assert result.ui.commentEdit.plainText == "half a sen"
    assert result.ui.unsureButton.checked


def test_leaving_and_entering_shows_the_saved_review(result: SimpleNamespace) -> None:
    review(result, "agree", comment="yes")
    result.panel.exit()
    result.panel.enter()
    assert result.ui.agreeButton.checked and result.ui.commentEdit.plainText == "yes"


def test_what_is_being_written_stays_with_its_result(result: SimpleNamespace, volume: Any) -> None:
    """The labels are the same and neither has a review: only the result itself differs."""
    import slicer

    first = result.panel.panel.table()
    other = slicer.mrmlScene.CopyNode(volume)
    other.SetName("another head")
    other.CreateDefaultDisplayNodes()
    result.ui.inputSelector.setCurrentNode(other)
    result.press()
    result.settled()
    second = result.panel.panel.table()
    assert second is not first
    result.ui.disagreeButton.click()
    result.ui.commentEdit.plainText = "written of the other head"
    result.ui.resultSelector.setCurrentNode(first)
    assert result.ui.commentEdit.plainText == "" and not result.ui.disagreeButton.checked
    assert not result.ui.saveReviewButton.enabled


# --- files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty one."""
    (tmp_path / "exports").mkdir()
    return tmp_path / "exports"


@pytest.fixture
def menu(result: SimpleNamespace) -> Any:
    return result.panel.panel.exports


def test_table_has_a_row_for_each_slice(menu: Any, folder: Path) -> None:
    menu.export("csv", folder / "r.csv")
    rows = list(csv.DictReader((folder / "r.csv").open(encoding="utf-8")))
    assert [row["k"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {row["label"] for row in rows} == {"HeadCT"}


def test_record_gives_the_classification_back(menu: Any, result: SimpleNamespace, folder: Path) -> None:
    from MedImgClassifierLib.engine.result import Classification

    menu.export("json", folder / "r.json")
    found = Classification.from_json(json.loads((folder / "r.json").read_text()))
    assert found.in_words() == "HeadCT in 5 of 5 slices (uncalibrated)"


def test_report_has_pictures_the_verdict_and_no_scripts(menu: Any, result: SimpleNamespace, folder: Path) -> None:
    review(result, "disagree", "ChestCT", "<script>alert(1)</script>")
    menu.export("html", folder / "r.html")
    text = (folder / "r.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," in text
    assert "ChestCT" in text and "<script>alert" not in text
    assert "HeadCT in 5 of 5 slices" in text


def test_report_of_a_changed_volume_says_so_and_shows_no_pictures_of_it(
    menu: Any, result: SimpleNamespace, volume: Any, folder: Path
) -> None:
    volume.SetOrigin(1.0, 0.0, 0.0)
    result.settled()
    menu.export("html", folder / "r.html")
    text = (folder / "r.html").read_text(encoding="utf-8")
    assert "data:image/png;base64," not in text
    assert "out of date" in text.lower()


def test_table_and_record_of_a_changed_volume_say_so(
    menu: Any, result: SimpleNamespace, volume: Any, folder: Path
) -> None:
    volume.SetOrigin(1.0, 0.0, 0.0)
    result.settled()
    menu.export("csv", folder / "r.csv")
    menu.export("json", folder / "r.json")
    rows = list(csv.DictReader((folder / "r.csv").open(encoding="utf-8")))
    assert all(row["notice"].startswith("OUT OF DATE (geometry changed since)") for row in rows)
    assert json.loads((folder / "r.json").read_text())["provenance"]["out_of_date"] == ["geometry"]


def test_folder_that_cannot_be_written_to_is_said(menu: Any, result: SimpleNamespace, folder: Path) -> None:
    menu.export("csv", folder / "missing" / "r.csv")
    assert "USAGE_FILE_NOT_WRITTEN" in result.ui.messageLabel.text
    assert list(folder.iterdir()) == []


def test_failed_export_leaves_the_file_that_was_there(menu: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from MedImgClassifierLib.engine import report

    (folder / "r.csv").write_text("mine")

    def fail(result: Any, path: Path) -> None:
        path.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "write_csv", fail)
    menu.export("csv", folder / "r.csv")
    assert (folder / "r.csv").read_text() == "mine"
    assert [file.name for file in folder.iterdir()] == ["r.csv"]
