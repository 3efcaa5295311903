"""Networks of a few numbers whose answer is known, and bundles of them."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from DeepRegLib.errors import ModelError
from DeepRegLib.models import Manifest, ModelBundle, ModelInput, save_bundle

MANIFEST = Manifest(
    name="tiny",
    version="1.2",
    task="registration",
    architecture="shift",
    arguments={"multiple": 4},
    input=ModelInput(3.0),
    trained_on="nothing",
    licence="CC0",
    intended_use="Tests.",
    limits="All but tests.",
)


def constant(shift: Tensor, image: Tensor) -> Tensor:
    """Return a field that is the same everywhere, on the grid half as fine as an image's."""
    shape = [-(-n // 2) for n in image.shape[2:]]
    return shift.reshape(1, 3, 1, 1, 1).expand(1, 3, *shape)


class Shift(nn.Module):
    """Sees nothing and always answers its own three numbers, in voxels of the field's grid."""

    def __init__(self, shift: Sequence[float] = (0, 0, 0), multiple: int = 1) -> None:
        super().__init__()
        self.multiple = multiple
        self.shift = nn.Parameter(torch.tensor(shift, dtype=torch.float32))
        self.register_buffer("calls", torch.zeros(1, dtype=torch.int64))

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        return constant(self.shift, fixed)


class Centroid(Shift):
    """Sees how far the moving image's centre of mass lies from the fixed one's, and answers that."""

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        return constant((_centroid(moving) - _centroid(fixed)) / 2, fixed)


class Remembered(nn.Module):
    """Sees nothing and answers the field it was given."""

    def __init__(self, shape: Sequence[int], shift: Sequence[float] = (0, 0, 0)) -> None:
        super().__init__()
        self.field = nn.Parameter(torch.zeros(1, 3, *shape) + torch.tensor(shift).reshape(1, 3, 1, 1, 1))

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        return self.field


def _centroid(image: Tensor) -> Tensor:
    volume = image[0, 0].double()
    places = [volume.sum(tuple({0, 1, 2} - {axis})) * torch.arange(volume.shape[axis]) for axis in (2, 1, 0)]
    return (torch.stack([place.sum() for place in places]) / volume.sum()).float()


def build(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build one of these networks, as `DeepRegLib.networks.build_network` builds others."""
    networks = {"shift": Shift, "centroid": Centroid, "remembered": Remembered}
    if architecture not in networks:
        raise ModelError(
            f"The architecture {reprlib.repr(architecture)} is unknown.", f"Choose one of {', '.join(networks)}."
        )
    return networks[architecture](**arguments)


def tiny_bundle(
    folder: Path, shift: Sequence[float] = (0, 0, 0), architecture: str = "shift", **changes: Any
) -> ModelBundle:
    """Write a bundle of one of these networks; `changes` are to its manifest."""
    manifest = replace(MANIFEST, architecture=architecture, **changes)
    network = build(architecture, {**manifest.arguments, "shift": shift})
    return save_bundle(folder, manifest, network.state_dict(), build=build)


@pytest.fixture
def tiny_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library build these networks by name."""
    monkeypatch.setitem(sys.modules, "DeepRegLib.networks", SimpleNamespace(build_network=build))


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a user's folder of models for this test, not there yet; nothing is shipped."""
    folder = tmp_path / "own models"
    monkeypatch.setenv("DEEPREG_MODELS", str(folder))
    monkeypatch.setattr("DeepRegLib.models.registry.SHIPPED_FOLDER", tmp_path / "shipped")
    return folder
