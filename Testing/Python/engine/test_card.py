"""The card of a bundle says what its manifest says, in two languages, fast, and never raises."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from MedImgClassifierLib import resources
from MedImgClassifierLib.engine import card as cards
from MedImgClassifierLib.engine.card import read_card

SHIPPED = resources.shipped_bundles()["body-region"]


@pytest.fixture
def manifest(spot_bundle: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((spot_bundle / "manifest.json").read_text(encoding="utf-8"))
    return made


@pytest.fixture
def written(tmp_path: Path) -> Callable[[object], Path]:
    """A bundle folder that holds a manifest (given as bytes, or as a document) and nothing else."""

    def write(content: object) -> Path:
        (tmp_path / "manifest.json").write_bytes(
            content if isinstance(content, bytes) else json.dumps(content).encode()
        )
        return tmp_path

    return write


def figure(value: Any = 0.9876, label: str = "", name: str = "balanced accuracy", **more: Any) -> dict[str, Any]:
    interval = {"low": 0.95477, "high": 0.99721, "method": "m"}
    return {"name": name, "label": label, "value": value, "interval": interval, "note": "", **more}


def evaluation(*figures: Any, data: str = "held out") -> dict[str, Any]:
    return {"data": data, "figures": {"n": 900, "groups": 648, "classes": [], "figures": list(figures)}}


def test_the_card_of_the_shipped_bundle_says_what_a_chooser_needs() -> None:
    card = read_card(SHIPPED)
    assert card.usable and card.problem == ""
    assert (card.id, card.licence, card.calibrated) == ("body-region", "CC-BY-SA-4.0", False)
    assert card.classes[0] == "AbdomenCT" and len(card.classes) == 7
    assert card.channels[0].words.startswith("image: CT, MR, CR") and card.channels[0].words.endswith(
        "or SC; HU or arbitrary units"
    )
    assert len(card.evaluations) == 6 and card.evaluations[2].groups == 666
    assert card.evaluations[2].words == (
        "final test (3909 images of 666 groups): balanced accuracy 0.988 (95 % interval 0.959 to 0.999)"
    )
    assert "accuracy 0.996" in card.evaluations[2].figures[0] and len(card.evaluations[2].figures) == 5
    assert "uncalibrated" in card.calibration and card.signature.startswith("unsigned")
    assert card.manifest_sha256 == hashlib.sha256((SHIPPED / "manifest.json").read_bytes()).hexdigest()
    assert len(card.credits) == 2 and len(card.known_limits) == 4 and len(card.out_of_scope) == 2


def test_the_headline_is_the_least_favourable_data_set() -> None:
    card = read_card(SHIPPED)
    assert card.headline == min(card.evaluations, key=lambda each: each.low).words
    assert card.headline.startswith("final mednist_test ")


def test_sections_hold_the_whole_card_and_have_headings_in_both_languages() -> None:
    english, chinese = (read_card(SHIPPED, language).sections() for language in ("en", "zh"))
    assert [len(lines) for _, lines in english] == [len(lines) for _, lines in chinese]
    assert all(heading.isascii() for heading, _ in english)
    assert not any(heading.isascii() for heading, _ in chinese)
    texts = "\n".join(line for _, lines in english for line in lines)
    for said in ("Sorting series", "Every slice gets one", "BrainMR", "MedNIST", "unsigned", "CC-BY-SA-4.0"):
        assert said in texts
    assert "平衡准确率 0.988（95 % 区间 0.959 至 0.999）" in "".join(read_card(SHIPPED, "zh").evaluations[2].words)


def test_both_languages_have_the_same_texts() -> None:
    english, chinese = cards._TEXTS["en"], cards._TEXTS["zh"]
    figures = {"accuracy", "balanced accuracy", "macro precision", "macro F1", "macro AUC"}
    assert set(chinese) - figures == set(english)
    for key, text in english.items():
        assert text.count("{") == chinese[key].count("{"), key


def test_a_calibrated_and_signed_bundle_says_so(manifest: dict[str, Any], written: Callable[[object], Path]) -> None:
    manifest["calibration"] = {"slice": {"method": "temperature", "temperature": 1.5, "groups": 42}}
    path = written(manifest)
    (path / "SIGNATURE.json").write_text("{}")
    card = read_card(path)
    assert card.calibrated and "42 groups" in card.calibration
    assert card.signature == "signature present, not checked by this version"


def test_a_zip_has_the_same_card(spot_bundle: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "spot.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for file in spot_bundle.rglob("*.*"):
            archive.write(file, file.relative_to(spot_bundle))
    zipped, folder = read_card(tmp_path / "spot.zip"), read_card(spot_bundle)
    assert zipped.sections() == folder.sections() and zipped.usable


@pytest.mark.parametrize(
    "content, why",
    [
        (b"", "not a JSON object"),
        (b"\xff\xfe{", "not a JSON object"),
        (b"[1]", "not a JSON object"),
        (b"{" * 100_000, "not a JSON object"),
        (b"[" * 100_000, "not a JSON object"),
        (b"{}", "not version 1"),
        (b'{"format_version": 2}', "not version 1"),
        (b'{"format_version": 1}', "no usable"),
        (b" " * ((1 << 20) + 1), "larger than"),
    ],
    ids=range(9),
)
def test_a_manifest_that_is_none_gives_a_card_that_says_so(
    content: bytes, why: str, written: Callable[[object], Path]
) -> None:
    card = read_card(written(content))
    assert not card.usable and card.problem.startswith("not readable: ") and why in card.problem
    assert card.sections() == (("Problem", (card.problem,)),)
    assert read_card(card.path, "zh").problem.startswith("无法读取：")


def test_what_is_no_bundle_gives_a_card_that_says_so(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "cut.zip").write_bytes(b"PK\x03\x04 cut")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    for name in ("none", "text", "cut.zip", "empty.zip", ".", "x" * 300, "a\0b"):
        card = read_card(tmp_path / name)
        assert not card.usable and card.problem.startswith("not readable: ")


KEYS = [
    "id",
    "version",
    "title",
    "intended_use",
    "out_of_scope",
    "known_limits",
    "input",
    "labels",
    "licence",
    "credits",
]


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(key: str, manifest: dict[str, Any], written: Callable[[object], Path]) -> None:
    del manifest[key]
    card = read_card(written(manifest))
    assert not card.usable and key in card.problem


WRONG: list[Any] = [None, 3, "x", [], [3], {}, {"x": 1}, [{}], [{"name": 3}], {"slice": 3}, {"channels": [{}]}, True]


@pytest.mark.parametrize("key", [*KEYS, "evaluation", "calibration", "format_version"])
@pytest.mark.parametrize("wrong", WRONG, ids=repr)
def test_no_value_of_any_key_raises(
    key: str, wrong: Any, manifest: dict[str, Any], written: Callable[[object], Path]
) -> None:
    manifest[key] = wrong
    for language in ("en", "zh"):
        assert read_card(written(manifest), language).sections()


FORMS: list[Any] = [
    {},
    3,
    {"data": "d"},
    {"data": "d", "figures": 3},
    {"data": "d", "figures": {}},
    {"data": "d", "figures": {"figures": 3, "n": "x", "groups": None}},
    {"data": "d", "figures": {"figures": [3, {}, {"name": 3, "label": ""}]}},
    {"data": "d", "figures": {"accuracy": 0.9}},
    evaluation(figure(value="high")),
    evaluation(figure(value=float("nan"))),
    evaluation(figure(interval=None, note="no interval: 1 groups")),
    evaluation(figure(interval={"low": "a", "high": 1})),
    evaluation(figure(value=10**400)),
]


@pytest.mark.parametrize("form", FORMS, ids=range(len(FORMS)))
def test_figures_of_any_form_leave_the_card_usable(
    form: Any, manifest: dict[str, Any], written: Callable[[object], Path]
) -> None:
    manifest["evaluation"] = [form]
    card = read_card(written(manifest))
    assert card.usable and len(card.evaluations) == 1 and card.headline
    assert "nan" not in card.headline.lower()


def test_limits_are_rounded_outwards_and_nothing_below_1_reads_as_1(
    manifest: dict[str, Any], written: Callable[[object], Path]
) -> None:
    manifest["evaluation"] = [
        evaluation(figure(value=0.99999)),
        evaluation(figure(value=1.0, label="HeadCT"), figure(name="accuracy", interval=None, note="undefined: x")),
    ]
    first, second = read_card(written(manifest)).evaluations
    assert first.words.endswith("balanced accuracy > 0.999 (95 % interval 0.954 to 0.998)")
    assert second.words.endswith("accuracy 0.988 (undefined: x)")  # a figure of one class is no figure of all


def test_texts_are_one_line_without_control_characters(
    manifest: dict[str, Any], written: Callable[[object], Path]
) -> None:
    manifest["title"] = "a\x1b[2J\nb\u202ec\ud800"
    manifest["evaluation"] = [evaluation(figure(note="x\ny", interval=None), data="d\n\x07")]
    card = read_card(written(manifest))
    assert card.title == "a [2J b c"
    assert all(line.isprintable() for _, lines in card.sections() for line in lines)


def test_it_is_read_without_numpy_and_within_5_ms() -> None:
    code = (
        "import sys; from pathlib import Path; from MedImgClassifierLib.engine.card import read_card; "
        f"assert read_card(Path({str(SHIPPED)!r})).usable; "
        "heavy = {'numpy', 'jsonschema', 'safetensors', 'torch', 'onnxruntime'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    seconds = []
    for _ in range(15):
        began = time.perf_counter()
        read_card(SHIPPED)
        seconds.append(time.perf_counter() - began)
    assert min(seconds) < 0.005
