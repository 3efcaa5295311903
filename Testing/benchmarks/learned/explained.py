"""What a model's field rests on, beside the error to be expected and the true one: scans deformed by known fields."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Recipe, load_recipe, with_model
from DeepRegLib.transforms import DisplacementField
from Testing.benchmarks.cases import find_cases
from Testing.benchmarks.learned.candidates import held_back, one_of_a_kind
from Testing.benchmarks.learned.capture import deformed, distances
from Testing.benchmarks.options import Options
from Testing.benchmarks.poses import fine_enough
from Testing.benchmarks.tables import Table, nothing

TITLE = "What a model's field rests on"
OF_TRUST, OF_ERROR, TRUST_OF_ERROR = "rests on, expected error", "rests on, true error", "expected, true error"
# Mean distances in mm, and the seed of the deformation that `capture` draws for each.
DEFORMED = {10.0: 1, 20.0: 2}
COLUMNS = ("case", "mm before", "mm left", OF_TRUST, OF_ERROR, TRUST_OF_ERROR, "CPU seconds")


def measure(options: Options) -> Table:
    """Register a scan of each kind with itself, deformed by two mean errors, and compare the maps at its points.

    The three columns between are rank correlations (Spearman). Below 0 the field rested most on what the scan shows
    where least error was expected, and where there was least.
    """
    cases = one_of_a_kind(held_back(find_cases(options.data, options.only)))
    if not cases:
        return nothing(TITLE, f"There is no case in {options.data}.")
    recipe = with_model(load_recipe(options.recipe), options.model, explanation=True)
    rows = []
    for case in cases:
        scan = fine_enough(case.images()[0], case.name)
        for error, seed in DEFORMED.items():
            moved, truth, points = deformed(scan, error, seed)
            if len(points) > 0:  # else the scan is too small to be moved so far
                rows.append({"case": f"{case.name}, {error:g} mm", **compared(scan, moved, recipe, truth, points)})
                print(f"  {rows[-1]}", flush=True)
    return Table(f"{TITLE} ({options.model})", COLUMNS, rows, summed_up(rows))


def compared(
    scan: Image, moved: Image, recipe: Recipe, truth: DisplacementField, points: NDArray[np.float64]
) -> dict[str, float]:
    """Register a scan and compare the maps with each other and with what is left of the true field at points."""
    begun = time.process_time()
    found = register(scan, moved, recipe, device="cpu")
    seconds = time.process_time() - begun
    if found.explanation is None or found.trust is None:
        raise ValueError(f"the recipe {recipe.name} delivers no maps")
    left = distances(truth, found.transform, points)
    rests_on, expected = (at_points(image, points) for image in (found.explanation, found.trust))
    return {
        "mm before": float(distances(truth, None, points).mean()),
        "mm left": float(left.mean()),
        OF_TRUST: rank_correlation(rests_on, expected),
        OF_ERROR: rank_correlation(rests_on, left),
        TRUST_OF_ERROR: rank_correlation(expected, left),
        "CPU seconds": seconds,
    }


def at_points(image: Image, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values of a map at the voxels nearest to points ``(n, 3)``, LPS mm."""
    i, j, k = np.rint(image.geometry.to_index(points)).astype(int).T
    return np.asarray(image.array[k, j, i], np.float64)


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the correlation of the ranks of two samples (Spearman); equal values share the mean of their ranks."""
    return float(np.corrcoef(ranks(first), ranks(second))[0, 1])


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value."""
    _, which, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[which])


def summed_up(rows: list[dict[str, Any]]) -> list[str]:
    """Return the mean of each rank correlation."""
    if not rows:
        return ["All scans are too small to be moved so far."]
    means = (f"{name} {sum(row[name] for row in rows) / len(rows):.2f}" for name in COLUMNS[3:6])
    return [f"Mean rank correlations: {', '.join(means)}."]
