"""What a user corrects by hand: anatomy that a registration shows in one place, and that belongs in another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.request import Request
from DeepRegLib.result import StartMeasures
from DeepRegLib.transforms import Transform

# Shorter than any scan tells apart.
SHORTEST_MM = 0.05


@dataclass(frozen=True, eq=False)
class Correction:
    """Places of the registered image that are to be dragged elsewhere, all in the fixed world.

    Dragging anatomy from p to q makes the corrected transform take q to where the earlier one took p.

    Parameters
    ----------
    shown
        Where moving anatomy appears in the registered image, ``(n, 3)``, LPS mm; kept as float64.
    wanted
        Where it should appear, in the same order.

    Raises
    ------
    InputError
        If these are not finite points in equal numbers, there are none, or one is not dragged anywhere.
    """

    shown: NDArray[np.float64]
    wanted: NDArray[np.float64]

    def __post_init__(self) -> None:
        shown, wanted = (_points(points) for points in (self.shown, self.wanted))
        if shown.shape != wanted.shape or not len(shown):
            raise InputError(
                f"A correction has {len(shown)} places to drag and {len(wanted)} to drag them to.",
                "Give as many of both, and at least one.",
            )
        shortest = float(np.linalg.norm(wanted - shown, axis=1).min())
        if shortest < SHORTEST_MM:
            raise InputError(
                f"A place is dragged by {shortest:.2g} mm, which corrects nothing.",
                "Drag it from where the anatomy appears to where it should be.",
            )
        object.__setattr__(self, "shown", shown)
        object.__setattr__(self, "wanted", wanted)

    @property
    def longest(self) -> float:
        """How far the places are dragged at most, mm."""
        return float(np.linalg.norm(self.wanted - self.shown, axis=1).max())


@dataclass(frozen=True, eq=False)
class Improvement:
    """A result that is to be corrected near a few places.

    Parameters
    ----------
    request
        What the result was asked for, with the recipe as it ran (`Registration.recipe`).
    transform, inverse
        Its transforms: fixed points to moving points, and back.
    correction
        What is dragged.
    decisions
        What was decided for it; the sentences are kept.
    made
        The corrections it has had, in their order; they are noted with the new one.
    at_start
        What was measured of its linear part, which a correction keeps: `DeepRegLib.result.start_measures` of its
        measures, unless its request gave a field to start from. None measures it again, which takes longer.
    """

    request: Request
    transform: Transform
    inverse: Transform
    correction: Correction
    decisions: tuple[str, ...] = ()
    made: tuple[Correction, ...] = ()
    at_start: StartMeasures | None = None


def correction_from_landmarks(
    inverse: Transform, fixed: NDArray[np.floating], moving: NDArray[np.floating]
) -> Correction:
    """Return what drags the partner of each fixed landmark, where a result shows it, onto the landmark.

    Pairs that meet already are left out.

    Parameters
    ----------
    inverse
        Of the result: moving points to fixed points.
    fixed, moving
        Points ``(n, 3)``, LPS mm; row n of one belongs to row n of the other.

    Raises
    ------
    InputError
        If these are not finite points in equal numbers, or all meet already.
    """
    wanted, partners = _points(fixed), _points(moving)
    if wanted.shape != partners.shape:
        raise InputError(
            f"There are {len(wanted)} fixed and {len(partners)} moving landmarks.", "Give as many of both, in pairs."
        )
    shown = inverse.apply_to_points(partners)
    apart = np.linalg.norm(wanted - shown, axis=1) >= SHORTEST_MM
    if not apart.any():
        raise InputError("All landmarks meet already.", "Give pairs that the result does not bring together.")
    return Correction(shown[apart], wanted[apart])


def _points(values: ArrayLike) -> NDArray[np.float64]:
    try:
        points = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(
            "The places of a correction are not lists of numbers.", "Give (n, 3) points, LPS mm."
        ) from error
    if points.ndim != 2 or points.shape[1] != 3 or not np.isfinite(points).all():
        raise InputError(
            f"The places of a correction have the shape {points.shape}, or are not finite.",
            "Give (n, 3) points in LPS mm.",
        )
    return points
