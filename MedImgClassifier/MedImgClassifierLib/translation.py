"""The `_` of user texts, and the one place that knows where their translations come from.

In Slicer `_` is `slicer.i18n.tr` itself, not a function around it: Slicer looks a text up under the file that calls.
Elsewhere (slicer-core has no translations) `_` looks it up in the same `.ts` files that Slicer's `.qm` is compiled
from, under the same names; until `setLanguage` is called it reads no file and answers in English.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

_PACKAGE = Path(__file__).resolve().parent
_FOLDERS = (_PACKAGE / "_resources/Translations", _PACKAGE.parent / "Resources/Translations")
_texts: dict[tuple[str, str], str] = {}
"""Translations by context and English text; a context is the last two parts of a module's name, as in Slicer."""

if TYPE_CHECKING:

    def _(text: str) -> str: ...

else:
    try:
        from slicer.i18n import tr as _
    except ImportError:

        def _(text):
            if not _texts:
                return text
            caller = sys._getframe(1).f_globals["__name__"]
            return _texts.get((".".join(caller.split(".")[-2:]), text), text)


def language() -> str:
    """The language that `_` speaks, for those who choose by an argument: 'en', 'zh', ...

    It is a text among the others, so that it follows them whatever decides: where they are not translated, it is 'en'.
    """
    return _("en")


def loadTranslations(resourcesFolder: str | Path) -> None:  # noqa: N802, N803 - called from Slicer's side
    """Have Slicer read `Translations/*.qm` of this folder, before any text is made: it searches only its own folders.

    It takes the files of the language of its settings, and none where translation is switched off. slicer-core alone
    has no application to ask.
    """
    import slicer

    load = getattr(getattr(slicer, "app", None), "loadTranslations", None)
    if load is not None:
        load(str(Path(resourcesFolder) / "Translations"))


def setLanguage(language: str) -> None:  # noqa: N802 - as loadTranslations
    """Speak this language ('en', 'zh', 'zh-CN') from now on, outside Slicer; in Slicer its settings decide.

    Raises ValueError where there is no translation into it.
    """
    if language == "en":
        _texts.clear()
        return
    found = [file for folder in _FOLDERS for file in sorted(folder.glob(f"MedImgClassifier_{language}*.ts"))]
    if not found:
        raise ValueError(f"there is no translation into '{language}'")
    read = _read(found[0])
    _texts.clear()
    _texts.update(read)


def _read(path: Path) -> dict[tuple[str, str], str]:
    """The finished translations of a `.ts` file."""
    from xml.etree import ElementTree

    texts = {}
    for context in ElementTree.parse(path).iter("context"):
        for message in context.iter("message"):
            translation = message.find("translation")
            if translation is not None and translation.text and translation.get("type") is None:
                texts[context.findtext("name", ""), message.findtext("source", "")] = translation.text
    return texts
