"""What the real classes have, from the table made of the headers of Slicer, CTK and Qt (tables/make_tables.py)."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent / "tables" / "classes.json"


@cache
def classes() -> dict[str, dict[str, Any]]:
    """By class name: bases, properties, signals, slots, and methods that Python can call."""
    found: dict[str, dict[str, Any]] = json.loads(TABLE.read_text(encoding="utf-8"))["classes"]
    return found


def lineage(name: str) -> list[dict[str, Any]]:
    """A class of the table and its bases, nearest first; [] for a class that the table does not hold."""
    entry = classes().get(name)
    if entry is None:
        return []
    return [entry, *(e for base in entry["bases"] for e in lineage(base))]


def has(name: str, kind: str, member: str) -> bool:
    """Whether a class or one of its bases has a member. kind: "properties", "signals", "slots", "methods"."""
    return any(member in entry[kind] for entry in lineage(name))


def derives(name: str, base: str) -> bool:
    """Whether a class of the table is another one or derives from it."""
    return name == base or any(derives(b, base) for b in classes().get(name, {"bases": ()})["bases"])


@cache
def known_name(cls: type) -> str:
    """The name of the nearest class that the table holds; "" where it holds none."""
    return next((c.__name__ for c in cls.__mro__ if c.__name__ in classes()), "")


def lacks_signal(cls: type, signature: str) -> bool:
    """Whether the table knows a class and not this signal; signals of Python subclasses are their own affair."""
    name = known_name(cls)
    own = name != cls.__name__ and any(signature.split("(")[0] in vars(c) for c in cls.__mro__ if c.__name__ != name)
    return bool(name) and not own and not has(name, "signals", signature)


def lacks_property(cls: type, name: str) -> bool:
    """Whether the table knows a Qt class and not this property, which then is of a later Qt than Slicer's."""
    return cls.__name__ in classes() and not has(cls.__name__, "properties", name)


@cache
def later(cls: type) -> frozenset[str]:
    """The methods of a class that came after the Qt of Slicer, without those that a Python subclass defines."""
    names = {
        n
        for c in cls.__mro__
        if c.__module__.startswith("PySide6")
        for n in classes().get(c.__name__, {}).get("later", ())
    }
    own = {n for c in cls.__mro__ if not c.__module__.startswith("PySide6") for n in vars(c)}
    return frozenset(names - own)
