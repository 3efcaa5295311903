"""The weights that the authors of anatomix publish, made into a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from DeepRegLib.errors import ModelError
from DeepRegLib.models.manifest import Manifest, ModelInput
from DeepRegLib.models.registry import KnownModel
from DeepRegLib.models.third_party import added

if TYPE_CHECKING:
    from torch import Tensor

ANATOMIX = "anatomix"
# Added to a variance before its root, as torch's batch normalisation does.
EPSILON = 1e-5
NORMALISATION = ("weight", "bias", "running_mean", "running_var")


def add_anatomix(weights: str | Path) -> KnownModel:
    """Make a bundle of weights of anatomix and add it to the user's models.

    Parameters
    ----------
    weights
        The file that its authors publish, ``anatomix.pth``. It is read without being unpickled, and nothing is
        downloaded.

    Raises
    ------
    ModelError
        If the file is missing or holds something else, or there is a model of that name.
    OutputError
        If the user's folder cannot be written.
    """
    from DeepRegLib.models.torch_files import read_tensors

    arguments, tensors = as_ours(read_tensors(weights), Path(weights).name)
    manifest = Manifest(
        name=ANATOMIX,
        version="ICLR 2025",
        task="features",
        architecture=ANATOMIX,
        arguments=arguments,
        input=ModelInput(1.0),
        trained_on="Synthetic volumes of random biomedical shapes in random contrasts; see Dey et al., ICLR 2025.",
        licence="MIT",
        intended_use='Features that are compared across modalities: deformable.similarity = "features" of a recipe.',
        limits="Not validated for clinical use.",
    )
    return added(manifest, tensors)


def as_ours(tensors: dict[str, Tensor], origin: str) -> tuple[dict[str, int], dict[str, Tensor]]:
    """Return what our network is built with for these weights, and the weights by our names of them.

    The published network is a list of layers, ``model.N``. Each convolution but the last has no offset and is followed
    by batch normalisation, which once trained is a gain and an offset of each channel: both go into the convolution.

    Raises
    ------
    ModelError
        If the weights are those of another network.
    """
    from DeepRegLib.networks.anatomix import Anatomix

    numbers = sorted(_number(name) for name, tensor in tensors.items() if tensor.ndim == 5 and _number(name) >= 0)
    levels, odd = divmod(len(numbers) - 4, 4)
    if odd or levels < 1:
        raise _others(origin)
    first, last = (tensors[f"model.{number}.weight"] for number in (numbers[0], numbers[-1]))
    arguments = {"channels": len(first), "out": len(last), "levels": levels}
    names = [name.removesuffix(".weight") for name in Anatomix(**arguments).state_dict() if name.endswith(".weight")]
    found, used = {}, 0
    for name, number in zip(names, numbers, strict=True):
        weight = tensors[f"model.{number}.weight"].double()
        parts = [tensors.get(f"model.{number + 1}.{part}") for part in NORMALISATION]
        if number == numbers[-1]:
            gain, offset = weight.new_ones(len(weight)), weight.new_zeros(len(weight))
        elif any(part is None or part.shape != (len(weight),) for part in parts):
            raise _others(origin)
        else:
            scale, shift, mean, variance = (part.double() for part in parts if part is not None)
            gain = scale / (variance + EPSILON).sqrt()
            offset = shift - mean * gain
            used += len(parts)
        found[f"{name}.weight"] = (weight * gain[:, None, None, None, None]).float()
        found[f"{name}.bias"] = offset.float()
        used += 1
    counters = sum(name.endswith("num_batches_tracked") for name in tensors)
    if used + counters != len(tensors) or _shapes(Anatomix(**arguments).state_dict()) != _shapes(found):
        raise _others(origin)
    return arguments, found


def _number(name: str) -> int:
    """Return the layer that a weight belongs to, or -1 where the name says none."""
    parts = name.split(".")
    right = len(parts) == 3 and parts[0] == "model" and parts[1].isdecimal() and parts[2] == "weight"
    return int(parts[1]) if right else -1


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _others(origin: str) -> ModelError:
    return ModelError(
        f"{origin} does not hold the weights of anatomix as published in 2025.",
        "Give anatomix.pth as its authors publish it; their later networks are built otherwise.",
    )
