"""Reads what Qt's meta-object compiler reads in a C++ header: properties, signals, slots and invokable methods.

Facts only, names and signatures; no text of a header is kept. It knows as much C++ as the headers of Qt, CTK and
Slicer use, and no more.
"""

from __future__ import annotations

import re
from typing import Any

_COMMENT = re.compile(r"/\*.*?\*/|//[^\n]*", re.DOTALL)
_DIRECTIVE = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*$", re.MULTILINE)
_CLASS = re.compile(
    r"\bclass\s+(?:[A-Z][A-Z0-9_]*(?:\([^)]*\))?\s+)*(?P<name>[A-Za-z_]\w*)\s*(?:final\s*)?(?::(?P<bases>[^;{()]*))?\{"
)
_SECTION = re.compile(
    r"\b(?P<access>public|protected|private)\s*(?P<kind>slots|Q_SLOTS)?\s*:(?!:)|\b(?P<signals>signals|Q_SIGNALS)\s*:(?!:)"
)
_PROPERTY = re.compile(r"\bQ_PROPERTY\s*\(\s*(?P<type>[\w:<>, ]+?[ *]+)(?P<name>\w+)\s+(?:READ|MEMBER)\b")
_FUNCTION = re.compile(r"(?P<name>~?[A-Za-z_]\w*)\s*\((?P<arguments>.*)\)[^()]*$", re.DOTALL)
_MACRO = re.compile(
    r"\b(?:Q_(?!INVOKABLE|SIGNALS|SLOTS)[A-Z0-9_]+|QT_[A-Z0-9_]+|QVTK_OBJECT|QDOC_PROPERTY)\b(?:\s*\((?:[^()]|\([^()]*\))*\))?"
)

_TYPE_WORDS = ("int", "double", "long", "char", "short", "const", "float", "bool", "unsigned")


def classes(text: str) -> dict[str, dict[str, Any]]:
    """Every class of a header that has a meta-object or derives from another, by name."""
    text = _DIRECTIVE.sub("", _COMMENT.sub(" ", text))
    found = {}
    for match in _CLASS.finditer(text):
        body = _body(text, match.end())
        bases = [b.split()[-1].split("<")[0] for b in (match["bases"] or "").split(",") if b.strip()]
        found[match["name"]] = {"bases": bases, **_members(body)}
    return found


def names(text: str) -> dict[str, set[str]]:
    """By class of a header: every name in its body that a parenthesis follows, its methods among them."""
    text = _DIRECTIVE.sub("", _COMMENT.sub(" ", text))
    return {m["name"]: set(re.findall(r"(\w+)\s*\(", _body(text, m.end()))) for m in _CLASS.finditer(text)}


def _body(text: str, start: int) -> str:
    """What stands between the brace that opens before `start` and its partner; inner blocks become semicolons."""
    depth, kept = 1, []
    for character in text[start:]:
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if depth == 0:
                break
            if depth == 1:
                kept.append(";")
        elif depth == 1:
            kept.append(character)
    return "".join(kept)


def _members(body: str) -> dict[str, list[str]]:
    members: dict[str, set[str]] = {"properties": set(), "signals": set(), "slots": set(), "methods": set()}
    members["properties"] = {m["name"] for m in _PROPERTY.finditer(body)}
    body = _MACRO.sub(" ", body)
    section, position = "private", 0
    for match in [*_SECTION.finditer(body), None]:
        _read(body[position : match.start() if match else len(body)], section, members)
        if match:
            position = match.end()
            section = "signals" if match["signals"] else match["access"] + (" slots" if match["kind"] else "")
    return {kind: sorted(names) for kind, names in members.items()}


def _read(text: str, section: str, members: dict[str, set[str]]) -> None:
    for statement in text.split(";"):
        statement = statement.strip()
        match = _FUNCTION.search(statement)
        if not match or "operator" in statement or match["name"].startswith("~"):
            continue
        if section == "signals":
            members["signals"] |= set(_signatures(match))
        elif section == "public slots":
            members["slots"] |= set(_signatures(match))
            members["methods"].add(match["name"])
        elif section == "public" and "Q_INVOKABLE" in statement:
            members["methods"].add(match["name"])


def _signatures(match: re.Match[str]) -> list[str]:
    """The normalized signature, and one without each trailing argument that has a default."""
    arguments = [a.strip() for a in _split(match["arguments"]) if a.strip() not in ("", "void")]
    arguments = [a for a in arguments if "QPrivateSignal" not in a]
    found = []
    while True:
        types = ",".join(_type(a.split("=")[0]) for a in arguments)
        found.append(f"{match['name']}({types})")
        if not arguments or "=" not in arguments[-1]:
            return found
        arguments.pop()


def _split(arguments: str) -> list[str]:
    parts, depth = [""], 0
    for character in arguments:
        depth += (character in "<(") - (character in ">)")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return parts


def _type(argument: str) -> str:
    """The type of an argument as Qt normalizes it: no name, no const reference, no idle blanks."""
    text = re.sub(r"\s+", " ", argument).strip()
    text = re.sub(r"\b(?:class|struct|enum) ", "", text)
    named = re.fullmatch(r"(?P<type>.*[\s*&>])(?P<name>[A-Za-z_]\w*)(?P<array>\[\d*\])?", text)
    if (
        named
        and named["name"] not in _TYPE_WORDS
        and named["type"].strip() not in ("const", "unsigned", "unsigned long")
    ):
        text = named["type"] + ("*" if named["array"] else "")
    text = text.strip()
    if text.endswith("&") and text.startswith("const "):
        text = text[6:-1]
    elif text.startswith("const ") and not text.endswith(("*", "&")):
        text = text[6:]
    text = re.sub(r"\s*([*&<>,])\s*", r"\1", text.strip())
    return {"unsigned int": "uint", "unsigned long": "ulong", "unsigned": "uint"}.get(text, text)
