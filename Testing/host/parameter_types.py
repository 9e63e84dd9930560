"""The types of parameters: how each is checked and kept in a parameter node, by the rules of Slicer's wrapper."""

from __future__ import annotations

import enum
import json
import pathlib
import types
import typing
from collections.abc import Callable, Iterable, MutableSequence
from dataclasses import dataclass
from typing import Any

import slicer


class Validator:
    """An annotation that refuses values with ValueError."""

    def validate(self, value: Any) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class WithinRange(Validator):
    """A number between two bounds, both allowed."""

    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within [{self.minimum}, {self.maximum}]")


@dataclass(frozen=True)
class Minimum(Validator):
    minimum: float

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"{value} is less than {self.minimum}")


@dataclass(frozen=True)
class Maximum(Validator):
    maximum: float

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"{value} is greater than {self.maximum}")


@dataclass(frozen=True)
class Choice(Validator):
    """One of a fixed list."""

    choices: Iterable[Any]

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"{value!r} is none of {self.choices}")


@dataclass(frozen=True)
class Exclude(Validator):
    excludedValues: Iterable[Any]

    def validate(self, value: Any) -> None:
        if value in self.excludedValues:
            raise ValueError(f"{value!r} is excluded")


class Default:
    """The value that a parameter starts with, or a function that makes it."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value, self._generator = value, generator

    @property
    def value(self) -> Any:
        return self._generator() if self._generator else self._value


def split(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """(type, annotations) of a possibly annotated type."""
    return (hint.__origin__, hint.__metadata__) if hasattr(hint, "__metadata__") else (hint, ())


def _alternatives(kind: Any) -> tuple[Any, ...]:
    """The types of a union, without None; the type itself where it is none."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return tuple(a for a in typing.get_args(kind) if a is not type(None))
    return (kind,)


def node_types(kind: Any) -> tuple[type, ...]:
    """The node classes of a node type or of a union of node types and None; () for any other type."""
    parts = _alternatives(kind)
    return parts if all(isinstance(p, type) and issubclass(p, slicer.vtkMRMLNode) for p in parts) else ()


def optional(kind: Any) -> Any:
    """T of Optional[T], where T is no node; None for any other type."""
    parts = _alternatives(kind)
    return parts[0] if parts != (kind,) and len(parts) == 1 and not node_types(kind) else None


class ObservedList(MutableSequence):  # type: ignore[type-arg]
    """A list whose changes are written to the parameter node."""

    def __init__(self, values: list[Any], changed: Callable[[list[Any]], None]) -> None:
        self._values, self._changed = values, changed

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __len__(self) -> int:
        return len(self._values)

    def __setitem__(self, index: Any, value: Any) -> None:
        self._values[index] = value
        self._changed(self._values)

    def __delitem__(self, index: Any) -> None:
        del self._values[index]
        self._changed(self._values)

    def insert(self, index: int, value: Any) -> None:
        self._values.insert(index, value)
        self._changed(self._values)

    def __eq__(self, other: Any) -> bool:
        return list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._values)


class Serializer:
    """Keeps values of one type in a parameter node. Raises TypeError for a type that has no form there."""

    def __init__(self, name: str, kind: Any) -> None:
        self.name, self.kind = name, kind
        self.nodes, self.inner = node_types(kind), optional(kind)
        self.is_list = typing.get_origin(kind) is list
        plain = (str, bool, int, float)
        simple = isinstance(kind, type) and (kind in plain or issubclass(kind, (enum.Enum, pathlib.PurePath)))
        if not (self.nodes or self.inner or self.is_list or simple):
            raise TypeError(f"parameter '{name}': no serializer for {kind}")
        self.item = Serializer(name, self.inner or typing.get_args(kind)[0]) if self.inner or self.is_list else None

    def default(self) -> Any:
        if self.nodes or self.inner:
            return None
        if self.is_list:
            return []
        return next(iter(self.kind)) if issubclass(self.kind, enum.Enum) else self.kind()

    def check(self, value: Any) -> None:
        if self.inner or self.is_list:
            assert self.item
            for one in value if self.is_list else [] if value is None else [value]:
                self.item.check(one)
            return
        if value is None and not self.nodes:
            raise ValueError(f"parameter '{self.name}' is never None")
        wanted = self.nodes or ((int, float) if self.kind is float else self.kind)
        if value is not None and not isinstance(value, wanted):
            raise TypeError(f"parameter '{self.name}' takes {self.kind}, not {value!r}")

    def write(self, node: Any, value: Any) -> None:
        if self.nodes:
            node.SetParameter(self.name, "")
            node.SetNodeReferenceID(self.name, value.GetID() if value is not None else None)
        else:
            node.SetParameter(self.name, self._text(value))

    def _text(self, value: Any) -> str:
        if self.item:
            values = None if value is None else value if self.is_list else [value]
            return json.dumps(None if values is None else [self.item._text(v) for v in values])
        return str(value.name if isinstance(value, enum.Enum) else value)

    def read(self, node: Any) -> Any:
        if self.nodes:
            return node.GetNodeReference(self.name)
        value = self._value(node.GetParameter(self.name))
        return ObservedList(value, lambda values: self.write(node, values)) if self.is_list else value

    def _value(self, text: str) -> Any:
        if self.item:
            values = json.loads(text)
            found = None if values is None else [self.item._value(v) for v in values]
            return found if self.is_list or found is None else found[0]
        if issubclass(self.kind, enum.Enum):
            return self.kind[text]
        return text == "True" if self.kind is bool else self.kind(text)
