"""The way of a registration, ordered here.

Prepare, search, linear, levels, large motion, model, deformable, inverse, judge, labels.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.correction import Correction, Improvement
from DeepRegLib.devices import choose_device, memory_errors_explained
from DeepRegLib.errors import InputError
from DeepRegLib.extras import with_driving_labels, with_extras
from DeepRegLib.image import Image, as_image
from DeepRegLib.judgement import measure, pose_standing
from DeepRegLib.labels import label_map
from DeepRegLib.masks import checked_mask
from DeepRegLib.monitoring import Cancel, Monitor, Progress
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.orientation import in_standard_order, standard_order
from DeepRegLib.planning import plan_of
from DeepRegLib.preparation import Prepared, PreparedScan, prepare_pair, prepare_scan
from DeepRegLib.provenance import provenance_of
from DeepRegLib.recipes import AUTO, VELOCITY, Recipe, load_recipe, with_model
from DeepRegLib.registration import Registration
from DeepRegLib.request import Drivers, Request
from DeepRegLib.result import StartMeasures, WorstPlace
from DeepRegLib.stages.correcting import Corrected, correct
from DeepRegLib.stages.deformable import Deformed
from DeepRegLib.stages.features import features_of, with_features
from DeepRegLib.stages.finding import find_field, find_pose
from DeepRegLib.stages.inverse import consistency, invert_well, is_exact
from DeepRegLib.stages.linear import with_linear_similarity
from DeepRegLib.stages.log import RunLog
from DeepRegLib.stages.model import UNCERTAINTY, model_of
from DeepRegLib.stages.run import Run, WorkingPair, working_pair
from DeepRegLib.transforms import (
    Transform,
    has_field,
    image_and_view,
    invert,
    linear_part,
)
from DeepRegLib.trust_map import trust_of
from DeepRegLib.verdict import verdict_on


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
    background: float | None = None,
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
    background
        Value of the warped image where the moving one was not scanned; None chooses
        (`DeepRegLib.transforms.background_value`).
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
    with memory_errors_explained(choose_device(device)):
        drivers = Drivers(
            fixed_mask=_read(fixed_mask),
            moving_mask=_read(moving_mask),
            sliding_mask=_read(sliding_mask),
            fixed_landmarks=fixed_landmarks,
            moving_landmarks=moving_landmarks,
            fixed_labels=_read(fixed_labels),
            moving_labels=_read(moving_labels),
            initial_transform=initial_transform,
            background=background,
        )
        chosen = with_model(load_recipe(recipe), model)
        request = Request(as_image(fixed), as_image(moving), chosen, drivers, device, seed)
    return run_request(request, progress=progress, cancel=cancel)


def run_request(request: Request, *, progress: Progress | None = None, cancel: Cancel | None = None) -> Registration:
    """Run a registration, and make what its `Extras` ask for; the rest is as in `register`."""
    device, plan = choose_device(request.device), plan_of(request)
    monitor = Monitor(plan, progress, cancel)
    with memory_errors_explained(device), torch.no_grad():
        run, working, start, found = _search(request, device, plan, monitor)
        with monitor.stage("inverse"):
            inverse = invert_well(run, found.transform, request.seed, found.inverse)
        with monitor.stage("judge"):
            result = _finish(run, request, start, found, inverse, (working.fixed, working.moving))
        result = with_driving_labels(result, request.drivers, monitor)
    with memory_errors_explained(torch.device("cpu")):
        return with_extras(result, request.extras, monitor)


def align(
    request: Request,
    fixed: PreparedScan | None = None,
    *,
    progress: Progress | None = None,
    cancel: Cancel | None = None,
) -> Registration:
    """Register for the transform, the warped image and the verdict alone, as the members of a group are.

    The transform is that of `run_request`. The inverse is solved once, no finer than the field; there is no trust map,
    no driving labels and no extras.

    Parameters
    ----------
    request
        What to register.
    fixed
        What `prepare_fixed` made of its fixed scan; None makes it here.
    progress, cancel
        As in `register`.
    """
    device, plan = choose_device(request.device), plan_of(request)
    monitor = Monitor(plan, progress, cancel)
    with memory_errors_explained(device), torch.no_grad():
        run, working, start, found = _search(request, device, plan, monitor, fixed)
        with monitor.stage("inverse"):
            known = found.inverse
            inverse = known or invert(found.transform, device=str(device), poll=monitor.poll)
        with monitor.stage("judge"):
            return _finish(run, request, start, found, inverse, (working.fixed, working.moving), mapped=False)


def prepare_fixed(request: Request, *, cancel: Cancel | None = None) -> PreparedScan:
    """Prepare the fixed scan of a request once, for `align` with several moving ones.

    Raises
    ------
    InputError
        If it is empty, constant or without a finite voxel, or its mask is empty.
    """
    poll = Monitor(("prepare",), None, cancel).poll
    mask = request.drivers.fixed_mask and in_standard_order(request.drivers.fixed_mask)
    return prepare_scan(in_standard_order(request.fixed), request.recipe.prepare, mask, poll=poll)


def _search(
    request: Request,
    device: torch.device,
    plan: tuple[str, ...],
    monitor: Monitor,
    fixed: PreparedScan | None = None,
) -> tuple[Run, WorkingPair, Transform, Deformed]:
    """Find the transform: the run, its working pair, what the deformable stage began from, and what was found."""
    recipe, drivers = request.recipe, request.drivers
    initial = drivers.initial_transform
    bundle = model_of(recipe, has_field=initial is not None and has_field(initial))
    features = features_of(recipe)
    with monitor.stage("prepare"):
        run = _prepared(request, device, plan, monitor, fixed)
        if features is not None:
            run = with_features(run, features)
        run = with_linear_similarity(run)
        working = working_pair(run)
    linear, run = find_pose(run, working, drivers)
    start = initial if initial is not None and has_field(initial) else linear
    found = Deformed(start)
    if "deformable" in plan:
        found, run = find_field(run, linear, initial, bundle)
    return run, working, start, found


def improve(
    improvement: Improvement, *, progress: Progress | None = None, cancel: Cancel | None = None
) -> Registration:
    """Correct a result near a few places, by what a user drags there and by the images.

    A place q to which anatomy is dragged from p is taken to where the earlier transform took p, as nearly as the images
    and the stiffness of the field allow. Beyond a radius about the dragged places, which is noted among the decisions,
    nothing changes. Only the levels are solved that so long a drag needs, and only there, so that it takes a fraction
    of a registration.

    Parameters
    ----------
    improvement
        The result and what is dragged.
    progress, cancel
        As in `register`.

    Returns
    -------
    Registration
        As of a registration, with all that the request's extras ask for.

    Raises
    ------
    InputError
        If a place lies outside of the fixed anatomy, or the request cannot be used.
    CancelledError
        If `cancel` returned true.
    """
    request, correction = improvement.request, improvement.correction
    features = features_of(request.recipe)
    device = choose_device(request.device)
    labels = ("labels",) if request.drivers.moving_labels is not None else ()
    plan = ("prepare", "correction", "inverse", "judge", *labels)
    monitor = Monitor(plan, progress, cancel)
    with memory_errors_explained(device), torch.no_grad():
        with monitor.stage("prepare"):
            run = _prepared(request, device, plan, monitor)
            if features is not None:
                run = with_features(run, features)
        with monitor.stage("correction"):
            corrected = correct(run, improvement.transform, improvement.inverse, correction)
            decisions = [*improvement.decisions, _told(correction, corrected)]
            run = replace(run, log=run.log.with_decisions(decisions))
            if not corrected.met:
                run.log.add_warning(
                    f"A dragged place stays {corrected.left:.1f} mm from where it was dragged to: the images or the "
                    "stiffness of the field hold it back. Drag it in smaller steps, or check the line."
                )
            run.log.add_provenance("corrections", [_listed(each) for each in (*improvement.made, correction)])
        with monitor.stage("inverse"):
            inverse = corrected.inverse
            if not is_exact(consistency(run, corrected.transform, inverse, request.seed)):
                inverse = invert_well(run, corrected.transform, request.seed)
        with monitor.stage("judge"):
            start = linear_part(improvement.transform)
            result = _finish(run, request, start, Deformed(corrected.transform), inverse, at_start=improvement.at_start)
        result = with_driving_labels(result, request.drivers, monitor)
    with memory_errors_explained(torch.device("cpu")):
        return with_extras(result, request.extras, monitor)


def _told(correction: Correction, corrected: Corrected) -> str:
    return (
        f"Corrected by hand: {len(correction.shown)} places dragged, by {correction.longest:.1f} mm at most, and met "
        f"to within {corrected.left:.1f} mm; nothing changed more than {corrected.reach:.0f} mm away from them."
    )


def _listed(correction: Correction) -> dict[str, list[list[float]]]:
    return {"shown": correction.shown.tolist(), "wanted": correction.wanted.tolist()}


def _read(source: Image | str | Path | None) -> Image | None:
    return None if source is None else as_image(source)


def _prepared(
    request: Request,
    device: torch.device,
    plan: tuple[str, ...],
    monitor: Monitor,
    prepared_fixed: PreparedScan | None = None,
) -> Run:
    """Check what the voxels hold, and make both images comparable.

    All that a run is given has its axes in standard order, so that how a scan is stored changes nothing.
    """
    recipe, drivers = request.recipe, request.drivers
    fixed, moving = in_standard_order(request.fixed), in_standard_order(request.moving)
    labels = [
        None if each is None else label_map(in_standard_order(each))
        for each in (drivers.fixed_labels, drivers.moving_labels)
    ]
    masks = [None if each is None else in_standard_order(each) for each in (drivers.fixed_mask, drivers.moving_mask)]
    pair = prepare_pair(fixed, moving, recipe.prepare, *masks, prepared_fixed=prepared_fixed, poll=monitor.poll)
    return Run(
        pair,
        recipe,
        device,
        monitor,
        plan,
        RunLog(list(pair.decisions), list(pair.warnings)),
        landmarks=drivers.landmarks,
        labels=None if labels[0] is None or labels[1] is None else (labels[0], labels[1]),
        sliding_mask=_sliding_mask(fixed, drivers.sliding_mask and in_standard_order(drivers.sliding_mask), recipe),
    )


def _sliding_mask(fixed: Image, mask: Image | None, recipe: Recipe) -> Image | None:
    """Return the checked mask as bool."""
    if mask is None:
        return None
    if not recipe.deformable.enabled or recipe.deformable.parametrisation == VELOCITY:
        found = "a velocity" if recipe.deformable.enabled else "no deformable stage"
        raise InputError(
            f"The recipe {recipe.name} has {found}, and only a displacement can slide.",
            "Take a recipe with a deformable stage that seeks a displacement, or leave out the sliding mask.",
        )
    inside = checked_mask(fixed, mask)
    if inside.all():
        raise InputError(f"The mask {mask.name} fills the image.", "Draw it over the organ that slides, and no more.")
    return mask.with_array(inside)


def _finish(
    run: Run,
    request: Request,
    start: Transform,
    found: Deformed,
    inverse: Transform,
    working: tuple[WorkingImage, WorkingImage] | None = None,
    *,
    mapped: bool = True,
    at_start: StartMeasures | None = None,
) -> Registration:
    """Warp and judge; `mapped` asks for the trust map too, `at_start` is what an earlier result measured."""
    transform, poll = found.transform, run.monitor.poll
    scan, background = _finite_original(run.pair.moving), request.drivers.background
    standard = run.pair.fixed.original.geometry
    warped, seen = image_and_view(transform, scan, standard, background=background, poll=poll)
    measures, aligned = measure(
        run.pair,
        transform,
        inverse,
        run.landmarks,
        start=start,
        seen=seen,
        at_start=at_start or pose_standing(run.pair, start, run.searched, working, poll=poll),
        jacobian=found.jacobian,
        seed=request.seed,
        poll=poll,
    )
    run.monitor.step(0.7)
    trust: Image | None = None
    places: tuple[WorstPlace, ...] = ()
    if mapped:
        trust, places = trust_of(
            aligned.fixed,
            aligned.warped,
            aligned.known,
            aligned.mask,
            transform,
            inverse,
            run.pair.fixed.foreground,
            poll=poll,
        )
    as_given = functools.partial(standard_order(request.fixed.geometry).back, geometry=request.fixed.geometry)
    uncertainty = run.log.maps.get(UNCERTAINTY)
    return Registration(
        fixed=request.fixed,
        moving=request.moving,
        transform=transform,
        inverse=inverse,
        warped=as_given(warped),
        field_of_view=as_given(seen),
        fixed_foreground=as_given(run.pair.fixed.foreground),
        measures=measures,
        verdict=verdict_on(measures, deformed=run.recipe.deformable.enabled),
        recipe=run.recipe,
        warnings=tuple(run.log.warnings),
        decisions=tuple(run.log.decisions),
        curves=run.log.curves,
        timings=run.monitor.timings,
        provenance=provenance_of(request, run.device, poll=poll) | run.log.provenance,
        uncertainty=uncertainty and as_given(uncertainty),
        trust=trust and as_given(trust),
        worst_places=places,
    )


def _finite_original(side: Prepared) -> Image:
    """Return the original voxels; NaN and infinite ones, which interpolation would spread, as the smallest value."""
    original = side.original
    if original.array.dtype.kind != "f" or np.isfinite(original.array).all():
        return original
    lowest = original.array[np.isfinite(original.array)].min()
    return original.with_array(np.where(np.isfinite(original.array), original.array, lowest))
