"""Attention of one image to another in windows, so that memory grows with the volume and not with its square."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.networks.blocks import FIRST_LOG_SHARPNESS, HURRY, ConvBlock, InstanceNorm, convolution, require, unit
from DeepRegLib.networks.fields import at_least_float32

HEADS = 4
WINDOW, HALO = 4, 2
REACH = WINDOW + 2 * HALO
# What is added to the scores of nodes outside the volume; finite, as infinities make gradients undefined.
_OUTSIDE = -1e4


class CrossAttention(nn.Module):
    """Let each node of the fixed image find what it resembles in the moving one, within a window about its own.

    The volume is cut into windows of 4 nodes along each axis; those of the fixed image ask, and the nodes of the same
    window in the moving image and of 2 more on each side answer (blocks with a halo, Vaswani et al. 2021). Scores are
    cosines of one projection of both images, so that what looks alike attends to each other from the start, and a
    learned score for each offset. Each head also says how far away, on the mean, it looked: a displacement.

    Shapes: two times ``(B, C, d, h, w)`` -> features ``(B, C, d, h, w)``, offsets (i, j, k) of each head in nodes,
    ``(B, 3 heads, d, h, w)``, and their sum with learned gains, which begin with zero, ``(B, 3, d, h, w)``.
    ``7 C**2 + 8 C + 5332`` parameters; each node sees the 8 nodes along each axis that its window does.

    Parameters
    ----------
    channels
        C, a multiple of 4.
    """

    offset_index: Tensor

    def __init__(self, channels: int) -> None:
        require(channels % HEADS == 0, "channels", channels, f"multiples of {HEADS} for levels with attention")
        super().__init__()
        self.heads = HEADS
        self.norm = InstanceNorm(channels)
        self.key = nn.Conv3d(channels, channels, 1)
        self.value = nn.Conv3d(channels, channels, 1)
        self.out = nn.Conv3d(channels, channels, 1)
        self.mix = nn.Sequential(
            ConvBlock(channels, 2 * channels, kernel=1), convolution(2 * channels, channels, kernel=1)
        )
        self.log_sharpness = nn.Parameter(torch.full((HEADS, 1, 1), FIRST_LOG_SHARPNESS))
        self.gain = nn.Parameter(torch.zeros(HEADS))
        self.offset_score = nn.Parameter(torch.zeros(HEADS, (WINDOW + REACH - 1) ** 3))
        self.register_buffer("offset_index", _offset_index(), persistent=False)

    def forward(self, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return features of the fixed image that know of the moving one, each head's offsets, and a displacement."""
        shape = fixed.shape[2:]
        asking, answering = self.norm(fixed), self.norm(moving)
        query = unit(self._by_head(_windows(self.key(asking))), -1)
        key = unit(self._by_head(_neighbourhoods(self.key(answering))), -1)
        value = self._by_head(_neighbourhoods(self.value(answering)))
        outside = _neighbourhoods(fixed.new_ones(1, 1, *shape)).transpose(-1, -2) == 0
        cosines = query @ key.transpose(-1, -2)
        scores = cosines * self.log_sharpness.exp() + self.offset_score[:, self.offset_index]
        weights = scores.masked_fill(outside[:, :, None], _OUTSIDE).softmax(-1).to(value.dtype)
        asked, answered = _positions(WINDOW, fixed), _positions(REACH, fixed) - HALO
        offsets = weights @ answered.to(weights.dtype) - asked.to(weights.dtype)
        place = torch.einsum("...hnc,h->...nc", at_least_float32(offsets), HURRY * at_least_float32(self.gain))
        attended = (weights @ value).transpose(-2, -3).flatten(-2)
        features = fixed + self.out(_volume(attended, shape))
        own_offsets = _volume(offsets.transpose(-2, -3).flatten(-2), shape)
        return features + self.mix(features), own_offsets, at_least_float32(_volume(place, shape))

    def _by_head(self, tokens: Tensor) -> Tensor:
        """``(B, windows, nodes, C) -> (B, windows, heads, nodes, C / heads)``."""
        return tokens.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


def _windows(volume: Tensor) -> Tensor:
    """Cut ``(B, C, d, h, w)`` into ``(B, windows, WINDOW**3, C)``, the last of an axis filled up with zeros."""
    return _blocks(functional.pad(volume, _filling(volume)), WINDOW)


def _neighbourhoods(volume: Tensor) -> Tensor:
    """Cut ``(B, C, d, h, w)`` into the windows and `HALO` nodes about them, ``(B, windows, REACH**3, C)``."""
    filling = _filling(volume)
    around = [HALO + n for n in filling]
    return _blocks(functional.pad(volume, around), REACH)


def _filling(volume: Tensor) -> list[int]:
    """Nodes that an axis lacks of a whole number of windows, as torch's `pad` takes them."""
    depth, height, width = (-n % WINDOW for n in volume.shape[2:])
    return [0, width, 0, height, 0, depth]


def _blocks(volume: Tensor, size: int) -> Tensor:
    """Blocks of `size` nodes an axis, `WINDOW` apart: ``(B, C, d, h, w) -> (B, blocks, size**3, C)``."""
    for axis in (2, 3, 4):
        volume = volume.unfold(axis, size, WINDOW)
    return volume.flatten(5).flatten(2, 4).permute(0, 2, 3, 1)


def _volume(windows: Tensor, shape: torch.Size) -> Tensor:
    """Put windows ``(B, windows, WINDOW**3, C)`` together again, ``(B, C, *shape)``."""
    counts = [-(-n // WINDOW) for n in shape]
    blocks = windows.unflatten(2, (WINDOW,) * 3).unflatten(1, counts)
    volume = blocks.permute(0, 7, 1, 4, 2, 5, 3, 6).flatten(6, 7).flatten(4, 5).flatten(2, 3)
    return volume[:, :, : shape[0], : shape[1], : shape[2]]


def _positions(size: int, like: Tensor) -> Tensor:
    """Positions (i, j, k) of the nodes of a block, ``(size**3, 3)``, counted from its first."""
    axis = torch.arange(size, device=like.device)
    k, j, i = torch.meshgrid(axis, axis, axis, indexing="ij")
    return torch.stack([i, j, k], -1).reshape(-1, 3)


def _offset_index() -> Tensor:
    """Return which learned score belongs to each node that asks and each that answers, ``(WINDOW**3, REACH**3)``."""
    start = torch.zeros(())
    offset = _positions(REACH, start) - _positions(WINDOW, start)[:, None] + WINDOW - 1
    width = WINDOW + REACH - 1
    return offset[..., 0] + width * (offset[..., 1] + width * offset[..., 2])
