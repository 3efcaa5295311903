"""The parts of the worker that can be looked at without starting one."""

from __future__ import annotations

import os
import threading

import numpy as np
import pytest

from DeepRegLib.engine import server
from DeepRegLib.engine.protocol import Decoder, Message, encode
from DeepRegLib.engine.server import Channel, Server, Throttle


def test_memory_is_given_back_after_a_while_without_work_and_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[str] = []
    monkeypatch.setattr(server, "release_memory", lambda: released.append("released"))
    idle = Server(Channel(0, 1), idle_seconds=0.01)
    timer = threading.Timer(0.3, lambda: idle._handle(Message("release")))
    timer.start()
    idle._serve_next()
    timer.join()
    assert released == ["released", "released"]


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
