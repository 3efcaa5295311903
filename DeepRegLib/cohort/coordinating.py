"""Cases handed out, a bounded number at a time, and tried again; nothing is kept of those that are done."""

from __future__ import annotations

import queue
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from DeepRegLib.cohort.record import clear_failure, write_failure
from DeepRegLib.cohort.work import DISK, DONE, FINAL, LEFT, STOPPED, Outcome, Work
from DeepRegLib.naming import without_paths

WAIT_SECONDS = 0.2
# A case is not to blame that its worker had to leave, unless it takes longer than any job may.
MOST_LEAVES = 3
BEGUN, RETRY, FAILED = "begun", "retry", "failed"


class Executor(Protocol):
    """Whoever runs cases: processes of this machine, or a cluster."""

    def slots(self) -> int:
        """Return how many cases may be handed out at a time, at least one."""

    def begin(self, work: Work, done: Callable[[Outcome], None]) -> None:
        """Hand out a case; `done` is called once, from any thread."""

    def trouble(self) -> str:
        """Return why nothing can run any more; "" as long as something may."""

    def stop(self) -> None:
        """End what is running; their outcome is `STOPPED`."""


@dataclass(frozen=True)
class Event:
    """Something that happened to a case.

    Parameters
    ----------
    kind
        `BEGUN`, `DONE`, `RETRY` (it failed and is tried again), `FAILED` or `STOPPED`.
    work
        The case.
    outcome
        None for one that has begun.
    """

    kind: str
    work: Work
    outcome: Outcome | None = None


@dataclass(eq=False)
class Tally:
    """What has become of the cases so far; its size does not grow with them."""

    counts: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    disk_full: str = ""
    trouble: str = ""


def run_all(
    works: Iterable[Work],
    executor: Executor,
    output: Path,
    *,
    retries: int = 1,
    told: Callable[[Event], None] = lambda _event: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Tally:
    """Run cases until all are done, have failed too often, or the run is stopped.

    Parameters
    ----------
    works
        Taken one by one, as there is room.
    executor
        Runs them.
    output
        Folder of the cohort; why a case failed is written into its folder `failures`.
    retries
        How often a case that failed is tried again.
    told
        Called with each event, in this thread.
    stopped
        Polled; once it is true, what runs is ended, and what was not begun stays missing.

    Returns
    -------
    Tally
        `disk_full` or `trouble` (nothing can run any more) tells why a run ended before all cases had; what was not
        begun stays missing then.
    """
    ended: queue.SimpleQueue[tuple[Work, Outcome]] = queue.SimpleQueue()
    waiting, again, tally = iter(works), deque[Work](), Tally()
    running, ending = 0, False
    while True:
        tally.trouble = tally.trouble or executor.trouble()
        if not ending and (stopped() or tally.disk_full or tally.trouble):
            ending = True
            executor.stop()
        while not ending and running < executor.slots():
            work = next(waiting, None) or (again.popleft() if again else None)
            if work is None:
                break
            running += 1
            told(Event(BEGUN, work))
            executor.begin(work, _putter(ended, work))
        if not running:
            return tally
        try:
            work, outcome = ended.get(timeout=WAIT_SECONDS)
        except queue.Empty:
            continue
        running -= 1
        event = _judged(work, outcome, retries, ending)
        if event.kind == RETRY:
            again.append(work.again())
        _note(tally, event, output)
        told(event)


def _putter(ended: queue.SimpleQueue[tuple[Work, Outcome]], work: Work) -> Callable[[Outcome], None]:
    return lambda outcome: ended.put((work, outcome))


def _judged(work: Work, outcome: Outcome, retries: int, ending: bool) -> Event:
    if outcome.kind in (DONE, STOPPED):
        return Event(outcome.kind, work, outcome)
    allowed = retries + (MOST_LEAVES if outcome.kind == LEFT else 0)
    if outcome.kind in FINAL or (work.attempt > allowed and not ending):
        return Event(FAILED, work, outcome)
    # A run that ends tries nothing again; what failed in it is as if it had not begun.
    return Event(STOPPED if ending else RETRY, work, outcome)


def _note(tally: Tally, event: Event, output: Path) -> None:
    tally.counts[event.kind] += 1
    outcome = event.outcome
    assert outcome is not None  # noqa: S101  # for mypy: only one that has begun has none
    if event.kind == DONE:
        tally.verdicts[outcome.verdict] += 1
        tally.seconds += outcome.seconds
        clear_failure(output, event.work.name)
    elif event.kind == FAILED:
        if outcome.kind == DISK:
            tally.disk_full = tally.disk_full or outcome.reason
        write_failure(output, event.work.name, failure_of(event.work, outcome))


def failure_of(work: Work, outcome: Outcome) -> Mapping[str, Any]:
    """Return what is written of a case that has no result."""
    files = work.case.get("files", {})
    return {
        "case": work.name,
        "row": work.case["row"],
        "kind": outcome.kind,
        "reason": without_paths(outcome.reason, files),
        "attempts": work.attempt,
        "seconds": round(outcome.seconds, 3),
        "host": outcome.host,
        "versions": work.wanted["versions"],
        "log": without_paths(outcome.log, files),
    }
