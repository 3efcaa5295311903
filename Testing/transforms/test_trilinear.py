"""Lookup in float32, exact and quick, held against torch's own in float64."""

from __future__ import annotations

import itertools

import pytest
import torch

from DeepRegLib.transforms.sampling import identity_grid, sample, sample_images

SHAPES = [(7, 6, 9), (1, 6, 9), (7, 1, 9), (7, 6, 1), (2, 2, 2), (1, 1, 1)]
PLACES = [(1, 1, 1), (5, 4, 3), (11, 1, 1), (1, 7, 2)]
BOTH = pytest.mark.parametrize("lookup", [sample, sample_images])
PADDINGS = pytest.mark.parametrize("padding", ["zeros", "border"])


def random_volume(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(0))


def of_torch(volume: torch.Tensor, index: torch.Tensor, padding: str) -> torch.Tensor:
    volume, index = volume.double(), index.double()
    places = index * torch.tensor([2 / max(n - 1, 1) for n in volume.shape[:0:-1]], dtype=torch.float64) - 1
    return torch.nn.functional.grid_sample(volume[None], places[None], padding_mode=padding, align_corners=True)[0]


@BOTH
@PADDINGS
def test_it_is_torchs_lookup(lookup, padding, threads, monkeypatch):
    monkeypatch.setattr("DeepRegLib.transforms.trilinear.POSITIONS_AT_ONCE", 24)
    random = torch.Generator().manual_seed(0)
    for shape, places in itertools.product(SHAPES, PLACES):
        volume = torch.randn(2, *shape, generator=random)
        index = torch.randn(*places, 3, generator=random) * 5 + 3
        found = lookup(volume, index, padding=padding).double()
        torch.testing.assert_close(found, of_torch(volume, index, padding), atol=1e-4, rtol=0)


@BOTH
@PADDINGS
def test_the_border_is_met_from_both_sides(lookup, padding):
    """Voxels at and just past the outer planes, where a plane's first row follows another's last in memory."""
    volume = random_volume(1, 4, 5, 6) + 1
    axes = [torch.tensor([-1.5, -0.5, 0, 0.5, n - 1.5, n - 1, n - 0.5, n + 0.5]) for n in (6, 5, 4)]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    found = lookup(volume, index, padding=padding).double()
    torch.testing.assert_close(found, of_torch(volume, index, padding), atol=1e-4, rtol=0)


@pytest.mark.parametrize(("lookup", "tolerance"), [(sample, 5e-5), (sample_images, 1e-3)])
def test_positions_on_a_large_grid_are_told_apart(lookup, tolerance):
    """Rows of all planes together are more than float32 tells apart to a thousandth."""
    volume = random_volume(1, 300, 200, 40)
    index = identity_grid((300, 200, 40), volume.device) + torch.tensor([0.25, 0.5, 0.125])
    found = lookup(volume, index).double()
    assert (found - of_torch(volume, index, "border")).abs().max() < tolerance


@BOTH
@pytest.mark.parametrize("layout", ["components", "positions"])
def test_the_layout_of_the_positions_does_not_matter(lookup, layout):
    volume = random_volume(3, 5, 6, 7)
    index = identity_grid((5, 6, 7), volume.device) + 0.3
    laid_out = index if layout == "components" else index.contiguous()
    before = laid_out.clone()
    expected = lookup(volume, index.contiguous(), padding="zeros")
    assert torch.equal(lookup(volume, laid_out, padding="zeros"), expected)
    assert torch.equal(laid_out, before)


@BOTH
@PADDINGS
def test_a_batch_is_its_volumes_one_by_one(lookup, padding):
    volumes, index = random_volume(3, 2, 5, 6, 7), 9 * random_volume(3, 4, 3, 2, 3) - 1
    found = lookup(volumes, index, padding=padding)
    expected = [lookup(*one, padding=padding) for one in zip(volumes, index, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-6, rtol=0)


@BOTH
@pytest.mark.parametrize("batch", [(), (2,)])
def test_gradients_are_still_there_where_they_are_asked_for(lookup, batch):
    volume = random_volume(*batch, 1, 4, 5, 6).requires_grad_()
    index = identity_grid((4, 5, 6), volume.device).expand(*batch, 4, 5, 6, 3)
    lookup(volume, index).sum().backward()
    torch.testing.assert_close(volume.grad, torch.ones_like(volume))
