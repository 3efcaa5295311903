"""Recipes from TOML files: shipped ones by name, a user's own by path."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from DeepRegLib.errors import RecipeError
from DeepRegLib.naming import base_name
from DeepRegLib.recipes.model import Recipe

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent
Section = TypeVar("Section")
TYPE_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text in quotes"}


def recipe_names() -> list[str]:
    """Return the names of the shipped recipes, `auto` first."""
    return sorted((path.stem for path in FOLDER.glob("*.toml")), key=lambda name: (name != "auto", name))


def load_recipe(source: str | Path | Recipe) -> Recipe:
    """Return a recipe by shipped name, from a TOML file, or as given.

    Raises
    ------
    RecipeError
        If there is no such recipe, the file is not TOML, or a key or value is wrong (the message names it).
    """
    if isinstance(source, Recipe):
        return source
    if str(source) in recipe_names():
        return _read(FOLDER / f"{source}.toml")
    path = Path(source)
    if path.is_file():
        return _read(path)
    raise RecipeError(
        f"There is no recipe named {str(source)!r}, nor such a file.",
        f"Give one of {', '.join(recipe_names())}, or the path of a TOML file.",
    )


def recipe_to_dict(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as plain values, as its TOML file has them."""
    return asdict(recipe)


def recipe_from_dict(table: Mapping[str, Any], origin: str = "recipe") -> Recipe:
    """Build a recipe from plain values and check every key.

    Raises
    ------
    RecipeError
        If a key is unknown or missing, or a value is of the wrong type or out of range.
    """
    try:
        if "name" not in table:
            raise RecipeError("The key name is missing.", "Give the recipe a short name.")
        return _build(Recipe, table, "")
    except RecipeError as error:
        raise RecipeError(f"{origin}: {error.message}", error.hint) from error


def with_model(recipe: Recipe, model: str | Path | None, *, uncertainty: bool = False) -> Recipe:
    """Return a recipe with the model of this name or folder, None for its own, and its uncertainty where asked for.

    Raises
    ------
    RecipeError
        If the recipe has no deformable stage.
    """
    wanted = recipe.model
    if model is not None:
        wanted = replace(wanted, name=str(model))
    return replace(recipe, model=replace(wanted, uncertainty=wanted.uncertainty or uncertainty))


def without_folder(recipe: Recipe) -> Recipe:
    """Return a recipe that may be shown to others: a model given by its folder is named without the folders above."""
    return replace(recipe, model=replace(recipe.model, name=base_name(recipe.model.name)))


def recipe_to_toml(recipe: Recipe) -> str:
    """Return the recipe as the text of a TOML file that `load_recipe` reads back to the same recipe."""
    lines, sections = [], []
    for key, value in recipe_to_dict(recipe).items():
        if isinstance(value, dict):
            body = [f"{name} = {_toml_value(item)}" for name, item in value.items()]
            sections.append("\n".join([f"[{key}]", *body]))
        else:
            lines.append(f"{key} = {_toml_value(value)}")
    return "\n\n".join(["\n".join(lines), *sections]) + "\n"


def _read(path: Path) -> Recipe:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} is not a TOML file: {error}.", "Compare it with a shipped recipe.") from error
    except OSError as error:
        raise RecipeError(f"{path} cannot be read: {error.strerror}.", "Check the path and its permissions.") from error
    return recipe_from_dict({"name": path.stem} | table, path.name)


def _build(kind: type[Section], table: Mapping[str, Any], prefix: str) -> Section:
    hints = get_type_hints(kind)
    known = [item.name for item in fields(kind)]  # type: ignore[arg-type]  # every section is a dataclass
    for key in table:
        if key not in known:
            raise RecipeError(
                f"The key {prefix}{key} is unknown.", f"Use one of {', '.join(prefix + k for k in known)}."
            )
    return kind(**{key: _convert(value, hints[key], prefix + key) for key, value in table.items()})


def _convert(value: Any, hint: Any, key: str) -> Any:
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise RecipeError(f"{key} is {value!r}.", f"Make it a table: [{key}].")
        return _build(hint, value, f"{key}.")  # type: ignore[arg-type]  # is_dataclass does not narrow to a class
    if get_origin(hint) is tuple:
        return _convert_list(value, get_args(hint), key)
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or (isinstance(value, bool) and hint is not bool):
        raise RecipeError(f"{key} is {value!r}.", f"Give {TYPE_WORDS[hint]}.")
    return float(value) if hint is float else value


def _convert_list(value: Any, items: tuple[Any, ...], key: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise RecipeError(f"{key} is {value!r}.", "Give a list in square brackets.")
    open_ended = items[-1] is Ellipsis
    if not open_ended and len(value) != len(items):
        raise RecipeError(f"{key} has {len(value)} values.", f"Give {len(items)}.")
    return tuple(_convert(item, items[0] if open_ended else items[n], f"{key}[{n}]") for n, item in enumerate(value))


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # JSON's escapes are TOML's
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
