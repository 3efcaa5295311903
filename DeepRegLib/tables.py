"""Tables of plain values, as TOML files hold them, made into frozen dataclasses with every key and type checked."""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from DeepRegLib.errors import InputError
from DeepRegLib.guarding import guarded, in_one_line
from DeepRegLib.naming import shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LARGEST_FILE = 16 << 20
LONGEST_VALUE = 100
Section = TypeVar("Section")
TYPE_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}


def read_toml(path: Path, example: str) -> dict[str, Any]:
    """Read a TOML file.

    Parameters
    ----------
    path
        The file.
    example
        What to compare it with when it is not TOML, as in "a shipped recipe".

    Raises
    ------
    InputError
        If it cannot be read or is not TOML.
    """
    advice = f"Compare it with {example}."
    with guarded(path, advice):
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{shown(path)} has {path.stat().st_size >> 20} MB.", advice)
        try:
            return tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{shown(path)} is not a TOML file: {in_one_line(str(error), 200)}.", advice) from error


def from_table(kind: type[Section], table: Mapping[str, Any], prefix: str = "") -> Section:
    """Build a dataclass, and the dataclasses it is made of, from plain values.

    Parameters
    ----------
    kind
        A dataclass whose fields are bool, int, float, str, tuples of these, free tables (``Mapping``) or dataclasses.
    table
        Its values; a key that is left out keeps the default.
    prefix
        What messages put before a key: the tables it lies in, ``"deformable."``.

    Raises
    ------
    InputError
        If a key is unknown or missing, or a value is of the wrong type; and what the dataclass itself raises.
    """
    hints = _hints_of(kind)  # type: ignore[arg-type]  # a class is hashable
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]  # every section is a dataclass
    for key in table:
        if key not in known:
            raise InputError(
                f"The key {in_one_line(prefix + str(key), LONGEST_VALUE)} is unknown.",
                f"Use one of {', '.join(prefix + k for k in known)}.",
            )
    return kind(**{key: _convert(value, hints[key], prefix + key) for key, value in table.items()})


@functools.cache
def _hints_of(kind: type) -> dict[str, Any]:
    """Return the types of a class's fields: worked out once, for all recipes are read when the panel appears."""
    return get_type_hints(kind)


def _convert(value: Any, hint: Any, key: str) -> Any:
    if is_dataclass(hint) or get_origin(hint) is Mapping:
        if not isinstance(value, Mapping):
            raise InputError(f"{key} is {in_one_line(repr(value), LONGEST_VALUE)}.", f"Make it a table: [{key}].")
        return from_table(hint, value, f"{key}.") if is_dataclass(hint) else dict(value)  # type: ignore[arg-type]
    if get_origin(hint) is tuple:
        return _convert_list(value, get_args(hint), key)
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise InputError(f"{key} is {in_one_line(repr(value), LONGEST_VALUE)}.", f"Give {TYPE_WORDS[hint]}.")
    return float(value) if hint is float else value


def _convert_list(value: Any, items: tuple[Any, ...], key: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{key} is {in_one_line(repr(value), LONGEST_VALUE)}.", "Give a list in square brackets.")
    open_ended = items[-1] is Ellipsis
    if not open_ended and len(value) != len(items):
        raise InputError(f"{key} has {len(value)} values.", f"Give {len(items)}.")
    return tuple(_convert(item, items[0] if open_ended else items[n], f"{key}[{n}]") for n, item in enumerate(value))


def require(condition: bool, key: str, value: object, wanted: str) -> None:
    """Raise InputError unless a value of a configuration can be used."""
    if not condition:
        raise InputError(f"{key} is {in_one_line(repr(value), LONGEST_VALUE)}.", f"Give {wanted}.")
