"""The folder of a case, reserved and filled as a whole, for results that are files and those that hold folders."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from DeepRegLib.cohort.cases import Case
from DeepRegLib.cohort.columns import COMMANDS
from DeepRegLib.cohort.record import is_case_file
from DeepRegLib.errors import InputError
from DeepRegLib.files import make_folder
from DeepRegLib.files.output_folder import RESULT, reserved_folder, reserving
from DeepRegLib.files.workplace import NEW, workplace
from DeepRegLib.files.writing import errors_naming, rename_folder

EARLIER = "earlier"


class CaseFolder(Protocol):
    """A folder that one run has for itself; what it writes appears as a whole."""

    def write(self, write: Callable[[Path], Sequence[str]]) -> list[str]:
        """Let `write` put files into an empty hidden folder, and return the names it returns."""

    def commit(self, names: Sequence[str]) -> Path:
        """Give them their place, and remove an earlier result."""


@contextmanager
def reserved_case(folder: Path, case: Case) -> Iterator[CaseFolder]:
    """Reserve the folder of a case; another run that wants it meanwhile is refused.

    Raises
    ------
    InputError
        If the result would replace a file that the case reads.
    OutputError
        If it cannot be written, or another run has it.
    """
    if COMMANDS[case.command].result == RESULT:
        with reserved_folder(folder, is_case_file, overwrite=True, inputs=case.files.values()) as place:
            yield place
        return
    home = Path(os.path.realpath(folder))
    for path in case.files.values():
        if Path(os.path.realpath(path)).is_relative_to(home):
            raise InputError(f"{path} lies in the folder of the result.", "Choose another output folder.")
    make_folder(folder.parent)
    with reserving(folder), errors_naming(folder), workplace(folder.parent, folder.name) as work:
        yield _WholeFolder(folder, work)


@dataclass(frozen=True)
class _WholeFolder:
    """A result that holds folders takes the place of an earlier one by two renames; between them there is none."""

    folder: Path
    work: Path

    def write(self, write: Callable[[Path], Sequence[str]]) -> list[str]:
        return list(write(self.work / NEW))

    def commit(self, names: Sequence[str]) -> Path:
        del names  # all that was written
        if self.folder.exists():
            for path in self.folder.iterdir():
                if not is_case_file(path.name):  # somebody else's
                    path.rename(self.work / NEW / path.name)
            self.folder.rename(self.work / EARLIER)
        rename_folder(self.work / NEW, self.folder)
        return self.folder
