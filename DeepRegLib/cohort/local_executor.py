"""Cases run by processes of this machine, without Dask: what a task of an array job does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from DeepRegLib.cohort.children import Children
from DeepRegLib.cohort.work import Outcome, Work


class LocalExecutor:
    """A fixed number of processes; a context manager.

    Parameters
    ----------
    count
        How many.
    environment
        Variables of theirs, see `DeepRegLib.cohort.children.Children`.
    """

    def __init__(self, count: int, environment: Mapping[str, str]) -> None:
        self._count = count
        self._children = Children(environment)
        self._pool = ThreadPoolExecutor(count)

    def __enter__(self) -> LocalExecutor:
        """Nothing is started before the first case."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the processes."""
        self.stop()
        self._pool.shutdown()

    def slots(self) -> int:
        """Return how many cases may be handed out at a time."""
        return self._count

    def begin(self, work: Work, done: Callable[[Outcome], None]) -> None:
        """Hand out a case."""
        self._pool.submit(lambda: done(self._children.run(work)))

    def trouble(self) -> str:
        """Return "": a process that cannot be started is told of its case."""
        return ""

    def stop(self) -> None:
        """End what is running."""
        self._children.close()
