"""Windowed attention against attention of every node to every other, masked."""

from __future__ import annotations

import itertools

import pytest
import torch

from DeepRegLib.errors import ModelError
from DeepRegLib.networks.attention import HALO, HEADS, WINDOW, CrossAttention

CHANNELS = 8


def attention() -> CrossAttention:
    torch.manual_seed(0)
    module = CrossAttention(CHANNELS)
    for weight in (module.offset_score, module.gain):
        torch.nn.init.normal_(weight)
    return module.eval()


def every_node_to_every_other(module: CrossAttention, fixed: torch.Tensor, moving: torch.Tensor):
    """Attend within windows by masking the scores of all pairs of nodes: memory grows with the square of the volume."""
    shape = fixed.shape[2:]
    nodes = torch.tensor(list(itertools.product(*(range(n) for n in shape))))
    block = nodes // WINDOW * WINDOW
    first, last = block[:, None] - HALO, block[:, None] + WINDOW + HALO
    seen = ((nodes >= first) & (nodes < last)).all(-1)
    offset = nodes[None] - nodes[:, None]
    k, j, i = (offset + WINDOW - 1 + HALO).unbind(-1)
    width = 2 * (WINDOW + HALO) - 1
    index = (i + width * (j + width * k)).clamp(0, width**3 - 1)

    def by_head(volume: torch.Tensor) -> torch.Tensor:
        return volume.flatten(2).unflatten(1, (HEADS, -1)).transpose(-1, -2)

    query, key = (by_head(module.key(module.norm(image))) for image in (fixed, moving))
    value = by_head(module.value(module.norm(moving)))
    query, key = (tokens / (tokens.square().sum(-1, keepdim=True) + 1e-3).sqrt() for tokens in (query, key))
    scores = query @ key.transpose(-1, -2) * module.log_sharpness.exp() + module.offset_score[:, index]
    weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
    attended = (weights @ value).transpose(-1, -2).flatten(1, 2).unflatten(2, shape)
    offsets = torch.einsum("bhqn,qnc->bhcq", weights, offset.flip(-1).float()).unflatten(3, shape)
    features = fixed + module.out(attended)
    place = (offsets * 10 * module.gain[:, None, None, None, None]).sum(1)
    return features + module.mix(features), offsets.flatten(1, 2), place


@pytest.mark.parametrize("shape", [(4, 4, 4), (5, 8, 3), (1, 1, 1), (9, 4, 6)])
def test_windows_give_what_masked_attention_of_all_nodes_gives(shape):
    module = attention()
    generator = torch.Generator().manual_seed(1)
    fixed, moving = (torch.randn(2, CHANNELS, *shape, generator=generator) for _ in range(2))
    with torch.no_grad():
        found = module(fixed, moving)
        wanted = every_node_to_every_other(module, fixed, moving)
    for part, reference in zip(found, wanted, strict=True):
        torch.testing.assert_close(part, reference, atol=1e-4, rtol=1e-4)


def test_a_shift_is_found_by_what_looks_alike():
    torch.manual_seed(0)
    module = CrossAttention(32).eval()
    moving = torch.randn(1, 32, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        module.log_sharpness.fill_(4)
        _, offsets, place = module(moving.roll((-2, 1), (2, 4)), moving)
    inner = offsets.unflatten(1, (HEADS, 3))[..., 2:-2, 2:-2, 2:-2].mean((0, 1, 3, 4, 5))
    assert not place.any()
    # Offsets (i, j, k): fixed(p) = moving(p + u).
    torch.testing.assert_close(inner, torch.tensor([-1.0, 0.0, 2.0]), atol=0.1, rtol=0)


def test_memory_grows_with_the_volume():
    module = attention()
    kept = []
    for depth in (8, 16, 32):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t, sizes=sizes: sizes.append(t.numel()) or t, lambda t: t):
            module(torch.rand(1, CHANNELS, depth, 8, 8), torch.rand(1, CHANNELS, depth, 8, 8))
        kept.append(sum(sizes))
    assert kept[2] - kept[1] == pytest.approx(2 * (kept[1] - kept[0]), rel=0.01)


def test_channels_that_cannot_be_shared_among_the_heads_are_refused():
    with pytest.raises(ModelError, match="10"):
        CrossAttention(10)
