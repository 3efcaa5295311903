"""Nothing a worker says gets past the client: every value is checked, every buffer bounded, and the next run works."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import pytest

from DeepRegLib.engine.protocol import Decoder, EngineError, Message, ProtocolError, encode
from DeepRegLib.engine.transport import MOST_OUTPUTS, SubprocessTransport
from DeepRegLib.engine.worker_log import LONGEST_LINE, WorkerLog
from Testing.engine.damage import PROGRESS, survives
from Testing.engine.fakes import HELLO, alive, result_message
from Testing.engine.stage import Stage, failure

INFINITY = float("inf")


def test_damaged_messages_end_in_a_result_or_an_error_and_never_escape() -> None:
    ends = {survives(seed) for seed in range(60)}
    assert {"result", "EngineError"} <= ends


@pytest.mark.parametrize("shape", [[0, 1 << 62, 1 << 62], [1 << 62, 0], [0, 1 << 40]])
def test_a_shape_that_numpy_cannot_have_is_refused_by_its_header(shape: list[int]) -> None:
    array = {"name": "a", "dtype": "<f4", "shape": shape, "nbytes": 0}
    line = json.dumps({"type": "request", "id": 1, "content": {}, "arrays": [array]}).encode() + b"\n"
    with pytest.raises(ProtocolError, match="too large"):
        list(Decoder().messages(line))


@pytest.mark.parametrize(
    "changed",
    [
        {"pid": INFINITY},
        {"memory": {"cpu": INFINITY}},
        {"memory": [1]},
        {"memory": {"cpu": 1 << 80}},
        {"devices": []},
        {"devices": "cpu"},
        {"versions": {"deepreg": 3}},
        {"python": None},
    ],
)
def test_a_hello_with_a_wrong_value_is_refused(changed: dict[str, Any]) -> None:
    stage = Stage()
    job = stage.register()
    stage.worker.say(Message("hello", 0, HELLO | changed))
    stage.client.poll()
    assert isinstance(failure(job), EngineError)
    assert stage.worker.killed
    stage.works_again()


@pytest.mark.parametrize(
    "changed",
    [{"fraction": None}, {"fraction": INFINITY}, {"fraction": "half"}, {"fraction": True}, {"fraction": 10**400},
     {"similarity": "good"}, {"seconds_left": []}, {"stage": 3}, {"stage": "x" * 1000}],
)  # fmt: skip
def test_a_report_with_a_wrong_value_ends_the_worker(changed: dict[str, Any]) -> None:
    stage = Stage()
    job = stage.running()
    stage.worker.say(Message("progress", job.number, PROGRESS | changed))
    stage.client.poll()
    assert isinstance(failure(job), EngineError)
    assert stage.worker.killed
    assert all(kind != "progress" for kind, _ in stage.told)
    stage.works_again()


def changed_result(number: int, **changes: Any) -> Message:
    message = result_message(number)
    return Message("result", number, {"result": {**message.content["result"], **changes}}, message.arrays)


def test_a_result_that_is_none_of_these_scans_is_refused() -> None:
    result = result_message(1).content["result"]
    elsewhere = {**result["warped"], "geometry": {**result["warped"]["geometry"], "origin": [0.0, 0.0, 999.0]}}
    for changes, told in (
        ({"verdict": {"level": "splendid", "reasons": []}}, "splendid"),
        ({"warped": elsewhere}, "another grid"),
        ({"jacobian": {**result["jacobian"], "geometry": elsewhere["geometry"]}}, "another grid"),
    ):
        stage = Stage()
        job = stage.running()
        stage.worker.say(changed_result(job.number, **changes))
        stage.client.poll()
        assert isinstance(failure(job), ProtocolError)
        assert told in failure(job).message
        stage.works_again()


def test_a_result_of_another_size_is_refused() -> None:
    message = result_message(1)
    content = {**message.content["result"]}
    small = {**content["warped"], "geometry": {**content["warped"]["geometry"], "size": [2, 2, 2]}}
    arrays = dict(message.arrays)
    arrays[small["array"]] = arrays[small["array"]].reshape(-1)[:8].reshape(2, 2, 2)
    stage = Stage()
    job = stage.running()
    stage.worker.say(Message("result", job.number, {"result": {**content, "warped": small}}, arrays))
    stage.client.poll()
    assert "2, 2, 2" in failure(job).message
    stage.works_again()


def test_a_trickle_of_single_bytes_is_no_sign_of_life() -> None:
    stage = Stage()
    job = stage.running()
    frame = b"".join(bytes(piece) for piece in encode(result_message(job.number)))
    for number in range(100):
        stage.worker.say_bytes(frame[number : number + 1])
        stage.after(1.0)
        if job.finished:
            break
    assert "no longer answers" in failure(job).message
    stage.works_again()


def test_standard_error_without_a_line_end_is_not_kept() -> None:
    lines: list[str] = []
    log = WorkerLog(lines.append)
    for _ in range(2000):
        log.feed(b"x" * 100_000)
    log.feed(b"\nend\n")
    assert [len(line) for line in lines] == [LONGEST_LINE, 3]


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_process_that_writes_without_end_waits_and_leaves_nothing_behind(stream: str) -> None:
    program = f"import sys\nwhile True: sys.{stream}.buffer.write(b'x' * 1000000)"
    transport = SubprocessTransport([sys.executable, "-c", program])
    transport.start()
    pid = transport.pid
    assert pid is not None
    deadline = time.monotonic() + 60
    total = 0
    while total < 10_000_000 and time.monotonic() < deadline:
        total += sum(len(output.data) for output in transport.read())
    assert total >= 10_000_000
    assert transport._outputs.qsize() <= MOST_OUTPUTS
    transport.kill()
    while alive(pid) and time.monotonic() < deadline:
        transport.read()
    assert not alive(pid)
