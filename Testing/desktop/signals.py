"""`connect("clicked(bool)", function)` and `disconnect(...)` as PythonQt has them, for every QObject of PySide6.

A signature that the object does not have is an error: PythonQt only prints a warning, and the button then does nothing.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QMetaMethod, QMetaObject, QObject


class SignalTarget(QObject):
    """Calls a function for a signal; a child of the emitter, which keeps the function alive as PythonQt does."""

    def __init__(self, emitter: QObject, signature: str, function: Callable) -> None:
        super().__init__(emitter)
        self.signature = signature
        self.function = function
        self._accepted = accepted_arguments(function)

    def call(self, *arguments: Any) -> None:
        """Call the function with as many of the signal's arguments as it takes."""
        self.function(*arguments[: self._accepted])


def accepted_arguments(function: Callable) -> int | None:
    """Return how many positional arguments a Python function takes, None for any number and for anything but Python.

    PythonQt looks at the code object only, so keyword-only and variable arguments are treated as it does.
    """
    code = getattr(function, "__code__", None)
    if code is None or code.co_flags & inspect.CO_VARARGS:
        return None
    return code.co_argcount - inspect.ismethod(function)


def connect(emitter: QObject, signal: str, receiver: Any, slot: str | None = None) -> bool:
    """Call `receiver`, or its `slot("...")`, whenever the object emits the signal with the given signature."""
    signature = normalized(signal)
    function = receiver if slot is None else getattr(receiver, slot.split("(")[0])
    if not callable(function):
        raise TypeError(f"{signal}: {function!r} cannot be called")
    target = SignalTarget(emitter, signature, function)
    bound_signal(emitter, signature).connect(target.call)
    return True


def disconnect(emitter: QObject, signal: str, receiver: Any = None, slot: str | None = None) -> bool:
    """Undo `connect`; without a receiver, undo all connections of the signal. Return whether there was one."""
    signature = normalized(signal)
    bound_signal(emitter, signature)
    function = receiver if slot is None else getattr(receiver, slot.split("(")[0])
    targets = [
        child
        for child in emitter.children()
        if isinstance(child, SignalTarget)
        and child.signature == signature
        and (function is None or child.function == function)
    ]
    for target in targets:
        bound_signal(emitter, signature).disconnect(target.call)
        target.setParent(None)
    return bool(targets)


def normalized(signal: str) -> str:
    """Return a signature as Qt writes it: "currentTextChanged( const QString & )" is "currentTextChanged(QString)"."""
    return QMetaObject.normalizedSignature(signal).data().decode()


def bound_signal(emitter: QObject, signature: str) -> Any:
    """Return the object's signal with exactly this signature.

    Stand-ins for C++ widgets say in `cxxSignals` which of their signals stands for which C++ signature, because PySide6
    cannot declare one with, say, a `vtkMRMLNode*`.
    """
    names = getattr(type(emitter), "cxxSignals", {})
    if signature in names:
        return getattr(emitter, names[signature])
    known = signatures(emitter)
    if signature not in known:
        offered = sorted({*known, *names})
        raise RuntimeError(f"{type(emitter).__name__} has no signal {signature}; it has {', '.join(offered)}")
    name, arguments = signature.rstrip(")").split("(", 1)
    signal = getattr(emitter, name)
    overloaded = sum(other.split("(")[0] == name for other in known) > 1
    if not overloaded:
        return signal
    return signal[arguments] if arguments else signal[()]


def signatures(emitter: QObject) -> list[str]:
    """Return the signatures of all signals that C++ would know; those with Python objects are named in `cxxSignals`."""
    meta = emitter.metaObject()
    methods = (meta.method(index) for index in range(meta.methodCount()))
    found = [
        method.methodSignature().data().decode()
        for method in methods
        if method.methodType() == QMetaMethod.MethodType.Signal
    ]
    return [signature for signature in found if "PyObject" not in signature]
