"""What client and worker say to each other as messages: requests, progress, results, errors. No torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib import errors
from DeepRegLib.engine.protocol import EngineError, Message, MissingLibraryError, ProtocolError
from DeepRegLib.errors import DeepRegError, MemoryShortageError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, as_image
from DeepRegLib.recipes import AUTO, Recipe, load_recipe, recipe_from_dict, recipe_to_dict, with_model
from DeepRegLib.result import Measures, Registration, Verdict
from DeepRegLib.transforms import CompositeTransform, DisplacementField, LinearTransform, Transform

Arrays = dict[str, NDArray[np.generic]]
Content = dict[str, Any]

REQUEST_IMAGES = ("fixed", "moving", "fixed_mask", "moving_mask", "fixed_labels", "moving_labels")
RESULT_IMAGES = ("warped", "field_of_view", "fixed_foreground", "warped_labels", "jacobian", "uncertainty")
LANDMARKS = ("fixed_landmarks", "moving_landmarks")


@dataclass(frozen=True, eq=False)
class Request:
    """One registration as the worker runs it; the parameters are those of `DeepRegLib.pipeline.register`.

    Parameters
    ----------
    fixed, moving, recipe, fixed_mask, moving_mask, fixed_landmarks, moving_landmarks
        As there.
    initial_transform, device, seed
        As there.
    moving_labels, fixed_labels
        Label maps for `Registration.with_labels`.
    moving_layers
        Label maps in the moving world, each on its own grid, for `Registration.warped_layers`.
    jacobian
        Whether `Registration.jacobian` is wanted.
    """

    fixed: Image
    moving: Image
    recipe: Recipe
    fixed_mask: Image | None = None
    moving_mask: Image | None = None
    fixed_landmarks: NDArray[np.floating] | None = None
    moving_landmarks: NDArray[np.floating] | None = None
    initial_transform: Transform | None = None
    device: str | None = None
    seed: int = 0
    moving_labels: Image | None = None
    fixed_labels: Image | None = None
    moving_layers: tuple[Image, ...] = ()
    jacobian: bool = False


def build_request(
    fixed: Image | str | Path,
    moving: Image | str | Path,
    recipe: str | Path | Recipe = AUTO,
    *,
    model: str | Path | None = None,
    **options: Any,
) -> Request:
    """Return a request; images and the recipe are read here, for a worker elsewhere cannot read this machine's files.

    Parameters
    ----------
    fixed, moving, recipe, model
        As in `DeepRegLib.pipeline.register`. A model given by its folder is looked for where the worker runs.
    options
        The other fields of `Request`; images may be paths.

    Raises
    ------
    InputError
        If a file or the recipe cannot be read.
    """
    read: dict[str, Any] = {
        name: as_image(value) if name in REQUEST_IMAGES and value is not None else value
        for name, value in options.items()
    }
    if "moving_layers" in read:
        read["moving_layers"] = tuple(as_image(layer) for layer in read["moving_layers"])
    return Request(as_image(fixed), as_image(moving), with_model(load_recipe(recipe), model), **read)


def pack_request(request: Request, number: int) -> Message:
    """Return a request as a register message."""
    arrays: Arrays = {}
    content: Content = {
        "recipe": recipe_to_dict(request.recipe),
        "device": request.device,
        "seed": request.seed,
        "images": _pack_images(request, REQUEST_IMAGES, arrays),
        "layers": _pack_layers(request.moving_layers, "moving_layer", arrays),
        "jacobian": request.jacobian,
    }
    for name in LANDMARKS:
        if getattr(request, name) is not None:
            arrays[name] = np.asarray(getattr(request, name), dtype=np.float64)
    if request.initial_transform is not None:
        content["initial_transform"] = transform_to_content(request.initial_transform, "initial_transform", arrays)
    return Message("register", number, content, arrays)


def unpack_request(message: Message) -> Request:
    """Return the request of a register message.

    Raises
    ------
    ProtocolError
        If the message lacks something, or has it of the wrong type.
    InputError
        If an image, transform or the recipe cannot be used.
    """
    with _explained("register"):
        content, arrays = message.content, message.arrays
        transform = content.get("initial_transform")
        landmarks: dict[str, Any] = {name: arrays[name] for name in LANDMARKS if name in arrays}
        return Request(
            recipe=recipe_from_dict(content["recipe"]),
            device=None if content["device"] is None else str(content["device"]),
            seed=int(content["seed"]),
            initial_transform=None if transform is None else transform_from_content(transform, arrays),
            moving_layers=_unpack_layers(content["layers"], arrays),
            jacobian=bool(content["jacobian"]),
            **_unpack_images(content["images"], REQUEST_IMAGES, arrays),
            **landmarks,
        )


def pack_registration(registration: Registration, number: int) -> Message:
    """Return a registration as a result message, without the input images, which the client has."""
    arrays: Arrays = {f"curve {name}": curve for name, curve in registration.curves.items()}
    measures = asdict(registration.measures)
    for name in ("dice_before", "dice_after"):
        if measures[name] is not None:
            measures[name] = {str(label): float(value) for label, value in measures[name].items()}
    content: Content = {
        "transform": transform_to_content(registration.transform, "transform", arrays),
        "inverse": transform_to_content(registration.inverse, "inverse", arrays),
        "images": _pack_images(registration, RESULT_IMAGES, arrays),
        "layers": _pack_layers(registration.warped_layers, "warped_layer", arrays),
        "measures": measures,
        "verdict": asdict(registration.verdict),
        "recipe": recipe_to_dict(registration.recipe),
        "warnings": registration.warnings,
        "decisions": registration.decisions,
        "curves": list(registration.curves),
        "timings": registration.timings,
        "provenance": registration.provenance,
    }
    return Message("result", number, content, arrays)


def unpack_registration(message: Message, fixed: Image, moving: Image) -> Registration:
    """Return the registration of a result message.

    Parameters
    ----------
    message
        What the worker sent.
    fixed, moving
        The images of the request.

    Raises
    ------
    ProtocolError
        If the message lacks something, or has it of the wrong type.
    InputError
        If an image, transform or the recipe cannot be used.
    """
    with _explained("result"):
        content, arrays = message.content, message.arrays
        measures = dict(content["measures"])
        for name in ("dice_before", "dice_after"):
            if measures[name] is not None:
                measures[name] = {int(label): value for label, value in measures[name].items()}
        return Registration(
            fixed=fixed,
            moving=moving,
            transform=transform_from_content(content["transform"], arrays),
            inverse=transform_from_content(content["inverse"], arrays),
            measures=Measures(**measures),
            verdict=Verdict(content["verdict"]["level"], tuple(content["verdict"]["reasons"])),
            recipe=recipe_from_dict(content["recipe"]),
            warnings=tuple(content["warnings"]),
            decisions=tuple(content["decisions"]),
            curves={name: np.asarray(arrays[f"curve {name}"], dtype=np.float64) for name in content["curves"]},
            timings=dict(content["timings"]),
            provenance=dict(content["provenance"]),
            warped_layers=_unpack_layers(content["layers"], arrays),
            **_unpack_images(content["images"], RESULT_IMAGES, arrays),
        )


def pack_error(error: BaseException, number: int, details: str = "") -> Message:
    """Return an exception as an error message; what DeepReg did not raise on purpose is named an internal error."""
    if isinstance(error, MemoryError):
        error = MemoryShortageError("Out of memory on the engine's machine.", "Use the recipe 'fast'.", "cpu")
    if isinstance(error, DeepRegError):
        message, hint = error.message, error.hint
    else:
        message = f"The engine met an internal error ({type(error).__name__}: {error})."
        hint = "Please report it with the details."
    content = {"kind": type(error).__name__, "message": message, "hint": hint, "details": details}
    for name in ("device", "library"):
        if hasattr(error, name):
            content[name] = getattr(error, name)
    return Message("error", number, content)


def unpack_error(message: Message) -> DeepRegError:
    """Return the exception of an error message, of the class that `register` raises in one process."""
    kind, text, hint, details = (str(message.content.get(key, "")) for key in ("kind", "message", "hint", "details"))
    if kind == MemoryShortageError.__name__:
        return MemoryShortageError(text, hint, str(message.content.get("device", "")))
    if kind == MissingLibraryError.__name__:
        return MissingLibraryError(text, hint, details, str(message.content.get("library", "")))
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, DeepRegError):
        return known(text, hint)
    return EngineError(text or "The engine met an error without a message.", hint, details)


def geometry_to_content(geometry: Geometry) -> Content:
    """Return a grid as plain values."""
    return asdict(geometry)


def geometry_from_content(content: Mapping[str, Any]) -> Geometry:
    """Return the grid of `geometry_to_content`, to the bit."""
    i, j, k = (int(n) for n in content["size"])
    x, y, z = (float(s) for s in content["spacing"])
    origin = tuple(float(o) for o in content["origin"])
    return Geometry(
        (i, j, k), (x, y, z), (origin[0], origin[1], origin[2]), tuple(float(d) for d in content["direction"])
    )


def image_to_content(image: Image, name: str, arrays: Arrays) -> Content:
    """Return an image as plain values; its voxels are put into `arrays` under `name`."""
    # Long doubles are laid out differently from machine to machine, and nothing computes with them.
    exotic = image.array.dtype.kind == "f" and image.array.dtype.itemsize > 8
    arrays[name] = image.array.astype(np.float64) if exotic else image.array
    return {"array": name, "geometry": geometry_to_content(image.geometry), "name": image.name}


def image_from_content(content: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> Image:
    """Return the image of `image_to_content`."""
    return Image(arrays[content["array"]], geometry_from_content(content["geometry"]), str(content["name"]))


def transform_to_content(transform: Transform, name: str, arrays: Arrays) -> Content:
    """Return a transform as plain values; its numbers are put into `arrays` under names that begin with `name`."""
    if isinstance(transform, CompositeTransform):
        parts = [transform_to_content(part, f"{name} {n}", arrays) for n, part in enumerate(transform.parts)]
        return {"kind": "composite", "parts": parts}
    if isinstance(transform, DisplacementField):
        arrays[name] = transform.array
        return {"kind": "field", "array": name, "geometry": geometry_to_content(transform.geometry)}
    arrays[name] = transform.matrix
    return {"kind": "linear", "array": name}


def transform_from_content(content: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]) -> Transform:
    """Return the transform of `transform_to_content`.

    Raises
    ------
    ProtocolError
        If its kind is unknown.
    """
    if content["kind"] != "composite":
        return _part_from_content(content, arrays)
    return CompositeTransform(tuple(_part_from_content(part, arrays) for part in content["parts"]))


def _part_from_content(
    content: Mapping[str, Any], arrays: Mapping[str, NDArray[np.generic]]
) -> LinearTransform | DisplacementField:
    kind = content["kind"]
    if kind not in ("linear", "field"):
        raise ProtocolError(f"A transform of the kind {str(kind)[:40]!r} is unknown.")
    array = arrays[content["array"]]
    if array.dtype.kind != "f":
        raise ProtocolError(f"A {kind} transform has numbers of type {array.dtype}.")
    if kind == "linear":
        return LinearTransform(array.astype(np.float64))
    return DisplacementField(array, geometry_from_content(content["geometry"]))  # type: ignore[arg-type]  # kind f


def _pack_images(holder: Request | Registration, names: tuple[str, ...], arrays: Arrays) -> Content:
    images = {name: getattr(holder, name) for name in names}
    return {name: image_to_content(image, name, arrays) for name, image in images.items() if image is not None}


def _unpack_images(
    content: Mapping[str, Any], names: tuple[str, ...], arrays: Mapping[str, NDArray[np.generic]]
) -> dict[str, Any]:
    return {name: image_from_content(content[name], arrays) for name in names if name in content}


def _pack_layers(layers: Sequence[Image], name: str, arrays: Arrays) -> list[Content]:
    return [image_to_content(layer, f"{name} {number}", arrays) for number, layer in enumerate(layers)]


def _unpack_layers(content: Sequence[Content], arrays: Mapping[str, NDArray[np.generic]]) -> tuple[Image, ...]:
    return tuple(image_from_content(layer, arrays) for layer in content)


@contextmanager
def _explained(kind: str) -> Iterator[None]:
    """Turn what a badly made message trips over into a `ProtocolError`."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        raise ProtocolError(f"A {kind} message is incomplete or wrong ({type(error).__name__}: {error}).") from error
