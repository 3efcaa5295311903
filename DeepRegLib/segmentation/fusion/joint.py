"""Joint label fusion: weights that allow for atlases making the same mistake, with a search for the best patch."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.monitoring import Poll
from DeepRegLib.segmentation.fusion.candidates import Candidates, winners
from DeepRegLib.segmentation.fusion.windows import Doubles, padded_slab

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
        places = np.argwhere(where)
        decided = []
        for start in range(0, len(places), VOXELS_AT_ONCE):
            chunk = places[start : start + VOXELS_AT_ONCE]
            decided.append(_decided(candidates, slab, target, atlases, chunk, poll))
        fused[slab][where] = np.concatenate(decided)
    return fused


def _decided(
    candidates: Candidates, slab: slice, target: Doubles, atlases: list[Doubles], places: Places, poll: Poll
) -> NDArray[np.integer]:
    """Return the fused labels at places (k, j, i) of a slab, ``(voxels,)``."""
    wanted = _patches(target, places + PATCH)
    here, last = places + np.array([slab.start, 0, 0]), np.array(candidates.target.shape) - 1
    votes, differences, unseen = [], [], []
    for atlas, labels, seen in zip(atlases, candidates.labels, candidates.seen, strict=True):
        poll()
        found, shift = _best_patch(wanted, atlas, places + PATCH + REACH)
        differences.append(np.abs(found - wanted))
        votes.append(labels[tuple(np.clip(here + shift, 0, last).T)])
        unseen.append(~seen[tuple(here.T)])
    return winners(np.stack(votes), joint_weights(np.stack(differences, axis=1), np.stack(unseen, axis=1)).T)


def _best_patch(wanted: Doubles, atlas: Doubles, centres: Places) -> tuple[Doubles, Places]:
    """Return of the patches within reach those that correlate best, and the shifts (k, j, i) to them; on a tie none."""
    steps = range(-REACH, REACH + 1)
    patches = _patches(atlas, centres)
    best = np.mean(patches * wanted, axis=1)
    shifts = np.zeros_like(centres)
    for shift in itertools.product(steps, steps, steps):
        found = _patches(atlas, centres + np.array(shift))
        alike = np.mean(found * wanted, axis=1)
        better = alike > best
        best[better], patches[better], shifts[better] = alike[better], found[better], shift
    return patches, shifts


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
