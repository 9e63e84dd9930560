"""The pictures of the HTML report: the probability plot as SVG, slices as PNG in data URIs. numpy and Pillow only."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from math import ceil

import numpy as np
from numpy.typing import NDArray

from .appearance import EVIDENCE_ANCHORS, EVIDENCE_THRESHOLD, LABEL_COLORS
from .report import plain
from .result import Classification
from .slice_view import SliceView, patient_letter

LONGEST_SIDE = 320  # pixels of a picture
LETTER_PIXELS = 17
OTHER_COLOR = "#8b949e"  # of all labels beyond the palette


def safe(text: object) -> str:
    """Text from outside as HTML: escaped, on one line, without control characters."""
    return escape(plain(str(text)))


def percent(probability: float) -> str:
    """Whole percent, but never '100 %' or '0 %' for what only rounds to it."""
    if 0.995 <= probability < 1:
        return "> 99 %"
    return "< 1 %" if 0 < probability < 0.005 else f"{100 * probability:.0f} %"


def label_colors(classification: Classification) -> dict[int, str]:
    """'#rrggbb' by label: as in overlay.png, the palette goes to the labels that reach the highest probabilities."""
    reached = classification.slices.probabilities.max(axis=0)
    shown = sorted(int(label) for label in np.argsort(-reached, kind="stable")[: len(LABEL_COLORS)])
    return {label: _hex(LABEL_COLORS[at]) for at, label in enumerate(shown)}


def probability_plot(
    classification: Classification,
    marks: Mapping[int, str],
    current: int | None,
    language: str,
    words: Mapping[str, str],
) -> str:
    """An SVG of one line per label, rows of the classification to the right.

    marks: row -> text of its mark (the number of a key slice); current: a row that is shown in the views, or None.
    """
    left, right, top, bottom, width, height = 44, 946, 34, 222, 960, 270
    slices, rows = classification.slices, len(classification.slices)

    def x(row: float) -> float:
        return left + (right - left) * ((row + 0.5) / rows)

    def y(probability: float) -> float:
        return bottom - (bottom - top) * probability

    parts = [f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{safe(words["plot in words"])}">']
    for level in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<path class="grid" d="M{left} {y(level):.1f}H{right}"/>')
        parts.append(f'<text class="end" x="{left - 6}" y="{y(level) + 4:.1f}">{level:.0%}</text>')
    numbers = slices.instance_numbers or slices.native_k or tuple(range(rows))
    for row in range(0, rows, ceil(rows / 10)):
        parts.append(f'<path class="grid" d="M{x(row):.1f} {bottom}v5"/>')
        parts.append(f'<text class="mid" x="{x(row):.1f}" y="{bottom + 20}">{numbers[row]}</text>')
        position = safe(slices.position_in_words(row, language))
        parts.append(f'<text class="mid faint" x="{x(row):.1f}" y="{bottom + 37}">{position}</text>')
    before, raised = -np.inf, False
    for row, text in sorted(marks.items()):
        raised = not raised and x(row) - before < 16  # else the numbers would overlap
        before = x(row)
        parts.append(f'<path class="mark" d="M{x(row):.1f} {bottom}V{top - 4}"/>')
        parts.append(f'<text class="mid bold" x="{x(row):.1f}" y="{top - (22 if raised else 9)}">{safe(text)}</text>')
    if current is not None:
        parts.append(f'<path class="current" d="M{x(current):.1f} {bottom}V{top}l-6 -9h12l-6 9"/>')
    for _, color, line in plotted_lines(classification, words):
        points = " ".join(f"{x(row):.1f},{y(p):.1f}" for row, p in enumerate(line))
        parts.append(f'<polyline points="{points}" stroke="{color}"/>')
        if rows <= 60:
            parts += [f'<circle cx="{x(n):.1f}" cy="{y(p):.1f}" r="2.6" fill="{color}"/>' for n, p in enumerate(line)]
    return "".join([*parts, "</svg>"])


def plotted_lines(
    classification: Classification, words: Mapping[str, str]
) -> list[tuple[str, str, NDArray[np.float64]]]:
    """(name, colour, probability [N]); labels beyond the palette are one line, their sum."""
    colors, probabilities = label_colors(classification), classification.slices.probabilities
    lines = [(classification.labels[label].name, color, probabilities[:, label]) for label, color in colors.items()]
    others = [label for label in range(len(classification.labels)) if label not in colors]
    if others:
        lines.append((words["others"].format(count=len(others)), OTHER_COLOR, probabilities[:, others].sum(axis=1)))
    return lines


def slice_picture(
    view: SliceView, window: tuple[float, float], evidence: NDArray[np.float32] | None = None
) -> tuple[str, int, int]:
    """A PNG as data URI, its width and height: the slice in true proportion with the patient's sides at its edges.

    window: values that are black and white; evidence: [rows, columns] 0..1, laid over it in colour.
    """
    from PIL import Image

    black, white = window
    grey = np.clip((view.image - black) / ((white - black) or 1.0), 0, 1)
    pixels = grey if evidence is None else _with_evidence(grey, evidence)
    millimetres = np.multiply(view.spacing_mm, view.image.shape[::-1])
    width, height = (max(1, int(side)) for side in np.round(LONGEST_SIDE * millimetres / millimetres.max()))
    picture = Image.fromarray(np.round(255 * pixels).astype(np.uint8))
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    _draw_sides(picture, view.to_lps)
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", width, height


def color_bar() -> str:
    """The colours of drawn evidence as a CSS gradient, from the threshold to 1."""
    stops = np.linspace(EVIDENCE_THRESHOLD, 1, 9)
    colors = _evidence_rgb(stops.astype(np.float32))
    return f"linear-gradient(to right,{','.join(_hex(color) for color in colors)})"


def _with_evidence(grey: NDArray[np.float32], evidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """[rows, columns, 3]: less transparent the stronger it is, nothing below the threshold, as in overlay.png."""
    rising = (evidence - EVIDENCE_THRESHOLD) / (1 - EVIDENCE_THRESHOLD)
    alpha = np.where(evidence >= EVIDENCE_THRESHOLD, 0.15 + 0.47 * rising, 0)[..., None]
    return np.asarray((1 - alpha) * grey[..., None] + alpha * _evidence_rgb(evidence), np.float32)


def _evidence_rgb(evidence: NDArray[np.float32]) -> NDArray[np.float64]:
    steps = np.linspace(0, 1, len(EVIDENCE_ANCHORS))
    return np.stack([np.interp(evidence, steps, channel) for channel in zip(*EVIDENCE_ANCHORS, strict=True)], axis=-1)


def _draw_sides(picture: object, to_lps: NDArray[np.float64]) -> None:
    """R, L, A, P, I, S at the edges, so that a picture that is copied out of the report still says where it looks."""
    from PIL import Image, ImageDraw, ImageFont

    assert isinstance(picture, Image.Image)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(LETTER_PIXELS)
    white, black = (255, 0) if picture.mode == "L" else ((255, 255, 255), (0, 0, 0))
    for across, down, anchor, direction in (
        (0.02, 0.5, "lm", -to_lps[:, 0]),
        (0.98, 0.5, "rm", to_lps[:, 0]),
        (0.5, 0.02, "ma", -to_lps[:, 1]),
        (0.5, 0.98, "md", to_lps[:, 1]),
    ):
        at = (across * picture.width, down * picture.height)
        draw.text(
            at, patient_letter(direction), fill=white, font=font, anchor=anchor, stroke_width=2, stroke_fill=black
        )


def _hex(color: Sequence[float] | NDArray[np.float64]) -> str:
    return "#" + "".join(f"{round(255 * float(part)):02x}" for part in color)
