"""`slicer.parameterNodeWrapper`: typed attributes kept in a MRML node and bound to widgets.

Only what a panel of nodes, text, switches and bounded numbers needs. The binding rules are the strict ones: an exact
widget type per value type, no binding for a QComboBox whose choices are not fixed, ValueError on a value out of range.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from typing import Any

import ctk
import qt
import slicer
import vtk

PROPERTY = "SlicerParameterName"


@dataclass(frozen=True)
class WithinRange:
    """Annotation: a number between two bounds, both allowed."""

    minimum: float
    maximum: float

    def check(self, value: float) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"{value} is not within [{self.minimum}, {self.maximum}]")


class _Parameter:
    """One typed attribute and its form in the parameter node."""

    def __init__(self, name: str, hint: Any, default: Any) -> None:
        self.name, self.annotations = name, getattr(hint, "__metadata__", ())
        self.type = hint.__origin__ if self.annotations else hint
        self.is_node = issubclass(self.type, slicer.vtkMRMLNode)
        if not self.is_node and self.type not in (str, bool, int, float):
            raise TypeError(f"parameter '{name}': no serializer for {self.type}")
        self.default = default if default is not None or self.is_node else self.type()

    def write(self, node: Any, value: Any) -> None:
        if self.is_node:
            if value is not None and not isinstance(value, self.type):
                raise TypeError(f"parameter '{self.name}' takes a {self.type.__name__}")
            node.SetNodeReferenceID(self.name, value.GetID() if value else None)
            return
        if not isinstance(value, (int, float) if self.type is float else self.type):
            raise TypeError(f"parameter '{self.name}' takes {self.type.__name__}, not {value!r}")
        for annotation in self.annotations:
            annotation.check(value)
        node.SetParameter(self.name, str(value))

    def read(self, node: Any) -> Any:
        if self.is_node:
            return node.GetNodeReference(self.name)
        text = node.GetParameter(self.name)
        return text == "True" if self.type is bool else self.type(text)

    def is_in(self, node: Any) -> bool:
        return self.is_node or self.name in node.GetParameterNames()


class _Binding:
    """Keeps one widget and one parameter equal."""

    def __init__(self, widget: Any, parameter: _Parameter) -> None:
        self.widget = widget
        if type(widget) is qt.QCheckBox and parameter.type is bool:
            self.signal, self.attribute = "toggled(bool)", "checked"
        elif type(widget) is ctk.ctkSliderWidget and parameter.type is float:
            bounds = next(a for a in parameter.annotations if isinstance(a, WithinRange))
            widget.minimum, widget.maximum = bounds.minimum, bounds.maximum
            self.signal, self.attribute = "valueChanged(double)", "value"
        elif type(widget) is slicer.qMRMLNodeComboBox and parameter.is_node:
            self.signal, self.attribute = "currentNodeChanged(vtkMRMLNode*)", ""
        else:
            raise RuntimeError(f"no binding between {type(widget).__name__} and parameter '{parameter.name}'")

    def read(self) -> Any:
        return getattr(self.widget, self.attribute) if self.attribute else self.widget.currentNode()

    def write(self, value: Any) -> None:
        if self.attribute:
            setattr(self.widget, self.attribute, value)
        else:
            self.widget.setCurrentNode(value)


class _Wrapper:
    """What a decorated class becomes. See the package docstring of Slicer for the interface."""

    _parameters: dict[str, _Parameter]

    def __init__(self, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._bindings: dict[int, list[tuple[_Parameter, _Binding, Any]]] = {}
        self._updating = False
        for parameter in self._parameters.values():
            if not parameter.is_in(parameterNode):
                parameter.write(parameterNode, parameter.default)

    def connectGui(self, gui: Any) -> int:
        """Bind every widget that names a parameter; returns the tag for disconnectGui."""
        tag, bindings = len(self._bindings), []
        for widget in vars(gui).values():
            name = widget.property(PROPERTY)
            if name:
                parameter = self._parameters[name]
                binding = _Binding(widget, parameter)
                binding.write(parameter.read(self.parameterNode))
                slot = self._from_gui(parameter, binding)
                widget.connect(binding.signal, slot)
                bindings.append((parameter, binding, slot))
        self._bindings[tag] = bindings
        self.AddObserver(vtk.vtkCommand.ModifiedEvent, self._to_gui)
        return tag

    def disconnectGui(self, tag: int) -> None:
        for _, binding, slot in self._bindings.pop(tag, []):
            binding.widget.disconnect(binding.signal, slot)

    def _from_gui(self, parameter: _Parameter, binding: _Binding) -> Any:
        def changed() -> None:
            if not self._updating:
                parameter.write(self.parameterNode, binding.read())

        return changed

    def _to_gui(self, *_: Any) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            for bindings in self._bindings.values():
                for parameter, binding, _ in bindings:
                    binding.write(parameter.read(self.parameterNode))
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


def parameterNodeWrapper(cls: type) -> type:
    """Class decorator: annotations become attributes that read and write the parameter node."""
    parameters = {
        name: _Parameter(name, hint, getattr(cls, name, None))
        for name, hint in typing.get_type_hints(cls, include_extras=True).items()
    }
    body: dict[str, Any] = {"_parameters": parameters, "__doc__": cls.__doc__, "__module__": cls.__module__}
    for name, parameter in parameters.items():
        body[name] = property(
            lambda self, p=parameter: p.read(self.parameterNode),
            lambda self, value, p=parameter: p.write(self.parameterNode, value),
        )
    return type(cls.__name__, (_Wrapper,), body)
