"""What `auto` compares in the deformable stage, told from the aligned images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import load_recipe
from DeepRegLib.result import Registration
from Testing.synthetic import blob_values, geometry_in, smooth_field

GRID = geometry_in("LPS", (36, 40, 34), 3.0)
RADIUS = 45.0
DISPLACEMENT = smooth_field(GRID, 5.0)


def registered(contrast: str, *, searched: bool = False) -> Registration:
    """Register the phantom in a contrast to the phantom moved by a known field."""
    pulled, values = (
        blob_values(points, radius=RADIUS).astype(np.float32)
        for points in (DISPLACEMENT.apply_to_points(GRID.points()), GRID.points())
    )
    if contrast == "crooked":
        values = np.interp(values, np.linspace(0, values.max(), 3), (0, 90, 20)).astype(np.float32)
    elif contrast == "unrelated":
        values = np.random.default_rng(0).uniform(20, 90, values.shape).astype(np.float32)
    auto = load_recipe("auto")
    recipe = replace(
        auto,
        search=replace(auto.search, enabled=False),
        linear=replace(auto.linear, model="none"),
        large_motion=replace(auto.large_motion, enabled=searched, shrink=(2,), radius=(2,)),
        model=replace(auto.model, name=""),
        deformable=replace(auto.deformable, voxels=40_000, shrink=(2, 1), iterations=(40, 30)),
    )
    return register(Image(pulled, GRID, "fixed"), Image(values, GRID, "moving"), recipe, device="cpu")


@pytest.mark.parametrize(("contrast", "similarity"), [("same", "lncc"), ("crooked", "matched"), ("unrelated", "ngf")])
def test_auto_compares_what_can_be_compared_and_says_why(contrast, similarity):
    result = registered(contrast)
    assert result.recipe.deformable.similarity == similarity
    (decision,) = [d for d in result.decisions if d.startswith("Deformable similarity")]
    assert f": {similarity}, because" in decision
    assert ("explain" in decision) == (contrast != "same")


def test_what_moved_far_is_searched_for_across_a_crooked_contrast():
    result = registered("crooked", searched=True)
    assert result.recipe.deformable.similarity == "matched"
    assert "large motion" in result.timings
    assert result.measures.folds == 0


def test_a_field_is_found_across_a_crooked_contrast():
    points = GRID.points()[blob_values(GRID.points(), radius=RADIUS) > 250]
    truth = DISPLACEMENT.apply_to_points(points)

    def error(found: NDArray[np.float64]) -> float:
        return float(np.linalg.norm(found - truth, axis=1).mean())

    same, crooked = (error(registered(contrast).transform.apply_to_points(points)) for contrast in ("same", "crooked"))
    assert crooked < same + 0.6
    assert crooked < 0.8 * error(points)
