"""An MR turned into ultrasound, as far as registration feels it: echoes at borders, speckle, shadow, a cone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, to_sitk

BRIGHTEST = 255
DYNAMIC_RANGE = 1e-2  # amplitudes below are black


@dataclass(frozen=True)
class Probe:
    """Where the probe is and what it sees.

    Parameters
    ----------
    apex
        x, y, z, LPS mm.
    towards
        Direction of the middle beam, any length.
    half_angle
        Of the cone, degrees.
    depth
        From the apex, mm: where the image begins and ends.
    speckle
        Size of a grain, mm.
    attenuation
        Share of the amplitude lost over the whole depth, 0 to 1.
    seed
        Of the speckle.

    Raises
    ------
    InputError
        If a number is none that can be.
    """

    apex: tuple[float, float, float]
    towards: tuple[float, float, float]
    half_angle: float = 35.0
    depth: tuple[float, float] = (15.0, 110.0)
    speckle: float = 1.2
    attenuation: float = 0.6
    seed: int = 0

    def __post_init__(self) -> None:
        length = float(np.linalg.norm(self.towards))
        sound = 0 < self.half_angle < 90 and 0 <= self.depth[0] < self.depth[1] and 0 <= self.attenuation < 1
        if not sound or not length > 0 or self.speckle <= 0:
            raise InputError("Such a probe cannot be.", "Give a direction, an angle below 90 and a depth.")


def ultrasound(scan: Image, probe: Probe) -> Image:
    """Return a scan as ultrasound would show it.

    The amplitude is that of borders across the beam (the gradient along it) and of tissue, which scatters the more the
    brighter its square root is in the scan; tissue is multiplied by speckle, the length of a complex Gaussian that is
    smoothed to grains, loses amplitude with depth, and is compressed by a logarithm. Outside of the cone it is zero.

    Parameters
    ----------
    scan
        The anatomy, zero where there is none.
    probe
        Where it is seen from.

    Returns
    -------
    Image
        uint8 on the scan's grid.
    """
    rng = np.random.default_rng(probe.seed)
    values = scan.array.astype(np.float64)
    values = np.clip(
        values / max(float(np.percentile(values[values > 0], 99)) if (values > 0).any() else 1.0, 1e-9), 0, 1
    )
    from_apex = scan.geometry.points() - np.array(probe.apex)
    distance = np.linalg.norm(from_apex, axis=-1)
    beam = from_apex / np.maximum(distance, 1e-6)[..., np.newaxis]
    border = np.abs(np.sum(_gradient(scan.with_array(values)) * beam, axis=-1))
    grains = [_smooth(rng.standard_normal(values.shape), scan, probe.speckle) for _ in range(2)]
    speckle = np.hypot(*grains)
    speckle /= float(speckle.mean())
    tissue = 0.25 * np.sqrt(values) * speckle
    echo = tissue + border / max(float(np.percentile(border, 99.5)), 1e-9)
    echo *= 1 - probe.attenuation * np.clip(distance / probe.depth[1], 0, 1)
    shown = 1 - np.log(np.clip(echo, DYNAMIC_RANGE, 1)) / np.log(DYNAMIC_RANGE)
    middle = np.array(probe.towards) / np.linalg.norm(probe.towards)
    inside = (beam @ middle >= np.cos(np.radians(probe.half_angle))) & (values > 0)
    inside &= (distance >= probe.depth[0]) & (distance <= probe.depth[1])
    return Image(np.where(inside, 1 + np.rint(shown * (BRIGHTEST - 1)), 0).astype(np.uint8), scan.geometry, scan.name)


def _gradient(image: Image) -> NDArray[np.float64]:
    """Return the slopes along x, y, z (LPS), per mm, ``(k, j, i, 3)``."""
    picture = to_sitk(image.with_array(image.array.astype(np.float32)))
    sigma = float(min(image.geometry.spacing))
    slopes = sitk.GradientRecursiveGaussian(picture, sigma, False, True)
    return sitk.GetArrayFromImage(slopes).astype(np.float64)


def _smooth(values: NDArray[np.float64], image: Image, sigma: float) -> NDArray[np.float64]:
    picture = sitk.GetImageFromArray(values)
    picture.SetSpacing(image.geometry.spacing)
    return sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(picture, sigma)).astype(np.float64)
