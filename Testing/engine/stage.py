"""A client whose workers are played by the test."""

from __future__ import annotations

from typing import Any

from DeepRegLib.engine.client import EngineClient
from DeepRegLib.engine.job import Job
from DeepRegLib.engine.liveness import Limits
from DeepRegLib.engine.protocol import EngineError, Message
from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.errors import DeepRegError
from Testing.engine.fakes import HELLO, FakeClock, FakeWorker, result_message, tiny_image
from Testing.requests import request_of


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
        return self.client.submit(
            REGISTER,
            request_of(tiny_image("fixed"), tiny_image("moving"), "fast"),
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
