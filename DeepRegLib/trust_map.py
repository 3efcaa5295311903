"""Where a result can be trusted: a map of the error to be expected, and the places to look at first."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.evaluation.surroundings import Apart
from DeepRegLib.evaluation.trust import (
    LARGEST_STRETCH,
    Place,
    Signs,
    expected_error,
    window_signs,
    worst_places,
)
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.preprocessing import smooth_and_resample
from DeepRegLib.result import WorstPlace
from DeepRegLib.transforms import Transform, has_field, jacobian_determinant, linear_part
from DeepRegLib.transforms.inversion import inverse_error

# A head's anatomy has voxels of 4 mm then, and windows of 20 mm.
TRUST_VOXELS = 125_000
# To a tenth of a millimetre: finer steps say nothing and take six times the disk.
STEP_MM = 0.1
NOTABLE_SHIFT = 1.0  # of a voxel of the map
NOTABLE_STRETCH = math.log(2.5)
NOTABLE_UNLIKENESS = 0.8
NOTABLE_INVERSE_MM = 0.5
NOTABLE_ASTRAY_MM = 3.0


def trust_of(
    fixed: Image,
    warped: Image,
    known: Image,
    mask: Image,
    transform: Transform,
    inverse: Transform,
    foreground: Image,
    *,
    apart: Apart | None = None,
    poll: Poll = never_cancel,
) -> tuple[Image, tuple[WorstPlace, ...]]:
    """Return the error to be expected at each place, and the three worst places.

    Parameters
    ----------
    fixed, warped, known, mask
        Intensities, where both images were scanned, and the part of the fixed foreground inside that, all on one grid
        of cubic voxels.
    transform, inverse
        The result.
    foreground
        The fixed foreground on the fixed grid, on which the map is wanted.
    apart
        How the field differs from what its surroundings do, on the grid of `coarse_grid`; None where there is no field.
    poll
        Called now and then; may raise to stop.

    Returns
    -------
    Image, tuple of WorstPlace
        float32, mm, in steps of a tenth, 0 outside the foreground; the places worst first, none where the scans share
        no anatomy.
    """
    grid = coarse_grid(fixed.geometry)
    signs, inside = signs_of(fixed, warped, known, mask, transform, inverse, grid, apart=apart, poll=poll)
    expected = expected_error(signs, grid.spacing[0])
    places = worst_places(expected, signs, inside, grid)
    # Where the coarse grid ends, the worst is to be expected, and what resamples takes the smallest value there.
    fine = smooth_and_resample(Image(-expected, grid, "trust"), foreground.geometry, poll=poll)
    steps = np.rint(np.multiply(fine.array, -1 / STEP_MM)) * np.float32(STEP_MM)
    shown = np.where(foreground.array, np.maximum(steps, np.float32(STEP_MM)), np.float32(0))
    return (
        Image(shown.astype(np.float32), foreground.geometry, "trust"),
        tuple(WorstPlace(place.position, place.expected, what_is_wrong(place, grid.spacing[0])) for place in places),
    )


def coarse_grid(geometry: Geometry) -> Geometry:
    """Return the grid of a map, `TRUST_VOXELS` voxels at most and none finer than those given."""
    step = (float(np.prod(geometry.extent)) / TRUST_VOXELS) ** (1 / 3)
    return geometry.resized(max(step, *geometry.spacing))


def signs_of(
    fixed: Image,
    warped: Image,
    known: Image,
    mask: Image,
    transform: Transform,
    inverse: Transform,
    grid: Geometry,
    *,
    apart: Apart | None = None,
    poll: Poll = never_cancel,
) -> tuple[Signs, NDArray[np.bool_]]:
    """Return what is seen about each voxel of a grid, and which voxels lie in the mask; parameters as of `trust_of`."""
    first, second = (
        (smooth_and_resample(image, grid, poll=poll) for image in (fixed, warped))
        if apart is None
        else (apart.fixed, apart.warped)
    )
    seen, inside = (resample(each, grid, interpolation="nearest", poll=poll) for each in (known, mask))
    unlike, shift = window_signs(first, second, seen, poll=poll)
    stretch = np.zeros(grid.shape, dtype=np.float32)
    if has_field(transform):
        linear = abs(float(np.linalg.det(linear_part(transform).matrix[:3, :3])))
        determinant = np.divide(jacobian_determinant(transform, grid, poll=poll).array, linear)
        stretch = np.minimum(np.abs(np.log(np.maximum(determinant, np.exp(-LARGEST_STRETCH)))), LARGEST_STRETCH)
    chosen = inside.array.astype(np.bool_)
    missed = np.zeros(grid.shape, dtype=np.float32)
    poll()
    if chosen.any():
        missed[chosen] = inverse_error(transform, inverse, grid.to_world(np.argwhere(chosen)[:, ::-1]))
    astray = np.zeros(grid.shape, np.float32) if apart is None else apart.doubt * apart.millimetres
    return Signs(unlike, shift, stretch.astype(np.float32), missed, astray), chosen


def what_is_wrong(place: Place, spacing: float) -> str:
    """Say in words what speaks against a place, the gravest sign first."""
    said = [
        (
            place.inverse_error > NOTABLE_INVERSE_MM,
            f"there and back ends {place.inverse_error:.1f} mm off",
        ),
        (
            place.astray > NOTABLE_ASTRAY_MM,
            f"the motion of its surroundings, {place.astray:.0f} mm from its own, fits as well or better",
        ),
        (
            place.stretch > NOTABLE_STRETCH,
            f"tissue is stretched or squeezed by a factor of {math.exp(place.stretch):.1f}",
        ),
        (
            place.shift > NOTABLE_SHIFT * spacing and place.unlike < NOTABLE_UNLIKENESS,
            f"edges fit better about {place.shift:.0f} mm apart",
        ),
        (place.unlike >= NOTABLE_UNLIKENESS, "the scans do not show the same here"),
    ]
    words = [words for holds, words in said if holds] or ["the scans agree less here than elsewhere"]
    return words[0]
