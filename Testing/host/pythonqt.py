"""PythonQt's way of speaking on top of PySide6: patches the Qt classes in place and builds the `qt` module.

Same as PythonQt: properties are attributes; a new attribute on a C++ object raises AttributeError, on a Python
subclass it is allowed; a method that came after Qt 5.15 is not there; `connect("clicked(bool)", f)` drops surplus
arguments, prints and returns False where the signal is unknown; an exception in a slot is printed and swallowed.
What the host notices beyond that goes to `faults`, where the code cannot see it.
"""

from __future__ import annotations

import contextlib
import enum
import inspect
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import shiboken6
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from . import faults, reference

QObject = QtCore.QObject

errors = faults.recorded
"""Exceptions raised in slots and observers, and faults: a test asks for them here."""

# Getters of these Q_PROPERTYs are virtual functions in C++: a Python property of that name would be found by
# shiboken's search for overrides and recurse, so they stay methods here (in PythonQt they are attributes too).
_VIRTUAL_GETTERS = {"sizeHint", "minimumSizeHint", "document", "children"}

_connections: dict[int, list[tuple[str, Any, Any, Any]]] = {}
"""By address of the sender: signature, slot, bound signal, what is connected to it. A wrapper may come and go."""

_loading = False


def _write(self: Any, name: str, value: Any) -> None:
    meta = self.metaObject()
    if not meta.property(meta.indexOfProperty(name)).isWritable():
        raise AttributeError(f"property '{name}' of {meta.className()} is not writable")
    if not QObject.setProperty(self, name, list(value) if isinstance(value, tuple) else value):
        raise ValueError(f"property '{name}' of {meta.className()} cannot be set to {value!r}")


def _as_attribute(name: str) -> property:
    def read(self: Any) -> Any:
        return QObject.property(self, name)

    def write(self: Any, value: Any) -> None:
        _write(self, name, value)

    return property(read, write)


class _StaticToo(property):
    """A property of objects whose name is a static function of their class: QTimer.singleShot."""

    static: Any

    def __get__(self, obj: Any, cls: type | None = None) -> Any:
        return self.static if obj is None else super().__get__(obj, cls)


def _public(module: types.ModuleType) -> dict[str, Any]:
    """Every public name of a PySide6 module. Its classes are made on first access, so vars() would miss most."""
    return {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}


def _qt_classes() -> list[type]:
    every = [value for m in (QtCore, QtGui, QtWidgets, QtUiTools) for value in _public(m).values()]
    return [c for c in every if isinstance(c, type) and issubclass(c, QObject) and hasattr(c, "staticMetaObject")]


def _is_foreign(cls: type) -> bool:
    """Whether objects of a class are C++ objects where this code is meant to run."""
    return cls.__module__.startswith(("PySide6", __package__ + "."))


def normalized(signature: str) -> str:
    return bytes(QtCore.QMetaObject.normalizedSignature(signature).data()).decode()


def _signal(obj: Any, wanted: str) -> Any:
    """The bound signal of a normalized signature such as 'clicked(bool)'; None where the real class has none."""
    if reference.lacks_signal(type(obj), wanted):
        return None
    name, arguments = wanted[:-1].split("(", 1)
    stand_in = getattr(type(obj), "cpp_signals", {}).get(wanted)  # pointers to VTK objects travel as Python objects
    if stand_in:
        return getattr(obj, stand_in)
    meta = obj.metaObject()
    methods = [meta.method(i) for i in range(meta.methodCount())]
    signals = [m for m in methods if m.methodType() == QtCore.QMetaMethod.MethodType.Signal]
    known = [bytes(m.methodSignature().data()).decode() for m in signals]
    if wanted not in known:
        return None
    signal = getattr(obj, name)
    overloaded = len([s for s in known if s.startswith(name + "(")]) > 1
    return signal[arguments] if overloaded and arguments else signal


def _accepts(slot: Callable[..., Any]) -> int | None:
    """How many positional arguments a slot takes; None for any number."""
    try:
        parameters = inspect.signature(slot).parameters.values()
    except (TypeError, ValueError):
        return None
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        return None
    return sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


def _held(obj: Any) -> list[tuple[str, Any, Any, Any]]:
    address = shiboken6.getCppPointer(obj)[0]
    if address not in _connections:
        _connections[address] = []
        obj.destroyed.connect(lambda *_: _connections.pop(address, None))
    return _connections[address]


def connect(self: Any, signature: str, slot: Callable[..., Any]) -> bool:
    """`widget.connect('clicked(bool)', slot)`. An unknown signal: a line is printed, False is returned."""
    wanted = normalized(signature)
    signal = _signal(self, wanted)
    if signal is None:
        faults.note("signal", f"QObject::connect: there is no signal {type(self).__name__}::{wanted}")
        return False
    accepted = _accepts(slot)
    arguments = wanted[:-1].split("(", 1)[1]
    count = arguments.count(",") + 1 if arguments else 0
    count = count if accepted is None else min(count, accepted)

    def call(*values: Any) -> None:
        try:
            slot(*values[:count])
        except Exception as error:
            faults.record(type(error), error, error.__traceback__)

    signal.connect(call)
    _held(self).append((wanted, slot, signal, call))
    return True


def disconnect(self: Any, signature: str, slot: Callable[..., Any]) -> bool:
    """Undo one `connect`. Returns False where there was none."""
    held = _held(self)
    for connection in held:
        if connection[:2] == (normalized(signature), slot):
            connection[2].disconnect(connection[3])
            held.remove(connection)
            return True
    return False


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """While a .ui file is loaded: PySide's loader hangs named children on the top widget (PythonQt finds them too)."""
    global _loading
    _loading = True
    try:
        yield
    finally:
        _loading = False


def _refuse_new_attributes() -> None:
    """PythonQt creates no attribute on a C++ object: a misspelt property is an error, not a silent no-op."""
    plain = QObject.__mro__[1].__setattr__  # of shiboken's base class: Python lets no call skip a C-level setter

    def setattribute(self: Any, name: str, value: Any) -> None:
        cls = type(self)
        child = _loading and isinstance(value, QtCore.QObject)
        if _is_foreign(cls) and not child and not name.startswith("_") and not hasattr(cls, name):
            raise AttributeError(f"'{cls.__name__}' has no attribute '{name}'")
        if isinstance(inspect.getattr_static(cls, name, None), QtCore.Property):  # of a stand-in class
            _write(self, name, value)
        else:
            plain(self, name, value)

    for cls in _qt_classes():
        if "__setattr__" in vars(cls):
            cls.__setattr__ = setattribute  # type: ignore[assignment, method-assign]


class _Connecting:
    """`connect` or `disconnect` of one object, in the way of speaking that the arguments tell."""

    def __init__(self, obj: Any, ours: Callable[..., bool], plain: Callable[..., Any]) -> None:
        self._obj, self._ours, self._plain = obj, ours, plain

    def __call__(self, *arguments: Any) -> Any:
        if len(arguments) == 2 and isinstance(arguments[0], str):
            return self._ours(self._obj, *arguments)
        return self._plain(*arguments)  # PySide's own code, QTimer.singleShot for one


def _catch_connect() -> None:
    """shiboken answers connect and disconnect by itself, so they are caught where attributes are looked up."""

    def caught(plain: Any) -> Any:
        def getattribute(self: Any, name: str) -> Any:
            if name in ("connect", "disconnect"):
                return _Connecting(self, connect if name == "connect" else disconnect, plain(self, name))
            if name in reference.later(type(self)):
                raise AttributeError(f"'{type(self).__name__}' has no attribute '{name}' in the Qt of Slicer")
            try:
                return plain(self, name)
            except AttributeError:
                member = getattr(type(self), name, None)  # PythonQt finds enum values on objects too
                if isinstance(member, (enum.Enum, int)) and name[:1].isupper():
                    return member
                raise

        return getattribute

    for cls in _qt_classes():
        if "__getattribute__" in vars(cls):
            cls.__getattribute__ = caught(cls.__getattribute__)  # type: ignore[method-assign]


def patch() -> None:
    """Make every class of PySide6 answer like PythonQt. Call once, before any stand-in class is made."""
    single_shot = QtCore.QTimer.singleShot
    for cls in _qt_classes():
        meta = cls.staticMetaObject  # type: ignore[attr-defined]
        for index in range(meta.propertyOffset(), meta.propertyCount()):
            name = meta.property(index).name()
            if name not in _VIRTUAL_GETTERS and not reference.lacks_property(cls, name):
                setattr(cls, name, _as_attribute(name))
    both = _StaticToo(QtCore.QTimer.singleShot.fget, QtCore.QTimer.singleShot.fset)  # type: ignore[attr-defined]
    both.static, QtCore.QTimer.singleShot = single_shot, both  # type: ignore[assignment, method-assign]
    named = property(lambda self: self.property("objectName"), lambda self, v: self.setProperty("objectName", v))
    QObject.name = named  # type: ignore[attr-defined]
    QObject.className = lambda self: self.metaObject().className()  # type: ignore[attr-defined]

    _catch_connect()
    _refuse_new_attributes()
    sys.excepthook = faults.record


def make_qt() -> types.ModuleType:
    """The module `qt`: every public name of QtCore, QtGui and QtWidgets, flat, as PythonQt offers them."""
    module = types.ModuleType("qt")
    for source in (QtCore, QtGui, QtWidgets):
        vars(module).update(_public(source))
    sys.modules["qt"] = module
    return module
