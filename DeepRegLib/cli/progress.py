"""A run on the screen: a bar in a terminal, plain lines elsewhere, nothing for a program; and Ctrl-C."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn

from DeepRegLib.cli.session import Session

STAGES = {
    "read": "reading",
    "engine": "starting the engine",
    "prepare": "preparing",
    "search": "searching the pose",
    "linear": "linear",
    "model": "asking the model",
    "levels": "resampling",
    "large motion": "large motion",
    "other way": "from the other side",
    "deformable": "deformable",
    "correction": "correction",
    "inverse": "inverting",
    "judge": "measuring",
    "labels": "carrying labels",
    "jacobian": "volume change",
    "translate": "translating",
    "fuse": "fusing the labels",
    "save": "writing",
}
SECONDS_BETWEEN_LINES = 10.0


class Reporter(Protocol):
    """Called as `DeepRegLib.register` calls its `progress`."""

    def __call__(
        self, stage: str, fraction: float, similarity: float | None = None, seconds_left: float | None = None
    ) -> None:
        """Show how far the run is."""


@contextmanager
def reporter(screen: Session) -> Iterator[Reporter]:
    """Show the progress of a run on standard error, as suits who reads it."""
    if screen.json_output:
        yield _silent
    elif screen.err.is_terminal and not screen.err.is_dumb_terminal:
        with _bar(screen) as report:
            yield report
    else:
        yield _Lines(screen)


def _silent(stage: str, fraction: float, similarity: float | None = None, seconds_left: float | None = None) -> None:
    del stage, fraction, similarity, seconds_left


class _Lines:
    """A line when a stage begins, and now and then in a long one."""

    def __init__(self, screen: Session) -> None:
        self._screen = screen
        self._stage = ""
        self._last = 0.0

    def __call__(
        self, stage: str, fraction: float, similarity: float | None = None, seconds_left: float | None = None
    ) -> None:
        now = time.monotonic()
        if stage == self._stage and now - self._last < SECONDS_BETWEEN_LINES:
            return
        self._stage, self._last = stage, now
        details = [text for text in (_similarity_text(similarity), _time_text(seconds_left)) if text]
        tail = f"  ({', '.join(details)})" if details else ""
        self._screen.note(f"{fraction:4.0%} {STAGES.get(stage, stage)}{tail}")


@contextmanager
def _bar(screen: Session) -> Iterator[Reporter]:
    columns = (
        TextColumn("{task.description:<18}", markup=False),
        BarColumn(bar_width=28),
        TaskProgressColumn(),
        TextColumn("{task.fields[similarity]:<16}", markup=False),
        TextColumn("{task.fields[left]}", markup=False),
    )
    with Progress(*columns, console=screen.err, transient=True) as progress:
        task = progress.add_task(STAGES["read"], total=1.0, similarity="", left="")
        yield _bar_reporter(progress, task)


def _bar_reporter(progress: Progress, task: TaskID) -> Reporter:
    stages: list[str] = []
    shown: list[str] = [""]

    def report(stage: str, fraction: float, similarity: float | None = None, seconds_left: float | None = None) -> None:
        if not stages or stages[-1] != stage:
            stages.append(stage)
            shown[0] = ""
        shown[0] = _similarity_text(similarity) or shown[0]  # most steps come without one
        progress.update(
            task,
            description=STAGES.get(stage, stage),
            completed=fraction,
            similarity=shown[0],
            left=_time_text(seconds_left),
        )

    return report


def _similarity_text(similarity: float | None) -> str:
    return "" if similarity is None else f"similarity {similarity:.3f}"


def _time_text(seconds: float | None) -> str:
    if seconds is None:
        return ""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s left" if whole >= 60 else f"{whole} s left"


@contextmanager
def interruptible(screen: Session) -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into a request to stop, which is yielded as a function to poll; a second one stops hard."""
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return
    asked = threading.Event()

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        if asked.is_set():
            signal.default_int_handler(number, frame)
        asked.set()
        screen.note("Stopping; Ctrl-C again stops at once.")

    previous = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGINT, previous)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Leave Ctrl-C unheard during what takes a moment and must not be done by halves."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
