"""Classification -> results.json, results.csv (a row a slice) and the table on the terminal (docs/results.md)."""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .result import NOTICE, Classification, Finding, notice

TABLE_WIDTH = 100
TABLE_RUNS = 40
"""Most lines of runs a terminal table has; the rest is counted in words."""


class _Words(NamedTuple):
    """The words of the table on the terminal."""

    head: tuple[str, str, str, str, str, str]
    between: str
    more: str
    answer: str
    use: str
    no_use: str
    severity: Mapping[str, str]


_WORDS = {
    "en": _Words(
        head=("slices", "images", "position", "label", "lowest p", "median p"),
        between=" to ",
        more="... and {count} further runs: see results.csv",
        answer="answer: {text}",
        use="intended use: {text}",
        no_use="not stated",
        severity={"refuse": "refused", "warn": "warning", "info": "note"},
    ),
    "zh": _Words(
        head=("切片", "图像", "位置", "类别", "最低 p", "中位 p"),
        between=" 至 ",
        more="……另有 {count} 段：见 results.csv",
        answer="结果：{text}",
        use="预期用途：{text}",
        no_use="未说明",
        severity={"refuse": "拒绝", "warn": "警告", "info": "提示"},
    ),
}


def write_json(classification: Classification, path: Path) -> None:
    """results.json: one line per member, and one per slice. Raises ValueError where a number is not finite."""
    members = [f"{_json(key)}: {_json_member(value)}" for key, value in classification.to_json().items()]
    path.write_text("{\n" + ",\n".join(members) + "\n}\n", encoding="utf-8", newline="\n")


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)  # ASCII only: whatever text comes in, the file can be written


def _json_member(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(_json(item) for item in value) + "\n]"
    return _json(value)


def write_csv(classification: Classification, path: Path) -> None:
    """results.csv: one row per classified slice, UTF-8; positions are LPS millimetres, empty means unknown.

    Floats are written so that reading them gives the same number back. The last columns repeat in every
    row what a reader must know when the table has lost its folder.
    """
    document = classification.to_json()
    bundle = document["bundle"]
    constant = [
        f"{bundle.get('id', '')} {bundle.get('version', '')}".strip(),
        "yes" if classification.calibrated else "no",
        f"{_out_of_date(classification)}{NOTICE} Intended use: {bundle.get('intended_use') or 'not stated'}",
    ]
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)  # RFC 4180 line ends: with "\n" Python 3.11 would not quote a lone "\r"
        table.writerow(
            [
                *("k", "instance_number", "sop_instance_uid", "position_mm", "x_lps_mm", "y_lps_mm", "z_lps_mm"),
                *("label", "probability", *(f"p_{label.name}" for label in classification.labels)),
                *("evidence_x_lps_mm", "evidence_y_lps_mm", "evidence_z_lps_mm"),
                *("bundle", "calibrated", "notice"),
            ]
        )
        for row in document["slices"]:
            cells = [row["k"], row["instance_number"], row["sop_instance_uid"], row["position_mm"]]
            cells += [*row["centre_lps"], row["label"], row["probability"], *row["probabilities"]]
            cells += [*(row["evidence_peak_lps"] or [None] * 3), *constant]
            table.writerow([_harmless(cell) if isinstance(cell, str) else cell for cell in cells])


def _out_of_date(classification: Classification) -> str:
    """In front of the notice where the one who writes the file knows that the result is no longer true of its input."""
    reasons = classification.provenance.get("out_of_date")
    return f"OUT OF DATE ({', '.join(reasons)} changed since). " if reasons else ""


def _harmless(cell: str) -> str:
    """A text that a spreadsheet would take for a formula gets an apostrophe in front (OWASP, "CSV injection")."""
    return f"'{cell}" if cell.lstrip()[:1] in tuple("=+-@") or cell[:1] in ("\t", "\r", "\n") else cell


def table(classification: Classification, language: str = "en") -> str:
    """The answer for a terminal of 100 columns: runs of slices with one label, answer, findings, notice.

    language: 'en' or 'zh'. What a bundle says of itself stays as it is.
    """
    words = _WORDS[language]
    lines = [] if classification.refused else [*_run_lines(classification, language), ""]
    lines += wrapped(words.answer.format(text=classification.in_words(language)))
    for finding in classification.findings:
        lines += wrapped(finding_in_words(finding, language))
    lines += wrapped(words.use.format(text=classification.bundle.get("intended_use") or words.no_use))
    return "\n".join([*lines, notice(language)])


def finding_in_words(finding: Finding, language: str = "en") -> str:
    """e.g. 'warning[QUALITY_TILT]: sheared by 18.5 degrees'. language: 'en' or 'zh'."""
    return f"{_WORDS[language].severity[finding.severity]}[{finding.code}]: {finding.text(language)}"


def _run_lines(classification: Classification, language: str) -> list[str]:
    slices, best, words = classification.slices, classification.slices.best, _WORDS[language]
    runs = [list(run) for _, run in groupby(range(len(slices)), key=lambda n: int(best[n]))]
    cells = [list(words.head)]
    for run in runs[:TABLE_RUNS]:
        first, last = run[0], run[-1]
        probability = slices.probabilities[run, best[first]]
        numbers = slices.native_k or range(len(slices))
        images = slices.instance_numbers
        cells.append(
            [
                _span(str(numbers[first]), str(numbers[last])),
                _span(str(images[first]), str(images[last])) if images else "-",
                _span(
                    slices.position_in_words(first, language), slices.position_in_words(last, language), words.between
                ),
                plain(classification.labels[best[first]].name),
                f"{probability.min():.3f}",
                f"{float(np.median(probability)):.3f}",
            ]
        )
    widths = [max(display_width(row[column]) for row in cells) for column in range(6)]
    widths[3] = min(widths[3], TABLE_WIDTH - 2 * 5 - sum(widths) + widths[3])
    lines = ["  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    if len(runs) > TABLE_RUNS:
        lines.append(words.more.format(count=len(runs) - TABLE_RUNS))
    return [line.rstrip() for line in lines]


def _span(first: str, last: str, between: str = "-") -> str:
    return first if first == last else f"{first}{between}{last}"


def plain(text: str) -> str:
    """Text on one line without control characters (a label may not move the cursor or colour a terminal)."""
    return "".join(c if c.isprintable() else " " for c in text)


def display_width(text: str) -> int:
    """Columns a text takes in a fixed-width font: wide (CJK) characters two, combining marks none."""
    return sum((1 + (unicodedata.east_asian_width(c) in "WF")) * (not unicodedata.combining(c)) for c in text)


def shortened(text: str, width: int) -> str:
    """Text that takes at most `width` columns: a long one ends in an ellipsis."""
    if display_width(text) <= width:
        return text
    while text and display_width(text) > width - 1:
        text = text[:-1]
    return text.rstrip() + "…"


def padded(text: str, width: int) -> str:
    """Text that takes exactly `width` columns."""
    text = shortened(text, width)
    return text + " " * (width - display_width(text))


def wrapped(text: str, width: int = TABLE_WIDTH) -> list[str]:
    """Lines of at most `width` columns, broken at spaces, or within a word that is longer than a line."""
    lines = [""]
    for word in plain(text).split():
        if lines[-1] and display_width(lines[-1]) + 1 + display_width(word) > width:
            lines.append("")
        lines[-1] += (" " if lines[-1] else "") + word
        while display_width(lines[-1]) > width:
            head = lines[-1]
            while display_width(head) > width:
                head = head[:-1]
            lines[-1:] = [head, lines[-1][len(head) :]]
    return lines
