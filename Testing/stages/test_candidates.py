"""Fields to start from: what a few iterations make of them is compared, and roughness is counted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.optimization.regularity import log_jacobian_sd
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.stages import candidates
from DeepRegLib.stages.candidates import Outcome, better_of, is_too_rough, is_within_reach, outcome_of
from DeepRegLib.stages.levels import finest_level, pyramid
from DeepRegLib.transforms import LinearTransform
from Testing.small import small_recipe
from Testing.stages.runs import run_of
from Testing.synthetic import geometry_in

RECIPE = replace(
    small_recipe(), deformable=replace(small_recipe().deformable, shrink=(2, 1), iterations=(9, 9), similarity="lncc")
)


def noise(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def crowd(shift: int) -> Image:
    grid = geometry_in("LPS", (28, 28, 28), 2.0)
    return Image(np.roll(smooth(noise(0, *grid.shape), 1.5).numpy(), shift, axis=2), grid, f"shift {shift}")


def shifted(voxels: float, rough: float = 0.0):
    """Return the function of a field along i, in voxels of the finest grid, with a ripple on it."""

    def field(geometry: Geometry) -> torch.Tensor:
        along = torch.tensor([voxels * 2.0 / geometry.spacing[0], 0, 0])[:, None, None, None]
        return along + rough * smooth(noise(1, 3, *geometry.shape), 1.0)

    return field


def started(moved: int):
    run = run_of(crowd(0), crowd(moved), RECIPE, "deformable")
    return run, pyramid(run, finest_level(run, LinearTransform.identity()), RECIPE.deformable.shrink)


def test_the_roughness_of_a_field_is_the_spread_of_its_log_jacobian():
    field = smooth(noise(2, 3, 9, 8, 7), 1.0)
    slopes = np.stack([np.stack(np.gradient(part.numpy())[::-1], axis=-1) for part in field], axis=-2)
    expected = np.log(np.linalg.det(np.eye(3) + slopes).clip(0.05)).std(ddof=1)
    assert float(log_jacobian_sd(field)) == pytest.approx(expected, rel=1e-4)
    assert float(log_jacobian_sd(torch.ones(3, 5, 5, 5))) == 0


@pytest.mark.parametrize(
    ("before", "after", "refused"),
    [
        (Outcome(0.681, 0.191), Outcome(0.725, 0.367), True),  # mice: the field found harms
        (Outcome(0.716, 0.214), Outcome(0.723, 0.391), True),
        (Outcome(0.709, 0.247), Outcome(0.732, 0.389), False),  # livers: it is needed
        (Outcome(0.680, 0.270), Outcome(0.701, 0.403), False),
        (Outcome(0.300, 0.200), Outcome(0.950, 0.700), False),  # a stranger that then matches wholly may be rough
        (Outcome(0.500, 0.000), Outcome(0.600, 0.060), False),  # nothing moved before: not infinitely rougher
    ],
)
def test_roughness_is_weighed_against_what_is_left_unmatched(before, after, refused):
    assert is_too_rough(before, after) == refused


def test_of_two_fields_the_one_that_leads_to_the_better_match_is_taken_unless_it_is_rough():
    run, levels = started(6)
    right, ripples = shifted(6.0), shifted(6.0, rough=6.0)
    assert better_of(run, levels, 0, None, right, "Smooth") is right
    assert better_of(run, levels, 0, right, None, "Nothing") is right
    assert better_of(run, levels, 0, right, ripples, "Rippled") is right
    assert [d.split(" (")[0] for d in run.log.decisions] == [
        "Smooth: used",
        "Nothing: not needed",
        "Rippled: not needed",
    ]


def test_a_field_is_judged_by_where_it_leads():
    run, levels = started(3)
    here, later = (outcome_of(run, levels, 0, shifted(2.0), iterations) for iterations in (0, 5))
    assert later.similarity > here.similarity + 0.02


def test_nothing_is_beyond_reach_only_where_all_matches_and_nothing_is_strained():
    run, levels = started(2)
    assert is_within_reach(run, levels, 0, shifted(2.0))
    assert not is_within_reach(run, levels, 0, shifted(-4.0))
    assert not is_within_reach(run, levels, 0, shifted(2.0, rough=6.0))
    other = run.with_recipe(replace(RECIPE, deformable=replace(RECIPE.deformable, similarity="ngf")))
    assert not is_within_reach(other, levels, 0, shifted(2.0)), "no value of it is known to be good"


@pytest.mark.parametrize(
    ("found", "within"),
    [
        (Outcome(0.669, 0.160), True),  # brains: the search is never better
        (Outcome(0.956, 0.092), True),  # hearts
        (Outcome(0.620, 0.220), False),  # livers: it is needed
        (Outcome(0.580, 0.240), False),
        (Outcome(0.300, 0.050), False),  # what does not strain at all may match nothing
    ],
)
def test_what_coarse_levels_leave_tells_whether_to_search(found, within, monkeypatch):
    run, levels = started(2)
    monkeypatch.setattr(candidates, "outcome_of", lambda *_, **__: found)
    assert is_within_reach(run, levels, 0, None) == within
