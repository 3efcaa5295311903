"""Exceptions as messages, and back as the classes that one process would raise. No torch."""

from __future__ import annotations

from DeepRegLib import errors
from DeepRegLib.engine.protocol import EngineError, Message, MissingLibraryError
from DeepRegLib.errors import DeepRegError, MemoryShortageError


def pack_error(error: BaseException, number: int, details: str = "") -> Message:
    """Return an exception as an error message; what DeepReg did not raise on purpose is named an internal error."""
    if isinstance(error, MemoryError):
        error = MemoryShortageError("Out of memory on the engine's machine.", "Use the recipe 'fast'.", "cpu")
    if isinstance(error, DeepRegError):
        message, hint = error.message, error.hint
    else:
        message = f"The engine met an internal error ({type(error).__name__}: {error})."
        hint = "Please report it with the details."
    content = {"kind": type(error).__name__, "message": message, "hint": hint, "details": details}
    for name in ("device", "library"):
        if hasattr(error, name):
            content[name] = getattr(error, name)
    return Message("error", number, content)


def unpack_error(message: Message) -> DeepRegError:
    """Return the exception of an error message, of the class that `register` raises in one process."""
    kind, text, hint, details = (str(message.content.get(key, "")) for key in ("kind", "message", "hint", "details"))
    if kind == MemoryShortageError.__name__:
        return MemoryShortageError(text, hint, str(message.content.get("device", "")))
    if kind == MissingLibraryError.__name__:
        return MissingLibraryError(text, hint, details, str(message.content.get("library", "")))
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, DeepRegError):
        return known(text, hint)
    return EngineError(text or "The engine met an error without a message.", hint, details)
