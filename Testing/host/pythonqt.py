"""PythonQt's way of speaking on top of PySide6: patches the Qt classes in place and builds the `qt` module."""

from __future__ import annotations

import inspect
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

QObject = QtCore.QObject

errors: list[BaseException] = []
"""Exceptions raised in slots and observers. PythonQt prints them and goes on; a test asks for them here."""

# Getters of these Q_PROPERTYs are virtual functions in C++: a Python property of that name would be found by
# shiboken's search for overrides and recurse, so they stay methods here (in PythonQt they are attributes too).
_VIRTUAL_GETTERS = {"sizeHint", "minimumSizeHint", "document", "children"}


def record(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """Print an exception and keep it in `errors`; also serves as sys.excepthook, which VTK observers end in."""
    traceback.print_exception(kind, error, trace)
    errors.append(error)


def _as_attribute(name: str) -> property:
    def read(self: Any) -> Any:
        return QObject.property(self, name)

    def write(self: Any, value: Any) -> None:
        meta = self.metaObject()
        if not meta.property(meta.indexOfProperty(name)).isWritable():
            raise AttributeError(f"property '{name}' of {meta.className()} is not writable")
        if not QObject.setProperty(self, name, value):
            raise ValueError(f"property '{name}' of {meta.className()} cannot be set to {value!r}")

    return property(read, write)


def _public(module: types.ModuleType) -> dict[str, Any]:
    """Every public name of a PySide6 module. Its classes are made on first access, so vars() would miss most."""
    return {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}


def _qt_classes() -> list[type]:
    every = [value for m in (QtCore, QtGui, QtWidgets, QtUiTools) for value in _public(m).values()]
    return [c for c in every if isinstance(c, type) and issubclass(c, QObject) and hasattr(c, "staticMetaObject")]


def _signal(obj: Any, signature: str) -> tuple[Any, int]:
    """The bound signal of a signature such as 'clicked(bool)', and how many arguments a slot may take."""
    meta = obj.metaObject()
    wanted = bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()
    name, arguments = wanted[:-1].split("(", 1)
    count = arguments.count(",") + 1 if arguments else 0
    if wanted in getattr(type(obj), "node_signals", ()):  # pointers to MRML nodes travel as Python objects here
        return getattr(obj, name), count
    methods = [meta.method(i) for i in range(meta.methodCount())]
    signals = [m for m in methods if m.methodType() == QtCore.QMetaMethod.MethodType.Signal]
    known = [bytes(m.methodSignature().data()).decode() for m in signals]
    if wanted not in known:
        alike = [s for s in known if s.startswith(name)]
        raise ValueError(f"no such signal: {type(obj).__name__}::{wanted} (there: {alike})")
    signal = getattr(obj, name)
    overloaded = len([s for s in known if s.startswith(name + "(")]) > 1
    return (signal[arguments] if overloaded and arguments else signal), count


def _accepts(slot: Callable[..., Any]) -> int | None:
    """How many positional arguments a slot takes; None for any number."""
    try:
        parameters = inspect.signature(slot).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def connect(self: Any, signature: str, slot: Callable[..., Any]) -> bool:
    """`widget.connect('clicked(bool)', slot)`: surplus arguments are dropped, exceptions are recorded."""
    signal, count = _signal(self, signature)
    accepted = _accepts(slot)

    def call(*arguments: Any) -> None:
        arguments = arguments[:count] if accepted is None else arguments[: min(count, accepted)]
        try:
            slot(*arguments)
        except Exception as error:
            record(type(error), error, error.__traceback__)

    signal.connect(call)
    self.__dict__.setdefault("_connections", []).append((signature, slot, signal, call))
    return True


def disconnect(self: Any, signature: str, slot: Callable[..., Any]) -> bool:
    """Undo one `connect`. Returns False where there was none."""
    for connection in list(self.__dict__.get("_connections", [])):
        if connection[:2] == (signature, slot):
            connection[2].disconnect(connection[3])
            self._connections.remove(connection)
            return True
    return False


def _refuse_new_attributes() -> None:
    """PythonQt creates no attribute on a C++ object: a misspelt property is an error, not a silent no-op."""
    plain = QObject.__mro__[1].__setattr__  # of shiboken's base class: Python lets no call skip a C-level setter

    def setattribute(self: Any, name: str, value: Any) -> None:
        cls = type(self)
        foreign = cls.__module__.startswith("PySide6") or hasattr(cls, "stand_in")
        child = isinstance(value, QtWidgets.QWidget)  # the .ui loader hangs named children on the top widget
        if foreign and not child and not name.startswith("_") and not hasattr(cls, name):
            raise AttributeError(f"'{cls.__name__}' has no attribute '{name}'")
        if isinstance(inspect.getattr_static(cls, name, None), QtCore.Property):  # of a stand-in class
            QObject.setProperty(self, name, value)
        else:
            plain(self, name, value)

    for cls in _qt_classes():
        if "__setattr__" in vars(cls):
            cls.__setattr__ = setattribute  # type: ignore[assignment, method-assign]


def patch() -> None:
    """Make every class of PySide6 answer like PythonQt. Call once, before any stand-in class is made."""
    for cls in _qt_classes():
        meta = cls.staticMetaObject  # type: ignore[attr-defined]
        for index in range(meta.propertyOffset(), meta.propertyCount()):
            name = meta.property(index).name()
            if name not in _VIRTUAL_GETTERS:
                setattr(cls, name, _as_attribute(name))
    named = property(lambda self: self.property("objectName"), lambda self, v: self.setProperty("objectName", v))
    QObject.name = named  # type: ignore[attr-defined]
    QObject.className = lambda self: self.metaObject().className()  # type: ignore[attr-defined]

    plain = QObject.__getattribute__  # shiboken answers connect and disconnect by itself, so they are caught here

    def getattribute(self: Any, name: str) -> Any:
        if name == "connect":
            return types.MethodType(connect, self)
        if name == "disconnect":
            return types.MethodType(disconnect, self)
        return plain(self, name)

    QObject.__getattribute__ = getattribute  # type: ignore[assignment, method-assign]
    _refuse_new_attributes()
    sys.excepthook = record


def make_qt() -> types.ModuleType:
    """The module `qt`: every public name of QtCore, QtGui and QtWidgets, flat, as PythonQt offers them."""
    module = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets):
        vars(module).update(_public(source))
    sys.modules["qt"] = module
    return module
