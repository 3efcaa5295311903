"""A pose compared with its neighbours, and with the best other poses that an exhaustive search finds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation.evidence import Compared, Evidence, displacements
from DeepRegLib.evaluation.mirrored import OtherSide
from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.optimization.global_search import rough_poses
from DeepRegLib.optimization.linear import refine_poses
from DeepRegLib.optimization.rotations import rotation_grid
from DeepRegLib.optimization.working import WorkingImage, coarser

# Coarse: another pose need not be exact to show that one is wrong, and this search is most of the cost where none ran.
SEARCH_ANGLE = 40.0
SEARCHED = 4  # poses by intensities, and as many by edges
OTHERS_VOXELS = 10_000
OTHERS_ITERATIONS = 15
OTHERS_STEP = 0.5
# In shares of the anatomy's radius: a head's is 80 mm, so 20 and 40 mm along each axis and as long arcs about it.
NEARBY = (0.25, 0.5)
CLOSE = 0.1
# What lies no further away is the same pose, found again by a rough search; if it agrees clearly better, that much is
# enough to be another pose.
SAME_POSE, MOVED_POSE = 0.2, 0.06
CLEARLY_BETTER = 1.1
# Of what the pose itself shows: a pose that shows less does not count, for little agrees by chance.
LEAST_SEEN = 0.5


@dataclass(frozen=True)
class PoseComparison:
    """What speaks for a pose, beside the best of what speaks for others; each number on its own.

    Parameters
    ----------
    here
        At the pose.
    close
        At displacements of it by a tenth of the anatomy's radius.
    nearby
        At displacements of it by a quarter and a half of that.
    elsewhere
        At the poses of a search that differ from it.
    distance
        How far the pose with most information elsewhere moves the fixed places from where they come to lie, mm; 0
        where there is none.
    other_side
        How the mirrored scan compares; None where that was not asked.
    by_lc2
        Whether information and edges are both the share of an ultrasound that the other scan explains.
    """

    here: Evidence
    close: Evidence
    nearby: Evidence
    elsewhere: Evidence
    distance: float
    other_side: OtherSide | None = None
    by_lc2: bool = False


def compare_pose(
    pair: Compared, pose: NDArray[np.float64], others: Sequence[NDArray[np.float64]], *, poll: Poll = never_cancel
) -> PoseComparison:
    """Compare what speaks for a pose with what speaks for others.

    Parameters
    ----------
    pair
        Both images.
    pose, others
        World matrices, fixed to moving.
    poll
        Called now and then; may raise to stop.
    """
    here = pair.at(pose)
    close, nearby = (_displaced(pair, pose, shares, here, poll) for shares in ((CLOSE,), NEARBY))
    distances = [mean_distance(pair.places.points, pose, other) for other in others]
    found = list(zip(pair.at_each(others), distances, strict=True))
    poll()
    elsewhere = [(evidence, far) for evidence, far in found if _is_other(here, evidence, far / pair.places.radius)]
    best = max(elsewhere, key=lambda item: item[0].information, default=(None, 0.0))
    return PoseComparison(
        here,
        _best(close),
        _best(nearby),
        _best([evidence for evidence, _ in elsewhere]),
        best[1],
    )


def small_images(fixed: WorkingImage, moving: WorkingImage) -> tuple[WorkingImage, WorkingImage]:
    """Return both images on grids of `OTHERS_VOXELS` voxels at most, the moving one's no finer than the fixed one's."""
    first = _shrunk(fixed, 0.0)
    return first, _shrunk(moving, first.geometry.spacing[0])


def find_other_poses(
    fixed: WorkingImage,
    moving: WorkingImage,
    small: tuple[WorkingImage, WorkingImage],
    found: Sequence[NDArray[np.float64]],
    *,
    model: str = "rigid",
    poll: Poll = never_cancel,
) -> list[NDArray[np.float64]]:
    """Return poses that a pair of images may have beside the one it was given.

    Parameters
    ----------
    fixed, moving
        Working images.
    small
        Both on coarser grids, see `small_images`.
    found
        Poses of an exhaustive search, best first of each kind; empty searches here.
    model
        As what they are refined: ``"rigid"`` or ``"affine"``, as the pose that they are compared with.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    list of ndarray
        World matrices, fixed to moving, refined a little.
    """
    poses = list(found) or _searched(fixed, moving, poll)

    def report(_iteration: int, _similarity: object) -> None:
        poll()

    fit = refine_poses(
        *small,
        poses,
        model=model,
        similarity="mi",
        iterations=OTHERS_ITERATIONS,
        first_step=OTHERS_STEP,
        on_step=report,
    )
    return [pose.matrix for pose in fit.poses]


def mean_distance(points: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return how far apart two world matrices take points ``(n, 3)``, on average, in mm."""
    difference = one - other
    return float(np.linalg.norm(points @ difference[:3, :3].T + difference[:3, 3], axis=1).mean())


def _displaced(
    pair: Compared, pose: NDArray[np.float64], shares: Sequence[float], here: Evidence, poll: Poll
) -> list[Evidence]:
    """Return what speaks for displacements of a pose that show enough."""
    found = []
    for share in shares:
        found += pair.at_each([pose @ displaced for displaced in displacements(pair.places, [share])])
        poll()
    return [evidence for evidence in found if evidence.seen >= LEAST_SEEN * here.seen]


def _is_other(here: Evidence, evidence: Evidence, apart: float) -> bool:
    """Tell whether a pose that lies some share of the anatomy's radius apart is another one, and shows enough."""
    if evidence.seen < LEAST_SEEN * here.seen:
        return False
    clearly_better = evidence.information > CLEARLY_BETTER * here.information
    return apart > SAME_POSE or (apart > MOVED_POSE and clearly_better)


def _searched(fixed: WorkingImage, moving: WorkingImage, poll: Poll) -> list[NDArray[np.float64]]:
    found = []
    for edges in (False, True):
        poses = rough_poses(
            fixed,
            moving,
            rotation_grid(SEARCH_ANGLE),
            count=SEARCHED,
            edges=edges,
            on_step=lambda _done: poll(),
        )
        found += [pose.matrix for pose in poses]
    return found


def _shrunk(image: WorkingImage, finest: float) -> WorkingImage:
    """Return an image of `OTHERS_VOXELS` voxels at most, none of them smaller than `finest` mm."""
    grid: Geometry = image.geometry
    step = max(finest, (float(np.prod(grid.extent)) / OTHERS_VOXELS) ** (1 / 3))
    return coarser(image, grid.resized(step)) if step > grid.spacing[0] else image


def _best(found: Sequence[Evidence]) -> Evidence:
    return Evidence(
        edges=max((evidence.edges for evidence in found), default=0.0),
        information=max((evidence.information for evidence in found), default=0.0),
        correlation=max((evidence.correlation for evidence in found), default=0.0),
        seen=max((evidence.seen for evidence in found), default=0.0),
    )
