"""What the parts of the panel do to Qt widgets alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import qt

if TYPE_CHECKING:
    from ..presenter import Button, Line

# tone -> color on a light and on a dark background
_COLORS = {"faint": ("#6b6b6b", "#a0a0a0"), "warn": ("#8a5a00", "#e3b341"), "error": ("#b3261e", "#ff8a80")}


@contextmanager
def noSignals(*widgets: Any) -> Iterator[None]:
    """Change widgets, or other objects of Qt, as if it had always been so."""
    before = [widget.blockSignals(True) for widget in widgets]
    try:
        yield
    finally:
        for widget, blocked in zip(widgets, before, strict=True):
            widget.blockSignals(blocked)


def showLine(label: Any, line: Line) -> None:
    """Put a line on a label in its tone; an empty one hides it."""
    label.text = line.text
    label.toolTip = line.tip
    label.visible = bool(line.text)
    font = label.font
    font.setBold(line.tone in ("strong", "warn", "error"))
    label.font = font
    color = _color(label, line)
    label.styleSheet = f"color: {color}" if color else ""


def showLines(label: Any, lines: Sequence[Line]) -> None:
    """Put lines on a label for rich text, each in its tone; their words are no markup. None of them hides it."""
    from html import escape

    styles = (f"color: {color}; " if (color := _color(label, line)) else "" for line in lines)
    texts = (escape(line.text, quote=False) for line in lines)
    label.text = "".join(
        f'<p style="{style}margin: 0 0 3px 0">{text}</p>' for style, text in zip(styles, texts, strict=True)
    )
    label.toolTip = "\n".join(dict.fromkeys(line.tip for line in lines if line.tip))
    label.visible = bool(lines)


def _color(widget: Any, line: Line) -> str:
    """Of a line on a widget; '' for the widget's own."""
    light, dark = _COLORS.get(line.tone, ("", ""))
    return dark if isDark(widget) else light


def isDark(widget: Any) -> bool:
    """Whether a widget's text stands on a dark background."""
    return bool(widget.palette.color(qt.QPalette.Window).lightness() < 128)


def showButton(button: Any, view: Button) -> None:
    """Enable a button as the view says, with its words where it has some."""
    button.enabled = view.enabled
    if view.text:
        button.text = view.text
    if view.tip:
        button.toolTip = view.tip


def addAction(menu: Any, text: str, do: Callable[[], object]) -> Any:
    """Append an action to a menu that calls `do`."""
    action = menu.addAction(text)
    action.connect("triggered(bool)", lambda checked=False: do())
    return action


def chosenPath(chosen: Any) -> str:
    """The file that a QFileDialog was left with; '' for none. PythonQt gives the name alone, other Qt a tuple."""
    return str(chosen[0] if isinstance(chosen, tuple) else chosen or "")


def offer(selector: Any, texts: Sequence[str], current: str) -> None:
    """Make a combo box offer texts, with one of them current (none where it is not among them), without a signal."""
    with noSignals(selector):
        if [selector.itemText(n) for n in range(selector.count)] != list(texts):
            selector.clear()
            selector.addItems(list(texts))
        selector.currentIndex = selector.findText(current)
