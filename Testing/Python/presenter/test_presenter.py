"""What is shown and enabled when, and in which words: the presenter alone, no toolkit, no scene."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from MedImgClassifierLib import presenter
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.result import Classification, Finding, KeySlice, Label, SliceResults
from MedImgClassifierLib.presenter import Input, Review, Shown, Situation, Work

ROOT = Path(__file__).resolve().parents[3]


def classification(**changes: Any) -> Classification:
    """HeadCT leads in 3 of 4 slices, with 0.7, 0.8 and 0.97."""
    probabilities = np.array([[0.7, 0.3], [0.8, 0.2], [0.97, 0.03], [0.1, 0.9]])
    slices = SliceResults(
        centre_lps=np.array([[0.0, 0.0, 5.0 * k] for k in range(4)]),
        normal_lps=np.tile([0.0, 0.0, 1.0], (4, 1)),
        native_k=(0, 1, 2, 3),
        logits=np.log(probabilities),
        probabilities=probabilities,
        instance_numbers=(11, 12, 13, 14),
    )
    facts: dict[str, Any] = {
        "labels": (Label("HeadCT"), Label("ChestCT")),
        "slices": slices,
        "evidence": None,
        "findings": (),
        "key_slices": (KeySlice(2, 0, "most_probable"),),
        "calibrated": False,
        "bundle": {"id": "x", "version": "1.0.0"},
    }
    return Classification(**(facts | changes))


READY = Situation(models=("a", "b"), model="a", inputs=(Input("image", "CT"),))


def view_of(shown: Shown | None = None, **changes: Any) -> presenter.View:
    return presenter.present(replace(READY, result=shown, **changes))


def test_presenting_needs_no_toolkit_and_nothing_heavy() -> None:
    code = (
        "import sys; import MedImgClassifierLib.presenter as p; p.present(p.Situation());"
        "print(*sorted({n.split('.')[0] for n in sys.modules} & {'numpy', 'qt', 'slicer', 'vtk', 'PySide6', 'torch'}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "MedImgClassifier", timeout=60
    )
    # where slicer-core is installed, looking for Slicer's translations loads it
    assert set(done.stdout.split()) <= {"slicer", "vtk", "numpy"} and done.returncode == 0, done.stderr


# --- the button


@pytest.mark.parametrize(
    ("situation", "said"),
    [
        (Situation(), "No model is installed"),
        (replace(READY, model="c"), "Choose a model"),
        (replace(READY, unusable="not readable: no JSON"), "cannot be used: not readable: no JSON"),
        (replace(READY, inputs=(Input("image"),)), "Choose an input volume."),
        (replace(READY, inputs=(Input("image", "CT", "no voxels"),)), "holds no voxels"),
        (replace(READY, inputs=(Input("image", "CT", "evidence"),)), "is the evidence of a result"),
        (replace(READY, inputs=(Input("T1", "a"), Input("T2"))), "T2: Choose an input volume."),
        (replace(READY, inputs=(Input("T1", "a"), Input("T2", "a", "chosen twice"))), "T2: This volume is chosen for"),
        (replace(READY, restriction="The segmentation has no segment."), "has no segment"),
    ],
)
def test_classify_says_what_it_waits_for(situation: Situation, said: str) -> None:
    button = presenter.present(situation).classify
    assert not button.enabled
    assert said in button.tip


def test_classify_is_ready_when_nothing_is_missing() -> None:
    button = view_of().classify
    assert button.enabled
    assert button.text == "Classify"


def test_classify_cancels_while_something_is_under_way() -> None:
    view = view_of(work=Work("classify", 0.5))
    assert view.classify.enabled and view.classify.text == "Cancel"
    assert view.locked


def test_cancel_can_be_pressed_once() -> None:
    view = view_of(work=Work("classify", 0.5, 10, cancelling=True))
    assert not view.classify.enabled
    assert view.progress is not None and view.progress.text == "Canceling"


@pytest.mark.parametrize("stage", ["copy", "hand over", "start", "read", "load", "prepare", "classify", "show"])
def test_every_stage_has_words(stage: str) -> None:
    progress = view_of(work=Work(stage)).progress
    assert progress is not None and progress.text not in ("", stage)


@pytest.mark.parametrize(("seconds", "said"), [(0.2, "1 s left"), (12.4, "12 s left"), (200, "3 min left")])
def test_progress_says_how_long_it_takes(seconds: float, said: str) -> None:
    view = view_of(work=Work("classify", 0.25, seconds))
    assert view.percent == 25
    assert view.progress is not None and view.progress.text == f"Classifying, {said}"


def test_work_without_a_fraction_has_no_percentage() -> None:
    assert view_of(work=Work("install")).percent is None


def test_nothing_can_be_changed_while_something_is_under_way() -> None:
    view = view_of(Shown(classification()), work=Work("classify", 0.5))
    assert not (view.export.enabled or view.remove.enabled or view.review.enabled)


def test_refusal_is_said_in_the_language_that_is_asked_for() -> None:
    refusal = Refusal("RESOURCE_WORKER_DIED", reason="-9")
    situation = replace(READY, refusal=refusal)
    assert presenter.present(situation).message.tone == "error"
    assert presenter.present(situation, "zh").message.text == refusal.message("zh")


def test_what_was_declined_is_no_error() -> None:
    message = presenter.present(replace(READY, refusal=Refusal("CANCELLED_INSTALL_DECLINED"))).message
    assert message.tone == "warn"
    assert "error[" not in message.text and message.text


# --- the answer


def test_without_a_result_nothing_can_be_done_with_it() -> None:
    view = view_of()
    assert view.answer.text == "No result yet."
    assert not view.has_results
    assert not any(
        button.enabled
        for button in (view.export, view.remove, view.review, view.evidence, view.segmentation, view.key_slices)
    )


def test_no_chosen_result_is_not_called_no_result() -> None:
    assert view_of(results=2).answer.text == "No result is chosen."


def test_answer_counts_slices_and_says_how_sure_and_that_it_is_uncalibrated() -> None:
    answer = view_of(Shown(classification())).answer
    assert answer.text == "HeadCT in 3 of 4 slices (uncalibrated), median 80 %"
    assert answer.tone == "strong"
    assert "no probability for the whole volume" in answer.tip


def test_no_class_is_named_where_a_finding_refuses() -> None:
    refused = classification(findings=(Finding("X", "refuse", "this is a PET"),))
    view = view_of(Shown(refused, row=1))
    assert view.answer.text == "no class: this is a PET"
    assert view.answer.tone == "error"
    assert "HeadCT" not in "".join(str(part) for part in (view.current, view.findings, view.answer))
    assert not view.key_slices.enabled
    assert presenter.slice_text(Shown(refused), 1, True) == ""


def test_result_without_its_record_can_only_be_removed() -> None:
    view = view_of(Shown(None))
    assert "record of this result is missing" in view.answer.text
    assert view.remove.enabled and not view.export.enabled and not view.review.enabled


def test_warnings_come_before_notes_and_are_called_so() -> None:
    findings = (Finding("A", "info", "compare, do not trust"), Finding("B", "warn", "slices differ"))
    lines = view_of(Shown(classification(findings=findings))).findings
    assert [line.text for line in lines] == ["Warning: slices differ", "compare, do not trust"]
    assert "Look at the images yourself" in lines[0].tip and lines[1].tip == ""


def test_restriction_of_the_result_is_said() -> None:
    limited = classification(provenance={"restriction": {"kind": "roi", "name": "R", "first": 10, "last": 13}})
    assert "Only slices 10 to 13, which 'R' meets, were classified." in [
        line.text for line in view_of(Shown(limited)).findings
    ]


# --- whose and how old


def test_patient_study_and_series_of_the_classified_volume_are_shown() -> None:
    identity = {"patient": "Doe", "study": "2024", "series": "head", "name": "head"}
    line = view_of(Shown(classification(), identity=identity)).identity
    assert line.text == "Doe · 2024 · head"
    assert line.tone == "faint"


def test_it_is_said_that_the_views_show_something_else() -> None:
    line = view_of(Shown(classification(), identity={"name": "head"}, elsewhere=True)).identity
    assert line.text == "head (not in the slice views)"
    assert line.tone == "warn"


@pytest.mark.parametrize("reason", ["voxels", "geometry", "transform", "bundle", "input removed", "unbound"])
def test_out_of_date_is_said_with_its_reason_and_the_answer_steps_back(reason: str) -> None:
    view = view_of(Shown(classification(), out_of_date=(reason,), row=2, evidence_labels=("HeadCT",)))
    assert view.freshness.text.startswith("OUT OF DATE: ") and reason not in ("",)
    assert view.freshness.tone == "warn"
    assert view.answer.tone == "faint"
    assert "OUT OF DATE" in view.current.text
    assert not view.segmentation.enabled


def test_reasons_have_words_of_their_own() -> None:
    texts = {
        view_of(Shown(classification(), out_of_date=(reason,))).freshness.text
        for reason in ("voxels", "geometry", "transform", "bundle", "input removed", "unbound")
    }
    assert len(texts) == 6


def test_checking_is_said_quietly() -> None:
    view = view_of(Shown(classification(), checking=True))
    assert view.freshness.tone == "faint" and "Checking" in view.freshness.text


def test_nothing_is_told_for_certain_or_given_away_before_it_is_known_to_be_true() -> None:
    shown = Shown(classification(), checking=True, evidence_labels=("HeadCT",), evidence_label="HeadCT")
    view = view_of(shown)
    assert view.answer.tone == "faint"
    assert not view.export.enabled and not view.segmentation.enabled
    assert presenter.slice_text(shown, 2, True).startswith("checking: HeadCT 97 %")


# --- slices


def test_slice_is_named_by_its_instance_number_and_position() -> None:
    line = presenter.slice_name(classification().slices, 2)
    assert line.text == "image 13, S 10.0 mm"
    assert line.tip == "K = 2, counted from 0"


def test_slice_without_instance_number_is_named_by_k() -> None:
    slices = replace(classification().slices, instance_numbers=())
    assert presenter.slice_name(slices, 2).text == "slice 2, S 10.0 mm"


def test_resampled_slice_is_named_as_such() -> None:
    slices = replace(classification().slices, native_k=None, instance_numbers=())
    assert "resampled" in presenter.slice_name(slices, 2).tip


def test_key_slice_says_why_it_is_one() -> None:
    assert "key slice: most probable" in view_of(Shown(classification(), row=2)).current.text
    assert "key slice" not in view_of(Shown(classification(), row=2, exact=False)).current.text


def test_legend_has_the_classes_that_are_seen_in_the_plot() -> None:
    some = classification()
    some.slices.probabilities[:] = [0.96, 0.04]
    assert view_of(Shown(some)).legend == ((0, "HeadCT"),)
    assert view_of(Shown(classification())).legend == ((0, "HeadCT"), (1, "ChestCT"))


def test_current_slice_is_named_with_its_own_answer() -> None:
    line = view_of(Shown(classification(), row=3)).current
    assert line.text == "image 14, S 15.0 mm: ChestCT 90 % (uncalibrated)"


def test_slice_beside_the_view_is_called_the_nearest() -> None:
    assert presenter.slice_text(Shown(classification()), 2, False).startswith("nearest slice HeadCT 97 %")


def test_calibrated_probability_is_not_called_uncalibrated() -> None:
    assert presenter.slice_text(Shown(classification(calibrated=True)), 0, True) == "HeadCT 70 %"


def test_no_probability_is_rounded_to_certainty() -> None:
    certain = classification()
    certain.slices.probabilities[0] = [0.9999, 0.0001]
    assert presenter.slice_text(Shown(certain), 0, True).startswith("HeadCT >99 %")


# --- evidence and review


def test_class_for_which_nothing_speaks_is_said_and_gives_no_segment() -> None:
    shown = Shown(classification(), evidence_labels=("HeadCT", "ChestCT"), evidence_label="ChestCT", speaks=False)
    view = view_of(shown)
    assert view.evidence.enabled and not view.segmentation.enabled
    assert view.evidence_note.text == "Nothing in this volume speaks for ChestCT."


def test_segment_can_be_made_of_evidence() -> None:
    assert view_of(Shown(classification(), evidence_labels=("HeadCT",), evidence_label="HeadCT")).segmentation.enabled


def test_review_needs_the_volume() -> None:
    button = view_of(Shown(classification(), has_volume=False)).review
    assert not button.enabled and "volume is gone" in button.tip


def test_review_says_when_it_was_saved_and_whether_on_another_result() -> None:
    review = Review("agree", time="2026-01-02T03:04:05Z")
    assert view_of(Shown(classification(), review=review)).review_note.text == "Saved 2026-01-02T03:04:05Z"
    line = view_of(Shown(classification(), review=replace(review, earlier=True))).review_note
    assert "earlier result" in line.text and line.tone == "warn"
