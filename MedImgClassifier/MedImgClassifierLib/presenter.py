"""What a face shows and enables, and in which words: a function of the situation, without a toolkit.

A face gathers a `Situation` from its scene, `present` answers with a `View`, and the face puts that on its widgets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .translation import _

if TYPE_CHECKING:
    from .engine.errors import Refusal
    from .engine.result import Classification, SliceResults

Tone = Literal["plain", "strong", "faint", "warn", "error"]


@dataclass(frozen=True)
class Input:
    """A channel of the model and what is chosen for it. name: of the volume, '' where none is chosen."""

    channel: str
    name: str = ""
    problem: Literal["", "no voxels", "evidence", "chosen twice"] = ""


@dataclass(frozen=True)
class Work:
    """What is under way. stage: of scene.classification_job or 'install'; fraction: 0..1, None if unknown."""

    stage: str
    fraction: float | None = None
    seconds_left: float | None = None
    cancelling: bool = False
    detail: str = ""


@dataclass(frozen=True)
class Review:
    """A reviewer's verdict on a result. earlier: it was given on an answer that has been replaced since."""

    verdict: Literal["agree", "disagree", "unsure"]
    corrected: str = ""
    comment: str = ""
    time: str = ""
    earlier: bool = False


@dataclass(frozen=True)
class Shown:
    """A result in the scene.

    classification: None where its record is missing; out_of_date: what changed since ('voxels', 'geometry',
    'transform', 'bundle', 'input removed', 'unbound'), () for nothing; checking: whether that is still being found out;
    identity: patient, study, series and name of the volume; elsewhere: no view shows the volume; row: of the slice in
    the views, None where they show none; exact: whether the view lies on that slice; speaks: whether anything in the
    case speaks for the class of which evidence is shown; has_volume: it is still in the scene.
    """

    classification: Classification | None
    out_of_date: tuple[str, ...] = ()
    checking: bool = False
    identity: Mapping[str, str] = field(default_factory=dict)
    elsewhere: bool = False
    row: int | None = None
    exact: bool = True
    evidence_labels: tuple[str, ...] = ()
    evidence_label: str = ""
    speaks: bool = True
    review: Review | None = None
    has_volume: bool = True


@dataclass(frozen=True)
class Situation:
    """All that decides what is shown. models: names of those installed; unusable: why the chosen one is;
    restriction: why the slices that it asks for cannot be had, '' where they can; results: how many the scene has."""

    models: tuple[str, ...] = ()
    model: str = ""
    unusable: str = ""
    inputs: tuple[Input, ...] = ()
    restriction: str = ""
    work: Work | None = None
    refusal: Refusal | None = None
    results: int = 0
    result: Shown | None = None


@dataclass(frozen=True)
class Line:
    """A text and how loud it is said. tip: more, for whoever points at it."""

    text: str = ""
    tone: Tone = "plain"
    tip: str = ""


@dataclass(frozen=True)
class Button:
    enabled: bool
    text: str = ""
    tip: str = ""


@dataclass(frozen=True)
class View:
    """What stands on the face. Empty lines take no place."""

    classify: Button
    locked: bool
    """Inputs and result cannot be changed: something is under way."""
    progress: Line | None
    percent: int | None
    message: Line
    identity: Line
    freshness: Line
    answer: Line
    findings: tuple[Line, ...]
    current: Line
    legend: tuple[tuple[int, str], ...]
    """Of the plot: number and name of each class that is seen in it."""
    key_slices: Button
    has_results: bool
    """One can be chosen."""
    evidence: Button
    evidence_note: Line
    segmentation: Button
    review: Button
    review_note: Line
    runtime: Line
    export: Button
    remove: Button


def present(situation: Situation, language: str = "en") -> View:
    """The view of a situation. language: of the engine's messages, 'en' or 'zh'."""
    shown = situation.result
    classification = shown.classification if shown else None
    locked = situation.work is not None
    named = classification is not None and not classification.refused
    settled = classification is not None and not locked and not (shown and shown.checking)
    return View(
        classify=_classify(situation),
        locked=locked,
        progress=_progress(situation.work),
        percent=_percent(situation.work),
        message=_message(situation.refusal, language),
        identity=_identity(shown),
        freshness=_freshness(shown),
        answer=_answer(shown, situation.results, language),
        findings=_findings(classification, language),
        current=_current(shown, language),
        legend=_legend(classification),
        key_slices=Button(bool(named and classification and classification.key_slices)),
        has_results=situation.results > 0,
        evidence=Button(bool(shown and shown.evidence_labels)),
        evidence_note=_evidence_note(shown),
        segmentation=_segmentation(shown),
        review=_review_form(shown, locked),
        review_note=_review_note(shown),
        runtime=_runtime(classification),
        export=Button(settled),
        remove=Button(shown is not None and not locked),
    )


def slice_name(slices: SliceResults, row: int, language: str = "en") -> Line:
    """A slice as its reader knows it, 'image 34, S 45.2 mm'; the tip has K, which no other program shows."""
    position = slices.position_in_words(row, language)
    k = slices.native_k[row] if slices.native_k else row
    if slices.instance_numbers:
        text = _("image {number}, {position}").format(number=slices.instance_numbers[row], position=position)
    else:
        text = _("slice {k}, {position}").format(k=k, position=position)
    if slices.native_k is None:
        return Line(text, tip=_("Slice {row} of those resampled for the model").format(row=row))
    return Line(text, tip=_("K = {k}, counted from 0").format(k=k))


def slice_text(shown: Shown, row: int, exact: bool) -> str:
    """What stands at the edge of a slice view: the class of that slice and how sure the model is; '' for no result."""
    classification = shown.classification
    if classification is None or classification.refused:
        return ""
    slices = classification.slices
    best = int(slices.best[row])
    text = _("{label} {percent} %").format(
        label=classification.labels[best].name, percent=_percents(slices.probabilities[row, best])
    )
    if not classification.calibrated:
        text += _(" (uncalibrated)")
    if not exact:
        text = _("nearest slice {answer}").format(answer=text)
    if shown.out_of_date:
        return _("OUT OF DATE: {answer}").format(answer=text)
    return _("checking: {answer}").format(answer=text) if shown.checking else text


def is_cancelled(refusal: Refusal) -> bool:
    """Whether somebody stopped or declined it: nothing went wrong."""
    return refusal.code.startswith("CANCELLED")


def _message(refusal: Refusal | None, language: str) -> Line:
    if refusal is None:
        return Line()
    message = refusal.message(language)
    return Line(message.partition(": ")[2], "warn") if is_cancelled(refusal) else Line(message, "error")


def _classify(situation: Situation) -> Button:
    work = situation.work
    if work:
        if work.cancelling:
            return Button(False, _("Canceling..."), _("Waiting for the inference process to stop."))
        return Button(True, _("Cancel"), _("Stop; nothing is added to the scene."))
    reason = _why_not_ready(situation)
    return Button(not reason, _("Classify"), reason or _("Classify the slices of the input volume."))


def _why_not_ready(situation: Situation) -> str:
    """What keeps Classify from working, in words; '' when nothing does."""
    if not situation.models:
        return _("No model is installed: import one or reinstall the extension.")
    if situation.model not in situation.models:
        return _("Choose a model.")
    if situation.unusable:
        return _("This model cannot be used: {reason}").format(reason=situation.unusable)
    several = len(situation.inputs) > 1
    for chosen in situation.inputs:
        where = _("{channel}: {problem}") if several else "{problem}"
        if not chosen.name:
            return where.format(channel=chosen.channel, problem=_("Choose an input volume."))
        if chosen.problem:
            return where.format(channel=chosen.channel, problem=_input_problem(chosen.problem))
    return situation.restriction


def _input_problem(problem: str) -> str:
    return {
        "no voxels": _("The input volume holds no voxels: load it again or choose another."),
        "evidence": _("This volume is the evidence of a result: choose an image."),
        "chosen twice": _("This volume is chosen for another input already."),
    }[problem]


def _stage_words(stage: str) -> str:
    words = {
        "copy": _("Copying"),
        "hand over": _("Handing over"),
        "start": _("Starting the inference process"),
        "unpack": _("Unpacking"),
        "read": _("Reading"),
        "load": _("Loading the model"),
        "prepare": _("Preparing"),
        "classify": _("Classifying"),
        "show": _("Showing the result"),
        "check": _("Checking the model"),
        "self-test": _("Repeating the self-test"),
        "install": _("Installing"),
        "doctor": _("Looking at what is installed"),
    }
    return words.get(stage, stage)


def _progress(work: Work | None) -> Line | None:
    if work is None:
        return None
    parts = [_("Canceling") if work.cancelling else _stage_words(work.stage)]
    if work.seconds_left is not None and not work.cancelling:
        parts.append(_time_left(work.seconds_left))
    return Line(", ".join(parts), tip=work.detail)


def _time_left(seconds: float) -> str:
    if seconds < 60:
        return _("{seconds} s left").format(seconds=max(1, round(seconds)))
    return _("{minutes} min left").format(minutes=round(seconds / 60))


def _percent(work: Work | None) -> int | None:
    return None if work is None or work.fraction is None else round(100 * work.fraction)


def _identity(shown: Shown | None) -> Line:
    """Whose images were classified: the views may show others meanwhile."""
    if shown is None:
        return Line()
    facts = [shown.identity.get(name, "") for name in ("patient", "study", "series", "name")]
    text = " · ".join(dict.fromkeys(fact for fact in facts if fact))
    if shown.elsewhere and text:
        return Line(_("{input} (not in the slice views)").format(input=text), "warn")
    return Line(text, "faint")


def _freshness(shown: Shown | None) -> Line:
    if shown is None:
        return Line()
    if shown.out_of_date:
        reasons = "; ".join(reason_in_words(reason) for reason in shown.out_of_date)
        text = _("OUT OF DATE: {reasons} since this result was made. Classify again.")
        return Line(text.format(reasons=reasons), "warn")
    if shown.checking:
        return Line(_("Checking whether the volume is still the one that was classified..."), "faint")
    return Line()


def reason_in_words(reason: str) -> str:
    """Why a result is out of date; reason: as in Shown.out_of_date."""
    return {
        "voxels": _("the voxels were changed"),
        "geometry": _("the volume was moved or its spacing changed"),
        "transform": _("its transform was changed"),
        "bundle": _("the model was replaced or removed"),
        "input removed": _("the volume was removed"),
        "unbound": _("it is not known which volume was classified, or it changed"),
    }[reason]


def _answer(shown: Shown | None, results: int, language: str) -> Line:
    if shown is None:
        return Line(_("No result is chosen.") if results else _("No result yet."), "faint")
    classification = shown.classification
    if classification is None:
        return Line(_("The record of this result is missing: classify again."), "warn")
    text = classification.in_words(language)
    if classification.refused:
        return Line(text, "error")
    best = classification.commonest
    percent = _percents(classification.median_probability(best))
    tip = _(
        "Counted over the slices. {label} has a median probability of {percent} % where it leads. This model gives no "
        "probability for the whole volume."
    ).format(label=classification.labels[best].name, percent=percent)
    return Line(
        _("{answer}, median {percent} %").format(answer=text, percent=percent),
        "faint" if shown.out_of_date or shown.checking else "strong",
        tip,
    )


def _findings(classification: Classification | None, language: str) -> tuple[Line, ...]:
    """What speaks against believing the answer. What refuses stands in the answer itself."""
    if classification is None:
        return ()
    warnings = [f for f in classification.findings if f.severity == "warn"]
    notes = [f for f in classification.findings if f.severity == "info"]
    said = [
        Line(_("Warning: {message}").format(message=f.text(language)), "warn", f.advice(language)) for f in warnings
    ]
    noted = [Line(f.text(language), "plain", f.advice(language)) for f in notes]
    return (*said, *_restriction(classification), *noted)


def _restriction(classification: Classification) -> tuple[Line, ...]:
    """Which slices were asked for, where not all were."""
    facts = classification.provenance.get("restriction")
    if not facts:
        return ()
    text = _("Only slices {first} to {last}, which '{name}' meets, were classified.")
    return (Line(text.format(first=facts["first"], last=facts["last"], name=facts["name"]), "warn"),)


def _current(shown: Shown | None, language: str) -> Line:
    """The slice that the views show, and the answer there."""
    if shown is None or shown.classification is None or shown.row is None or shown.classification.refused:
        return Line()
    name = slice_name(shown.classification.slices, shown.row, language)
    text = _("{slice}: {answer}").format(slice=name.text, answer=slice_text(shown, shown.row, shown.exact))
    for key in shown.classification.key_slices:
        if key.row == shown.row and shown.exact:
            text += "\n" + _("key slice: {why}").format(why=key.why_in_words(language))
    return Line(text, tip=name.tip)


def _legend(classification: Classification | None) -> tuple[tuple[int, str], ...]:
    """Those that reach 5 % in a slice: the others lie on the axis."""
    if classification is None or classification.refused:
        return ()
    highest = classification.slices.probabilities.max(axis=0)
    return tuple((n, label.name) for n, label in enumerate(classification.labels) if highest[n] >= 0.05)


def _evidence_note(shown: Shown | None) -> Line:
    if shown is None or not shown.evidence_labels or shown.speaks:
        return Line()
    return Line(_("Nothing in this volume speaks for {label}.").format(label=shown.evidence_label), "warn")


def _segmentation(shown: Shown | None) -> Button:
    tip = _("Make a segment of the evidence above the threshold. It marks what the model used, not a finding.")
    known = shown is not None and not shown.out_of_date and not shown.checking
    return Button(bool(known and shown and shown.evidence_labels and shown.speaks), tip=tip)


def _review_form(shown: Shown | None, locked: bool) -> Button:
    if shown is None or shown.classification is None:
        return Button(False)
    if not shown.has_volume:
        return Button(False, tip=_("The volume is gone: there is nothing to look at."))
    return Button(not locked)


def _review_note(shown: Shown | None) -> Line:
    if shown is None or shown.review is None:
        return Line()
    saved = _("Saved {time}").format(time=shown.review.time)
    if shown.review.earlier:
        return Line(_("{saved}, on an earlier result").format(saved=saved), "warn")
    return Line(saved, "faint")


def _runtime(classification: Classification | None) -> Line:
    """What ran the network, and why that."""
    if classification is None:
        return Line()
    return Line(classification.provenance.get("runtime_choice", ""), "faint")


def _percents(probability: float) -> str:
    """'97', and never '100' for what is not certain: '>99'."""
    percent = float(probability) * 100
    return f"{percent:.0f}" if percent <= 99 else ">99"
