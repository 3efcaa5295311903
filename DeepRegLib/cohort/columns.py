"""What a table of cases may say: for each command its scans and those of its options that a row can give."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from DeepRegLib.files.output_folder import RESULT
from DeepRegLib.series.names import SERIES_JSON

PATH, TEXT, FLAG, NAME_OR_PATH = "path", "text", "flag", "name or path"
YES, NO = ("yes", "true", "1", "x"), ("no", "false", "0", "")
CASE = "case"


@dataclass(frozen=True)
class Command:
    """A command of `deepreg`, as far as a table can call it.

    Parameters
    ----------
    scans
        Its arguments, in their order; each is a column that every row fills.
    options
        Kind of value by column. What chooses a program or a place to write (`--engine`, `--output`) is not among them.
    result
        File that makes its folder whole.
    """

    scans: tuple[str, ...]
    options: Mapping[str, str]
    result: str = RESULT


COMMANDS: Mapping[str, Command] = {
    "register": Command(
        ("fixed", "moving"),
        {
            "recipe": NAME_OR_PATH,
            "model": NAME_OR_PATH,
            "uncertainty": FLAG,
            "explain": FLAG,
            "fixed_mask": PATH,
            "moving_mask": PATH,
            "sliding_mask": PATH,
            "rigid_labels": PATH,
            "fixed_landmarks": PATH,
            "moving_landmarks": PATH,
            "initial_transform": PATH,
            "moving_labels": PATH,
            "fixed_labels": PATH,
            "background": TEXT,
            "device": TEXT,
            "seed": TEXT,
            "name": TEXT,
            "moving_dose": PATH,
            "dicom": FLAG,
            "dicom_root": TEXT,
            "viewer": FLAG,
        },
    ),
    "segment": Command(
        ("scan",),
        {
            "atlas": PATH,
            "model": NAME_OR_PATH,
            "mirror": FLAG,
            "fusion": TEXT,
            "recipe": NAME_OR_PATH,
            "device": TEXT,
            "seed": TEXT,
        },
    ),
    "series": Command(
        ("frames",),
        {
            "reference": TEXT,
            "recipe": NAME_OR_PATH,
            "smoothing": TEXT,
            "cyclic": FLAG,
            "labels": PATH,
            "device": TEXT,
            "seed": TEXT,
        },
        SERIES_JSON,
    ),
}


def command_of(columns: frozenset[str]) -> str | None:
    """Return the command whose scans are among the columns; None if there is none, or more than one."""
    fitting = [name for name, command in COMMANDS.items() if columns.issuperset(command.scans)]
    return fitting[0] if len(fitting) == 1 else None


def kind_of(command: str, column: str) -> str:
    """Return what the values of a column are."""
    return PATH if column in COMMANDS[command].scans else COMMANDS[command].options[column]


def normal(column: str) -> str:
    """Return a column's name as the table here has it: `Fixed-Mask` and `--fixed-mask` are `fixed_mask`."""
    return column.strip().lstrip("-").lower().replace("-", "_").replace(" ", "_")
