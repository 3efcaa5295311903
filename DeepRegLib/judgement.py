"""How far a result can be trusted: the measures, and a verdict in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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
from DeepRegLib.result import OK, Measures, Verdict
from DeepRegLib.transforms import LinearTransform, Transform, apply_to_image, field_of_view, transform_to_sitk

Landmarks = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Likeness:
    """How alike two aligned images are inside the common foreground; the scales are those of `Measures`."""

    ncc: float
    nmi: float
    structure: float


NOTHING_IN_COMMON = Likeness(0.0, 1.0, 0.0)


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
    geometry, foreground = pair.fixed.original.geometry, pair.fixed.foreground
    at_start = LinearTransform.identity()
    before = likeness(pair, at_start)
    poll()
    after = likeness(pair, transform)
    poll()
    jacobian = jacobian_statistics(transform, geometry, foreground)
    poll()
    consistency = inverse_consistency(transform, inverse, foreground, seed=seed)
    return Measures(
        ncc_before=before.ncc,
        ncc_after=after.ncc,
        nmi_before=before.nmi,
        nmi_after=after.nmi,
        structure_before=before.structure,
        structure_after=after.structure,
        overlap=overlap(foreground, field_of_view(transform, pair.moving.original.geometry, geometry)),
        folds=jacobian.folds,
        log_jacobian_sd=jacobian.log_sd,
        jacobian_min=jacobian.minimum,
        jacobian_max=jacobian.maximum,
        inverse_error_mean=consistency.mean,
        inverse_error_p99=consistency.p99,
        tre_before=_mean_error(at_start, landmarks),
        tre_after=_mean_error(transform, landmarks),
    )


def likeness(pair: PreparedPair, transform: Transform) -> Likeness:
    """Compare the fixed image with the moving image brought onto it."""
    fixed, moving = pair.fixed, pair.moving
    geometry = fixed.original.geometry
    chain = transform_to_sitk(transform)
    known = resample(moving.known, geometry, interpolation="nearest", transform=chain).array
    inside = np.logical_and(fixed.foreground.array, known)
    if not inside.any():
        return NOTHING_IN_COMMON
    mask = fixed.foreground.with_array(inside)
    warped = apply_to_image(transform, moving.intensity, geometry)
    return Likeness(
        ncc(fixed.intensity, warped, mask),
        normalised_mutual_information(fixed.intensity, warped, mask),
        structure_agreement(fixed.intensity, warped, mask),
    )


def verdict_on(measures: Measures) -> Verdict:
    """Judge a result by its measures."""
    return Verdict(OK, ())


def _mean_error(transform: Transform, landmarks: Landmarks | None) -> float | None:
    return None if landmarks is None else float(target_registration_error(transform, *landmarks).mean())
