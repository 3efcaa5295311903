"""What a model bundle says of itself: ``model.json``, typed and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from DeepRegLib.errors import InputError, ModelError
from DeepRegLib.files import write_text
from DeepRegLib.segments import Segment
from DeepRegLib.version import VERSION

FORMAT = 1
MANIFEST = "model.json"
SEGMENTATION, DENOISE, TRANSLATE, MOTION = "segmentation", "denoise", "translate", "motion"
TASKS = ("registration", "features", SEGMENTATION, DENOISE, TRANSLATE, MOTION)
INTENSITIES = ("percentile",)
# A name becomes that of a folder, on every system.
NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
RELEASE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9}){0,3}")
SHA256 = re.compile(r"[0-9a-f]{64}")
LARGEST_SPACING, LARGEST_SIZE, LEAST_ACROSS = 50.0, 2048, 16
SPACING_WANTED = f"a number of mm above 0, at most {LARGEST_SPACING:g}"
ACROSS_WANTED = f"a whole number from {LEAST_ACROSS} to {LARGEST_SIZE}, or 0 for a fixed spacing"
ORIENTATION = re.compile(r"(?!.*(?:[LR].*[LR]|[PA].*[PA]|[SI].*[SI]))[LRPASI]{3}")
ORIENTATION_WANTED = "three letters such as LPS, one of L and R, of P and A, of S and I; or nothing for any"
SIZE_WANTED = f"three whole numbers from 1 to {LARGEST_SIZE} along i, j, k, or 0 for any"
SHOWN_CHARACTERS = 60
LARGEST_MANIFEST = 1_000_000

TEXTS = (
    *("name", "version", "task", "architecture", "trained_on", "licence", "intended_use", "limits"),
    *("weights_sha256", "minimum_library"),
)
NEEDED = ("format", *TEXTS, "arguments", "input", "parameters")
KEYS = (*NEEDED, "segments")
SEGMENT_KEYS = ("label", "name", "colour", "terminology")
SEGMENTS_WANTED = "a table a label, ascending, with label, name, colour (three numbers from 0 to 1) and terminology"
INTERVAL_WANTED = f"a number of seconds above 0, at most {LARGEST_SPACING:g}, for the task motion, and 0 for others"
INPUT_KEYS = ("spacing", "size", "intensity", "across", "orientation", "interval")


@dataclass(frozen=True)
class ModelInput:
    """The images a network was made for, or the scores of motion.

    Parameters
    ----------
    spacing
        Of its isotropic grid in mm; 0 where `across` says it.
    size
        Voxels along i, j, k; None if any number will do.
    intensity
        How intensities are scaled: ``"percentile"``, 0 to 1 between two percentiles, as every recipe prepares them.
    across
        Voxels along the longest side of its grid, for a network that may see any anatomy as large as that, whatever its
        size in mm, as long as the image has so many; 0 where the spacing is fixed.
    orientation
        Where its axes i, j, k point to, such as ``"LPS"`` (left, posterior, superior), for a network that knows anatomy
        one way up only; "" for any: it gets those of the scan that come nearest to left, posterior and superior.
    interval
        Seconds between two scores of a network of motion, which takes no images; 0 for images.
    """

    spacing: float = 0.0
    size: tuple[int, int, int] | None = None
    intensity: str = "percentile"
    across: int = 0
    orientation: str = ""
    interval: float = 0.0

    def __post_init__(self) -> None:
        right = self.across == 0 or LEAST_ACROSS <= self.across <= LARGEST_SIZE
        _require(right, "input.across", self.across, ACROSS_WANTED)
        if self.across:
            _require(self.spacing == 0, "input.spacing", self.spacing, "0 beside input.across, or leave that out")
            _require(self.size is None, "input.size", self.size, "0 beside input.across, or leave that out")
        elif self.interval:
            _require(0 < self.interval <= LARGEST_SPACING, "input.interval", self.interval, INTERVAL_WANTED)
            _require(self.spacing == 0, "input.spacing", self.spacing, "0 beside input.interval")
        else:
            _require(0 < self.spacing <= LARGEST_SPACING, "input.spacing", self.spacing, SPACING_WANTED)
        right = self.size is None or (min(self.size) > 0 and max(self.size) <= LARGEST_SIZE)
        _require(right, "input.size", self.size, SIZE_WANTED)
        _require(self.intensity in INTENSITIES, "input.intensity", self.intensity, _one_of(INTENSITIES))
        right = not self.orientation or ORIENTATION.fullmatch(self.orientation) is not None
        _require(right, "input.orientation", self.orientation, ORIENTATION_WANTED)


@dataclass(frozen=True)
class Manifest:
    """What a trained network is, and what it may be used for.

    Parameters
    ----------
    name
        Lower-case letters, digits, dots, dashes and underscores.
    version
        Of the model, any text.
    task
        One of `TASKS`.
    architecture, arguments
        What `DeepRegLib.networks.build_network` builds it from.
    input
        The images it takes.
    trained_on
        Data, with their sources.
    licence
        Of the weights.
    intended_use, limits
        What it is for, and what it is known not to do.
    weights_sha256
        Of the file of weights, 64 hexadecimal digits; "" until they are saved.
    minimum_library
        The oldest version of this library that can run it.
    parameters
        How many numbers were learned; 0 until they are saved.
    segments
        The labels of a segmentation, ascending, by the network's classes after the background (0); for others none.
    """

    name: str
    version: str
    task: str
    architecture: str
    arguments: Mapping[str, Any]
    input: ModelInput
    trained_on: str
    licence: str
    intended_use: str
    limits: str
    weights_sha256: str = ""
    minimum_library: str = VERSION
    parameters: int = 0
    segments: tuple[Segment, ...] = ()

    def __post_init__(self) -> None:
        _require(
            NAME.fullmatch(self.name) is not None,
            "name",
            self.name,
            "at most 64 lower-case letters, digits, dots, dashes and underscores, a letter or digit first and last",
        )
        _require(self.task in TASKS, "task", self.task, _one_of(TASKS))
        for key in ("version", "architecture", "trained_on", "licence", "intended_use", "limits"):
            _require(bool(getattr(self, key).strip()), key, getattr(self, key), "a text")
        hashed = not self.weights_sha256 or SHA256.fullmatch(self.weights_sha256) is not None
        _require(hashed, "weights_sha256", self.weights_sha256, "the SHA-256 of the weights, 64 hexadecimal digits")
        released = RELEASE.fullmatch(self.minimum_library) is not None
        _require(released, "minimum_library", self.minimum_library, f"a version such as {VERSION}")
        _require(self.parameters >= 0, "parameters", self.parameters, "a whole number")
        right = (self.input.interval > 0) == (self.task == MOTION)
        _require(right, "input.interval", self.input.interval, INTERVAL_WANTED)
        labels = [segment.label for segment in self.segments]
        right = labels == sorted(set(labels)) and bool(labels) == (self.task == SEGMENTATION)
        _require(right, "segments", labels, "the labels of a segmentation, ascending, and none for other tasks")
        classes = self.arguments.get("out")
        right = self.task != SEGMENTATION or classes == len(labels) + 1
        _require(right, "arguments.out", classes, "one class a segment, and one for the background")


def read_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of a bundle.

    Raises
    ------
    ModelError
        If there is none, it is not JSON, or a key is missing, unknown or wrong (the message names it).
    """
    path = Path(folder) / MANIFEST
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST_MANIFEST + 1)
        if len(content) > LARGEST_MANIFEST:
            raise ModelError(f"{path} is larger than {LARGEST_MANIFEST} bytes.", "Give the folder of a model bundle.")
        table = json.loads(content.decode("utf-8-sig"))
    except FileNotFoundError as error:
        raise ModelError(f"{folder} holds no {MANIFEST}.", "Give the folder of a model bundle.") from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.", "Check the path and its permissions.") from error
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON
        raise ModelError(
            f"{path} is not JSON: {_shortened(str(error))}.", "Get the model anew from where it came from."
        ) from error
    return manifest_from_dict(table, str(path))


def write_manifest(manifest: Manifest, folder: str | Path) -> None:
    """Write the manifest of a bundle.

    Raises
    ------
    ModelError
        If an argument is none of what JSON knows.
    OutputError
        If the folder cannot be written.
    """
    try:
        text = json.dumps(manifest_to_dict(manifest), indent=1, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"The arguments of the model {manifest.name} cannot be written as JSON: {error}.",
            "Give plain numbers, texts, lists and tables.",
        ) from error
    write_text(Path(folder) / MANIFEST, text + "\n")


def manifest_to_dict(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as plain values, as its file has them."""
    table = {"format": FORMAT, **asdict(manifest)}
    for key, unset in (("size", None), ("across", 0), ("orientation", ""), ("interval", 0.0)):
        if table["input"][key] == unset:
            del table["input"][key]
    if not manifest.segments:
        del table["segments"]
    return table


def manifest_from_dict(table: Any, origin: str = MANIFEST) -> Manifest:
    """Build a manifest from plain values and check every key.

    Raises
    ------
    ModelError
        If a key is unknown or missing, or a value is of the wrong type or out of range.
    """
    try:
        _check_format(table)
        _check_keys(table, KEYS, NEEDED, "")
        arguments = _typed(table, "arguments", dict, "a table")
        return Manifest(
            arguments=arguments,
            input=_input_from_dict(_typed(table, "input", dict, "a table")),
            parameters=_typed(table, "parameters", int, "a whole number"),
            segments=_segments_from(table.get("segments", [])),
            **{key: _typed(table, key, str, "a text") for key in TEXTS},
        )
    except ModelError as error:
        raise ModelError(f"{origin}: {error.message}", error.hint) from error


def check_library(manifest: Manifest) -> None:
    """Make sure that this library is new enough for a model.

    Raises
    ------
    ModelError
        If it is not.
    """
    if _release(manifest.minimum_library) > _release(VERSION):
        raise ModelError(
            f"The model {manifest.name} needs DeepReg {manifest.minimum_library} or newer; this is {VERSION}.",
            "Update DeepReg, or use an older version of the model.",
        )


def _check_format(table: Any) -> None:
    """Look at the format first: a later one may have other keys."""
    if not isinstance(table, Mapping):
        raise ModelError(f"The file holds {_shown(table)}.", "Make it a table with the keys of a model.")
    number = table.get("format")
    if not _is_a(number, int):
        _require(False, "format", number, f"{FORMAT}")
    if number != FORMAT:
        raise ModelError(f"The format is {number}; this DeepReg reads {FORMAT}.", "Update DeepReg.")


def _input_from_dict(table: Mapping[str, Any]) -> ModelInput:
    _check_keys(table, INPUT_KEYS, ("spacing", "intensity"), "input.")
    spacing, across, orientation = table["spacing"], table.get("across", 0), table.get("orientation", "")
    _require(_is_a(spacing, (int, float)) and 0 <= spacing <= LARGEST_SPACING, "input.spacing", spacing, SPACING_WANTED)
    _require(_is_a(across, int), "input.across", across, ACROSS_WANTED)
    _require(_is_a(table["intensity"], str), "input.intensity", table["intensity"], _one_of(INTENSITIES))
    _require(_is_a(orientation, str), "input.orientation", orientation, ORIENTATION_WANTED)
    interval = table.get("interval", 0.0)
    _require(_is_a(interval, (int, float)), "input.interval", interval, INTERVAL_WANTED)
    size = _size_from(table.get("size", 0))
    return ModelInput(float(spacing), size, table["intensity"], across, orientation, float(interval))


def _size_from(value: Any) -> tuple[int, int, int] | None:
    if value is None or (_is_a(value, int) and value == 0) or value == [0, 0, 0]:
        return None
    three = isinstance(value, list) and len(value) == 3 and all(_is_a(n, int) for n in value)
    _require(three, "input.size", value, SIZE_WANTED)
    i, j, k = value
    return i, j, k


def _segments_from(value: Any) -> tuple[Segment, ...]:
    _require(isinstance(value, list), "segments", value, SEGMENTS_WANTED)
    return tuple(_segment_from(each) for each in value)


def _segment_from(table: Any) -> Segment:
    _require(isinstance(table, dict), "segments", table, SEGMENTS_WANTED)
    _check_keys(table, SEGMENT_KEYS, SEGMENT_KEYS, "segments.")
    label, name, colour, terminology = (table[key] for key in SEGMENT_KEYS)
    three = isinstance(colour, list) and len(colour) == 3 and all(_is_a(part, (int, float)) for part in colour)
    right = three and _is_a(label, int) and _is_a(name, str) and _is_a(terminology, str)
    _require(right, "segments", table, SEGMENTS_WANTED)
    try:
        return Segment(label, name, (float(colour[0]), float(colour[1]), float(colour[2])), terminology)
    except InputError as error:
        raise ModelError(error.message, error.hint) from error


def _check_keys(table: Mapping[str, Any], known: tuple[str, ...], needed: tuple[str, ...], prefix: str) -> None:
    for key in table:
        if key not in known:
            raise ModelError(
                f"The key {prefix}{_shortened(str(key))} is unknown.",
                f"Use {', '.join(prefix + name for name in known)}.",
            )
    for key in needed:
        if key not in table:
            raise ModelError(f"The key {prefix}{key} is missing.", "Add it, or get the model anew.")


def _typed(table: Mapping[str, Any], key: str, kind: type, words: str) -> Any:
    _require(_is_a(table[key], kind), key, table[key], words)
    return table[key]


def _is_a(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)


def _release(version: str) -> tuple[int, ...]:
    """Return the numbers of a version, 1.2 as 1.2.0.0; what follows them (dev, rc) is not looked at."""
    found = RELEASE.match(version)
    numbers = [int(part) for part in found.group().split(".")] if found else []
    return tuple([*numbers, 0, 0, 0, 0][:4])


def _require(condition: bool, key: str, value: object, wanted: str) -> None:
    if not condition:
        raise ModelError(f"The key {key} is {_shown(value)}.", f"Give {wanted}.")


def _one_of(names: tuple[str, ...]) -> str:
    return names[0] if len(names) == 1 else f"one of {', '.join(names)}"


def _shown(value: object) -> str:
    return _shortened(repr(value))


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "..."
