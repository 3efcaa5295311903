"""An MR turned into ultrasound beam by beam: scatterers, echoes at changes of impedance, what is left of the beam.

`DeepRegLib.phantom.ultrasound` makes echoes of the brightness and the slopes of the scan, as LC2 assumes them. Here
what a tissue scatters and how hard it is are drawn at random: a bright tissue may be dark, two bright ones may have no
border. Beams are as in Wein et al. 2008, Med Image Anal 12:577; speckle as in Wagner et al. 1983, IEEE T-SU 30:156.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from DeepRegLib.image import Image
from DeepRegLib.phantom.ultrasound import BRIGHTEST, Probe
from DeepRegLib.transforms.sampling import sample

BEAMS = 112  # along either angle
KNOTS = 8  # tissues that are told apart, from dark to bright in the scan
SCATTER = (0.1, 1.0)
IMPEDANCE = (1.45, 1.75)  # 10^6 rayl: fat to muscle and vessel walls
ECHO = 30.0  # by which an echo at a border exceeds the scatter of a cell, per share that is reflected
LATERAL = 0.012  # width of a beam, radians
RANGE = 50.0  # dB that are shown


@dataclass(frozen=True, eq=False)
class _Cone:
    """Samples along beams: their distances from the apex, and the tangents of both angles."""

    depths: NDArray[np.float64]
    tangents: NDArray[np.float64]
    axes: NDArray[np.float64]  # rows: two across, and the middle beam

    def points(self, apex: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the samples, ``(depth, beams, beams, 3)``, LPS mm."""
        first, second = np.meshgrid(self.tangents, self.tangents, indexing="ij")
        beams = np.stack([first, second, np.ones_like(first)], axis=-1) @ self.axes
        beams /= np.linalg.norm(beams, axis=-1, keepdims=True)
        return apex + self.depths[:, None, None, None] * beams

    def index(self, from_apex: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return which sample lies at a place as seen from the apex: (second angle, first angle, depth)."""
        along = from_apex @ self.axes.T
        ahead = np.maximum(along[..., 2:], 1e-6)
        step = self.tangents[1] - self.tangents[0]
        angles = (along[..., :2] / ahead - self.tangents[0]) / step
        depth = (np.linalg.norm(from_apex, axis=-1) - self.depths[0]) / (self.depths[1] - self.depths[0])
        return np.stack([angles[..., 1], angles[..., 0], depth], axis=-1)


def ultrasound_by_beams(scan: Image, probe: Probe) -> Image:
    """Return a scan as ultrasound would show it, computed along its beams.

    Each tissue, a range of the scan's brightness, has a scatter and an impedance drawn at random from the probe's seed.
    Along a beam a change of impedance reflects ``((b - a) / (b + a))^2`` of what is left, the rest goes on and is
    attenuated; a cell holds many scatterers, so its echo is a complex Gaussian. Echoes are blurred by the pulse along
    the beam and by the width of the beam, which grows with depth, and their length is shown in decibels.

    Parameters
    ----------
    scan
        The anatomy, zero where there is none.
    probe
        Where it is seen from; the size of a grain of speckle is that of the pulse.

    Returns
    -------
    Image
        uint8 on the scan's grid, zero outside of the cone.
    """
    rng = np.random.default_rng(probe.seed)
    values = scan.array.astype(np.float64)
    inside = values > 0
    values = np.clip(values / max(float(np.percentile(values[inside], 99)) if inside.any() else 1.0, 1e-9), 0, 1)
    cone, apex = _cone(probe, float(min(scan.geometry.spacing))), np.array(probe.apex)
    places = scan.geometry.to_index(cone.points(apex).reshape(-1, 3)).reshape(len(cone.depths), BEAMS, BEAMS, 3)
    tissue = _looked_up(values, places)
    echo = _echoes(tissue, probe, rng, float(cone.depths[1] - cone.depths[0]))
    step = float(cone.tangents[1] - cone.tangents[0])
    blurred = np.abs(_blurred(echo, (probe.speckle / 2 / float(cone.depths[1] - cone.depths[0]), LATERAL / step)))
    decibels = 20 * np.log10(np.maximum(blurred / max(float(np.percentile(blurred, 99.5)), 1e-12), 1e-9))
    shown = np.clip(1 + decibels / RANGE, 0, 1)
    from_apex = scan.geometry.points() - apex
    distance = np.linalg.norm(from_apex, axis=-1)
    seen = inside & (from_apex @ cone.axes[2] >= np.cos(np.radians(probe.half_angle)) * distance)
    seen &= (distance >= probe.depth[0]) & (distance <= probe.depth[1])
    picture = _looked_up(shown, cone.index(from_apex))
    return Image(np.where(seen, 1 + np.rint(picture * (BRIGHTEST - 1)), 0).astype(np.uint8), scan.geometry, scan.name)


def _cone(probe: Probe, spacing: float) -> _Cone:
    middle = np.array(probe.towards) / np.linalg.norm(probe.towards)
    across = np.cross(middle, np.eye(3)[np.argmin(np.abs(middle))])
    across /= np.linalg.norm(across)
    widest = np.tan(np.radians(probe.half_angle))
    count = int((probe.depth[1] - probe.depth[0]) / (0.6 * spacing)) + 2
    axes = np.stack([across, np.cross(middle, across), middle])
    return _Cone(np.linspace(*probe.depth, count), np.linspace(-widest, widest, BEAMS), axes)


def _echoes(values: NDArray[np.float64], probe: Probe, rng: np.random.Generator, step: float) -> NDArray[np.complex128]:
    """Return the echo of each sample along the beams, whose first axis is the depth."""
    knots = np.linspace(0, 1, KNOTS)
    scatter = np.interp(values, knots, rng.uniform(*SCATTER, KNOTS)) * (values > 0)
    impedance = np.interp(values, knots, rng.uniform(*IMPEDANCE, KNOTS))
    before = np.concatenate([impedance[:1], impedance[:-1]])
    reflected = ((impedance - before) / (impedance + before)) ** 2
    lost = -np.log(1 - probe.attenuation) * step / probe.depth[1]
    left = np.exp(-np.cumsum(lost * (values > 0), axis=0)) * np.cumprod(1 - reflected, axis=0)
    noise = (rng.standard_normal(values.shape) + 1j * rng.standard_normal(values.shape)) / np.sqrt(2)
    return np.asarray(
        left * (scatter * noise + ECHO * np.sqrt(reflected) * np.sign(impedance - before) * scatter.max())
    )


def _blurred(echo: NDArray[np.complex128], sigma: tuple[float, float]) -> NDArray[np.complex128]:
    """Blur along the beam and across, by the Fourier transform of Gaussians; sigmas in samples."""
    spectrum = np.fft.fftn(echo)
    for axis, width in enumerate((sigma[0], sigma[1], sigma[1])):
        frequency = np.fft.fftfreq(echo.shape[axis])
        shape = [-1 if each == axis else 1 for each in range(3)]
        spectrum *= np.exp(-2 * (np.pi * frequency * width) ** 2).reshape(shape)
    return np.asarray(np.fft.ifftn(spectrum))


def _looked_up(values: NDArray[np.float64], index: NDArray[np.float64]) -> NDArray[np.float64]:
    """Interpolate at indices (i, j, k); the border's values are repeated."""
    volume = torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32))[None]
    found = sample(volume, torch.from_numpy(np.ascontiguousarray(index, dtype=np.float32)))
    return found[0].numpy().astype(np.float64)
