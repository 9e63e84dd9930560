"""report.html: what a reader must know in one page, nothing from elsewhere, nothing that runs, whole or not there."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import spot_bundle as maker
from MedImgClassifierLib.engine import html_report
from MedImgClassifierLib.engine.appearance import EVIDENCE_THRESHOLD, LABEL_COLORS
from MedImgClassifierLib.engine.card import read_card
from MedImgClassifierLib.engine.classifier import key_slices
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.html_pictures import _with_evidence, label_colors, percent, slice_picture
from MedImgClassifierLib.engine.html_report import html_page, write_html
from MedImgClassifierLib.engine.html_words import WORDS
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
from MedImgClassifierLib.engine.slice_view import SliceView, displayed, slice_view
from MedImgClassifierLib.engine.volume import Volume

EVIL = "<script>alert('x')</script>\"'&"


class Tags(HTMLParser):
    """What a browser would see: elements with their attributes, and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += "" if self.open[-1:] == ["style"] else data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def volume_of(slices: int = 12, rows: int = 40, columns: int = 50, units: str = "arbitrary") -> Volume:
    voxels = np.random.default_rng(1).integers(0, 400, (slices, rows, columns)).astype(np.int16)
    return Volume.from_matrix(voxels, np.diag([1.0, 2.0, 3.0, 1.0]), modality="MR", units=units)


def answered(volume: Volume, names: tuple[str, ...] = ("HeadCT", "BrainMR", "ChestCT")) -> Classification:
    rows, count = len(volume.voxels), len(names)
    rng = np.random.default_rng(2)
    probabilities = rng.dirichlet(np.ones(count) * 0.4, rows)
    maps = rng.normal(size=(rows, count, 4, 4)).astype(np.float32)
    step = np.array([volume.voxels.shape[2] / 4, 0, 0]), np.array([0, volume.voxels.shape[1] / 2, 0])
    return Classification(
        labels=tuple(Label(name) for name in names),
        slices=SliceResults(
            volume.slice_centres_lps,
            np.tile(volume.normal_lps, (rows, 1)),
            tuple(range(rows)),
            np.log(probabilities + 1e-9),
            probabilities,
            tuple(range(rows, 0, -1)),
        ),
        evidence=Evidence(
            maps, maps.max(axis=(0, 2, 3)).astype(float), Placement(volume.slice_origins_lps + 1, *step), "closed_form"
        ),
        findings=(Finding.of("EMPTY_SLICES", "warn", empty=2, count=rows, first=0),),
        key_slices=key_slices(probabilities),
        calibrated=False,
        bundle={"id": "b", "version": "1.2.3", "title": "Body region", "intended_use": "sorting", "licence": "L",
                "manifest_sha256": "f" * 64},
        provenance={
            "started": "2026-01-02T03:04:05Z",
            "inputs": {"image": {"format": "DICOM", "series_uid": "1.2.840.1", "modality": "MR", "units": "arbitrary",
                                 "shape": [rows, 40, 50], "content_sha256": "c" * 64}},
            "runtime": "onnxruntime", "device": "cpu", "precision": "float32", "runtime_choice": "the first",
            "selftest_difference": 1e-8, "versions": {"medimgclassifier": "0.1.0", "numpy": "2.4"},
        },
    )  # fmt: skip


def pictures(page: str) -> list[Image.Image]:
    uris = [str(image["src"]) for image in Tags(page).all("img")]
    assert all(uri.startswith("data:image/png;base64,") for uri in uris)
    return [Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) for uri in uris]


# ---------------------------------------------------------------- what it says


def test_it_says_answer_findings_with_what_to_do_model_hashes_and_notice() -> None:
    volume = volume_of()
    result = answered(volume)
    text = Tags(html_page(result, volume)).text
    for said in (
        *(NOTICE, result.in_words(), result.findings[0].message, "Leave these slices out", "EMPTY_SLICES"),
        *("Body region", "1.2.3", "sorting", "f" * 64, "c" * 64, "1.2.840.1", "onnxruntime, cpu, float32", "numpy 2.4"),
        *("2026-01-02T03:04:05Z", "Not reviewed yet", "12 × 40 × 50"),
    ):
        assert said in text, said


def test_the_card_is_shown_if_it_is_that_of_the_bundle(spot_bundle: Path) -> None:
    volume, card = volume_of(), read_card(spot_bundle)
    result = answered(volume)
    own = replace(result, bundle={**result.bundle, "manifest_sha256": card.manifest_sha256})
    assert "anything else" in Tags(html_page(own, None, card=card)).text  # what it is not for
    for page in (
        html_page(result, None, card=card),
        html_page(own, None),
        html_page(own, None, card=read_card(Path("/x"))),
    ):
        text = Tags(page).text
        assert "anything else" not in text and "Its card was not at hand" in text and "sorting" in text


def test_a_reviewers_verdict_is_shown() -> None:
    said = {"verdict": "disagree", "corrected": "ChestCT", "comment": "see slice 3", "time": "2026-02-03"}
    result = answered(volume_of())
    text = Tags(html_page(result, None, verdict=said)).text
    for part in ("Disagrees", "ChestCT", "see slice 3", "2026-02-03"):
        assert part in text
    assert "不同意" in Tags(html_page(result, None, "zh", verdict=said)).text
    assert "Agrees" in Tags(html_page(result, None, verdict={"verdict": "agree"})).text
    assert "later" in Tags(html_page(result, None, verdict={"verdict": "later"})).text


def test_an_outdated_result_says_so_before_its_answer() -> None:
    result = answered(volume_of())
    page = html_page(result, None, out_of_date=("the voxels changed", "another model"))
    text = Tags(page).text
    assert text.index("Out of date") < text.index("the voxels changed") < text.index(result.in_words())
    assert "Out of date" not in Tags(html_page(result, None)).text


def test_a_refused_case_names_no_class_and_no_probability() -> None:
    volume = volume_of()
    result = answered(volume)
    refused = replace(result, findings=(Finding("LOCALISER", "refuse", "a localiser"), *result.findings))
    page = html_page(refused, volume, current=2)
    seen = Tags(page)
    assert "no class: a localiser" in seen.text and "Do not use this result" in seen.text
    assert not any(label.name in page for label in result.labels)
    assert seen.all("polyline") == [] and "%" not in seen.text and not re.search(r"0\.\d{3}", seen.text)
    assert [heading["class"] for heading in seen.all("h1")] == ["refused"]
    assert all(picture.mode == "L" for picture in pictures(page))


def test_slices_are_named_as_the_reader_knows_them() -> None:
    volume = volume_of()
    result = answered(volume)
    page = html_page(result, None)
    row = result.key_slices[0].row
    assert f'title="K {row}">image {12 - row}, ' in page
    unnumbered = replace(result, slices=replace(result.slices, instance_numbers=()))
    assert f"slice {row}, S {3.0 * row:.1f} mm" in html_page(unnumbered, None)
    resampled = replace(result, slices=replace(result.slices, instance_numbers=(), native_k=None))
    assert f"slice {row}, " in html_page(resampled, None) and 'title="K' not in html_page(resampled, None)


def test_all_slices_stand_in_a_collapsed_table_with_the_two_likeliest_classes() -> None:
    result = answered(volume_of())
    seen = Tags(html_page(result, None))
    assert len(seen.all("details")) == 1 and "open" not in seen.all("details")[0]
    assert len(seen.all("tr")) == 1 + 12
    best, second = np.sort(result.slices.probabilities[5])[::-1][:2]
    assert f"{best:.3f}" in seen.text and f"{second:.3f}" in seen.text


def test_a_restriction_is_told_without_the_name_of_its_node() -> None:
    result = answered(volume_of())
    restriction = {"kind": "roi", "name": "Smith left lung", "first": 3, "last": 9}
    text = Tags(html_page(replace(result, provenance={**result.provenance, "restriction": restriction}), None)).text
    assert "K 3 to 9 (region of interest)" in text and "Smith" not in text


def test_nothing_that_may_name_a_patient_is_written() -> None:
    volume = volume_of()
    source = replace(volume.source, path="/data/Smith^John", description="Smith, John: head", study_uid="1.9")
    volume = replace(volume, source=source)
    assert "Smith" not in html_page(answered(volume), volume)


def test_a_provenance_of_another_version_is_no_failure() -> None:
    result = answered(volume_of())
    for provenance in (
        {},
        {"inputs": None},
        {"inputs": {"a": 3}, "versions": 3, "restriction": 3},
        {"inputs": {"a": {}}},
    ):
        assert html_page(replace(result, provenance=provenance, bundle={}), None)


# ---------------------------------------------------------------- safety


def evil(value: Any) -> Any:
    """The same document with every text replaced."""
    if isinstance(value, dict):
        return {(EVIL if key == "image" else key): evil(item) for key, item in value.items()}
    if isinstance(value, list):
        return [evil(item) for item in value]
    return EVIL if isinstance(value, str) else value


@pytest.mark.parametrize("language", ["en", "zh"])
def test_texts_from_outside_are_escaped(language: str, spot_bundle: Path) -> None:
    volume = volume_of()
    volume = replace(volume, source=replace(volume.source, description=EVIL, path=EVIL))
    result = answered(volume)
    result = replace(
        result,
        labels=tuple(Label(f"{EVIL}{n}") for n in range(3)),
        findings=(Finding("EMPTY_SLICES", "warn", EVIL, {"empty": EVIL, "count": EVIL, "first": EVIL}),
                  Finding(EVIL, "info", EVIL)),
        bundle=evil(dict(result.bundle)),
        provenance=evil(dict(result.provenance)),
        evidence=replace(result.evidence, method=EVIL) if result.evidence else None,
    )  # fmt: skip
    card = replace(
        read_card(spot_bundle, language), title=EVIL, classes=(EVIL,), licence=EVIL, manifest_sha256=EVIL,
        credits=(EVIL,), out_of_scope=(EVIL,),
    )  # fmt: skip
    verdict = dict.fromkeys(("verdict", "corrected", "comment", "time"), EVIL)
    page = html_page(result, volume, language, verdict, (EVIL,), card, current=1)
    seen = Tags(page)
    assert "<script" not in page.lower() and seen.all("script") == []
    assert seen.text.count("alert('x')") > 25
    allowed = {
        "class",
        "style",
        "id",
        "href",
        "src",
        "alt",
        "title",
        "lang",
        "charset",
        "content",
        "http-equiv",
        "name",
    }
    allowed |= {"role", "aria-label", "viewbox", "d", "x", "y", "cx", "cy", "r", "fill", "points", "stroke", "width"}
    assert {name for _, attributes in seen.elements for name in attributes} <= allowed | {"height"}


def test_nothing_is_fetched_and_nothing_runs() -> None:
    volume = volume_of()
    page = re.sub('base64,[^"]+', "", html_page(answered(volume), volume))
    assert not re.search(r"https?:|//[a-z]|@import|url\(|javascript:|<link|<iframe|\son[a-z]+=", page)
    policy = [meta["content"] for meta in Tags(page).all("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policy == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    for element in Tags(page).all("a"):
        assert str(element["href"]).startswith("#key-")


def test_control_characters_do_not_reach_the_page() -> None:
    result = answered(volume_of(), ("a\x00b\x1b\u202e", "c", "d\ud800"))
    html_page(result, None).encode("utf-8")
    assert not re.search("[\x00\x1b\u202e]", html_page(result, None))


# ---------------------------------------------------------------- plot


def test_the_plot_has_one_line_per_class_in_its_colour_through_its_probabilities() -> None:
    result = answered(volume_of())
    lines = Tags(html_page(result, None)).all("polyline")
    assert [line["stroke"] for line in lines] == [
        "#" + "".join(f"{round(255 * part):02x}" for part in color) for color in LABEL_COLORS[:3]
    ]
    for label, line in enumerate(lines):
        points = np.array([[float(part) for part in point.split(",")] for point in str(line["points"]).split()])
        assert len(points) == 12 and (np.diff(points[:, 0]) > 0).all()
        np.testing.assert_allclose((222 - points[:, 1]) / (222 - 34), result.slices.probabilities[:, label], atol=0.001)


def test_key_slices_and_the_current_slice_are_marked_where_they_lie() -> None:
    result = answered(volume_of())
    seen = Tags(html_page(result, None, current=7))
    x = [float(point.split(",")[0]) for point in str(seen.all("polyline")[0]["points"]).split()]
    marks = [float(str(path["d"])[1:].partition(" ")[0]) for path in seen.all("path") if path["class"] == "mark"]
    np.testing.assert_allclose(marks, [x[row] for row in sorted({key.row for key in result.key_slices})], atol=0.1)
    (current,) = [path for path in seen.all("path") if path["class"] == "current"]
    assert str(current["d"]).startswith(f"M{x[7]:.1f} ")
    assert "looked at: image 5, S 21.0 mm" in seen.text
    assert not [path for path in Tags(html_page(result, None)).all("path") if path["class"] == "current"]


def test_labels_beyond_the_palette_are_one_line() -> None:
    result = answered(volume_of(), tuple(f"label {n}" for n in range(12)))
    page = html_page(result, None)
    assert len(Tags(page).all("polyline")) == 8 and "5 others" in page
    reached = result.slices.probabilities.max(axis=0)
    assert set(label_colors(result)) == set(np.argsort(-reached)[:7])


@pytest.mark.parametrize("slices", [1, 2, 61])
def test_few_and_many_slices_can_be_drawn(slices: int) -> None:
    volume = volume_of(slices)
    page = html_page(answered(volume), volume, current=slices - 1)
    assert Tags(page).all("svg") and (slices > 60) == (not Tags(page).all("circle"))


# ---------------------------------------------------------------- pictures


def test_each_key_slice_is_shown_alone_and_with_its_evidence_in_true_proportion() -> None:
    volume = volume_of()
    result = answered(volume)
    assert result.evidence is not None
    result.evidence.maps[:] = 0
    result.evidence.maps[..., 1, 2] = result.evidence.scale
    shown = pictures(html_page(result, volume))
    assert len(shown) == 2 * len(result.key_slices)
    assert all(picture.size == (200, 320) for picture in shown)  # 50 mm x 80 mm
    for alone, over in zip(shown[::2], shown[1::2], strict=True):
        assert alone.mode == "L" and over.mode == "RGB"
        colored = np.asarray(over).astype(int)
        assert (np.ptp(colored, axis=2) > 60).sum() > 100
        outside = np.ptp(colored, axis=2) == 0  # where nothing is drawn, the image is as it is
        assert outside.sum() > 1000
        np.testing.assert_allclose(colored[..., 0][outside], np.asarray(alone)[outside], atol=2)


@pytest.mark.parametrize("kind", maker.STACKS)
def test_image_and_evidence_are_drawn_where_they_lie_in_the_patient(kind: str) -> None:
    volume, place, k = maker.stack_with_spot(kind)
    maps = np.zeros((len(volume.voxels), 2, 3, 3), np.float32)
    maps[k, 1, 1, 1] = 1
    step = volume.row_direction_lps * 20, volume.column_direction_lps * 20
    origins = volume.slice_origins_lps + (place - volume.slice_origins_lps[k]) - step[0] - step[1]
    result = replace(
        answered(volume, ("dark", "bright")),
        evidence=Evidence(maps, np.ones(2), Placement(origins, *step), "closed_form"),
        key_slices=(KeySlice(k, 1, "most_probable"),),
    )
    alone, over = pictures(html_page(result, volume))
    view = displayed(slice_view(volume, k))
    assert alone.size == over.size and max(alone.size) == 320
    inside = np.s_[30:-30, 30:-30]  # without the letters
    weights = np.zeros((alone.height, alone.width))
    for drawn in (np.asarray(alone).astype(float), np.ptp(np.asarray(over).astype(float), axis=2)):
        weights[inside] = drawn[inside]
        row, column = (float(at) for at in (np.indices(weights.shape) * weights).sum(axis=(1, 2)) / weights.sum())
        scale = np.divide(view.image.shape, weights.shape)
        found = view.to_lps @ [(column + 0.5) * scale[1] - 0.5, (row + 0.5) * scale[0] - 0.5, 1]
        assert np.linalg.norm(found - place) < 1.5


def test_colours_are_those_of_the_overlay_picture() -> None:
    pytest.importorskip("matplotlib")
    from MedImgClassifierLib.engine.picture import with_evidence

    grey = np.full((2, 200), 0.4, np.float32)
    evidence = np.linspace(0, 1, 200, dtype=np.float32)[None].repeat(2, axis=0)
    expected = with_evidence(np.repeat(grey[..., None], 3, axis=2), evidence)
    np.testing.assert_allclose(_with_evidence(grey, evidence), expected, atol=0.015)


def test_the_sides_of_the_patient_are_drawn_into_the_picture() -> None:
    def ink(to_lps: list[list[float]]) -> list[int]:
        """White pixels at the left, right, upper and lower edge; nothing is drawn elsewhere."""
        uri, _, _ = slice_picture(SliceView(np.zeros((64, 64), np.float32), np.array(to_lps)), (0, 1))
        drawn = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))))
        assert drawn[40:280, 40:280].max() == 0
        edges = (drawn[140:180, :25], drawn[140:180, -25:], drawn[:25, 140:180], drawn[-25:, 140:180])
        return [int((edge > 128).sum()) for edge in edges]

    right, left, _, _ = ink([[2.0, 0, 0], [0, 2, 0], [0, 0, 0]])
    assert right > left + 10 > 20  # an R has more ink than an L
    left, right, _, _ = ink([[-2.0, 0, 0], [0, 2, 0], [0, 0, 0]])
    assert right > left + 10 > 20
    _, _, right, left = ink([[0, 2.0, 0], [0, 0, 0], [2, 0, 0]])
    assert right > left + 10 > 20


def test_weak_no_and_missing_evidence_are_told_apart() -> None:
    volume = volume_of()
    result = answered(volume)
    assert result.evidence is not None
    maps = np.full_like(result.evidence.maps, -1)
    maps[0, :, 0, 0] = 1
    maps[3, 1, 0, 0] = 0.2
    evidence = replace(result.evidence, maps=maps, scale=np.ones(3))
    keys = (KeySlice(3, 1, "example"), KeySlice(5, 1, "example"), KeySlice(0, 1, "most_probable"))
    text = Tags(html_page(replace(result, evidence=evidence, key_slices=keys), volume)).text
    assert (
        "at most 0.20" in text and "no cell of this slice speaks for BrainMR" in text and "evidence for BrainMR" in text
    )
    page = html_page(replace(result, evidence=None), volume)
    assert "evidence was not computed" in page and len(pictures(page)) == len(result.key_slices)


def test_a_slice_without_contrast_can_be_drawn() -> None:
    volume = replace(volume_of(), voxels=np.zeros((12, 40, 50), np.int16))
    assert pictures(html_page(answered(volume), volume))


def test_without_the_volume_there_are_no_pictures_and_it_says_so() -> None:
    page = html_page(answered(volume_of()), None)
    assert Tags(page).all("img") == [] and "No pictures" in page and Tags(page).all("article")


def test_another_volume_is_not_shown_for_the_classified_one() -> None:
    volume = volume_of()
    moved = replace(volume, slice_origins_lps=volume.slice_origins_lps + np.array([0, 0, 1.4]))
    with pytest.raises(ValueError, match="not the one that was classified"):
        html_page(answered(volume), moved)


def test_it_needs_numpy_and_pillow_only_and_300_slices_stay_below_3_mb() -> None:
    code = (
        "import sys; sys.modules['matplotlib'] = sys.modules['scipy'] = sys.modules['SimpleITK'] = None\n"
        "import numpy as np; from test_html_report import *\n"
        "volume = volume_of(300, 512, 512); result = answered(volume, tuple(f'label {n}' for n in range(7)))\n"
        "print(len(html_page(result, volume).encode()))"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert 100_000 < int(run.stdout) < 3_000_000


# ---------------------------------------------------------------- languages


def test_chinese_has_every_text_and_no_english_is_left_in_the_page() -> None:
    assert set(WORDS["en"]) == set(WORDS["zh"])
    for key, text in WORDS["en"].items():
        assert sorted(re.findall(r"\{\w+", text)) == sorted(re.findall(r"\{\w+", WORDS["zh"][key])), key
    volume = volume_of()
    result = replace(answered(volume), bundle={"title": "T"}, provenance={}, labels=tuple(Label(x) for x in "abc"))
    page = html_page(result, volume, "zh")
    assert 'lang="zh-CN"' in page and "仅供研究使用" in page
    words = re.findall(r"[A-Za-z]{4,}", Tags(page).text)
    assert set(words) <= {"EMPTY", "SLICES", "EMPTY_SLICES", "closed", "form", "closed_form", "arbitrary"}, words


def test_every_finding_has_something_to_do_in_both_languages() -> None:
    from MedImgClassifierLib.engine import findings

    assert set(findings._CATALOGUE) <= set(findings._ADVICE), set(findings._CATALOGUE) - set(findings._ADVICE)
    for code, (english, chinese) in findings._ADVICE.items():
        assert bool(english) == bool(chinese) and english.isascii(), code
        assert not chinese or not chinese.isascii(), code
    assert Finding("NEW", "warn", "x").advice() and Finding("NEW", "refuse", "x").advice("zh") == "请勿使用此结果。"
    assert Finding("NEW", "info", "x").advice() == ""


@pytest.mark.parametrize("p, said", [(0, "0 %"), (0.001, "< 1 %"), (0.5, "50 %"), (0.9951, "> 99 %"), (1, "100 %")])
def test_percent_never_rounds_to_certainty(p: float, said: str) -> None:
    assert percent(p) == said


# ---------------------------------------------------------------- writing


def test_it_is_written_whole_and_replaces_an_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "报告.html"
    path.write_text("earlier")
    result = answered(volume_of())
    write_html(result, None, path)
    assert path.read_text(encoding="utf-8") == html_page(result, None)
    assert [file.name for file in tmp_path.iterdir()] == ["报告.html"]


@pytest.mark.parametrize("failing", ["replace", "write_bytes"])
def test_a_failure_leaves_the_earlier_report_and_nothing_else(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "report.html").write_text("earlier")

    write = Path.write_bytes

    def full(self: Path, given: Any) -> None:
        if failing == "write_bytes":
            write(self, given[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, failing, full)
    with pytest.raises(Refusal) as refused:
        write_html(answered(volume_of()), None, tmp_path / "report.html")
    assert refused.value.code == "USAGE_FILE_NOT_WRITTEN" and "No space left" in refused.value.message()
    assert [file.read_text() for file in tmp_path.iterdir()] == ["earlier"]


@pytest.mark.parametrize("place", ["none/report.html", "folder", "x" * 300])
def test_a_place_that_cannot_be_written_is_told(place: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(Refusal, match="USAGE_FILE_NOT_WRITTEN"):
        write_html(answered(volume_of()), None, tmp_path / place)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder"]


def test_an_error_while_it_is_made_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make: Callable[..., str] = html_report.probability_plot
    monkeypatch.setattr(html_report, "probability_plot", lambda *given: make(*given) + str(1 / 0))
    with pytest.raises(ZeroDivisionError):
        write_html(answered(volume_of()), None, tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


def test_threshold_stands_at_the_colour_bar() -> None:
    volume = volume_of()
    assert f"<span>{EVIDENCE_THRESHOLD}</span>" in html_page(answered(volume), volume)
