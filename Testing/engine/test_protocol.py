"""Frames: what goes in comes out, in whatever chunks; what is no frame is refused in words."""

from __future__ import annotations

import contextlib
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from DeepRegLib.engine.protocol import (
    DTYPES,
    EXCERPT_LENGTH,
    MAX_HEADER_BYTES,
    Decoder,
    Message,
    ProtocolError,
    encode,
    excerpt,
)
from DeepRegLib.errors import DeepRegError


def frame(message: Message) -> bytes:
    return b"".join(bytes(piece) for piece in encode(message))


def header(**changes: object) -> bytes:
    array = {"name": "a", "dtype": "<i2", "shape": [2], "nbytes": 4}
    table = {"type": "result", "id": 1, "content": {}, "arrays": [array]}
    for key, value in changes.items():
        (array if key in array else table)[key] = value
    return json.dumps(table).encode() + b"\n"


def same(one: Message, other: Message) -> bool:
    return (
        (one.type, one.id, list(one.arrays)) == (other.type, other.id, list(other.arrays))
        and json.dumps(one.content) == json.dumps(other.content)
        and all(
            one.arrays[name].dtype == other.arrays[name].dtype
            and one.arrays[name].shape == other.arrays[name].shape
            and one.arrays[name].tobytes() == other.arrays[name].tobytes()
            for name in one.arrays
        )
    )


ARRAYS = st.sampled_from(sorted(DTYPES)).flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MESSAGES = st.builds(
    Message,
    st.text(max_size=8),
    st.integers(0, 2**40),
    st.dictionaries(st.text(max_size=5), VALUES, max_size=3),
    st.dictionaries(st.text(max_size=5), ARRAYS, max_size=3),
)


@settings(max_examples=80, deadline=None)
@given(st.lists(MESSAGES, max_size=4), st.lists(st.integers(1, 70), min_size=1, max_size=20))
def test_any_chunking_of_the_stream_gives_the_same_messages(messages: list[Message], sizes: list[int]) -> None:
    stream = b"".join(frame(message) for message in messages)
    decoder, received, start, turn = Decoder(), [], 0, 0
    while start < len(stream):
        size = sizes[turn % len(sizes)]
        received += decoder.messages(stream[start : start + size])
        start, turn = start + size, turn + 1
    decoder.finish()
    assert len(received) == len(messages)
    assert all(same(one, other) for one, other in zip(messages, received, strict=True))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_never_give_anything_but_messages_or_a_protocol_error(data: bytes) -> None:
    decoder = Decoder()
    with contextlib.suppress(ProtocolError):
        assert all(isinstance(message, Message) for message in decoder.messages(data))
        decoder.finish()


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_every_dtype_arrives_to_the_bit(dtype: str) -> None:
    array = np.random.default_rng(0).integers(0, 2, size=(3, 4, 5)).astype(dtype)
    message = Message(
        "result", 1, {}, {"all": array, "strided": array[::-1, :, ::2], "fortran": array.T, "none": array[:0]}
    )
    (received,) = Decoder().messages(frame(message))
    assert same(message, received)
    assert {name: a.dtype.str for name, a in received.arrays.items()} == dict.fromkeys(message.arrays, dtype)


def test_special_floats_arrive() -> None:
    values = [math.inf, -math.inf, math.nan, -0.0, 5e-324, 0.1]
    message = Message("progress", 2, {"values": values}, {"values": np.array(values)})
    (received,) = Decoder().messages(frame(message))
    assert same(message, received)


def test_contiguous_arrays_are_sent_without_a_copy() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    piece = encode(Message("result", 1, {}, {"a": array}))[1]
    assert np.shares_memory(np.frombuffer(piece, np.uint8), array)


@pytest.mark.parametrize("dtype", ["c8", "O", "U3", "M8[s]", "V4"])
def test_other_dtypes_are_not_sent(dtype: str) -> None:
    with pytest.raises(ProtocolError, match="cannot be sent"):
        encode(Message("result", 1, {}, {"a": np.zeros(2, dtype=dtype)}))


BAD = {
    "garbage": b"Welcome to host\n",
    "binary garbage": b"\x93NUMPY\x00\xff\n",
    "pickle": b"\x80\x04\x95\x0b\n",
    "not JSON": b"{type: 3}\n",
    "not UTF-8": b'{"type": "\xff\xfe"}\n',
    "a list": b"{}[]\n",
    "empty table": b"{}\n",
    "no arrays": b'{"type": "a", "id": 1, "content": {}}\n',
    "arrays no list": header(arrays=3),
    "array no table": header(arrays=[3]),
    "type no text": header(type=3),
    "id no number": header(id="1"),
    "id true": header(id=True),
    "negative id": header(id=-1),
    "content no table": header(content=[]),
    "name no text": header(name=3),
    "unknown dtype": header(dtype="<f3"),
    "object dtype": header(dtype="|O"),
    "dtype no text": header(dtype=["<i2"]),
    "structured dtype": header(dtype="<i2,<i2"),
    "negative size": header(shape=[-2]),
    "fractional size": header(shape=[2.0]),
    "shape no list": header(shape=2),
    "too many axes": header(shape=[1] * 40),
    "negative nbytes": header(nbytes=-4),
    "nbytes not of the shape": header(nbytes=400),
    "nbytes no number": header(nbytes="4"),
    "huge": header(shape=[1 << 40], nbytes=2 << 40),
    "gigantic": header(shape=[1 << 62, 1 << 62], nbytes=1 << 125),
    "deep": b'{"a":' + b"[" * 100_000 + b"\n",
    "long number": b'{"id": ' + b"9" * 10_000 + b"}\n",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_frame_is_refused_with_its_beginning(name: str) -> None:
    decoder = Decoder()
    decoder.feed(BAD[name])
    with pytest.raises(ProtocolError) as caught:
        decoder.next_message()
    assert isinstance(caught.value, DeepRegError)
    assert excerpt(BAD[name].rstrip(b"\n"))[1:30].rstrip("'") in caught.value.message
    assert len(caught.value.message) < 300
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("name", BAD)
def test_after_a_bad_line_the_next_one_is_read(name: str) -> None:
    decoder = Decoder()
    decoder.feed(BAD[name])
    with pytest.raises(ProtocolError):
        decoder.next_message()
    assert [message.type for message in decoder.messages(frame(Message("ping", 4)))] == ["ping"]
    decoder.finish()


def test_a_header_without_end_is_refused() -> None:
    decoder = Decoder()
    decoder.feed(b'{"type": "' + b"x" * MAX_HEADER_BYTES)
    with pytest.raises(ProtocolError, match="longer than"):
        decoder.next_message()


def test_an_array_named_twice_is_refused() -> None:
    array = {"name": "a", "dtype": "<i2", "shape": [0], "nbytes": 0}
    with pytest.raises(ProtocolError, match="twice"):
        list(Decoder().messages(header(arrays=[array, array])))


@pytest.mark.parametrize("kept", [1, 30, -5, -1])
def test_a_broken_off_frame_is_noticed_at_the_end(kept: int) -> None:
    decoder = Decoder()
    whole = frame(Message("result", 1, {}, {"a": np.arange(10)}))
    assert list(decoder.messages(whole[:kept])) == []
    assert decoder.in_mid_message
    with pytest.raises(ProtocolError, match="broke off"):
        decoder.finish()


def test_the_excerpt_is_short_and_printable() -> None:
    text = excerpt(b"\x1b[31mred\x00\xff" + "größe".encode() + b"z" * 500)
    assert len(text) == EXCERPT_LENGTH + 2
    assert text.isprintable()
    assert text.startswith("'?[31mred??größez")
