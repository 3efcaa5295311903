"""A case: one row, its command and its values; and what a case may be called."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from DeepRegLib.cohort.columns import COMMANDS, FLAG, NAME_OR_PATH, PATH, YES, kind_of

LONGEST_NAME = 120
UNUSABLE = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]')
RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)
ENDINGS = re.compile(r"\.(nii|nii\.gz|nrrd|nhdr|mha|mhd|hdr|img|tiff?|dcm|mgz|mgh|gz)$", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    """One row of a table.

    Parameters
    ----------
    name
        Of its folder.
    row
        Where it stands, counted as a spreadsheet does: the heading is row 1. Where there is no table, from 1.
    command
        One of `COMMANDS`.
    values
        By column; paths are absolute, empty values are left out.
    bids
        What a BIDS data set calls the result: entities of both scans, see `DeepRegLib.cohort.bids`; {} without one.
    """

    name: str
    row: int
    command: str
    values: Mapping[str, str]
    bids: Mapping[str, str]

    @property
    def files(self) -> dict[str, str]:
        """Every file or folder that the case reads, by column."""
        kinds = {column: kind_of(self.command, column) for column in self.values}
        return {
            column: value
            for column, value in self.values.items()
            if kinds[column] == PATH or (kinds[column] == NAME_OR_PATH and Path(value).is_absolute())
        }

    @property
    def settings(self) -> dict[str, str]:
        """Every other value, by column, but the recipe and the model, which count by what is in them."""
        files = self.files
        return {c: v for c, v in self.values.items() if c not in files and c not in ("recipe", "model")}


@dataclass(frozen=True)
class Problem:
    """Why a row cannot run.

    Parameters
    ----------
    row
        As of `Case`; 0 where it concerns no row.
    case
        Its name, "" if it has none.
    message
        What is wrong and what to do, as one sentence or two.
    """

    row: int
    case: str
    message: str


def words_of(case: Case, output: str) -> list[str]:
    """Return the words of the command line that runs a case into a folder.

    Options are written `--option=value`, and the scans stand behind `--`: no value is ever taken for an option.
    """
    command = COMMANDS[case.command]
    words = [case.command, f"--output={output}"]
    for column, kind in command.options.items():
        value = case.values.get(column, "")
        if not value:
            continue
        option = f"--{column.replace('_', '-')}"
        if kind == FLAG:
            words += [option] if value in YES else []
        else:
            words.append(f"{option}={value}")
    return [*words, "--", *(case.values[scan] for scan in command.scans)]


def name_problem(name: str) -> str:
    """Return why a folder cannot have this name on every system, as a sentence; "" if it can."""
    if not name:
        return "The case has no name. Give it one in the column case."
    if len(name.encode("utf-8", "replace")) > LONGEST_NAME:
        return f"The case's name has more than {LONGEST_NAME} bytes. Give it a shorter one in the column case."
    if UNUSABLE.search(name) or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        return f"The case's name {name!r} holds a character that folders cannot have. Leave it out."
    if name.startswith((".", "-", " ")) or name.endswith((".", " ")) or RESERVED.fullmatch(name):
        return f"No folder can be called {name!r} on every system. Give the case another name."
    return ""


def same_folder(name: str) -> str:
    """Return the same text for names that are one folder on some system: by case, and by how accents are written."""
    return unicodedata.normalize("NFC", name).casefold()


def name_from(*paths: str) -> str:
    """Return a name for a case made from what its scans are called, with the folders that tell them apart."""
    parts = [ENDINGS.sub("", ENDINGS.sub("", path)).strip("/").replace("/", "_") for path in paths]
    name = UNUSABLE.sub("_", "_to_".join(reversed(parts))).strip(" .-") or "case"
    if len(name.encode()) <= LONGEST_NAME:
        return name
    tail = hashlib.sha256(name.encode()).hexdigest()[:10]
    kept = name.encode()[: LONGEST_NAME - len(tail) - 1].decode(errors="ignore")
    return f"{kept}_{tail}"
