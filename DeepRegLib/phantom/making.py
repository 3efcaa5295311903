"""A phantom made of a scan: what is deformed, by what, and what the truth is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.phantom.motions import BLADDER, BREATHING, NECK, TUMOUR, USUAL, Motion, displacement
from DeepRegLib.preprocessing import foreground_mask
from DeepRegLib.transforms import DisplacementField, Transform, apply_to_image, apply_to_labels, jacobian_determinant

MOST_POINTS = 1_000_000  # of the field's grid
LEAST_VOLUME = 0.25  # of a voxel, relative: what is squeezed more is no tissue
LESS = 0.8
MOST_TRIES = 25
USUAL_RADIUS = 0.2  # of the body's smallest half width


@dataclass(frozen=True)
class Appearance:
    """How the deformed scan differs in its values.

    Parameters
    ----------
    noise
        Standard deviation as a share of the anatomy's own.
    other_contrast
        Whether bright and dark tissues change places, as between two kinds of scan.
    seed
        Of the noise.
    """

    noise: float = 0.0
    other_contrast: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.noise <= 10:
            raise InputError(f"Noise of {self.noise:g} cannot be.", "Give a share of the anatomy's spread.")


@dataclass(frozen=True, eq=False)
class Phantom:
    """A pair whose registration is known.

    Parameters
    ----------
    fixed
        The scan as deformed.
    moving
        The scan as it was.
    truth
        Fixed points to moving points, LPS mm: exactly what `fixed` was made with.
    motions
        What was done, amounts as they were after all folds were avoided.
    fixed_labels, moving_labels
        The scan's labels deformed, and as they were; None without labels.
    """

    fixed: Image
    moving: Image
    truth: Transform
    motions: tuple[Motion, ...]
    fixed_labels: Image | None = None
    moving_labels: Image | None = None


def usual_motion(
    kind: str,
    scan: Image,
    *,
    amount: float | None = None,
    centre: tuple[float, float, float] | None = None,
    radius: float | None = None,
) -> Motion:
    """Return a motion that fits the body in a scan; what is not told is chosen.

    Parameters
    ----------
    kind
        One of `DeepRegLib.phantom.motions.MOTIONS`.
    scan
        The scan.
    amount
        As in `Motion`.
    centre
        LPS mm; by default the body's middle, of the bladder a quarter below it, of the neck a quarter above it.
    radius
        Of an organ, mm.

    Raises
    ------
    InputError
        If the kind is unknown, the scan shows no body, or a number is none that can be.
    """
    body = foreground_mask(scan)
    inside = np.argwhere(body.array)
    if not len(inside):
        raise InputError(f"{scan.name} shows nothing but background.", "Give a scan of a patient.")
    corners = np.array([[i, j, k] for i in (0, 1) for j in (0, 1) for k in (0, 1)])
    low, high = inside.min(axis=0)[::-1], inside.max(axis=0)[::-1]
    world = scan.geometry.to_world(low + corners * (high - low))
    first, last = world.min(axis=0), world.max(axis=0)
    half = np.maximum((last - first) / 2, 1.0)
    middle = (first + last) / 2
    if centre is None:
        x, y, z = (middle + half * {BLADDER: (0, 0, -0.5), NECK: (0, 0, 0.25)}.get(kind, (0, 0, 0))).tolist()
        centre = x, y, z
    if kind in (BLADDER, TUMOUR):
        reach = USUAL_RADIUS * float(half.min()) if radius is None else radius
        size = (reach, reach, reach)
    else:
        size = (float(half[0]) * 1.2, float(half[1]) * 1.2, float(half[2]))
    return Motion(kind, USUAL.get(kind, 0.0) if amount is None else amount, centre, size)


def make_phantom(
    scan: Image, motions: tuple[Motion, ...], appearance: Appearance | None = None, labels: Image | None = None
) -> Phantom:
    """Return a scan and the same scan deformed by motions, one after another.

    The truth is a field on a grid that is coarser than a large scan's, linear in between: what is written is exactly
    what the scan was deformed with. Amounts that would squeeze a voxel below a quarter of its volume are lowered.

    Parameters
    ----------
    scan
        What is deformed.
    motions
        At least one.
    appearance
        How the deformed scan's values differ; by default not at all.
    labels
        The scan's label map, or None.

    Raises
    ------
    InputError
        If there is no motion, or one folds the scan however small it is.
    """
    if not motions:
        raise InputError("A phantom without a motion is the scan itself.", f"Name one: {BREATHING} for instance.")
    grid = _field_grid(scan.geometry)
    for _ in range(MOST_TRIES):
        truth = DisplacementField(_field(motions, grid), grid)
        if float(jacobian_determinant(truth, grid).array.min()) >= LEAST_VOLUME:
            break
        motions = tuple(replace(motion, amount=motion.amount * LESS) for motion in motions)
    else:
        raise InputError("These motions fold the scan.", "Give larger regions.")
    deformed = apply_to_image(truth, scan, scan.geometry)
    fixed = replace(_altered(deformed, appearance or Appearance()), name=f"{scan.name} (deformed)")
    fixed_labels = None if labels is None else apply_to_labels(truth, labels, scan.geometry)
    return Phantom(fixed, scan, truth, motions, fixed_labels, labels)


def _field_grid(scan: Geometry) -> Geometry:
    voxels = float(np.prod(np.array(scan.size, dtype=np.float64)))
    if voxels <= MOST_POINTS:
        return scan
    step = (float(np.prod(scan.extent)) / MOST_POINTS) ** (1 / 3)
    return scan.resized(np.maximum(step, scan.spacing))


def _field(motions: tuple[Motion, ...], grid: Geometry) -> NDArray[np.float64]:
    start = grid.points()
    points = start.copy()
    for motion in motions:
        points += displacement(motion, points)
    return points - start


def _altered(image: Image, appearance: Appearance) -> Image:
    if not appearance.noise and not appearance.other_contrast:
        return image
    values = image.array.astype(np.float64)
    inside = foreground_mask(image).array.astype(np.bool_)
    tissue = values[inside] if inside.any() else values.ravel()
    low, high = np.percentile(tissue, (1, 99))
    if appearance.other_contrast:
        # A hump over the range of tissue: what was dark and what was bright change places, air stays air.
        share = np.clip((values - low) / max(high - low, 1e-9), 0, 1)
        values = np.where(inside, low + (high - low) * (1 - share) ** 0.7, values)
    if appearance.noise:
        noise = np.random.default_rng(appearance.seed).normal(size=values.shape)
        values = values + appearance.noise * float(tissue.std()) * noise
    if image.array.dtype.kind == "f":
        return image.with_array(values.astype(image.array.dtype))
    limits = np.iinfo(np.dtype(image.array.dtype.str))
    return image.with_array(np.clip(np.rint(values), limits.min, limits.max).astype(image.array.dtype))
