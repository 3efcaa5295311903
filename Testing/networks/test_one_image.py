"""Networks of one image: which sizes they take, what they give, and that another size is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from DeepRegLib.errors import InputError, ModelError
from DeepRegLib.networks import build_network

NETWORKS: dict[str, tuple[dict[str, Any], int]] = {
    "segmentation-unet": ({"channels": [4, 8], "out": 3}, 3),
    "segmentation-cnn": ({"channels": 4, "out": 3}, 3),
    "autoencoder": ({"channels": [4, 8, 8]}, 1),
    "translator": ({"channels": [4, 8, 8]}, 1),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("sides", [(2, 2, 2), (4, 2, 6)])
def test_any_multiple_gives_an_answer_of_its_size(name: str, sides: tuple[int, int, int]) -> None:
    arguments, out = NETWORKS[name]
    network = build_network(name, arguments).eval()
    shape = [side * network.multiple for side in sides]
    with torch.no_grad():
        answer = network(torch.rand(2, 1, *shape))
    assert answer.shape == (2, out, *shape)
    assert torch.isfinite(answer).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_of_another_size_or_of_two_channels_is_refused(name: str) -> None:
    network = build_network(name, NETWORKS[name][0])
    with pytest.raises(InputError, match="takes images"):
        network(torch.rand(1, 2, 8, 8, 8))
    with pytest.raises(InputError, match="multiple"):
        network(torch.rand(1, 1, 8, 8, 0 if network.multiple == 1 else 9))


def test_an_untrained_autoencoder_leaves_an_image_nearly_as_it_is() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 1, 8, 8, 8)
    with torch.no_grad():
        assert (build_network("autoencoder", {})(image) - image).abs().max() < 0.01


@pytest.mark.parametrize(("name", "arguments"), [("translator", {"channels": [4]}), ("segmentation-cnn", {"out": 1})])
def test_what_a_network_cannot_be_built_with_is_refused(name: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match=next(iter(arguments))):
        build_network(name, arguments)
