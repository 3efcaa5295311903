"""A registration made of known parts, without running one."""

from __future__ import annotations

import functools
from dataclasses import replace

import numpy as np

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.recipes import load_recipe
from DeepRegLib.result import Measures, Registration, Verdict
from DeepRegLib.transforms import (
    Transform,
    apply_to_image,
    apply_to_labels,
    compose,
    field_of_view,
    invert,
    jacobian_determinant,
)
from Testing.synthetic import blobs, geometry_in, label_map, random_linear, smooth_field

FIXED_GRID = geometry_in("oblique", (34, 38, 32), 1.4)
MOVING_GRID = geometry_in("anisotropic", (36, 34, 36), 1.5)

MEASURES = Measures(
    ncc_before=0.3,
    ncc_after=0.92,
    nmi_before=1.1,
    nmi_after=1.4,
    structure_before=0.3,
    structure_linear=0.5,
    structure_after=0.9,
    overlap=0.97,
    folds=0,
    volume_scale=1.02,
    log_jacobian_sd=0.1,
    jacobian_min=0.7,
    jacobian_max=1.4,
    inverse_error_mean=0.01,
    inverse_error_p99=0.05,
    dice_before={1: 0.4, 2: 0.5},
    dice_after={1: 0.9, 2: 0.95},
)


def strong_transform(seed: int = 0) -> Transform:
    """Return a field of 4 mm on a grid wider than the fixed one, then a rotation by 9 degrees."""
    field = smooth_field(FIXED_GRID.resized(2.6, margin=6.0), 4.0, seed)
    return compose(field, random_linear(seed, angle=9.0, shift=4.0, scale=0.05))


@functools.cache
def made_registration() -> Registration:
    """Return a registration of phantoms by `strong_transform`, with layers and maps."""
    transform = strong_transform()
    moving = blobs(MOVING_GRID)
    registration = registration_of(
        transform,
        invert(transform, refinement=2.0),
        blobs(FIXED_GRID, seed=1),
        Image(moving.array, MOVING_GRID, "moving"),
        (label_map(MOVING_GRID), label_map(MOVING_GRID, seed=5, labels=(1,))),
    )
    return replace(
        registration,
        uncertainty=uncertainty_on(FIXED_GRID),
        explanation=uncertainty_on(FIXED_GRID),
        trust=uncertainty_on(FIXED_GRID),
        synthetic=Image(1 - moving.array, MOVING_GRID, "moving (synthetic, tiny)"),
    )


def uncertainty_on(grid: Geometry) -> Image:
    """Return a map that is 0 mm in the middle of a grid, and grows by 1 mm for each 10 mm from there."""
    return Image(np.linalg.norm(grid.points() - grid.centre, axis=-1).astype(np.float32) / 10, grid, "uncertainty")


def registration_of(
    transform: Transform, inverse: Transform, fixed: Image, moving: Image, layers: tuple[Image, ...] = ()
) -> Registration:
    """Return a registration with a given transform and invented measures."""
    grid: Geometry = fixed.geometry
    return Registration(
        fixed=fixed,
        moving=moving,
        transform=transform,
        inverse=inverse,
        warped=apply_to_image(transform, moving, grid),
        field_of_view=field_of_view(transform, moving.geometry, grid),
        fixed_foreground=Image(np.ones(grid.shape, dtype=np.bool_), grid),
        measures=MEASURES,
        verdict=Verdict("check", ("The scans resemble each other little.",)),
        recipe=load_recipe("fast"),
        warped_layers=tuple(apply_to_labels(transform, layer, grid) for layer in layers),
        jacobian=jacobian_determinant(transform, grid),
    )
