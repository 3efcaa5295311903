"""What a task of the engine is: how its request and its result travel, and how the worker runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.engine.packing import Arrays, Content, pack, unpack
from DeepRegLib.engine.protocol import Message, ProtocolError
from DeepRegLib.monitoring import Cancel, Progress

Asked = TypeVar("Asked")
Found = TypeVar("Found")
Received = Mapping[str, NDArray[np.generic]]

REQUEST, RESULT = "request", "result"
TASK = "task"


@dataclass(frozen=True)
class Task(Generic[Asked, Found]):
    """One kind of work.

    Parameters
    ----------
    name
        What messages call it.
    asked
        The dataclass of its requests, which travel by the types of their fields.
    run
        Does the work in the worker; told whom to report to, and how to ask whether to stop.
    pack_result, unpack_result
        The result as plain values, and back; its arrays go beside it, by name. The request is there again to be asked
        for what was not sent.
    """

    name: str
    asked: type[Asked]
    run: Callable[[Asked, Progress, Cancel], Found]
    pack_result: Callable[[Found, Arrays], Content]
    unpack_result: Callable[[Any, Received, Asked], Found]

    def pack_request(self, request: Asked, arrays: Arrays) -> Content:
        """Return a request as plain values; its arrays are put into `arrays`."""
        return pack(request, REQUEST, arrays)

    def unpack_request(self, content: Any, arrays: Received) -> Asked:
        """Return the request of `pack_request`."""
        return unpack(self.asked, content, arrays)

    def request_message(self, request: Asked, number: int) -> Message:
        """Return a request as a message."""
        arrays: Arrays = {}
        content = self.pack_request(request, arrays)
        return Message(REQUEST, number, {TASK: self.name, REQUEST: content}, arrays)

    def request_of(self, message: Message) -> Asked:
        """Return the request of a message.

        Raises
        ------
        ProtocolError
            If the message lacks something, or has it of the wrong type.
        InputError
            If what it asks for cannot be done.
        """
        return self.unpack_request(_content(message, REQUEST), message.arrays)

    def result_message(self, result: Found, number: int) -> Message:
        """Return a result as a message."""
        arrays: Arrays = {}
        content = self.pack_result(result, arrays)
        return Message(RESULT, number, {RESULT: content}, arrays)

    def result_of(self, message: Message, request: Asked) -> Found:
        """Return the result of a message that answers a request.

        Raises
        ------
        ProtocolError
            If the message lacks something, or has it of the wrong type.
        InputError
            If an image, transform or recipe in it cannot be used.
        """
        return self.unpack_result(_content(message, RESULT), message.arrays, request)


def _content(message: Message, key: str) -> Any:
    if key not in message.content:
        raise ProtocolError(f"A {message.type} message is incomplete: it has no {key}.")
    return message.content[key]
