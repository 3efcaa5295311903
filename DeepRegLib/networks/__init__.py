"""Networks that register, segment, denoise, translate or predict: torch modules only. Weights come from `models`."""

from __future__ import annotations

import inspect
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any, get_type_hints

from torch import nn

from DeepRegLib.errors import ModelError
from DeepRegLib.networks.anatomix import Anatomix
from DeepRegLib.networks.autoencoder import DenoisingAutoencoder
from DeepRegLib.networks.lapirn import LapIRN
from DeepRegLib.networks.motion import MotionNet
from DeepRegLib.networks.pyramid import PyramidNet
from DeepRegLib.networks.segmentation import SegmentationCNN, SegmentationUNet
from DeepRegLib.networks.translator import Translator
from DeepRegLib.networks.unigradicon import UniGradICON

__all__ = [
    "ARCHITECTURES",
    "DENOISES",
    "PREDICTS",
    "SEGMENTS",
    "THIRD_PARTY",
    "TRANSLATES",
    "Anatomix",
    "DenoisingAutoencoder",
    "LapIRN",
    "MotionNet",
    "PyramidNet",
    "SegmentationCNN",
    "SegmentationUNet",
    "Translator",
    "UniGradICON",
    "build_network",
]

ARCHITECTURES: dict[str, type[nn.Module]] = {
    "pyramid": PyramidNet,
    "segmentation-unet": SegmentationUNet,
    "segmentation-cnn": SegmentationCNN,
    "autoencoder": DenoisingAutoencoder,
    "translator": Translator,
    "motion": MotionNet,
}
# What a network must be for each task of a training that is not about pairs.
SEGMENTS, DENOISES, TRANSLATES = ("segmentation-unet", "segmentation-cnn"), ("autoencoder",), ("translator",)
PREDICTS = ("motion",)
# Networks of others, for the weights they published, and not trained here.
THIRD_PARTY: dict[str, type[nn.Module]] = {"anatomix": Anatomix, "lapirn": LapIRN, "unigradicon": UniGradICON}


def build_network(architecture: str, arguments: Mapping[str, Any]) -> nn.Module:
    """Build an untrained network.

    Parameters
    ----------
    architecture
        One of `ARCHITECTURES` or `THIRD_PARTY`.
    arguments
        What its class takes, as plain values: whole numbers, true or false, lists of whole numbers.

    Returns
    -------
    nn.Module
        On the CPU, in training mode, initialised from torch's generator.

    Raises
    ------
    ModelError
        If there is no such architecture, or an argument is unknown or cannot be used.
    """
    kinds, shown = {**ARCHITECTURES, **THIRD_PARTY}, reprlib.repr(architecture)  # a file's text may be endless
    if architecture not in kinds:
        raise ModelError(f"There is no network {shown}.", f"Use one of {', '.join(kinds)}.")
    kind = kinds[architecture]
    known = list(inspect.signature(kind).parameters)
    hints = get_type_hints(kind.__init__)
    for name, value in arguments.items():
        if name not in known:
            raise ModelError(
                f"The network {shown} has no argument {reprlib.repr(name)}.",
                f"Use one of {', '.join(known)}.",
            )
        if not _fits(value, hints[name]):
            told = f"The argument {name} of {shown} is {reprlib.repr(value)}."
            raise ModelError(told, f"Give {_WORDS[hints[name]]}.")
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in arguments.items()})


_WORDS = {bool: "true or false", int: "a whole number", Sequence[int]: "a list of whole numbers"}


def _fits(value: object, hint: object) -> bool:
    if hint == Sequence[int]:
        return isinstance(value, list | tuple) and all(_fits(item, int) for item in value)
    return isinstance(value, bool) if hint is bool else isinstance(value, int) and not isinstance(value, bool)
