"""`make translations`: bring `Resources/Translations` up to date with the texts of the module.

Every `MedImgClassifier_<language>.ts` there gets the texts that are in the code and in the `.ui` files now.
Translations are kept; a text that is gone is marked `vanished` and keeps its translation for the day it comes back; a
new one that stands elsewhere already takes the translation from there, else it is `unfinished`. Then each file is
compiled to `.qm`. To begin another language, copy a `.ts` under its name, with its code in the attribute `language`,
and run this.

The contexts are those under which Slicer looks a text up (slicer/i18n.py, QUiLoader): the file's name without `.py`,
with the name of its folder before it where that is a package, and the class of a `.ui` file. Texts that are translated
under a context of Slicer's own (the name of a category) are Slicer's, and are left out.
"""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree
from xml.sax.saxutils import escape

MODULE = Path(__file__).resolve().parents[1] / "MedImgClassifier"
TRANSLATIONS = "Resources/Translations"
QUOTES = {'"': "&quot;", "'": "&apos;"}


@dataclass(frozen=True)
class Message:
    """A text to translate. kind: '' (finished), 'unfinished' or 'vanished'; comment: tells equal texts apart."""

    context: str
    source: str
    comment: str = ""
    translation: str = ""
    kind: str = "unfinished"

    @property
    def key(self) -> tuple[str, str, str]:
        return self.context, self.source, self.comment


def context_of(path: Path) -> str:
    """Under which name Slicer looks up the texts of a Python file."""
    return f"{path.parent.name}.{path.stem}" if (path.parent / "__init__.py").is_file() else path.stem


def texts_of_python(path: Path) -> Iterator[Message]:
    """The texts in `_("...")` and `translate("context", "...")`. Raises ValueError for what is no literal."""
    inside = context_of(path)
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for call in sorted((n for n in ast.walk(tree) if isinstance(n, ast.Call)), key=lambda n: (n.lineno, n.col_offset)):
        name = ast.unparse(call.func)
        if name not in ("_", "translate", "slicer.app.translate"):
            continue
        literals = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        if len(literals) != len(call.args) or len(literals) != (1 if name == "_" else 2) or call.keywords:
            raise ValueError(f"{path.name}:{call.lineno}: {ast.unparse(call)} cannot be extracted: it needs a literal")
        context = inside if name == "_" else literals[0]
        if context == inside:
            yield Message(context, literals[-1])


def texts_of_ui(path: Path) -> Iterator[Message]:
    """The strings of a `.ui` file that are not marked as not to be translated."""
    root = ElementTree.parse(path).getroot()
    context = root.findtext("class", "")
    untouched = {id(s) for group in root.iter("stringlist") if group.get("notr") == "true" for s in group}
    for string in root.iter("string"):
        if string.text and string.get("notr") != "true" and id(string) not in untouched:
            yield Message(context, string.text, string.get("comment", ""))


def texts(module: Path) -> dict[tuple[str, str, str], Message]:
    """All texts of the module, by context and then in the order in which they stand. Raises ValueError."""
    found = [m for path in sorted(module.rglob("*.py")) for m in texts_of_python(path)]
    found += [m for path in sorted(module.rglob("*.ui")) for m in texts_of_ui(path)]
    return {message.key: message for message in sorted(found, key=lambda m: m.context)}


def read(path: Path) -> dict[tuple[str, str, str], Message]:
    """The messages of a `.ts` file."""
    messages = {}
    for context in ElementTree.parse(path).iter("context"):
        for entry in context.iter("message"):
            translation = entry.find("translation")
            assert translation is not None, f"{path.name}: a message without <translation>"
            message = Message(
                context.findtext("name", ""),
                entry.findtext("source", ""),
                entry.findtext("comment", ""),
                translation.text or "",
                translation.get("type", ""),
            )
            messages[message.key] = message
    return messages


def merged(wanted: dict[tuple[str, str, str], Message], known: dict[tuple[str, str, str], Message]) -> list[Message]:
    """The texts that are wanted, with the translations that are known; those that vanished come last in a context."""
    elsewhere = {m.source: m.translation for m in known.values() if m.translation and m.kind != "unfinished"}
    result = []
    for key, message in wanted.items():
        before = known.get(key)
        if before and before.translation:
            result.append(replace(before, kind="" if before.kind == "vanished" else before.kind))
        elif message.source in elsewhere:
            result.append(replace(message, translation=elsewhere[message.source], kind=""))
        else:
            result.append(message)
    gone = (m for key, m in known.items() if key not in wanted and m.translation)
    result += (replace(message, kind="vanished") for message in gone)
    return sorted(result, key=lambda m: m.context)


def written(messages: list[Message], language: str) -> str:
    """The text of a `.ts` file, as lupdate writes it without locations."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<!DOCTYPE TS>"]
    lines.append(f'<TS version="2.1" language="{language}" sourcelanguage="en_US">')
    for context in dict.fromkeys(message.context for message in messages):
        lines += ["<context>", f"    <name>{escape(context, QUOTES)}</name>"]
        for message in messages:
            if message.context == context:
                lines += _written(message)
        lines.append("</context>")
    return "\n".join([*lines, "</TS>"]) + "\n"


def _written(message: Message) -> Iterator[str]:
    yield "    <message>"
    yield f"        <source>{escape(message.source, QUOTES)}</source>"
    if message.comment:
        yield f"        <comment>{escape(message.comment, QUOTES)}</comment>"
    kind = f' type="{message.kind}"' if message.kind else ""
    yield f"        <translation{kind}>{escape(message.translation, QUOTES)}</translation>"
    yield "    </message>"


def language_of(path: Path) -> str:
    """The language that a `.ts` file says it is in, e.g. 'zh_CN'."""
    return ElementTree.parse(path).getroot().get("language", "")


def updated(path: Path, module: Path) -> str:
    """What a `.ts` file should hold. Raises ValueError for a text that cannot be extracted."""
    return written(merged(texts(module), read(path)), language_of(path))


def compiled(path: Path) -> bytes:
    """What the `.qm` of a `.ts` file should hold: its finished translations, by lrelease of PySide6."""
    import PySide6

    lrelease = shutil.which("lrelease", path=PySide6.__path__[0])  # `pyside6-lrelease` takes ten times as long to start
    assert lrelease, "this PySide6 has no lrelease: install PySide6-Essentials"
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.qm"
        subprocess.run([lrelease, "-silent", "-nounfinished", str(path), "-qm", str(made)], check=True)
        return made.read_bytes()


def main(module: Path = MODULE) -> int:
    """Update and compile every translation. Returns 1 where texts are left to translate, and says which."""
    left = 0
    for path in sorted((module / TRANSLATIONS).glob("*.ts")):
        path.write_text(updated(path, module), encoding="utf-8", newline="\n")
        path.with_suffix(".qm").write_bytes(compiled(path))
        messages = read(path).values()
        unfinished = [message for message in messages if message.kind == "unfinished"]
        for message in unfinished:
            print(f"{path.name}: {message.context}: {message.source!r} is not translated")
        vanished = sum(message.kind == "vanished" for message in messages)
        print(f"{path.name}: {len(messages) - vanished} texts, {len(unfinished)} to translate, {vanished} vanished")
        left += len(unfinished)
    return int(left > 0)


if __name__ == "__main__":
    sys.exit(main())
