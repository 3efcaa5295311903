"""What a registration is asked for, said once: two scans, a recipe, what the user knows, and where to compute.

`Drivers` and `Request` check themselves. Pipeline, engine, command line and panel pass them on whole; the engine packs
them by the types of their fields. A new driver is a field of `Drivers` and the stage that uses it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.labels import check_label_grid
from DeepRegLib.landmark_alignment import Landmarks, check_landmarks
from DeepRegLib.masks import check_mask_grid
from DeepRegLib.recipes import Recipe
from DeepRegLib.transforms import Transform
from DeepRegLib.transforms.plausibility import require_plausible


@dataclass(frozen=True, eq=False)
class Drivers:
    """What the user knows about the two scans and wants to be used; all of it is optional.

    Parameters
    ----------
    fixed_mask, moving_mask
        Nonzero where the image counts, on the image's own grid.
    sliding_mask
        Nonzero in an organ that slides along what surrounds it (a lung, the organs of the abdomen), on the fixed grid.
        Across its surface the displacement may then jump along the surface, but not open a gap.
    rigid_labels
        Label map on the fixed grid: each label is a bone or a tool, which the field moves but does not bend.
    fixed_landmarks, moving_landmarks
        Corresponding points ``(n, 3)`` in LPS mm; kept as float64. They set the starting pose, draw the field to where
        they belong (``deformable.landmark_pull`` of the recipe says how hard, 0 not at all), and are measured.
    fixed_labels, moving_labels
        Label maps, each on its image's grid. The moving one is brought along. With both, the structures that they
        share draw the field too (``deformable.label_pull``), and their Dice is measured.
    initial_transform
        Fixed points to moving points; replaces the search. A transform with a field also replaces the linear stage.
    background
        Value of the warped image where the moving one was not scanned; None chooses
        (`DeepRegLib.transforms.background_value`).

    Raises
    ------
    InputError
        If landmarks or labels are given for one image only, the landmarks are not finite points in equal numbers, or
        the background is not a finite number.
    """

    fixed_mask: Image | None = None
    moving_mask: Image | None = None
    sliding_mask: Image | None = None
    rigid_labels: Image | None = None
    fixed_landmarks: NDArray[np.floating] | None = None
    moving_landmarks: NDArray[np.floating] | None = None
    fixed_labels: Image | None = None
    moving_labels: Image | None = None
    initial_transform: Transform | None = None
    background: float | None = None

    def __post_init__(self) -> None:
        if self.initial_transform is not None:
            require_plausible(self.initial_transform)
        landmarks = check_landmarks(self.fixed_landmarks, self.moving_landmarks)
        if landmarks is not None:
            object.__setattr__(self, "fixed_landmarks", landmarks[0])
            object.__setattr__(self, "moving_landmarks", landmarks[1])
        if self.fixed_labels is not None and self.moving_labels is None:
            raise InputError("Labels were given on the fixed image only.", "Give moving labels too, or leave them out.")
        if self.background is not None and not np.isfinite(self.background):
            raise InputError(f"The background {self.background} is not a finite number.", "Give one, or leave it out.")

    @property
    def landmarks(self) -> Landmarks | None:
        """Fixed and moving landmarks, or None."""
        return check_landmarks(self.fixed_landmarks, self.moving_landmarks)


@dataclass(frozen=True, eq=False)
class Extras:
    """What is made of a registration besides; none of it changes the registration itself.

    Parameters
    ----------
    compared_fixed_labels, compared_moving_labels
        Label maps, each on its image's grid: the moving one is brought along and their Dice is measured, but they do
        not pull.
    moving_layers
        Label maps in the moving world, each on its own grid, that are brought along (`Registration.warped_layers`).
    moving_fractions
        Shares of voxels from 0 to 1 in the moving world, float, each on its own grid, that are interpolated linearly
        (`Registration.warped_fractions`).
    jacobian
        Whether `Registration.jacobian` is wanted.

    Raises
    ------
    InputError
        If there are labels to compare with, but none to bring along.
    """

    compared_fixed_labels: Image | None = None
    compared_moving_labels: Image | None = None
    moving_layers: tuple[Image, ...] = ()
    moving_fractions: tuple[Image, ...] = ()
    jacobian: bool = False

    def __post_init__(self) -> None:
        if self.compared_fixed_labels is not None and self.compared_moving_labels is None:
            raise InputError("Labels were given on the fixed image only.", "Give moving labels too, or leave them out.")


@dataclass(frozen=True, eq=False)
class Request:
    """One registration: all that decides its result.

    Parameters
    ----------
    fixed, moving
        Volumes of any pixel type and grid. They are not modified.
    recipe
        How to register; it names the model, if one is asked (`DeepRegLib.recipes.with_model`).
    drivers
        What the user knows about the scans.
    device
        ``"cpu"``, ``"cuda"``, ``"mps"``; None takes the fastest there is.
    seed
        Of what is sampled at random (the measured points); the registration itself draws no random numbers.
    extras
        What is made of the result besides.

    Raises
    ------
    InputError
        If a mask or label map lies on another grid than its image, the recipe compares labels alone and there are none,
        or the background is no value of the moving image's type. What the voxels hold is checked when it runs.
    """

    fixed: Image
    moving: Image
    recipe: Recipe
    drivers: Drivers = field(default_factory=Drivers)
    device: str | None = None
    seed: int = 0
    extras: Extras = field(default_factory=Extras)

    def __post_init__(self) -> None:
        drivers, extras = self.drivers, self.extras
        if self.recipe.prepare.labels_only and (drivers.fixed_labels is None or drivers.moving_labels is None):
            raise InputError(
                f"The recipe {self.recipe.name} compares labels alone, and there are not labels of both scans.",
                "Give the labels of both (in Slicer: choose both segmentations), or take another recipe.",
            )
        for mask in (drivers.fixed_mask, drivers.sliding_mask):
            check_mask_grid(mask, self.fixed)
        check_mask_grid(drivers.moving_mask, self.moving)
        for labels in (drivers.fixed_labels, drivers.rigid_labels, extras.compared_fixed_labels):
            check_label_grid(labels, self.fixed)
        for labels in (drivers.moving_labels, extras.compared_moving_labels):
            check_label_grid(labels, self.moving)
        _check_background(drivers.background, self.moving)


def _check_background(value: float | None, moving: Image) -> None:
    dtype: np.dtype[Any] = moving.array.dtype
    if value is None or dtype.kind == "f":
        return
    least, largest = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    if value != round(value) or not least <= value <= largest:
        raise InputError(
            f"The background {value:g} is no value of {moving.name}, whose voxels are of the type {dtype}.",
            f"Give a whole number from {least} to {largest}.",
        )
