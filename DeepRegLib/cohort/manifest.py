"""A table of cases read from a CSV file: one row a case, columns named as the options of the command."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from DeepRegLib.cohort.cases import Case, Problem, name_from
from DeepRegLib.cohort.columns import (
    CASE,
    COMMANDS,
    FLAG,
    NAME_OR_PATH,
    NO,
    TEXT,
    YES,
    command_of,
    kind_of,
    normal,
)
from DeepRegLib.errors import InputError
from DeepRegLib.guarding import guarded, in_one_line, is_there
from DeepRegLib.naming import shown
from DeepRegLib.recipes import recipe_names

LARGEST_TABLE = 256 << 20
DELIMITERS = ",;\t"


@dataclass(frozen=True)
class Manifest:
    """The cases that can be named, and the rows that cannot be one."""

    command: str
    cases: tuple[Case, ...]
    problems: tuple[Problem, ...]


def read_manifest(path: str | Path, defaults: Mapping[str, str | None]) -> Manifest:
    """Read a table of cases.

    Parameters
    ----------
    path
        A CSV file in UTF-8, separated by commas, semicolons or tabs. Its paths are relative to its own folder. The
        column `case` names the case; without it the scans' names do.
    defaults
        Values of columns for the rows that give none, of those that the command has; paths relative to where we are.

    Raises
    ------
    InputError
        If it is no such table: a column is unknown or given twice, or the columns fit no command.
    """
    source = Path(path)
    with guarded(source, "Save the table as CSV in UTF-8."):
        if source.stat().st_size > LARGEST_TABLE:
            raise InputError(f"{shown(source)} has {source.stat().st_size >> 20} MB.", "Give a table of cases.")
        text = source.read_text(encoding="utf-8-sig")
        heading = text.split("\n", 1)[0]
        delimiter = max(DELIMITERS, key=heading.count)
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True))
    if not lines:
        raise InputError(f"{shown(source)} is empty.", "Give a heading and a row a case.")
    columns = [normal(column) for column in lines[0]]
    command = _command(columns, source)
    return manifest_of(command, columns, lines[1:], source.absolute().parent, default_values(command, defaults))


def manifest_of(
    command: str, columns: Sequence[str], rows: Sequence[Sequence[str]], folder: Path, defaults: Mapping[str, str]
) -> Manifest:
    """Make cases of the cells of a table; rows that are empty throughout are passed over."""
    cases, problems = [], []
    for number, cells in enumerate(rows, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(columns):
            problems.append(
                Problem(
                    number,
                    "",
                    f"The row has {len(cells)} cells and the heading {len(columns)}. "
                    "Put a cell with a comma in it in double quotes.",
                )
            )
            continue
        given = {c: cell.strip() for c, cell in zip(columns, cells, strict=True) if cell.strip()}
        name, wrong = _named(given, command), _wrong_cells(given, command)
        missing = [scan for scan in COMMANDS[command].scans if scan not in given]
        if missing:
            wrong.append(f"The cell {' and '.join(missing)} is empty.")
        if wrong:
            problems.append(Problem(number, name, " ".join(wrong)))
            continue
        values = dict(defaults) | {c: _value(command, c, v, folder) for c, v in given.items() if c != CASE}
        cases.append(Case(name, number, command, values, {}))
    return Manifest(command, tuple(cases), tuple(problems))


def default_values(command: str, given: Mapping[str, str | None]) -> dict[str, str]:
    """Return what is said for all rows at once, of the columns that the command has; paths made absolute."""
    known = COMMANDS[command].options
    return {c: _value(command, c, v, Path.cwd()) for c, v in given.items() if v and c in known}


def _command(columns: Sequence[str], source: Path) -> str:
    command = command_of(frozenset(columns))
    if command is None:
        ways = "; or ".join(f"{' and '.join(known.scans)} for {name}" for name, known in COMMANDS.items())
        raise InputError(
            f"{shown(source)} has the columns {in_one_line(', '.join(columns), 200)}.", f"Give the columns {ways}."
        )
    allowed = {CASE, *COMMANDS[command].scans, *COMMANDS[command].options}
    unknown = [column for column in columns if column not in allowed]
    if unknown:
        raise InputError(
            f"The column {in_one_line(unknown[0], 60)!r} of {shown(source)} is unknown.",
            f"Use {', '.join(sorted(allowed))}.",
        )
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        raise InputError(f"The column {twice[0]} of {shown(source)} is there twice.", "Leave one out.")
    return command


def _named(given: Mapping[str, str], command: str) -> str:
    return given.get(CASE) or name_from(*(given.get(scan, "") for scan in COMMANDS[command].scans))


def _wrong_cells(given: Mapping[str, str], command: str) -> list[str]:
    wrong = []
    for column, value in given.items():
        if "\x00" in value or "\n" in value or "\r" in value:
            wrong.append(f"The cell {column} holds a line break.")
        elif column != CASE and kind_of(command, column) == FLAG and value.lower() not in (*YES, *NO):
            wrong.append(f"The cell {column} is {in_one_line(value, 40)!r}. Write yes or no.")
    return wrong


def _value(command: str, column: str, value: str, folder: Path) -> str:
    """Return a value as the command takes it from anywhere: paths absolute, yes and no in one spelling."""
    kind = kind_of(command, column)
    if kind == FLAG:
        return YES[0] if value.lower() in YES else ""
    if kind == TEXT:
        return value
    path = Path(value).expanduser()
    absolute = path if path.is_absolute() else folder / path
    # A name is one unless something lies there; a shipped recipe is never hidden by a file of its name.
    if kind == NAME_OR_PATH and (value in recipe_names() or not is_there(absolute)):
        return value
    return str(absolute)
