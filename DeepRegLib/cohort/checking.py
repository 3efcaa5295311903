"""What can be seen of a case before it runs: its files, their headers, and whether both scans are of one patient."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from DeepRegLib.cohort.cases import Case, Problem, name_problem, same_folder
from DeepRegLib.cohort.columns import COMMANDS
from DeepRegLib.errors import DeepRegError
from DeepRegLib.guarding import in_one_line
from DeepRegLib.image.reading import sizes_in_header
from DeepRegLib.naming import shown

# Headers lie on network drives more often than not, and are waited for.
AT_ONCE = 8
SUBJECT = re.compile(r"(?:^|[/\\_])sub-([A-Za-z0-9]+)")
NOT_ENOUGH = "A case of deepreg segment needs a cell atlas or model, or --model for all rows."


@dataclass(frozen=True)
class Checked:
    """A case that was looked at.

    Parameters
    ----------
    problem
        Why it cannot run; "" if nothing was found.
    warning
        What is unusual; "" if nothing.
    voxels
        Of its first scan; None where only reading it would tell.
    """

    problem: str
    warning: str
    voxels: int | None


def named_wrongly(cases: Iterable[Case]) -> list[Problem]:
    """Return the cases that cannot have a folder of their own: each of several that would share one is among them."""
    known: dict[str, list[Case]] = {}
    problems = []
    for case in cases:
        wrong = name_problem(case.name)
        if wrong:
            problems.append(Problem(case.row, case.name, wrong))
        else:
            known.setdefault(same_folder(case.name), []).append(case)
    for several in known.values():
        if len(several) > 1:
            rows = ", ".join(str(case.row) for case in several)
            for case in several:
                message = f"The rows {rows} have the same name {case.name!r}. Give each its own in the column case."
                problems.append(Problem(case.row, case.name, message))
    return problems


def check_cases(
    cases: Iterable[Case], *, told: Callable[[], None] | None = None, stopped: Callable[[], bool] = lambda: False
) -> dict[str, Checked]:
    """Look at every case; return what was found by name.

    Parameters
    ----------
    cases
        To look at.
    told
        Called after each.
    stopped
        Polled; once it is true, the others are not looked at.
    """
    found: dict[str, Checked] = {}
    with ThreadPoolExecutor(AT_ONCE) as pool:
        listed = list(cases)
        for begin in range(0, len(listed), 64 * AT_ONCE):
            if stopped():
                break
            part = listed[begin : begin + 64 * AT_ONCE]
            for case, checked in zip(part, pool.map(check_case, part), strict=True):
                found[case.name] = checked
                if told is not None:
                    told()
    return found


def check_case(case: Case) -> Checked:
    """Look at one case: every file is there, the scans' headers can be read, both are of one patient."""
    if case.command == "segment" and not case.values.get("atlas") and not case.values.get("model"):
        return Checked(NOT_ENOUGH, "", None)
    wrong = [text for column, path in case.files.items() if (text := _missing(column, path))]
    voxels = None
    if not wrong:
        for scan in reversed(COMMANDS[case.command].scans):
            try:
                sizes = sizes_in_header(case.values[scan])
            except DeepRegError as error:
                wrong.append(in_one_line(str(error)))
                continue
            voxels = math.prod(sizes) if sizes else None
    return Checked(" ".join(wrong), "" if wrong else other_patients(case), voxels)


def other_patients(case: Case) -> str:
    """Say that the scans of a case are of different patients, by what BIDS names or DICOM files say; "" if not."""
    scans = [case.values[scan] for scan in COMMANDS[case.command].scans]
    for words, of in (("the folders are named", _subject), ("their DICOM files say", _patient)):
        known = {patient for scan in scans if (patient := of(scan))}
        if len(known) > 1:
            return f"The scans are of different patients, as {words}. Nothing is wrong if that is meant."
    return ""


def _missing(column: str, path: str) -> str:
    try:
        if Path(path).exists():
            return ""
    except (OSError, ValueError) as error:
        return f"The file of {column} cannot be seen: {error}."
    return f"The file of {column}, {in_one_line(shown(path))}, does not exist."


def _subject(path: str) -> str:
    found = SUBJECT.findall(path)
    return found[-1] if found else ""


def _patient(path: str) -> str:
    """Return the patient of a DICOM series; "" if it is none, or pydicom is missing. It is compared and never shown."""
    from DeepRegLib.dicom.reading import dataset_of, holds_dicom

    source = Path(path)
    try:
        if not source.is_dir() and source.suffix.lower() not in (".dcm", ""):
            return ""
        if not holds_dicom(source):
            return ""
        first = source if source.is_file() else next(file for file in sorted(source.rglob("*")) if file.is_file())
        return str(dataset_of(first, pixels=False).get("PatientID", ""))
    except Exception:  # noqa: BLE001  # a file that cannot be read is told when it is read
        return ""
