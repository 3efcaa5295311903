"""Which cases run, which are done already, and which cannot: decided before anything computes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from DeepRegLib.cohort.cases import Case, Problem
from DeepRegLib.cohort.checking import Checked, check_cases, named_wrongly
from DeepRegLib.cohort.fingerprint import Fingerprint, difference, fingerprint_by_case
from DeepRegLib.cohort.manifest import Manifest
from DeepRegLib.cohort.record import failure_file, folder_of, record_of
from DeepRegLib.cohort.work import Limits, Work

NEW, FAILED_BEFORE = "it is new", "it failed before"


@dataclass(frozen=True)
class Planned:
    """A case that is to run.

    Parameters
    ----------
    work
        What is handed out.
    why
        Why it is to run, in some words.
    voxels
        Of its first scan, if its header tells.
    """

    work: Work
    why: str
    voxels: int | None


@dataclass(frozen=True)
class Known:
    """A case that is done: what its record says of how long it took and what it needed."""

    name: str
    seconds: float
    size: int
    memory: int
    voxels: int


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    Parameters
    ----------
    todo
        In the order of the table.
    done
        Cases that have their result.
    problems
        Rows that cannot run, by row.
    warnings
        What is unusual of rows that do run, by row.
    """

    todo: tuple[Planned, ...]
    done: tuple[Known, ...]
    problems: tuple[Problem, ...]
    warnings: tuple[Problem, ...]


@dataclass(frozen=True)
class Choice:
    """Which of the cases are asked for, and how.

    Parameters
    ----------
    only_failed
        Only those that failed before, or whose verdict is failed.
    instead
        Recipe for these in place of their own; None for their own.
    limits
        Of every case.
    """

    only_failed: bool = False
    instead: str | None = None
    limits: Limits = field(default_factory=Limits)


def plan_of(
    manifest: Manifest,
    output: Path,
    versions: Mapping[str, str],
    choice: Choice,
    *,
    told: Callable[[], None] | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Plan:
    """Compare a table with what lies in a folder, and look at every case that is to run.

    Parameters
    ----------
    manifest
        The cases.
    output
        Folder of the cohort; nothing is written.
    versions
        Of this installation, see `DeepRegLib.versions.versions`.
    choice
        Which cases.
    told
        Called after each case that was looked at.
    stopped
        Polled; once it is true, the others are left out.
    """
    problems = [*manifest.problems, *named_wrongly(manifest.cases)]
    # Two rows may have a name that is nobody's then; by row they are told apart.
    refused = {problem.row for problem in problems}
    cases = [case for case in manifest.cases if case.row not in refused]
    wanted = fingerprint_by_case(cases, versions)
    todo: list[tuple[Case, Fingerprint, str, tuple[str, ...]]] = []
    done: list[Known] = []
    for case in cases:
        own = wanted[case.name]
        if isinstance(own, str):
            problems.append(Problem(case.row, case.name, own))
            continue
        record = record_of(folder_of(output, case.name))
        why = _why(case, own, record, output, choice)
        if not why:
            if record is not None:
                done.append(_known(case.name, record))
            continue
        todo.append((case, own, why, ()))
    if choice.instead is not None:
        todo = _with_other_recipe(todo, choice.instead, versions, problems)
    checked = check_cases([case for case, *_ in todo], told=told, stopped=stopped)
    problems += [
        Problem(case.row, case.name, found.problem)
        for case, *_ in todo
        if (found := checked.get(case.name)) is not None and found.problem
    ]
    planned = [
        Planned(_work(case, own, output, choice.limits, stands_in), why, checked[case.name].voxels)
        for case, own, why, stands_in in todo
        if case.name in checked and not checked[case.name].problem
    ]
    return Plan(tuple(planned), tuple(done), _by_row(problems), _by_row(_warnings(todo, checked)))


def _why(case: Case, wanted: Fingerprint, record: Mapping[str, object] | None, output: Path, choice: Choice) -> str:
    """Return why a case is to run; "" if it is not."""
    failed = failure_file(output, case.name).is_file()
    if choice.only_failed:
        if failed and record is None:
            return FAILED_BEFORE
        return "its verdict is failed" if record is not None and record.get("verdict") == "failed" else ""
    if record is None:
        return FAILED_BEFORE if failed else NEW
    return difference(record, wanted, case.files)


def _with_other_recipe(
    todo: Sequence[tuple[Case, Fingerprint, str, tuple[str, ...]]],
    recipe: str,
    versions: Mapping[str, str],
    problems: list[Problem],
) -> list[tuple[Case, Fingerprint, str, tuple[str, ...]]]:
    """Return the cases with another recipe; their results stand in for those of their own one."""
    others = [replace(case, values={**case.values, "recipe": recipe}) for case, *_ in todo]
    wanted = fingerprint_by_case(others, versions)
    found: list[tuple[Case, Fingerprint, str, tuple[str, ...]]] = []
    for (_, own, why, _), other in zip(todo, others, strict=True):
        new = wanted[other.name]
        if isinstance(new, str):
            problems.append(Problem(other.row, other.name, new))
        else:
            found.append((other, new, why, (own.recipe,)))
    return found


def _work(case: Case, wanted: Fingerprint, output: Path, limits: Limits, stands_in: tuple[str, ...]) -> Work:
    folder = os.path.abspath(folder_of(output, case.name))  # noqa: PTH100  # links in it are kept
    # Their values are plain already; `asdict` would copy them all, for thousands of rows.
    return Work(dict(vars(case)), folder, dict(vars(wanted)), stands_in, limits)


def _known(name: str, record: Mapping[str, object]) -> Known:
    def number(key: str) -> float:
        value = record.get(key)
        return float(value) if isinstance(value, int | float) else 0.0

    return Known(name, number("seconds"), *(int(number(key)) for key in ("size", "memory", "voxels")))


def _warnings(
    todo: Sequence[tuple[Case, Fingerprint, str, tuple[str, ...]]], checked: Mapping[str, Checked]
) -> list[Problem]:
    return [
        Problem(case.row, case.name, checked[case.name].warning)
        for case, *_ in todo
        if case.name in checked and checked[case.name].warning
    ]


def _by_row(problems: Sequence[Problem]) -> tuple[Problem, ...]:
    return tuple(sorted(problems, key=lambda problem: problem.row))
