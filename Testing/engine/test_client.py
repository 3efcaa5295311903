"""The client against workers played by the test: every job ends, once, with its result or a clear answer."""

from __future__ import annotations

import numpy as np

from DeepRegLib.engine.job import Job
from DeepRegLib.engine.protocol import Message, encode
from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.errors import CancelledError, InputError
from Testing.engine.fakes import result_message, tiny_image
from Testing.engine.stage import Stage, failure
from Testing.requests import request_of


def test_the_worker_is_started_at_the_first_job_and_kept() -> None:
    stage = Stage()
    stage.client.poll()
    assert stage.workers == []
    for _ in range(3):
        stage.works_again()
    assert len(stage.workers) == 1
    assert stage.worker.types() == ["request"] * 3
    assert not stage.client.busy


def test_nothing_is_sent_before_the_hello() -> None:
    stage = Stage()
    stage.register()
    stage.client.poll()
    assert stage.worker.received == []
    stage.greet()
    assert stage.worker.types() == ["request"]
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
    assert (second.state, stage.worker.types()) == ("waiting", ["request"])
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


def test_a_job_can_be_registered_from_the_callback_of_another() -> None:
    stage = Stage()
    later: list[Job] = []
    request = request_of(tiny_image(), tiny_image(), "fast")
    first = stage.client.submit(REGISTER, request, on_error=lambda error: later.append(stage.register()))
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


def test_release_goes_to_an_idle_worker_only() -> None:
    stage = Stage()
    stage.client.release()
    job = stage.running()
    stage.client.release()
    stage.worker.say(result_message(job.number))
    stage.client.poll()
    stage.client.release()
    assert stage.worker.types() == ["request", "release"]
