"""The engine speaks English and Chinese by an argument: refusals, findings, the answer, slices, the terminal table."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from string import Formatter

import numpy as np
import pytest

from MedImgClassifierLib.engine import findings, reading, refusal_texts
from MedImgClassifierLib.engine.errors import Refusal
from MedImgClassifierLib.engine.quality import _findings as findings_of
from MedImgClassifierLib.engine.report import display_width, finding_in_words, table
from MedImgClassifierLib.engine.result import (
    NOTICE,
    Classification,
    Finding,
    KeySlice,
    Label,
    SliceResults,
    notice,
)
from MedImgClassifierLib.engine.volume import Source, Volume

LIB = Path(__file__).resolve().parents[3] / "MedImgClassifier/MedImgClassifierLib"
HAN = re.compile(r"[\u4e00-\u9fff]")


def fields(text: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def speaks_chinese(text: str) -> bool:
    return bool(HAN.search(text))


@pytest.mark.parametrize("code", refusal_texts.TEXTS)
def test_a_refusal_says_the_same_in_both_languages(code: str) -> None:
    text = refusal_texts.TEXTS[code]
    for english, chinese in ((text.what, text.what_zh), (text.advice, text.advice_zh)):
        assert fields(english) == fields(chinese)
        assert speaks_chinese(chinese) and not speaks_chinese(english)


@pytest.mark.parametrize("code", findings._CATALOGUE)
def test_a_finding_says_the_same_in_both_languages(code: str) -> None:
    text = findings._CATALOGUE[code]
    assert fields(text.what) - {"detail"} == fields(text.what_zh) - {"detail"}
    assert speaks_chinese(text.what_zh) and not speaks_chinese(text.what)
    facts = {name: f"<{name}>" for name in fields(text.what)}
    finding = Finding.of(code, "info", **facts)
    assert finding.text() == finding.message == text.what.format(**facts)
    assert finding.text("zh") == text.what_zh.format(**facts)


def calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == name:
            yield node


def test_every_code_that_is_raised_or_found_has_its_texts() -> None:
    seen = 0
    for path in LIB.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name, catalogue in (("Refusal", refusal_texts.TEXTS), ("Finding.of", findings._CATALOGUE)):
            for call in calls(tree, name):
                code = call.args[0]
                if isinstance(code, ast.Constant):
                    assert code.value in catalogue, f"{path.name}:{call.lineno}"
                    seen += 1
    assert seen > 100


def test_findings_are_made_from_the_catalogue_and_nowhere_by_hand() -> None:
    by_hand = {
        f"{path.name}:{ast.unparse(call)}"
        for path in LIB.rglob("*.py")
        for call in calls(ast.parse(path.read_text(encoding="utf-8")), "Finding")
    }
    known = {"quality.py:Finding(code, 'warn', detail, {'detail': detail})", "result.py:Finding(**finding)"}
    assert by_hand == known


def test_what_reading_notes_can_be_told_in_chinese() -> None:
    listed = set(re.findall(r"^    ([A-Z][A-Z0-9_]+)  ", reading.__doc__ or "", re.MULTILINE))
    written = {
        match[1]
        for path in (LIB / "engine").glob("*.py")
        for match in re.finditer(r'"([A-Z][A-Z0-9_]+): ', path.read_text(encoding="utf-8"))
    }
    assert written and written == listed
    assert listed <= set(findings._CATALOGUE)


def a_stack(**changes: object) -> Volume:
    voxels = np.arange(3 * 4 * 4, dtype=np.int16).reshape(3, 4, 4)
    voxels[1] = 7
    stack = Volume(
        voxels=voxels,
        spacing_mm=(1.0, 1.0),
        row_direction_lps=np.array([1.0, 0, 0]),
        column_direction_lps=np.array([0, 1.0, 0]),
        slice_origins_lps=np.array([[0, 0, 0], [0, 0, 1.0], [0, 0, 3.0]]),
        slice_thickness_mm=1.0,
        modality="",
        units="arbitrary",
        source=Source(
            notes=("LOSSY_COMPRESSION: the images were compressed with loss", "NEW_NOTE: of a later version")
        ),
    )
    return replace(stack, **changes)  # type: ignore[arg-type]


def test_the_findings_of_a_case_are_told_in_both_languages() -> None:
    found = {finding.code: finding for finding in findings_of(a_stack())}
    assert found["EMPTY_SLICES"].text() == ("1 of 3 slices have no contrast (first: K 1); their class means nothing")
    assert found["EMPTY_SLICES"].facts == {"empty": 1, "count": 3, "first": 1}
    assert found["EMPTY_SLICES"].text("zh").startswith("3 个切片中有 1 个没有对比度（首个：K 1）")
    assert found["LOSSY_COMPRESSION"].message == "the images were compressed with loss"
    assert found["LOSSY_COMPRESSION"].text("zh") == "图像经过有损压缩"
    assert found["NEW_NOTE"].text("zh") == found["NEW_NOTE"].message == "of a later version"
    assert "uneven slice steps of 1.00 to 2.00 mm" in found["IRREGULAR_STACK"].text("zh")
    assert speaks_chinese(found["MODALITY_UNKNOWN"].text("zh"))
    (units,) = [f for f in findings_of(a_stack(modality="CT")) if f.code == "UNITS_UNKNOWN"]
    assert speaks_chinese(units.text("zh"))


def test_a_finding_without_its_facts_is_told_in_english_not_half_filled() -> None:
    assert Finding("EMPTY_SLICES", "warn", "1 of 3 slices ...").text("zh") == "1 of 3 slices ..."
    assert Finding("EMPTY_SLICES", "warn", "1 of 3", {"empty": 1}).text("zh") == "1 of 3"
    with pytest.raises(KeyError):
        Finding.of("EMPTY_SLICES", "warn", empty=1)
    with pytest.raises(KeyError):
        Finding.of("NO_SUCH_CODE", "warn")


def classified(**changes: object) -> Classification:
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    made = Classification(
        labels=(Label("HeadCT"), Label("Hand")),
        slices=SliceResults(
            centre_lps=np.array([[0, 0, -3.0], [0, 0, 45.21], [0, 0, 90]]),
            normal_lps=np.tile([0.0, 0, 1], (3, 1)),
            native_k=(0, 1, 2),
            logits=np.log(probabilities),
            probabilities=probabilities,
            instance_numbers=(34, 35, 36),
        ),
        evidence=None,
        findings=(Finding.of("MODALITY_UNKNOWN", "warn"),),
        key_slices=(KeySlice(0, 0, "most_probable"),),
        calibrated=False,
        bundle={"intended_use": "sorting series"},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_the_answer_is_told_in_both_languages() -> None:
    assert classified().in_words() == "HeadCT in 2 of 3 slices (uncalibrated)"
    assert classified().in_words("zh") == "HeadCT：3 个切片中的 2 个（未校准）"
    assert classified(calibrated=True).in_words("zh") == "HeadCT：3 个切片中的 2 个"
    refused = classified(findings=(Finding.of("MODALITY_UNKNOWN", "refuse"), Finding("X", "refuse", "a localizer")))
    assert refused.in_words("zh") == f"不给出类别：{refused.findings[0].text('zh')}；a localizer"
    assert "HeadCT" not in refused.in_words("zh")


def test_results_json_is_english_whatever_is_spoken() -> None:
    document = classified().to_json()
    assert document["answer"] == classified().in_words() and document["notice"] == NOTICE == notice()
    assert document["findings"][0]["message"] == classified().findings[0].text()
    assert speaks_chinese(notice("zh"))


def test_slices_and_what_makes_them_key_slices_are_named_in_both_languages() -> None:
    slices = classified().slices
    assert slices.name(1) == "slice 1 (image 35), S 45.2 mm"
    assert slices.name(1, "zh") == "切片 1（图像 35），S（上）45.2 mm"
    assert slices.position_in_words(0, "zh") == "I（下）3.0 mm"
    unnumbered = replace(slices, native_k=None, instance_numbers=())
    assert unnumbered.name(2, "zh") == "切片 2，S（上）90.0 mm"
    sides = {
        ((1, 0, 0), 5): "L（左）",
        ((1, 0, 0), -5): "R（右）",
        ((0, 1, 0), 5): "P（后）",
        ((0, 1, 0), -5): "A（前）",
    }
    for (normal, at), words in sides.items():
        centre = np.array(normal, float) * at
        turned = replace(
            slices, normal_lps=np.tile(np.array(normal, float), (3, 1)), centre_lps=np.tile(centre, (3, 1))
        )
        assert turned.position_in_words(0, "zh") == f"{words}5.0 mm"
    reasons = [KeySlice(0, 0, why) for why in ("most_probable", "example", "least_certain")]  # type: ignore[arg-type]
    assert [key.why_in_words() for key in reasons] == ["most probable", "example", "least certain"]
    assert len({key.why_in_words("zh") for key in reasons}) == 3
    assert all(speaks_chinese(key.why_in_words("zh")) for key in reasons)


def test_the_table_on_the_terminal_speaks_chinese_and_stays_aligned() -> None:
    lines = table(classified(), "zh").splitlines()
    assert lines[0].split() == ["切片", "图像", "位置", "类别", "最低", "p", "中位", "p"]
    starts = {display_width(re.split(r" (?=0\.\d{3}|最低)", line)[0]) for line in lines[:3]}
    assert len(starts) == 1, "the columns of probabilities begin at one place"
    assert lines[4] == "结果：HeadCT：3 个切片中的 2 个（未校准）"
    assert lines[5] == "警告[MODALITY_UNKNOWN]: " + classified().findings[0].text("zh")
    assert lines[-2:] == ["预期用途：sorting series", notice("zh")]
    assert finding_in_words(classified().findings[0]).startswith("warning[MODALITY_UNKNOWN]: the file")


def test_a_refusal_in_chinese_is_one_line_too() -> None:
    message = Refusal("INPUT_NOT_FOUND", path="a\nb").message("zh")
    assert message == "error[INPUT_NOT_FOUND]: “a b”不存在; 请检查路径"
