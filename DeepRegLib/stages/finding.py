"""The stages that find a transform, in their order: first the pose, then the field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.landmark_alignment import rigid_from_landmarks
from DeepRegLib.models import ModelBundle
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.recipes import VELOCITY
from DeepRegLib.request import Drivers
from DeepRegLib.stages.candidates import FieldFunction, is_within_reach
from DeepRegLib.stages.deformable import Deformed, deform, initial_field
from DeepRegLib.stages.initialisation import (
    Initialisation,
    from_coarse_levels,
    from_given,
    parametrised,
    with_contrasts_mapped_again,
    with_predicted_if_better,
    with_searched_if_better,
    within_reach,
)
from DeepRegLib.stages.large_motion import large_motion_field, looks_everywhere
from DeepRegLib.stages.levels import all_levels, finest_level, with_deformable_similarity, with_useful_levels
from DeepRegLib.stages.linear import neighbouring_poses, refine_linear, scanner_poses, searched_poses
from DeepRegLib.stages.model import is_worth_asking, model_field
from DeepRegLib.stages.pulls import warn_of_unmet_landmarks
from DeepRegLib.stages.run import Run, WorkingPair
from DeepRegLib.stages.velocity import deform_by_flow
from DeepRegLib.transforms import LinearTransform, Transform, linear_part

# Of the stage that searches for large motion: the coarse levels, which its result is compared with.
COARSE_SHARE = 0.15


def find_pose(run: Run, working: WorkingPair, drivers: Drivers) -> tuple[LinearTransform, Run]:
    """Find the pose: from what the user gives, or by a search; then refine it as far as the recipe wants."""
    found: list[NDArray[np.float64]] = []
    if drivers.initial_transform is not None:
        starts = [linear_part(drivers.initial_transform).matrix]
    elif drivers.landmarks is not None:
        starts = [rigid_from_landmarks(*drivers.landmarks)]
    elif "search" not in run.plan:
        starts = [np.eye(4)]
    else:
        with run.monitor.stage("search"):
            starts, found = scanner_poses(working), searched_poses(run, working)
            run = replace(run, searched=tuple(found))
    if "linear" not in run.plan:
        return LinearTransform((found or starts)[0]), run
    with run.monitor.stage("linear"):
        return refine_linear(run, working, neighbouring_poses(run, working, starts + found))


def find_field(
    run: Run, linear: LinearTransform, initial: Transform | None, bundle: ModelBundle | None
) -> tuple[Deformed, Run]:
    """Find the field, from one given, searched for or predicted, or from zero; decide the similarity."""
    with run.monitor.stage("levels"):
        run, finest = with_deformable_similarity(run, finest_level(run, linear))
        run = with_useful_levels(run, finest)
        levels: Sequence[Level] = all_levels(run, finest, linear)
    given = None if initial is None else parametrised(run, initial_field(run, linear, initial))
    start = Initialisation()
    searched: FieldFunction | None = None
    if "large motion" in run.plan:
        with run.monitor.stage("large motion"):
            start, searched = _searched(run, finest, levels)
    if bundle is not None:
        with run.monitor.stage("model"):
            if "large motion" not in run.plan:
                start = from_coarse_levels(run, levels)
            if is_worth_asking(run, bundle, start):
                start = with_predicted_if_better(run, levels, start, model_field(run, linear, bundle, searched))
    with run.monitor.stage("deformable"):
        if given is not None:
            levels, start = from_given(run, finest, levels, given)
        levels, start = with_contrasts_mapped_again(run, finest, levels, start)
        by_flow = run.recipe.deformable.parametrisation == VELOCITY
        deformed = (deform_by_flow if by_flow else deform)(run, levels, linear, start)
        warn_of_unmet_landmarks(run, deformed.transform, finest.fixed.geometry.spacing[0])
        return deformed, run


def _searched(run: Run, finest: Level, levels: Sequence[Level]) -> tuple[Initialisation, FieldFunction | None]:
    """Search for large motion where coarse levels do not rule it out; return the start, and what was found."""
    coarse = from_coarse_levels(run, levels, end=COARSE_SHARE)
    if coarse.level and is_within_reach(run, levels, coarse.level, coarse.field):
        return within_reach(coarse), None
    searched = large_motion_field(run, finest, begin=COARSE_SHARE)
    start = with_searched_if_better(run, levels, coarse, searched)
    return (within_reach(start) if looks_everywhere(run.recipe, finest) else start), searched
