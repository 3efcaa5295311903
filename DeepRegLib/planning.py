"""Which stages a request needs."""

from __future__ import annotations

from DeepRegLib.request import Request
from DeepRegLib.transforms import has_field


def plan_of(request: Request) -> tuple[str, ...]:
    """Return the stages that a request needs, in their order."""
    recipe, drivers = request.recipe, request.drivers
    initial = drivers.initial_transform
    given_field = initial is not None and has_field(initial)
    needed = {
        "prepare": True,
        "search": recipe.search.enabled and drivers.landmarks is None and initial is None,
        "linear": recipe.linear.model != "none" and not given_field,
        "levels": recipe.deformable.enabled,
        "large motion": recipe.deformable.enabled and recipe.large_motion.enabled and not given_field,
        "model": bool(recipe.model.name) and not given_field,
        "deformable": recipe.deformable.enabled,
        "other way": recipe.symmetric,
        "inverse": True,
        "judge": True,
        "labels": drivers.moving_labels is not None,
    }
    return tuple(stage for stage, is_needed in needed.items() if is_needed)
