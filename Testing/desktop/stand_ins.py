"""What the stand-ins for C++ widgets share.

A class marked with `@stand_in` counts as C++ (no new attributes); a C++ class without a stand-in can be named, which
`isinstance` checks need, but not made: an empty widget in its place would hide what is missing.
"""

from __future__ import annotations

import types
from typing import Any, TypeVar

from PySide6.QtWidgets import QWidget

Widget = TypeVar("Widget", bound=type[QWidget])


class MissingStandInError(NotImplementedError):
    """A C++ class is used that has no stand-in here."""


def stand_in(cls: Widget) -> Widget:
    """Mark a class as the stand-in for the C++ class of the same name."""
    cls.standInFor = cls.__name__
    return cls


def is_stand_in(cls: type) -> bool:
    """Return whether a class stands for a C++ class."""
    return "standInFor" in vars(cls)


def missing(name: str) -> type:
    """Return a class of that name which cannot be instantiated."""

    def refuse(self: Any, *arguments: Any) -> None:
        raise MissingStandInError(f"{name} has no stand-in in Testing/desktop: write one, or use another widget")

    return type(name, (), {"__init__": refuse, "standInFor": name})


def missing_classes_on_demand(module: types.ModuleType, prefixes: tuple[str, ...]) -> None:
    """Let a module answer for every class whose name starts so, with one that says what is missing when it is used."""

    def get(name: str) -> type:
        if not name.startswith(prefixes):
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
        vars(module)[name] = missing(name)
        return vars(module)[name]

    module.__getattr__ = get
