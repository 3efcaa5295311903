"""One default registration: seconds of its stages, peak memory, and what its deformable stage iterated on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from DeepRegLib.image import box_around, read_image
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import AUTO
from DeepRegLib.result import Registration
from DeepRegLib.stages.initialisation import coarse_levels
from DeepRegLib.stages.run import MARGIN_VOXELS, working_grid
from Testing.benchmarks.child import peak_memory


def run_once(fixed: str, moving: str) -> dict[str, Any]:
    """Register two files on the CPU and return what it took."""
    images = read_image(fixed), read_image(moving)
    begin = perf_counter()
    result = register(*images, recipe=AUTO, device="cpu")
    seconds = {**result.timings, "register": perf_counter() - begin}
    answer = {"seconds": seconds, "peak GB": peak_memory(), "pixels": str(images[1].array.dtype)}
    return answer | deformable_stage(result)


def deformable_stage(result: Registration) -> dict[str, Any]:
    """Return the similarity of a deformable stage, and the voxels and iterations of its levels.

    Levels that were descended to be compared with a search for large motion took their seconds in that stage.
    """
    recipe = result.recipe.deformable
    before = coarse_levels(result.recipe) if "large motion" in result.timings else 0
    finest = working_grid(box_around(result.fixed_foreground), recipe.voxels, MARGIN_VOXELS)
    levels = []
    for number, shrink in enumerate(recipe.shrink[before:], start=before):
        i, j, k = finest.resized(finest.spacing[0] * shrink).size
        iterations = len(result.curves.get(f"deformable {number + 1}", ()))
        levels.append({"voxels": i * j * k, "iterations": iterations})
    return {"similarity": recipe.similarity, "levels": levels}


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(run_once(*sys.argv[1:-1])), encoding="utf-8")
