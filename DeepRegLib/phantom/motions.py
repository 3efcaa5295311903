"""Motions of a patient as displacements in mm that are known everywhere.

Each is a map from the deformed scan to the scan itself, x -> x + u(x), for this is the direction in which images are
resampled and registrations are written.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError

BREATHING, BLADDER, NECK, TUMOUR = "breathing", "bladder", "neck", "tumour"
MOTIONS = (BREATHING, BLADDER, NECK, TUMOUR)
# How far each goes unless told: mm, mm of the radius, degrees, mm of the radius.
USUAL = {BREATHING: 15.0, BLADDER: 10.0, NECK: 10.0, TUMOUR: 6.0}
CHEST_SHARE = 0.3  # of the movement towards the head, by which the chest wall comes forward
REACH = 1.6  # radii that a swelling or shrinking organ moves its surroundings over
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """One motion.

    Parameters
    ----------
    kind
        One of `MOTIONS`.
    amount
        Largest displacement in mm; of the neck the angle in degrees, of an organ the change of its radius in mm.
    centre
        x, y, z, LPS mm: the organ's centre, or the point about which the neck turns.
    size
        Of the moving region in mm along x, y, z: half the body for breathing and the neck, the radius of an organ.

    Raises
    ------
    InputError
        If the kind is unknown or a number is none that can be.
    """

    kind: str
    amount: float
    centre: tuple[float, float, float]
    size: tuple[float, float, float]

    def __post_init__(self) -> None:
        if self.kind not in MOTIONS:
            raise InputError(f"{self.kind} is no motion of a phantom.", f"Give one of {', '.join(MOTIONS)}.")
        numbers = np.array([self.amount, *self.centre, *self.size])
        if not np.all(np.isfinite(numbers)) or min(self.size) <= 0 or self.amount < 0:
            raise InputError(
                f"A {self.kind} by {self.amount:g} over {self.size} mm cannot be.", "Give an amount of at least 0."
            )


def displacement(motion: Motion, points: Points) -> Points:
    """Return where a motion moves points, mm, LPS.

    Parameters
    ----------
    motion
        Which.
    points
        LPS mm, shape ``(..., 3)``.
    """
    return _DISPLACEMENTS[motion.kind](motion, points)


def _breathing(motion: Motion, points: Points) -> Points:
    """Move towards the head most in the middle, nothing at the ends, and the front of the body forward."""
    offset = (points - motion.centre) / motion.size
    within = np.prod(_bell(offset), axis=-1)
    result = np.zeros_like(points)
    result[..., 2] = motion.amount * within
    front = np.clip(-offset[..., 1], 0, 1)
    result[..., 1] = -CHEST_SHARE * motion.amount * within * front**2 * (3 - 2 * front)
    return result


def _swelling(motion: Motion, points: Points) -> Points:
    """Fill an organ: in the deformed scan its radius is larger, so points are drawn towards its centre."""
    return -_radial(motion, points)


def _shrinking(motion: Motion, points: Points) -> Points:
    return _radial(motion, points)


def _radial(motion: Motion, points: Points) -> Points:
    offset = points - np.asarray(motion.centre)
    distance = np.linalg.norm(offset / motion.size, axis=-1, keepdims=True)
    # As far as told at the surface, proportional inside, fading outside.
    share = np.exp((1 - distance**2) / REACH**2)
    return motion.amount / np.mean(motion.size) * share * offset


def _flexion(motion: Motion, points: Points) -> Points:
    """Bend about the left-right axis, more and more from half a body below the pivot to half a body above it."""
    offset = points - np.asarray(motion.centre)
    height = np.clip((offset[..., 2] / motion.size[2] + 1) / 2, 0, 1)
    angle = np.deg2rad(motion.amount) * height**2 * (3 - 2 * height)
    cos, sin = np.cos(angle), np.sin(angle)
    y, z = offset[..., 1], offset[..., 2]
    return np.stack([np.zeros_like(y), cos * y - sin * z - y, sin * y + cos * z - z], axis=-1)


def _bell(offset: Points) -> Points:
    return np.cos(np.pi / 2 * np.clip(offset, -1, 1)) ** 2


_DISPLACEMENTS = {BREATHING: _breathing, BLADDER: _swelling, NECK: _flexion, TUMOUR: _shrinking}
