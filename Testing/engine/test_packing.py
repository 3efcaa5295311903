"""Requests, results and errors as messages: nothing is lost on the way, and nothing wrong comes through."""

from __future__ import annotations

import types
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, get_type_hints

import numpy as np
import pytest

from DeepRegLib.engine.errors import pack_error, unpack_error
from DeepRegLib.engine.packing import pack, unpack
from DeepRegLib.engine.protocol import Decoder, EngineError, Message, ProtocolError, encode
from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.engine.tasks import TASKS, task_of
from DeepRegLib.errors import CancelledError, InputError, MemoryShortageError
from DeepRegLib.image import Image
from DeepRegLib.recipes import load_recipe
from DeepRegLib.request import Request
from DeepRegLib.result import Registration
from DeepRegLib.saving import json_text, result_to_dict
from DeepRegLib.transforms import CompositeTransform, parts_of
from Testing.engine.fakes import hand_made_registration, random_field, tiny_image
from Testing.requests import request_of
from Testing.synthetic import ORIENTATIONS, geometry_in, random_linear, smooth_field

ScalarT = TypeVar("ScalarT", bound=np.generic)


def sent(message: Message) -> Message:
    (received,) = Decoder().messages(b"".join(bytes(piece) for piece in encode(message)))
    return received


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()
    elif is_dataclass(one):
        for item in fields(one):
            assert_same(getattr(one, item.name), getattr(other, item.name))
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
    request = request_of(
        image,
        tiny_image("moving"),
        replace(load_recipe("brain-mr"), name="mine"),
        fixed_mask=Image(image.array != 0, grid, "mask"),
        sliding_mask=Image(image.array == 0, grid, "lungs"),
        fixed_landmarks=np.random.default_rng(1).normal(size=(4, 3)),
        moving_landmarks=np.random.default_rng(2).normal(size=(4, 3)),
        initial_transform=CompositeTransform((random_linear(1), smooth_field(grid), random_linear(2))),
        background=-3.0,
        device="cpu",
        seed=3,
        fixed_labels=Image(image.array.astype("i2"), grid, "fixed labels"),
        moving_labels=tiny_image("labels"),
        compared_moving_labels=tiny_image("compared labels"),
        moving_layers=(tiny_image("first layer", (2, 2, 3)), tiny_image("second layer")),
        jacobian=True,
    )
    message = sent(REGISTER.request_message(request, 5))
    assert task_of(message, TASKS) is REGISTER
    received = REGISTER.request_of(message)
    for item in fields(Request):
        assert_same(getattr(request, item.name), getattr(received, item.name))


@pytest.mark.parametrize("transform", [random_linear(3, scale=0.1), random_field(geometry_in("oblique", (4, 3, 5)))])
def test_a_single_transform_stays_of_its_kind(transform: Any) -> None:
    request = request_of(tiny_image(), tiny_image(), "fast", initial_transform=transform)
    assert_same(REGISTER.request_of(sent(REGISTER.request_message(request, 1))).drivers.initial_transform, transform)


def test_a_registration_arrives_as_it_was() -> None:
    fixed, moving = tiny_image("fixed"), tiny_image("moving")
    registration = hand_made_registration(fixed, moving)
    received = REGISTER.result_of(sent(REGISTER.result_message(registration, 5)), request_of(fixed, moving))
    for item in fields(type(registration)):
        assert_same(getattr(registration, item.name), getattr(received, item.name))
    assert json_text(result_to_dict(received, {})) == json_text(result_to_dict(registration, {}))
    assert len(parts_of(received.inverse)) == 2


def test_long_doubles_are_sent_as_doubles() -> None:
    image = tiny_image()
    request = Request(image.with_array(image.array.astype(np.longdouble)), image, load_recipe("fast"))
    assert REGISTER.request_of(sent(REGISTER.request_message(request, 1))).fixed.array.dtype == np.float64


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
    "no fixed": lambda content, arrays: content.pop("fixed"),
    "no image": lambda content, arrays: content.update(fixed=3),
    "no voxels": lambda content, arrays: arrays.pop("request.fixed.array"),
    "no array's name": lambda content, arrays: content["fixed"].update(array=["request.fixed.array"]),
    "wrong shape": lambda content, arrays: arrays.update({"request.fixed.array": arrays["request.fixed.array"][:1]}),
    "no spacing": lambda content, arrays: content["fixed"]["geometry"].update(spacing=None),
    "sheared": lambda content, arrays: content["fixed"]["geometry"].update(direction=[1.0] * 9),
    "short origin": lambda content, arrays: content["fixed"]["geometry"].update(origin=[1.0]),
    "half a voxel": lambda content, arrays: content["fixed"]["geometry"].update(size=[3, 4, 2.5]),
    "seed": lambda content, arrays: content.update(seed="many"),
    "true seed": lambda content, arrays: content.update(seed=True),
    "device": lambda content, arrays: content.update(device=0),
    "recipe": lambda content, arrays: content.update(recipe={"name": "x", "speed": 3}),
    "recipe no table": lambda content, arrays: content.update(recipe=3),
    "no drivers": lambda content, arrays: content.pop("drivers"),
    "drivers no table": lambda content, arrays: content.update(drivers=[]),
    "no layers": lambda content, arrays: content["extras"].pop("moving_layers"),
    "layers no list": lambda content, arrays: content["extras"].update(moving_layers=3),
    "perhaps a Jacobian": lambda content, arrays: content["extras"].update(jacobian=1),
    "kind": lambda content, arrays: content["drivers"]["initial_transform"].update(kind="spline"),
    "kind no text": lambda content, arrays: content["drivers"]["initial_transform"].update(kind=["LinearTransform"]),
    "integers": lambda content, arrays: arrays.update({START: np.eye(4, dtype=np.int64)}),
    "singular": lambda content, arrays: arrays.update({START: np.zeros((4, 4))}),
}
START = "request.drivers.initial_transform.matrix"


@pytest.mark.parametrize("change", CHANGES)
def test_a_wrong_request_is_refused_in_words(change: str) -> None:
    request = request_of(tiny_image(), tiny_image(), "fast", initial_transform=random_linear())
    message = sent(REGISTER.request_message(request, 1))
    content, arrays = dict(message.content["request"]), dict(message.arrays)
    assert START in arrays
    CHANGES[change](content, arrays)
    with pytest.raises((ProtocolError, InputError)) as caught:
        REGISTER.request_of(Message("request", 1, {"task": "register", "request": content}, arrays))
    assert caught.value.message


@pytest.mark.parametrize("name", ["dance", 3, None, ["register"]])
def test_a_task_that_nobody_knows_is_refused_in_words(name: Any) -> None:
    with pytest.raises(ProtocolError, match="is unknown"):
        task_of(Message("request", 1, {"task": name}), TASKS)


def test_a_wrong_result_is_refused_in_words() -> None:
    message = sent(REGISTER.result_message(hand_made_registration(tiny_image(), tiny_image()), 1))
    whole, request = message.content["result"], request_of(tiny_image(), tiny_image())
    assert len(whole) == len(fields(Registration)) - 2
    for key in whole:
        content = {"result": {name: value for name, value in whole.items() if name != key}}
        with pytest.raises(ProtocolError, match="incomplete"):
            REGISTER.result_of(Message("result", 1, content, message.arrays), request)
    with pytest.raises(ProtocolError, match="incomplete"):
        REGISTER.result_of(Message("result", 1), request)


class Alias:
    """What Python 3.12 makes of ``type Alias[T] = np.ndarray[..., np.dtype[T]]``, as numpy 2.5 does for its NDArray."""

    __value__ = np.ndarray[Any, np.dtype[ScalarT]]


def test_an_alias_of_an_array_travels_as_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    field = random_field(geometry_in("LPS", (5, 4, 3), 1.7))
    alias = types.GenericAlias(Alias, (np.floating,))
    hints = get_type_hints(type(field)) | {"array": alias}
    monkeypatch.setattr("DeepRegLib.engine.packing._hints", lambda kind: hints if kind is type(field) else {})
    arrays: dict[str, Any] = {}
    content = pack(replace(field), "field", arrays, without=("geometry",))
    assert list(arrays) == ["field.array"]
    back = unpack(type(field), content, arrays, {"geometry": field.geometry})
    assert back.array.tobytes() == field.array.tobytes()
    with pytest.raises(ProtocolError, match="numbers"):
        unpack(
            type(field), content, {"field.array": np.zeros((3, 4, 5, 3), dtype=np.int16)}, {"geometry": field.geometry}
        )
