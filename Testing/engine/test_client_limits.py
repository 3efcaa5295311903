"""How long the client waits: for a worker's start, its answer and the end of a cancelled run."""

from __future__ import annotations

from DeepRegLib.engine.liveness import Limits
from DeepRegLib.engine.protocol import Message
from DeepRegLib.errors import CancelledError
from Testing.engine.fakes import result_message
from Testing.engine.stage import Stage, failure


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
    assert stage.worker.types() == ["request", "ping"]
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
    stage = Stage(limits=Limits(silence=None))
    job = stage.running()
    stage.after(1e6)
    assert job.state == "running"
    assert stage.worker.types() == ["request"]


def test_cancel_asks_and_the_answer_ends_the_job() -> None:
    stage = Stage()
    job = stage.running()
    job.cancel()
    job.cancel()
    assert stage.worker.types() == ["request", "cancel"]
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
