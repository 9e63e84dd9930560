"""The tutorial names controls as the panel has them, and every picture is there and shown somewhere."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MODULE = ROOT / "MedImgClassifier"
PICTURES = ROOT / "Resources" / "Screenshots"
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def texts_of_the_panel() -> set[str]:
    """What stands in the form, and every text of one piece in the code."""
    form = (MODULE / "Resources" / "UI" / "MedImgClassifier.ui").read_text(encoding="utf-8")
    texts = {unescape(text) for text in re.findall(r"<string>([^<]+)</string>", form)}
    for path in [MODULE / "MedImgClassifier.py", *(MODULE / "MedImgClassifierLib").rglob("*.py")]:
        texts.update(re.findall(r'(?:_\(|sampleName=)"([^"\n]+)"', path.read_text(encoding="utf-8")))
    return texts


def test_bold_names_of_the_tutorial_stand_in_the_panel() -> None:
    named = re.findall(r"\*\*([^*]+)\*\*", (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"))
    assert len(set(named)) > 25
    spread = {" ".join(name.split()) for name in named} - {"bold"}
    assert spread - texts_of_the_panel() == set()


def test_pictures_of_the_documents_are_there_and_each_is_shown() -> None:
    shown = set()
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        links = re.findall(r'!\[[^]]*\]\(([^)]+\.png)\)|<img src="([^"]+)"', text)
        shown.update((document.parent / (a or b)).resolve() for a, b in links if not (a or b).startswith("http"))
    assert {path.name for path in shown if not path.is_file()} == set()
    assert {path.name for path in PICTURES.iterdir()} - {path.name for path in shown} == set()


def test_pictures_are_small() -> None:
    assert {path.name: path.stat().st_size for path in PICTURES.iterdir() if path.stat().st_size > 150_000} == {}
