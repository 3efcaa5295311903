"""Recipes from TOML files: shipped ones by name, a user's own by path (docs/decisions/toml-recipes.md)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from DeepRegLib.errors import InputError, RecipeError
from DeepRegLib.guarding import guarded, in_one_line, is_there
from DeepRegLib.naming import base_name, shown
from DeepRegLib.recipes.model import DENOISING_METHODS, Recipe
from DeepRegLib.tables import from_table, read_toml

FOLDER = Path(__file__).parent


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
    if is_there(path) and path.is_file():
        return _read(path)
    raise RecipeError(
        f"There is no recipe named {in_one_line(str(source))!r}, nor such a file.",
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
        return from_table(Recipe, table)
    except InputError as error:
        raise RecipeError(f"{origin}: {error.message}", error.hint) from error


def with_model(
    recipe: Recipe, model: str | Path | None, *, uncertainty: bool = False, explanation: bool = False
) -> Recipe:
    """Return a recipe with the model of this name or folder, and its uncertainty and explanation where asked for.

    None leaves the recipe's own model; "" leaves it out, and its maps unless they are asked for here. A model named
    here is asked in any case.

    Raises
    ------
    RecipeError
        If the recipe has no deformable stage.
    """
    wanted, named = recipe.model, model is None or bool(str(model))
    uncertainty |= wanted.uncertainty and named
    explanation |= wanted.explanation and named
    if model is not None:
        wanted = replace(wanted, name=str(model), if_needed=False)
    return replace(recipe, model=replace(wanted, uncertainty=uncertainty, explanation=explanation))


def without_folder(recipe: Recipe) -> Recipe:
    """Return a recipe that may be shown to others: models given by their folders are named without those above."""
    return replace(
        recipe,
        prepare=replace(recipe.prepare, denoise=base_name(recipe.prepare.denoise)),
        translate=replace(recipe.translate, model=base_name(recipe.translate.model)),
        model=replace(recipe.model, name=base_name(recipe.model.name)),
        deformable=replace(recipe.deformable, features=base_name(recipe.deformable.features)),
    )


def models_of(recipe: Recipe) -> tuple[str, ...]:
    """Return the name, or the folder of the bundle, of each model that a recipe asks."""
    denoise = recipe.prepare.denoise
    asked = (recipe.model.name, recipe.translate.model, recipe.deformable.features)
    return tuple(name for name in (*asked, "" if denoise in DENOISING_METHODS else denoise) if name)


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
        table = read_toml(path, "a shipped recipe")
    except InputError as error:
        raise RecipeError(error.message, error.hint) from error
    with guarded(path, "Compare it with a shipped recipe."):
        return recipe_from_dict({"name": path.stem} | table, shown(path.name))


def _toml_value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)  # JSON's escapes are TOML's
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    return repr(value)
