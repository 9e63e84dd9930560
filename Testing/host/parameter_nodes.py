"""`slicer.parameterNodeWrapper`: typed attributes kept in a MRML node and bound to widgets.

What panels need of Slicer's: numbers, text, switches, paths, enumerations, nodes, Optional and list of these, their
validators, and the exact widget classes that they can be bound to. As there a value is read when the node says that it
was modified, and kept until then.
"""

from __future__ import annotations

import typing
import weakref
from typing import Any

import qt
import slicer
import vtk

from . import gui_connectors
from .parameter_types import Choice, Default, Exclude, Maximum, Minimum, Serializer, Validator, WithinRange, split

__all__ = [
    "Choice",
    "Default",
    "Exclude",
    "Maximum",
    "Minimum",
    "Validator",
    "WithinRange",
    "isParameterNodeWrapper",
    "parameterNodeWrapper",
]

PROPERTY = "SlicerParameterName"


class _Parameter:
    """One typed attribute: its hint, how it is kept, its default."""

    def __init__(self, name: str, hint: Any, cls: type) -> None:
        self.name, self.hint = name, hint
        kind, annotations = split(hint)
        self.serializer = Serializer(name, kind)
        self.validators = [a for a in annotations if isinstance(a, Validator)]
        annotated = next((a for a in annotations if isinstance(a, Default)), None)
        own = Default(getattr(cls, name)) if hasattr(cls, name) else annotated
        self.default = own or Default(generator=self.serializer.default)

    def write(self, node: Any, value: Any) -> None:
        for validator in self.validators:
            validator.validate(value)
        self.serializer.check(value)
        self.serializer.write(node, value)


class _Value:
    """The value of one parameter in one node, read again when the node is modified."""

    def __init__(self, parameter: _Parameter, node: Any) -> None:
        self.parameter, self.node = parameter, node
        self._read()
        this = weakref.ref(self)
        self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: this()._read())  # type: ignore[union-attr]

    def __del__(self) -> None:
        self.node.RemoveObserver(self._tag)

    def _read(self) -> None:
        if not self.node.HasParameter(self.parameter.name):  # new, or reset when the scene was closed
            self.parameter.write(self.node, self.parameter.default.value)
        self.value = self.parameter.serializer.read(self.node)

    def write(self, value: Any) -> None:
        with slicer.util.NodeModify(self.node):
            self.parameter.write(self.node, value)
            self._read()  # before anybody hears of it


class _Wrapper:
    """What a decorated class becomes."""

    allParameters: dict[str, _Parameter]
    _is_parameter_node_wrapper = True

    def __init__(self, parameterNode: Any, prefix: str | None = None) -> None:
        self.parameterNode = parameterNode
        self._values = {name: _Value(p, parameterNode) for name, p in self.allParameters.items()}
        self._guis: dict[int, tuple[dict[str, gui_connectors.Connector], int]] = {}
        self._next_tag = 0
        self._updating = False

    def getValue(self, name: str) -> Any:
        return self._of(name).value

    def setValue(self, name: str, value: Any) -> None:
        self._of(name).write(value)

    def _of(self, name: str) -> _Value:
        if name not in self._values:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return self._values[name]

    def connectGui(self, gui: Any) -> int:
        """Bind every widget that names a parameter; returns the tag for disconnectGui."""
        widgets = gui.findChildren(qt.QWidget) if isinstance(gui, qt.QWidget) else vars(gui).values()
        return self.connectParametersToGui({w.property(PROPERTY): w for w in widgets if w.property(PROPERTY)})

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        for name in mapping:
            self._of(name)
        connectors = {n: gui_connectors.create(w, self.allParameters[n].hint) for n, w in mapping.items()}
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.onChanged(self._from_gui(name, connector))
        tag, self._next_tag = self._next_tag, self._next_tag + 1
        self._guis[tag] = (connectors, self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._to_gui))
        return tag

    def disconnectGui(self, tag: int) -> None:
        connectors, observation = self._guis.pop(tag, ({}, None))
        for connector in connectors.values():
            connector.onChanged(None)
        if observation is not None:
            self.RemoveObserver(observation)

    def _from_gui(self, name: str, connector: gui_connectors.Connector) -> Any:
        def changed() -> None:
            with slicer.util.NodeModify(self):
                if not self._updating:
                    self.setValue(name, connector.read())

        return changed

    def _to_gui(self, *_: Any) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            for connectors, _tag in self._guis.values():
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._updating = False

    def AddObserver(self, event: Any, callback: Any, priority: float = 0.0) -> int:
        return int(self.parameterNode.AddObserver(event, callback, priority))

    def RemoveObserver(self, tag: int) -> None:
        self.parameterNode.RemoveObserver(tag)

    def StartModify(self) -> int:
        return int(self.parameterNode.StartModify())

    def EndModify(self, previous: int) -> None:
        self.parameterNode.EndModify(previous)

    def Modified(self) -> None:
        self.parameterNode.Modified()


def _property(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def isParameterNodeWrapper(thing: Any) -> bool:
    return bool(getattr(thing, "_is_parameter_node_wrapper", False))


def parameterNodeWrapper(cls: type) -> type:
    """Class decorator: annotations become attributes that read and write the parameter node."""
    hints = typing.get_type_hints(cls, include_extras=True)
    parameters = {name: _Parameter(name, hint, cls) for name, hint in hints.items()}
    body: dict[str, Any] = dict(vars(cls))
    for name in ("__dict__", "__weakref__"):
        body.pop(name, None)
    body |= {"allParameters": parameters} | {name: _property(name) for name in parameters}
    return type(cls.__name__, (_Wrapper,), body)
