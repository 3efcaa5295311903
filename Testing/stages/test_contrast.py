"""What `auto` compares in the deformable stage, told from the aligned images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from DeepRegLib.image import Image
from DeepRegLib.optimization.contrast_mapping import map_contrasts
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.field_grid import field_grid
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Recipe, load_recipe
from DeepRegLib.result import Registration
from DeepRegLib.similarity import correlation_ratio
from DeepRegLib.stages.contrast import map_contrasts_again
from DeepRegLib.stages.levels import all_levels, finest_level, with_deformable_similarity
from DeepRegLib.stages.run import Run
from DeepRegLib.transforms import LinearTransform
from Testing.stages.runs import run_of
from Testing.synthetic import blob_values, geometry_in, smooth_field

GRID = geometry_in("LPS", (36, 40, 34), 3.0)
RADIUS = 45.0
DISPLACEMENT = smooth_field(GRID, 5.0)


def pulled() -> Image:
    """Return the phantom moved by a known field."""
    return Image(
        blob_values(DISPLACEMENT.apply_to_points(GRID.points()), radius=RADIUS).astype(np.float32), GRID, "fixed"
    )


def phantom(contrast: str) -> Image:
    """Return the phantom in a contrast."""
    values = blob_values(GRID.points(), radius=RADIUS)
    if contrast == "crooked":
        values = np.interp(values, np.linspace(0, values.max(), 3), (0, 90, 20))
    elif contrast == "unrelated":
        values = np.random.default_rng(0).uniform(20, 90, values.shape)
    return Image(values.astype(np.float32), GRID, "moving")


def recipe(*, searched: bool = False) -> Recipe:
    """Return `auto` for a pair that is aligned."""
    auto = load_recipe("auto")
    return replace(
        auto,
        search=replace(auto.search, enabled=False),
        linear=replace(auto.linear, model="none"),
        large_motion=replace(auto.large_motion, enabled=searched, shrink=(2,), radius=(2,)),
        model=replace(auto.model, name=""),
        deformable=replace(auto.deformable, voxels=40_000, shrink=(2, 1), iterations=(40, 30)),
    )


def registered(contrast: str, *, searched: bool = False) -> Registration:
    """Register the phantom in a contrast to the phantom moved by a known field."""
    return register(pulled(), phantom(contrast), recipe(searched=searched), device="cpu")


@pytest.mark.parametrize(("contrast", "similarity"), [("same", "lncc"), ("crooked", "lncc+ngf"), ("unrelated", "ngf")])
def test_auto_compares_what_can_be_compared_and_says_why(contrast, similarity):
    result = registered(contrast)
    assert result.recipe.deformable.similarity == similarity
    (decision,) = [d for d in result.decisions if d.startswith("Deformable similarity")]
    assert f": {similarity}, because" in decision
    assert ("explain" in decision) == (contrast != "same")


def test_what_moved_far_is_searched_for_across_a_crooked_contrast():
    result = registered("crooked", searched=True)
    assert result.recipe.deformable.similarity == "lncc+ngf"
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


def test_contrasts_are_kept_where_learning_them_again_would_tell_little_more():
    result = registered("crooked")
    (decision,) = [d for d in result.decisions if d.startswith("Contrasts")]
    assert decision.startswith("Contrasts: kept")
    assert {"deformable 1", "deformable 2"} <= result.curves.keys()
    assert not any(d.startswith("Contrasts") for d in registered("same").decisions)


def test_contrasts_are_learned_from_what_a_velocity_comes_to_as_well():
    by_flow = replace(recipe(), deformable=replace(recipe().deformable, parametrisation="velocity"))
    result = register(pulled(), phantom("crooked"), by_flow, device="cpu")
    assert any(d.startswith("Contrasts") for d in result.decisions)
    assert result.measures.folds == 0
    start, end = (result.curves["deformable 2"][n] for n in (0, -1))
    assert end > start


def aligned_run() -> tuple[Run, Level]:
    """Return a run of the phantom and the same in a crooked contrast, and their finest level."""
    run = run_of(phantom("same"), phantom("crooked"), recipe(), "levels")
    with run.monitor.stage("levels"):
        return with_deformable_similarity(run, finest_level(run, LinearTransform.identity()))


def test_contrasts_learned_where_the_images_lay_apart_are_learned_again():
    run, finest = aligned_run()
    assert finest.moving.mapped is not None
    still = torch.zeros(3, *field_grid(finest.fixed.geometry).shape)
    astray = map_contrasts(
        finest.fixed, replace(finest.moving, intensity=finest.moving.intensity.roll(5, 0)), seen(finest)
    )
    apart = replace(finest, fixed=astray.fixed, moving=replace(finest.moving, mapped=astray.moving.mapped.roll(-5, 0)))
    with run.monitor.stage("levels"):
        levels = all_levels(run, apart, LinearTransform.identity())
        again = map_contrasts_again(run, apart, levels, still)
    assert again is not None
    assert run.log.decisions[-1].startswith("Contrasts: learned again")
    for before, after in zip(levels, again, strict=True):
        assert torch.equal(before.fixed.intensity, after.fixed.intensity)
        assert torch.equal(before.fixed.weight, after.fixed.weight)
        gained = [
            correlation_ratio(level.moving.intensity, level.fixed.mapped, seen(level)) for level in (before, after)
        ]
        assert gained[1] > gained[0] + 0.05
    with run.monitor.stage("levels"):
        assert map_contrasts_again(run, finest, levels, still) is None
    assert run.log.decisions[-1].startswith("Contrasts: kept")


def seen(level: Level) -> torch.Tensor:
    return level.fixed.weight * level.moving.weight
