"""The way of a registration: prepare, search, linear, deformable, inverse, judge. The one place that orders them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.devices import choose_device, memory_errors_explained
from DeepRegLib.errors import RegistrationError
from DeepRegLib.evaluation import folded_voxels, inverse_consistency
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.judgement import measure, verdict_on
from DeepRegLib.monitoring import Cancel, Monitor, Progress
from DeepRegLib.optimization.deformable import Level, register_deformable
from DeepRegLib.optimization.global_search import Pose, distinct_poses, search_poses
from DeepRegLib.optimization.linear import LinearFit, refine_poses
from DeepRegLib.optimization.regularity import repair_folds, smooth_locally
from DeepRegLib.optimization.rotations import rotation_grid
from DeepRegLib.optimization.working import WorkingImage, coarser, weighted_centroid
from DeepRegLib.preparation import Prepared, PreparedPair, foreground_weight, prepare_pair, working_image
from DeepRegLib.provenance import provenance_of
from DeepRegLib.recipes import AUTO, Recipe, load_recipe
from DeepRegLib.result import Registration
from DeepRegLib.similarity import contrast_agreement
from DeepRegLib.starting import check_landmarks, rigid_from_landmarks
from DeepRegLib.transforms import (
    CompositeTransform,
    DisplacementField,
    LinearTransform,
    Transform,
    apply_to_image,
    compose,
    displacement_on_grid,
    field_of_view,
    invert,
    linear_part,
)

logger = logging.getLogger(__name__)

MARGIN_VOXELS = 4
COARSE_LINEAR_VOXELS = (32_000, 120_000)
FIRST_STEP_VOXELS = (0.4, 0.4, 0.3)
KEPT_CANDIDATES = 4
# A pose far from the scanner's must be clearly better: small or symmetric images match by accident.
SCANNER_POSE_BONUS = 1.05
SAME_CONTRAST = 0.7
INVERSE_MEAN_MM, INVERSE_P99_MM = 0.08, 0.4
INVERSE_REFINEMENTS = (1.0, 1.5, 2.0)
FOLD_ROUNDS = 12
REPORT_EVERY = 10


@dataclass(frozen=True, eq=False)
class _Run:
    """What every stage needs."""

    pair: PreparedPair
    recipe: Recipe
    device: torch.device
    monitor: Monitor
    curves: dict[str, NDArray[np.float64]]
    decisions: list[str]
    warnings: list[str]


def register(
    fixed: Image,
    moving: Image,
    recipe: str | Path | Recipe = AUTO,
    *,
    fixed_mask: Image | None = None,
    moving_mask: Image | None = None,
    fixed_landmarks: NDArray[np.floating] | None = None,
    moving_landmarks: NDArray[np.floating] | None = None,
    initial_transform: Transform | None = None,
    device: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Registration:
    """Register a moving image to a fixed one.

    Parameters
    ----------
    fixed, moving
        Volumes, any pixel type and grid. They are not modified.
    recipe
        Name of a shipped recipe, path of a TOML file, or a `Recipe`.
    fixed_mask, moving_mask
        Nonzero where the image counts, on the image's own grid.
    fixed_landmarks, moving_landmarks
        Corresponding points ``(n, 3)`` in LPS mm; they set the starting pose and are measured.
    initial_transform
        Fixed points to moving points; replaces the search. A transform with a field also replaces the linear stage.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``; None takes the fastest there is.
    seed
        Of what is sampled at random (the measured points); the registration itself draws no random numbers.
    progress
        Called with stage, fraction of the run (0 to 1), similarity or None, seconds left or None.
    cancel
        Polled at every iteration; returning true stops the run.

    Returns
    -------
    Registration
        Transform, inverse, warped image, measures, verdict, warnings, recipe as run.

    Raises
    ------
    InputError
        If an image, mask, landmark list, recipe or device cannot be used.
    RegistrationError
        If the images cannot be brought to overlap, or memory runs out.
    CancelledError
        If `cancel` returned true.
    """
    chosen = load_recipe(recipe)
    where = choose_device(device)
    landmarks = check_landmarks(fixed_landmarks, moving_landmarks)
    monitor = Monitor(_stages(chosen, landmarks is not None or initial_transform is not None), progress, cancel)
    with memory_errors_explained(where), torch.no_grad():
        with monitor.stage("prepare"):
            pair = prepare_pair(fixed, moving, chosen.prepare, fixed_mask, moving_mask)
            run = _Run(pair, chosen, where, monitor, {}, list(pair.decisions), list(pair.warnings))
            base = _working_pair(run)
        linear, run = _linear_stages(run, base, landmarks, initial_transform)
        transform: Transform = linear
        if chosen.deformable.enabled:
            with monitor.stage("deformable"):
                transform, run = _deformable_stage(run, base, linear, initial_transform)
        elif _has_field(initial_transform) and initial_transform is not None:
            transform = initial_transform
        with monitor.stage("inverse"):
            inverse = _inverse(run, transform, seed)
        with monitor.stage("judge"):
            return _finish(run, transform, inverse, landmarks, seed)


def _inverse(run: _Run, transform: Transform, seed: int) -> Transform:
    """Invert on the field's grid, and on a finer one where interpolating the inverse there is too coarse."""
    for refinement in INVERSE_REFINEMENTS:
        inverse = invert(transform, refinement=refinement, device=str(run.device))
        run.monitor.poll()
        reached = inverse_consistency(transform, inverse, run.pair.fixed.foreground, samples=20_000, seed=seed)
        small_enough = reached.mean < INVERSE_MEAN_MM and reached.p99 < INVERSE_P99_MM
        if small_enough or not _has_field(transform):
            break
    return inverse


def _stages(recipe: Recipe, started: bool) -> list[str]:
    wanted = {
        "prepare": True,
        "search": recipe.search.enabled and not started,
        "linear": recipe.linear.model != "none",
        "deformable": recipe.deformable.enabled,
        "inverse": True,
        "judge": True,
    }
    return [stage for stage, runs in wanted.items() if runs]


def _finish(
    run: _Run,
    transform: Transform,
    inverse: Transform,
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    seed: int,
) -> Registration:
    fixed, moving = run.pair.fixed, run.pair.moving
    measures = measure(run.pair, transform, inverse, landmarks, seed=seed, poll=run.monitor.poll)
    run.monitor.step(0.7)
    return Registration(
        fixed=fixed.original,
        moving=moving.original,
        transform=transform,
        inverse=inverse,
        warped=apply_to_image(transform, _finite_original(moving), fixed.original.geometry),
        field_of_view=field_of_view(transform, moving.original.geometry, fixed.original.geometry),
        fixed_foreground=fixed.foreground,
        measures=measures,
        verdict=verdict_on(measures, run.recipe),
        recipe=run.recipe,
        warnings=tuple(run.warnings),
        decisions=tuple(run.decisions),
        curves=run.curves,
        timings=run.monitor.timings,
        provenance=provenance_of(fixed.original, moving.original, run.device, seed),
    )


def _finite_original(side: Prepared) -> Image:
    """Return the original voxels; NaN and infinite ones, which interpolation would spread, as the smallest value."""
    original = side.original
    if original.array.dtype.kind != "f" or np.isfinite(original.array).all():
        return original
    lowest = original.array[np.isfinite(original.array)].min()
    return original.with_array(np.where(np.isfinite(original.array), original.array, lowest))


def _working_pair(run: _Run) -> tuple[WorkingImage, WorkingImage]:
    """Return both images on their own isotropic grids of the recipe's finest resolution."""
    recipe = run.recipe
    voxels = recipe.deformable.voxels if recipe.deformable.enabled else recipe.linear.voxels
    grid = working_grid(run.pair.fixed.original.geometry, voxels)
    moving = run.pair.moving.original.geometry
    step = max(grid.spacing[0], (float(np.prod(moving.extent)) / (2 * voxels)) ** (1 / 3))
    return (
        working_image(run.pair.fixed, grid, run.device),
        working_image(run.pair.moving, moving.resized(step), run.device),
    )


def working_grid(geometry: Geometry, voxels: int, margin: int = MARGIN_VOXELS) -> Geometry:
    """Return the finest isotropic grid around `geometry` that has at most `voxels` voxels, a margin included.

    It is never finer than the finest spacing of `geometry`. The margin lets the field fade out past the border.
    """
    step = min(geometry.spacing)
    while True:
        grid = geometry.resized(step, margin * step)
        excess = float(np.prod(grid.size)) / voxels
        if excess <= 1:
            return grid
        step *= max(excess ** (1 / 3), 1.002)


def _linear_stages(
    run: _Run,
    base: tuple[WorkingImage, WorkingImage],
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None,
    initial_transform: Transform | None,
) -> tuple[LinearTransform, _Run]:
    start = None
    if initial_transform is not None:
        start = linear_part(initial_transform).matrix
    elif landmarks is not None:
        start = rigid_from_landmarks(*landmarks)
    run = _with_linear_similarity(run)
    poses = [Pose(start, 0.0)] if start is not None else _starting_poses(run, base)
    if run.recipe.linear.model == "none" or _has_field(initial_transform):
        return LinearTransform(poses[0].matrix), run
    with run.monitor.stage("linear"):
        return _linear_stage(run, base, poses), run


def _with_linear_similarity(run: _Run) -> _Run:
    if run.recipe.linear.similarity != AUTO:
        return run
    both_ct = run.pair.fixed.is_ct and run.pair.moving.is_ct
    name, reason = ("ncc", "both images are CT") if both_ct else ("mi", "it holds for any pair of contrasts")
    run.decisions.append(f"Linear similarity: {name}, because {reason}.")
    return replace(run, recipe=replace(run.recipe, linear=replace(run.recipe.linear, similarity=name)))


def _starting_poses(run: _Run, base: tuple[WorkingImage, WorkingImage]) -> list[Pose]:
    """Return the scanner's pose first, then the same with the centres matched, then what the search found."""
    fixed, moving = base
    shifted = np.eye(4)
    shifted[:3, 3] = weighted_centroid(moving) - weighted_centroid(fixed)
    poses = [Pose(np.eye(4), 0.0), Pose(shifted, 0.0)]
    search = run.recipe.search
    if not search.enabled:
        return poses[:1]
    with run.monitor.stage("search"):
        rotations = rotation_grid(search.angle)
        cross_modal = run.recipe.linear.similarity in ("mi", "mind")
        kinds = (False, True) if cross_modal else (False,)
        for number, edges in enumerate(kinds):
            poses += search_poses(
                fixed,
                moving,
                rotations,
                count=search.candidates // len(kinds),
                edges=edges,
                on_step=lambda done, n=number: run.monitor.step((n + done) / len(kinds)),
            )
    return poses


def _linear_stage(run: _Run, base: tuple[WorkingImage, WorkingImage], poses: list[Pose]) -> LinearTransform:
    """Refine all poses on a coarse grid, the best few on a finer one, the best on the finest."""
    recipe = run.recipe.linear
    sizes = [n for n in COARSE_LINEAR_VOXELS if n < recipe.voxels] + [recipe.voxels]
    centre = weighted_centroid(base[0])
    scanner = poses[0].matrix
    for number, voxels in enumerate(sizes):
        fixed, moving = (_shrunk(image, voxels) for image in base)
        fit = refine_poses(
            fixed,
            moving,
            [pose.matrix for pose in poses],
            model="rigid" if number == 0 and len(sizes) > 1 else recipe.model,
            similarity=recipe.similarity,
            iterations=recipe.iterations,
            first_step=FIRST_STEP_VOXELS[min(number, 2)],
            on_step=_reporter(run.monitor, number, len(sizes), recipe.iterations),
        )
        run.curves[f"linear {number + 1}"] = fit.curve
        kept = 1 if number + 2 >= len(sizes) else KEPT_CANDIDATES
        poses = _preferred(fit, scanner, centre, kept, 0.6 * fixed.geometry.spacing[0])
    if not np.isfinite(poses[0].score) or poses[0].score <= 0 and recipe.similarity in ("mi", "ncc"):
        raise RegistrationError(
            "No pose was found in which the images overlap and resemble each other.",
            "Check that both show the same anatomy, or give an initial transform or landmarks.",
        )
    return LinearTransform(poses[0].matrix)


def _preferred(
    fit: LinearFit, scanner: NDArray[np.float64], centre: NDArray[np.float64], count: int, distance: float
) -> list[Pose]:
    """Return the best distinct poses; those near the scanner's orientation win where they are nearly as good."""

    def rank(pose: Pose) -> float:
        turned = np.trace(pose.matrix[:3, :3] @ scanner[:3, :3].T) < 1 + 2 * np.cos(np.radians(45))
        return pose.score if turned else pose.score * SCANNER_POSE_BONUS

    ranked = [Pose(pose.matrix, rank(pose)) for pose in fit.poses]
    return distinct_poses(ranked, count, distance, centre)


def _shrunk(image: WorkingImage, voxels: int) -> WorkingImage:
    grid = working_grid(image.geometry, voxels, margin=0)
    return image if grid.size == image.geometry.size else coarser(image, grid)


def _reporter(monitor: Monitor, part: int, parts: int, iterations: int) -> Callable[[int, Tensor], None]:
    def report(iteration: int, similarity: Tensor) -> None:
        if iteration % REPORT_EVERY:
            monitor.poll()
            return
        monitor.step((part + iteration / iterations) / parts, float(similarity.max()))

    return report


def _deformable_stage(
    run: _Run, base: tuple[WorkingImage, WorkingImage], linear: LinearTransform, initial_transform: Transform | None
) -> tuple[Transform, _Run]:
    finest = _finest_level(run, base[0], linear)
    run = _with_deformable_similarity(run, finest)
    recipe = run.recipe.deformable
    levels = _pyramid(finest, recipe.shrink, run)
    costs = [n * iterations for n, iterations in zip(_sizes(levels), recipe.iterations, strict=True)]

    def report(level: int, iteration: int, similarity: Tensor) -> None:
        if iteration % REPORT_EVERY:
            run.monitor.poll()
            return
        part = costs[level] * iteration / max(recipe.iterations[level], 1)
        run.monitor.step((sum(costs[:level]) + part) / max(sum(costs), 1), float(similarity.max()))

    fit = register_deformable(levels, recipe, start=_start_field(run, linear, initial_transform), on_step=report)
    for number, curve in enumerate(fit.curves):
        run.curves[f"deformable {number + 1}"] = curve
    field, repaired = repair_folds(fit.field)
    if repaired:
        logger.info("Smoothed the field at %d cells that folded or nearly did.", repaired)
    return compose(_without_folds(run, field, fit.geometry), linear), run


def _sizes(levels: Sequence[Level]) -> list[int]:
    return [level.fixed.intensity.numel() for level in levels]


def _finest_level(run: _Run, fixed: WorkingImage, linear: LinearTransform) -> Level:
    moving = working_image(run.pair.moving, fixed.geometry, run.device, linear)
    return Level(fixed, moving)


def _with_deformable_similarity(run: _Run, level: Level) -> _Run:
    if run.recipe.deformable.similarity != AUTO:
        return run
    same, reason = _same_contrast(run, level)
    name = "lncc" if same else "mind"
    run.decisions.append(f"Deformable similarity: {name}, because {reason}.")
    deformable = replace(run.recipe.deformable, similarity=name, radius=2 if same else 1)
    return replace(run, recipe=replace(run.recipe, deformable=deformable))


def _same_contrast(run: _Run, level: Level) -> tuple[bool, str]:
    ct = [side.is_ct for side in (run.pair.fixed, run.pair.moving)]
    if all(ct):
        return True, "both images are CT"
    if any(ct):
        return False, "one image is CT and the other is not"
    grid = level.fixed.geometry
    foreground = resample(run.pair.fixed.foreground, grid, interpolation="nearest").array.astype(np.float32)
    weight = level.fixed.weight * level.moving.weight * torch.from_numpy(foreground).to(run.device)
    agreement = float(contrast_agreement(level.fixed.intensity, level.moving.intensity, weight))
    same = agreement >= SAME_CONTRAST
    return same, f"{agreement:.0%} of the local correlation says {'the same contrast' if same else 'different contrasts'}"


def _foreground(run: _Run, geometry: Geometry) -> Tensor:
    return foreground_weight(run.pair.fixed, geometry, run.device)


def _pyramid(finest: Level, shrink: Sequence[int], run: _Run) -> list[Level]:
    rim = _foreground(run, finest.fixed.geometry)
    weighted = Level(replace(finest.fixed, weight=finest.fixed.weight * rim), finest.moving)
    levels = []
    for factor in shrink:
        if factor == 1:
            levels.append(weighted)
            continue
        geometry = finest.fixed.geometry
        grid = geometry.resized(geometry.spacing[0] * factor)
        levels.append(Level(coarser(weighted.fixed, grid), coarser(weighted.moving, grid)))
    return levels


def _start_field(
    run: _Run, linear: LinearTransform, initial_transform: Transform | None
) -> Callable[[Geometry], Tensor] | None:
    """Return the function that gives u with linear(x + u(x)) = initial(x), in voxels of a grid."""
    if not _has_field(initial_transform) or initial_transform is None:
        return None
    relative = compose(initial_transform, linear.inverse())

    def start(geometry: Geometry) -> Tensor:
        voxels = displacement_on_grid(relative, geometry) @ geometry.world_to_index[:3, :3].T
        channels_first = np.ascontiguousarray(np.moveaxis(voxels, -1, 0), dtype=np.float32)
        return torch.from_numpy(channels_first).to(run.device)

    return start


def _has_field(transform: Transform | None) -> bool:
    return isinstance(transform, DisplacementField | CompositeTransform)


def _without_folds(run: _Run, field: Tensor, geometry: Geometry) -> DisplacementField:
    """Return the field in mm, smoothed further where it would fold on the fixed image's own, finer grid."""
    fixed = run.pair.fixed.original.geometry
    for attempt in range(FOLD_ROUNDS):
        displacement = to_displacement_field(field, geometry)
        folded = folded_voxels(displacement_on_grid(displacement, fixed), fixed)
        if not folded.any():
            break
        logger.info("Round %d: %d voxels fold on the fixed grid.", attempt + 1, int(folded.sum()))
        index = np.argwhere(folded)[:, ::-1]
        cells = np.floor(geometry.to_index(fixed.to_world(index))).astype(np.int64)
        cells = np.clip(cells, 0, np.array(geometry.size) - 2)
        marked = torch.zeros([n - 1 for n in geometry.shape], dtype=torch.bool)
        marked[cells[:, 2], cells[:, 1], cells[:, 0]] = True
        field, _ = repair_folds(smooth_locally(field, marked.to(field.device), reach=2 + attempt))
    return displacement


def to_displacement_field(field: Tensor, geometry: Geometry) -> DisplacementField:
    """Turn a field in voxels, ``(3, D, H, W)``, into one in mm (LPS)."""
    voxels = np.moveaxis(field.double().cpu().numpy(), 0, -1)
    return DisplacementField((voxels @ geometry.index_to_world[:3, :3].T).astype(np.float32), geometry)
