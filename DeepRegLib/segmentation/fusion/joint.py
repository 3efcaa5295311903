"""Joint label fusion: weights that allow for atlases making the same mistake, with a search for the best patch."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.monitoring import Poll
from DeepRegLib.segmentation.fusion.candidates import Candidates, winners
from DeepRegLib.segmentation.fusion.windows import Doubles, Windows, correlation, padded_slab

PATCH = 2  # radius in voxels
REACH = 1  # how far a better patch is looked for, in voxels along each axis
RIDGE = 0.1  # added to the diagonal
SHARPNESS = 2  # power of the expected product of errors
UNSEEN = 1e6  # error of an atlas that does not show a place
VOXELS_AT_ONCE = 4096
Places = NDArray[np.int64]


def fuse_jointly(candidates: Candidates, poll: Poll) -> NDArray[np.integer]:
    """Return the label of most weight, the weights being those of least expected error.

    At each voxel every atlas gives the patch within reach that correlates best with the scan's. How likely two atlases
    err together there is taken from the product of their patches' differences from the scan's, each patch with mean 0
    and spread 1: ``M_ij = (mean of |d_i| |d_j|) ** 2``. The weights
    ``w = (M + ridge)^-1 1 / (1' (M + ridge)^-1 1)`` make the expected error ``w' M w`` least.

    References
    ----------
    Wang et al., "Multi-atlas segmentation with joint label fusion", TPAMI 2013: closed form (eq. 11), patch search.
    """
    fused = candidates.unanimous()
    disputed = candidates.disputed()
    margin = PATCH + REACH
    for slab in candidates.slabs():
        poll()
        where = disputed[slab]
        if not where.any():
            continue
        target = padded_slab(candidates.target, slab, PATCH)
        atlases = [padded_slab(image, slab, margin) for image in candidates.images]
        shifts = [_best_shift(Windows(target, PATCH), Windows(atlas, PATCH), where, poll) for atlas in atlases]
        places = np.argwhere(where)
        decided = [
            _decided(candidates, slab, target, atlases, places[chunk], [shift[chunk] for shift in shifts])
            for chunk in _chunks(len(places), poll)
        ]
        fused[slab][where] = np.concatenate(decided)
    return fused


def _chunks(count: int, poll: Poll) -> list[slice]:
    poll()
    return [slice(start, start + VOXELS_AT_ONCE) for start in range(0, count, VOXELS_AT_ONCE)]


def _best_shift(target: Windows, atlas: Windows, where: NDArray[np.bool_], poll: Poll) -> Places:
    """Return the shift (k, j, i) to the patch that correlates best, ``(voxels, 3)``; on a tie none."""
    best = correlation(target, atlas, (0, 0, 0), REACH)[where]
    shifts = np.zeros((len(best), 3), dtype=np.int64)
    steps = range(-REACH, REACH + 1)
    for shift in itertools.product(steps, steps, steps):
        if any(shift):
            poll()
            found = correlation(target, atlas, shift, REACH)[where]
            better = found > best
            best[better] = found[better]
            shifts[better] = shift
    return shifts


def _decided(
    candidates: Candidates, slab: slice, target: Doubles, atlases: list[Doubles], places: Places, shifts: list[Places]
) -> NDArray[np.integer]:
    """Return the fused labels at places (k, j, i) of a slab, ``(voxels,)``."""
    wanted = _patches(target, places + PATCH)
    votes, differences, unseen = [], [], []
    here, last = places + np.array([slab.start, 0, 0]), np.array(candidates.target.shape) - 1
    for number, (atlas, shift) in enumerate(zip(atlases, shifts, strict=True)):
        found = _patches(atlas, places + shift + PATCH + REACH)
        differences.append(np.abs(found - wanted))
        there = np.clip(here + shift, 0, last)
        votes.append(candidates.labels[number][tuple(there.T)])
        unseen.append(~candidates.seen[number][tuple(here.T)])
    return winners(np.stack(votes), joint_weights(np.stack(differences, axis=1), np.stack(unseen, axis=1)).T)


def joint_weights(differences: Doubles, unseen: NDArray[np.bool_]) -> Doubles:
    """Return the weights of least expected error.

    Parameters
    ----------
    differences
        ``(voxels, n, patch)``: absolute differences of each atlas's patch from the scan's.
    unseen
        ``(voxels, n)``: atlases that have no say.

    Returns
    -------
    ndarray
        ``(voxels, n)``; their sum over the atlases is 1 where any has a say.
    """
    errors = (differences @ differences.transpose(0, 2, 1) / differences.shape[-1]) ** SHARPNESS
    count = errors.shape[-1]
    errors[:, np.arange(count), np.arange(count)] += RIDGE + UNSEEN * unseen
    weights: Doubles = np.linalg.solve(errors, np.ones((len(errors), count, 1)))[..., 0]
    weights[unseen] = 0.0
    total = weights.sum(axis=1, keepdims=True)
    return weights / np.where(np.abs(total) > 0, total, 1.0)


def _patches(values: Doubles, centres: Places) -> Doubles:
    """Return the patches about centres (k, j, i), ``(voxels, patch)``: mean 0 and spread 1, or all 0 where flat."""
    steps = np.arange(-PATCH, PATCH + 1)
    offsets = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    strides = np.array([values.shape[1] * values.shape[2], values.shape[2], 1])
    patches = values.reshape(-1)[(centres @ strides)[:, None] + (offsets @ strides)[None]]
    patches = patches - patches.mean(axis=1, keepdims=True)
    spread = patches.std(axis=1, keepdims=True)
    return patches / np.where(spread > 0, spread, 1.0)
