"""Whether the other side would fit better: a pose beside the best pose of the mirrored scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation.evidence import Compared, Evidence
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.linear import refine_poses
from DeepRegLib.optimization.working import WorkingImage

REFINED = 3  # reflections of the pose, those with most information
ITERATIONS = 15
FIRST_STEP = 0.5
LEAST_SEEN = 0.5
LEAST = 1e-3


@dataclass(frozen=True)
class OtherSide:
    """What the mirrored scan shows at its best pose, over what the scan itself shows: above 1, the other side fits.

    Parameters
    ----------
    information, edges
        Ratios of what `Evidence` calls so.
    """

    information: float
    edges: float


def other_side(
    pair: Compared,
    small: tuple[WorkingImage, WorkingImage],
    pose: NDArray[np.float64],
    *,
    model: str = "rigid",
    poll: Poll = never_cancel,
) -> OtherSide:
    """Compare a pose with the best poses that mirror one of the scans.

    Left and right of a body look alike: a mirrored scan fits well, but the scan that is not mirrored fits better. Both
    are refined alike, on one coarse grid.

    Parameters
    ----------
    pair
        Both images.
    small
        Fixed and moving on coarser grids, on which poses are refined.
    pose
        World matrix, fixed to moving.
    model
        As what poses are refined.
    poll
        Called now and then; may raise to stop.
    """
    reflections = _reflections(pair, small[0], pose)
    found = pair.at_each(reflections)
    best = np.argsort([-evidence.information for evidence in found], kind="stable")[:REFINED]

    def report(_iteration: int, _similarity: object) -> None:
        poll()

    fit = refine_poses(
        *small,
        [pose, *(reflections[n] for n in best)],
        model=model,
        similarity="mi",
        iterations=ITERATIONS,
        first_step=FIRST_STEP,
        on_step=report,
    )
    matrices = [each.matrix for each in fit.poses]
    own = [pose, *(matrix for matrix in matrices if np.linalg.det(matrix[:3, :3]) > 0)]
    mirrored = [matrix for matrix in matrices if np.linalg.det(matrix[:3, :3]) < 0]
    here, there = pair.at_each(own), pair.at_each(mirrored)
    enough = [evidence for evidence in there if evidence.seen >= LEAST_SEEN * here[0].seen]
    return OtherSide(
        _most(enough, "information") / max(_most(here, "information"), LEAST),
        _most(enough, "edges") / max(_most(here, "edges"), LEAST),
    )


def _most(found: list[Evidence], name: str) -> float:
    return max((getattr(evidence, name) for evidence in found), default=0.0)


def _reflections(pair: Compared, fixed: WorkingImage, pose: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """Return a pose after reflections of the fixed world, and before reflections of the moving one.

    Planes go through the fixed anatomy, across its principal axes and across the axes of either grid: a scan that was
    stored the wrong way round is mirrored across one of those.
    """
    points, centre = pair.places.points, pair.places.centre
    moved = pose[:3, :3] @ centre + pose[:3, 3]
    principal = np.linalg.eigh(np.cov((points - centre).T))[1].T
    of_fixed = [pose @ _mirror(centre, normal) for normal in (*principal, *fixed.geometry.axes.T)]
    return of_fixed + [_mirror(moved, normal) @ pose for normal in pair.moving.geometry.axes.T]


def _mirror(point: NDArray[np.float64], normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the reflection at the plane through a point across a unit normal, a world matrix."""
    matrix = np.eye(4)
    matrix[:3, :3] -= 2 * np.outer(normal, normal)
    matrix[:3, 3] = 2 * normal * (normal @ point)
    return matrix
