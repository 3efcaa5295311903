"""uniGradICON beside its package: a stand-in of it for the conventions, the real one where it is installed."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from torch.nn import functional

from DeepRegLib.errors import ModelError
from DeepRegLib.networks import build_network
from DeepRegLib.networks.fields import warp
from Testing.models.stand_in import unigradicon_weights

__all__ = ["unigradicon_weights"]

SIZE = (15, 12, 10)  # along i, j, k
SHAPE = tuple(reversed(SIZE))


@pytest.mark.usefixtures("unigradicon_weights")
def test_shares_of_the_image_become_voxels_of_the_half_grid_from_fixed_to_moving() -> None:
    network = build_network("unigradicon", {"size": list(SIZE)})
    fixed, moving = torch.zeros(2, 1, *SHAPE), torch.ones(2, 1, *SHAPE)
    moving[1] = 2
    field = network(fixed, moving)
    assert field.shape == (2, 3, 5, 6, 8)
    for number in (0, 1):
        expected = torch.tensor([0.3 * 14, -0.2 * 11, 0.1 * 9]) / 2 * (number + 1)
        torch.testing.assert_close(field[number], expected[:, None, None, None].expand(3, 5, 6, 8))


@pytest.mark.usefixtures("unigradicon_weights")
def test_half_precision_around_it_does_not_reach_its_positions() -> None:
    network = build_network("unigradicon", {"size": list(SIZE)})
    fixed, moving = torch.zeros(1, 1, *SHAPE), torch.ones(1, 1, *SHAPE)
    with torch.autocast("cpu", torch.bfloat16):
        field = network(fixed, moving)
    assert field.dtype == torch.float32
    torch.testing.assert_close(field, network(fixed, moving))


@pytest.mark.usefixtures("unigradicon_weights")
def test_images_of_another_size_are_refused() -> None:
    network = build_network("unigradicon", {"size": list(SIZE)})
    with pytest.raises(ValueError, match=r"takes images of the shape \(1, 1, 10, 12, 15\)"):
        network(torch.zeros(1, 1, 8, 8, 8), torch.zeros(1, 1, 8, 8, 8))


def test_without_the_package_the_user_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "unigradicon", None)
    with pytest.raises(ModelError, match="cannot be imported here") as caught:
        build_network("unigradicon", {"size": list(SIZE)})
    assert "pip install unigradicon" in caught.value.hint


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # what the package and its own dependencies do is not ours
def test_the_real_package_warps_a_scan_as_our_field_does() -> None:
    pytest.importorskip("unigradicon", reason="uniGradICON's package is not installed", exc_type=ImportError)
    torch.manual_seed(0)
    network = build_network("unigradicon", {"size": [75, 71, 67]}).eval()
    for name, parameter in network.named_parameters():
        if "lastConv" in name:  # zero to begin with: the answer would be no displacement
            nn.init.normal_(parameter, std=0.5 if name.endswith("bias") else 0.002)
    noise = torch.rand(2, 1, 67, 71, 75)
    fixed, moving = functional.avg_pool3d(noise, 7, stride=1, padding=3).split(1)
    with torch.no_grad():
        positions = network.net(moving, fixed)(network.net.identity_map)
        expected = network.net.as_function(moving)(positions)
        field = network(fixed, moving)
        found = warp(moving, field)
    assert field.abs().max() > 0.5
    inside = (slice(None), slice(None), *(slice(4, -4),) * 3)
    torch.testing.assert_close(found[inside], expected[inside], atol=1e-2, rtol=0)
