"""The table of all cases, `cohort.csv`: one line a row of the manifest, read from the folders alone."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DeepRegLib.cohort.cases import Case
from DeepRegLib.cohort.manifest import Manifest
from DeepRegLib.cohort.plan import Plan
from DeepRegLib.cohort.record import LARGEST_RECORD, THUMBNAIL, failure_file, folder_of, record_of
from DeepRegLib.cohort.work import MEGABYTE
from DeepRegLib.files.json_tables import json_table
from DeepRegLib.naming import without_paths

TABLE = "cohort.csv"
DONE, FAILED, MISSING, WRONG = "done", "failed", "missing", "wrong row"
FIRST_COLUMNS = ("case", "row", "status", "verdict", "reasons")
VERSIONS = ("deepreg", "python", "torch", "numpy", "SimpleITK")


@dataclass(frozen=True)
class Line:
    """What is known of one row of the manifest.

    Parameters
    ----------
    case, row
        Its name and where it stands; several rows that claim one name are lines of their own.
    status
        `DONE`, `FAILED` (there is no result), `MISSING` (it was not run) or `WRONG` (it cannot run).
    verdict
        Of the result; "" without one.
    reasons, warnings
        Of the verdict, or why there is no result.
    measures
        Every number measured, by name.
    seconds, memory
        It took, and its process needed (bytes); None if nobody knows.
    device, host, begun, attempts
        Where, when, and at which try.
    versions
        It was made with.
    folder
        Of its result, relative to that of the cohort; "" without one.
    thumbnail
        Whether there is one.
    """

    case: str
    row: int
    status: str
    verdict: str = ""
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    measures: Mapping[str, float] | None = None
    seconds: float | None = None
    memory: int | None = None
    device: str = ""
    host: str = ""
    begun: str = ""
    attempts: int | None = None
    versions: Mapping[str, str] | None = None
    folder: str = ""
    thumbnail: bool = False


def lines_of(manifest: Manifest, plan: Plan, output: Path) -> list[Line]:
    """Return a line for each row, in the order of the manifest.

    Parameters
    ----------
    manifest, plan
        The cases, and what was found wrong with rows.
    output
        Folder of the cohort.
    """
    wrong = {problem.row: problem for problem in plan.problems}
    # What a message names, it names without the folder, which may tell more of a patient than it should.
    lines = [
        Line(problem.case, problem.row, WRONG, reasons=(problem.message,))
        for problem in manifest.problems
        if problem.row not in {case.row for case in manifest.cases}
    ]
    for case in manifest.cases:
        if case.row in wrong:
            reason = without_paths(wrong[case.row].message, case.files)
            lines.append(Line(case.name, case.row, WRONG, reasons=(reason,)))
        else:
            lines.append(_line(case, output))
    return sorted(lines, key=lambda line: line.row)


def _line(case: Case, output: Path) -> Line:
    folder = folder_of(output, case.name)
    record = record_of(folder)
    if record is not None:
        return _done(case, record, folder)
    failure = json_table(failure_file(output, case.name), LARGEST_RECORD)
    if failure is None:
        return Line(case.name, case.row, MISSING)
    reason = without_paths(str(failure.get("reason", "")), case.files)
    return Line(
        case.name,
        case.row,
        FAILED,
        reasons=(reason,),
        seconds=_number(failure.get("seconds")),
        host=str(failure.get("host", "")),
        attempts=failure.get("attempts"),
        versions=failure.get("versions"),
    )


def _done(case: Case, record: Mapping[str, Any], folder: Path) -> Line:
    return Line(
        case.name,
        case.row,
        DONE,
        verdict=str(record.get("verdict", "")),
        reasons=tuple(map(str, record.get("reasons") or ())),
        warnings=tuple(map(str, record.get("warnings") or ())),
        measures={name: value for name, value in (record.get("measures") or {}).items() if _number(value) is not None},
        seconds=_number(record.get("seconds")),
        memory=record.get("memory"),
        device=str(record.get("device", "")),
        host=str(record.get("host", "")),
        begun=str(record.get("begun", "")),
        attempts=record.get("attempt"),
        versions=record.get("versions"),
        folder=f"{folder.parent.name}/{folder.name}",
        thumbnail=(folder / THUMBNAIL).is_file(),
    )


def as_csv(lines: Sequence[Line]) -> str:
    """Return the lines as CSV text; a measure that no case has is no column."""
    measures = list(dict.fromkeys(name for line in lines for name in line.measures or ()))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    last = ("seconds", "memory_mb", "device", "host", "begun")
    writer.writerow([*FIRST_COLUMNS, *measures, *last, "attempts", "warnings", *VERSIONS])
    for line in lines:
        own, versions = line.measures or {}, line.versions or {}
        writer.writerow(
            [line.case, line.row, line.status, line.verdict, " ".join(line.reasons)]
            + [_cell(own.get(name)) for name in measures]
            + [_cell(line.seconds), "" if line.memory is None else line.memory // MEGABYTE]
            + [line.device, line.host, line.begun, "" if line.attempts is None else line.attempts]
            + [" ".join(line.warnings), *(versions.get(name, "") for name in VERSIONS)]
        )
    return text.getvalue()


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
