"""Lookup on the CPU, held against torch's own in float64."""

from __future__ import annotations

import pytest
import torch

from DeepRegLib.transforms.sampling import identity_grid, index_scale, sample
from DeepRegLib.transforms.trilinear import sample_on_cpu

SHAPES = [(7, 6, 9), (1, 6, 9), (7, 1, 9), (7, 6, 1), (2, 2, 2), (1, 1, 1)]


@pytest.fixture(params=[1, 2, 5], ids=lambda n: f"{n} threads")
def threads(request: pytest.FixtureRequest):
    """Run with some number of threads: the pieces they share must not show."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def of_torch(volume: torch.Tensor, index: torch.Tensor, padding: str) -> torch.Tensor:
    volume, index = volume.double(), index.double()
    places = index * index_scale(volume.shape[1:], index) - 1
    return torch.nn.functional.grid_sample(volume[None], places[None], padding_mode=padding, align_corners=True)[0]


@pytest.mark.parametrize("padding", ["zeros", "border"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("places", [(1, 1, 1), (5, 4, 3), (11, 1, 1), (1, 7, 2)])
def test_it_is_torchs_lookup(padding, shape, places, threads, monkeypatch):
    monkeypatch.setattr("DeepRegLib.transforms.trilinear._POSITIONS_AT_ONCE", 24)
    random = torch.Generator().manual_seed(0)
    volume = torch.randn(2, *shape, generator=random)
    index = torch.randn(*places, 3, generator=random) * 5 + 3
    torch.testing.assert_close(
        sample_on_cpu(volume, index, padding).double(), of_torch(volume, index, padding), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("padding", ["zeros", "border"])
def test_the_border_is_met_from_both_sides(padding):
    """Voxels at and just past the outer planes, where a plane's first row follows another's last in memory."""
    volume = torch.rand(1, 4, 5, 6, generator=torch.Generator().manual_seed(0)) + 1
    axes = [torch.tensor([-1.5, -0.5, 0, 0.5, n - 1.5, n - 1, n - 0.5, n + 0.5]) for n in (6, 5, 4)]
    index = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    torch.testing.assert_close(
        sample_on_cpu(volume, index, padding).double(), of_torch(volume, index, padding), atol=1e-4, rtol=0
    )


def test_positions_among_many_rows_stay_exact():
    """Rows of all planes together are more than float32 tells apart to a thousandth."""
    volume = torch.rand(1, 300, 200, 40, generator=torch.Generator().manual_seed(0))
    index = identity_grid((300, 200, 40), volume.device) + torch.tensor([0.25, 0.5, 0.125])
    found = sample_on_cpu(volume, index, "border").double()
    assert (found - of_torch(volume, index, "border")).abs().max() < 1e-3


@pytest.mark.parametrize("layout", ["components", "positions"])
def test_the_layout_of_the_positions_does_not_matter(layout):
    volume = torch.rand(3, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    index = identity_grid((5, 6, 7), volume.device) + 0.3
    laid_out = index if layout == "components" else index.contiguous()
    before = laid_out.clone()
    assert torch.equal(sample_on_cpu(volume, laid_out, "zeros"), sample_on_cpu(volume, index.contiguous(), "zeros"))
    assert torch.equal(laid_out, before)


def test_gradients_are_still_there_where_they_are_asked_for():
    volume = torch.rand(1, 4, 5, 6, requires_grad=True)
    sample(volume, identity_grid((4, 5, 6), volume.device)).sum().backward()
    torch.testing.assert_close(volume.grad, torch.ones_like(volume))
