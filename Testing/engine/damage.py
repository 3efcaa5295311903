"""What a worker that is broken, or means harm, might say: good messages with something wrong in them, from a seed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

from DeepRegLib.engine.protocol import Message, encode
from DeepRegLib.errors import DeepRegError
from Testing.engine.fakes import HELLO, result_message
from Testing.engine.stage import Stage

STRANGE = (
    None,
    True,
    -1,
    1e308,
    float("inf"),
    float("nan"),
    1 << 62,
    10**400,
    "",
    "x" * 1000,
    [],
    {},
    [[[]]],
    "\ud800",
)
PROGRESS = {"stage": "deformable", "fraction": 0.5, "similarity": 0.2, "seconds_left": 3.0}


def frames() -> list[bytes]:
    """Return a hello, a report and a result as they should be."""
    messages = (Message("hello", 0, HELLO), Message("progress", 1, PROGRESS), result_message(1))
    return [b"".join(bytes(piece) for piece in encode(message)) for message in messages]


def damaged(frame: bytes, numbers: random.Random) -> bytes:
    """Return a frame with something wrong in its bytes or in one value of its header."""
    kinds: tuple[Callable[[bytes, random.Random], bytes], ...] = (_flipped, _cut, _doubled, _with_strange_value)
    return numbers.choice((*kinds, _with_strange_value, _with_strange_value))(frame, numbers)


def survives(seed: int) -> str:
    """Play a run with damaged messages in pieces of any size; return what the job came to, or raise what escaped."""
    numbers = random.Random(seed)
    stage = Stage()
    job = stage.register()
    worker = stage.worker
    said = [frame if numbers.random() < 0.6 else damaged(frame, numbers) for frame in frames()]
    data = b"".join(said)
    while data and not worker.killed:
        size = numbers.choice((1, 7, 100, 5000, len(data)))
        worker.say_bytes(data[:size])
        stage.client.poll()
        data = data[size:]
    for _ in range(3):
        stage.after(200.0)
    if not job.finished or not (job.result is not None or isinstance(job.error, DeepRegError)):
        raise AssertionError(f"seed {seed}: the job is {job.state}")
    stage.works_again()
    return "result" if job.result is not None else type(job.error).__name__


def _flipped(frame: bytes, numbers: random.Random) -> bytes:
    place = numbers.randrange(min(len(frame), 4000))
    return frame[:place] + bytes([numbers.randrange(256)]) + frame[place + 1 :]


def _cut(frame: bytes, numbers: random.Random) -> bytes:
    first = numbers.randrange(len(frame))
    return frame[:first] + frame[first + numbers.randrange(1, 50) :]


def _doubled(frame: bytes, numbers: random.Random) -> bytes:
    place = numbers.randrange(len(frame))
    return frame[:place] + frame[max(place - 30, 0) :]


def _with_strange_value(frame: bytes, numbers: random.Random) -> bytes:
    line, _, tail = frame.partition(b"\n")
    header = json.loads(line)
    holder: Any = header
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        key = numbers.choice(keys)
        inner = holder[key]
        if not isinstance(inner, dict | list) or not inner or numbers.random() < 0.2:
            break
        holder = inner
    holder[key] = numbers.choice(STRANGE)
    return json.dumps(header).encode() + b"\n" + tail
