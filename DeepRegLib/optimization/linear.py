"""Rigid, similarity and affine registration of several starting poses in one batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from DeepRegLib.optimization.global_search import AMPLE_OVERLAP, Pose
from DeepRegLib.optimization.rotations import rotation_from_vector
from DeepRegLib.optimization.working import WorkingImage, weighted_centroid, weighted_radius
from DeepRegLib.recipes import CROSS_MODAL_SIMILARITIES
from DeepRegLib.similarity import Similarity, make_similarity
from DeepRegLib.transforms.sampling import central_difference, identity_grid, on_device, sample_images

FIRST_MOMENT, SECOND_MOMENT = 0.8, 0.95
WEIGHT_REFRESH = 5
FINAL_STEP = 0.02
LNCC_RADIUS = SSIM_RADIUS = 2
LC2_RADIUS = 3
MIND_RADIUS = 1
RADIUS = {"lncc": LNCC_RADIUS, "ssim": SSIM_RADIUS, "lc2": LC2_RADIUS, "mind": MIND_RADIUS}


@dataclass(frozen=True, eq=False)
class FewSlices:
    """Across which slices an affine transform may turn and shift, but not stretch or shear.

    Parameters
    ----------
    fixed, moving
        Normal of the image's slices, ``(3,)``, LPS, of length 1; None for an image that has slices enough.
    """

    fixed: NDArray[np.float64] | None = None
    moving: NDArray[np.float64] | None = None


NO_FEW_SLICES = FewSlices()


@dataclass(frozen=True, eq=False)
class LinearFit:
    """Refined poses, best first, and the best one's similarity at each iteration."""

    poses: list[Pose]
    curve: NDArray[np.float64]


def refine_poses(
    fixed: WorkingImage,
    moving: WorkingImage,
    poses: Sequence[NDArray[np.float64]],
    *,
    model: str,
    similarity: str,
    iterations: int,
    first_step: float,
    on_step: Callable[[int, Tensor], None],
    few_slices: FewSlices = NO_FEW_SLICES,
) -> LinearFit:
    """Move every starting pose uphill on the similarity.

    The update is multiplicative: A <- exp(e) A, with the gradient projected on the skew part of e (rigid), plus its
    trace (similarity), or whole (affine), about the fixed centroid; Adam in mm at the foreground's radius.

    Parameters
    ----------
    fixed, moving
        Working images.
    poses
        World matrices ``(4, 4)``, fixed to moving, LPS mm.
    model
        ``"rigid"``, ``"similarity"`` or ``"affine"``.
    similarity
        Name of the metric.
    iterations
        Steps, all taken.
    first_step
        Length of the first step in working voxels; it decays to `FINAL_STEP`.
    on_step
        Called after every iteration with its number and the candidates' similarities ``(B,)`` on the device; may
        raise to stop.
    few_slices
        What the affine model leaves as it is in the poses given.

    Returns
    -------
    LinearFit
        Scored as `score_poses` does.
    """
    problem = _LinearProblem(fixed, moving, similarity)
    state = problem.start(poses)
    scale = max(fixed.geometry.spacing)
    moments = (torch.zeros_like(state), torch.zeros_like(state))
    metric: Similarity | None = None
    values = []
    for iteration in range(iterations):
        if metric is None or iteration % WEIGHT_REFRESH == 0:
            warped, weight = problem.warp(state)
            metric = problem.metric(weight)
        else:
            warped = problem.sample(state, problem.channels[:1])[:, 0]
        value, gradient = metric.value_and_gradient(warped)
        values.append(value)
        across = problem.normals(state, few_slices) if model == "affine" else []
        direction = _project(problem.pose_gradient(state, gradient, warped), model)
        step = _step_length(iteration, iterations, first_step) * scale
        # Adam scales each number by itself, which brings back a part of what was taken out.
        direction = _stiff(_adam(_stiff(direction, across), moments, iteration), across)
        state = problem.move(state, direction * step)
        on_step(iteration, value)
    matrices = problem.matrices(state)
    scores = score_poses(fixed, moving, matrices, similarity)
    order = np.argsort(-scores, kind="stable")
    history = torch.stack(values).double().cpu().numpy() if values else np.zeros((0, len(poses)))
    return LinearFit([Pose(matrices[n], float(scores[n])) for n in order], history[:, order[0]])


def score_poses(
    fixed: WorkingImage, moving: WorkingImage, matrices: Sequence[NDArray[np.float64]], similarity: str
) -> NDArray[np.float64]:
    """Rate poses by a metric that compares candidates fairly, lowered where little of the images overlaps.

    Returns
    -------
    ndarray
        Shape ``(n,)``: masked NCC within a modality, mutual information or LC2 across, times coverage^(1/4).
    """
    across = "lc2" if similarity == "lc2" else "mi"
    ranking = across if similarity in CROSS_MODAL_SIMILARITIES else "ncc"
    problem = _LinearProblem(fixed, moving, ranking)
    warped, weight = problem.warp(problem.start(matrices))
    value = problem.metric(weight).value(warped)
    return (value * _coverage(fixed, moving, weight).pow(0.25)).double().cpu().numpy()


def moved_onto(fixed: WorkingImage, moving: WorkingImage, matrix: NDArray[np.float64]) -> WorkingImage:
    """Bring the moving image onto the fixed one's grid by a world matrix, fixed to moving; its weight is 0 outside."""
    problem = _LinearProblem(fixed, moving, "ncc")
    intensity, weight = problem.sample(problem.start([matrix]), problem.channels)[0]
    return WorkingImage(intensity, weight, fixed.geometry)


def _coverage(fixed: WorkingImage, moving: WorkingImage, weight: Tensor) -> Tensor:
    """Overlap of the weights as a share of what is ample, at most 1, ``(B,)``."""
    volumes = [float(np.prod(image.geometry.spacing)) for image in (fixed, moving)]
    smaller = torch.minimum(fixed.weight.sum() * volumes[0], moving.weight.sum() * volumes[1])
    return (weight.sum(dim=(-3, -2, -1)) * volumes[0] / (AMPLE_OVERLAP * smaller).clamp_min(1e-6)).clamp(0, 1)


class _LinearProblem:
    """The images and frames of one level. A state is ``(B, 3, 4)``: A and T(c), with T(x) = A (x - c) + T(c)."""

    def __init__(self, fixed: WorkingImage, moving: WorkingImage, similarity: str) -> None:
        self.fixed, self.moving, self.similarity = fixed, moving, similarity
        self.centre = weighted_centroid(fixed)
        self.radius = weighted_radius(fixed, self.centre)
        # The poses are small matrices: exact on the host, where MPS has no float64.
        centre_index = fixed.geometry.to_index(self.centre)
        grid = identity_grid(fixed.geometry.shape, fixed.device)
        self.offsets = grid.reshape(-1, 3) - torch.tensor(centre_index, dtype=torch.float32, device=fixed.device)
        # The same along i, j, k: a plane's sum times its offset, added up, is what each voxel times its own would be.
        self.axes = [
            torch.arange(n, dtype=torch.float32, device=fixed.device) - middle
            for n, middle in zip(fixed.geometry.size, centre_index.tolist(), strict=True)
        ]
        self.channels = moving.channels
        self.from_world = self._tensor(moving.geometry.world_to_index)
        self.to_world = self._tensor(fixed.geometry.index_to_world[:3, :3])
        self.to_index = self._tensor(fixed.geometry.world_to_index[:3, :3])

    def start(self, poses: Sequence[NDArray[np.float64]]) -> Tensor:
        states = []
        for pose in poses:
            target = pose[:3, :3] @ self.centre + pose[:3, 3]
            states.append(np.concatenate([pose[:3, :3], target[:, None]], axis=1))
        return self._tensor(np.array(states))

    def matrices(self, state: Tensor) -> list[NDArray[np.float64]]:
        found = []
        for rows in state.double().cpu().numpy():
            matrix = np.eye(4)
            matrix[:3, :3] = rows[:, :3]
            matrix[:3, 3] = rows[:, 3] - rows[:, :3] @ self.centre
            found.append(matrix)
        return found

    def warp(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the warped images and weights ``(B, D, H, W)``."""
        warped, seen = self.sample(state, self.channels).unbind(1)
        return warped, self.fixed.weight * seen

    def sample(self, state: Tensor, channels: Tensor) -> Tensor:
        """Look up channels ``(C, d, h, w)`` on the moving grid, ``(B, C, D, H, W)``."""
        linear = self.from_world[:3, :3] @ state[..., :3] @ self.to_world
        shift = self.from_world[:3, :3] @ state[..., 3:] + self.from_world[:3, 3:]
        # All candidates look up the same image, so they are one tall grid; each component of it is contiguous.
        shift, linear = (part.transpose(0, 1).flatten(0, 1) for part in (shift, linear))
        depth, height, width = self.fixed.geometry.shape
        index = torch.addmm(shift, linear, self.offsets.T).reshape(3, -1, height, width).permute(1, 2, 3, 0)
        return sample_images(channels, index, padding="zeros").unflatten(1, (len(state), depth)).transpose(0, 1)

    def metric(self, weight: Tensor) -> Similarity:
        radius = RADIUS.get(self.similarity, 1)
        return make_similarity(self.similarity, self.fixed.intensity[None], weight, radius=radius)

    def pose_gradient(self, state: Tensor, gradient: Tensor, warped: Tensor) -> Tensor:
        """Return dS/d(e, t) in units of mm at the radius, ``(B, 3, 4)``, for A <- exp(e) A and T(c) <- T(c) + t."""
        moments, totals = [], []
        for dim in (-1, -2, -3):
            force = central_difference(warped, dim).mul_(gradient)
            columns, planes = force.sum(-3), force.sum((-2, -1))
            sums = columns.sum(-2), columns.sum(-1), planes
            moments.append(torch.stack([n @ offsets for n, offsets in zip(sums, self.axes, strict=True)], dim=-1))
            totals.append(planes.sum(-1, keepdim=True))
        moment, total = torch.stack(moments, dim=1), torch.stack(totals, dim=1)
        to_moving = torch.linalg.inv(state[..., :3]).transpose(1, 2) @ self.to_index.T
        linear = to_moving @ moment @ self.to_world.T @ state[..., :3].transpose(1, 2)
        return torch.cat([linear / self.radius, to_moving @ total], dim=-1)

    def normals(self, state: Tensor, few_slices: FewSlices) -> list[Tensor]:
        """Return the normals of few slices in the moving world, ``(B, 3, 1)`` each."""
        found = []
        if few_slices.fixed is not None:
            found.append(state[..., :3] @ on_device(few_slices.fixed.tolist(), state)[:, None])
        if few_slices.moving is not None:
            found.append(on_device(few_slices.moving.tolist(), state)[None, :, None].expand(len(state), 3, 1))
        return [normal / normal.norm(dim=1, keepdim=True) for normal in found]

    def move(self, state: Tensor, step: Tensor) -> Tensor:
        """Apply a step in mm at the radius."""
        small = step[..., :3] / self.radius
        turn = (small - small.transpose(1, 2)) / 2
        stretch = (small + small.transpose(1, 2)) / 2
        axis = torch.stack([turn[:, 2, 1], turn[:, 0, 2], turn[:, 1, 0]], dim=-1)
        identity = torch.eye(3, device=state.device, dtype=state.dtype)
        grow = identity + stretch + stretch @ stretch / 2 + stretch @ stretch @ stretch / 6
        linear = rotation_from_vector(axis) @ grow @ state[..., :3]
        return torch.cat([linear, state[..., 3:] + step[..., 3:]], dim=-1)

    def _tensor(self, array: NDArray[np.float64]) -> Tensor:
        return torch.tensor(array, dtype=torch.float32, device=self.fixed.device)


def _project(gradient: Tensor, model: str) -> Tensor:
    linear = gradient[..., :3]
    if model == "affine":
        return gradient
    kept = (linear - linear.transpose(1, 2)) / 2
    if model == "similarity":
        trace = linear.diagonal(dim1=-2, dim2=-1).mean(-1)
        kept = kept + trace[:, None, None] * torch.eye(3, device=linear.device, dtype=linear.dtype)
    return torch.cat([kept, gradient[..., 3:]], dim=-1)


def _stiff(direction: Tensor, across: Sequence[Tensor]) -> Tensor:
    """Take out of ``(B, 3, 4)`` what stretches or shears across slices, given by their normals ``(B, 3, 1)``."""
    for normal in across:
        linear = direction[..., :3]
        stretch = (linear + linear.transpose(1, 2)) / 2
        along = stretch @ normal
        kept = normal @ along.transpose(1, 2)
        kept = kept + kept.transpose(1, 2) - (normal.transpose(1, 2) @ along) * (normal @ normal.transpose(1, 2))
        direction = torch.cat([linear - kept, direction[..., 3:]], dim=-1)
    return direction


def _adam(gradient: Tensor, moments: tuple[Tensor, Tensor], iteration: int) -> Tensor:
    """One Adam direction (Kingma and Ba, 2015), moments updated in place; a zero gradient gives zero."""
    first, second = moments
    first.mul_(FIRST_MOMENT).add_(gradient, alpha=1 - FIRST_MOMENT)
    second.mul_(SECOND_MOMENT).addcmul_(gradient, gradient, value=1 - SECOND_MOMENT)
    mean = first / (1 - FIRST_MOMENT ** (iteration + 1))
    deviation = torch.sqrt(second / (1 - SECOND_MOMENT ** (iteration + 1)))
    return mean / deviation.clamp_min(1e-20)


def _step_length(iteration: int, iterations: int, first: float) -> float:
    """Cosine decay from `first` to `FINAL_STEP` working voxels."""
    progress = iteration / max(iterations - 1, 1)
    return FINAL_STEP + (first - FINAL_STEP) * 0.5 * (1 + math.cos(math.pi * progress))
