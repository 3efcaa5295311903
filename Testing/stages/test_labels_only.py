"""Scans registered by their labels alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DeepRegLib.errors import InputError, RecipeError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Model, Recipe, load_recipe

GRID = Geometry((30, 28, 26), (2.0, 2.0, 2.0), (-30.0, -28.0, -26.0))
SHIFT = np.array([8.0, -6.0, 4.0])


def few_iterations() -> Recipe:
    recipe = load_recipe("labels-only")
    return replace(
        recipe,
        search=replace(recipe.search, angle=60.0, candidates=4),
        linear=replace(recipe.linear, model="rigid", iterations=20),
        deformable=replace(recipe.deformable, shrink=(2, 1), iterations=(20, 10)),
    )


def labels(shift: np.ndarray) -> Image:
    """Two boxes of different size, one on the other: a shape that fits in one pose only."""
    points = GRID.points() - shift
    array = np.zeros(GRID.shape, np.uint8)
    array[np.all(np.abs(points - [0.0, 0.0, -5.0]) < [14.0, 8.0, 5.0], axis=-1)] = 1
    array[np.all(np.abs(points - [7.0, 3.0, 5.0]) < [5.0, 5.0, 6.0], axis=-1)] = 4
    return Image(array, GRID, "labels")


def noise(seed: int) -> Image:
    return Image(np.random.default_rng(seed).normal(size=GRID.shape).astype(np.float32), GRID, "noise")


def test_scans_of_nothing_but_noise_are_registered_by_what_was_segmented_on_them() -> None:
    result = register(
        noise(1),
        noise(2),
        few_iterations(),
        fixed_labels=labels(np.zeros(3)),
        moving_labels=labels(SHIFT),
        device="cpu",
    )
    places = np.array([[0.0, 0.0, -5.0], [7.0, 3.0, 5.0], [-10.0, -4.0, -8.0]])
    error = np.linalg.norm(result.transform.apply_to_points(places) - places - SHIFT, axis=1)
    assert error.max() < 1.0  # half a voxel
    assert min(result.measures.dice_after.values()) > 0.93
    assert any("1, 4" in decision and "no intensities" in decision for decision in result.decisions)
    assert any("as good as those" in warning for warning in result.warnings)
    # The noise itself is what is warped.
    assert result.warped.array.min() < 0


def test_without_the_labels_of_both_nothing_is_computed() -> None:
    for given in ({}, {"moving_labels": labels(SHIFT)}):
        with pytest.raises(InputError, match="there are not labels of both"):
            register(noise(1), noise(2), "labels-only", device="cpu", **given)


def test_labels_that_have_no_number_in_common_are_refused() -> None:
    others = labels(SHIFT)
    others = others.with_array(np.where(others.array > 0, others.array + 1, 0).astype(np.uint8))
    with pytest.raises(InputError, match="no label in common"):
        register(
            noise(1), noise(2), "labels-only", fixed_labels=labels(np.zeros(3)), moving_labels=others, device="cpu"
        )


def test_no_network_is_asked_about_labels() -> None:
    with pytest.raises(RecipeError, match="labels_only"):
        replace(load_recipe("labels-only"), model=Model("anatomy"))
