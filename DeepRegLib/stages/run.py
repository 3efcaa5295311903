"""What every stage of a run is given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, box_around
from DeepRegLib.monitoring import Monitor
from DeepRegLib.networks import Anatomix
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.preparation import PreparedPair, working_image
from DeepRegLib.recipes import Recipe
from DeepRegLib.stages.log import RunLog
from DeepRegLib.transforms import Transform

MARGIN_VOXELS = 4
REPORT_EVERY = 10


@dataclass(frozen=True, eq=False)
class Run:
    """One registration under way.

    Parameters
    ----------
    pair
        The prepared images.
    recipe
        As far as decided: stages replace ``"auto"`` by their choice (`with_recipe`).
    device
        Where tensors live.
    monitor
        Progress and cancellation.
    plan
        The stages that run, in order.
    log
        What stages note for the result; nothing else of a run changes.
    landmarks
        Fixed and moving points ``(n, 3)``, LPS mm, that belong together, or None.
    labels
        Fixed and moving label maps of whole numbers, each on its image's grid, or None.
    rigid_labels
        Label map on the fixed grid whose segments do not bend, or None.
    sliding_mask
        Bool, on the fixed grid: the organ along whose surface the field may slide.
    describing
        Gives the features of an image, where the recipe compares those.
    searched
        The poses an exhaustive search found, world matrices ``(4, 4)`` from fixed to moving.
    """

    pair: PreparedPair
    recipe: Recipe
    device: torch.device
    monitor: Monitor
    plan: tuple[str, ...] = ()
    log: RunLog = field(default_factory=RunLog)
    landmarks: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    labels: tuple[Image, Image] | None = None
    rigid_labels: Image | None = None
    sliding_mask: Image | None = None
    describing: Anatomix | None = None
    searched: tuple[NDArray[np.float64], ...] = ()

    def with_recipe(self, recipe: Recipe) -> Run:
        """Return the same run with a recipe in which something was decided."""
        return replace(self, recipe=recipe)

    def reporter(self, part: int, parts: int, iterations: int) -> Callable[[int, Tensor], None]:
        """Return what an optimiser calls after each iteration of one of several parts of a stage.

        The similarity is fetched from the device only now and then, since that makes the host wait.
        """

        def report(iteration: int, similarity: Tensor) -> None:
            if iteration % REPORT_EVERY:
                self.monitor.poll()
            else:
                self.monitor.step((part + iteration / max(iterations, 1)) / parts, float(similarity.max()))

        return report


@dataclass(frozen=True, eq=False)
class WorkingPair:
    """Both images, each on its own isotropic grid of the linear stage's finest resolution."""

    fixed: WorkingImage
    moving: WorkingImage


def working_pair(run: Run) -> WorkingPair:
    """Bring both prepared images to the finest resolution of the recipe's linear stage."""
    voxels = run.recipe.linear.voxels
    # A cone may be a small part of its volume.
    whole, cone = run.pair.fixed.original.geometry, run.recipe.prepare.ultrasound
    grid = working_grid(box_around(run.pair.fixed.known) if cone else whole, voxels, MARGIN_VOXELS)
    moving = run.pair.moving.original.geometry
    # A moving scan of a larger region may take up to twice the voxels before it gets coarser than the fixed one.
    step = max(grid.spacing[0], (float(np.prod(moving.extent)) / (2 * voxels)) ** (1 / 3))
    return WorkingPair(
        working_image(run.pair.fixed, grid, run.device, poll=run.monitor.poll),
        working_image(run.pair.moving, moving.resized(step), run.device, poll=run.monitor.poll),
    )


def aligned_level(run: Run, geometry: Geometry, transform: Transform) -> Level:
    """Return both images on an isotropic grid in the fixed world, the moving one aligned by a transform."""
    poll = run.monitor.poll
    return Level(
        working_image(run.pair.fixed, geometry, run.device, poll=poll),
        working_image(run.pair.moving, geometry, run.device, transform, poll=poll),
    )


def working_grid(geometry: Geometry, voxels: int, margin: int = 0) -> Geometry:
    """Return the finest isotropic grid around `geometry` with at most `voxels` voxels.

    Parameters
    ----------
    geometry
        The grid to cover; the result is never finer than its finest spacing.
    voxels
        Largest number of voxels, the margin included.
    margin
        Voxels added on every side, in which a field can fade out past the border.
    """
    step = min(geometry.spacing)
    while True:
        grid = geometry.resized(step, margin * step)
        excess = float(np.prod(grid.size)) / voxels
        if excess <= 1:
            return grid
        step *= max(excess ** (1 / 3), 1.002)
