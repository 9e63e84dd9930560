"""How loud the panel says what speaks against an answer, on light and on dark backgrounds."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest


@pytest.fixture
def findings(host: SimpleNamespace, volume: Any) -> Any:
    """A label with a warning that looks like markup, and a note."""
    from MedImgClassifierLib.engine.result import Finding

    said = (Finding("X", "warn", "a <b>slice</b> & more", {}), Finding("Y", "info", "a note", {}))
    usual = host.client.answer
    host.client.answer = lambda read: replace(usual(read), findings=said)
    host.press()
    return host.ui.findingsLabel


def lines(label: Any) -> tuple[str, str]:
    """The two paragraphs of the label as they stand in its rich text."""
    first, second = label.text.split("</p>")[:2]
    return first, second


def test_warnings_stand_out_and_notes_do_not(findings: Any) -> None:
    warning, note = lines(findings)
    assert "color: #8a5a00" in warning and "Warning: " in warning
    assert "color" not in note and "a note" in note


def test_words_of_a_finding_are_no_markup(findings: Any) -> None:
    assert "a &lt;b&gt;slice&lt;/b&gt; &amp; more" in findings.text


def test_colors_are_light_where_the_background_is_dark(host: SimpleNamespace, findings: Any) -> None:
    import qt

    palette = qt.QPalette(findings.palette)
    palette.setColor(qt.QPalette.Window, qt.QColor(50, 50, 50))
    findings.setPalette(palette)
    host.panel.panel.refresh()
    assert "color: #e3b341" in lines(findings)[0]
