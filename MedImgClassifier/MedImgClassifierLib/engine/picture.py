"""overlay.png: the key slices with their evidence, the probabilities along the slices, and what to know.

Nothing that names a patient is drawn: no path, no UID, no series description.
"""

from __future__ import annotations

from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .appearance import EVIDENCE_THRESHOLD, LABEL_COLORS
from .report import finding_in_words, plain, shortened, wrapped
from .result import NOTICE, Classification, KeySlice
from .slice_view import (
    SliceView,
    classified_slices,
    display_window,
    displayed,
    evidence_on_view,
    patient_letter,
    slice_view,
)
from .volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, HEIGHT, DPI = 1600, 1000, 100  # pixels
MOST_PANELS = 6

BACKGROUND, TEXT, FAINT, WARNING, REFUSED = "#0d1117", "#e6edf3", "#8b949e", "#e3b341", "#ff7b72"
OTHER_COLOUR = "#6e7681"  # of all labels beyond the palette
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Microsoft YaHei", "PingFang SC", "WenQuanYi Micro Hei")


def overlay_picture(classification: Classification, volume: Volume, path: Path) -> None:
    """Writes overlay.png, 1600 x 1000 pixels. volume: the reference volume that was classified."""
    overlay_figure(classification, volume).savefig(path, format="png", dpi=DPI, metadata={"Comment": NOTICE})


def overlay_figure(classification: Classification, volume: Volume) -> Figure:
    """The picture as a matplotlib figure. Axes 'panel-1', ... (gid) have millimetres as data coordinates,
    to the right and down from the centre of the panel's first pixel in display orientation."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / DPI, HEIGHT / DPI), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    panels = _panels(classification, volume)
    black, white, window = display_window(volume)
    foot = _draw_notes(figure, classification, window)
    strip_top = foot + 62 + 150
    boxes = _boxes(panels, strip_top + 34)
    if boxes:  # the strip takes up to 100 pixels of what wide images leave free
        strip_top += min(100.0, 2 * (min(box.bottom for box in boxes) - 22 - strip_top - 34))
        boxes = _boxes(panels, strip_top + 34)
    _draw_header(figure, classification)
    _draw_probabilities(figure, classification, panels, foot + 62, strip_top)
    for number, (panel, box) in enumerate(zip(panels, boxes, strict=True), 1):
        _draw_panel(figure, box, number, panel, classification, (black, white))
    if classification.evidence is not None and not classification.refused:
        _draw_colour_bar(figure, classification, panels, strip_top + 60)
    _settle_text(figure)
    return figure


class _Panel(NamedTuple):
    key: KeySlice
    why: str
    view: SliceView


class _Box(NamedTuple):
    """Pixels from the left and from below."""

    left: float
    bottom: float
    width: float
    height: float

    def in_figure(self) -> tuple[float, float, float, float]:
        return self.left / WIDTH, self.bottom / HEIGHT, self.width / WIDTH, self.height / HEIGHT


def _panels(classification: Classification, volume: Volume) -> list[_Panel]:
    """The key slices from first to last; one that is worth looking at for two reasons is one panel."""
    reasons: dict[tuple[int, int], list[str]] = {}
    for key in classification.key_slices:
        reasons.setdefault((key.row, key.label), []).append(key.why_in_words())
    sliced, at = classified_slices(classification, volume)
    chosen = sorted(list(reasons.items())[:MOST_PANELS])
    return [
        _Panel(
            KeySlice(row, label, "most_probable"),
            ", ".join(reason),
            displayed(slice_view(sliced, at[row])),
        )
        for (row, label), reason in chosen
    ]


def _boxes(panels: list[_Panel], bottom: float) -> list[_Box]:
    """Where the image of each panel goes, in the grid that shows them largest, with room for text above and below."""
    left, right, top = 30, WIDTH - 132, HEIGHT - 80
    above, below, gap = 50, 22, 18
    if not panels:
        return []
    sizes = np.array([np.multiply(p.view.spacing_mm, p.view.image.shape[::-1]) for p in panels])
    wide, high = sizes.max(axis=0)

    def scale(rows: int) -> float:
        columns = ceil(len(panels) / rows)
        return float(min(((right - left) / columns - gap) / wide, ((top - bottom) / rows - above - below) / high))

    rows = max(range(1, len(panels) + 1), key=scale)
    columns = ceil(len(panels) / rows)
    cell_width, cell_height = (right - left) / columns, (top - bottom) / rows
    boxes = []
    for index, (width, height) in enumerate(sizes * scale(rows)):
        row, column = divmod(index, columns)
        in_row = min(columns, len(panels) - row * columns)
        x = left + (right - left - in_row * cell_width) / 2 + (column + 0.5) * cell_width - width / 2
        y = top - row * cell_height - above - (cell_height - above - below) / 2 - height / 2
        boxes.append(_Box(x, y, width, height))
    return boxes


def _draw_panel(
    figure: Figure, box: _Box, number: int, panel: _Panel, classification: Classification, window: tuple[float, float]
) -> None:
    slices, (row, label, _) = classification.slices, (panel.key.row, panel.key.label, panel.key.why)
    image, note = _grey_rgb(panel.view.image, window), ""
    if classification.refused:
        note = "no class"
    elif classification.evidence is None:
        note = "evidence was not computed"
    else:
        evidence = evidence_on_view(classification.evidence, row, label, panel.view)
        image, note = with_evidence(image, evidence), _evidence_note(classification, row, label)
    axes = figure.add_axes(box.in_figure(), gid=f"panel-{number}")
    axes.set_axis_off()
    (across, down), (rows, columns) = panel.view.spacing_mm, image.shape[:2]
    extent = (-across / 2, (columns - 0.5) * across, (rows - 0.5) * down, -down / 2)
    axes.imshow(image, extent=extent, interpolation="bilinear", aspect="auto")  # the box has the aspect already
    _draw_letters(axes, panel.view.to_lps)
    name = shortened(plain(classification.labels[label].name), max(8, int(box.width / 11) - 8))
    title = (
        f"{number}" if classification.refused else f"{number}   {name}  {_percent(slices.probabilities[row, label])}"
    )
    above: dict[str, Any] = {"ha": "center", "va": "bottom", "xycoords": "axes fraction", "textcoords": "offset pixels"}
    axes.annotate(title, (0.5, 1), (0, 25), color=TEXT, size=13, weight="bold", **above)
    axes.annotate(slices.name(row), (0.5, 1), (0, 7), color=FAINT, size=9.5, **above)
    axes.annotate(panel.why, (0.5, 0), (0, -6), color=FAINT, size=9, **{**above, "va": "top"})
    patch = {"facecolor": BACKGROUND, "edgecolor": "none", "alpha": 0.7, "pad": 2.5}
    if note:
        axes.text(0.5, 0.9, note, transform=axes.transAxes, color=WARNING, size=9, ha="center", va="top", bbox=patch)


def _percent(probability: float) -> str:
    """Whole percent, but never '100 %' or '0 %' for what only rounds to it."""
    if 0.995 <= probability < 1:
        return "> 99 %"
    return "< 1 %" if 0 < probability < 0.005 else f"{100 * probability:.0f} %"


def _grey_rgb(image: NDArray[np.float32], window: tuple[float, float]) -> NDArray[np.float32]:
    black, white = window
    grey = np.clip((image - black) / ((white - black) or 1.0), 0, 1)
    return np.repeat(grey[..., None], 3, axis=2).astype(np.float32)


def with_evidence(image: NDArray[np.float32], evidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """[J, I, 3] RGB in 0..1 with evidence [J, I] in 0..1 over it, less transparent the stronger it is;
    pixels below the threshold stay as they are."""
    rising = (evidence - EVIDENCE_THRESHOLD) / (1 - EVIDENCE_THRESHOLD)
    alpha = np.where(evidence >= EVIDENCE_THRESHOLD, 0.15 + 0.47 * rising, 0)[..., None]
    return np.asarray((1 - alpha) * image + alpha * _evidence_rgb(evidence), np.float32)


def _evidence_rgb(evidence: NDArray[np.float32]) -> NDArray[np.float32]:
    """[..., 3] colours of evidence 0..1: inferno without its darkest part, which would look like shadow."""
    from matplotlib import colormaps

    return np.asarray(colormaps["inferno"](0.38 + 0.58 * np.clip(evidence, 0, 1))[..., :3], np.float32)


def _evidence_note(classification: Classification, row: int, label: int) -> str:
    """What to say where nothing is drawn: no evidence is not the same as weak evidence."""
    assert classification.evidence is not None  # asked by the caller
    largest = float(classification.evidence.shown(label)[row].max())
    if largest == 0:
        return "no evidence"
    return f"weak evidence (at most {largest:.2f})" if largest < EVIDENCE_THRESHOLD else ""


def _draw_letters(axes: Axes, to_lps: NDArray[np.float64]) -> None:
    from matplotlib.patheffects import withStroke

    outline = [withStroke(linewidth=2.5, foreground=BACKGROUND)]
    right, down = patient_letter(to_lps[:, 0]), patient_letter(to_lps[:, 1])
    left, up = patient_letter(-to_lps[:, 0]), patient_letter(-to_lps[:, 1])
    for x, y, letter, horizontal, vertical in (
        (0.02, 0.5, left, "left", "center"),
        (0.98, 0.5, right, "right", "center"),
        (0.5, 0.98, up, "center", "top"),
        (0.5, 0.02, down, "center", "bottom"),
    ):
        axes.text(x, y, letter, transform=axes.transAxes, color=TEXT, size=10.5, weight="bold", ha=horizontal,
                  va=vertical, path_effects=outline)  # fmt: skip


def _draw_colour_bar(figure: Figure, classification: Classification, panels: list[_Panel], bottom: float) -> None:
    axes = figure.add_axes(_Box(WIDTH - 108, bottom, 18, HEIGHT - 150 - bottom).in_figure(), gid="colour-bar")
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[:, None]
    colours = np.where(ramp[..., None] < EVIDENCE_THRESHOLD, np.float32(0.1), _evidence_rgb(ramp))
    axes.imshow(colours, extent=(0, 1, 0, 1), origin="lower", aspect="auto")
    labels = {panel.key.label for panel in panels}
    one = classification.labels[min(labels)].name if len(labels) == 1 else "the label of each panel"
    axes.set_xticks([])
    axes.yaxis.tick_right()
    axes.yaxis.set_label_position("right")
    axes.set_yticks([0, EVIDENCE_THRESHOLD, 0.5, 0.75, 1])
    axes.set_ylabel(f"evidence for {shortened(plain(one), 28)}\n(scaled over the case)", color=TEXT, size=10)
    axes.tick_params(colors=FAINT, labelsize=9, length=3)
    _frame(axes)


def _draw_header(figure: Figure, classification: Classification) -> None:
    colour = REFUSED if classification.refused else TEXT
    lines = wrapped(classification.in_words(), 76)
    size = 19.0 if len(lines) == 1 else 13.5
    if len(lines) > 1:  # a long name may take room, but never push "(uncalibrated)" off the page
        lines = wrapped(classification.in_words(), 106)
        lines = lines if len(lines) <= 2 else [lines[0], shortened(" ".join(lines[1:]), 106)]
    figure.text(30 / WIDTH, 1 - 40 / HEIGHT, "\n".join(lines), color=colour, size=size, weight="bold", va="center")
    bundle = classification.bundle
    title = shortened(plain(f"{bundle.get('title', '')}  {bundle.get('version', '')}"), 44)
    figure.text(1 - 30 / WIDTH, 1 - 42 / HEIGHT, title, color=FAINT, size=12, ha="right", va="center")


def _draw_probabilities(
    figure: Figure, classification: Classification, panels: list[_Panel], bottom: float, top: float
) -> None:
    """The strip of probabilities, stacked, one step a slice."""
    box = _Box(75, bottom, 1150, top - bottom)
    axes = figure.add_axes(box.in_figure(), gid="probabilities", facecolor=BACKGROUND)
    slices, rows = classification.slices, len(classification.slices)
    edges, floor = np.arange(rows + 1) - 0.5, np.zeros(rows)
    if not classification.refused:
        for name, colour, probability in _stacked(classification):
            axes.stairs(floor + probability, edges, baseline=floor, fill=True, color=colour, label=name)
            floor = floor + probability
        axes.legend(
            *(entries[::-1] for entries in axes.get_legend_handles_labels()),  # as stacked: first label lowest
            loc="center left", bbox_to_anchor=(1.015, 0.5), frameon=False, labelcolor=TEXT,
            fontsize=9.5, handlelength=1, handleheight=1, labelspacing=0.25,
        )  # fmt: skip
    axes.set_xlim(-0.5, rows - 0.5)
    axes.set_ylim(0, 1)
    ticks = range(0, rows, ceil(rows / 12))
    numbers = slices.native_k or range(rows)
    axes.set_xticks(ticks, [f"{numbers[n]}\n{slices.position_in_words(n)}" for n in ticks])
    axes.set_yticks([0, 0.5, 1], ["0", "50 %", "100 %"])
    axes.set_ylabel("probability", color=TEXT, size=10)
    axes.annotate("slice", (0, 0), (-10, -8), textcoords="offset pixels", color=FAINT, size=8.5, ha="right", va="top",
                  xycoords="axes fraction")  # fmt: skip
    axes.tick_params(colors=FAINT, labelsize=8.5, length=3)
    _frame(axes)
    before, raised = -np.inf, False
    for number, panel in enumerate(panels, 1):
        raised = not raised and (panel.key.row - before) * box.width / rows < 14  # else the numbers would overlap
        before = panel.key.row
        axes.axvline(panel.key.row, color=TEXT, linewidth=1, linestyle=(0, (2, 2)))
        axes.annotate(
            str(number), (panel.key.row, 1), (0, 18 if raised else 4), xycoords=("data", "axes fraction"),
            textcoords="offset pixels", color=TEXT, size=10, weight="bold", ha="center", va="bottom",
        )  # fmt: skip


def _stacked(classification: Classification) -> list[tuple[str, Any, NDArray[np.float64]]]:
    """(name, colour, probability [N]) from below; labels beyond the palette that never lead are one grey layer."""
    names = [shortened(plain(label.name), 34) for label in classification.labels]
    probabilities = classification.slices.probabilities
    count = len(LABEL_COLORS)
    shown = sorted(np.argsort(-probabilities.max(axis=0), kind="stable")[:count].tolist())
    layers: list[tuple[str, Any, NDArray[np.float64]]] = [
        (names[x], LABEL_COLORS[at], probabilities[:, x]) for at, x in enumerate(shown)
    ]
    others = [x for x in range(len(names)) if x not in shown]
    if others:
        name = names[others[0]] if len(others) == 1 else f"{len(others)} others"
        layers.append((name, OTHER_COLOUR, probabilities[:, others].sum(axis=1)))
    return layers


def _draw_notes(figure: Figure, classification: Classification, window: str) -> float:
    """Findings, model, window and notice at the foot of the page. Returns their upper edge in pixels."""
    bundle, lines = classification.bundle, list[tuple[str, str]]()
    ranked = sorted(classification.findings, key=lambda f: ("refuse", "warn", "info").index(f.severity))
    for finding in ranked[:3]:
        colour = {"refuse": REFUSED, "warn": WARNING, "info": FAINT}[finding.severity]
        lines.append((shortened(plain(finding_in_words(finding)), 215), colour))
    if len(ranked) > 3:
        lines.append((f"and {len(ranked) - 3} more findings in results.json", WARNING))
    trust = "calibrated" if classification.calibrated else "uncalibrated: 90 % does not mean right 9 times of 10"
    lines.append((f"{window}   |   evidence below {EVIDENCE_THRESHOLD} is not drawn   |   {trust}", FAINT))
    use = wrapped(f"Intended use: {bundle.get('intended_use') or 'not stated'}", 215)
    lines += [(line, FAINT) for line in use[:2]]
    y = 22.0
    figure.text(30 / WIDTH, y / HEIGHT, NOTICE, color=TEXT, size=11.5, weight="bold", va="center")
    y += 8
    for line, colour in reversed(lines):
        y += 18
        figure.text(30 / WIDTH, y / HEIGHT, line, color=colour, size=9.5, va="center")
    return y + 10


def _frame(axes: Axes) -> None:
    for spine in axes.spines.values():
        spine.set_color("#30363d")


def _settle_text(figure: Figure) -> None:
    """Label names are text, never formulas, and may be Chinese: fonts for them are used where installed."""
    from matplotlib.font_manager import fontManager
    from matplotlib.text import Text

    installed = set(fontManager.get_font_names())
    families = [name for name in FONTS if name in installed]
    for artist in figure.findobj(Text):
        assert isinstance(artist, Text)
        artist.set_parse_math(False)
        artist.set_fontfamily(families)
