"""Workers of this very process, for steps of a template and of a segmentation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from DeepRegLib.cli.cohort_place import Where
from DeepRegLib.cohort.running_case import run_step
from DeepRegLib.cohort.work import DIED, DONE, Outcome, Work

LARGEST_ANSWER = 3000  # bytes; the smallest field here has some hundred thousand


class Here:
    """Does steps in this process, one at once, by what would travel alone; the first try of `dies` comes to nothing."""

    def __init__(self, dies: str = "") -> None:
        self.dies, self.done = dies, list[Work]()

    def slots(self) -> int:
        return 1

    def trouble(self) -> str:
        return ""

    def begin(self, work: Work, done: Callable[[Outcome], None]) -> None:
        self.done.append(work)
        if self.dies and work.name.startswith(self.dies) and work.attempt == 1:
            done(Outcome(DIED, "Its process died."))
            return
        outcome = run_step(work, "none")
        assert outcome.kind == DONE, outcome
        travels = json.dumps(outcome.answer)
        assert len(travels) < LARGEST_ANSWER
        done(Outcome(DONE, answer=json.loads(travels)))

    def stop(self) -> None:
        pass

    @contextmanager
    def at(self, place: Where, _voxels: object) -> Iterator[tuple[Here, str]]:
        """Stand in for `executor_at`."""
        assert place.output.is_dir()  # where the keys of a batch system's jobs lie
        yield self, "here"
