"""How values are kept in a parameter node: as texts, and as references to other nodes."""

from __future__ import annotations

import enum
import types
import typing
from collections.abc import Callable, Iterable, MutableSequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any, Protocol

import slicer
import slicer.util

from Testing.desktop.parameters.annotations import Validator, split

Node = slicer.vtkMRMLScriptedModuleNode


class Storage(Protocol):
    """Keeps one kind of value in a node under a name."""

    def default(self) -> Any:
        """Return the value of a parameter that has no default of its own."""

    def has(self, node: Node, name: str) -> bool:
        """Return whether the node holds a value."""

    def read(self, node: Node, name: str) -> Any:
        """Return the value."""

    def write(self, node: Node, name: str, value: Any) -> None:
        """Keep a value; raise TypeError for one of another kind, ValueError for one that is not allowed."""

    def remove(self, node: Node, name: str) -> None:
        """Forget the value."""


@dataclass(frozen=True)
class TextStorage:
    """A value written as one text."""

    accepted: tuple[type, ...]
    start: Callable[[], Any]
    encode: Callable[[Any], str]
    decode: Callable[[str], Any]

    def default(self) -> Any:
        """Return the type's own first value."""
        return self.start()

    def has(self, node: Node, name: str) -> bool:
        """Return whether the node holds a value."""
        return bool(node.HasParameter(name))

    def read(self, node: Node, name: str) -> Any:
        """Return the value that the text stands for."""
        return self.decode(node.GetParameter(name))

    def write(self, node: Node, name: str, value: Any) -> None:
        """Keep the value as a text."""
        if value is None:
            raise ValueError(f"{name} must not be None")
        if not isinstance(value, self.accepted):
            names = " or ".join(kind.__name__ for kind in self.accepted)
            raise TypeError(f"{name} must be a {names}, not {value!r}")
        node.SetParameter(name, self.encode(value))

    def remove(self, node: Node, name: str) -> None:
        """Remove the text."""
        node.UnsetParameter(name)


@dataclass(frozen=True)
class NodeStorage:
    """A reference to a node of a class, or to none."""

    accepted: type

    def default(self) -> None:
        """Return None."""

    def has(self, node: Node, name: str) -> bool:
        """Return whether the node holds a reference, be it to None."""
        return bool(node.HasParameter(name))

    def read(self, node: Node, name: str) -> slicer.vtkMRMLNode | None:
        """Return the node, None where there is none or it has left the scene."""
        return node.GetNodeReference(name)

    def write(self, node: Node, name: str, value: slicer.vtkMRMLNode | None) -> None:
        """Keep a reference, and an empty text that says that there is one."""
        if value is not None and not isinstance(value, self.accepted):
            raise TypeError(f"{name} must be a {self.accepted.__name__}, not a {type(value).__name__}")
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, None if value is None else value.GetID())

    def remove(self, node: Node, name: str) -> None:
        """Remove reference and text."""
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


@dataclass(frozen=True)
class OneOfStorage:
    """A value of one of several kinds, each under a name of its own; None is the last kind of an `Optional`."""

    kinds: tuple[Storage, ...]
    optional: bool

    def default(self) -> Any:
        """Return None where it is allowed, or the first kind's default."""
        return None if self.optional else self.kinds[0].default()

    def has(self, node: Node, name: str) -> bool:
        """Return whether the node holds a value of any kind."""
        return node.HasParameter(self._none(name)) or self._held(node, name) is not None

    def read(self, node: Node, name: str) -> Any:
        """Return the value."""
        index = self._held(node, name)
        return None if index is None else self.kinds[index].read(node, f"{name}.{index}")

    def write(self, node: Node, name: str, value: Any) -> None:
        """Keep a value under the first kind that takes it."""
        with slicer.util.NodeModify(node):
            if value is None and self.optional:
                self.remove(node, name)
                node.SetParameter(self._none(name), "")
                return
            for index, kind in enumerate(self.kinds):
                try:
                    kind.write(node, f"{name}.{index}", value)
                except (TypeError, ValueError):
                    continue
                self._remove_others(node, name, index)
                return
        raise TypeError(f"{name} cannot be {value!r}")

    def remove(self, node: Node, name: str) -> None:
        """Remove the value, of whatever kind."""
        self._remove_others(node, name, -1)

    def _none(self, name: str) -> str:
        return f"{name}.{len(self.kinds)}"

    def _held(self, node: Node, name: str) -> int | None:
        held = (index for index, kind in enumerate(self.kinds) if kind.has(node, f"{name}.{index}"))
        return next(held, None)

    def _remove_others(self, node: Node, name: str, kept: int) -> None:
        node.UnsetParameter(self._none(name))
        for index, kind in enumerate(self.kinds):
            if index != kept:
                kind.remove(node, f"{name}.{index}")


@dataclass(frozen=True)
class ListStorage:
    """A list: its length, and each of its items."""

    items: Storage

    def default(self) -> list:
        """Return an empty list."""
        return []

    def has(self, node: Node, name: str) -> bool:
        """Return whether the node holds a list."""
        return bool(node.HasParameter(f"{name}.len"))

    def length(self, node: Node, name: str) -> int:
        """Return the length of the list, 0 where there is none."""
        return int(node.GetParameter(f"{name}.len") or 0)

    def read(self, node: Node, name: str) -> StoredList:
        """Return the list, which writes to the node what is done to it."""
        return StoredList(self, node, name)

    def write(self, node: Node, name: str, values: Iterable[Any]) -> None:
        """Keep a list."""
        values = list(values)
        with slicer.util.NodeModify(node):
            for index, value in enumerate(values):
                self.items.write(node, f"{name}.{index}", value)
            for index in range(len(values), self.length(node, name)):
                self.items.remove(node, f"{name}.{index}")
            node.SetParameter(f"{name}.len", str(len(values)))

    def remove(self, node: Node, name: str) -> None:
        """Remove length and items."""
        self.write(node, name, ())
        node.UnsetParameter(f"{name}.len")


class StoredList(MutableSequence):
    """A list in a node."""

    def __init__(self, storage: ListStorage, node: Node, name: str) -> None:
        self._storage = storage
        self._node = node
        self._name = name

    def _values(self) -> list:
        count = self._storage.length(self._node, self._name)
        return [self._storage.items.read(self._node, f"{self._name}.{index}") for index in range(count)]

    def _write(self, values: list) -> None:
        self._storage.write(self._node, self._name, values)

    def __getitem__(self, index: Any) -> Any:
        return self._values()[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        values = self._values()
        values[index] = value
        self._write(values)

    def __delitem__(self, index: Any) -> None:
        values = self._values()
        del values[index]
        self._write(values)

    def __len__(self) -> int:
        return len(self._values())

    def insert(self, index: int, value: Any) -> None:
        """Insert a value before an index."""
        values = self._values()
        values.insert(index, value)
        self._write(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, (list, StoredList)) and self._values() == list(other)

    __hash__ = None

    def __repr__(self) -> str:
        return f"StoredList({self._values()!r})"


@dataclass(frozen=True)
class CheckedStorage:
    """Another storage, with rules that each value must satisfy."""

    inner: Storage
    rules: tuple[Validator, ...]

    def default(self) -> Any:
        """Return the inner default."""
        return self.inner.default()

    def has(self, node: Node, name: str) -> bool:
        """Return whether the node holds a value."""
        return self.inner.has(node, name)

    def read(self, node: Node, name: str) -> Any:
        """Return the value."""
        return self.inner.read(node, name)

    def write(self, node: Node, name: str, value: Any) -> None:
        """Keep a value that satisfies the rules."""
        for rule in self.rules:
            rule.validate(value)
        self.inner.write(node, name, value)

    def remove(self, node: Node, name: str) -> None:
        """Forget the value."""
        self.inner.remove(node, name)


TEXTS = {
    bool: TextStorage((bool,), bool, str, lambda text: text == "True"),
    int: TextStorage((int,), int, str, int),
    float: TextStorage((float, int), float, str, float),
    str: TextStorage((str,), str, str, str),
    Path: TextStorage((PurePath,), Path, str, Path),
}


def storage_for(hint: Any) -> Storage:
    """Return how values of an annotated type are kept; raise TypeError for a type that is not supported."""
    kind, annotations = split(hint)
    rules = tuple(annotation for annotation in annotations if isinstance(annotation, Validator))
    return CheckedStorage(plain_storage(kind), rules) if rules else plain_storage(kind)


def plain_storage(kind: Any) -> Storage:
    """Return how values of a type are kept."""
    if kind in TEXTS:
        return TEXTS[kind]
    if typing.get_origin(kind) is list:
        return ListStorage(storage_for(typing.get_args(kind)[0]))
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = typing.get_args(kind)
        kinds = tuple(storage_for(member) for member in members if member is not type(None))
        return OneOfStorage(kinds, type(None) in members)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return TextStorage((kind,), lambda: next(iter(kind)), lambda member: member.name, lambda name: kind[name])
    if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode):
        return NodeStorage(kind)
    raise TypeError(f"a parameter of type {kind} is not supported")
