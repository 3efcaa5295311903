"""Stationary velocities: their flow against closed forms and an integrator of paths, and the way back."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from DeepRegLib.optimization.parametrisation import DisplacementSteps, VelocitySteps
from DeepRegLib.optimization.regularity import corner_determinants
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.optimization.velocity import FIRST_STEP, bracket, exponential, logarithm, squarings_for
from DeepRegLib.transforms.sampling import compose_fields, identity_grid, sample

SHAPE = (26, 28, 30)
GRID = identity_grid(SHAPE, torch.device("cpu"))
MIDDLE = torch.tensor([14.5, 13.5, 12.5])
INSIDE = (slice(None), slice(8, -8), slice(8, -8), slice(8, -8))
TURN = torch.tensor([[0.05, -0.30, 0.10], [0.25, -0.08, 0.0], [-0.05, 0.12, 0.04]])


def velocity(longest: float, sigma: float = 3.0, seed: int = 0) -> Tensor:
    """Return smoothed noise whose longest vector has that many voxels."""
    noise = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(seed))
    blurred = smooth(smooth(noise, sigma), sigma)
    return blurred * (longest / length(blurred).max())


def linear(matrix: Tensor) -> Tensor:
    """Return the field p -> matrix (p - middle)."""
    return torch.einsum("ab,kjib->akji", matrix, GRID - MIDDLE)


def flow(field: Tensor) -> Tensor:
    return exponential(field, squarings_for(field), GRID)


def length(field: Tensor) -> Tensor:
    return field.square().sum(0).sqrt()


def along_paths(field: Tensor, steps: int = 60) -> Tensor:
    """Return where each voxel is carried, less where it was: Runge-Kutta of fourth order, path by path."""
    place = GRID.clone()
    for _ in range(steps):
        slopes = [sample(field, place).permute(1, 2, 3, 0)]
        for share in (0.5, 0.5, 1.0):
            slopes.append(sample(field, place + share / steps * slopes[-1]).permute(1, 2, 3, 0))
        a, b, c, d = slopes
        place = place + (a + 2 * b + 2 * c + d) / (6 * steps)
    return (place - GRID).permute(3, 0, 1, 2)


def test_the_flow_of_a_constant_is_a_shift():
    shift = torch.tensor([5.0, -2.5, 0.25])
    constant = shift[:, None, None, None].expand(3, *SHAPE).contiguous()
    torch.testing.assert_close(flow(constant), constant, atol=1e-5, rtol=0)


@pytest.mark.parametrize("matrix", [TURN, TURN - TURN.T, 0.3 * torch.eye(3)], ids=["any", "rotation", "scale"])
def test_the_flow_of_a_linear_field_is_the_matrix_exponential(matrix):
    # The way back grows at the border, where a linear field is cut off.
    expected = linear(torch.linalg.matrix_exp(matrix.double()).float() - torch.eye(3))
    torch.testing.assert_close(flow(linear(matrix))[INSIDE], expected[INSIDE], atol=0.02, rtol=0)
    finer = exponential(linear(matrix), 6, GRID)
    torch.testing.assert_close(finer[INSIDE], expected[INSIDE], atol=1e-3, rtol=0)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10**6), longest=st.floats(0.1, 6.0))
def test_the_flow_backwards_is_the_inverse(seed, longest):
    there, back = flow(velocity(longest, seed=seed)), flow(-velocity(longest, seed=seed))
    for around in (compose_fields(back, there, GRID), compose_fields(there, back, GRID)):
        left = length(around[INSIDE])
        assert left.mean() < 0.01 * longest
        assert left.max() < 0.06 * longest


def test_the_flow_is_that_of_every_single_path():
    field = velocity(5.0)
    error = length((flow(field) - along_paths(field))[INSIDE])
    assert error.mean() < 0.03
    assert error.max() < 0.2


def test_a_strong_flow_squeezes_but_does_not_fold():
    field = velocity(8.0, sigma=2.5)
    assert corner_determinants(field).min() < 0
    assert corner_determinants(along_paths(field)).min() > 0
    assert corner_determinants(flow(field)).min() > 0


def test_the_first_step_is_short_and_no_shorter_than_needed():
    for longest in (0.0, 1.0, 7.9, 16.1):
        field = torch.full((3, 4, 4, 4), longest / math.sqrt(3))
        count = squarings_for(field)
        assert longest / 2**count <= FIRST_STEP + 1e-5
        assert count == 2 or longest / 2 ** (count - 1) > FIRST_STEP - 1e-5


@pytest.mark.parametrize("longest", [1.0, 5.0])
def test_the_logarithm_of_a_flow_flows_there_again(longest):
    displacement = flow(velocity(longest))
    found = logarithm(displacement)
    reached = length(flow(found.velocity) - displacement)
    assert found.mean_error == pytest.approx(float(reached.mean()), abs=1e-4)
    assert found.largest_error == pytest.approx(float(reached.max()), abs=1e-4)
    assert found.mean_error < 0.003 * longest
    assert found.largest_error < 0.05 * longest


def test_the_logarithm_of_a_rotation_is_that_of_its_matrix():
    generator = TURN - TURN.T
    displacement = linear(torch.linalg.matrix_exp(generator) - torch.eye(3))
    found = logarithm(displacement)
    torch.testing.assert_close(found.velocity[INSIDE], linear(generator)[INSIDE], atol=0.1, rtol=0)


def test_what_is_no_flow_is_approached_and_the_rest_reported():
    displacement = compose_fields(flow(velocity(5.0, seed=1)), flow(velocity(5.0, seed=2)), GRID)
    first = length(flow(displacement) - displacement)
    found = logarithm(displacement)
    assert found.mean_error < 0.2 * first.mean()


def test_the_bracket_of_linear_fields_is_the_commutator():
    a, b = TURN, torch.tensor([[0.1, 0.2, 0.0], [0.0, -0.1, 0.3], [0.2, 0.0, 0.1]])
    torch.testing.assert_close(bracket(linear(a), linear(b)), linear(a @ b - b @ a), atol=1e-4, rtol=0)


def test_a_step_moves_first_and_then_the_flow_does():
    field, update = velocity(4.0, seed=3), velocity(0.25, sigma=2.0, seed=4)
    steps = VelocitySteps(GRID, 0.0)
    expected = compose_fields(flow(field), update, GRID)
    error, plain = (
        length((steps.displacement(stepped) - expected)[INSIDE]).mean()
        for stepped in (steps.stepped(field, update), field + update)
    )
    assert error < 0.02
    assert error < 0.6 * plain


def test_both_parametrisations_take_the_same_first_step():
    update = velocity(0.25)
    still = torch.zeros(3, *SHAPE)
    fields = [
        steps.displacement(steps.stepped(still, update))
        for steps in (DisplacementSteps(GRID, 0.3), VelocitySteps(GRID, 0.3))
    ]
    torch.testing.assert_close(fields[0], fields[1], atol=0.01, rtol=0)
