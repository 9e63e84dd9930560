"""Every text that a user sees can be translated, is translated, and is compiled: the faces speak two languages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import update_translations as tool
from translation_faults import faults

ROOT = Path(__file__).resolve().parents[3]
MODULE = ROOT / "MedImgClassifier"
TS = Path(tool.TRANSLATIONS) / "MedImgClassifier_zh-CN.ts"


def test_every_text_is_extracted_translated_and_compiled() -> None:
    assert (MODULE / TS).is_file() and len(tool.texts(MODULE)) > 100
    found = faults(MODULE)
    assert not found, "\n".join(found)


def test_the_translation_names_the_language_that_the_engine_shall_speak() -> None:
    for path in (MODULE / tool.TRANSLATIONS).glob("*.ts"):
        code = tool.read(path)["MedImgClassifierLib.translation", "en", ""].translation
        assert tool.language_of(path).split("_")[0] == code


UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Panel</class><widget class="QWidget" name="Panel">
 <property name="windowTitle"><string>Panel</string></property>
 <property name="SlicerParameterName" stdset="0"><string notr="true">inputVolume</string></property>
 <property name="nodeTypes"><stringlist notr="true"><string>vtkMRMLNode</string></stringlist></property>
 <property name="text" stdset="0"><string comment="a verb">Show &amp; tell</string></property>
 <attribute name="title"><string>Tab</string></attribute>
</widget></ui>
"""
PRESENTER = """
from .translation import _
def present(count):
    '''A docstring of some words.'''
    return Line(_("{count} slices").format(count=count), tip=_("Classify"))
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small module without a fault."""
    tmp_path = tmp_path_factory.mktemp("module")
    library = tmp_path / "MedImgClassifierLib"
    for folder in (library, library / "panel", library / "scene"):
        folder.mkdir()
        (folder / "__init__.py").touch()
    (tmp_path / "MedImgClassifier.py").write_text(
        "from slicer.i18n import tr as _, translate\n"
        'category = translate("qSlicerAbstractCoreModule", "Informatics")\n'
        'label.text = _("It\'s \\"<{label}>\\" & so\\non").format(label=1) if on else ""\n'
        'logging.info("what no user sees")\nnode.name = f"{a} {b}"\n'
    )
    (library / "presenter.py").write_text(PRESENTER)
    (library / "panel/models.py").write_text('from ..translation import _\nbox.addItem(_("Classify"), "id")\n')
    (library / "scene/results.py").write_text('from ..translation import _\ncolumn = _("Slice")\n')
    (tmp_path / "Resources/UI").mkdir(parents=True)
    (tmp_path / "Resources/UI/Panel.ui").write_text(UI)
    path = tmp_path / TS
    path.parent.mkdir()
    path.write_text(tool.written([], "zh_CN"))
    assert tool.main(tmp_path) == 1, "all is to be translated"
    translate(path)
    assert tool.main(tmp_path) == 0
    return tmp_path


@pytest.fixture
def module(sound: Path, tmp_path: Path) -> Path:
    """A copy of that module, to be spoiled."""
    return Path(shutil.copytree(sound, tmp_path / "module"))


def translate(path: Path) -> None:
    """Finish what is unfinished, each text with its own brackets."""
    messages = [
        tool.replace(m, translation=f"〔{m.source}〕", kind="") if m.kind == "unfinished" else m
        for m in tool.read(path).values()
    ]
    path.write_text(tool.written(messages, "zh_CN"), encoding="utf-8")


def test_a_module_without_a_fault_has_none(module: Path) -> None:
    assert faults(module) == []


def test_contexts_are_those_under_which_slicer_looks_a_text_up(module: Path) -> None:
    assert set(tool.texts(module)) == {
        ("MedImgClassifier", 'It\'s "<{label}>" & so\non', ""),
        ("MedImgClassifierLib.presenter", "{count} slices", ""),
        ("MedImgClassifierLib.presenter", "Classify", ""),
        ("Panel", "Panel", ""),
        ("Panel", "Show & tell", "a verb"),
        ("Panel", "Tab", ""),
        ("panel.models", "Classify", ""),
        ("scene.results", "Slice", ""),
    }


EDITS = {
    "f-string in _()": ("panel/x.py", '_(f"{n} slices")', "cannot be extracted"),
    "variable in _()": ("panel/x.py", "_(text)", "cannot be extracted"),
    "two literals in _()": ("scene/x.py", '_("a", "b")', "cannot be extracted"),
    "format inside _()": ("presenter.py", '_("{n} slices".format(n=1))', "cannot be extracted"),
    "variable in translate()": ("panel/x.py", 'translate(context, "Volume")', "cannot be extracted"),
    "_() in an f-string": ("scene/x.py", "f\"{name} {_('Slice')}\"", "inside an f-string"),
    "_ as a loop variable": (
        "scene/results.py",
        'from ..translation import _\nfor _ in (): _("Slice")',
        "another name",
    ),
    "_ as an argument": ("scene/results.py", 'from ..translation import _\nf = lambda _: _("Slice")', "another name"),
    "a property set to a literal": ("panel/x.py", 'self.ui.label.text = "Ready"', "'Ready' is not in _()"),
    "a property set to an f-string": ("panel/x.py", 'label.toolTip = f"{n} images"', "' images' is not in _()"),
    "a property set to one of two": ("panel/x.py", 'b.text = _("Tab") if on else "Off now"', "'Off now' is not in _()"),
    "markup around a word": ("panel/x.py", 'label.text = "<b>Ready</b>"', "is not in _()"),
    "a literal on a widget": ("panel/x.py", 'box.setText("Ready")', "'Ready' is not in _()"),
    "a literal in a dialog": (
        "../MedImgClassifier.py",
        'slicer.util.errorDisplay("Failed: " + why)',
        "'Failed: ' is not",
    ),
    "a window's title": ("panel/x.py", 'confirmYesNoDisplay(t, windowTitle="Models")', "'Models' is not in _()"),
    "a sentence anywhere": ("presenter.py", 'WORDS = {"a b": "no result yet"}', "'no result yet' is not in _()"),
    "a line of the presenter": ("presenter.py", 'Line("Ready")', "'Ready' is not in _()"),
    "a new text": ("scene/x.py", 'from ..translation import _\n_("New text")', "'New text' is missing"),
    "a new text of a .ui file": ("../Resources/UI/Panel.ui", UI.replace(">Tab<", ">Card<"), "'Card' is missing"),
    "a text that went": ("scene/results.py", "", "'Slice' is no text of the module"),
    "a text that moved": ("scene/y.py", 'from ..translation import _\n_("Slice")', "scene.y: 'Slice' is missing"),
}


@pytest.mark.parametrize("seed", EDITS)
def test_a_text_that_no_translator_would_see_is_found(module: Path, seed: str) -> None:
    where, source, said = EDITS[seed]
    (module / "MedImgClassifierLib" / where).write_text(source + "\n")
    assert any(said in line for line in faults(module)), faults(module)


CHANGES = {
    "an empty translation": ("〔Slice〕", "", "'Slice' is not translated"),
    "an unfinished one": (
        "<translation>〔Slice",
        '<translation type="unfinished">〔Slice',
        "'Slice' is not translated",
    ),
    "another placeholder": ("〔{count} slices〕", "〔{Count} slices〕", "other placeholders"),
    "a placeholder too few": ("〔{count} slices〕", "slices", "other placeholders"),
    "a brace that is not closed": ("〔{count} slices〕", "{count} {slices", "other placeholders"),
    "another language": ('language="zh_CN"', 'language="zh_TW"', "its name says zh-CN"),
    "a better translation that is not compiled": ("〔Slice〕", "层", "its .qm is older"),
    "a file written otherwise": ("    <message>", "<message>", "not as `make translations` writes it"),
}


@pytest.mark.parametrize("seed", CHANGES)
def test_a_translation_that_is_missing_wrong_or_stale_is_found(module: Path, seed: str) -> None:
    old, new, said = CHANGES[seed]
    path = module / TS
    before = path.read_text(encoding="utf-8")
    assert old in before
    path.write_text(before.replace(old, new), encoding="utf-8")
    assert any(said in line for line in faults(module)), faults(module)


def test_a_qm_that_is_missing_or_cut_is_found(module: Path) -> None:
    compiled = (module / TS).with_suffix(".qm")
    compiled.write_bytes(compiled.read_bytes()[:-1])
    assert any("its .qm is older" in line for line in faults(module))
    compiled.unlink()
    assert any("its .qm is older" in line for line in faults(module))


def test_updating_keeps_translations_marks_what_vanished_and_takes_it_back(module: Path) -> None:
    path, results = module / TS, module / "MedImgClassifierLib/scene/results.py"
    before, source = path.read_text(encoding="utf-8"), results.read_text()
    results.write_text("")
    assert tool.main(module) == 0 and faults(module) == []
    gone = tool.read(path)["scene.results", "Slice", ""]
    assert (gone.kind, gone.translation) == ("vanished", "〔Slice〕")
    (results.parent / "moved.py").write_text(source)
    assert tool.main(module) == 0 and faults(module) == [], "a text that moved keeps its translation"
    (results.parent / "moved.py").unlink()
    results.write_text(source)
    assert tool.main(module) == 0 and faults(module) == []
    again = {key: m for key, m in tool.read(path).items() if m.kind != "vanished"}
    path.write_text(before, encoding="utf-8")
    assert again == tool.read(path)


def test_the_same_texts_give_the_same_bytes(module: Path) -> None:
    files = [module / TS, (module / TS).with_suffix(".qm")]
    before = [file.read_bytes() for file in files]
    tool.main(module)
    assert [file.read_bytes() for file in files] == before


def test_what_is_not_finished_is_not_compiled(module: Path) -> None:
    path = module / TS
    before = path.read_text(encoding="utf-8")
    compiled = []
    for draft in ("", "a draft"):
        unfinished = f'<translation type="unfinished">{draft}</translation>'
        path.write_text(before.replace("<translation>〔Slice〕</translation>", unfinished), encoding="utf-8")
        compiled.append(tool.compiled(path))
    assert compiled[0] == compiled[1] != path.with_suffix(".qm").read_bytes()


def test_the_loader_of_ui_files_finds_their_translations(sound: Path) -> None:
    program = (
        "from PySide6 import QtCore, QtUiTools, QtWidgets",
        "application, translator = QtWidgets.QApplication([]), QtCore.QTranslator()",
        f"assert translator.load({str((sound / TS).with_suffix('.qm'))!r})",
        "application.installTranslator(translator)",
        f"panel = QtUiTools.QUiLoader().load({str(sound / 'Resources/UI/Panel.ui')!r})",
        "print(panel.windowTitle(), panel.property('text'), panel.property('SlicerParameterName'))",
    )
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", "\n".join(program)]
    run = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, check=False)
    assert run.stdout == "〔Panel〕 〔Show & tell〕 inputVolume\n", run.stderr


def test_qt_finds_every_translation_under_its_context() -> None:
    """Through QTranslator, as Slicer does: what it is asked for is (context, text) and comes from the .qm alone."""
    core = pytest.importorskip("PySide6.QtCore")
    for path in (MODULE / tool.TRANSLATIONS).glob("*.ts"):
        translator = core.QTranslator()
        assert translator.load(str(path.with_suffix(".qm")))
        for message in tool.read(path).values():
            said = translator.translate(message.context, message.source, message.comment or None)
            assert said == ("" if message.kind == "vanished" else message.translation), message
