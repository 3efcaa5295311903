"""A CT turned into what a cone-beam scanner would give of it, as far as registration feels it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image

AIR, WATER = -1000.0, 0.0
LEAST, MOST = -1024, 3071


@dataclass(frozen=True)
class ConeBeam:
    """What the scanner does to a CT.

    Parameters
    ----------
    radius
        Of the cylinder that is reconstructed, as a share of the half width of the scan's smaller axial side.
    length
        Of the cylinder, as a share of the scan's length.
    scatter
        How much of the contrast is lost to scatter in the middle of the patient, 0 to 1.
    cupping
        How much darker the middle of the cylinder is than its rim, HU.
    shading
        Largest drift of the values by place, HU.
    noise
        Standard deviation in the middle of the cylinder, HU.
    gain, offset
        The scanner's numbers against Hounsfield's.
    couch
        Whether a couch lies under the patient, which the CT has not.
    seed
        Of noise and shading.

    Raises
    ------
    InputError
        If a number is none that can be.
    """

    radius: float = 0.75
    length: float = 0.7
    scatter: float = 0.3
    cupping: float = 120.0
    shading: float = 80.0
    noise: float = 60.0
    gain: float = 0.85
    offset: float = 60.0
    couch: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        shares = 0 < self.radius <= 1.5 and 0 < self.length <= 1 and 0 <= self.scatter < 1
        if not shares or min(self.cupping, self.shading, self.noise) < 0 or self.gain <= 0:
            raise InputError("Such a cone beam cannot be.", "Give shares from 0 to 1, and numbers of at least 0.")


def cone_beam(scan: Image, beam: ConeBeam) -> Image:
    """Return a CT as a cone-beam scanner would show it.

    In this order: scatter (values drawn towards those of a wide neighbourhood, most in the middle), cupping (darker
    towards the axis, with the square of the distance), shading (a smooth random drift), another gain and offset, a
    couch, noise that grows towards the axis and is correlated over a voxel, and everything outside of a cylinder along
    the patient set to one value.

    Parameters
    ----------
    scan
        CT in HU, axial slices along its third axis.
    beam
        What is done.

    Returns
    -------
    Image
        int16 on the scan's grid.
    """
    grid = scan.geometry
    rng = np.random.default_rng(beam.seed)
    values = np.clip(scan.array.astype(np.float64), AIR, MOST)
    from_axis, along = _places(grid)
    reach = beam.radius * float(np.sort(grid.extent[:2])[0]) / 2
    inner = np.clip(1 - (from_axis / reach) ** 2, 0, 1)[np.newaxis]
    wide = _smooth(values, grid, reach / 3)
    values += beam.scatter * inner * (wide - values) - beam.cupping * inner
    drift = _smooth(rng.standard_normal(values.shape), grid, reach / 2.5)
    values += beam.shading * drift / max(float(np.abs(drift).max()), 1e-12)
    if beam.couch:
        values = np.maximum(values, _couch(grid, scan.array))
    values = beam.gain * values + beam.offset
    grain = _smooth(rng.standard_normal(values.shape), grid, 0.6 * max(grid.spacing[:2]))
    values += beam.noise * (0.4 + 0.6 * inner) * grain / float(grain.std())
    seen = (from_axis <= reach)[np.newaxis] & (np.abs(along) <= beam.length / 2)[:, np.newaxis, np.newaxis]
    return Image(np.where(seen, np.clip(np.rint(values), LEAST, MOST), LEAST).astype(np.int16), grid, scan.name)


def _places(grid: Geometry) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the distance of each pixel of a slice from the middle in mm, and of each slice in shares of the length."""
    (i, j, k), (dx, dy, _) = grid.size, grid.spacing
    x, y = (np.arange(i) - (i - 1) / 2) * dx, (np.arange(j) - (j - 1) / 2) * dy
    return np.hypot(x[np.newaxis], y[:, np.newaxis]), (np.arange(k) - (k - 1) / 2) / k


def _smooth(values: NDArray[np.float64], grid: Geometry, sigma: float) -> NDArray[np.float64]:
    picture = sitk.GetImageFromArray(values)
    picture.SetSpacing(grid.spacing)
    return sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(picture, sigma)).astype(np.float64)


def _couch(grid: Geometry, ct: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return a plate of 20 mm below the patient, dense at its faces, air elsewhere."""
    body = np.argwhere((ct.astype(np.float64) > AIR / 2).any(axis=(0, 2)))
    rows = np.arange(grid.size[1])
    below = (rows - (int(body.max()) if len(body) else grid.size[1])) * grid.spacing[1]
    plate = np.where((below > 2) & (below < 22), -800.0, AIR)
    plate[(below > 2) & (below < 5)] = WATER
    wide = np.abs(np.arange(grid.size[0]) - grid.size[0] / 2) < 0.4 * grid.size[0]
    couch = np.where(wide[np.newaxis], plate[:, np.newaxis], AIR)
    return np.broadcast_to(couch[np.newaxis], ct.shape)
