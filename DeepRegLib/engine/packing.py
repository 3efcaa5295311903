"""Frozen dataclasses as plain values and arrays, and back, by the types of their fields.

What a field holds decides how it travels: an array by name beside the message, a dataclass field by field, a transform
with the name of its kind. So a new field travels without a line here. Nothing but these types is ever built.
"""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.engine.protocol import ProtocolError
from DeepRegLib.recipes import Recipe, recipe_from_dict, recipe_to_dict

Arrays = dict[str, NDArray[np.generic]]
Content = dict[str, Any]
Built = TypeVar("Built")

KIND = "kind"
NUMBERS = {int: "a whole number", float: "a number"}


def pack(value: Any, name: str, arrays: Arrays, *, without: tuple[str, ...] = ()) -> Content:
    """Return a dataclass as plain values; its arrays are put into `arrays` under names that begin with `name`.

    Parameters
    ----------
    value
        A dataclass of what this file knows.
    name
        What it is called in the message.
    arrays
        Gets the arrays.
    without
        Fields that the other side has.
    """
    hints = _hints(type(value))
    kept = [name for name in hints if name not in without]
    return {each: _packed(hints[each], getattr(value, each), f"{name}.{each}", arrays) for each in kept}


def unpack(
    kind: type[Built],
    content: Any,
    arrays: Mapping[str, NDArray[np.generic]],
    given: Mapping[str, Any] | None = None,
) -> Built:
    """Return the dataclass of `pack`.

    Parameters
    ----------
    kind
        The dataclass.
    content, arrays
        What was received.
    given
        The fields that were not sent, by name.

    Raises
    ------
    ProtocolError
        If the content lacks something, or has it of the wrong type.
    InputError
        If the dataclass itself refuses a value.
    """
    with explained(kind.__name__):
        built: Built = _built(kind, content, arrays, given or {})
        return built


@contextmanager
def explained(what: str) -> Iterator[None]:
    """Turn what badly made content trips over into a `ProtocolError`."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise ProtocolError(f"A {what} is incomplete or wrong ({type(error).__name__}: {error}).") from error


def _hints(kind: type) -> dict[str, Any]:
    """Return the type of each field of a dataclass, by name."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _packed(kind: Any, value: Any, name: str, arrays: Arrays) -> Any:
    options = _options(kind)
    if value is None or kind is Any:
        return value
    if len(options) > 1:
        return {KIND: type(value).__name__} | pack(value, name, arrays)
    kind = options[0]
    if kind is Recipe:
        return recipe_to_dict(value)
    if is_dataclass(kind):
        return pack(value, name, arrays)
    origin, inner = get_origin(kind), get_args(kind)
    if origin is np.ndarray:
        # Long doubles are laid out differently from machine to machine, and nothing computes with them.
        exotic = value.dtype.kind == "f" and value.dtype.itemsize > 8
        arrays[name] = value.astype(np.float64) if exotic else value
        return name
    if origin is tuple:
        return [_packed(each, item, f"{name}.{n}", arrays) for n, (each, item) in enumerate(_items(inner, value))]
    if origin is not None:  # a mapping
        return {str(key): _packed(inner[1], item, f"{name}.{key}", arrays) for key, item in value.items()}
    return value


def _unpacked(kind: Any, content: Any, arrays: Mapping[str, NDArray[np.generic]]) -> Any:
    options = _options(kind)
    if kind is Any:
        return content
    if content is None and type(None) in get_args(kind):
        return None
    if len(options) > 1:
        return _built(_named(options, content), content, arrays, {})
    kind = options[0]
    if kind is Recipe:
        return recipe_from_dict(content)
    if is_dataclass(kind):
        return _built(kind, content, arrays, {})
    origin, inner = get_origin(kind), get_args(kind)
    if origin is np.ndarray:
        return _array(arrays[content], get_args(inner[1])[0], content)
    if origin is tuple:
        if not isinstance(content, list):
            raise TypeError(f"a list was expected, not {_shown(content)}")
        return tuple(_unpacked(each, item, arrays) for each, item in _items(inner, content))
    if origin is not None:
        return {inner[0](key): _unpacked(inner[1], item, arrays) for key, item in content.items()}
    return _plain(kind, content)


def _built(kind: Any, content: Any, arrays: Mapping[str, NDArray[np.generic]], given: Mapping[str, Any]) -> Any:
    hints = _hints(kind)
    sent = {name: _unpacked(hints[name], content[name], arrays) for name in hints if name not in given}
    return kind(**sent, **given)


def _options(kind: Any) -> tuple[Any, ...]:
    """Return the types a value may have, but for None."""
    if get_origin(kind) not in (Union, types.UnionType):
        return (_without_alias(kind),)
    return tuple(_without_alias(each) for each in get_args(kind) if each is not type(None))


def _without_alias(kind: Any) -> Any:
    """Return what an alias stands for: from Python 3.12 on numpy 2.5 makes its NDArray one, which hides the array."""
    stands_for = getattr(get_origin(kind), "__value__", None)
    return kind if stands_for is None else stands_for[get_args(kind)]


def _named(options: tuple[Any, ...], content: Any) -> Any:
    named = {each.__name__: each for each in options}
    if content[KIND] not in named:
        raise ValueError(f"the kind {_shown(content[KIND])} is unknown")
    return named[content[KIND]]


def _items(inner: tuple[Any, ...], items: Any) -> list[tuple[Any, Any]]:
    """Return the items of a tuple with the type of each."""
    if len(inner) == 2 and inner[1] is Ellipsis:
        return [(inner[0], item) for item in items]
    return list(zip(inner, items, strict=True))


def _array(array: NDArray[np.generic], wanted: Any, name: str) -> NDArray[np.generic]:
    if not np.issubdtype(array.dtype, wanted):
        raise TypeError(f"the array {name} holds {array.dtype} numbers")
    return array


def _plain(kind: type, content: Any) -> Any:
    allowed: Any = (int, float) if kind is float else kind
    if not isinstance(content, allowed) or (isinstance(content, bool) and kind is not bool):
        raise TypeError(f"{_shown(content)} is not {NUMBERS.get(kind, kind.__name__)}")
    return kind(content)


def _shown(content: Any) -> str:
    return repr(content)[:40]
