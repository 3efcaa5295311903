"""A recipe as the panel changes it."""

from __future__ import annotations

from dataclasses import replace

from DeepRegLib.models import known_models
from DeepRegLib.models.manifest import MOTION, NAME, TRANSLATE
from DeepRegLib.recipes import SIDES, Recipe, Translate, with_model

# Choices of a model that are no name of one: those begin with a letter or a digit.
RECIPES_MODEL, NO_MODEL = "", "-"
RECIPES_TRANSLATION = ""


def adjusted(recipe: Recipe, resolution: float, smoothness: float) -> Recipe:
    """Return the recipe with a finer or coarser deformable grid and more or less smoothing.

    Parameters
    ----------
    recipe
        Where to begin; returned as it is when both factors are 1.
    resolution
        Factor on the voxels along each axis of the finest deformable grid.
    smoothness
        Factor on both Gaussian smoothings of the deformable stage.

    Raises
    ------
    RecipeError
        If a value leaves its allowed range.
    """
    if resolution == 1.0 and smoothness == 1.0:
        return recipe
    stage = recipe.deformable
    return replace(
        recipe,
        name=f"{recipe.name} (resolution {resolution:g}, smoothness {smoothness:g})",
        deformable=replace(
            stage,
            voxels=round(stage.voxels * resolution**3),
            smooth_update=stage.smooth_update * smoothness,
            smooth_field=stage.smooth_field * smoothness,
        ),
    )


def with_choice(recipe: Recipe, model: str) -> Recipe:
    """Return the recipe with the model that was chosen on the panel.

    Parameters
    ----------
    recipe
        Returned as it is where it has no deformable stage, which would be needed to try what a model proposes, and
        where it compares labels alone.
    model
        Name or folder, `RECIPES_MODEL` or `NO_MODEL`.
    """
    if model == RECIPES_MODEL or not recipe.deformable.enabled or recipe.prepare.labels_only:
        return recipe
    if model == NO_MODEL:
        return with_model(recipe, "")
    return with_model(recipe, model)


def with_passes(recipe: Recipe, passes: int) -> Recipe:
    """Return the recipe with a model that is asked so often; as it is for 0, and where it asks none.

    Raises
    ------
    RecipeError
        If the number leaves its allowed range.
    """
    if passes == 0 or not recipe.model.name:
        return recipe
    return replace(recipe, model=replace(recipe.model, passes=passes))


def with_translation(recipe: Recipe, choice: str) -> Recipe:
    """Return the recipe with the scan that is compared as a model shows it.

    Parameters
    ----------
    recipe
        Returned as it is where nothing was chosen, or what a scene names can be no model's name, and where it compares
        labels alone.
    choice
        The side and the name of a model, or `RECIPES_TRANSLATION`.
    """
    side, _, name = choice.partition(" ")
    if recipe.prepare.labels_only or side not in SIDES or not NAME.fullmatch(name):
        return recipe
    return replace(recipe, translate=Translate(name, side))


def translators() -> list[str]:
    """Return the names of the models of this computer that show a scan in another modality."""
    return _models_for(TRANSLATE)


def motion_predictors() -> list[str]:
    """Return the names of the models of this computer that predict motion."""
    return _models_for(MOTION)


def _models_for(task: str) -> list[str]:
    return [
        model.name
        for model in known_models()
        if not model.problem and model.manifest is not None and model.manifest.task == task
    ]
