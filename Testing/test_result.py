"""What a result says of the model behind it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from Testing.engine.fakes import hand_made_registration, tiny_image

GRID = Geometry((160, 128, 150), (1.0, 1.0, 1.0))


def test_a_large_map_is_sampled_and_still_tells_its_percentiles() -> None:
    rng = np.random.default_rng(0)
    uncertainty = (rng.gamma(2.0, size=GRID.shape) + np.arange(160) / 40).astype(np.float32)
    inside = np.zeros(GRID.shape, dtype=np.bool_)
    inside[20:120, 10:100, 30:150] = True
    result = replace(
        hand_made_registration(tiny_image(), tiny_image()),
        uncertainty=Image(uncertainty, GRID),
        fixed_foreground=Image(inside, GRID),
    )
    assert result.uncertainty_percentiles() == pytest.approx(np.percentile(uncertainty[inside], (50, 95)), rel=0.01)


def test_without_a_map_or_a_foreground_there_is_nothing_to_tell() -> None:
    result = hand_made_registration(tiny_image(), tiny_image())
    assert replace(result, uncertainty=None).uncertainty_percentiles() is None
    empty = Image(np.zeros(GRID.shape, dtype=np.bool_), GRID)
    alone = replace(result, uncertainty=Image(np.ones(GRID.shape, np.float32), GRID), fixed_foreground=empty)
    assert alone.uncertainty_percentiles() is None


def test_the_explanation_is_set_beside_the_expected_error_by_ranks_inside_the_foreground() -> None:
    result = hand_made_registration(tiny_image(), tiny_image())
    inside = np.zeros((4, 5, 6), dtype=np.bool_)
    inside[1, 2, 1:6] = True
    grid = Geometry((6, 5, 4), (1.0,) * 3, (0.0,) * 3)
    expected, explained = np.full((2, 4, 5, 6), 99, np.float32)
    expected[inside], explained[inside] = (1, 2, 3, 4, 5), (50, 10, 10, 2, 1)
    told = replace(
        result,
        trust=Image(expected, grid),
        explanation=Image(explained, grid),
        fixed_foreground=Image(inside, grid),
    )
    # Spearman's rho of 5 pairs; the two that are equal share the rank 3.5.
    assert told.explanation_agreement() == pytest.approx(-0.9746794)
    assert replace(told, explanation=None).explanation_agreement() is None
    assert replace(told, trust=Image(np.ones_like(expected), grid)).explanation_agreement() is None


def test_the_model_is_named_with_its_version() -> None:
    result = hand_made_registration(tiny_image(), tiny_image())
    asked = {"model": {"name": "tiny", "version": "1.2", "weights_sha256": ""}}
    assert replace(result, provenance=asked).model == "tiny 1.2"
    assert replace(result, provenance={}).model == ""
