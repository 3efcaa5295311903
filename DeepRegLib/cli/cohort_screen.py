"""What `deepreg cohort` shows: one line a worker and one in all, the plan, the end; events for scripts."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text

from DeepRegLib.cli.session import Session, one_line

if TYPE_CHECKING:
    from DeepRegLib.cohort.coordinating import Event
    from DeepRegLib.cohort.plan import Plan
    from DeepRegLib.cohort.table import Line

LOOK_SECONDS = 1.0
MOST_WORKERS = 16
MOST_PROBLEMS = 200
GIGABYTE = 1_000_000_000

Running = Callable[[], Mapping[str, str]]


class CohortScreen:
    """Shows how far a run is; a context manager.

    Parameters
    ----------
    screen
        Where.
    total
        How many cases run.
    running
        Returns the case that each worker has; None if nobody knows.
    """

    def __init__(self, screen: Session, total: int, running: Running | None) -> None:
        self._screen = screen
        self._total = total
        self._running = running
        self._ended = 0
        self._begun = self._looked = time.monotonic()
        self._workers: dict[str, tuple[TaskID, str, float]] = {}
        live = not screen.json_output and screen.err.is_terminal and not screen.err.is_dumb_terminal
        self._progress = _bars(screen) if live else None
        self._all: TaskID | None = None

    def __enter__(self) -> CohortScreen:
        """Begin to show."""
        if self._progress is not None:
            self._progress.start()
            self._all = self._progress.add_task("all cases", total=self._total, note="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the show; what was told as a line stays."""
        if self._progress is not None:
            self._progress.stop()

    def event(self, event: Event) -> None:
        """Show something that happened to a case."""
        if event.kind != "begun":
            self._ended += event.kind != "retry"
            self._tell(event)
        self._emit(event)
        self._look()

    def _tell(self, event: Event) -> None:
        outcome = event.outcome
        assert outcome is not None  # noqa: S101  # for mypy: only one that has begun has none
        words = {"done": outcome.verdict, "retry": "tried again", "stopped": "stopped"}.get(event.kind, "failed")
        style = {"ok": "green", "check": "yellow"}.get(words, "red")
        reason = f"  {one_line(outcome.reason)}" if outcome.reason and event.kind != "stopped" else ""
        line = f"{self._ended}/{self._total}  {one_line(event.work.name)}: {words}, {outcome.seconds:.1f} s{reason}"
        if self._progress is None:
            self._screen.note(Text(line + self._left(", {} left"), style))
        elif words != "ok":  # the bars count those that went well
            self._progress.console.print(Text(line, style), soft_wrap=True)
        if self._progress is not None and self._all is not None:
            self._progress.update(self._all, completed=self._ended, note=self._left("{} left"))

    def _left(self, form: str) -> str:
        """Return how long the rest will take, by those that have ended; "" before the first and at the end."""
        if not self._ended or self._ended >= self._total:
            return ""
        seconds = (time.monotonic() - self._begun) / self._ended * (self._total - self._ended)
        return form.format(duration(seconds))

    def _look(self) -> None:
        """Show what each worker does, now and then."""
        now = time.monotonic()
        if self._progress is None or self._running is None or now - self._looked < LOOK_SECONDS:
            return
        self._looked = now
        running = dict(list(self._running().items())[:MOST_WORKERS])
        for worker in [worker for worker in self._workers if worker not in running]:
            self._progress.remove_task(self._workers.pop(worker)[0])
        for worker, name in running.items():
            task, known, since = self._workers.get(worker, (None, "", now))
            if task is None:
                task = self._progress.add_task(f"worker {len(self._workers) + 1}", total=None, note="")
            since = since if known == name else now
            self._workers[worker] = task, name, since
            self._progress.update(task, note=f"{one_line(name)[:60]}, {duration(now - since)}")

    def _emit(self, event: Event) -> None:
        if not self._screen.json_output:
            return
        table: dict[str, Any] = {"event": event.kind, "case": event.work.name, "attempt": event.work.attempt}
        if event.outcome is not None:
            table |= {
                "verdict": event.outcome.verdict,
                "reason": event.outcome.reason,
                "kind": event.outcome.kind,
                "seconds": round(event.outcome.seconds, 3),
                "host": event.outcome.host,
            }
        emit_line(self._screen, table)


def emit_line(screen: Session, table: Mapping[str, Any]) -> None:
    """Print one event as one line of JSON, at once."""
    screen.emit_text(json.dumps(table))
    screen.out.file.flush()


def tell_where(screen: Session, about: str, cases: int) -> None:
    """Say where how many cases will run, with the address of the dashboard."""
    screen.note(about)
    if screen.json_output:
        emit_line(screen, {"event": "run", "cases": cases, "where": about})


def tell_plan(screen: Session, plan: Plan, output: Path, workers: int) -> None:
    """Say what would run, how long it would take and how large it would be."""
    from DeepRegLib.cohort.estimating import estimate, free_space

    tell_problems(screen, plan)
    needs, free = estimate(plan.todo, plan.done), free_space(output)
    reasons = Counter(planned.why for planned in plan.todo)
    screen.say(f"{len(plan.todo)} cases would run, {len(plan.done)} are done, {len(plan.problems)} rows cannot run.")
    for why, count in reasons.most_common():
        screen.say(f"  {count}: {why}")
    if needs is not None and plan.todo:
        screen.say(
            f"By the cases that are done: about {duration(needs.seconds / workers)} with {workers} at a time, "
            f"{needs.size / GIGABYTE:.2f} GB of disk"
            + ("" if free is None else f" ({free / GIGABYTE:.1f} GB are free)")
            + f", {needs.memory / GIGABYTE:.1f} GB of memory each."
        )
        if free is not None and needs.size > free:
            screen.warn(f"The disk has {free / GIGABYTE:.1f} GB left; the results take {needs.size / GIGABYTE:.1f} GB.")
    if screen.json_output:
        emit_line(
            screen,
            {
                "event": "plan",
                "todo": len(plan.todo),
                "done": len(plan.done),
                "wrong": [{"row": p.row, "case": p.case, "message": p.message} for p in plan.problems],
                "why": dict(reasons),
                "seconds": None if needs is None else round(needs.seconds, 1),
                "bytes": None if needs is None else needs.size,
                "free_bytes": free,
                "workers": workers,
            },
        )


def tell_problems(screen: Session, plan: Plan) -> None:
    """Say every row that cannot run, and what is unusual of those that do."""
    for problem in plan.problems[:MOST_PROBLEMS]:
        screen.fail(f"row {problem.row}: {problem.message}")
    if len(plan.problems) > MOST_PROBLEMS:
        screen.fail(f"and {len(plan.problems) - MOST_PROBLEMS} rows more; the table names them all.")
    for warning in plan.warnings[:MOST_PROBLEMS]:
        screen.warn(f"row {warning.row}: {warning.message}")
    if len(plan.warnings) > MOST_PROBLEMS:
        screen.warn(f"and {len(plan.warnings) - MOST_PROBLEMS} rows more.")


def tell_result(screen: Session, lines: list[Line], plan: Plan, output: Path) -> None:
    """Say what became of all cases, and where."""
    tell_problems(screen, plan)
    statuses = Counter(line.status for line in lines)
    verdicts = Counter(line.verdict for line in lines if line.verdict)
    if screen.json_output:
        emit_line(screen, {"event": "end", "cases": dict(statuses), "verdicts": dict(verdicts), "output": output.name})
        return
    for line in lines:
        if line.status == "failed":
            screen.say(Text(f"{one_line(line.case)}: no result. {one_line(' '.join(line.reasons))}", "red"))
    counted = ", ".join(f"{count} {status}" for status, count in statuses.items())
    told = ", ".join(f"{verdicts[level]} {level}" for level in ("ok", "check", "failed") if verdicts[level])
    screen.say(f"{counted or 'No cases'}" + (f". Verdicts: {told}" if told else "") + f". Written to {output}.")


def duration(seconds: float) -> str:
    """Return a time as a person says it."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _bars(screen: Session) -> Progress:
    columns = (
        TextColumn("{task.description:<10}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    return Progress(*columns, console=screen.err, transient=True)
