"""Weights of anatomix: our network is the published one, and its features drive a registration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.errors import ModelError
from DeepRegLib.models import add_anatomix, check_bundle, load_bundle, load_network
from DeepRegLib.models.anatomix import as_ours
from DeepRegLib.networks import Anatomix
from DeepRegLib.pipeline import align
from DeepRegLib.request import Request
from Testing.models.tiny import own_folder
from Testing.small import small_pair, small_recipe

__all__ = ["own_folder"]
pytestmark = pytest.mark.usefixtures("own_folder")

CHANNELS, LEVELS, OUT = 4, 2, 6


class Published(nn.Module):
    """The network as its authors describe it: one list of layers, in which weights are named by their place."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.skipped, self.joined = [], []
        incoming = 1

        def convolved(width: int) -> None:
            nonlocal incoming
            layers.append(nn.Conv3d(incoming, width, 3, padding="same", padding_mode="reflect", bias=False))
            layers.extend([nn.BatchNorm3d(width), nn.ReLU()])
            incoming = width

        convolved(CHANNELS)
        for level in range(LEVELS):
            for _ in range(2):
                convolved(CHANNELS * 2**level)
            self.skipped.append(len(layers) - 1)
            layers.append(nn.MaxPool3d(2))
        for _ in range(2):
            convolved(CHANNELS * 2**LEVELS)
        for level in reversed(range(LEVELS)):
            self.joined.append(len(layers))
            layers.append(nn.Upsample(scale_factor=2))
            incoming += CHANNELS * 2**level
            for _ in range(2):
                convolved(CHANNELS * 2**level)
        layers.append(nn.Conv3d(incoming, OUT, 3, padding="same", padding_mode="reflect", bias=False))
        self.model = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        kept: list[Tensor] = []
        for number, layer in enumerate(self.model):
            image = layer(image)
            if number in self.joined:
                image = torch.cat([kept.pop(), image], 1)
            if number in self.skipped:
                kept.append(image)
        return image


@pytest.fixture(scope="module")
def published() -> Published:
    """Return a network with random weights, which has seen a few images."""
    torch.manual_seed(0)
    network = Published()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    with torch.no_grad():
        for _ in range(3):
            network(torch.rand(1, 1, 16, 16, 24))
    return network.eval()


@pytest.fixture
def weights(published: Published, tmp_path: Path) -> Path:
    """Return a file of its weights, as its authors would write it."""
    torch.save(published.state_dict(), tmp_path / "anatomix.pth")
    return tmp_path / "anatomix.pth"


def test_our_network_says_what_the_published_one_says(published: Published) -> None:
    arguments, tensors = as_ours(dict(published.state_dict()), "anatomix.pth")
    assert arguments == {"channels": CHANNELS, "out": OUT, "levels": LEVELS}
    ours = Anatomix(**arguments).eval()
    ours.load_state_dict(tensors)
    image = torch.rand(2, 1, 16, 24, 16)
    with torch.no_grad():
        torch.testing.assert_close(ours(image), functional.normalize(published(image), dim=1), atol=1e-5, rtol=0)


def test_its_weights_become_a_model_whose_features_are_compared(weights: Path) -> None:
    bundle = load_bundle(add_anatomix(weights).folder)
    check_bundle(bundle)
    assert bundle.manifest.task == "features"
    assert isinstance(load_network(bundle, "cpu"), Anatomix)
    fixed, moving, _, _ = small_pair()
    recipe = small_recipe()
    stage = replace(recipe.deformable, enabled=True, similarity="features", features="anatomix")
    found = align(Request(fixed, moving, replace(recipe, deformable=stage), device="cpu"))
    assert found.provenance["features"]["name"] == "anatomix"
    assert found.measures.folds == 0


def test_another_network_s_weights_are_refused(published: Published, tmp_path: Path) -> None:
    table = dict(published.state_dict())
    few = {name: tensor for name, tensor in table.items() if not name.startswith("model.1.")}
    odd = {**table, "model.0.weight": torch.zeros(CHANNELS, 2, 3, 3, 3)}
    for changed in (few, odd, {**table, "extra": torch.ones(1)}, {"net.shift": torch.ones(3)}, {}):
        torch.save(changed, tmp_path / "other.pth")
        with pytest.raises(ModelError, match=r"other\.pth does not hold the weights of anatomix"):
            add_anatomix(tmp_path / "other.pth")
