"""A pose of an ultrasound compared with others by LC2: speckle shares neither edges nor values with the other scan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation.evidence import Evidence, Places, displacements
from DeepRegLib.evaluation.pose_comparison import (
    CLOSE,
    NEARBY,
    OTHERS_ITERATIONS,
    OTHERS_STEP,
    SAME_POSE,
    PoseComparison,
    mean_distance,
    small_images,
)
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.linear import refine_poses, score_poses
from DeepRegLib.optimization.working import WorkingImage, coarser

LC2 = "lc2"
VOXELS = 120_000
MOST_PLACES = 4000


def compare_explained(
    fixed: WorkingImage, moving: WorkingImage, pose: NDArray[np.float64], *, poll: Poll = never_cancel
) -> PoseComparison:
    """Compare how much of an ultrasound is explained at a pose with how much is at others.

    Parameters
    ----------
    fixed
        The ultrasound; its weight is its cone.
    moving
        The scan that explains it.
    pose
        World matrix, fixed to moving.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    PoseComparison
        `Evidence.information` and `Evidence.edges` are both the share explained, 0 to 1. Elsewhere are the poses that
        displacements of this one by half the cone's radius lead to.
    """
    places = _places(fixed)
    step = max(fixed.geometry.spacing[0], (float(np.prod(fixed.geometry.extent)) / VOXELS) ** (1 / 3))
    pair = coarser(fixed, fixed.geometry.resized(step)), _no_finer(moving, step)
    (here,) = _explained(pair, [pose])
    near = []
    for share in (CLOSE, *NEARBY):
        near.append(_explained(pair, [pose @ displaced for displaced in displacements(places, [share])]))
        poll()
    others = [pose @ displaced for displaced in displacements(places, NEARBY[-1:])]
    found = refine_poses(
        *small_images(*pair),
        others,
        model="rigid",
        similarity=LC2,
        iterations=OTHERS_ITERATIONS,
        first_step=OTHERS_STEP,
        on_step=lambda _iteration, _similarity: poll(),
    )
    apart = [(other.matrix, mean_distance(places.points, pose, other.matrix)) for other in found.poses]
    elsewhere = [(matrix, far) for matrix, far in apart if far > SAME_POSE * places.radius]
    values = _explained(pair, [matrix for matrix, _ in elsewhere])
    best = int(np.argmax(values)) if values else 0
    return PoseComparison(
        _evidence(here),
        _evidence(max(near[0])),
        _evidence(max(near[1] + near[2])),
        _evidence(values[best] if values else 0.0),
        elsewhere[best][1] if values else 0.0,
        by_lc2=True,
    )


def _explained(pair: tuple[WorkingImage, WorkingImage], poses: Sequence[NDArray[np.float64]]) -> list[float]:
    return [float(value) for value in score_poses(*pair, poses, LC2)] if poses else []


def _evidence(explained: float) -> Evidence:
    return Evidence(edges=explained, information=explained, correlation=0.0, seen=1.0)


def _places(fixed: WorkingImage) -> Places:
    index = np.argwhere(fixed.weight.cpu().numpy() > 0.5)[:, ::-1]
    points = fixed.geometry.to_world(index[:: 1 + len(index) // MOST_PLACES])
    nothing = np.zeros(0, np.float32)
    return Places(points, nothing, nothing)


def _no_finer(image: WorkingImage, step: float) -> WorkingImage:
    return coarser(image, image.geometry.resized(step)) if step > image.geometry.spacing[0] else image
