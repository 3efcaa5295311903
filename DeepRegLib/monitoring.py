"""Telling the caller how far a run is, asking whether to stop, and timing the stages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from DeepRegLib.errors import CancelledError

Progress = Callable[[str, float, float | None, float | None], None]
Cancel = Callable[[], bool]
# Called again and again by what takes long; it raises `CancelledError` to stop it.
Poll = Callable[[], None]

# Rough shares of the seconds a default run takes, for the progress bar only.
STAGE_SHARES: Mapping[str, float] = {
    "prepare": 0.06,
    "search": 0.05,
    "linear": 0.10,
    "levels": 0.08,
    "large motion": 0.20,
    "model": 0.02,
    "deformable": 0.31,
    "other way": 0.82,
    "correction": 0.08,
    "inverse": 0.08,
    "judge": 0.08,
    "labels": 0.02,
}


def never_cancel() -> None:
    """Poll for those who never want to stop."""


def poll_of(cancel: Cancel | None) -> Poll:
    """Return a poll that raises `CancelledError` once `cancel` returns true; one that never does without any."""
    if cancel is None:
        return never_cancel

    def poll() -> None:
        if cancel():
            raise CancelledError

    return poll


def reporter_of(stage: str, progress: Progress | None, poll: Poll) -> Callable[[float], None]:
    """Return what is told the fraction done of a run of one stage: it polls, and reports that with the seconds left."""
    begun = time.perf_counter()

    def report(fraction: float) -> None:
        poll()
        if progress is not None:
            elapsed = time.perf_counter() - begun
            progress(stage, fraction, None, elapsed * (1 - fraction) / fraction if fraction > 0 else None)

    return report


class Monitor:
    """Reports progress and polls for cancellation.

    Parameters
    ----------
    stages
        The stages that will run, in order, names of `STAGE_SHARES`.
    progress
        Called with stage, fraction of the whole run (0 to 1), similarity or None, seconds left or None.
    cancel
        Polled at every step; true raises `CancelledError`.
    """

    def __init__(self, stages: Sequence[str], progress: Progress | None, cancel: Cancel | None) -> None:
        self._progress = progress
        self._cancel = cancel
        total = sum(STAGE_SHARES[stage] for stage in stages)
        self._shares = {stage: STAGE_SHARES[stage] / total for stage in stages}
        self._begun = time.perf_counter()
        self._done = 0.0
        self._stage = stages[0]
        self.timings: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Run one stage: its seconds are kept in `timings`."""
        self._stage = name
        start = time.perf_counter()
        self.step(0.0)
        yield
        self.step(1.0)
        self.timings[name] = time.perf_counter() - start
        self._done += self._shares[name]

    def step(self, fraction: float, similarity: float | None = None) -> None:
        """Report the fraction of the present stage; raise `CancelledError` if the caller wants to stop."""
        self.poll()
        if self._progress is None:
            return
        whole = min(1.0, self._done + self._shares[self._stage] * fraction)
        elapsed = time.perf_counter() - self._begun
        left = elapsed * (1 - whole) / whole if whole > 0.02 else None
        self._progress(self._stage, whole, similarity, left)

    def within(self, stages: Sequence[str]) -> Monitor:
        """Return a monitor of stages that together are the present stage; it polls as this one."""

        def report(_: str, fraction: float, similarity: float | None, __: float | None) -> None:
            self.step(fraction, similarity)

        return Monitor(stages, report, self._cancel)

    def finishing(self, what: str) -> None:
        """Report what is still made when all stages have run; raise `CancelledError` if the caller wants to stop."""
        self.poll()
        if self._progress is not None:
            self._progress(what, 1.0, None, None)

    def poll(self) -> None:
        """Raise `CancelledError` if the caller wants to stop."""
        if self._cancel is not None and self._cancel():
            raise CancelledError
