"""A picture of the views as the page shows them, for a run without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .. import translation
from . import words

if TYPE_CHECKING:
    from .viewer import Viewer

WIDTH, HEIGHT = 640, 480
"""Of one view, pixels."""


def write_views(viewer: Viewer, path: Path) -> None:
    """The four views with what stands at their edges, in English, as PNG of 1280 x 960 pixels. Raises OSError."""
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (2 * WIDTH, 2 * HEIGHT))
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(16)
    views, texts = _in_english(viewer)
    for n, view in enumerate(views):
        x, y = n % 2 * WIDTH, n // 2 * HEIGHT
        picture.paste(Image.fromarray(viewer.views.render(view["name"], (WIDTH, HEIGHT))), (x, y))
        draw.text((x + 8, y + 6), view["title"], fill=view["color"], font=font)
        draw.text((x + WIDTH / 2, y + 6), texts.get(view["name"], ""), fill="white", font=font, anchor="ma")
    picture.save(path)


def _in_english(viewer: Viewer) -> tuple[list[dict[str, str]], dict[str, str]]:
    """The views, and what stands at their edges: Pillow's own font has no other letters."""
    shown = viewer.shown()
    translation.setLanguage("en")
    try:
        return words.views(), viewer.edgeTexts(shown) if shown else {}
    finally:
        translation.setLanguage(viewer.language)
