"""Cases handed out, tried again and ended: nothing is lost and nothing runs twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from DeepRegLib.cohort.coordinating import Event, run_all
from DeepRegLib.cohort.work import DIED, DISK, DONE, INPUT, LEFT, STOPPED, Outcome, Work


def work(name: str) -> Work:
    return Work({"name": name, "row": 2}, "/none", {"versions": {"torch": "1"}})


class Played:
    """Ends each case at once, as its name and attempt say; keeps `room` of them back until the next is handed out."""

    def __init__(self, ends: Callable[[Work], Outcome], room: int = 1) -> None:
        self.ends, self.room = ends, room
        self.held: list[tuple[Work, Callable[[Outcome], None]]] = []
        self.begun: list[tuple[str, int]] = []
        self.most, self.stopped, self.lost = 0, False, ""

    def slots(self) -> int:
        return self.room

    def begin(self, work: Work, done: Callable[[Outcome], None]) -> None:
        self.begun.append((work.name, work.attempt))
        self.held.append((work, done))
        self.most = max(self.most, len(self.held))
        if len(self.held) >= self.room:
            case, first = self.held.pop(0)
            first(self.ends(case))

    def trouble(self) -> str:
        return self.lost

    def stop(self) -> None:
        self.stopped = True
        for _, done in self.held:
            done(Outcome(STOPPED))
        self.held.clear()


def test_what_fails_is_tried_again_after_the_others_and_then_told(tmp_path: Path) -> None:
    def ends(case: Work) -> Outcome:
        if case.name == "late" and case.attempt == 3:
            return Outcome(DONE, verdict="ok")
        kinds = {"late": DIED, "never": DIED, "refused": INPUT}
        return Outcome(kinds.get(case.name, DONE), "why", "log", verdict="check")

    executor, events = Played(ends), list[Event]()
    names = ("late", "refused", "never", "fine")
    tally = run_all(map(work, names), executor, tmp_path, retries=2, told=events.append)
    assert executor.begun[:4] == [(name, 1) for name in names]
    assert sorted(executor.begun[4:]) == [("late", 2), ("late", 3), ("never", 2), ("never", 3)]
    assert (tally.counts["done"], tally.counts["failed"], dict(tally.verdicts)) == (2, 2, {"check": 1, "ok": 1})
    assert [event.kind for event in events if event.work.name == "refused"] == ["begun", "failed"]
    assert sorted(path.stem for path in (tmp_path / "failures").iterdir()) == ["never", "refused"]
    failure = json.loads((tmp_path / "failures" / "never.json").read_text(encoding="utf-8"))
    assert (failure["attempts"], failure["reason"], failure["log"], failure["row"]) == (3, "why", "log", 2)


def test_why_a_case_failed_names_no_folder(tmp_path: Path) -> None:
    scan = tmp_path / "Doe^Jane" / "series"
    scan.mkdir(parents=True)
    files = {"fixed": str(scan), "moving_labels": str(tmp_path / "Doe^Jane" / "labels.nii.gz")}
    told = Outcome(INPUT, f"{files['moving_labels']} does not fit {scan}.", f"reading {scan}\n")
    named = replace(work("a"), case={**work("a").case, "files": files})
    run_all([named], Played(lambda _: told), tmp_path / "out")
    failure = json.loads((tmp_path / "out" / "failures" / "a.json").read_text(encoding="utf-8"))
    assert failure["reason"] == "labels.nii.gz does not fit the folder of fixed."
    assert failure["log"] == "reading the folder of fixed\n"


def test_a_case_that_has_a_result_has_no_failure_left(tmp_path: Path) -> None:
    run_all([work("a")], Played(lambda _: Outcome(INPUT, "why")), tmp_path)
    assert (tmp_path / "failures" / "a.json").exists()
    run_all([work("a")], Played(lambda _: Outcome(DONE, verdict="ok")), tmp_path)
    assert not (tmp_path / "failures" / "a.json").exists()


def test_cases_are_taken_as_there_is_room_for_them(tmp_path: Path) -> None:
    taken = 0

    def many() -> object:
        nonlocal taken
        for number in range(1000):
            taken += 1
            yield work(f"{number}")

    executor = Played(lambda _: Outcome(DONE, verdict="ok"), room=1)
    ahead = []
    run_all(
        many(),  # type: ignore[arg-type]  # a generator
        executor,
        tmp_path,
        told=lambda event: ahead.append(taken - int(event.work.name)) if event.kind == DONE else None,
    )
    assert len(executor.begun) == 1000
    assert max(ahead) <= 2


def test_a_run_that_is_stopped_ends_what_runs_and_begins_nothing(tmp_path: Path) -> None:
    executor = Played(lambda _: Outcome(DONE, verdict="ok"), room=3)
    events = list[Event]()
    tally = run_all(map(work, "abcdef"), executor, tmp_path, told=events.append, stopped=lambda: len(events) >= 5)
    assert executor.stopped
    assert tally.counts["done"] + tally.counts["stopped"] == len(executor.begun) < 6
    assert not (tmp_path / "failures").exists()


def test_a_full_disk_ends_the_run_and_is_told(tmp_path: Path) -> None:
    executor = Played(lambda case: Outcome(DISK if case.name == "b" else DONE, "The disk holding x is full."))
    tally = run_all(map(work, "abcdef"), executor, tmp_path)
    assert (executor.begun[-1][0], tally.disk_full) == ("b", "The disk holding x is full.")


def test_a_run_that_no_worker_can_go_on_with_ends_and_says_why(tmp_path: Path) -> None:
    executor = Played(lambda _: Outcome(DONE, verdict="ok"), room=3)

    def lose(event: Event) -> None:
        if event.kind == DONE:
            executor.lost = "The jobs ended."

    tally = run_all(map(work, "abcdef"), executor, tmp_path, told=lose)
    assert (tally.trouble, executor.stopped, len(executor.begun) < 6) == ("The jobs ended.", True, True)
    assert not (tmp_path / "failures").exists()


def test_a_worker_that_has_to_leave_is_not_held_against_its_case_unless_that_never_ends(tmp_path: Path) -> None:
    executor = Played(lambda case: Outcome(DONE if case.name == "long" and case.attempt == 3 else LEFT, "left"))
    tally = run_all([work("long"), work("endless")], executor, tmp_path, retries=0)
    assert (tally.counts["done"], tally.counts["failed"]) == (1, 1)
    assert max(attempt for name, attempt in executor.begun if name == "endless") == 4
