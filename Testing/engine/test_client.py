"""The client against workers played by the test: whatever they do, every job ends, once, with a clear answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from DeepRegLib.engine.client import EngineClient, Job, Limits
from DeepRegLib.engine.failures import library_missing
from DeepRegLib.engine.packing import pack_error
from DeepRegLib.engine.protocol import (
    PROTOCOL_VERSION,
    EngineError,
    Message,
    MissingLibraryError,
    ProtocolError,
    encode,
)
from DeepRegLib.errors import CancelledError, DeepRegError, InputError, MemoryShortageError
from Testing.engine.fakes import HELLO, FakeClock, FakeWorker, result_message, tiny_image


class Stage:
    """A client, its clock, and every worker it started."""

    def __init__(self, *refusals: EngineError, limits: Limits | None = None) -> None:
        self.clock = FakeClock()
        self.workers: list[FakeWorker] = []
        self.refusals = list(refusals)
        self.logged: list[str] = []
        self.client = EngineClient(self.hire, limits=limits, clock=self.clock, on_log=self.logged.append)
        self.told: list[tuple[str, Any]] = []

    def hire(self) -> FakeWorker:
        self.workers.append(FakeWorker(self.refusals.pop(0) if self.refusals else None))
        return self.workers[-1]

    @property
    def worker(self) -> FakeWorker:
        return self.workers[-1]

    def register(self) -> Job:
        return self.client.register(
            tiny_image("fixed"),
            tiny_image("moving"),
            "fast",
            on_progress=lambda *report: self.told.append(("progress", report)),
            on_result=lambda result: self.told.append(("result", result)),
            on_error=lambda error: self.told.append(("error", error)),
        )

    def greet(self) -> None:
        self.worker.say(Message("hello", 0, HELLO))
        self.client.poll()

    def running(self) -> Job:
        job = self.register()
        self.greet()
        assert job.state == "running"
        return job

    def after(self, seconds: float) -> None:
        self.clock.now += seconds
        self.client.poll()

    def works_again(self) -> None:
        job = self.register()
        if self.client.worker is None:
            self.greet()
        self.worker.say(result_message(job.number))
        self.client.poll()
        assert job.state == "done"


def failure(job: Job) -> DeepRegError:
    assert job.state == "failed"
    assert job.error is not None
    return job.error


def test_the_worker_is_started_at_the_first_job_and_kept() -> None:
    stage = Stage()
    stage.client.poll()
    assert stage.workers == []
    for _ in range(3):
        stage.works_again()
    assert len(stage.workers) == 1
    assert stage.worker.types() == ["register"] * 3
    assert not stage.client.busy


def test_nothing_is_sent_before_the_hello() -> None:
    stage = Stage()
    stage.register()
    stage.client.poll()
    assert stage.worker.received == []
    stage.greet()
    assert stage.worker.types() == ["register"]
    assert stage.client.worker is not None
    assert stage.client.worker.devices == ("cuda:0", "cpu")
    assert stage.client.worker.memory == {"cuda:0": 8 << 30, "cpu": None}


def test_progress_and_result_are_told() -> None:
    stage = Stage()
    job = stage.running()
    report = {"stage": "linear", "fraction": 0.5, "similarity": 0.25, "seconds_left": None}
    stage.worker.say(Message("progress", job.number, report), result_message(job.number))
    stage.client.poll()
    assert stage.told[0] == ("progress", ("linear", 0.5, 0.25, None))
    assert stage.told[1] == ("result", job.result)
    assert job.result is not None
    assert job.result.fixed.name == "fixed"
    assert np.array_equal(job.result.warped.array, tiny_image().array[::-1])
    assert job.request is None


def test_jobs_run_one_after_another() -> None:
    stage = Stage()
    first, second = stage.running(), stage.register()
    assert (second.state, stage.worker.types()) == ("waiting", ["register"])
    stage.worker.say(result_message(first.number))
    stage.client.poll()
    assert (first.state, second.state) == ("done", "running")


def test_messages_for_another_job_are_passed_over() -> None:
    stage = Stage()
    job = stage.running()
    stage.worker.say(result_message(job.number + 7), Message("surprise", job.number), Message("pong"))
    stage.client.poll()
    assert job.state == "running"


def test_errors_of_the_worker_keep_their_class_and_details() -> None:
    stage = Stage()
    job = stage.running()
    content = {"kind": "InputError", "message": "No overlap.", "hint": "Look.", "details": "Traceback"}
    stage.worker.say(Message("error", job.number, content))
    stage.client.poll()
    assert isinstance(failure(job), InputError)
    assert job.details == "Traceback"
    assert stage.told == [("error", job.error)]
    stage.works_again()
    assert len(stage.workers) == 1


def test_a_worker_of_another_version_is_refused() -> None:
    stage = Stage()
    job, other = stage.register(), stage.register()
    stage.worker.say(Message("hello", 0, HELLO | {"protocol": PROTOCOL_VERSION + 1, "versions": {"deepreg": "9.9"}}))
    stage.client.poll()
    assert "protocol 2" in failure(job).message
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


def test_after_a_kill_a_fresh_worker_can_be_started_from_the_callback_and_is_warm_for_the_next_run() -> None:
    stage = Stage(limits=Limits(cancel=0.8))
    job = stage.running()
    job.on_error = lambda error: stage.client.start()
    job.cancel()
    stage.after(0.9)
    assert isinstance(failure(job), CancelledError)
    assert stage.workers[0].killed
    assert [worker.running for worker in stage.workers] == [False, True]
    stage.greet()
    assert not stage.client.busy
    stage.works_again()
    assert len(stage.workers) == 2


def test_a_worker_that_cannot_read_what_is_sent_is_replaced() -> None:
    stage = Stage()
    job = stage.running()
    stage.worker.say(Message("error", 0, {"kind": "ProtocolError", "message": "What was received is not a message."}))
    stage.client.poll()
    assert "not a message" in failure(job).message
    stage.works_again()
    assert len(stage.workers) == 2


def test_a_worker_that_never_says_hello_is_given_up() -> None:
    stage = Stage()
    job = stage.register()
    stage.after(119)
    assert job.state == "waiting"
    stage.after(2)
    assert "did not start" in failure(job).message
    assert stage.worker.killed
    stage.works_again()


def test_a_hanging_worker_is_asked_then_given_up() -> None:
    stage = Stage()
    job = stage.running()
    stage.after(6)
    assert stage.worker.types() == ["register", "ping"]
    stage.worker.say(Message("pong"))
    stage.after(29)
    assert job.state == "running"
    stage.after(6)
    stage.after(31)
    assert "no longer answers" in failure(job).message
    assert stage.worker.killed
    stage.works_again()


def test_a_ping_that_went_into_the_pipe_is_no_answer() -> None:
    stage = Stage()
    job = stage.running()
    stage.after(6)
    for waiting in (30, 0):
        stage.worker.stuck_bytes = waiting
        stage.after(16)
    assert "no longer answers" in failure(job).message


def test_a_slow_line_is_no_hang() -> None:
    stage = Stage()
    job = stage.running()
    for left in range(100, 0, -10):
        stage.worker.stuck_bytes = left
        stage.after(20)
    assert job.state == "running"


def test_a_client_that_was_not_polled_for_long_gives_nobody_up() -> None:
    stage = Stage()
    job = stage.running()
    stage.worker.say(Message("progress", job.number, {"stage": "linear", "fraction": 0.1}))
    stage.after(10_000)
    assert job.state == "running"
    stage.after(10_000)
    assert job.state == "running"  # only asked


def test_hang_detection_can_be_turned_off() -> None:
    stage = Stage(limits=Limits(quiet=None))
    job = stage.running()
    stage.after(1e6)
    assert job.state == "running"
    assert stage.worker.types() == ["register"]


def test_cancel_asks_and_the_answer_ends_the_job() -> None:
    stage = Stage()
    job = stage.running()
    job.cancel()
    job.cancel()
    assert stage.worker.types() == ["register", "cancel"]
    stage.worker.say(Message("progress", job.number, {}), Message("error", job.number, {"kind": "CancelledError"}))
    stage.client.poll()
    assert isinstance(failure(job), CancelledError)
    assert [kind for kind, _ in stage.told] == ["error"]
    stage.works_again()
    assert len(stage.workers) == 1


def test_a_cancel_past_three_seconds_kills() -> None:
    stage = Stage()
    job = stage.running()
    job.cancel()
    stage.after(2.9)
    assert job.state == "cancelling"
    stage.after(0.2)
    assert isinstance(failure(job), CancelledError)
    assert stage.worker.killed
    stage.works_again()
    assert len(stage.workers) == 2


def test_a_result_after_the_cancel_is_not_delivered() -> None:
    stage = Stage()
    job = stage.running()
    job.cancel()
    stage.worker.say(result_message(job.number))
    stage.client.poll()
    assert isinstance(failure(job), CancelledError)


def test_a_worker_that_dies_of_a_cancel_has_been_cancelled() -> None:
    stage = Stage()
    job = stage.running()
    job.cancel()
    stage.worker.die(-11)
    stage.client.poll()
    assert isinstance(failure(job), CancelledError)


def test_a_waiting_job_is_cancelled_at_once() -> None:
    stage = Stage()
    job = stage.register()
    job.cancel()
    assert isinstance(failure(job), CancelledError)
    stage.greet()
    assert stage.worker.received == []


def test_a_job_can_be_registered_from_the_callback_of_another() -> None:
    stage = Stage()
    later: list[Job] = []
    first = stage.client.register(
        tiny_image(), tiny_image(), "fast", on_error=lambda error: later.append(stage.register())
    )
    stage.greet()
    stage.worker.die(1)
    stage.client.poll()
    assert first.state == "failed"
    stage.greet()
    assert later[0].state == "running"


def test_closing_quits_and_cancels_what_is_left() -> None:
    stage = Stage()
    jobs = [stage.running(), stage.register()]
    stage.client.close()
    assert stage.worker.types()[-1] == "quit"
    assert all(isinstance(failure(job), CancelledError) for job in jobs)
    assert not stage.client.busy
    stage.client.close()
    stage.works_again()


def test_bytes_may_be_handed_over_by_a_signal_instead() -> None:
    stage = Stage()
    job = stage.running()
    stage.worker.say(result_message(job.number))
    data = stage.worker.read()[0].data
    for start in range(0, len(data), 100):
        stage.client.feed(data[start : start + 100])
    assert job.state == "done"
    stage.client.feed_log("grüße\n".encode()[:4])
    stage.client.feed_log("grüße\n".encode()[4:])
    assert stage.logged == ["grüße"]
    stage.client.exited(0)
    stage.client.feed(b"late bytes")
    stage.works_again()


def test_a_large_result_does_not_hold_the_event_loop_up() -> None:
    stage = Stage()
    job = stage.running()
    data = b"".join(bytes(piece) for piece in encode(result_message(job.number)))
    size = -(-len(data) // 50)
    for start in range(0, len(data), size):
        stage.worker.say_bytes(data[start : start + size])
    reading = stage.client._clock

    def ticking() -> float:
        stage.clock.now += 0.001
        return reading()

    stage.client._clock = ticking
    polls, longest = 0, 0.0
    while not job.finished:
        begun = stage.clock.now
        stage.client.poll()
        polls, longest = polls + 1, max(longest, stage.clock.now - begun)
    assert job.state == "done"
    assert polls > 3
    assert longest < 0.03


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


def test_release_goes_to_an_idle_worker_only() -> None:
    stage = Stage()
    stage.client.release()
    job = stage.running()
    stage.client.release()
    stage.worker.say(result_message(job.number))
    stage.client.poll()
    stage.client.release()
    assert stage.worker.types() == ["register", "release"]


def test_wrong_input_is_refused_before_anything_starts() -> None:
    stage = Stage()
    with pytest.raises(InputError):
        stage.client.register(tiny_image(), tiny_image(), "no such recipe")
    with pytest.raises(TypeError):
        stage.client.register(tiny_image(), tiny_image(), speed=3)
    assert stage.workers == []
