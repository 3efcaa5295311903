"""An image as the optimisers see it: a float tensor on an isotropic grid with a weight a voxel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.field_grid import warp
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.transforms.banded import FWHM_PER_SIGMA
from DeepRegLib.transforms.sampling import identity_grid, sample_images


@dataclass(frozen=True, eq=False)
class WorkingImage:
    """One image prepared for optimisation.

    Parameters
    ----------
    intensity
        Shape ``(D, H, W)``, float32, about 0 to 1.
    weight
        Same shape, 0 to 1: how much each voxel counts. 0 where nothing is known.
    geometry
        Where the voxels lie.
    mapped
        Same shape: the intensity as the other image of the pair would show it; None where it is not needed.
    mapped_share
        Of a fixed image: how much the comparison in the moving image's contrast counts, 0 to 1; that in its own counts
        the rest.
    features
        ``(n, D, H, W)``: what a network says of each voxel, where that is compared. They belong to this grid: an image
        that is made coarser or moved has none.
    """

    intensity: Tensor
    weight: Tensor
    geometry: Geometry
    mapped: Tensor | None = None
    mapped_share: float = 0.5
    features: Tensor | None = None

    @property
    def device(self) -> torch.device:
        """Where the tensors live."""
        return self.intensity.device

    @property
    def contrasts(self) -> Tensor:
        """The intensity, and where there is one the mapped one, ``(1 or 2, D, H, W)``."""
        return torch.stack([self.intensity] if self.mapped is None else [self.intensity, self.mapped])

    @property
    def channels(self) -> Tensor:
        """All contrasts and the weight as one tensor ``(2 or 3, D, H, W)``, so that all are sampled at once."""
        return torch.cat([self.contrasts, self.weight[None]])

    @property
    def compared(self) -> Tensor:
        """What the deformable stage compares, the features if there are any, and the weight, ``(n + 1, D, H, W)``."""
        return self.channels if self.features is None else torch.cat([self.features, self.weight[None]])


def coarser(image: WorkingImage, geometry: Geometry) -> WorkingImage:
    """Bring a working image onto a coarser isotropic grid of the same orientation.

    The Gaussian turns the old voxel into the new one: its full width at half maximum is sqrt(new^2 - old^2). Voxels of
    weight zero do not bleed into their neighbours.
    """
    ratio = geometry.spacing[0] / image.geometry.spacing[0]
    sigma = max(ratio**2 - 1, 0.0) ** 0.5 / FWHM_PER_SIGMA
    blurred_weight = smooth(image.weight, sigma)
    product = torch.stack([smooth(intensity * image.weight, sigma) for intensity in image.contrasts])
    blurred = torch.where(blurred_weight > 1e-3, product / blurred_weight.clamp_min(1e-3), image.contrasts)
    offset = torch.tensor(image.geometry.to_index(geometry.origin), dtype=torch.float32, device=image.device)
    index = identity_grid(geometry.shape, image.device) * ratio + offset
    sampled = sample_images(torch.cat([blurred, image.weight[None]]), index, padding="zeros")
    return _with(image, sampled[:-1], sampled[-1].clamp(0, 1), geometry)


def moved_by(image: WorkingImage, field: Tensor) -> WorkingImage:
    """Move an image by a field on the grid of its field, ``(3, d, h, w)``, in voxels of that; zero past its border."""
    moved = warp(image.channels, field)
    return _with(image, moved[:-1], moved[-1], image.geometry)


def weighted_centroid(image: WorkingImage) -> NDArray[np.float64]:
    """Return the weight's centre of mass in LPS mm; the grid's centre where all weights are zero."""
    weight = image.weight.double().cpu().numpy()
    total = weight.sum()
    if total <= 0:
        return image.geometry.centre
    index = [(weight.sum(axis=tuple({0, 1, 2} - {a})) * np.arange(n)).sum() / total for a, n in enumerate(weight.shape)]
    return image.geometry.to_world(index[::-1])


def weighted_radius(image: WorkingImage, centre: NDArray[np.float64]) -> float:
    """Return the weight's root mean square distance from `centre` in mm, at least one voxel."""
    weight = image.weight.double().cpu().numpy().ravel()
    distance = np.sum((image.geometry.points().reshape(-1, 3) - centre) ** 2, axis=1)
    mean = float((weight * distance).sum() / max(weight.sum(), 1e-12))
    return max(mean**0.5, min(image.geometry.spacing))


def _with(image: WorkingImage, contrasts: Tensor, weight: Tensor, geometry: Geometry) -> WorkingImage:
    intensity, *mapped = contrasts
    other = mapped[0] if mapped else None
    return WorkingImage(intensity, weight, geometry, other, image.mapped_share)
