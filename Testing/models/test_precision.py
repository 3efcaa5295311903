"""Half precision and channels last where a card computes them natively, and nowhere else."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch

from DeepRegLib.models.precision import has_tensor_cores, laid_out, precisions, suited
from DeepRegLib.networks import build_network
from Testing.simulated_card import CARD, simulated_card

CPU = torch.device("cpu")


def has_channels_last(tensor: torch.Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last_3d) and not tensor.is_contiguous()


def test_a_cpu_computes_in_float32_as_the_weights_lie() -> None:
    image = torch.rand(1, 2, 8, 8, 8)
    network = suited(build_network("autoencoder", {"channels": [4, 8]}), "cpu")
    assert [type(precision()) for precision in precisions(CPU)] == [nullcontext]
    assert laid_out(image) is image
    assert not any(has_channels_last(weight) for weight in network.parameters())


@pytest.mark.parametrize(("capability", "native"), [((6, 1), False), ((7, 0), True), ((9, 0), True)])
def test_a_card_is_asked_as_its_capability_says(
    capability: tuple[int, int], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated_card():
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device=None: capability)
        network = suited(build_network("autoencoder", {"channels": [4, 8]}), CARD)
        image = torch.rand(1, 2, 8, 8, 8, device=CARD)
        assert has_tensor_cores(CARD) == native
        # Float32 is the last resort everywhere.
        assert len(precisions(CARD)) == 1 + native
        assert precisions(CARD)[-1] is nullcontext
        assert has_channels_last(laid_out(image)) == native
        assert any(has_channels_last(weight) for weight in network.parameters()) == native
        torch.testing.assert_close(laid_out(image), image)
