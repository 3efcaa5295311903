"""What the registration of a series hands back. Plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image
from DeepRegLib.recipes import Recipe
from DeepRegLib.result import Verdict
from DeepRegLib.series.frames import Frames
from DeepRegLib.transforms import Transform


@dataclass(frozen=True)
class FrameRow:
    """What was found of one frame.

    Parameters
    ----------
    index, name, time
        Which one, and when it was taken.
    verdict
        How far its registration can be trusted.
    bridged
        Whether its transform is that of its neighbours in time, because its own could not be found or trusted.
    ncc_before, ncc_after
        Normalised cross correlation of reference and frame, as they lie and registered, -1 to 1.
    motion_mean, motion_p95, motion_max
        Length of the displacement in the reference's foreground, in mm.
    jacobian_min, jacobian_mean, jacobian_max
        Volume in the frame per volume in the reference, in the same region.
    strain
        Mean of the largest principal Green-Lagrange strain in the same region.
    folds
        Voxels of the reference's grid where the transform folds.
    inverse_folds
        Voxels of the frame's own grid where the inverse folds.
    inverse_error
        Mean distance in mm of foreground points from their way there and back.
    seconds
        That its registration took.
    """

    index: int
    name: str
    time: float
    verdict: Verdict
    bridged: bool
    ncc_before: float
    ncc_after: float
    motion_mean: float
    motion_p95: float
    motion_max: float
    jacobian_min: float
    jacobian_mean: float
    jacobian_max: float
    strain: float
    folds: int
    inverse_folds: int
    inverse_error: float
    seconds: float


@dataclass(frozen=True, eq=False)
class RigidMotion:
    """The motion of a rigid body over time (Power et al., NeuroImage 59, 2012).

    Parameters
    ----------
    rotations
        ``(n, 3)``: about x, y, z (LPS) in degrees, from the reference to each frame.
    translations
        ``(n, 3)``: of the reference's centre along x, y, z in mm.
    framewise_displacement
        ``(n,)`` mm: sum of the absolute changes of all six since the frame before, rotations as arcs on a sphere of
        50 mm radius; 0 for the first frame.
    """

    rotations: NDArray[np.float64]
    translations: NDArray[np.float64]
    framewise_displacement: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SeriesRegistration:
    """All frames of a series registered to one reference.

    Parameters
    ----------
    frames
        As given.
    reference
        What they were registered to: a frame, or the mean of all.
    reference_index
        Which frame it is; None for the mean.
    foreground
        Bool image on the reference's grid: where the measures were taken.
    transforms, inverses
        One a frame: points of the reference to points of the frame, and back (LPS, mm).
    rows
        What was found of each frame.
    cyclic
        Whether the last frame leads to the first.
    smoothing
        Sigma of the smoothing over time, in frame intervals.
    roughness_before, roughness_after
        Mean second difference in time of the paths of points of the foreground, in mm, before and after smoothing.
    motion
        The curves of a rigid series; None of others.
    verdict, warnings, decisions
        How far to trust it, what to know, what was chosen.
    recipe
        With which the first frame was registered.
    timings
        Seconds a step.
    provenance
        Versions, device, seed, hashes of the inputs.
    """

    frames: Frames
    reference: Image
    reference_index: int | None
    foreground: Image
    transforms: Sequence[Transform]
    inverses: Sequence[Transform]
    rows: tuple[FrameRow, ...]
    cyclic: bool
    smoothing: float
    roughness_before: float
    roughness_after: float
    motion: RigidMotion | None
    verdict: Verdict
    recipe: Recipe
    warnings: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
