"""Batched, differentiable fields against the tools for single ones."""

from __future__ import annotations

import pytest
import torch

from DeepRegLib.networks.fields import (
    compose,
    displace,
    integrate,
    to_full,
    twice_as_fine,
    warp,
)
from DeepRegLib.optimization.field_grid import to_image_grid
from DeepRegLib.transforms.sampling import compose_fields, identity_grid, sample_images

SHAPE = (7, 9, 8)


def randn(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def places(field: torch.Tensor) -> torch.Tensor:
    return identity_grid(tuple(field.shape[1:]), field.device, field.dtype) + field.permute(1, 2, 3, 0)


@pytest.mark.parametrize("shape", [(10, 12, 14), (9, 11, 13), (10, 11, 14)])
def test_a_field_on_the_images_grid_is_that_of_the_field_grid(shape):
    fields = randn(2, 3, 5, 6, 7)
    wanted = torch.stack([to_image_grid(field, shape) for field in fields])
    torch.testing.assert_close(to_full(fields, shape), wanted)


@pytest.mark.parametrize("padding", ["border", "zeros"])
@pytest.mark.parametrize("batch", [1, 3])
def test_sampling_is_that_of_single_fields(batch, padding):
    volumes, fields = randn(batch, 2, *SHAPE), 3 * randn(batch, 3, *SHAPE, seed=1)
    wanted = [
        sample_images(volume, places(field), padding=padding) for volume, field in zip(volumes, fields, strict=True)
    ]
    torch.testing.assert_close(displace(volumes, fields, padding=padding), torch.stack(wanted))


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_warping_samples_where_the_field_of_the_images_grid_points(padding):
    images, fields = randn(2, 1, *SHAPE), randn(2, 3, 4, 5, 4, seed=1)
    fine = [to_image_grid(field, SHAPE) for field in fields]
    wanted = [sample_images(image, places(field), padding=padding) for image, field in zip(images, fine, strict=True)]
    torch.testing.assert_close(warp(images, fields, padding=padding), torch.stack(wanted))


def test_composition_is_that_of_single_fields():
    outer, inner = randn(2, 3, *SHAPE), randn(2, 3, *SHAPE, seed=1)
    grid = identity_grid(SHAPE, outer.device)
    wanted = [compose_fields(a, b, grid) for a, b in zip(outer, inner, strict=True)]
    torch.testing.assert_close(compose(outer, inner), torch.stack(wanted))


def test_the_flow_of_a_linear_velocity_is_the_matrix_exponential():
    rate = torch.tensor([[0.05, 0.1, -0.02], [-0.1, -0.04, 0.03], [0.0, 0.05, 0.02]], dtype=torch.float64)
    shape = (24, 24, 24)
    position = identity_grid(shape, rate.device, torch.float64) - 11.5
    field = integrate((position @ rate.T).permute(3, 0, 1, 2)[None], 7)[0].permute(1, 2, 3, 0)
    wanted = position @ (torch.linalg.matrix_exp(rate) - torch.eye(3, dtype=torch.float64)).T
    inner = (slice(6, -6),) * 3
    # Each of the 2**7 steps is Euler's, so the error is about |rate|**2 / 2**8 of the distance from the centre.
    torch.testing.assert_close(field[inner], wanted[inner], atol=5e-3, rtol=0)


def test_the_flow_back_undoes_the_flow():
    velocity = twice_as_fine(twice_as_fine(0.1 * randn(1, 3, 4, 4, 4)))
    there, back = integrate(velocity, 7), integrate(-velocity, 7)
    error = compose(back, there)[:, :, 3:-3, 3:-3, 3:-3]
    assert there.abs().max() > 0.5
    assert error.abs().max() < 0.03


@pytest.mark.parametrize(
    "function",
    [
        lambda image, field: warp(image, field),
        lambda image, field: to_full(field, SHAPE).sum() * image,
        lambda image, field: integrate(field, 3).sum() * image,
    ],
    ids=["warp", "to_full", "integrate"],
)
def test_gradients_are_those_of_finite_differences(function):
    image = randn(2, 1, 4, 3, 4, dtype=torch.float64).requires_grad_()
    field = (0.3 * randn(2, 3, 2, 2, 2, seed=1, dtype=torch.float64) + 0.06).requires_grad_()
    assert torch.autograd.gradcheck(function, (image, field), fast_mode=True)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_features_are_sampled_at_exact_positions(dtype):
    ramp = torch.arange(200.0).expand(1, 1, 2, 2, 200)
    field = torch.zeros(1, 3, 2, 2, 200)
    field[:, 0] = 0.25
    sampled = displace((ramp / 256).to(dtype), field)
    assert sampled.dtype == dtype
    # One voxel is 1 / 256; the type itself rounds numbers below one by up to 1 / 512 (bfloat16).
    torch.testing.assert_close(sampled.float(), displace((ramp / 256).to(dtype).float(), field), atol=2e-3, rtol=0)
