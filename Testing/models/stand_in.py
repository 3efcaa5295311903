"""Stand-ins for what others publish: uniGradICON's package, three numbers whose answer is known; LapIRN's weights."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn


class StandIn(nn.Module):
    """Answers by shares of the whole image along k, j, i, as the package does.

    Parameters
    ----------
    shape
        Of the images, ``(1, 1, D, H, W)``.
    """

    def __init__(self, shape: list[int]) -> None:
        super().__init__()
        axes = [torch.linspace(0, 1, n) for n in shape[2:]]
        identity = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
        self.register_buffer("identity_map", identity, persistent=False)
        self.shift = nn.Parameter(torch.tensor([0.1, -0.2, 0.3]))

    def forward(self, image_a: Tensor, image_b: Tensor) -> Callable[[Tensor], Tensor]:
        """Return positions in A of positions in B; the brighter A is than B, the further away."""
        scale = image_a.mean() - image_b.mean()
        return lambda positions: positions + scale * self.shift[:, None, None, None]


@pytest.fixture
def unigradicon_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file of weights, and put a package in place that reads it."""

    def make_network(shape: list[int], include_last_step: bool) -> SimpleNamespace:
        assert include_last_step
        return SimpleNamespace(regis_net=StandIn(shape))

    def get_unigradicon(weights_location: str) -> SimpleNamespace:
        made = make_network([1, 1, 4, 4, 4], include_last_step=True)
        made.regis_net.shift.data = torch.tensor(json.loads(Path(weights_location).read_text(encoding="utf-8")))
        return made

    package = SimpleNamespace(make_network=make_network, get_unigradicon=get_unigradicon)
    monkeypatch.setitem(sys.modules, "unigradicon", package)
    path = tmp_path / "Step_2_final.trch"
    path.write_text("[0.5, 0.25, -1.0]", encoding="utf-8")
    return path


# The networks of LapIRN, the finest first, and the shapes of what each is made of, by the names in its authors' files.
LAPIRN_NETWORKS = {"": 5, "model_lvl2.": 5, "model_lvl2.model_lvl1.": 2}
LAPIRN_CHANNELS = 3


def lapirn_table() -> dict[str, Tensor]:
    """Return random weights of a small LapIRN, named as in its authors' files."""
    torch.manual_seed(0)
    width, table = LAPIRN_CHANNELS, {}
    for network, channels in LAPIRN_NETWORKS.items():
        shapes = {
            "input_encoder_lvl1.0": (width, channels),
            "input_encoder_lvl1.2": (width, width),
            "down_conv": (width, width),
            **{f"resblock_group_lvl1.{n}.conv{m}": (width, width) for n in (0, 2, 4, 6, 8) for m in (1, 2)},
            "output_lvl1.0": (width, 2 * width),
            "output_lvl1.2": (3, width),
        }
        table.update({f"{network}{name}.weight": torch.randn(*shape, 3, 3, 3) for name, shape in shapes.items()})
        table[f"{network}up.weight"] = torch.randn(width, width, 2, 2, 2)
    return table


@pytest.fixture
def lapirn_weights(tmp_path: Path) -> Path:
    """Return a file of such weights, as its authors publish theirs."""
    path = tmp_path / "LapIRN_disp_fea7.pth"
    torch.save(lapirn_table(), path)
    return path
