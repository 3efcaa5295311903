"""A run under way, for the tests of single stages."""

from __future__ import annotations

import torch

from DeepRegLib.image import Image
from DeepRegLib.monitoring import Monitor
from DeepRegLib.preparation import prepare_pair
from DeepRegLib.recipes import Recipe
from DeepRegLib.stages.run import Run


def run_of(fixed: Image, moving: Image, recipe: Recipe, stage: str) -> Run:
    """Return a run of two images that is to do one stage, on the CPU."""
    pair = prepare_pair(fixed, moving, recipe.prepare)
    return Run(pair, recipe, torch.device("cpu"), Monitor([stage], None, None))
