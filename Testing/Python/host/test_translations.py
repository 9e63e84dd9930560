"""Texts in the application's language. Runs with the host's own file and with that of a checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCE = """from slicer.i18n import tr as _


def text():
    return _("Classify")


def slices(n):
    return _("{n} slices").format(n=n)
"""
MESSAGE = "<message><source>{}</source><translation>{}</translation></message>"


def compile_translation(folder: Path, contexts: dict[str, dict[str, str]], name: str) -> None:
    tool = Path(sys.executable).with_name("pyside6-lrelease")
    if not tool.is_file() and not shutil.which("pyside6-lrelease"):
        pytest.skip("pyside6-lrelease is not installed")
    body = "".join(
        f"<context><name>{context}</name>{''.join(MESSAGE.format(*pair) for pair in texts.items())}</context>"
        for context, texts in contexts.items()
    )
    source = folder / "x.ts"
    source.write_text(f'<!DOCTYPE TS><TS version="2.1" language="zh_CN">{body}</TS>', encoding="utf-8")
    command = [str(tool if tool.is_file() else "pyside6-lrelease"), str(source), "-qm", str(folder / name)]
    subprocess.run(command, check=True, capture_output=True)
    source.unlink()


@pytest.fixture
def chinese(slicer: Any) -> Iterator[None]:
    from host import application

    application.set_language("zh_CN")
    yield
    application.set_language("en_US")


def load_source(folder: Path, name: str) -> Any:
    import importlib.util

    file = folder / f"{name}.py"
    file.write_text(SOURCE, encoding="utf-8")
    spec = importlib.util.spec_from_file_location(name, file)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_context_is_the_file_and_its_package(slicer: Any, tmp_path: Path, chinese: None) -> None:
    package = tmp_path / "lib"
    package.mkdir()
    (package / "__init__.py").touch()
    (tmp_path / "plain").mkdir()
    texts = {"lib.probeInside": {"Classify": "分类"}, "probeAlone": {"Classify": "开始"}}
    compile_translation(tmp_path, texts, "Probe_zh-CN.qm")
    inside, alone = load_source(package, "probeInside"), load_source(tmp_path / "plain", "probeAlone")
    assert (inside.text(), alone.text()) == ("Classify", "Classify")
    slicer.app.loadTranslations(str(tmp_path))
    assert (inside.text(), alone.text()) == ("分类", "开始")
    assert slicer.i18n.translate("probeAlone", "Classify") == "开始"


def test_translation_that_lost_a_placeholder_is_not_used(slicer: Any, tmp_path: Path, chinese: None) -> None:
    compile_translation(tmp_path, {"probeHolder": {"{n} slices": "{k} 层"}}, "Probe_zh_CN.qm")
    slicer.app.loadTranslations(str(tmp_path))
    assert load_source(tmp_path, "probeHolder").slices(3) == "3 slices"


@pytest.mark.parametrize(
    ("name", "used"), [("P_zh_CN.qm", True), ("P_zh-CN.qm", True), ("P_zh.qm", True), ("P_de.qm", False)]
)
def test_translation_of_the_language_is_found_by_its_name(
    slicer: Any, tmp_path: Path, chinese: None, name: str, used: bool
) -> None:
    compile_translation(tmp_path, {"c": {"Cancel": "取消"}}, name)
    slicer.app.loadTranslations(str(tmp_path))
    assert slicer.app.translate("c", "Cancel") == ("取消" if used else "Cancel")


def test_english_loads_no_translation(slicer: Any, tmp_path: Path) -> None:
    compile_translation(tmp_path, {"c": {"Cancel": "取消"}}, "P_zh_CN.qm")
    slicer.app.loadTranslations(str(tmp_path))
    assert slicer.app.translate("c", "Cancel") == "Cancel"
    assert slicer.app.applicationLocaleName == "en_US"


def test_widgets_hear_that_the_language_changed(slicer: Any, tmp_path: Path, chinese: None) -> None:
    import qt

    heard: list[int] = []

    def changed(self: Any, event: Any) -> None:
        heard.append(event.type())

    widget = type("Widget", (qt.QWidget,), {"changeEvent": changed})()
    widget.show()
    compile_translation(tmp_path, {"c": {"Cancel": "取消"}}, "P_zh_CN.qm")
    slicer.app.loadTranslations(str(tmp_path))
    slicer.app.processEvents()
    assert qt.QEvent.LanguageChange in heard
    widget.close()
