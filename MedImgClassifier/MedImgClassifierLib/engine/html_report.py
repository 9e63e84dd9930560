"""report.html: one classification as one page that needs nothing else, for a reader and for the record.

No script, no address of anything, styles and pictures inside. No name of a patient, no path, no description is written:
what was classified is named by UIDs and hashes. Every text from outside is escaped.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from .appearance import EVIDENCE_THRESHOLD
from .card import Card
from .errors import Refusal
from .html_pictures import color_bar, label_colors, percent, plotted_lines, probability_plot, safe, slice_picture
from .html_style import STYLE
from .html_words import WORDS
from .result import Classification, notice
from .slice_view import classified_slices, display_window, displayed, evidence_on_view, slice_view
from .volume import Volume

_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"  # no script runs, nothing is fetched


def write_html(
    classification: Classification,
    volume: Volume | None,
    path: Path,
    language: str = "en",
    verdict: Mapping[str, str] | None = None,
    out_of_date: Sequence[str] = (),
    card: Card | None = None,
    current: int | None = None,
) -> None:
    """Write the page of `html_page` to a file, whole or not at all.

    Raises Refusal(USAGE_FILE_NOT_WRITTEN), and what html_page raises.
    """
    content = html_page(classification, volume, language, verdict, out_of_date, card, current).encode("utf-8")
    partial = path.absolute().with_name(f".{path.name[:40]}.partial-{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as failed:
        raise Refusal("USAGE_FILE_NOT_WRITTEN", path=path, reason=failed.strerror or failed) from None
    finally:
        with suppress(OSError):  # it is gone, or never was
            partial.unlink()


def html_page(
    classification: Classification,
    volume: Volume | None,
    language: str = "en",
    verdict: Mapping[str, str] | None = None,
    out_of_date: Sequence[str] = (),
    card: Card | None = None,
    current: int | None = None,
) -> str:
    """The report as HTML.

    volume: the one that was classified, None where it is not at hand (no pictures then). language: 'en' or 'zh'.
    verdict: the reviewer's, {'verdict': 'agree' | 'disagree' | 'unsure', 'corrected', 'comment', 'time'}, any of them
    may be missing. out_of_date: why the result is not of what is loaded now, in words. card: of the bundle, in the same
    language; one of another bundle is not shown. current: the row of the slice that is looked at.
    Raises ValueError where the classified slices do not lie in the volume.
    """
    page = _Page(classification, language)
    body = [
        page.head(out_of_date),
        page.findings(),
        page.verdict(verdict),
        page.plot(current),
        page.key_slices(volume),
        page.all_slices(),
        page.card(card),
        page.identification(),
    ]
    title = f"{page.words['title']}: {classification.bundle.get('title', '')}"
    return (
        f'<!DOCTYPE html>\n<html lang="{"zh-CN" if language == "zh" else "en"}"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{safe(title)}</title><style>{STYLE}</style></head>\n<body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


class _Page:
    """The parts of the page, in one language."""

    def __init__(self, classification: Classification, language: str) -> None:
        self.result, self.language, self.words = classification, language, WORDS[language]
        self.colors = label_colors(classification)
        self.panels: dict[tuple[int, int], list[str]] = {}
        """(row, label) of the key slices, from first to last -> why each is worth looking at."""
        for key in sorted(classification.key_slices, key=lambda key: (key.row, key.label)):
            self.panels.setdefault((key.row, key.label), []).append(key.why_in_words(language))

    def head(self, out_of_date: Sequence[str]) -> str:
        result, words = self.result, self.words
        stale = ""
        if out_of_date:
            stale = f'<div class="stale"><strong>{words["out of date"]}</strong>{_list(out_of_date)}</div>'
        model = f"{result.bundle.get('title', '')} {result.bundle.get('version', '')}"
        kind = "refused" if result.refused else "answer"
        return (
            f'<p class="notice">{safe(notice(self.language))}</p>{stale}'
            f'<header><p class="faint">{words["title"]} · {safe(model)}</p>'
            f'<h1 class="{kind}">{safe(result.in_words(self.language))}</h1></header>'
        )

    def findings(self) -> str:
        words, items = self.words, []
        for finding in sorted(self.result.findings, key=lambda f: ("refuse", "warn", "info").index(f.severity)):
            advice = finding.advice(self.language)
            items.append(
                f'<li class="{finding.severity}"><span class="tag">{words[finding.severity]}</span> '
                f"{safe(finding.text(self.language))} <code>{safe(finding.code)}</code>"
                + (f'<br><span class="faint">{words["to do"]}</span> {safe(advice)}' if advice else "")
                + "</li>"
            )
        body = f'<ul class="findings">{"".join(items)}</ul>' if items else f"<p>{words['no findings']}</p>"
        return _section(words["findings"], body)

    def verdict(self, verdict: Mapping[str, str] | None) -> str:
        words = self.words
        if not verdict:
            return _section(words["verdict"], f'<p class="faint">{words["not reviewed"]}</p>')
        said = str(verdict.get("verdict") or "")
        rows = [(words["verdict"], words[said] if said in ("agree", "disagree", "unsure") else said)]
        rows += [(words[key], str(verdict[key])) for key in ("corrected", "comment", "time") if verdict.get(key)]
        return _section(words["verdict"], _facts(rows))

    def plot(self, current: int | None) -> str:
        result, words = self.result, self.words
        if result.refused:
            return _section(words["plot"], f"<p>{words['no plot']}</p>")
        marks = {row: "" for row, _ in self.panels}
        for number, (row, _) in enumerate(self.panels, 1):
            marks[row] = f"{marks[row]}/{number}" if marks[row] else str(number)
        svg = probability_plot(result, marks, current, self.language, words)
        legend = "".join(f"<li>{_dot(color)}{safe(name)}</li>" for name, color, _ in plotted_lines(result, words))
        if current is not None:
            legend += f"<li>▼ {safe(words['current'].format(slice=self._slice_name(current)))}</li>"
        return _section(
            words["plot"],
            f'<p class="faint">{words["plot in words"]}</p>'
            f'<figure class="plot"><div class="wide">{svg}</div><ul class="legend">{legend}</ul></figure>',
        )

    def key_slices(self, volume: Volume | None) -> str:
        words = self.words
        if not self.panels:
            return _section(words["key slices"], f"<p>{words['no key slices']}</p>")
        cards = self._without_pictures() if volume is None else self._with_pictures(volume)
        return _section(words["key slices"], "".join(cards))

    def _without_pictures(self) -> Iterable[str]:
        yield f'<p>{self.words["no pictures"]}</p><div class="keys">'
        for number, ((row, label), why) in enumerate(self.panels.items(), 1):
            yield self._key_slice(number, row, label, why, "")
        yield "</div>"

    def _with_pictures(self, volume: Volume) -> Iterable[str]:
        words, evidence = self.words, self.result.evidence
        sliced, at = classified_slices(self.result, volume)
        black, white, _ = display_window(volume)
        window = {"black": black, "white": white, "width": white - black, "center": (white + black) / 2}
        about = [words["window" if volume.units == "HU" else "grey"].format(units=volume.units, **window)]
        if evidence is not None and not self.result.refused:
            about.append(words["scale"].format(threshold=EVIDENCE_THRESHOLD))
            about.append(words["method"].format(method=words.get(evidence.method, evidence.method)))
            ramp = f'<i style="background:{color_bar()}"></i>'
            yield f'<p class="bar"><span>{EVIDENCE_THRESHOLD}</span>{ramp}<span>1</span></p>'
        yield f'<p class="faint">{safe(" ".join(about))}</p><div class="keys">'
        for number, ((row, label), why) in enumerate(self.panels.items(), 1):
            view = displayed(slice_view(sliced, at[row]))
            name = self._slice_name(row)
            plain, caption = slice_picture(view, (black, white)), self._evidence_caption(row, label)
            if evidence is None or self.result.refused:
                pictures = [_picture(plain, f"{words['image alone']} ({caption})", name)]
            else:
                over = slice_picture(view, (black, white), evidence_on_view(evidence, row, label, view))
                pictures = [_picture(plain, words["image alone"], name), _picture(over, caption, name)]
            yield self._key_slice(number, row, label, why, f'<div class="pair">{"".join(pictures)}</div>')
        yield "</div>"

    def _evidence_caption(self, row: int, label: int) -> str:
        """No evidence is not the same as weak evidence, and neither as none computed."""
        evidence, words, name = self.result.evidence, self.words, self.result.labels[label].name
        if self.result.refused:
            return words["no class"]
        if evidence is None:
            return words["no evidence computed"]
        largest = float(evidence.shown(label)[row].max())
        if largest == 0:
            return words["no evidence"].format(label=name)
        if largest < EVIDENCE_THRESHOLD:
            return words["weak evidence"].format(largest=f"{largest:.2f}")
        return words["with evidence"].format(label=name)

    def _key_slice(self, number: int, row: int, label: int, why: Sequence[str], pictures: str) -> str:
        result, k = self.result, self.result.slices.native_k
        title = f'<b class="number">{number}</b>'
        if not result.refused:
            name, probability = safe(result.labels[label].name), percent(float(result.slices.probabilities[row, label]))
            title += f" {_dot(self.colors.get(label, ''))}{name} {probability}"
        tip = f' title="{safe(self.words["k"].format(number=k[row]))}"' if k else ""
        return (
            f'<article id="key-{number}"><h3>{title}</h3>'
            f"<p><span{tip}>{safe(self._slice_name(row))}</span> "
            f'<span class="faint">· {safe(", ".join(why))}</span></p>'
            f"{pictures}</article>"
        )

    def _slice_name(self, row: int) -> str:
        """As the reader knows it, e.g. 'image 34, S 45.2 mm'."""
        slices, words = self.result.slices, self.words
        if slices.instance_numbers:
            number = words["image"].format(number=slices.instance_numbers[row])
        else:
            number = words["slice"].format(number=slices.native_k[row] if slices.native_k else row)
        return f"{number}, {slices.position_in_words(row, self.language)}"

    def all_slices(self) -> str:
        result, words, slices = self.result, self.words, self.result.slices
        heads = ["column slice", "column image", "column position"]
        if not result.refused:
            heads += ["column class", "column probability", "column next", "column probability"]
        numbers: dict[int, list[str]] = {}
        for number, (row, _) in enumerate(self.panels, 1):
            numbers.setdefault(row, []).append(f'<a href="#key-{number}">{number}</a>')
        lines = []
        for row in range(len(slices)):
            cells = [str(slices.native_k[row]) if slices.native_k else str(row)]
            cells += [str(slices.instance_numbers[row]) if slices.instance_numbers else "–"]
            cells += [safe(slices.position_in_words(row, self.language))]
            cells += [] if result.refused else self._first_two(row)
            lines.append(_cells("td", [" ".join(numbers.get(row, [])), *cells]))
        table = f"<table><thead>{_cells('th', ['', *(words[head] for head in heads)])}</thead><tbody>{''.join(lines)}"
        summary = words["all slices"].format(count=len(slices))
        return f'<details><summary>{summary}</summary><div class="wide">{table}</tbody></table></div></details>'

    def _first_two(self, row: int) -> list[str]:
        probabilities, cells = self.result.slices.probabilities[row], []
        for label in (int(label) for label in (-probabilities).argsort(kind="stable")[:2]):
            cells.append(f"{_dot(self.colors.get(label, ''))}{safe(self.result.labels[label].name)}")
            cells.append(f"{probabilities[label]:.3f}")
        return cells

    def card(self, card: Card | None) -> str:
        bundle, words = self.result.bundle, self.words
        title, name, version = (safe(bundle.get(key, "")) for key in ("title", "id", "version"))
        if card is not None and card.usable and card.manifest_sha256 == bundle.get("manifest_sha256"):
            rows: list[tuple[str, str | Sequence[str]]] = list(card.sections())
        else:
            say = words["not stated"]
            rows = [("", words["card missing"])]
            rows += [(words[key], str(bundle.get(key) or say)) for key in ("intended_use", "licence")]
        return _section(words["card"], f"<p><b>{title}</b> ({name} {version})</p>{_facts(rows)}")

    def identification(self) -> str:
        words, known, bundle = self.words, self.result.provenance, self.result.bundle
        rows: list[tuple[str, str | Sequence[str]]] = []
        for name, source in _mapping(known.get("inputs")).items():
            source = _mapping(source)
            facts = [
                (words["series"], source.get("series_uid")),
                (words["modality"], source.get("modality")),
                (words["units"], source.get("units")),
                (words["shape"], " × ".join(str(side) for side in source.get("shape") or ())),
                (words["content"], source.get("content_sha256")),
            ]
            rows.append(
                (
                    words["channel"].format(name=name),
                    [what + words["colon"] + str(fact) for what, fact in facts if fact],
                )
            )
        limits = _mapping(known.get("restriction"))
        if limits:
            kind = words.get(str(limits.get("kind")), str(limits.get("kind")))
            span = words["slices from to"].format(first=limits.get("first"), last=limits.get("last"), kind=kind)
            rows.append((words["restriction"], span))
        rows += [
            (words["bundle"], f"{bundle.get('id', '')} {bundle.get('version', '')}"),
            (words["manifest"], str(bundle.get("manifest_sha256", ""))),
            (words["started"], str(known.get("started", ""))),
            (
                words["runtime"],
                ", ".join(str(known[key]) for key in ("runtime", "device", "precision") if key in known),
            ),
            (words["why"], str(known.get("runtime_choice", ""))),
            (words["selftest"], str(known.get("selftest_difference", ""))),
            (words["versions"], ", ".join(f"{name} {it}" for name, it in _mapping(known.get("versions")).items())),
        ]
        patient_free = f'<p class="faint">{words["patient free"]}</p>'
        return _section(words["identification"], patient_free + _facts([row for row in rows if row[1]]))


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>{body}</section>"


def _facts(rows: Iterable[tuple[str, str | Sequence[str]]]) -> str:
    """Headings with one or several lines each."""
    lines = []
    for heading, said in rows:
        texts = [said] if isinstance(said, str) else said
        lines.append(f"<dt>{safe(heading)}</dt><dd>{'<br>'.join(safe(text) for text in texts)}</dd>")
    return f"<dl>{''.join(lines)}</dl>"


def _list(texts: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{safe(text)}</li>' for text in texts)}</ul>"


def _cells(kind: str, cells: Iterable[str]) -> str:
    return f"<tr>{''.join(f'<{kind}>{cell}</{kind}>' for cell in cells)}</tr>"


def _dot(color: str) -> str:
    return f'<i class="dot" style="background:{color}"></i>' if color else '<i class="dot other"></i>'


def _picture(drawn: tuple[str, int, int], caption: str, name: str) -> str:
    uri, width, height = drawn
    image = f'<img src="{uri}" width="{width}" height="{height}" alt="{safe(f"{name}: {caption}")}">'
    return f"<figure>{image}<figcaption>{safe(caption)}</figcaption></figure>"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
