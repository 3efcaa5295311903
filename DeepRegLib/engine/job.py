"""One registration on its way through a client."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from DeepRegLib.engine.packing import Request
from DeepRegLib.errors import DeepRegError
from DeepRegLib.monitoring import Progress
from DeepRegLib.result import Registration

WAITING, RUNNING, CANCELLING, DONE, FAILED = "waiting", "running", "cancelling", "done", "failed"


@dataclass(eq=False)
class Job:
    """One registration given to a client.

    Parameters
    ----------
    number
        Its id in the protocol.
    request
        What to register; None once it is finished.
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
    request: Request | None
    canceller: Callable[[Job], None] = field(repr=False)
    on_progress: Progress | None = None
    on_result: Callable[[Registration], None] | None = None
    on_error: Callable[[DeepRegError], None] | None = None
    state: str = WAITING
    result: Registration | None = None
    error: DeepRegError | None = None
    details: str = ""

    @property
    def finished(self) -> bool:
        """Whether it is over, one way or the other."""
        return self.state in (DONE, FAILED)

    def cancel(self) -> None:
        """Ask to stop; `on_error` is called with a `CancelledError` when it has stopped."""
        self.canceller(self)
