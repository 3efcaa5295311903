"""Plain autograd implementations of the metrics, written from the papers and without any of the library's devices."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as functional
from torch import Tensor

AXES = (-3, -2, -1)


def window_sum(x: Tensor, radius: int) -> Tensor:
    kernel = x.new_ones(1, 1, *(2 * radius + 1,) * 3)
    return functional.conv3d(x[:, None], kernel, padding=radius)[:, 0]


def ssd(fixed: Tensor, weight: Tensor, warped: Tensor) -> Tensor:
    weight = weight.expand_as(warped)
    return -(weight * (warped - fixed) ** 2).sum(AXES) / weight.sum(AXES)


def ncc(fixed: Tensor, weight: Tensor, warped: Tensor) -> Tensor:
    values = []
    for f, w, m in zip(*torch.broadcast_tensors(fixed, weight, warped), strict=True):
        f, m = f - (w * f).sum() / w.sum(), m - (w * m).sum() / w.sum()
        values.append((w * f * m).sum() / ((w * f * f).sum() * (w * m * m).sum()).sqrt())
    return torch.stack(values)


def lncc(fixed: Tensor, weight: Tensor, warped: Tensor, radius: int, step: int = 1) -> Tensor:
    return lncc_terms(fixed, weight, warped, radius, step).sum(AXES)


def lncc_terms(fixed: Tensor, weight: Tensor, warped: Tensor, radius: int, step: int = 1) -> Tensor:
    """Return what the window about each voxel adds; of every `step`-th voxel along each axis."""
    fixed, weight, warped = torch.broadcast_tensors(fixed, weight, warped)
    mass = window_sum(weight, radius)
    kept = mass >= 0.05 * (2 * radius + 1) ** 3 * weight.amax(AXES, keepdim=True)
    mass = torch.where(kept, mass, torch.ones_like(mass))
    chosen = torch.zeros_like(mass)
    chosen[..., ::step, ::step, ::step] = 1

    def local(x: Tensor, y: Tensor) -> Tensor:
        mean_x, mean_y = window_sum(weight * x, radius) / mass, window_sum(weight * y, radius) / mass
        return window_sum(weight * x * y, radius) / mass - mean_x * mean_y

    def floor(x: Tensor) -> Tensor:
        share = weight / weight.sum(AXES, keepdim=True)
        mean = (share * x).sum(AXES, keepdim=True)
        return 1e-4 * (share * (x - mean) ** 2).sum(AXES, keepdim=True)

    fixed_variance = local(fixed, fixed)
    raised = local(fixed, warped).abs() + (floor(fixed) * floor(warped)).sqrt()
    squared = raised**2 / ((fixed_variance + floor(fixed)) * (local(warped, warped) + floor(warped)))
    contrast = weight * kept * chosen * fixed_variance / (fixed_variance + floor(fixed))
    return contrast * squared / contrast.sum(AXES, keepdim=True)


def ssim(fixed: Tensor, weight: Tensor, warped: Tensor, radius: int) -> Tensor:
    fixed, weight, warped = torch.broadcast_tensors(fixed, weight, warped)
    mass = window_sum(weight, radius)
    kept = mass >= 0.05 * (2 * radius + 1) ** 3 * weight.amax(AXES, keepdim=True)
    mass = torch.where(kept, mass, torch.ones_like(mass))
    low = fixed.masked_fill(weight == 0, torch.inf).amin(AXES, keepdim=True)
    high = fixed.masked_fill(weight == 0, -torch.inf).amax(AXES, keepdim=True)
    c1, c2 = (0.01 * (high - low)) ** 2, (0.03 * (high - low)) ** 2

    def mean(x: Tensor) -> Tensor:
        return window_sum(weight * x, radius) / mass

    f, m = fixed - low, warped - low
    mean_f, mean_m = mean(f), mean(m)
    variance_f, variance_m = mean(f * f) - mean_f**2, mean(m * m) - mean_m**2
    luminance = (2 * mean_f * mean_m + c1) / (mean_f**2 + mean_m**2 + c1)
    structure = (2 * (mean(f * m) - mean_f * mean_m) + c2) / (variance_f + variance_m + c2)
    return (weight * kept * luminance * structure).sum(AXES) / (weight * kept).sum(AXES)


def lc2(fixed: Tensor, weight: Tensor, warped: Tensor, radius: int) -> Tensor:
    """Fit each window by least squares with a solver (Wein et al. 2013)."""
    inner = torch.zeros_like(weight)
    inner[:, 1:-1, 1:-1, 1:-1] = torch.stack(
        [weight.roll(step, axis)[:, 1:-1, 1:-1, 1:-1] for axis in (1, 2, 3) for step in (-1, 0, 1)]
    ).amin(0)
    slopes = [(warped.roll(-1, axis) - warped.roll(1, axis)) / 2 for axis in (1, 2, 3)]
    inside = torch.zeros_like(warped)
    inside[:, 1:-1, 1:-1, 1:-1] = 1
    edges = (sum(slope**2 for slope in slopes) * inside + (1 - inside)).sqrt()  # no root at zero at the border
    share = inner / inner.sum((1, 2, 3), keepdim=True)
    images = [fixed.expand_as(warped), warped, edges]
    images = [image - (share * image).sum((1, 2, 3), keepdim=True) for image in images]
    floors = [1e-3 * (share * image**2).sum((1, 2, 3), keepdim=True)[:, ::2, ::2, ::2] for image in images]
    mass = window_sum(inner, radius)[:, ::2, ::2, ::2]
    means = [window_sum(inner * image, radius)[:, ::2, ::2, ::2] / mass.clamp_min(1e-30) for image in images]

    def covariance(first: int, second: int) -> Tensor:
        product = window_sum(inner * images[first] * images[second], radius)[:, ::2, ::2, ::2]
        return product / mass.clamp_min(1e-30) - means[first] * means[second]

    rows = [[covariance(k, n) + (floors[k] if k == n else 0) for n in (1, 2)] for k in (1, 2)]
    matrix = torch.stack([torch.stack(row, -1) for row in rows], -2)
    right = torch.stack([covariance(0, 1), covariance(0, 2)], -1)
    counted = mass >= 0.05 * inner.amax((1, 2, 3), keepdim=True) * (2 * radius + 1) ** 3
    matrix = torch.where(counted[..., None, None], matrix, torch.eye(2, dtype=matrix.dtype))
    explained = (right * torch.linalg.solve(matrix, right)).sum(-1)
    variance = covariance(0, 0)
    kept = inner[:, ::2, ::2, ::2] * counted / (variance + floors[0])
    return (kept * explained).sum((1, 2, 3)) / (kept * variance).sum((1, 2, 3))


def ngf(fixed: Tensor, weight: Tensor, warped: Tensor, edge: float) -> Tensor:
    fixed, weight, warped = torch.broadcast_tensors(fixed, weight, warped)
    corners = list(itertools.product((0, 1), repeat=3))

    def at(x: Tensor, corner: tuple[int, ...]) -> Tensor:
        k, j, i = (slice(c, n - 1 + c) for c, n in zip(corner, x.shape[1:], strict=True))
        return x[:, k, j, i]

    cells = torch.stack([at(weight, corner) for corner in corners]).amin(0)

    def normal(x: Tensor) -> Tensor:
        slopes = torch.stack([sum((2 * c[axis] - 1) * at(x, c) for c in corners) / 4 for axis in range(3)])
        squares = (slopes**2).sum(0)
        noise = edge * (cells * squares.sqrt()).sum(AXES, keepdim=True) / cells.sum(AXES, keepdim=True)
        return slopes / (squares + noise**2).sqrt()

    fixed_normal, warped_normal = normal(fixed), normal(warped)

    def product(x: Tensor, y: Tensor) -> Tensor:
        return (cells * (x * y).sum(0) ** 2).sum(AXES)

    sizes = product(fixed_normal, fixed_normal) * product(warped_normal, warped_normal)
    return product(fixed_normal, warped_normal) / sizes.sqrt()


def cubic_spline(x: Tensor) -> Tensor:
    x = x.abs()
    inner, outer = 2 / 3 - x**2 + x**3 / 2, (2 - x).clamp(min=0) ** 3 / 6
    return torch.where(x < 1, inner, outer)


def mutual_information(
    fixed: Tensor, weight: Tensor, warped: Tensor, bins: int, moving_range: tuple[float, float]
) -> Tensor:
    values = []
    for f, w, m in zip(*torch.broadcast_tensors(fixed, weight, warped), strict=True):
        low, high = f[w > 0].min(), f[w > 0].max()
        rows = ((f - low) / (high - low) * bins).floor().clamp(0, bins - 1).flatten()
        position = 1 + (m.clamp(*moving_range) - moving_range[0]) / (moving_range[1] - moving_range[0]) * (bins - 3)
        names = torch.arange(bins, dtype=f.dtype)
        parzen = cubic_spline(position.flatten()[:, None] - names)
        joint = (rows[:, None] == names).to(f.dtype).T @ (parzen * w.flatten()[:, None]) / w.sum()
        independent = joint.sum(1, keepdim=True) * joint.sum(0, keepdim=True)
        present = joint > 0
        values.append((joint[present] * (joint[present] / independent[present]).log()).sum())
    return torch.stack(values)


def mind_features(image: Tensor, radius: int, dilation: int) -> Tensor:
    """Features ``(B, 12, D, H, W)`` in no particular order of channels that a test may rely on."""
    margin = radius + dilation
    padded = functional.pad(image, (margin,) * 6, mode="replicate")
    shape = image.shape[1:]
    neighbours = [
        tuple(sign * dilation * (axis == k) for k in range(3)) for axis, sign in itertools.product(range(3), (-1, 1))
    ]

    def at(offset: tuple[int, ...], patch: tuple[int, ...]) -> Tensor:
        start = [margin + o + p for o, p in zip(offset, patch, strict=True)]
        return padded[:, start[0] :, start[1] :, start[2] :][:, : shape[0], : shape[1], : shape[2]]

    distances = []
    for a, b in itertools.combinations(neighbours, 2):
        if all(x == -y for x, y in zip(a, b, strict=True)):
            continue
        patches = list(itertools.product(range(-radius, radius + 1), repeat=3))
        distances.append(sum((at(a, p) - at(b, p)) ** 2 for p in patches) / len(patches))
    distance = torch.stack(distances, 1)
    noise = distance.mean(1, keepdim=True)
    typical = noise.mean(AXES, keepdim=True).detach()
    noise = torch.minimum(torch.maximum(noise, 1e-3 * typical), 1e3 * typical)
    return torch.exp(-(distance - distance.amin(1, keepdim=True)) / noise)


def mind(fixed: Tensor, weight: Tensor, warped: Tensor, radius: int, dilation: int) -> Tensor:
    difference = mind_features(warped, radius, dilation) - mind_features(fixed, radius, dilation)
    weight = weight.expand_as(warped)
    return -(weight * (difference**2).mean(1)).sum(AXES) / weight.sum(AXES)
