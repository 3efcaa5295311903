"""Steps of one task, such as a template, handed out as cases are: to the same workers, and tried again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from DeepRegLib.cohort.coordinating import FAILED, Event, Executor, run_all
from DeepRegLib.cohort.work import DONE, Limits, Outcome, Work
from DeepRegLib.errors import CancelledError, DeepRegError, OutputError

Arguments = Mapping[str, Any]
# So many members make one sum, and so many sums the next one.
LEAF, BRANCHES = 4, 8


class StepError(DeepRegError):
    """A step of a task could not be done."""


@dataclass(eq=False)
class Steps:
    """Hands out steps and waits for them.

    Parameters
    ----------
    executor
        Who does them.
    work
        Folder that every worker sees, for what passes from step to step.
    versions
        That workers must have.
    stopped
        Polled; once it is true, the run ends.
    told
        Called with each event.
    retries
        How often a step that failed is tried again.
    """

    executor: Executor
    work: Path
    versions: Mapping[str, str]
    stopped: Callable[[], bool] = field(default=lambda: False)
    told: Callable[[Event], None] = field(default=lambda _event: None)
    retries: int = 1

    def all(self, step: str, given: Mapping[str, Arguments]) -> dict[str, Outcome]:
        """Do one step with several arguments, side by side; return how each ended, by its name.

        Raises
        ------
        CancelledError
            If the run was stopped.
        StepError
            If nothing can run any more.
        OutputError
            If the disk is full.
        """
        works = [self._work(f"{name} {step}", step, arguments) for name, arguments in given.items()]
        ended: dict[str, Outcome] = {}

        def note(event: Event) -> None:
            if event.kind in (DONE, FAILED) and event.outcome is not None:
                ended[event.work.name.removesuffix(f" {step}")] = event.outcome
            self.told(event)

        tally = run_all(works, self.executor, self.work, retries=self.retries, told=note, stopped=self.stopped)
        if tally.disk_full:
            raise OutputError(f"The run ended: {tally.disk_full}", "Run the same again; what is done is kept.")
        if tally.trouble:
            raise StepError(f"The run ended: {tally.trouble}", "Run the same again; what is done is kept.")
        if self.stopped():
            raise CancelledError
        return ended

    def each(self, step: str, given: Mapping[str, Arguments]) -> dict[str, Mapping[str, Any]]:
        """Do as `all` does, and return what each has answered.

        Raises
        ------
        StepError
            If one failed.
        """
        ended = self.all(step, given)
        for name, outcome in ended.items():
            if outcome.kind != DONE:
                raise StepError(f"The step {step} of {name} failed: {outcome.reason}", "Look at its log.")
        return {name: outcome.answer for name, outcome in ended.items()}

    def one(self, step: str, given: Arguments) -> Mapping[str, Any]:
        """Do one step once."""
        return self.each(step, {"all": given})["all"]

    def reduced(self, step: str, name: str, members: Sequence[Arguments], shared: Arguments) -> str:
        """Add up what members give, by a tree; return the path of the sum."""
        parts = self._level(step, name, 0, "members", members, shared)
        level = 1
        while len(parts) > 1:
            parts, level = self._level("add", name, level, "parts", parts, {}), level + 1
        return parts[0]

    def _level(
        self, step: str, name: str, level: int, key: str, members: Sequence[Any], shared: Arguments
    ) -> list[str]:
        size = BRANCHES if level else LEAF
        groups = [members[begin : begin + size] for begin in range(0, len(members), size)]
        paths = [str(self.work / f"{name}-{level}-{number}.npz") for number in range(len(groups))]
        given = {
            f"{name} {level} {number}": {**shared, key: list(group), "to": path}
            for number, (group, path) in enumerate(zip(groups, paths, strict=True))
        }
        self.each(step, given)
        return paths

    def _work(self, name: str, step: str, arguments: Arguments) -> Work:
        case = {"name": name, "row": 0, "arguments": dict(arguments)}
        return Work(case, str(self.work), {"versions": dict(self.versions)}, limits=Limits(), step=step)
