"""What is written when a run ends: the table of all cases, and where the run came from."""

from __future__ import annotations

from pathlib import Path

from DeepRegLib.cohort.manifest import Manifest
from DeepRegLib.cohort.plan import Plan
from DeepRegLib.cohort.table import TABLE, Line, as_csv, lines_of
from DeepRegLib.files import write_text


def write_summary(manifest: Manifest, plan: Plan, output: Path) -> list[Line]:
    """Write the table of all cases into the folder of the cohort, and return its lines.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    lines = lines_of(manifest, plan, output)
    write_text(output / TABLE, as_csv(lines))
    return lines
