"""A registration from either side, and the way between the two that were found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.models import ModelBundle
from DeepRegLib.monitoring import Monitor
from DeepRegLib.preparation import PreparedPair
from DeepRegLib.request import Drivers
from DeepRegLib.stages.deformable import Deformed, to_voxels, without_folds
from DeepRegLib.stages.finding import find_field, find_pose
from DeepRegLib.stages.log import RunLog
from DeepRegLib.stages.run import Run, working_pair
from DeepRegLib.transforms import (
    DisplacementField,
    LinearTransform,
    Transform,
    compose,
    has_field,
    invert,
    linear_part,
    parts_of,
)
from DeepRegLib.transforms.both_ways import between, disagreement, linear_between

OTHER_WAY = "other way"
# Stages of the other way; it is neither inverted nor judged.
SEARCHED = ("search", "linear", "levels", "large motion", "model", "deformable")


def swapped(run: Run, drivers: Drivers, monitor: Monitor) -> tuple[Run, Drivers]:
    """Return the run, and what it is given, with the moving scan as the fixed one; it notes nothing for the result."""
    pair = PreparedPair(run.pair.moving, run.pair.fixed, (), ())
    given = Drivers(
        fixed_landmarks=drivers.moving_landmarks,
        moving_landmarks=drivers.fixed_landmarks,
        initial_transform=drivers.initial_transform and invert(drivers.initial_transform),
    )
    other = replace(
        run,
        pair=pair,
        monitor=monitor,
        plan=tuple(stage for stage in run.plan if stage in SEARCHED),
        recipe=replace(run.recipe, model=replace(run.recipe.model, uncertainty=False, explanation=False)),
        log=RunLog(),
        landmarks=run.landmarks and run.landmarks[::-1],
        labels=run.labels and run.labels[::-1],
        rigid_labels=None,
        searched=(),
    )
    return other, given


def with_other_way(run: Run, drivers: Drivers, bundle: ModelBundle | None, found: Deformed) -> Deformed:
    """Register from the other side too, and return the way between both.

    Parameters
    ----------
    run
        With the recipe as it was before any stage has decided for its side.
    drivers
        What the user knows.
    bundle
        The model to ask, or None.
    found
        From the fixed side.
    """
    stages = tuple(stage for stage in run.plan if stage in SEARCHED)
    with run.monitor.stage(OTHER_WAY):
        back = _found_by(*swapped(run, drivers, run.monitor.within(stages)), bundle)
        linear = linear_between(linear_part(found.transform), linear_part(back))
        if linear is None:
            run.log.add_warning(
                "Registered from either side the scans end half a turn apart, so one of the two is wrong: the way from "
                "the fixed scan was taken. Turn the moving scan roughly right first, or give landmarks."
            )
            return found
        if not has_field(found.transform) and not has_field(back):
            return Deformed(linear)
        return _between(run, found.transform, back, linear)


def _found_by(run: Run, drivers: Drivers, bundle: ModelBundle | None) -> Transform:
    linear, run = find_pose(run, working_pair(run), drivers)
    if "deformable" not in run.plan:
        return linear
    found, _ = find_field(run, linear, drivers.initial_transform, bundle)
    return found.transform


def _between(run: Run, there: Transform, back: Transform, linear: LinearTransform) -> Deformed:
    grid, poll = _grid_of(there) or run.pair.fixed.original.geometry, run.monitor.poll
    apart = disagreement(there, back, grid, poll=poll)
    _tell(run, apart, grid)
    way = compose(between(there, apart, grid, device=str(run.device), poll=poll), linear.inverse())
    return without_folds(run, to_voxels(run, way, grid), grid, linear)


def _grid_of(transform: Transform) -> Geometry | None:
    fields = [part.geometry for part in parts_of(transform) if isinstance(part, DisplacementField)]
    return fields[0] if fields else None


def _tell(run: Run, apart: NDArray[np.floating], grid: Geometry) -> None:
    """Note how far both ways disagree in the fixed anatomy."""
    inside = run.pair.fixed.foreground
    nodes = np.argwhere(inside.array)[:, ::-1]
    index = np.rint(grid.to_index(inside.geometry.to_world(nodes))).astype(np.int64)
    i, j, k = np.clip(index, 0, np.array(grid.size) - 1).T
    lengths = np.linalg.norm(apart[k, j, i], axis=-1)
    mean, p95 = float(lengths.mean()), float(np.percentile(lengths, 95))
    run.log.add_decision(
        f"Registered from either side: there and back points end {mean:.2g} mm from where they began on average, "
        f"{p95:.2g} mm at the 95th percentile; the way between the two was taken."
    )
