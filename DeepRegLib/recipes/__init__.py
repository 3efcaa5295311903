"""Recipes: presets as data files, one TOML each, and their typed form."""

from __future__ import annotations

from DeepRegLib.recipes.loading import (
    load_recipe,
    recipe_from_dict,
    recipe_names,
    recipe_to_dict,
    recipe_to_toml,
    with_model,
    without_folder,
)
from DeepRegLib.recipes.model import (
    AUTO,
    CROSS_MODAL_SIMILARITIES,
    DISPLACEMENT,
    FEATURES,
    LABELS_ONLY,
    LNCC_NGF,
    VELOCITY,
    Deformable,
    LargeMotion,
    Linear,
    Model,
    Prepare,
    Recipe,
    Search,
    Translate,
)

__all__ = [
    "AUTO",
    "CROSS_MODAL_SIMILARITIES",
    "DISPLACEMENT",
    "FEATURES",
    "LABELS_ONLY",
    "LNCC_NGF",
    "VELOCITY",
    "Deformable",
    "LargeMotion",
    "Linear",
    "Model",
    "Prepare",
    "Recipe",
    "Search",
    "Translate",
    "load_recipe",
    "recipe_from_dict",
    "recipe_names",
    "recipe_to_dict",
    "recipe_to_toml",
    "with_model",
    "without_folder",
]
