"""Measures of one frame in the reference's foreground: likeness, motion, volume change, strain, folds, inverse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation import InverseConsistency, digital_folds, ncc
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.monitoring import Poll
from DeepRegLib.result import Verdict
from DeepRegLib.series.frames import Frame
from DeepRegLib.series.members import Reference
from DeepRegLib.series.result import FrameRow
from DeepRegLib.series.stores import Found
from DeepRegLib.transforms import (
    LinearTransform,
    Transform,
    apply_to_image,
    displacement_gradient,
    displacement_on_grid,
)
from DeepRegLib.verdict import COARSE_INVERSE_MM, inexact_inverse, with_doubt

SAMPLED_POINTS = 2000
# Maps are measured on a grid of about so many voxels: displacements are smooth.
MAP_VOXELS = 300_000


def points_inside(foreground: Image, seed: int) -> NDArray[np.float64]:
    """Return some points of the foreground, ``(n, 3)``, LPS mm."""
    inside = np.argwhere(foreground.array)[:, ::-1]
    chosen = np.random.default_rng(seed).permutation(len(inside))[:SAMPLED_POINTS]
    return foreground.geometry.to_world(inside[np.sort(chosen)])


def map_grid(geometry: Geometry) -> Geometry:
    """Return a grid of the same extent on which maps of smooth quantities are measured."""
    step = (float(np.prod(geometry.extent)) / MAP_VOXELS) ** (1 / 3)
    return geometry.resized(np.maximum(np.full(3, step), geometry.spacing))


def jacobian_and_strain(
    transform: Transform, grid: Geometry, poll: Poll
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return det F and the largest principal Green-Lagrange strain, (F'F - 1) / 2, on a grid, each ``(k, j, i)``."""
    gradient = displacement_gradient(displacement_on_grid(transform, grid, poll=poll), grid) + np.eye(3)
    poll()
    determinant = np.linalg.det(gradient)
    stretch = np.linalg.eigvalsh(np.swapaxes(gradient, -1, -2) @ gradient)[..., -1]
    return determinant.astype(np.float32), ((stretch - 1) / 2).astype(np.float32)


def foreground_on(foreground: Image, grid: Geometry) -> NDArray[np.bool_]:
    """Return the foreground at the nearest voxels of another grid; everywhere if there is nothing of it."""
    inside = resample(foreground, grid, interpolation="nearest").array.astype(np.bool_)
    return inside if inside.any() else np.ones_like(inside)


@dataclass(frozen=True, eq=False)
class Delivered:
    """What a frame is delivered with.

    Parameters
    ----------
    transform
        Reference points to its points.
    inverse_folds
        Voxels of its grid where the inverse folds.
    consistency
        How exact the inverse is.
    bridged
        Whether they are those of its neighbours in time.
    """

    transform: Transform
    inverse_folds: int
    consistency: InverseConsistency
    bridged: bool


def frame_row(
    index: int,
    frame: Frame,
    image: Image,
    found: Found,
    anchor: Reference,
    delivered: Delivered,
    points: NDArray[np.float64],
    poll: Poll,
) -> FrameRow:
    """Measure one frame.

    Parameters
    ----------
    index, frame, image, found
        Which, what it shows, and what its registration found.
    anchor
        The reference.
    delivered
        Its transforms.
    points
        Of the foreground, ``(n, 3)``.
    poll
        May raise to stop.
    """
    original, foreground = anchor.scan.side.original, anchor.foreground
    transform = delivered.transform
    still = LinearTransform.identity()
    likeness = [
        ncc(original, apply_to_image(each, image, original.geometry, poll=poll), foreground)
        for each in (still, transform)
    ]
    moved = np.linalg.norm(transform.apply_to_points(points) - points, axis=-1)
    grid = map_grid(original.geometry)
    determinant, strain = jacobian_and_strain(transform, grid, poll)
    inside = foreground_on(foreground, grid)
    folds = digital_folds(transform, original.geometry)
    return FrameRow(
        index=index,
        name=frame.name,
        time=frame.time,
        verdict=_judged(found, folds, delivered),
        bridged=delivered.bridged,
        ncc_before=likeness[0],
        ncc_after=likeness[1],
        motion_mean=float(moved.mean()),
        motion_p95=float(np.percentile(moved, 95)),
        motion_max=float(moved.max()),
        jacobian_min=float(determinant[inside].min()),
        jacobian_mean=float(determinant[inside].mean()),
        jacobian_max=float(determinant[inside].max()),
        strain=float(strain[inside].mean()),
        folds=folds,
        inverse_folds=delivered.inverse_folds,
        inverse_error=delivered.consistency.mean,
        seconds=found.seconds,
    )


def _judged(found: Found, folds: int, delivered: Delivered) -> Verdict:
    """Judge a frame: what its registration found, and what is delivered."""
    verdict = found.verdict
    if delivered.consistency.p99 > COARSE_INVERSE_MM:
        verdict = with_doubt(verdict, inexact_inverse(delivered.consistency.p99))
    if delivered.inverse_folds:
        verdict = with_doubt(verdict, f"The inverse folds at {delivered.inverse_folds} voxels of the frame.")
    return with_doubt(verdict, f"The field folds at {folds} voxels.") if folds else verdict
