"""How far a result can be trusted: the measures, and a verdict in words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from DeepRegLib.evaluation import (
    FixedEdges,
    JacobianStatistics,
    comparison_grid,
    fixed_edges,
    inverse_consistency,
    jacobian_statistics,
    ncc,
    normalised_mutual_information,
    overlap,
    structure_agreement,
    target_registration_error,
)
from DeepRegLib.image import Image, resample
from DeepRegLib.monitoring import Poll, keep_going
from DeepRegLib.preparation import PreparedPair
from DeepRegLib.preprocessing import Smoothed, smooth_and_resample, smoothed_for
from DeepRegLib.result import CHECK, FAILED, OK, Measures, Verdict
from DeepRegLib.starting import Landmarks
from DeepRegLib.transforms import (
    LinearTransform,
    Transform,
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
    seen: Image,
    jacobian: JacobianStatistics | None = None,
    seed: int,
    poll: Poll,
) -> Measures:
    """Measure a result inside the fixed foreground that the moving image covers.

    Folds and overlap are those of the fixed grid; how alike the images are is judged on a coarser one.

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
    seen
        The moving field of view by the transform, a bool image on the fixed grid.
    jacobian
        Of the transform on the fixed grid, where it is known.
    seed
        Of the points the inverse is tried at.
    poll
        Called now and then; may raise to stop.
    """
    geometry, foreground = pair.fixed.original.geometry, pair.fixed.foreground
    at_start = LinearTransform.identity()
    sides = _sides(pair, poll)
    before = likeness(_aligned(sides, at_start, poll), poll)
    aligned = _aligned(sides, transform, poll)
    after = likeness(aligned, poll)
    structure_linear = after.structure
    if start is not transform:
        structure_linear = structure(_aligned(sides, start, poll, like=aligned), poll)
    jacobian = jacobian or jacobian_statistics(transform, geometry, foreground, poll=poll)
    poll()
    consistency = inverse_consistency(transform, inverse, foreground, seed=seed, poll=poll)
    poll()
    return Measures(
        ncc_before=before.ncc,
        ncc_after=after.ncc,
        nmi_before=before.nmi,
        nmi_after=after.nmi,
        structure_before=before.structure,
        structure_linear=structure_linear,
        structure_after=after.structure,
        overlap=overlap(foreground, seen),
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


@dataclass(frozen=True, eq=False)
class Aligned:
    """A fixed image, the moving image brought onto it, and the anatomy both show.

    Parameters
    ----------
    fixed, warped
        Intensities on one grid.
    mask
        The part of the fixed foreground that the moving image shows.
    edges
        Of the fixed image inside the mask; None where the mask is empty.
    """

    fixed: Image
    warped: Image
    mask: Image
    edges: FixedEdges | None


def likeness(aligned: Aligned, poll: Poll = keep_going) -> Likeness:
    """Compare a fixed image with the moving image brought onto it; `poll` may raise to stop."""
    if aligned.edges is None:
        return NOTHING_IN_COMMON
    correlation = ncc(aligned.fixed, aligned.warped, aligned.mask)
    poll()
    information = normalised_mutual_information(aligned.fixed, aligned.warped, aligned.mask, poll=poll)
    poll()
    return Likeness(correlation, information, structure(aligned, poll))


def structure(aligned: Aligned, poll: Poll = keep_going) -> float:
    """Return the agreement of edge directions alone."""
    if aligned.edges is None:
        return NOTHING_IN_COMMON.structure
    return structure_agreement(aligned.fixed, aligned.warped, aligned.mask, edges=aligned.edges, poll=poll)


@dataclass(frozen=True, eq=False)
class _Sides:
    """Fixed intensities and foreground on the grid on which images are compared, and what is brought there."""

    fixed: Image
    foreground: Image
    moving: Smoothed
    moving_known: Image


def _sides(pair: PreparedPair, poll: Poll) -> _Sides:
    foreground = pair.fixed.foreground
    grid = comparison_grid(foreground)
    share = smooth_and_resample(foreground, grid, poll=poll)
    return _Sides(
        smooth_and_resample(pair.fixed.intensity, grid, poll=poll),
        share.with_array(np.greater(share.array, 0.5)),
        smoothed_for(pair.moving.intensity, grid, poll=poll),
        pair.moving.known,
    )


def _aligned(sides: _Sides, transform: Transform, poll: Poll, like: Aligned | None = None) -> Aligned:
    """Bring the moving intensities onto the fixed ones; the edges of `like` are taken over if its mask is the same."""
    fixed, chain = sides.fixed, transform_to_sitk(transform)
    known = resample(sides.moving_known, fixed.geometry, interpolation="nearest", transform=chain, poll=poll)
    mask = fixed.with_array(np.logical_and(sides.foreground.array, known.array))
    warped = sides.moving.resample(fixed.geometry, chain, poll=poll)
    if like is not None and like.edges is not None and like.edges.are_of(fixed, mask):
        return Aligned(fixed, warped, mask, like.edges)
    return Aligned(fixed, warped, mask, fixed_edges(fixed, mask, poll=poll) if mask.array.any() else None)


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
