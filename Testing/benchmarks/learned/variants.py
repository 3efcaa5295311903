"""The pipeline with and without a model."""

from __future__ import annotations

from dataclasses import replace

from DeepRegLib.recipes import Recipe, load_recipe

WITHOUT, WITH, HALF_WITHOUT, HALF_WITH = "without", "with the model", "half, without", "half, with the model"


def variants(recipe: str, model: str) -> dict[str, Recipe]:
    """Return a recipe without and with a model, with all and with half of its iterations."""
    chosen = load_recipe(recipe)
    # Not `with_model`: a model that a user names is asked in any case, and what ships is to be measured.
    without, aided = (replace(chosen, model=replace(chosen.model, name=name)) for name in ("", model))
    return {
        WITHOUT: without,
        WITH: aided,
        HALF_WITHOUT: halved(without),
        HALF_WITH: halved(aided),
    }


def halved(recipe: Recipe) -> Recipe:
    """Return a recipe with half the iterations of its deformable stage."""
    iterations = tuple(max(1, n // 2) for n in recipe.deformable.iterations)
    return replace(recipe, deformable=replace(recipe.deformable, iterations=iterations))
