"""One small registration, computed once a process, for the tests of what is done with a result."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np

from DeepRegLib.image import Image, write_image
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Recipe, load_recipe
from DeepRegLib.result import Registration
from DeepRegLib.transforms import apply_to_image, apply_to_labels
from Testing.synthetic import blobs, geometry_in, label_map, random_linear

FIXED_GRID = geometry_in("LPS", (20, 22, 18), 2.4)
MOVING_GRID = geometry_in("oblique", (22, 20, 20), 2.4)
TRUTH = random_linear(3, angle=6.0, shift=3.0)


def small_recipe() -> Recipe:
    """Return a recipe with every kind of stage, as short as can be."""
    fast = load_recipe("fast")
    return replace(
        fast,
        name="small",
        search=replace(fast.search, enabled=False),
        linear=replace(fast.linear, model="rigid", voxels=8000, iterations=15, similarity="ncc"),
        deformable=replace(fast.deformable, voxels=8000, shrink=(2, 1), iterations=(8, 6), similarity="ncc"),
    )


def shortest_recipe() -> Recipe:
    """Return the small recipe with hardly an iteration, for what does not depend on how well it matches."""
    small = small_recipe()
    return replace(
        small,
        linear=replace(small.linear, voxels=2000, iterations=3),
        deformable=replace(small.deformable, voxels=2000, iterations=(2, 1)),
    )


@functools.cache
def small_pair() -> tuple[Image, Image, Image, Image]:
    """Return a fixed and a moving phantom and their labels; `TRUTH` takes fixed points to moving points."""
    fixed, labels = blobs(FIXED_GRID), label_map(FIXED_GRID)
    back = TRUTH.inverse()
    moving = apply_to_image(back, blobs(geometry_in("LPS", (40, 44, 36), 1.2)), MOVING_GRID)
    moving_labels = apply_to_labels(back, labels, MOVING_GRID)
    return (
        Image(fixed.array.astype(np.int16), FIXED_GRID, "/clinic/Smith John/fixed.nii.gz"),
        Image(moving.array.astype(np.int16), MOVING_GRID, "/clinic/Smith John/moving.nii.gz"),
        Image(labels.array, FIXED_GRID, "/clinic/Smith John/fixed_labels.nii.gz"),
        Image(moving_labels.array, MOVING_GRID, "/clinic/Smith John/moving_labels.nii.gz"),
    )


@functools.cache
def small_registration() -> Registration:
    """Return the registration of the small pair."""
    fixed, moving, _, _ = small_pair()
    return register(fixed, moving, small_recipe(), device="cpu")


def write_small_pair(folder: Path) -> tuple[Path, Path, Path, Path]:
    """Write the small pair and its labels and return the four files."""
    files = tuple(folder / f"{name}.nii.gz" for name in ("fixed", "moving", "fixed_labels", "moving_labels"))
    for image, path in zip(small_pair(), files, strict=True):
        write_image(image, path)
    return files  # type: ignore[return-value]  # four files
