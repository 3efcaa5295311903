"""The configuration of a MONAI bundle, read as data: what it names must be on a list, and nothing it says is executed.

MONAI's own parser builds any class that a configuration names and evaluates any text that begins with ``$`` as Python.
So a bundle of a stranger could run anything. Here the parts that an inference needs are resolved from plain JSON
(docs/decisions/monai-bundles.md).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import PurePosixPath
from typing import Any

from DeepRegLib.errors import ModelError
from DeepRegLib.guarding import in_one_line

NETWORKS = (
    *("AttentionUnet", "BasicUNet", "BasicUNetPlusPlus", "BasicUnet", "DynUNet", "HighResNet", "SegResNet"),
    *("SegResNetVAE", "SwinUNETR", "UNETR", "UNet", "Unet", "VNet"),
)
PREPROCESSING = (
    *("CastToTyped", "CenterSpatialCropd", "CropForegroundd", "DivisiblePadd", "EnsureChannelFirstd", "EnsureTyped"),
    *("NormalizeIntensityd", "Orientationd", "Resized", "ScaleIntensityRangePercentilesd", "ScaleIntensityRanged"),
    *("ScaleIntensityd", "Spacingd", "SpatialPadd", "ThresholdIntensityd"),
)
POSTPROCESSING = (
    "Activationsd",
    "AsDiscreted",
    "EnsureTyped",
    "FillHolesd",
    "Invertd",
    "KeepLargestConnectedComponentd",
)
# Done by DeepReg itself, or not at all: it reads the scan and writes the result.
LEFT_OUT = ("LoadImaged", "SaveImaged")
INFERERS = ("SimpleInferer", "SlidingWindowInferer")
# Where each kind of class lives in MONAI.
HOMES = {"network": "monai.networks.nets", "transform": "monai.transforms", "inferer": "monai.inferers"}
TYPES = re.compile(r"\$(?:torch|np|numpy)\.((?:float|int|uint)(?:8|16|32|64))")
# What a section that is not used here may name; it is never built.
HARMLESS = re.compile(r"(?:(?:monai|torch|ignite)(?:\.\w+)+|[A-Z]\w*)")
REFERENCE = re.compile(r"@[\w:#]+")
DEEPEST, MOST_VALUES = 32, 100_000
UNUSED_KEYS = ("_target_", "_desc_", "_disabled_")
ADVICE = "Ask its author for a bundle whose inference is configured without it, or run it in MONAI if you trust it."


@dataclass(frozen=True)
class Named:
    """A class that a configuration names, and what it is made with.

    Parameters
    ----------
    name
        Of the class, on one of the lists.
    arguments
        Plain values.
    """

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class MonaiConfig:
    """What an inference needs of a bundle's configuration.

    Parameters
    ----------
    network
        The network.
    preprocessing, postprocessing
        Transforms in order, without those that read and write files.
    inferer
        How the network is asked.
    channel_first
        Whether reading the scan already adds an axis of channels.
    """

    network: Named
    preprocessing: tuple[Named, ...]
    inferer: Named
    postprocessing: tuple[Named, ...]
    channel_first: bool


def monai_config(table: Any) -> MonaiConfig:
    """Read the configuration of an inference.

    Parameters
    ----------
    table
        The content of ``configs/inference.json``.

    Raises
    ------
    ModelError
        If it names a class that is not on the list, anything that would have to be executed or a path that leads out of
        the bundle, or lacks the network.
    """
    if not isinstance(table, dict):
        raise ModelError("The configuration of the bundle is no table.", "Give a MONAI bundle.")
    _check_everywhere(table, "", 0)
    steps = count()
    network = _named(table, _first(table, "network_def", "network"), "network", NETWORKS, steps)
    before = _transforms(table, table.get("preprocessing"), (*PREPROCESSING, *LEFT_OUT), steps)
    after = _transforms(table, table.get("postprocessing"), (*POSTPROCESSING, *LEFT_OUT), steps)
    wanted = table.get("inferer", {"_target_": "SimpleInferer"})
    readers = [each for each in before if each.name == "LoadImaged"]
    return MonaiConfig(
        network,
        tuple(each for each in before if each.name not in LEFT_OUT),
        _named(table, wanted, "inferer", INFERERS, steps),
        tuple(each for each in after if each.name not in LEFT_OUT),
        any(bool(each.arguments.get("ensure_channel_first")) for each in readers),
    )


def _check_everywhere(value: Any, where: str, depth: int) -> None:
    """Refuse what has no business in any bundle, in whichever section it stands."""
    if depth > DEEPEST:
        raise ModelError("The configuration of the bundle lies too deep in itself.", ADVICE)
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "_target_" and not (isinstance(item, str) and HARMLESS.fullmatch(item)):
                raise ModelError(
                    f"The bundle names {_shown(item)}{where}, which is no class of MONAI or torch.", ADVICE
                )
            _check_everywhere(item, where or f" in {_shown(key)}", depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_everywhere(item, where, depth + 1)
    elif isinstance(value, str) and ".." in PurePosixPath(value.replace("\\", "/")).parts:
        raise ModelError(f"The bundle names the path {_shown(value)}{where}, which leads out of its folder.", ADVICE)


def _first(table: Mapping[str, Any], *keys: str) -> Any:
    for key in keys:
        if key in table:
            return table[key]
    raise ModelError(f"The configuration of the bundle has no {keys[0]}.", "Give a MONAI bundle for segmentation.")


def _transforms(
    table: Mapping[str, Any], value: Any, allowed: tuple[str, ...], steps: Iterator[int]
) -> tuple[Named, ...]:
    """Return the transforms of a ``Compose``, or of a list."""
    value = _followed(table, value, 0)
    if value is None:
        return ()
    if isinstance(value, dict) and _bare(value.get("_target_")) == "Compose":
        value = _followed(table, value.get("transforms", []), 0)
    each = value if isinstance(value, list) else [value]
    found = [_followed(table, item, 0) for item in each]
    on = [item for item in found if not (isinstance(item, dict) and item.get("_disabled_") is True)]
    return tuple(_named(table, item, "transform", allowed, steps) for item in on)


def _named(table: Mapping[str, Any], value: Any, kind: str, allowed: tuple[str, ...], steps: Iterator[int]) -> Named:
    value = _followed(table, value, 0)
    if not isinstance(value, dict) or not isinstance(value.get("_target_"), str):
        raise ModelError(f"The bundle's {kind} is {_shown(value)}, which would have to be executed.", ADVICE)
    target = value["_target_"]
    name, home = _bare(target), target.rpartition(".")[0]
    at_home = not home or home == HOMES[kind] or home.startswith(HOMES[kind] + ".")
    if name not in allowed or not at_home:
        raise ModelError(f"The bundle names {_shown(target)} as {kind}, which is not on the list.", ADVICE)
    arguments = {
        key: _plain(table, item, key, 0, steps)
        for key, item in value.items()
        if key not in UNUSED_KEYS
        and not (name in LEFT_OUT and key != "ensure_channel_first")
        # How the preprocessing is undone is no business of the bundle.
        and name != "Invertd"
    }
    return Named(name, arguments)


def _bare(target: Any) -> str:
    """Return the name of a class; MONAI has several for each transform of a table."""
    name = target.rpartition(".")[2] if isinstance(target, str) else ""
    if name.endswith("Dict"):
        return name.removesuffix("Dict") + "d"
    return name.removesuffix("D") + "d" if name.endswith("D") else name


def _plain(table: Mapping[str, Any], value: Any, key: str, depth: int, steps: Iterator[int]) -> Any:
    """Return an argument as plain values, or refuse it."""
    if next(steps) > MOST_VALUES:  # references to lists of references
        raise ModelError("The configuration of the bundle has too many values.", ADVICE)
    value = _followed(table, value, depth)
    if isinstance(value, dict):
        if "_target_" in value:
            raise ModelError(
                f"The bundle names {_shown(value['_target_'])} as {key}, which is not on the list.", ADVICE
            )
        return {name: _plain(table, item, key, depth + 1, steps) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(table, item, key, depth + 1, steps) for item in value]
    if isinstance(value, str):
        return _text(value, key)
    return value


def _text(value: str, key: str) -> Any:
    if kind := TYPES.fullmatch(value):
        return kind[1]
    if value.startswith("$"):
        try:
            return ast.literal_eval(value[1:].strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError) as error:
            raise ModelError(
                f"The bundle's {_shown(key)} is {_shown(value)}, which would have to be executed.", ADVICE
            ) from error
    if value.startswith(("/", "~", "%")) or re.match(r"[A-Za-z]:[\\/]", value):
        raise ModelError(f"The bundle's {_shown(key)} is {_shown(value)}, which leads out of its folder.", ADVICE)
    return value


def _followed(table: Mapping[str, Any], value: Any, depth: int) -> Any:
    """Return what a reference such as ``@network_def`` or ``@sizes::0`` stands for."""
    while isinstance(value, str) and REFERENCE.fullmatch(value):
        depth += 1
        if depth > DEEPEST:
            raise ModelError(f"The reference {_shown(value)} of the bundle leads in a circle.", ADVICE)
        value = _referred(table, value)
    return value


def _referred(table: Mapping[str, Any], reference: str) -> Any:
    here: Any = table
    try:
        for part in re.split("::|#", reference[1:]):
            here = here[int(part)] if isinstance(here, list) else here[part]
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise ModelError(f"The bundle names {_shown(reference)}, which it has not.", ADVICE) from error
    return here


def _shown(value: Any) -> str:
    return in_one_line(str(value), 80)
