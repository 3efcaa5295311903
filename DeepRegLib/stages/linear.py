"""The pose: searched or given, then refined rigid to affine, coarse to fine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import RegistrationError
from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.global_search import Pose, distinct_poses, search_poses
from DeepRegLib.optimization.linear import FewSlices, LinearFit, moved_onto, refine_poses
from DeepRegLib.optimization.neighbourhood import best_around, poses_around
from DeepRegLib.optimization.rotations import rotation_grid
from DeepRegLib.optimization.working import WorkingImage, coarser, weighted_centroid
from DeepRegLib.recipes import AUTO, CROSS_MODAL_SIMILARITIES
from DeepRegLib.stages.contrast import same_contrast, seen_in_both
from DeepRegLib.stages.run import Run, WorkingPair, working_grid
from DeepRegLib.transforms import LinearTransform

ANY_CONTRAST = "mi"
COARSE_VOXELS = (32_000, 120_000)
FIRST_STEP_VOXELS = (0.4, 0.4, 0.3)
KEPT_CANDIDATES = 4
# Candidates tell apart, or meet in one pose, well before they are exact: after this share of a level's iterations the
# rest is for those kept. The finest level has one candidate, which is nearly there, so it takes half of them.
TRIAL_SHARE = 1 / 3
FINEST_SHARE = 0.5
SAME_POSE_VOXELS = 0.6
# What is this far behind the best after the coarsest level does not catch up on finer ones: on 28 pairs the best
# of that level was the best in the end.
CLEARLY_BEHIND = 0.8
# A pose far from the scanner's must be clearly better: small or symmetric images match by accident.
SCANNER_POSE_BONUS = 1.05
SCANNER_POSE_DEGREES = 45.0
# A stack of fewer slices, thicker than this many times its pixels, says little of how anatomy is stretched across it.
FEWEST_SLICES = 8
THICK = 2.0


def with_linear_similarity(run: Run) -> Run:
    """Replace ``linear.similarity = "auto"`` by the choice for this pair, if it can be made before they are aligned."""
    both_ct = run.pair.fixed.is_ct and run.pair.moving.is_ct
    if run.recipe.linear.similarity != AUTO or not both_ct:
        return run
    return _decided(run, "lncc", "both images are CT")


def scanner_poses(working: WorkingPair) -> list[NDArray[np.float64]]:
    """Return the scanner's pose and the same with the images' centres matched, as world matrices."""
    scanner, centred = np.eye(4), np.eye(4)
    centred[:3, 3] = weighted_centroid(working.moving) - weighted_centroid(working.fixed)
    return [scanner, centred]


def searched_poses(run: Run, working: WorkingPair) -> list[NDArray[np.float64]]:
    """Return the best poses of an exhaustive search as world matrices, best first of each kind.

    Intensities are searched within a modality, intensities and edges where the contrast may differ.
    """
    search = run.recipe.search
    kinds = (False, True) if run.recipe.linear.similarity in (AUTO, *CROSS_MODAL_SIMILARITIES) else (False,)
    poses: list[NDArray[np.float64]] = []
    for number, edges in enumerate(kinds):

        def report(done: float, number: int = number) -> None:
            run.monitor.step((number + done) / len(kinds))

        found = search_poses(
            working.fixed,
            working.moving,
            rotation_grid(search.angle),
            count=max(search.candidates // len(kinds), 1),
            edges=edges,
            on_step=report,
        )
        poses += [pose.matrix for pose in found]
    return poses


def neighbouring_poses(run: Run, working: WorkingPair, starts: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return the starts with the best poses about the first of them, as far as the recipe looks around."""
    recipe = run.recipe.linear
    if not recipe.around:
        return starts
    fixed, moving = (_shrunk(image, COARSE_VOXELS[0]) for image in (working.fixed, working.moving))
    similarity = ANY_CONTRAST if recipe.similarity == AUTO else recipe.similarity
    tried = poses_around(fixed, starts[0], recipe.around)
    found = best_around(fixed, moving, tried, similarity, run.recipe.search.candidates, run.monitor.poll)
    return starts + found[1:]


def refine_linear(run: Run, working: WorkingPair, starts: list[NDArray[np.float64]]) -> tuple[LinearTransform, Run]:
    """Refine all starting poses on a coarse grid, the best few on a finer one, the best on the finest.

    Where there are several, each level begins with a trial of all, and goes on with those it keeps.

    A similarity that is still ``"auto"`` is MI, which holds for any contrasts, until the images lie close enough to
    tell whether LNCC, which is sharper but needs one contrast, may take over on the finest grid.

    Parameters
    ----------
    run
        Its recipe's linear similarity is decided on the way.
    working
        The images.
    starts
        World matrices, the scanner's (or the given) pose first.

    Raises
    ------
    RegistrationError
        If the images overlap or resemble each other in none of the poses.
    """
    recipe = run.recipe.linear
    sizes = [n for n in COARSE_VOXELS if n < recipe.voxels] + [recipe.voxels]
    poses, scanner = starts, starts[0]
    fit, candidates = LinearFit([], np.zeros(0)), len(starts)
    few_slices = _few_slices(run)
    for level, voxels in enumerate(sizes):
        finest = level == len(sizes) - 1
        if finest and recipe.similarity == AUTO:
            run = _with_similarity_of(run, working, poses[0])
            recipe = run.recipe.linear
        fixed, moving = _shrunk(working.fixed, voxels), _shrunk(working.moving, voxels)
        centre, distance = weighted_centroid(fixed), SAME_POSE_VOXELS * fixed.geometry.spacing[0]
        rounds = _rounds(level, len(sizes), candidates, recipe.iterations)
        curves, kept = [], list[Pose]()
        for number, (iterations, count) in enumerate(rounds):
            fit = refine_poses(
                fixed,
                moving,
                poses,
                model="rigid" if level == 0 and len(sizes) > 1 else recipe.model,
                similarity=ANY_CONTRAST if recipe.similarity == AUTO else recipe.similarity,
                iterations=iterations,
                first_step=FIRST_STEP_VOXELS[min(level, 2)],
                on_step=run.reporter(level * len(rounds) + number, len(sizes) * len(rounds), iterations),
                few_slices=few_slices,
            )
            kept = _preferred(fit, scanner, centre, count, distance)
            poses = [pose.matrix for pose in kept]
            curves.append(fit.curve)
        candidates = len(kept)
        poses = [pose.matrix for pose in kept if not _is_clearly_behind(pose.score, kept[0].score)]
        run.log.add_curve(f"linear {level + 1}", np.concatenate(curves))
    _check_found(fit.poses)
    return LinearTransform(poses[0]), run


def _few_slices(run: Run) -> FewSlices:
    """Return the normals of the slices of images with too few of them to be stretched across; note it."""
    sides = run.pair.fixed.original.geometry, run.pair.moving.original.geometry
    normals = [_normal_of_few_slices(geometry) for geometry in sides]
    if run.recipe.linear.model == "affine" and any(normal is not None for normal in normals):
        run.log.add_decision(f"Linear: no stretch across slices, as there are fewer than {FEWEST_SLICES}.")
    return FewSlices(*normals)


def _normal_of_few_slices(geometry: Geometry) -> NDArray[np.float64] | None:
    axis = int(np.argmax(geometry.spacing))
    pixel = max(np.delete(geometry.spacing, axis))
    few = geometry.size[axis] < FEWEST_SLICES and geometry.spacing[axis] > THICK * pixel
    return geometry.axes[:, axis] if few else None


def _rounds(level: int, levels: int, candidates: int, iterations: int) -> list[tuple[int, int]]:
    """Return the iterations of each round of a level, and how many poses are kept after it."""
    if candidates == 1:
        return [(max(round(FINEST_SHARE * iterations), 1) if 0 < level == levels - 1 else iterations, 1)]
    trial = round(TRIAL_SHARE * iterations)
    kept = KEPT_CANDIDATES if level == 0 and levels > 1 else 1
    return [(trial, kept), (iterations - trial, kept)]


def _with_similarity_of(run: Run, working: WorkingPair, pose: NDArray[np.float64]) -> Run:
    level = Level(working.fixed, moved_onto(working.fixed, working.moving, pose))
    same, reason = same_contrast(run, level, seen_in_both(run, level))
    return _decided(run, "lncc" if same else ANY_CONTRAST, reason)


def _decided(run: Run, similarity: str, reason: str) -> Run:
    run.log.add_decision(f"Linear similarity: {similarity}, because {reason}.")
    return run.with_recipe(replace(run.recipe, linear=replace(run.recipe.linear, similarity=similarity)))


def _preferred(
    fit: LinearFit, scanner: NDArray[np.float64], centre: NDArray[np.float64], count: int, distance: float
) -> list[Pose]:
    """Return the best distinct poses; those near the scanner's orientation win where they are nearly as good."""

    def ranked(pose: Pose) -> Pose:
        axes = _without_scale(pose.matrix[:3, :3]) @ _without_scale(scanner[:3, :3]).T
        near = np.trace(axes) > 1 + 2 * np.cos(np.radians(SCANNER_POSE_DEGREES))
        return Pose(pose.matrix, pose.score * SCANNER_POSE_BONUS if near and pose.score > 0 else pose.score)

    return distinct_poses([ranked(p) for p in fit.poses], count, distance, centre)


def _is_clearly_behind(score: float, best: float) -> bool:
    return best > 0 and score < CLEARLY_BEHIND * best


def _without_scale(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    left, _, right = np.linalg.svd(matrix)
    return left @ right


def _check_found(poses: list[Pose]) -> None:
    if not any(np.isfinite(pose.score) and pose.score > 0 for pose in poses):
        raise RegistrationError(
            "No pose was found in which the images overlap and resemble each other.",
            "Check that both show the same anatomy, or give an initial transform or landmarks.",
        )


def _shrunk(image: WorkingImage, voxels: int) -> WorkingImage:
    grid = working_grid(image.geometry, voxels)
    return image if grid.size == image.geometry.size else coarser(image, grid)
