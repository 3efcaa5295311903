"""A worker that is not one, says nonsense or dies: the job fails with a clear answer, and the next run works."""

from __future__ import annotations

from typing import Any

import pytest

from DeepRegLib.engine.errors import pack_error
from DeepRegLib.engine.failures import library_missing
from DeepRegLib.engine.protocol import PROTOCOL_VERSION, EngineError, Message, MissingLibraryError, ProtocolError
from DeepRegLib.errors import MemoryShortageError
from Testing.engine.fakes import HELLO, result_message
from Testing.engine.stage import Stage, failure


def test_a_worker_of_another_version_is_refused() -> None:
    stage = Stage()
    job, other = stage.register(), stage.register()
    stage.worker.say(Message("hello", 0, HELLO | {"protocol": PROTOCOL_VERSION + 1, "versions": {"deepreg": "9.9"}}))
    stage.client.poll()
    assert f"protocol {PROTOCOL_VERSION + 1}" in failure(job).message
    assert "9.9" in failure(job).message
    assert "same version" in failure(job).hint
    assert failure(other) is job.error
    assert stage.worker.killed
    stage.works_again()


@pytest.mark.parametrize(
    "content", [{}, {"protocol": PROTOCOL_VERSION}, HELLO | {"pid": "none"}, HELLO | {"memory": {"cpu": "much"}}]
)
def test_a_wrong_hello_is_refused(content: dict[str, Any]) -> None:
    stage = Stage()
    job = stage.register()
    stage.worker.say(Message("hello", 0, content))
    stage.client.poll()
    assert isinstance(failure(job), EngineError)
    stage.works_again()


@pytest.mark.parametrize("begun", [False, True])
def test_garbage_is_an_error_and_the_next_run_works(begun: bool) -> None:
    stage = Stage()
    job = stage.running() if begun else stage.register()
    stage.worker.say_bytes(b"Welcome to host42!\nLast login: today\n")
    stage.client.poll()
    assert "'Welcome to host42!" in failure(job).message
    assert stage.worker.killed
    stage.works_again()
    assert len(stage.workers) == 2


def test_a_half_frame_and_death_is_an_error_and_the_next_run_works() -> None:
    stage = Stage()
    job = stage.running()
    stage.worker.say_bytes(b'{"type": "result", "id": 1, "content": {}, "arr')
    stage.client.poll()
    assert job.state == "running"
    stage.worker.die(1)
    stage.client.poll()
    assert "in the middle of a message" in failure(job).message
    stage.works_again()


def test_a_result_that_is_not_whole_is_an_error() -> None:
    stage = Stage()
    job = stage.running()
    stage.worker.say(Message("result", job.number, {"verdict": {}}))
    stage.client.poll()
    assert isinstance(failure(job), ProtocolError)
    stage.works_again()


def test_a_crash_is_told_with_the_last_lines() -> None:
    stage = Stage()
    job = stage.running()
    for n in range(50):
        stage.worker.log(f"line {n}\r\n")
    stage.worker.log("Segmentation fault")
    stage.worker.die(-11)
    stage.client.poll()
    assert "SIGSEGV" in failure(job).message
    assert "Segmentation fault" in failure(job).message
    assert job.details.splitlines()[-2:] == ["line 49", "Segmentation fault"]
    assert len(job.details.splitlines()) == 30
    assert stage.logged[0] == "line 0"
    assert "anew" in failure(job).hint
    stage.works_again()
    assert stage.client.log == ()


@pytest.mark.parametrize(
    ("code", "text"),
    [(-9, ""), (137, ""), (1, "terminate called: std::bad_alloc"), (1, "torch.OutOfMemoryError: CUDA out of memory.")],
)
def test_a_death_that_looks_like_memory_has_a_hint(code: int, text: str) -> None:
    stage = Stage()
    job = stage.running()
    stage.worker.log(text)
    stage.worker.die(code)
    stage.client.poll()
    assert "memory" in failure(job).hint


def test_a_crash_spares_the_waiting_jobs_of_a_worker_that_had_come_up() -> None:
    stage = Stage()
    first, second = stage.running(), stage.register()
    stage.worker.die(1)
    stage.client.poll()
    assert (first.state, second.state) == ("failed", "waiting")
    stage.greet()
    assert second.state == "running"


def test_an_idle_worker_may_die_unnoticed() -> None:
    stage = Stage()
    stage.works_again()
    stage.worker.die(-9)
    stage.client.poll()
    stage.works_again()
    assert len(stage.workers) == 2
    assert [kind for kind, _ in stage.told] == ["result", "result"]


def test_a_command_that_cannot_be_run_fails_the_job() -> None:
    stage = Stage(EngineError("The engine cannot be started: nowhere.", "Check."))
    job = stage.register()
    assert "nowhere" in failure(job).message
    stage.works_again()


def test_a_worker_without_torch_says_so() -> None:
    stage = Stage()
    job = stage.register()
    stage.worker.say(pack_error(library_missing("torch", "python"), 0))
    stage.client.poll()
    error = failure(job)
    assert isinstance(error, MissingLibraryError)
    assert (error.library, error.message) == ("torch", "PyTorch is not installed in python.")
    assert "Install PyTorch" in error.hint


def test_a_device_without_memory_is_named_so_that_another_can_be_tried() -> None:
    stage = Stage()
    job = stage.running()
    stage.worker.say(pack_error(MemoryShortageError("Out of memory on cuda:1.", "Compute on the CPU.", "cuda:1"), 1))
    stage.client.poll()
    error = failure(job)
    assert isinstance(error, MemoryShortageError)
    assert error.device == "cuda:1"
    stage.works_again()
    assert len(stage.workers) == 1


def test_a_worker_that_cannot_read_what_is_sent_is_replaced() -> None:
    stage = Stage()
    job = stage.running()
    stage.worker.say(Message("error", 0, {"kind": "ProtocolError", "message": "What was received is not a message."}))
    stage.client.poll()
    assert "not a message" in failure(job).message
    stage.works_again()
    assert len(stage.workers) == 2


def test_what_a_worker_sent_before_it_was_given_up_is_forgotten() -> None:
    stage = Stage()
    job = stage.running()
    stage.worker.say_bytes(b"garbage\n")
    stage.worker.say(result_message(job.number))
    stage.worker.die(1)
    stage.client.poll()
    assert "not a message" in failure(job).message
    stage.works_again()
    assert [kind for kind, _ in stage.told] == ["error", "result"]
