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
from DeepRegLib.image import Image, resample
from DeepRegLib.preparation import PreparedPair
from DeepRegLib.result import CHECK, FAILED, OK, Measures, Verdict
from DeepRegLib.transforms import (
    LinearTransform,
    Transform,
    apply_to_image,
    field_of_view,
    linear_part,
    transform_to_sitk,
)

# Structure agreement, measured on 15 wrong and 28 right pairs (parts `wrong` and `pairs` of Testing/benchmarks). Wrong
# body parts and noise reached 0.36 after the linear stage, mostly below 0.25, and 0.68 after the deformable one; the
# same anatomy 0.39 at least and 0.80 (one pair 0.50).
HOPELESS_LINEAR_STRUCTURE, LOW_LINEAR_STRUCTURE, DOUBTFUL_LINEAR_STRUCTURE = 0.25, 0.42, 0.45
FAILED_STRUCTURE, DOUBTFUL_STRUCTURE = 0.72, 0.78
IMPLAUSIBLE_SCALE = 2.5
LOST_STRUCTURE = 0.05
LEAST_OVERLAP = 0.15
DOUBTFUL_OVERLAP = 0.5
STRONG_DEFORMATION = 1.0
COARSE_INVERSE_MM = 0.5

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
    start: Transform,
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
    start
        What the deformable stage started from: the linear transform, or the one the user gave.
    seed
        Of the points the inverse is tried at.
    poll
        Called between the measures; may raise to stop.
    """
    geometry, foreground = pair.fixed.original.geometry, pair.fixed.foreground
    at_start = LinearTransform.identity()
    before = likeness(pair, at_start, poll)
    poll()
    after = likeness(pair, transform, poll)
    poll()
    structure_linear = after.structure if start is transform else structure(pair, start)
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
        structure_linear=structure_linear,
        structure_after=after.structure,
        overlap=overlap(foreground, field_of_view(transform, pair.moving.original.geometry, geometry)),
        folds=jacobian.folds,
        volume_scale=float(np.linalg.det(linear_part(transform).matrix[:3, :3])),
        log_jacobian_sd=jacobian.log_sd,
        jacobian_min=jacobian.minimum,
        jacobian_max=jacobian.maximum,
        inverse_error_mean=consistency.mean,
        inverse_error_p99=consistency.p99,
        tre_before=_mean_error(at_start, landmarks),
        tre_after=_mean_error(transform, landmarks),
    )


def likeness(pair: PreparedPair, transform: Transform, poll: Callable[[], None] = lambda: None) -> Likeness:
    """Compare the fixed image with the moving image brought onto it; `poll` is called between the measures."""
    mask, warped = _common_foreground(pair, transform)
    if not mask.array.any():
        return NOTHING_IN_COMMON
    fixed = pair.fixed.intensity
    poll()
    correlation = ncc(fixed, warped, mask)
    information = normalised_mutual_information(fixed, warped, mask)
    poll()
    return Likeness(correlation, information, structure_agreement(fixed, warped, mask))


def structure(pair: PreparedPair, transform: Transform) -> float:
    """Return the agreement of edge directions alone."""
    mask, warped = _common_foreground(pair, transform)
    return structure_agreement(pair.fixed.intensity, warped, mask) if mask.array.any() else NOTHING_IN_COMMON.structure


def _common_foreground(pair: PreparedPair, transform: Transform) -> tuple[Image, Image]:
    """Return the part of the fixed foreground that the moving image shows, and the warped moving intensities."""
    geometry = pair.fixed.original.geometry
    chain = transform_to_sitk(transform)
    known = resample(pair.moving.known, geometry, interpolation="nearest", transform=chain).array
    mask = pair.fixed.foreground.with_array(np.logical_and(pair.fixed.foreground.array, known))
    return mask, apply_to_image(transform, pair.moving.intensity, geometry)


def verdict_on(measures: Measures, *, deformed: bool) -> Verdict:
    """Judge a result by its measures: failed, to be checked, or nothing against it.

    Parameters
    ----------
    measures
        Of the result.
    deformed
        Whether the deformable stage ran: it makes edges agree, so more agreement is asked for.
    """
    limits = (FAILED_STRUCTURE, DOUBTFUL_STRUCTURE) if deformed else (0.0, DOUBTFUL_LINEAR_STRUCTURE)
    failures = [sentence for failed, sentence in _failures(measures, limits[0]) if failed]
    doubts = [sentence for doubtful, sentence in _doubts(measures, limits[1]) if doubtful]
    if failures:
        return Verdict(FAILED, tuple(failures))
    return Verdict(CHECK, tuple(doubts)) if doubts else Verdict(OK, ())


def _failures(m: Measures, least_structure: float) -> list[tuple[bool, str]]:
    hopeless = m.structure_linear < HOPELESS_LINEAR_STRUCTURE
    unlike = hopeless or (m.structure_linear < LOW_LINEAR_STRUCTURE and m.structure_after < least_structure)
    return [
        (m.overlap < LEAST_OVERLAP, f"The scans hardly overlap: {m.overlap:.0%} of the fixed anatomy is covered."),
        (
            unlike,
            "The scans do not seem to show the same anatomy: aligned as well as possible, their edges agree to "
            f"{max(m.structure_linear, 0):.0%} before and {max(m.structure_after, 0):.0%} after deformation.",
        ),
    ]


def _doubts(m: Measures, enough_structure: float) -> list[tuple[bool, str]]:
    scale = max(m.volume_scale, 1 / max(m.volume_scale, 1e-9))
    return [
        (
            m.structure_after < enough_structure,
            f"The scans resemble each other little: aligned, their edges agree to {max(m.structure_after, 0):.0%}.",
        ),
        (
            scale > IMPLAUSIBLE_SCALE,
            f"The linear alignment changes the volume by a factor of {m.volume_scale:.2f}.",
        ),
        (
            LEAST_OVERLAP <= m.overlap < DOUBTFUL_OVERLAP,
            f"Only {m.overlap:.0%} of the fixed anatomy is covered by the moving scan.",
        ),
        (
            m.structure_after < m.structure_before - LOST_STRUCTURE and m.nmi_after < m.nmi_before,
            "The scans resemble each other less than before the registration.",
        ),
        (m.folds > 0, f"The field folds at {m.folds} voxels: tissue is turned inside out there."),
        (
            m.log_jacobian_sd > STRONG_DEFORMATION,
            f"The deformation is strong (spread of log volume change {m.log_jacobian_sd:.2f}).",
        ),
        (
            m.inverse_error_p99 > COARSE_INVERSE_MM,
            f"The inverse is inexact: 1 % of the points come back more than {m.inverse_error_p99:.1f} mm off.",
        ),
        (
            m.tre_before is not None and m.tre_after is not None and m.tre_after > m.tre_before,
            "The landmarks lie further apart than before the registration.",
        ),
    ]


def _mean_error(transform: Transform, landmarks: Landmarks | None) -> float | None:
    return None if landmarks is None else float(target_registration_error(transform, *landmarks).mean())
