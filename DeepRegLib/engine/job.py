"""One piece of work on its way through a client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Generic

from DeepRegLib.engine.task import Asked, Found, Task
from DeepRegLib.errors import DeepRegError
from DeepRegLib.monitoring import Progress

WAITING, RUNNING, CANCELLING, DONE, FAILED = "waiting", "running", "cancelling", "done", "failed"


@dataclass(eq=False)
class Job(Generic[Asked, Found]):
    """Work given to a client.

    Parameters
    ----------
    number
        Its id in the protocol.
    task
        What kind of work it is.
    request
        What is asked for; None once it is finished.
    on_progress
        Called with stage, fraction of the run (0 to 1), similarity or None, seconds left or None.
    on_result, on_error
        One of them is called, once.
    state
        ``"waiting"``, ``"running"``, ``"cancelling"``, ``"done"`` or ``"failed"``.
    result, error
        What came of it. A cancelled job has a `CancelledError`.
    details
        Traceback or last log lines of an error, for those who want to know.
    """

    number: int
    task: Task[Asked, Found]
    request: Asked | None
    canceller: Callable[[Job[Any, Any]], None] = field(repr=False)
    on_progress: Progress | None = None
    on_result: Callable[[Found], None] | None = None
    on_error: Callable[[DeepRegError], None] | None = None
    state: str = WAITING
    result: Found | None = None
    error: DeepRegError | None = None
    details: str = ""

    @property
    def finished(self) -> bool:
        """Whether it is over, one way or the other."""
        return self.state in (DONE, FAILED)

    def cancel(self) -> None:
        """Ask to stop; `on_error` is called with a `CancelledError` when it has stopped."""
        self.canceller(self)
