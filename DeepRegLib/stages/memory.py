"""How many voxels the deformable stage and a network work on, so that the memory of their device suffices."""

from __future__ import annotations

import math
from dataclasses import replace

from DeepRegLib.devices import free_memory
from DeepRegLib.models import Manifest
from DeepRegLib.recipes import AUTO, FEATURES, LNCC_NGF, Deformable
from DeepRegLib.stages.levels import finest_grid
from DeepRegLib.stages.run import Run

# Bytes a voxel of the finest level at most, by similarity: what the descent has at once on a card, where nothing is
# done slab by slab, both images and the coarser levels included; measured, and a fifth added.
BYTES = {
    "ssd": 95,
    "ssim": 135,
    "ncc": 100,
    "lncc": 100,
    LNCC_NGF: 175,
    "mind": 460,
    "ngf": 120,
    "lc2": 135,
    FEATURES: 1000,  # the answer of anatomix; the descent needs half of it
}
# What `auto` may choose.
CHOSEN = ("lncc", LNCC_NGF, "ngf")
# What else lies there: the search for large motion's two cost volumes, the working images of the linear stage, and what
# a driver keeps for itself.
BESIDES = 1_500_000_000
# Bytes a voxel of its grid that a network's answer takes at once, by architecture with its default arguments; measured
# in float32, which half precision needs half of, and a fifth added.
ANSWER_BYTES = {"pyramid": 400, "lapirn": 1080, "unigradicon": 440}
# Of the free memory; the rest is lost between what is allocated.
USABLE = 0.9
LEAST_VOXELS = 100_000


def needed_bytes(recipe: Deformable, voxels: int) -> int:
    """Return the memory in bytes that a deformable stage needs, at most, on a finest level of so many voxels."""
    names = CHOSEN if recipe.similarity == AUTO else (recipe.similarity,)
    return BESIDES + voxels * max(BYTES[name] for name in names)


def fitting_voxels(recipe: Deformable, free: int) -> int:
    """Return the voxels of the finest level that `free` bytes suffice for: those of the recipe, or fewer."""
    a_voxel = needed_bytes(recipe, 1) - needed_bytes(recipe, 0)
    room = int((USABLE * free - needed_bytes(recipe, 0)) / a_voxel)
    return min(recipe.voxels, max(room, LEAST_VOXELS))


def answerable_voxels(manifest: Manifest, free: int) -> int:
    """Return the voxels of the grid on which `free` bytes suffice for a network's answer."""
    return int(USABLE * free / ANSWER_BYTES.get(manifest.architecture, max(ANSWER_BYTES.values())))


def within_memory(run: Run) -> Run:
    """Let the deformable stage of a run work on a coarser grid where its own would not fit, and say so."""
    recipe = run.recipe.deformable
    free = free_memory(str(run.device)) if recipe.enabled else None
    if free is None:
        return run
    voxels, wanted = fitting_voxels(recipe, free), math.prod(finest_grid(run).size)
    if wanted <= voxels:
        return run
    told = (
        f"{free / 1e9:.1f} GB are free on {run.device}, too little for a grid of {wanted / 1e6:.3g} million voxels; "
        f"the deformable stage works on {voxels / 1e6:.3g} million"
    )
    run.log.add_decision(f"Levels: {told}.")
    run.log.add_warning(f"{told}, which costs detail.")
    return run.with_recipe(replace(run.recipe, deformable=replace(recipe, voxels=voxels)))
