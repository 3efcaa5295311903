"""What every network promises: shapes, types, a start from nothing, and that it learns a pair."""

from __future__ import annotations

import inspect
import json
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn

from DeepRegLib.errors import InputError, ModelError
from DeepRegLib.networks import ARCHITECTURES, build_network
from Testing.networks.pairs import pair, train

# The smallest of each kind, and every way it can be built.
NETWORKS = {
    "pyramid": ("pyramid", {"channels": [8, 12, 16]}),
    "pyramid, interpolated": ("pyramid", {"channels": [8, 12, 16, 16], "interpolated": 1}),
    "pyramid, intensities": ("pyramid", {"channels": [8, 12, 16], "self_similarity": False}),
    "pyramid, integrated": ("pyramid", {"channels": [8, 12, 16], "radius": 2, "integrate": True}),
}


def build(name: str, seed: int = 0) -> nn.Module:
    architecture, arguments = NETWORKS[name]
    torch.manual_seed(seed)
    return build_network(architecture, arguments)


def images(network: nn.Module, sides: tuple[int, int, int] = (1, 2, 3), batch: int = 1) -> list[torch.Tensor]:
    """Return as many images as a network takes, whose sides are multiples of what it needs."""
    generator = torch.Generator().manual_seed(1)
    shape = [side * network.multiple for side in sides]
    count = len(inspect.signature(network.forward).parameters.keys() & {"fixed", "moving", "image"})
    return [torch.rand(batch, 1, *shape, generator=generator) for _ in range(count)]


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("sides", [(1, 1, 1), (1, 2, 3), (3, 1, 2)])
def test_any_multiple_gives_a_result_of_its_shape(name, sides):
    network = build(name)
    depth, height, width = (side * network.multiple for side in sides)
    with torch.no_grad():
        result = network(*images(network, sides, batch=2))
    assert result.shape == (2, 3, depth // 2, height // 2, width // 2)
    assert result.dtype == torch.float32
    assert torch.isfinite(result).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_an_untrained_network_moves_almost_nothing(name):
    network = build(name)
    with torch.no_grad():
        field = network(*images(network))
    assert 0 < field.abs().max() < 0.02


@pytest.mark.parametrize("name", NETWORKS)
def test_the_seed_decides_the_weights(name):
    first, again, other = (build(name, seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_in_the_batch_beside_an_image_does_not_matter(name):
    network = build(name).eval()
    both = images(network, batch=2)
    with torch.no_grad():
        torch.testing.assert_close(network(*both)[1:], network(*[image[1:] for image in both]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_weight_is_used(name):
    network = build(name)
    for key, weight in network.named_parameters():
        if key.endswith("gain"):  # the only ones that begin with zero
            torch.nn.init.ones_(weight)
    network(*images(network)).square().sum().backward()
    unused = [key for key, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert unused == []


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("halved", ["autocast", "weights"])
def test_half_precision_gives_about_the_same(name, halved):
    network = build(name).eval()
    for key, weight in network.named_parameters():
        if key.endswith(("last.weight", "gain")):
            nn.init.constant_(weight, 0.01) if weight.ndim < 2 else nn.init.normal_(weight, std=0.01)
    arguments = images(network, (2, 2, 2))
    with torch.no_grad():
        exact = network(*arguments)
        if halved == "weights":
            network, arguments = network.bfloat16(), [image.bfloat16() for image in arguments]
        with torch.autocast("cpu", torch.bfloat16) if halved == "autocast" else nullcontext():
            rough = network(*arguments)
    assert rough.dtype == torch.float32
    assert (rough.float() - exact).norm() < 0.1 * exact.norm()


@pytest.mark.parametrize("name", NETWORKS)
def test_images_of_another_size_are_refused(name):
    network = build(name)
    first, *others = images(network, (2, 2, 2))
    with pytest.raises(InputError, match=f"multiple of {network.multiple}"):
        network(*[image[..., 1:] for image in (first, *others)])
    for other in others:
        with pytest.raises(InputError, match="moving"):
            network(first, other[..., : network.multiple])


@pytest.mark.parametrize("name", NETWORKS)
def test_it_learns_one_pair(name):
    assert train(build(name), pair(), steps=15, rate=1e-3) < 0.3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_documentation_counts_the_parameters_and_they_fit_a_small_file(architecture):
    network = build_network(architecture, {})
    count = sum(weight.numel() for weight in network.parameters())
    assert f"{count:,}" in " ".join(type(network).__doc__.split())
    assert 2 * count < 5_000_000


@pytest.mark.parametrize("name", NETWORKS)
def test_arguments_survive_a_json_file(name):
    architecture, arguments = NETWORKS[name]
    again = build_network(architecture, json.loads(json.dumps(arguments)))
    assert [w.shape for w in again.parameters()] == [w.shape for w in build(name).parameters()]


@pytest.mark.parametrize(
    ("architecture", "arguments", "words"),
    [
        ("transformer", {}, "pyramid, segmentation-unet"),
        ("pyramid", {"depth": 3}, "depth.*channels, radius"),
        ("pyramid", {"channels": 16}, "list of whole numbers"),
        ("pyramid", {"channels": [16.5, 8]}, "list of whole numbers"),
        ("pyramid", {"channels": []}, "channels"),
        ("pyramid", {"channels": [8, -1]}, "channels"),
        ("pyramid", {"radius": 3}, "1 or 2"),
        ("pyramid", {"radius": True}, "whole number"),
        ("pyramid", {"interpolated": 5}, "0 to 4"),
        ("pyramid", {"integrate": 7}, "true or false"),
        ("anatomix", {"channels": 0}, "channels"),
        ("anatomix", {"out": 0}, "out"),
    ],
)
def test_what_cannot_be_built_is_named(architecture, arguments, words):
    with pytest.raises(ModelError, match=words):
        build_network(architecture, arguments)


@pytest.mark.parametrize(
    ("architecture", "arguments"),
    [("x" * 3000, {}), ("pyramid", {"y" * 3000: 1}), ("pyramid", {"channels": "z" * 3000})],
)
def test_what_a_file_says_is_not_repeated_at_length(architecture: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(ModelError) as caught:
        build_network(architecture, arguments)
    assert len(str(caught.value)) < 500
