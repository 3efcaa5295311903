"""What the networks are built of: convolutions, the encoder of both images, correlation, and the checks of input.

Convolutions lie such that each node of a coarser grid is in the middle of the eight nodes it came from, as the nodes of
a field are. Normalisation, where there is any, is that of one image and one channel, so the batch does not matter.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from DeepRegLib.errors import InputError, ModelError
from DeepRegLib.networks.fields import RATIO, at_least_float32, upsample
from DeepRegLib.similarity.mind import CHANNELS as SELF_SIMILARITIES
from DeepRegLib.similarity.mind import mind_features

# Negative slope of every LeakyReLU.
SLOPE = 0.1
# Spread of the weights of a last layer, which is to predict almost nothing at first.
SMALL = 1e-5
# An optimiser such as Adam moves every weight as far; a gain that has the way from 0 to 1 before it gets there sooner.
HURRY = 10.0
# A cosine of 1 counts e**10 times as much as one of 0.
FIRST_LOG_SHARPNESS = 2.3
# Added to squared lengths of features, whose channels have about unit variance.
_LEAST_SQUARE = 1e-3
_CPU_TILE = 1 << 18


class InstanceNorm(nn.Module):
    """Zero mean and unit variance of each channel of each volume, then a learned gain and offset.

    Shapes ``(B, C, D, H, W) -> (B, C, D, H, W)``; 2 C parameters. Unlike torch's own it takes a volume of one node,
    which it sets to the offset.

    Parameters
    ----------
    channels
        C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, volume: Tensor) -> Tensor:
        """Normalise ``(B, C, D, H, W)``."""
        return torch.group_norm(volume, volume.shape[1], self.weight, self.bias)


class ConvBlock(nn.Sequential):
    """A convolution, instance normalisation if wanted, and LeakyReLU.

    Shapes ``(B, channels, D, H, W) -> (B, out, D / stride, H / stride, W / stride)``; ``channels out kernel**3 + out``
    parameters, `out` more with normalisation; its receptive field is `kernel` voxels wide.

    Parameters
    ----------
    channels, out
        Channels that come in and go out.
    kernel, stride
        Width and step of the convolution: 1 and 1, 3 and 1, 2 and 2, or 4 and 2.
    norm
        Normalise before the LeakyReLU.
    """

    def __init__(self, channels: int, out: int, *, kernel: int = 3, stride: int = 1, norm: bool = False) -> None:
        layers: list[nn.Module] = [convolution(channels, out, kernel=kernel, stride=stride, bias=not norm)]
        if norm:
            layers.append(InstanceNorm(out))
        super().__init__(*layers, nn.LeakyReLU(SLOPE))


class Encoder(nn.Module):
    """Features of an image at half its resolution and coarser, two convolutions a level.

    Shapes ``(B, 1, D, H, W) -> [(B, channels[n], D / 2**(n + 1), H / 2**(n + 1), W / 2**(n + 1)) for each level n]``.

    Parameters
    ----------
    channels
        Features of each level, fine to coarse.
    self_similarity
        Begin with `self_similarities` instead of the intensity alone.
    """

    def __init__(self, channels: Sequence[int], *, self_similarity: bool = False) -> None:
        super().__init__()
        self.self_similarity = self_similarity
        # Two voxels hold too little to tell where between them an edge lies; further down, features say it.
        first = (
            ConvBlock(SELF_SIMILARITIES + 1, channels[0], norm=True)
            if self_similarity
            else ConvBlock(1, channels[0], kernel=4, stride=2, norm=True)
        )
        downs = [
            first,
            *(ConvBlock(fine, coarse, kernel=2, stride=2, norm=True) for fine, coarse in pairwise(channels)),
        ]
        self.stages = nn.ModuleList(
            nn.Sequential(down, ConvBlock(out, out, norm=True)) for down, out in zip(downs, channels, strict=True)
        )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Return the features of each level, fine to coarse."""
        if self.self_similarity:
            image = self_similarities(image, RATIO)
        features = []
        for stage in self.stages:
            image = stage(image)
            features.append(image)
        return features


class UpBlock(nn.Module):
    """A step up in a U-Net: coarse features on the finer grid, beside what the way down left there, convolved.

    Shapes ``(B, coarse, d, h, w), (B, skip, 2 d, 2 h, 2 w) -> (B, out, 2 d, 2 h, 2 w)``; parameters as a `ConvBlock`
    with ``coarse + skip`` channels.

    Parameters
    ----------
    coarse, skip, out
        Channels from below, from the side, and those that go out.
    norm
        Normalise after the convolution.
    """

    def __init__(self, coarse: int, skip: int, out: int, *, norm: bool = False) -> None:
        super().__init__()
        self.block = ConvBlock(coarse + skip, out, norm=norm)

    def forward(self, coarse: Tensor, skip: Tensor) -> Tensor:
        """Join coarse features with those of the finer grid."""
        return self.block(torch.cat([upsample(coarse), skip], 1))


class Matches(nn.Module):
    """Compare a node with its neighbours in the other image, and say where among them it is found.

    The place is the mean offset of the neighbours under the softmax of their cosines, times a gain. Sharpness and gain
    are learned; the gain begins with zero.

    Shapes: two times ``(B, C, D, H, W)`` -> the cosines of `correlate`, ``(B, (2 radius + 1)**3, D, H, W)``, and a
    displacement ``(B, 3, D, H, W)`` in nodes. 2 parameters; each node sees ``2 radius + 1`` nodes along each axis.

    Parameters
    ----------
    radius
        How many nodes away the neighbours are at most, along each axis.
    """

    offsets: Tensor

    def __init__(self, radius: int) -> None:
        super().__init__()
        self.radius = radius
        self.log_sharpness = nn.Parameter(torch.tensor(FIRST_LOG_SHARPNESS))
        self.gain = nn.Parameter(torch.zeros(()))
        offsets = [(i, j, k) for k, j, i in itertools.product(range(-radius, radius + 1), repeat=3)]
        self.register_buffer("offsets", torch.tensor(offsets, dtype=torch.float32), persistent=False)

    def forward(self, fixed: Tensor, moving: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cosines, and the displacement in float32 or finer."""
        cosines = correlate(fixed, moving, self.radius)
        weights = (at_least_float32(cosines) * self.log_sharpness.exp()).softmax(1)
        place = torch.einsum("bndhw,nc->bcdhw", weights, self.offsets.to(weights.dtype))
        return cosines, at_least_float32(place) * (HURRY * self.gain)


def convolution(channels: int, out: int, *, kernel: int = 3, stride: int = 1, bias: bool = True) -> nn.Conv3d:
    """Return a centred convolution, initialised for a LeakyReLU behind it (He et al. 2015)."""
    layer = nn.Conv3d(channels, out, kernel, stride=stride, padding=(kernel - stride + 1) // 2, bias=bias)
    draw_he(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def draw_he(weight: Tensor) -> None:
    """Draw weights for a LeakyReLU behind them, in place (He et al. 2015).

    On the meta device, where a network is built for its shapes alone, there is nothing to draw, and PyTorch would
    import its compiler to do so, which takes as long as a small scan's descent.
    """
    if not weight.is_meta:
        nn.init.kaiming_normal_(weight, a=SLOPE)


def last_layer(channels: int, out: int = 3, *, kernel: int = 3) -> nn.Conv3d:
    """Return a convolution that gives almost zero until it is trained."""
    layer = nn.Conv3d(channels, out, kernel, padding=kernel // 2)
    if not layer.weight.is_meta:
        nn.init.normal_(layer.weight, std=SMALL)
    nn.init.zeros_(layer.bias)  # type: ignore[arg-type]  # None only where it is asked for
    return layer


def correlate(fixed: Tensor, moving: Tensor, radius: int) -> Tensor:
    """Compare each node of one image with its neighbours in another, by the cosine of their features.

    The mean of each channel is subtracted first: features behind a LeakyReLU all point the same way, and the cosines of
    nodes that match would hardly differ from those of others.

    Parameters
    ----------
    fixed, moving
        Features ``(B, C, D, H, W)``.
    radius
        How many nodes away the neighbours are at most, along each axis.

    Returns
    -------
    Tensor
        ``(B, (2 radius + 1)**3, D, H, W)`` in [-1, 1], zero for neighbours outside; the offset along i varies fastest.
    """
    height, width = fixed.shape[-2:]
    fixed, moving = (unit(features - features.mean((2, 3, 4), keepdim=True), 1) for features in (fixed, moving))
    padded = functional.pad(moving, (radius,) * 6)
    offsets = list(itertools.product(range(2 * radius + 1), repeat=3))
    slabs = []
    for start, stop in _slabs(fixed):
        part = fixed[:, :, start:stop]
        cosines = [
            (part * padded[:, :, start + k : stop + k, j : j + height, i : i + width]).sum(1) for k, j, i in offsets
        ]
        slabs.append(torch.stack(cosines, 1))
    return slabs[0] if len(slabs) == 1 else torch.cat(slabs, 2)


def self_similarities(image: Tensor, width: int = 1) -> Tensor:
    """Return what of an image does not depend on its contrast, and its intensity.

    A network that has to learn from intensities that the same edge may go up or down takes thousands of steps for it;
    MIND-SSC (Heinrich et al. 2013) knows it from the start. There is no gradient with respect to the image.

    Parameters
    ----------
    image
        ``(B, 1, D, H, W)``, about 0 to 1.
    width
        Of the cubes of voxels over which it is averaged.

    Returns
    -------
    Tensor
        ``(B, 13, D / width, H / width, W / width)``, about -0.5 to 0.5.
    """
    exact = at_least_float32(image.detach())
    described = torch.cat([mind_features(exact[:, 0]), exact], 1)
    return (functional.avg_pool3d(described, width) - 0.5).to(image.dtype)


def unit(features: Tensor, dim: int) -> Tensor:
    """Bring features to length 1, or less where they are much smaller than a channel's variance of 1."""
    return features * (features.square().sum(dim, keepdim=True) + _LEAST_SQUARE).rsqrt()


def _slabs(features: Tensor) -> list[tuple[int, int]]:
    """Ranges of planes whose features fit a CPU cache; all planes at once elsewhere."""
    batch, channels, depth, height, width = features.shape
    on_cpu = features.device.type == "cpu"
    thickness = max(_CPU_TILE // (batch * channels * height * width), 1) if on_cpu else depth
    return [(start, min(start + thickness, depth)) for start in range(0, depth, thickness)]


def check_image(image: Tensor, multiple: int) -> None:
    """Raise InputError unless an image is ``(B, 1, D, H, W)`` and its sides are multiples of what the network needs."""
    if image.ndim != 5 or image.shape[1] != 1:
        raise InputError(f"A network takes images (B, 1, D, H, W), not {tuple(image.shape)}.", "Reshape the images.")
    if any(n == 0 or n % multiple for n in image.shape[2:]):
        raise InputError(
            f"The image is {tuple(image.shape[2:])} voxels, and each side must be a multiple of {multiple}.",
            "Pad it with zeros.",
        )


def check_pair(fixed: Tensor, moving: Tensor, multiple: int) -> None:
    """Raise InputError unless both images are ``(B, 1, D, H, W)`` on one grid that the network can take."""
    if fixed.shape != moving.shape:
        raise InputError(
            f"The fixed images are {tuple(fixed.shape)} and the moving ones {tuple(moving.shape)}.",
            "Resample the moving image to the grid of the fixed one.",
        )
    check_image(fixed, multiple)


def require(condition: bool, name: str, value: object, wanted: str) -> None:
    """Raise ModelError unless an argument of an architecture can be used."""
    if not condition:
        raise ModelError(f"The network's argument {name} is {value!r}.", f"Give {wanted}.")


def require_channels(channels: Sequence[int], least: int) -> None:
    """Raise ModelError unless there are enough levels, each with channels."""
    require(
        len(channels) >= least and min(channels) >= 1, "channels", channels, f"{least} numbers or more, each from 1"
    )
