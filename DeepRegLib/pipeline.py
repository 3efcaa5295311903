"""The way of a registration, ordered here.

Prepare, search, linear, levels, large motion, model, deformable, inverse, judge, labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.devices import choose_device, memory_errors_explained
from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, as_image
from DeepRegLib.judgement import Landmarks, measure, verdict_on
from DeepRegLib.labels import check_label_pair, with_labels
from DeepRegLib.models import ModelBundle
from DeepRegLib.monitoring import Cancel, Monitor, Progress
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.preparation import Prepared, checked_mask, prepare_pair
from DeepRegLib.provenance import provenance_of
from DeepRegLib.recipes import AUTO, VELOCITY, Recipe, load_recipe, with_model
from DeepRegLib.result import Registration
from DeepRegLib.stages.deformable import Deformed, deform, start_field
from DeepRegLib.stages.features import features_of, with_features
from DeepRegLib.stages.inverse import invert_well
from DeepRegLib.stages.large_motion import large_motion_field
from DeepRegLib.stages.levels import all_levels, finest_level, with_deformable_similarity, with_useful_levels
from DeepRegLib.stages.linear import refine_linear, scanner_poses, searched_poses, with_linear_similarity
from DeepRegLib.stages.model import UNCERTAINTY, is_worth_asking, model_field, model_of
from DeepRegLib.stages.pulls import warn_of_unmet_landmarks
from DeepRegLib.stages.run import Run, WorkingPair, working_pair
from DeepRegLib.stages.start import (
    Start,
    StartField,
    as_start,
    coarse_start,
    or_predicted,
    or_searched,
    with_contrasts_learned_again,
)
from DeepRegLib.stages.velocity import deform_by_flow
from DeepRegLib.starting import check_landmarks, rigid_from_landmarks
from DeepRegLib.transforms import LinearTransform, Transform, has_field, image_and_view, linear_part

# Of the stage that searches for large motion; the coarse levels, which its result is compared with, take the rest.
SEARCH_SHARE = 0.85


def register(
    fixed: Image | str | Path,
    moving: Image | str | Path,
    recipe: str | Path | Recipe = AUTO,
    *,
    fixed_mask: Image | str | Path | None = None,
    moving_mask: Image | str | Path | None = None,
    sliding_mask: Image | str | Path | None = None,
    fixed_landmarks: NDArray[np.floating] | None = None,
    moving_landmarks: NDArray[np.floating] | None = None,
    fixed_labels: Image | str | Path | None = None,
    moving_labels: Image | str | Path | None = None,
    initial_transform: Transform | None = None,
    model: str | Path | None = None,
    device: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Registration:
    """Register a moving image to a fixed one.

    Parameters
    ----------
    fixed, moving
        Volumes, any pixel type and grid, or the paths to read them from. They are not modified.
    recipe
        Name of a shipped recipe, path of a TOML file, or a `Recipe`.
    fixed_mask, moving_mask
        Nonzero where the image counts, on the image's own grid.
    sliding_mask
        Nonzero in an organ that slides along what surrounds it (a lung, the organs of the abdomen), on the fixed grid.
        Across its surface the displacement may then jump along the surface, but not open a gap.
    fixed_landmarks, moving_landmarks
        Corresponding points ``(n, 3)`` in LPS mm: they set the starting pose, draw the field to where they belong
        (``deformable.landmark_pull`` of the recipe says how hard, 0 not at all), and are measured.
    fixed_labels, moving_labels
        Label maps, each on its image's grid. The moving one is brought along. With both, the structures that they
        share draw the field too (``deformable.label_pull``), and their Dice is measured. To measure a Dice that says
        something about the registration, leave them out and use `Registration.with_labels`.
    initial_transform
        Fixed points to moving points; replaces the search. A transform with a field also replaces the linear stage.
    model
        Name or folder of a model, in place of the recipe's; it proposes a field, which is used if it matches better.
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
        If an image, mask, label map, landmark list, recipe, model or device cannot be used.
    RegistrationError
        If the images cannot be brought to overlap, or memory runs out.
    CancelledError
        If `cancel` returned true.
    """
    chosen = with_model(load_recipe(recipe), model)
    given_field = initial_transform is not None and has_field(initial_transform)
    bundle = model_of(chosen, has_field=given_field)
    features = features_of(chosen)
    where = choose_device(device)
    landmarks = check_landmarks(fixed_landmarks, moving_landmarks)
    stages = _stages(chosen, landmarks, initial_transform)
    monitor = Monitor(stages if moving_labels is None else [*stages, "labels"], progress, cancel)
    with memory_errors_explained(where), torch.no_grad():
        with monitor.stage("prepare"):
            images = as_image(fixed), as_image(moving)
            fixed_map, moving_map = check_label_pair(fixed_labels, moving_labels, *images)
            masks = [None if mask is None else as_image(mask) for mask in (fixed_mask, moving_mask)]
            pair = prepare_pair(*images, chosen.prepare, *masks, poll=monitor.poll)
            run = Run(
                pair,
                chosen,
                where,
                monitor,
                list(pair.decisions),
                landmarks=landmarks,
                labels=None if fixed_map is None or moving_map is None else (fixed_map, moving_map),
                sliding_mask=_sliding_mask(images[0], sliding_mask, chosen),
            )
            if features is not None:
                run = with_features(run, features)
            run = with_linear_similarity(run)
            working = working_pair(run)
        linear, run = _linear(run, working, landmarks, initial_transform)
        start: Transform = linear
        if initial_transform is not None and given_field:
            start = initial_transform
        found = Deformed(start)
        if chosen.deformable.enabled:
            found, run = _deform(run, linear, initial_transform, bundle)
        with monitor.stage("inverse"):
            inverse = invert_well(run, found.transform, seed, found.inverse)
        with monitor.stage("judge"):
            result = _finish(run, start, found, inverse, landmarks, seed)
        if moving_map is None:
            return result
        with monitor.stage("labels"):
            return with_labels(result, moving_map, fixed_map, poll=monitor.poll)


def _sliding_mask(fixed: Image, given: Image | str | Path | None, recipe: Recipe) -> Image | None:
    """Return the checked mask as bool."""
    if given is None:
        return None
    if not recipe.deformable.enabled or recipe.deformable.parametrisation == VELOCITY:
        found = "a velocity" if recipe.deformable.enabled else "no deformable stage"
        raise InputError(
            f"The recipe {recipe.name} has {found}, and only a displacement can slide.",
            "Take a recipe with a deformable stage that seeks a displacement, or leave out the sliding mask.",
        )
    mask = as_image(given)
    inside = checked_mask(fixed, mask)
    if inside.all():
        raise InputError(f"The mask {mask.name} fills the image.", "Draw it over the organ that slides, and no more.")
    return mask.with_array(inside)


def _stages(recipe: Recipe, landmarks: Landmarks | None, initial_transform: Transform | None) -> list[str]:
    given = landmarks is not None or initial_transform is not None
    has_given_field = initial_transform is not None and has_field(initial_transform)
    wanted = {
        "prepare": True,
        "search": recipe.search.enabled and not given,
        "linear": recipe.linear.model != "none" and not has_given_field,
        "levels": recipe.deformable.enabled,
        "large motion": recipe.deformable.enabled and recipe.large_motion.enabled and not has_given_field,
        "model": bool(recipe.model.name) and not has_given_field,
        "deformable": recipe.deformable.enabled,
        "inverse": True,
        "judge": True,
    }
    return [stage for stage, runs in wanted.items() if runs]


def _linear(
    run: Run, working: WorkingPair, landmarks: Landmarks | None, initial_transform: Transform | None
) -> tuple[LinearTransform, Run]:
    """Find the pose: from what the user gives, or by a search; then refine it as far as the recipe wants."""
    stages = _stages(run.recipe, landmarks, initial_transform)
    found: list[NDArray[np.float64]] = []
    if initial_transform is not None:
        starts = [linear_part(initial_transform).matrix]
    elif landmarks is not None:
        starts = [rigid_from_landmarks(*landmarks)]
    elif "search" not in stages:
        starts = [np.eye(4)]
    else:
        with run.monitor.stage("search"):
            starts, found = scanner_poses(working), searched_poses(run, working)
    if "linear" not in stages:
        return LinearTransform((found or starts)[0]), run
    with run.monitor.stage("linear"):
        return refine_linear(run, working, starts + found)


def _deform(
    run: Run, linear: LinearTransform, initial_transform: Transform | None, bundle: ModelBundle | None
) -> tuple[Deformed, Run]:
    """Find the field, from one given, searched for or predicted, or from zero; decide the similarity."""
    stages = _stages(run.recipe, None, initial_transform)
    with run.monitor.stage("levels"):
        run, finest = with_deformable_similarity(run, finest_level(run, linear))
        run = with_useful_levels(run, finest)
        levels: Sequence[Level] = all_levels(run, finest, linear)
    given = None if initial_transform is None else start_field(run, linear, initial_transform)
    start = Start(as_start(run, given))
    searched: StartField | None = None
    if "large motion" in stages:
        with run.monitor.stage("large motion"):
            searched = large_motion_field(run, finest, end=SEARCH_SHARE)
            start = or_searched(run, levels, coarse_start(run, levels, begin=SEARCH_SHARE), searched)
    if bundle is not None:
        with run.monitor.stage("model"):
            if searched is None:
                start = coarse_start(run, levels)
            if is_worth_asking(run, bundle, start):
                start = or_predicted(run, levels, start, model_field(run, linear, bundle, searched))
    with run.monitor.stage("deformable"):
        levels, start = with_contrasts_learned_again(run, finest, levels, start)
        by_flow = run.recipe.deformable.parametrisation == VELOCITY
        deformed = (deform_by_flow if by_flow else deform)(run, levels, linear, start)
        warn_of_unmet_landmarks(run, deformed.transform, finest.fixed.geometry.spacing[0])
        return deformed, run


def _finish(
    run: Run, start: Transform, found: Deformed, inverse: Transform, landmarks: Landmarks | None, seed: int
) -> Registration:
    fixed, moving, transform = run.pair.fixed.original, run.pair.moving.original, found.transform
    poll = run.monitor.poll
    warped, seen = image_and_view(transform, _finite_original(run.pair.moving), fixed.geometry, poll=poll)
    measures = measure(
        run.pair, transform, inverse, landmarks, start=start, seen=seen, jacobian=found.jacobian, seed=seed, poll=poll
    )
    run.monitor.step(0.7)
    return Registration(
        fixed=fixed,
        moving=moving,
        transform=transform,
        inverse=inverse,
        warped=warped,
        field_of_view=seen,
        fixed_foreground=run.pair.fixed.foreground,
        measures=measures,
        verdict=verdict_on(measures, deformed=run.recipe.deformable.enabled),
        recipe=run.recipe,
        warnings=(*run.pair.warnings, *run.warnings),
        decisions=tuple(run.decisions),
        curves=run.curves,
        timings=run.monitor.timings,
        provenance=provenance_of(fixed, moving, run.device, seed, landmarks=run.landmarks, labels=run.labels, poll=poll)
        | run.provenance,
        uncertainty=run.maps.get(UNCERTAINTY),
    )


def _finite_original(side: Prepared) -> Image:
    """Return the original voxels; NaN and infinite ones, which interpolation would spread, as the smallest value."""
    original = side.original
    if original.array.dtype.kind != "f" or np.isfinite(original.array).all():
        return original
    lowest = original.array[np.isfinite(original.array)].min()
    return original.with_array(np.where(np.isfinite(original.array), original.array, lowest))
