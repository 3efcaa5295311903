"""The parts of the worker that can be looked at without starting one."""

from __future__ import annotations

import os
import queue
import threading

import numpy as np
import pytest

from DeepRegLib.engine import server
from DeepRegLib.engine.protocol import Decoder, Message, encode
from DeepRegLib.engine.server import Channel, Server, Throttle


class Waiting:
    """A queue in which nothing comes for so many seconds, and then a request to release; no time passes."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def get(self, timeout: float | None = None) -> None:
        if timeout is not None and timeout < self.seconds:
            raise queue.Empty


@pytest.mark.parametrize(("seconds", "times"), [(10, 1), (59, 1), (61, 2)])
def test_memory_is_given_back_when_asked_and_after_a_minute_without_work(
    monkeypatch: pytest.MonkeyPatch, seconds: float, times: int
) -> None:
    released: list[str] = []
    monkeypatch.setattr(server, "release_memory", lambda: released.append("released"))
    idle = Server(Channel(0, 1))
    idle._work = Waiting(seconds)
    idle._serve_next()
    assert len(released) == times


def test_releasing_memory_works_on_any_machine() -> None:
    server.release_memory()


def test_reports_pass_ten_times_a_second_and_at_every_new_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(server.time, "monotonic", lambda: now[0])
    throttle = Throttle(0.1)
    passed = 0
    for step in range(1001):
        now[0] = step / 1000
        passed += throttle.lets_pass("linear")
    assert 9 <= passed <= 11
    assert throttle.lets_pass("judge")


def test_messages_of_two_threads_do_not_mix() -> None:
    reading, writing = os.pipe()
    channel = Channel(reading, writing)
    pieces = encode(Message("result", 1, {}, {"a": np.arange(50_000)}))
    threads = [threading.Thread(target=lambda: [channel.send(pieces) for _ in range(5)]) for _ in range(2)]
    for thread in threads:
        thread.start()
    decoder, received = Decoder(), 0
    while received < 10:
        received += len(list(decoder.messages(channel.receive())))
    decoder.finish()
    for thread in threads:
        thread.join()
    os.close(writing)
    assert channel.receive() == b""
    os.close(reading)
    assert channel.receive() == b""
