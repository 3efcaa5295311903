"""How far a result can be trusted: the measures, and a verdict in words."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation import (
    inverse_consistency,
    jacobian_statistics,
    ncc,
    normalised_mutual_information,
    overlap,
    structure_agreement,
    target_registration_error,
)
from DeepRegLib.image import resample
from DeepRegLib.preparation import PreparedPair
from DeepRegLib.recipes import Recipe
from DeepRegLib.result import CHECK, FAILED, OK, Measures, Verdict
from DeepRegLib.transforms import LinearTransform, Transform, apply_to_image, field_of_view, transform_to_sitk

Landmarks = tuple[NDArray[np.float64], NDArray[np.float64]]


def measure(
    pair: PreparedPair,
    transform: Transform,
    inverse: Transform,
    landmarks: Landmarks | None,
    *,
    seed: int,
    poll: Callable[[], None],
) -> Measures:
    """Measure a result on the fixed grid, inside the fixed foreground that the moving image covers.

    Parameters
    ----------
    pair
        The prepared images.
    transform, inverse
        The result.
    landmarks
        Fixed and moving points, or None.
    seed
        Of the points the inverse is tried at.
    poll
        Called between the measures; may raise to stop.
    """
    fixed, moving = pair.fixed, pair.moving
    geometry = fixed.original.geometry
    before = LinearTransform.identity()
    numbers = {}
    for when, candidate in (("before", before), ("after", transform)):
        warped = apply_to_image(candidate, moving.intensity, geometry)
        known = resample(
            moving.known, geometry, interpolation="nearest", transform=transform_to_sitk(candidate)
        ).array.astype(np.bool_)
        mask = fixed.foreground.with_array(fixed.foreground.array & known)
        usable = bool(mask.array.any())
        for name, function in (("ncc", ncc), ("nmi", normalised_mutual_information), ("structure", structure_agreement)):
            numbers[f"{name}_{when}"] = function(fixed.intensity, warped, mask) if usable else _NOTHING[name]
            poll()
    seen = field_of_view(transform, moving.original.geometry, geometry)
    jacobian = jacobian_statistics(transform, geometry, fixed.foreground)
    poll()
    consistency = inverse_consistency(transform, inverse, fixed.foreground, seed=seed)
    errors = {"tre_before": None, "tre_after": None}
    if landmarks is not None:
        errors = {
            "tre_before": float(target_registration_error(before, *landmarks).mean()),
            "tre_after": float(target_registration_error(transform, *landmarks).mean()),
        }
    return Measures(
        **numbers,
        overlap=overlap(fixed.foreground, seen),
        folds=jacobian.folds,
        log_jacobian_sd=jacobian.log_sd,
        jacobian_min=jacobian.minimum,
        jacobian_max=jacobian.maximum,
        inverse_error_mean=consistency.mean,
        inverse_error_p99=consistency.p99,
        **errors,
    )


_NOTHING = {"ncc": 0.0, "nmi": 1.0, "structure": 0.0}


def verdict_on(measures: Measures, recipe: Recipe) -> Verdict:
    """Judge a result by its measures."""
    return Verdict(OK, ())
