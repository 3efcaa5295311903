"""Long work on the window's own thread, a little at a time.

Slicer's main thread keeps Python's lock while Qt waits for events, so another thread would hardly run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic

import qt

from DeepRegLib.errors import DeepRegError
from DeepRegLib.scene.steps import Result, Steps

# How long the event loop is held up at a time: less than a person notices.
SLICE_SECONDS = 0.03


class Sliced(Generic[Result]):
    """Takes the steps of some work whenever the event loop is free.

    Parameters
    ----------
    steps
        What is to be done.
    finished
        Called with its result.
    failed
        Called with the error that a step raised after `start` had returned.
    """

    def __init__(
        self, steps: Steps[Result], finished: Callable[[Result], None], failed: Callable[[DeepRegError], None]
    ) -> None:
        self._steps: Steps[Result] | None = steps
        self._finished = finished
        self._failed = failed
        self._timer = qt.QTimer()
        self._timer.setSingleShot(True)
        self._timer.connect("timeout()", self._go_on)

    def start(self) -> None:
        """Begin; what is short is finished when this returns.

        Raises
        ------
        DeepRegError
            If one of these first steps raises it.
        """
        self._take_steps()

    def start_later(self) -> None:
        """Begin when the event loop is free."""
        self._timer.start(0)

    def stop(self) -> bool:
        """Leave it as it is, and return whether there was something left to do."""
        self._timer.stop()
        steps, self._steps = self._steps, None
        return steps is not None

    def _go_on(self) -> None:
        try:
            self._take_steps()
        except DeepRegError as error:
            self._failed(error)

    def _take_steps(self) -> None:
        steps, self._steps = self._steps, None
        if steps is None:
            return
        end = time.monotonic() + SLICE_SECONDS
        try:
            next(steps)
            while time.monotonic() < end:
                next(steps)
        except StopIteration as stop:
            result = stop.value
        else:
            self._steps = steps
            self._timer.start(0)
            return
        self._finished(result)


def let_go_one_by_one(things: list[Any]) -> Sliced[None]:
    """Empty a list a little at a time, from its end, so that what only the list holds is not freed all at once."""

    def steps() -> Steps[None]:
        while things:
            things.pop()
            yield

    sliced = Sliced(steps(), lambda _none: None, lambda _error: None)
    sliced.start_later()
    return sliced
