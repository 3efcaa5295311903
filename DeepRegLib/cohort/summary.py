"""What is written when a run ends: the table, the report, where the run came from, and BIDS derivatives."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path

from DeepRegLib.cohort.bids import DESCRIPTION, MAKER, description
from DeepRegLib.cohort.manifest import Manifest
from DeepRegLib.cohort.page import page_of
from DeepRegLib.cohort.plan import Plan
from DeepRegLib.cohort.record import LARGEST_RECORD, folder_of
from DeepRegLib.cohort.table import DONE, FIRST_COLUMNS, TABLE, Line, as_csv, lines_of
from DeepRegLib.errors import InputError, OutputError
from DeepRegLib.files import make_folder, output_error, write_text
from DeepRegLib.files.json_tables import json_table
from DeepRegLib.files.output_folder import is_same_file
from DeepRegLib.files.workplace import NEW, workplace
from DeepRegLib.naming import shown
from DeepRegLib.saving import json_text
from DeepRegLib.versions import versions

PAGE, RUN = "cohort.html", "cohort.json"
OF_BIDS = "derivatives/deepreg"
LONGEST_HEAD = 100_000  # characters


def check_summary(output: Path, table: Path | None, root: Path | None) -> None:
    """Make sure, before anything runs, that what is written at the end replaces nothing but an earlier summary.

    Parameters
    ----------
    output
        The folder of the cohort; it need not be there.
    table
        The table that the cases come from.
    root
        Of the BIDS data set that they come from.

    Raises
    ------
    InputError
        If the table of cases would be replaced, a file that no cohort has written, or one of the data set's.
    """
    if root is not None and output.resolve() == root.resolve():
        raise InputError(
            f"{shown(output)} is the data set itself.", f"Choose a folder for derivatives, such as {OF_BIDS}."
        )
    if table is not None:
        for name in (TABLE, RUN, PAGE):
            if is_same_file(output / name, table):
                raise InputError(
                    f"{shown(table)} is the table of cases, and that of the results would replace it.",
                    "Choose another output folder, or give the table another name.",
                )
    names = [name for name, is_ours in _ours(root).items() if (output / name).exists() and not is_ours(output)]
    if names:
        raise InputError(
            f"{shown(output / names[0])} was not written by deepreg cohort, and would be replaced.",
            "Choose another output folder, or move it elsewhere.",
        )


def _ours(root: Path | None) -> dict[str, Callable[[Path], bool]]:
    """Return the files of a summary, each with what tells whether that of a folder is one of an earlier cohort."""
    known: dict[str, Callable[[Path], bool]] = {TABLE: _has_our_table, RUN: _has_our_run, PAGE: _has_our_run}
    if root is not None:
        known[DESCRIPTION] = _has_our_description
    return known


def _has_our_table(folder: Path) -> bool:
    try:
        with (folder / TABLE).open(encoding="utf-8", newline="") as stream:
            return stream.readline(LONGEST_HEAD).startswith(",".join(FIRST_COLUMNS))
    except (OSError, ValueError):
        return False


def _has_our_run(folder: Path) -> bool:
    # The page is written after the record of the run, so that it never lies there alone.
    return {"schema", "cases", "Coordinator"} <= (json_table(folder / RUN, LARGEST_RECORD) or {}).keys()


def _has_our_description(folder: Path) -> bool:
    makers = (json_table(folder / DESCRIPTION, LARGEST_RECORD) or {}).get("GeneratedBy")
    return isinstance(makers, list) and [isinstance(each, dict) and each.get("Name") for each in makers] == [MAKER]


def write_summary(manifest: Manifest, plan: Plan, output: Path, about: Mapping[str, str]) -> list[Line]:
    """Write the table of all cases, the report and the record of the run into the folder of the cohort.

    Parameters
    ----------
    manifest, plan
        The cases, and what was found wrong with rows.
    output
        The folder.
    about
        What is said of the run: by name, in some words.

    Returns
    -------
    list of Line
        What the table says.

    Raises
    ------
    OutputError
        If they cannot be written.
    DeepRegError
        If jinja2 is missing; the table is written then.
    """
    lines = lines_of(manifest, plan, output)
    write_text(output / TABLE, as_csv(lines))
    told = dict(about) | {
        "Ended": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "Coordinator": platform.node(),
        "Versions": ", ".join(f"{name} {version}" for name, version in versions().items()),
    }
    counts = {"cases": Counter(line.status for line in lines), "verdicts": Counter(filter(None, _verdicts(lines)))}
    write_text(output / RUN, json_text({"schema": 1, **told, **counts}))
    write_text(output / PAGE, page_of(lines, output, told))
    return lines


def write_derivatives(manifest: Manifest, lines: list[Line], output: Path, root: Path, version: str) -> int:
    """Give the results of a BIDS data set the names that fMRIPrep gives them, as links to the same files.

    Returns
    -------
    int
        How many cases have them.

    Raises
    ------
    OutputError
        If they cannot be written.
    """
    done = {line.case for line in lines if line.status == DONE}
    cases = [case for case in manifest.cases if case.bids and case.name in done]
    for case in cases:
        for name, place in case.bids.items():
            source = folder_of(output, case.name) / name
            if source.is_file():
                _link(source, output / place)
    write_text(output / DESCRIPTION, json_text(description(str(root), version)))
    return len(cases)


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or where the drive has no links a copy; whole or not at all."""
    make_folder(target.parent)
    try:
        with contextlib.suppress(OSError):
            if target.samefile(source):
                return
        with workplace(target.parent) as work:
            made = work / NEW / target.name
            try:
                os.link(source, made)
            except OSError:
                shutil.copyfile(source, made)
            made.replace(target)
    except OutputError:
        raise
    except OSError as error:
        raise output_error(target, error) from error


def _verdicts(lines: list[Line]) -> list[str]:
    return [line.verdict for line in lines]
