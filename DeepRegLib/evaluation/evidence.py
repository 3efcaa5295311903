"""What speaks for a pose: how edges and intensities agree at a set of places, there and at other poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.evaluation.similarity import entropy
from DeepRegLib.optimization.rotations import rotation_from_vector
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.transforms.sampling import central_difference, identity_grid, sample_images

EDGE_SIGMA = 1.0  # working voxels
BINS = 16
FEWEST_PLACES = 60
# Of the smoothed weight: at a flat border of what was scanned half is left, at an edge of that a quarter.
LEAST_KNOWN = 0.2
# Of the strongest edge: an image that is flat in most places has a median of zero.
FAINT_EDGE = 0.05


@dataclass(frozen=True)
class Evidence:
    """How well two images agree at one pose.

    Parameters
    ----------
    edges
        Correlation of both images' edge tensors, -1 to 1, 0 by chance; whatever the contrast. Unlike
        `structure_agreement` it counts edges that have no partner.
    information
        Normalised mutual information less 1: 0 (independent) to 1.
    correlation
        Normalised cross correlation, -1 to 1.
    seen
        Share of the fixed places that the moving image shows.
    """

    edges: float
    information: float
    correlation: float
    seen: float


@dataclass(frozen=True, eq=False)
class Places:
    """Where a fixed image is compared.

    Parameters
    ----------
    points
        ``(n, 3)``, LPS mm.
    values
        Intensities there, ``(n,)``.
    edges
        Saturated gradients there, ``(n, 3)``, in the world's frame: 0 to 1 long.
    """

    points: NDArray[np.float64]
    values: NDArray[np.float32]
    edges: NDArray[np.float32]

    @property
    def centre(self) -> NDArray[np.float64]:
        """Mean of the points."""
        return np.asarray(self.points.mean(0))

    @property
    def radius(self) -> float:
        """Root mean square distance of the points from their centre in mm."""
        return float(np.sqrt(((self.points - self.centre) ** 2).sum(1).mean()))


@dataclass(frozen=True, eq=False)
class Compared:
    """A fixed image at its places, and the moving image as it is looked up there.

    Parameters
    ----------
    places
        Of the fixed image.
    channels
        Intensity, weight and saturated gradient of the moving image, ``(5, D, H, W)``.
    moving
        The moving image.
    """

    places: Places
    channels: Tensor
    moving: WorkingImage

    def at(self, pose: NDArray[np.float64]) -> Evidence:
        """Return what speaks for a pose, a world matrix from fixed to moving points."""
        return self.at_each([pose])[0]

    def at_each(self, poses: Sequence[NDArray[np.float64]]) -> list[Evidence]:
        """Return what `at` does for each of several poses, which are looked up at once."""
        if not poses:
            return []
        points, grid = self.places.points, self.moving.geometry
        index = np.stack([grid.to_index(points @ pose[:3, :3].T + pose[:3, 3]) for pose in poses])
        # Each component contiguous, as the lookup is quickest.
        tensor = torch.tensor(np.moveaxis(index, -1, 0), dtype=torch.float32, device=self.channels.device)
        found = sample_images(self.channels, tensor[..., None].movedim(0, -1), padding="zeros")[..., 0].cpu().numpy()
        return [self._evidence(pose, found[:, n]) for n, pose in enumerate(poses)]

    def _evidence(self, pose: NDArray[np.float64], found: NDArray[np.float32]) -> Evidence:
        """Return what the moving image's channels at the places, ``(5, n)``, say of a pose."""
        values, weight, *gradient = found
        seen = weight > 0.5
        if np.count_nonzero(seen) < FEWEST_PLACES:
            return Evidence(0.0, 0.0, 0.0, float(seen.mean()) if seen.size else 0.0)
        # A gradient is a covector: what is aligned has that of the moving image turned by the transposed matrix.
        turned = np.stack(gradient, axis=-1)[seen] @ rotation_of(pose)
        return Evidence(
            edge_correlation(self.places.edges[seen], turned),
            information(self.places.values[seen], values[seen]),
            correlation(self.places.values[seen], values[seen]),
            float(seen.mean()),
        )


def compared(
    fixed: WorkingImage, weight: Tensor, moving: WorkingImage, moving_weight: Tensor, count: int | None = None
) -> Compared:
    """Return two images ready to be compared at any pose.

    Parameters
    ----------
    fixed, moving
        Working images; their weights say what is known.
    weight, moving_weight
        The foreground with its margin on each one's grid, 0 to 1: the fixed one chooses the places.
    count
        How many places at most, drawn evenly; None takes all.
    """
    keep = (fixed.weight > 0.5) & (weight > 0.5)
    index = identity_grid(fixed.geometry.shape, fixed.device)[keep].double().cpu().numpy()
    edges = saturated_edges(fixed, keep)[:, keep].T.cpu().numpy()
    values = fixed.intensity[keep].cpu().numpy()
    chosen: slice | NDArray[np.intp] = slice(None)
    if count is not None and len(index) > count:
        chosen = np.sort(np.random.default_rng(0).permutation(len(index))[:count])
    places = Places(fixed.geometry.to_world(index[chosen]), values[chosen], edges[chosen])
    inside = (moving.weight > 0.5) & (moving_weight > 0.5)
    channels = torch.cat([moving.intensity[None], moving.weight[None], saturated_edges(moving, inside)])
    return Compared(places, channels, moving)


def saturated_edges(image: WorkingImage, inside: Tensor) -> Tensor:
    """Return gradients in the world's frame, ``(3, D, H, W)``, as long as g / sqrt(g^2 + m^2), m the median inside."""
    share = smooth(image.weight, EDGE_SIGMA)
    # What is unknown must not bleed in: its border would be an edge.
    smoothed = smooth(image.intensity * image.weight, EDGE_SIGMA) / share.clamp_min(1e-3)
    gradient = torch.stack([central_difference(smoothed, dim) for dim in (-1, -2, -3)])
    gradient = gradient * (share > LEAST_KNOWN * share.max())
    matrix = torch.tensor(image.geometry.world_to_index[:3, :3].T, dtype=torch.float32, device=image.device)
    world = torch.einsum("ab,bkji->akji", matrix, gradient)
    length = world.norm(dim=0)
    chosen = length[inside] if bool(inside.any()) else length.reshape(-1)
    level = max(float(chosen.median()), FAINT_EDGE * float(chosen.max()), 1e-12)
    return world / torch.sqrt(length**2 + level**2)


def edge_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the correlation of edge tensors e e^T over places, from edges ``(n, 3)``; 0 if one has none."""
    tensors = [_tensors(edges) for edges in (first, second)]
    norm = float(np.sqrt((tensors[0] ** 2).sum() * (tensors[1] ** 2).sum()))
    return float((tensors[0] * tensors[1]).sum() / norm) if norm > 1e-9 else 0.0


def information(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return how much of their joint entropy two lists of values share, with what they share by chance taken to 0.

    Few values share much by chance: what the same lists share when one of them is shuffled.
    """
    levels = [_levels(values) for values in (first, second)]
    shuffled = np.random.default_rng(0).permutation(levels[1])
    chance = _shared(levels[0], shuffled)
    return max((_shared(*levels) - chance) / max(1 - chance, 1e-6), 0.0)


def unexplained(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the share of the variance of either of two lists of values that the other does not explain, the larger.

    That is what the correlation ratio (Roche et al., MICCAI 1998) leaves of 1, whatever the contrasts; 1 by chance.
    """
    return max(_left_by(first, second), _left_by(second, first))


def correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Return the normalised cross correlation of two lists of values; 0 if one is constant."""
    a, b = (values - values.mean(dtype=np.float64) for values in (first, second))
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b / norm) if norm > 1e-9 else 0.0


def displacements(places: Places, distances: Sequence[float]) -> list[NDArray[np.float64]]:
    """Return rigid displacements of the fixed world: along and about each axis of the anatomy, both ways.

    Parameters
    ----------
    places
        Their principal axes are taken.
    distances
        How far in shares of the places' radius: of a shift, and of the arc at the radius of a turn.

    Returns
    -------
    list of ndarray
        ``(4, 4)`` world matrices, twelve a distance.
    """
    centre, radius = places.centre, places.radius
    axes = np.linalg.eigh(np.cov((places.points - centre).T))[1].T
    found = []
    for share in distances:
        for axis in [*axes, *-axes]:
            shift, turn = np.eye(4), np.eye(4)
            shift[:3, 3] = share * radius * axis
            rotation = rotation_from_vector(torch.tensor(share * axis, dtype=torch.float64)).numpy()
            turn[:3, :3], turn[:3, 3] = rotation, centre - rotation @ centre
            found += [shift, turn]
    return found


def rotation_of(pose: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the linear part of a pose without its stretch."""
    left, _, right = np.linalg.svd(pose[:3, :3])
    return np.asarray(left @ right)


def _tensors(edges: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the tensors' components less their means, ``(n, 6)``, so that products add up to those of the tensors."""
    x, y, z = edges.T.astype(np.float64)
    root = np.sqrt(2.0)
    parts = np.stack([x * x, y * y, z * z, root * x * y, root * x * z, root * y * z], axis=1)
    return np.asarray(parts - parts.mean(0))


def _shared(first: NDArray[np.int64], second: NDArray[np.int64]) -> float:
    joint = np.bincount(first * BINS + second, minlength=BINS * BINS).reshape(BINS, BINS) / len(first)
    both = entropy(joint)
    return (entropy(joint.sum(0)) + entropy(joint.sum(1))) / both - 1 if both > 0 else 0.0


def _left_by(known: NDArray[np.float32], values: NDArray[np.float32]) -> float:
    levels, numbers = _levels(known), values.astype(np.float64)
    count = np.maximum(np.bincount(levels, minlength=BINS), 1)
    total, squares = (np.bincount(levels, weights, BINS) for weights in (numbers, numbers**2))
    whole = float(((numbers - numbers.mean()) ** 2).sum())
    return float((squares - total**2 / count).sum()) / whole if whole > 0 else 1.0


def _levels(values: NDArray[np.float32]) -> NDArray[np.int64]:
    low, high = (_share_below(values, share) for share in (0.005, 0.995))
    if high <= low:
        return np.zeros(len(values), dtype=np.int64)
    return np.clip((values - low) * (BINS / (high - low)), 0, BINS - 1).astype(np.int64)


def _share_below(values: NDArray[np.float32], share: float) -> float:
    """Return the value that a share of the values lies below, as `numpy.quantile` does in ten times the time."""
    place = share * (len(values) - 1)
    lower = int(place)
    upper = min(lower + 1, len(values) - 1)
    ordered = np.partition(values, (lower, upper))
    return float(ordered[lower]) + (place - lower) * (float(ordered[upper]) - float(ordered[lower]))
