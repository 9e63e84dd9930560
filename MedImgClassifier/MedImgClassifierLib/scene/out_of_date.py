"""The mark of a result that is no longer true of its input, where a reader without the panel sees it too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..translation import _
from . import nodes


def markOutOfDate(table: Any, reasons: Sequence[str]) -> None:
    """Say on a result why it is out of date, or with no reasons that it is not.

    reasons: of freshness.Freshness. Description of the table (with the reasons), title of the chart and name of the
    evidence volume get the words put before their texts, and lose them again; each node bears the reasons as its
    attribute MedImgClassifier.OutOfDate. What is marked so already is not modified.
    """
    words = _("OUT OF DATE: ")
    inFull = _("OUT OF DATE ({reasons}): ").format(reasons=", ".join(_inWords(reason) for reason in reasons))
    chart, evidence = (table.GetNodeReference(role) for role in (nodes.CHART_ROLE, nodes.EVIDENCE_ROLE))
    _mark(table, reasons, inFull, table.GetDescription, table.SetDescription)
    if chart is not None:
        _mark(chart, reasons, words, chart.GetTitle, chart.SetTitle)
    if evidence is not None:
        _mark(evidence, reasons, words, evidence.GetName, evidence.SetName)


def _mark(node: Any, reasons: Sequence[str], words: str, getText: Any, setText: Any) -> None:
    text, old = getText() or "", node.GetAttribute(nodes.OUT_OF_DATE_TEXT) or ""
    # The words as they were put there: another language may be set by now, and the text may be a new one.
    if text.startswith(old):
        text = text[len(old) :]
    wasModified = node.StartModify()
    if reasons:
        node.SetAttribute(nodes.OUT_OF_DATE, ", ".join(reasons))
        node.SetAttribute(nodes.OUT_OF_DATE_TEXT, words)
        setText(words + text)
    else:
        node.RemoveAttribute(nodes.OUT_OF_DATE)
        node.RemoveAttribute(nodes.OUT_OF_DATE_TEXT)
        setText(text)
    node.EndModify(wasModified)


def _inWords(reason: str) -> str:
    words = {
        "voxels": _("voxels changed"),
        "geometry": _("volume moved"),
        "transform": _("transform changed"),
        "bundle": _("model replaced or removed"),
        "input removed": _("volume removed"),
        "unbound": _("unknown input"),
    }
    return words.get(reason, reason)
