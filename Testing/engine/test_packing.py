"""Requests, results and errors as messages: nothing is lost on the way, and nothing wrong comes through."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

from DeepRegLib.engine.packing import (
    Request,
    build_request,
    pack_error,
    pack_registration,
    pack_request,
    unpack_error,
    unpack_registration,
    unpack_request,
)
from DeepRegLib.engine.protocol import Decoder, EngineError, Message, ProtocolError, encode
from DeepRegLib.errors import CancelledError, InputError, MemoryShortageError
from DeepRegLib.image import Image, write_image
from DeepRegLib.recipes import Model, load_recipe
from DeepRegLib.saving import json_text, result_to_dict
from DeepRegLib.transforms import CompositeTransform, LinearTransform, parts_of
from Testing.engine.fakes import hand_made_registration, random_field, tiny_image
from Testing.synthetic import ORIENTATIONS, geometry_in, random_linear, smooth_field


def sent(message: Message) -> Message:
    (received,) = Decoder().messages(b"".join(bytes(piece) for piece in encode(message)))
    return received


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    elif isinstance(one, Image):
        assert (one.name, one.geometry) == (other.name, other.geometry)
        assert_same(one.array, other.array)
    elif isinstance(one, LinearTransform):
        assert_same(one.matrix, other.matrix)
    elif isinstance(one, CompositeTransform):
        assert len(one.parts) == len(other.parts)
        for part, twin in zip(one.parts, other.parts, strict=True):
            assert_same(part, twin)
    elif hasattr(one, "geometry"):
        assert one.geometry == other.geometry
        assert_same(one.array, other.array)
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for item, twin in zip(one, other, strict=True):
            assert_same(item, twin)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key, value in one.items():
            assert_same(value, other[key])
    else:
        assert repr(one) == repr(other)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "f4", "f8", "?"])
def test_a_request_arrives_as_it_was(orientation: str, dtype: str) -> None:
    grid = geometry_in(orientation, (5, 4, 3), 1.7)
    image = Image(np.random.default_rng(0).normal(size=grid.shape).astype(dtype), grid, "Überblick.nii.gz")
    request = Request(
        fixed=image,
        moving=tiny_image("moving"),
        recipe=replace(load_recipe("brain-mr"), name="mine"),
        fixed_mask=Image(image.array != 0, grid, "mask"),
        fixed_landmarks=np.random.default_rng(1).normal(size=(4, 3)),
        moving_landmarks=np.random.default_rng(2).normal(size=(4, 3)),
        initial_transform=CompositeTransform((random_linear(1), smooth_field(grid), random_linear(2))),
        device="cpu",
        seed=3,
        moving_labels=tiny_image("labels"),
        moving_layers=(tiny_image("first layer", (2, 2, 3)), tiny_image("second layer")),
        jacobian=True,
    )
    received = unpack_request(sent(pack_request(request, 5)))
    for item in fields(Request):
        assert_same(getattr(request, item.name), getattr(received, item.name))


@pytest.mark.parametrize("transform", [random_linear(3, scale=0.1), random_field(geometry_in("oblique", (4, 3, 5)))])
def test_a_single_transform_stays_of_its_kind(transform: Any) -> None:
    request = Request(tiny_image(), tiny_image(), load_recipe("fast"), initial_transform=transform)
    assert_same(unpack_request(sent(pack_request(request, 1))).initial_transform, transform)


def test_a_registration_arrives_as_it_was() -> None:
    fixed, moving = tiny_image("fixed"), tiny_image("moving")
    registration = hand_made_registration(fixed, moving)
    received = unpack_registration(sent(pack_registration(registration, 5)), fixed, moving)
    for item in fields(type(registration)):
        assert_same(getattr(registration, item.name), getattr(received, item.name))
    assert json_text(result_to_dict(received, {})) == json_text(result_to_dict(registration, {}))
    assert len(parts_of(received.inverse)) == 2


def test_paths_are_read_on_the_clients_side(tmp_path: Any) -> None:
    write_image(tiny_image(), tmp_path / "fixed.nii.gz")
    request = build_request(tmp_path / "fixed.nii.gz", tiny_image(), "rigid", fixed_mask=tmp_path / "fixed.nii.gz")
    assert np.array_equal(request.fixed.array, tiny_image().array)
    assert request.fixed_mask is not None
    assert request.recipe == load_recipe("rigid")
    named = build_request(tiny_image(), tiny_image(), "fast", model="brain").recipe
    assert named == replace(load_recipe("fast"), model=Model("brain"))
    with pytest.raises(InputError, match="does not exist"):
        build_request(tmp_path / "nothing.nii", tiny_image())


def test_long_doubles_are_sent_as_doubles() -> None:
    image = tiny_image()
    request = Request(image.with_array(image.array.astype(np.longdouble)), image, load_recipe("fast"))
    assert unpack_request(sent(pack_request(request, 1))).fixed.array.dtype == np.float64


@pytest.mark.parametrize(
    "error", [InputError("No.", "Do."), MemoryShortageError("Out.", "", "cuda:0"), CancelledError()]
)
def test_errors_keep_their_class(error: Any) -> None:
    received = unpack_error(sent(pack_error(error, 1)))
    assert (type(received), received.message, received.hint) == (type(error), error.message, error.hint)
    assert getattr(received, "device", None) == getattr(error, "device", None)


def test_an_error_nobody_meant_is_named() -> None:
    received = unpack_error(sent(pack_error(ZeroDivisionError("by zero"), 1, "Traceback ...")))
    assert isinstance(received, EngineError)
    assert "ZeroDivisionError: by zero" in received.message
    assert received.details == "Traceback ..."
    assert isinstance(unpack_error(pack_error(MemoryError(), 1)), MemoryShortageError)
    assert isinstance(unpack_error(Message("error", 1, {"kind": "annotations"})), EngineError)


Change = Callable[[dict[str, Any], dict[str, Any]], object]
CHANGES: dict[str, Change] = {
    "no images": lambda content, arrays: content.pop("images"),
    "no fixed": lambda content, arrays: content["images"].pop("fixed"),
    "no voxels": lambda content, arrays: arrays.pop("fixed"),
    "wrong shape": lambda content, arrays: arrays.update(fixed=arrays["fixed"][:1]),
    "no spacing": lambda content, arrays: content["images"]["fixed"]["geometry"].update(spacing=None),
    "sheared": lambda content, arrays: content["images"]["fixed"]["geometry"].update(direction=[1.0] * 9),
    "short origin": lambda content, arrays: content["images"]["fixed"]["geometry"].update(origin=[1.0]),
    "seed": lambda content, arrays: content.update(seed="many"),
    "recipe": lambda content, arrays: content.update(recipe={"name": "x", "speed": 3}),
    "recipe no table": lambda content, arrays: content.update(recipe=3),
    "no layers": lambda content, arrays: content.pop("layers"),
    "layers no list": lambda content, arrays: content.update(layers=3),
    "kind": lambda content, arrays: content["initial_transform"].update(kind="spline"),
    "integers": lambda content, arrays: arrays.update(initial_transform=np.eye(4, dtype=np.int64)),
    "singular": lambda content, arrays: arrays.update(initial_transform=np.zeros((4, 4))),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_wrong_request_is_refused_in_words(change: str) -> None:
    request = Request(tiny_image(), tiny_image(), load_recipe("fast"), initial_transform=random_linear())
    message = sent(pack_request(request, 1))
    content, arrays = dict(message.content), dict(message.arrays)
    CHANGES[change](content, arrays)
    with pytest.raises((ProtocolError, InputError)) as caught:
        unpack_request(Message("register", 1, content, arrays))
    assert caught.value.message


def test_a_wrong_result_is_refused_in_words() -> None:
    message = pack_registration(hand_made_registration(tiny_image(), tiny_image()), 1)
    for key in message.content:
        content = {name: value for name, value in message.content.items() if name != key}
        with pytest.raises(ProtocolError, match="incomplete"):
            unpack_registration(Message("result", 1, content, message.arrays), tiny_image(), tiny_image())
