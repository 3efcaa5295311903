"""The measures of a result, from which `DeepRegLib.verdict` judges how far it can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.evaluation import (
    FixedEdges,
    JacobianStatistics,
    comparison_grid,
    count_outside,
    covered,
    fixed_edges,
    inverse_consistency,
    jacobian_statistics,
    landmark_fit,
    ncc,
    normalised_mutual_information,
    overlap,
    structure_agreement,
    target_registration_error,
)
from DeepRegLib.evaluation.evidence import Compared, compared
from DeepRegLib.evaluation.mirrored import other_side
from DeepRegLib.evaluation.pose_comparison import PoseComparison, compare_pose, find_other_poses, small_images
from DeepRegLib.evaluation.regularity import folded_voxels
from DeepRegLib.evaluation.structure import STRUCTURE_SIGMA
from DeepRegLib.evaluation.surroundings import Apart, doubt_of, led_astray, motion_of_surroundings
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.landmark_alignment import Landmarks
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.working import WorkingImage, coarser
from DeepRegLib.preparation import Prepared, PreparedPair, foreground_weight, working_image
from DeepRegLib.preprocessing import Smoothed, smooth_and_resample, smoothed_for
from DeepRegLib.result import Measures, StartMeasures
from DeepRegLib.transforms import LinearTransform, Transform, has_field, linear_part, transform_to_sitk
from DeepRegLib.trust_map import coarse_grid
from DeepRegLib.verdict import SMALL_MASK

# Voxels of the coarse grids on which poses are compared; places taken of the fixed one.
POSE_VOXELS = 30_000
POSE_PLACES = 4000
RIGID_STRETCH = 1e-4
# On which likeness is measured: half of what `structure_agreement` takes, at edges as wide as they are there.
LIKENESS_VOXELS = 500_000
# Of the fixed anatomy's volume: a moving scan with less anatomy is looked for in the fixed one, not the other way.
SMALL_PART = 0.7

Working = tuple[WorkingImage, WorkingImage]


@dataclass(frozen=True)
class Likeness:
    """How alike two aligned images are inside the common foreground; the scales are those of `Measures`."""

    ncc: float
    nmi: float
    structure: float


@dataclass(frozen=True)
class Inherited:
    """What was measured of an earlier scan of the same patient; how other poses compared there still holds."""

    earlier: StartMeasures


NOTHING_IN_COMMON = Likeness(0.0, 1.0, 0.0)


def measure(
    pair: PreparedPair,
    transform: Transform,
    inverse: Transform,
    landmarks: Landmarks | None,
    *,
    start: Transform,
    seen: Image,
    at_start: PoseComparison | StartMeasures | Inherited,
    jacobian: JacobianStatistics | None = None,
    inverse_folds: int | None = None,
    delivered: bool = True,
    seed: int,
    poll: Poll,
) -> tuple[Measures, Aligned]:
    """Measure a result inside the fixed foreground that the moving image covers; return what was compared as well.

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
    at_start
        How the pose of `start` compares with others (see `compare_start`), or what an earlier result with the same
        linear part has measured of it, or of an earlier scan of the patient.
    jacobian
        Of the transform on the fixed grid, where it is known.
    inverse_folds
        Of the inverse on the moving grid, where they are known.
    delivered
        Whether the inverse is; folds of one that only helps to judge are not counted.
    seed
        Of the points the inverse is tried at.
    poll
        Called now and then; may raise to stop.
    """
    # What a network made of a scan drives the registration; whether it is right, the scans themselves must say.
    pair = pair.as_measured()
    geometry, foreground = pair.fixed.original.geometry, pair.fixed.foreground
    sides = _sides(pair, poll)
    aligned = _aligned(sides, transform, poll)
    after = likeness(aligned, poll)
    if isinstance(at_start, StartMeasures):
        first = at_start
    else:
        structure_there = after.structure
        if start is not transform:
            structure_there = structure(_aligned(sides, start, poll, like=aligned), poll)
        if isinstance(at_start, Inherited):
            first = _inherited(sides, structure_there, at_start.earlier, poll)
        else:
            first = _start_measures(sides, structure_there, at_start, poll)
    jacobian = jacobian or jacobian_statistics(transform, geometry, foreground, poll=poll)
    poll()
    consistency = inverse_consistency(transform, inverse, foreground, seed=seed, poll=poll)
    if inverse_folds is None and delivered:
        inverse_folds = int(np.count_nonzero(folded_voxels(inverse, pair.moving.original.geometry, poll=poll)))
    poll()
    apart = _apart(sides, aligned, transform, poll)
    shown = overlap(foreground, seen)
    fit = None if landmarks is None else landmark_fit(*landmarks)
    measures = Measures(
        ncc_before=first.ncc_before,
        ncc_after=after.ncc,
        nmi_before=first.nmi_before,
        nmi_after=after.nmi,
        structure_before=first.structure_before,
        structure_linear=first.structure_linear,
        structure_after=after.structure,
        overlap=shown,
        folds=jacobian.folds,
        volume_scale=float(np.linalg.det(linear_part(transform).matrix[:3, :3])),
        log_jacobian_sd=jacobian.log_sd,
        jacobian_min=jacobian.minimum,
        jacobian_max=jacobian.maximum,
        inverse_error_mean=consistency.mean,
        inverse_error_p99=consistency.p99,
        tre_before=_mean_error(LinearTransform.identity(), landmarks),
        tre_after=_mean_error(transform, landmarks),
        masked_share=min(map(_masked_share, (pair.fixed, pair.moving))),
        coverage=max(shown, covered(pair.moving.anatomy, pair.fixed.scanned, inverse)),
        information=first.information,
        information_close=first.information_close,
        information_nearby=first.information_nearby,
        information_elsewhere=first.information_elsewhere,
        edges=first.edges,
        edges_nearby=first.edges_nearby,
        edges_elsewhere=first.edges_elsewhere,
        elsewhere_mm=first.elsewhere_mm,
        mirrored_information=first.mirrored_information,
        mirrored_edges=first.mirrored_edges,
        explained=first.explained,
        landmark_spread=None if fit is None else fit.spread,
        landmark_residual=None if fit is None or np.isnan(fit.residual) else fit.residual,
        landmarks_outside=None if landmarks is None else _outside(pair, landmarks),
        led_astray=None if apart is None else led_astray(apart),
        inverse_folds=inverse_folds,
    )
    return measures, replace(aligned, apart=apart)


def _inherited(sides: _Sides, structure_there: float, earlier: StartMeasures, poll: Poll) -> StartMeasures:
    """Measure the images as they are stored and at their start; how other poses compare stays as it was measured."""
    before = likeness(_aligned(sides, LinearTransform.identity(), poll), poll)
    return replace(
        earlier,
        ncc_before=before.ncc,
        nmi_before=before.nmi,
        structure_before=before.structure,
        structure_linear=structure_there,
    )


def _start_measures(sides: _Sides, structure_there: float, comparison: PoseComparison, poll: Poll) -> StartMeasures:
    """Measure the images as they are stored; at the start of the deformable stage that is done."""
    before = likeness(_aligned(sides, LinearTransform.identity(), poll), poll)
    return StartMeasures(
        ncc_before=before.ncc,
        nmi_before=before.nmi,
        structure_before=before.structure,
        structure_linear=structure_there,
        information=comparison.here.information,
        information_close=comparison.close.information,
        information_nearby=comparison.nearby.information,
        information_elsewhere=comparison.elsewhere.information,
        edges=comparison.here.edges,
        edges_nearby=comparison.nearby.edges,
        edges_elsewhere=comparison.elsewhere.edges,
        elsewhere_mm=comparison.distance,
        mirrored_information=None if comparison.other_side is None else comparison.other_side.information,
        mirrored_edges=None if comparison.other_side is None else comparison.other_side.edges,
        explained=comparison.here.information if comparison.by_lc2 else None,
    )


@dataclass(frozen=True, eq=False)
class OtherPoses:
    """What the pose of a result is compared with; serves every result of one pair.

    Parameters
    ----------
    images
        Both images on coarse grids.
    small
        Both on coarser ones, on which poses are refined.
    poses
        World matrices.
    model
        As what poses are refined.
    swapped
        Whether fixed and moving have changed places, poses with them.
    """

    images: Compared
    small: Working
    poses: Sequence[NDArray[np.float64]]
    model: str
    swapped: bool = False

    def compare(self, pose: NDArray[np.float64], *, poll: Poll = never_cancel) -> PoseComparison:
        """Compare a pose, a world matrix from fixed to moving, with the others and with those of the mirrored scan."""
        own = _inverse(pose) if self.swapped else pose
        mirrored = other_side(self.images, self.small, own, model=self.model, poll=poll)
        return replace(compare_pose(self.images, own, self.poses, poll=poll), other_side=mirrored)


def other_poses(
    pair: PreparedPair,
    searched: Sequence[NDArray[np.float64]] = (),
    *,
    working: Working | None = None,
    model: str = "affine",
    through: Transform | None = None,
    poll: Poll = never_cancel,
) -> OtherPoses:
    """Prepare the comparison of a pose with others.

    Parameters
    ----------
    pair
        The prepared images.
    searched
        The best poses of an exhaustive search; empty searches for them here.
    working
        Both images on finer isotropic grids of their own frames, which saves smoothing them again.
    model
        ``"rigid"`` or ``"affine"``, as the pose to be judged.
    through
        A transform with a field: the moving image is compared where that brings it, and poses are relative to it.
    poll
        Called now and then; may raise to stop.
    """
    working, pair = None if pair.is_synthetic else working, pair.as_measured()
    # Of a part and the whole, the part is what the other must show everywhere.
    swapped = through is None and _volume(pair.moving) < SMALL_PART * _volume(pair.fixed)
    sides = (pair.moving, pair.fixed) if swapped else (pair.fixed, pair.moving)
    fixed, moving = (_without_small_mask(side) for side in sides)
    grid = _pose_grid(fixed.original.geometry)
    moving_grid = grid if through is not None else _pose_grid(moving.original.geometry, grid.spacing[0])
    as_searched = through is None and fixed is sides[0] and moving is sides[1]
    finer = working if as_searched and working is not None else (None, None)
    finer = finer[::-1] if swapped else finer
    here = _posed(fixed, grid, None, finer[0], poll)
    other = _posed(moving, moving_grid, through, finer[1], poll)
    if not as_searched:
        searched = ()
    known = [_inverse(pose) for pose in searched] if swapped else searched
    small = small_images(here[0], other[0])
    others = find_other_poses(here[0], other[0], small, known, model=model, poll=poll)
    return OtherPoses(compared(*here, *other, count=POSE_PLACES), small, others, model, swapped)


def compare_start(
    pair: PreparedPair,
    start: Transform,
    searched: Sequence[NDArray[np.float64]] = (),
    working: Working | None = None,
    *,
    poll: Poll = never_cancel,
) -> PoseComparison:
    """Compare the pose that a deformable stage started from with others; parameters as of `other_poses`."""
    if has_field(start):
        return other_poses(pair, through=start, poll=poll).compare(np.eye(4), poll=poll)
    pose = linear_part(start).matrix
    stretches = np.linalg.svd(pose[:3, :3], compute_uv=False)
    model = "rigid" if np.abs(stretches - 1).max() < RIGID_STRETCH else "affine"
    return other_poses(pair, searched, working=working, model=model, poll=poll).compare(pose, poll=poll)


def _volume(side: Prepared) -> float:
    """Return the volume of an image's anatomy in mm^3."""
    return float(np.count_nonzero(side.anatomy.array)) * side.anatomy.geometry.voxel_volume


def _inverse(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.inv(matrix), dtype=np.float64)


def _without_small_mask(side: Prepared) -> Prepared:
    return side if _masked_share(side) >= SMALL_MASK else side.without_mask()


def _masked_share(side: Prepared) -> float:
    """Return the share of an image's anatomy that the user's mask leaves."""
    if side.foreground is side.anatomy:
        return 1.0
    inside, anatomy = (int(np.count_nonzero(image.array)) for image in (side.foreground, side.anatomy))
    return inside / max(anatomy, 1)


def _pose_grid(geometry: Geometry, finest: float = 0.0) -> Geometry:
    """Return a grid of cubic voxels, `POSE_VOXELS` at most and none smaller than `finest` mm."""
    step = max(finest, min(geometry.spacing), (float(np.prod(geometry.extent)) / POSE_VOXELS) ** (1 / 3))
    return geometry.resized(step)


def _posed(
    side: Prepared, grid: Geometry, transform: Transform | None, finer: WorkingImage | None, poll: Poll
) -> tuple[WorkingImage, torch.Tensor]:
    """Return an image on a coarse grid, from a finer one where there is one, and its foreground with a margin."""
    device = torch.device("cpu")
    if finer is not None and finer.geometry.spacing[0] <= grid.spacing[0]:
        image = coarser(WorkingImage(finer.intensity.cpu(), finer.weight.cpu(), finer.geometry), grid)
    else:
        image = working_image(side, grid, device, transform, poll=poll)
    return image, foreground_weight(side, grid, device, transform, poll=poll)


@dataclass(frozen=True, eq=False)
class Aligned:
    """A fixed image, the moving image brought onto it, and the anatomy both show.

    Parameters
    ----------
    fixed, warped
        Intensities on one grid.
    known
        Where the moving image was scanned.
    mask
        The part of the fixed foreground that the moving image shows.
    edges
        Of the fixed image inside the mask; None where the mask is empty.
    apart
        How the field differs from what its surroundings do, once that is measured; None without a field.
    """

    fixed: Image
    warped: Image
    known: Image
    mask: Image
    edges: FixedEdges | None
    apart: Apart | None = None


def likeness(aligned: Aligned, poll: Poll = never_cancel) -> Likeness:
    """Compare a fixed image with the moving image brought onto it; `poll` may raise to stop."""
    if aligned.edges is None:
        return NOTHING_IN_COMMON
    correlation = ncc(aligned.fixed, aligned.warped, aligned.mask)
    poll()
    information = normalised_mutual_information(aligned.fixed, aligned.warped, aligned.mask, poll=poll)
    poll()
    return Likeness(correlation, information, structure(aligned, poll))


def structure(aligned: Aligned, poll: Poll = never_cancel) -> float:
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
    edge_sigma: float


def _sides(pair: PreparedPair, poll: Poll) -> _Sides:
    foreground = pair.fixed.foreground
    grid = comparison_grid(foreground, LIKENESS_VOXELS)
    share = smooth_and_resample(foreground, grid, poll=poll)
    return _Sides(
        smooth_and_resample(pair.fixed.intensity, grid, poll=poll),
        share.with_array(np.greater(share.array, 0.5)),
        smoothed_for(pair.moving.intensity, grid, poll=poll),
        pair.moving.known,
        STRUCTURE_SIGMA * comparison_grid(foreground).spacing[0] / grid.spacing[0],
    )


def _aligned(sides: _Sides, transform: Transform, poll: Poll, like: Aligned | None = None) -> Aligned:
    """Bring the moving intensities onto the fixed ones; the edges of `like` are taken over if its mask is the same."""
    fixed, chain = sides.fixed, transform_to_sitk(transform)
    warped, known = sides.moving.resample_with_view(fixed.geometry, chain, poll=poll)
    if not sides.moving_known.array.all():
        known = resample(sides.moving_known, fixed.geometry, interpolation="nearest", transform=chain, poll=poll)
    mask = fixed.with_array(np.logical_and(sides.foreground.array, known.array))
    if like is not None and like.edges is not None and like.edges.are_of(fixed, mask):
        return Aligned(fixed, warped, known, mask, like.edges)
    edges = fixed_edges(fixed, mask, sigma=sides.edge_sigma, poll=poll) if mask.array.any() else None
    return Aligned(fixed, warped, known, mask, edges)


def _apart(sides: _Sides, aligned: Aligned, transform: Transform, poll: Poll) -> Apart | None:
    """Compare a field with what its surroundings do at each place; None without a field or anatomy in common."""
    if not has_field(transform) or aligned.edges is None:
        return None
    grid = coarse_grid(aligned.fixed.geometry)
    inside = resample(aligned.mask, grid, interpolation="nearest", poll=poll).array.astype(np.bool_)
    if not inside.any():
        return None
    motion, millimetres = motion_of_surroundings(transform, grid, inside)
    poll()
    otherwise, shown = sides.moving.resample_with_view(aligned.fixed.geometry, transform_to_sitk(motion), poll=poll)
    fixed, warped, other = (
        smooth_and_resample(each, grid, poll=poll) for each in (aligned.fixed, aligned.warped, otherwise)
    )
    both = aligned.known.with_array(np.logical_and(aligned.known.array, shown.array))
    known = resample(both, grid, interpolation="nearest", poll=poll)
    return Apart(grid, millimetres, doubt_of(fixed, warped, other, known), inside, fixed, warped)


def _mean_error(transform: Transform, landmarks: Landmarks | None) -> float | None:
    return None if landmarks is None else float(target_registration_error(transform, *landmarks).mean())


def _outside(pair: PreparedPair, landmarks: Landmarks) -> int:
    sides = zip((pair.fixed, pair.moving), landmarks, strict=True)
    return sum(count_outside(points, side.original.geometry) for side, points in sides)
