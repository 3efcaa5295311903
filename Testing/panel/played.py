"""An engine behind the panel that is played by the test: no process, no torch, no waiting for a registration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from DeepRegLib.engine.errors import pack_error
from DeepRegLib.engine.protocol import Message
from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.panel.self_test import SHIFT_MM
from DeepRegLib.propagation import with_fractions
from DeepRegLib.request import Request
from DeepRegLib.result import Registration, Verdict
from DeepRegLib.transforms import LinearTransform
from Testing.engine.fakes import HELLO, FakeWorker
from Testing.panel.opened import OpenedPanel
from Testing.scene.results import registration_of, uncertainty_on

SOON = 10.0


class PlayedEngine:
    """Workers that come up at once, and answer when the test says so.

    Attributes
    ----------
    hello
        What the next worker says of itself.
    workers
        Those that were started, the latest last.
    """

    def __init__(self, opened: OpenedPanel) -> None:
        self.hello: dict[str, Any] = dict(HELLO)
        self.workers: list[FakeWorker] = []
        self._opened = opened

    def hire(self) -> FakeWorker:
        """Start another worker."""
        worker = FakeWorker()
        worker.say(Message("hello", content=self.hello))
        self.workers.append(worker)
        return worker

    @property
    def worker(self) -> FakeWorker:
        """The latest worker."""
        return self.workers[-1]

    @property
    def orders(self) -> list[Message]:
        """The registrations that were asked for, of all workers."""
        return [message for worker in self.workers for message in worker.received if message.type == "request"]

    def request(self) -> Request:
        """Press Register, and return what the engine is asked for."""
        count = len(self.orders)
        self._opened.press()
        assert self._opened.desktop.wait_until(lambda: len(self.orders) > count, SOON), self._opened.message
        return REGISTER.request_of(self.orders[-1])

    def report(self, stage: str, fraction: float, similarity: float | None = None, left: float | None = None) -> None:
        """Report progress of the latest registration."""
        content = {"stage": stage, "fraction": fraction, "similarity": similarity, "seconds_left": left}
        self.worker.say(Message("progress", self.orders[-1].id, content))

    def fail(self, error: Exception) -> None:
        """End the latest registration with an error."""
        run = self._opened.widget.panel.registration.run
        self.worker.say(pack_error(error, self.orders[-1].id))
        assert self._opened.desktop.wait_until(lambda: run.finished, SOON)
        self._opened.desktop.process_events()

    def answer(self, level: str = "ok", reasons: tuple[str, ...] = ()) -> Registration:
        """Answer the latest registration with the shift between the volumes, and return the answer."""
        result = replace(self.made(), verdict=Verdict(level, reasons))
        self.worker.say(REGISTER.result_message(result, self.orders[-1].id))
        return result

    def made(self) -> Registration:
        """Return what the latest registration is answered with."""
        return shifted(REGISTER.request_of(self.orders[-1]))

    def deliver_result(self, result: Registration) -> None:
        """Answer with a result, and wait until it is in the scene."""
        self.worker.say(REGISTER.result_message(result, self.orders[-1].id))
        self._opened.wait_for_end(SOON)
        self._opened.desktop.process_events()

    def deliver(self, level: str = "ok", reasons: tuple[str, ...] = ()) -> Registration:
        """Answer, and wait until the results are in the scene."""
        result = self.answer(level, reasons)
        self._opened.wait_for_end(SOON)
        self._opened.desktop.process_events()
        return result

    def run(self) -> Registration:
        """Register from click to result."""
        self.request()
        return self.deliver()


def shifted(request: Request) -> Registration:
    """Return the registration of the example pair as it should be."""
    there, back = np.eye(4), np.eye(4)
    there[:3, 3], back[:3, 3] = SHIFT_MM, -np.asarray(SHIFT_MM)
    result = registration_of(
        LinearTransform(there), LinearTransform(back), request.fixed, request.moving, request.extras.moving_layers
    )
    result = with_fractions(result, request.extras.moving_fractions)
    if request.recipe.model.name:
        result = replace(result, provenance={"model": {"name": request.recipe.model.name, "version": "1.2"}})
    if request.recipe.model.uncertainty:
        result = replace(result, uncertainty=uncertainty_on(request.fixed.geometry))
    if request.recipe.model.explanation:
        result = replace(result, explanation=uncertainty_on(request.fixed.geometry))
    return result if request.extras.jacobian else replace(result, jacobian=None)
