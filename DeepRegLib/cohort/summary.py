"""What is written when a run ends: the table, the report, where the run came from, and BIDS derivatives."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path

from DeepRegLib.cohort.bids import DESCRIPTION, description
from DeepRegLib.cohort.manifest import Manifest
from DeepRegLib.cohort.page import page_of
from DeepRegLib.cohort.plan import Plan
from DeepRegLib.cohort.record import folder_of
from DeepRegLib.cohort.table import DONE, TABLE, Line, as_csv, lines_of
from DeepRegLib.errors import OutputError
from DeepRegLib.files import make_folder, output_error, write_text
from DeepRegLib.files.workplace import NEW, workplace
from DeepRegLib.saving import json_text
from DeepRegLib.versions import versions

PAGE, RUN = "cohort.html", "cohort.json"


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
