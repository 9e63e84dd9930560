"""Where `_` gets its words: in Slicer from Slicer, elsewhere from the `.ts` file; for English from no file at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import update_translations as tool

ROOT = Path(__file__).resolve().parents[3]
TRANSLATIONS = ROOT / "MedImgClassifier" / tool.TRANSLATIONS
SLICER = os.environ.get("SLICER_PYTHON_DIR", "")

# A Slicer that is only what translation.py touches; with SLICER_PYTHON_DIR its i18n.py is Slicer's own.
STUB = """
import importlib.util, sys, types
from pathlib import Path
slicer = sys.modules["slicer"] = types.ModuleType("slicer")
slicer.__path__ = []
slicer.app = types.SimpleNamespace(loadTranslations=lambda folder: loaded.append(folder), translate=lambda c, t: t)
loaded = []
i18n = types.ModuleType("slicer.i18n")
i18n.tr = lambda text: "from Slicer"
if {own!r}:
    spec = importlib.util.spec_from_file_location("slicer.i18n", Path({own!r}) / "slicer/i18n.py")
    i18n = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(i18n)
slicer.i18n = sys.modules["slicer.i18n"] = i18n
"""
# What is asked of a process of its own, where neither Slicer nor a stand-in is.
ALONE = """
import sys
sys.modules["slicer"] = None
opened = []
sys.addaudithook(lambda event, arguments: opened.append(str(arguments[0])) if event == "open" else None)
from MedImgClassifierLib import presenter, translation
"""


def answer(*program: str) -> Any:
    """What a program prints last, as JSON; in a Python of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "MedImgClassifier"), "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", "\n".join(["import json", *program])]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def chinese(context: str, text: str) -> str:
    return tool.read(TRANSLATIONS / "MedImgClassifier_zh-CN.ts")[context, text, ""].translation


SAID = "presenter.present(presenter.Situation()).answer.text"


def test_english_reads_no_file() -> None:
    said = answer(
        ALONE,
        f"said = [{SAID}, translation.language()]",
        "xml = 'xml.etree.ElementTree' in sys.modules",
        "print(json.dumps([*said, xml, [path for path in opened if path.endswith('.ts')]]))",
    )
    assert said == ["No result yet.", "en", False, []]


def test_without_slicer_the_presenter_speaks_the_language_that_is_set() -> None:
    said = answer(
        ALONE,
        "said = []",
        "for language in ('zh', 'zh-CN', 'en'):",
        "    translation.setLanguage(language)",
        f"    said += [{SAID}, translation.language()]",
        "print(json.dumps(said))",
    )
    words = chinese("MedImgClassifierLib.presenter", "No result yet.")
    assert words and words != "No result yet."
    assert said == [words, "zh", words, "zh", "No result yet.", "en"]


def test_a_language_without_translation_is_refused_and_the_other_stays() -> None:
    said = answer(
        ALONE,
        "translation.setLanguage('zh')",
        "try: translation.setLanguage('xx')",
        "except ValueError as error: print(json.dumps([str(error), translation.language()]))",
    )
    assert said == ["there is no translation into 'xx'", "zh"]


def test_a_text_is_looked_up_under_the_file_that_says_it(tmp_path: Path) -> None:
    messages = [
        tool.Message("scene.results", "Slice", translation="层", kind=""),
        tool.Message("MedImgClassifierLib.presenter", "Slice", translation="切片", kind=""),
        tool.Message("MedImgClassifierLib.presenter", "Later", translation="?", kind="unfinished"),
        tool.Message("MedImgClassifierLib.presenter", "Gone", translation="?", kind="vanished"),
        tool.Message("MedImgClassifierLib.presenter", "A & <b>", translation="甲 & <乙>", kind=""),
    ]
    (tmp_path / "MedImgClassifier_zh-CN.ts").write_text(tool.written(messages, "zh_CN"), encoding="utf-8")
    said = answer(
        ALONE,
        "from pathlib import Path",
        f"translation._FOLDERS = (Path({str(tmp_path)!r}),)",
        "translation.setLanguage('zh')",
        "def say(module, *texts):",
        "    names = {'__name__': module, '_': translation._}",
        "    return [eval(f'_({text!r})', names) for text in texts]",
        "said = [*say('MedImgClassifierLib.scene.results', 'Slice'), *say('MedImgClassifierLib.scene.views', 'Slice')]",
        "said += say('MedImgClassifierLib.presenter', 'Slice', 'Later', 'Gone', 'A & <b>')",
        "print(json.dumps(said))",
    )
    assert said == ["层", "Slice", "切片", "Later", "Gone", "甲 & <乙>"]


def test_in_slicer_it_is_the_function_of_slicer_itself() -> None:
    """A function around it would have every text looked up under translation.py."""
    said = answer(
        STUB.format(own=""),
        "from MedImgClassifierLib import presenter, translation",
        "print(json.dumps([translation._ is i18n.tr, presenter._ is i18n.tr, translation.language()]))",
    )
    assert said == [True, True, "from Slicer"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("", [str(Path("/r") / "Translations")]),
        ("slicer.app = types.SimpleNamespace()", []),
        ("del slicer.app", []),
    ],
    ids=["Slicer", "a Slicer without it", "slicer-core"],
)
def test_slicer_is_asked_to_load_the_folder_where_it_can(change: str, expected: list[str]) -> None:
    said = answer(
        STUB.format(own=""),
        change,
        "from MedImgClassifierLib import translation",
        "translation.loadTranslations('/r')",
        "print(json.dumps(loaded))",
    )
    assert said == expected


@pytest.mark.skipif(not SLICER, reason="SLICER_PYTHON_DIR names no Base/Python of a Slicer checkout")
def test_slicers_own_lookup_finds_our_contexts_in_the_qm() -> None:
    pytest.importorskip("PySide6.QtCore")
    said = answer(
        STUB.format(own=SLICER),
        "from PySide6.QtCore import QCoreApplication, QTranslator",
        "application, translator = QCoreApplication([]), QTranslator()",
        f"assert translator.load({str(TRANSLATIONS / 'MedImgClassifier_zh-CN.qm')!r})",
        "QCoreApplication.installTranslator(translator)",
        "slicer.app.translate = QCoreApplication.translate",
        "from MedImgClassifierLib import presenter, translation",
        f"print(json.dumps([{SAID}, translation.language()]))",
    )
    assert said == [chinese("MedImgClassifierLib.presenter", "No result yet."), "zh"]
