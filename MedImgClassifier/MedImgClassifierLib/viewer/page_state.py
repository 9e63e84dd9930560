"""What the page's template shows, as plain JSON: a presenter's View, the plot, the table."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from .. import presenter
from ..engine.appearance import LABEL_COLORS
from ..translation import _

if TYPE_CHECKING:
    from ..engine.card import Card
    from ..engine.result import Classification

WIDTH, HEIGHT = 1000, 100
"""Of the plot's own coordinates: row n of N lies at (n + 0.5) / N of the width, probability 1 at the top."""


def view_state(view: presenter.View) -> dict[str, Any]:
    """Lines as {text, tone, tip}, buttons as {enabled, text, tip}."""
    return asdict(view)


def plot_state(classification: Classification | None, view: presenter.View, language: str) -> dict[str, Any] | None:
    """A line for each class along the rows, the places of the key slices, and the names of both ends; None for none.

    A line is {name, color, path (of SVG), seen: whether the class is said in the legend}.
    """
    if classification is None or classification.refused:
        return None
    slices, seen = classification.slices, {n for n, _name in view.legend}
    count = len(slices)
    lines = [
        {
            "name": label.name,
            "color": label_color(n),
            "path": _path(slices.probabilities[:, n]),
            "seen": n in seen,
        }
        for n, label in enumerate(classification.labels)
    ]
    return {
        "count": count,
        "lines": lines,
        "keys": [round(_x(key.row, count), 2) for key in classification.key_slices],
        "first": presenter.slice_name(slices, 0, language).text,
        "last": presenter.slice_name(slices, count - 1, language).text,
    }


def label_color(n: int) -> str:
    """'#rrggbb' of the nth label."""
    return "#" + "".join(f"{round(255 * part):02x}" for part in LABEL_COLORS[n % len(LABEL_COLORS)])


def _x(row: int, count: int) -> float:
    return (row + 0.5) * WIDTH / count


def _path(probabilities: Any) -> str:
    """One of a single slice is drawn across the plot."""
    count = len(probabilities)
    heights = [round(HEIGHT * (1 - float(p)), 2) for p in probabilities]
    if count == 1:
        return f"M0 {heights[0]}H{WIDTH}"
    return "M" + "L".join(f"{_x(row, count):.2f} {height}" for row, height in enumerate(heights))


def table_state(table: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """(headers, rows) of a results table node for a sortable table; `row` of each is its place in the result.

    The node's own titles are in the language in which it was made.
    """
    if table is None:
        return [], []
    from ..scene.results import columnTitle

    content = table.GetTable()
    columns = [content.GetColumn(n) for n in range(content.GetNumberOfColumns())]
    headers = [
        {
            "key": f"c{n}",
            "title": columnTitle(column.GetName()) or table.GetColumnTitle(column.GetName()) or column.GetName(),
            "align": "end" if column.IsNumeric() else "start",
        }
        for n, column in enumerate(columns)
    ]
    rows = [
        {"row": row, **{f"c{n}": column.GetValue(row) for n, column in enumerate(columns)}}
        for row in range(content.GetNumberOfRows())
    ]
    return headers, rows


def card_state(card: Card | None) -> dict[str, Any] | None:
    """Title, intended use (or why the model cannot be used), and what else a model says of itself."""
    if card is None:
        return None
    use = _("Intended use: {use}").format(use=card.intended_use) if card.usable else card.problem
    return {
        "title": f"{card.title} {card.version}",
        "use": use,
        "sections": [[heading, list(lines)] for heading, lines in card.sections()],
    }
