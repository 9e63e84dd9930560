"""The page: its template, its style and script, and the aiohttp application that trame serves them with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("page")


def build(server: Any) -> None:
    """Make the page of a server. Its views must have been made: they are templates of their own."""
    from trame.ui.html import DivLayout
    from trame.ui.vuetify3 import VAppLayout

    server.enable_module(
        {
            "serve": {"__medimg": str(FOLDER)},
            "scripts": ["__medimg/page.js"],
            "styles": ["__medimg/page.css"],
        }
    )
    for name in ("panel", "views", "answers"):
        with DivLayout(server, template_name=name) as part:
            part.root.classes = f"{name}-part"
            part.root.add_child(_template(name))
    with VAppLayout(server) as layout:
        layout.root.theme = ("theme",)
        layout.root.add_child(_template("page"))


def _template(name: str) -> str:
    return (FOLDER / f"{name}.html").read_text(encoding="utf-8")


def index() -> Path:
    """trame's own page, which loads everything else."""
    from trame_client.module.vue3 import www

    return Path(www) / "index.html"
