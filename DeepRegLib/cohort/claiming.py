"""One coordinator a folder, and the description of its run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from DeepRegLib.cohort.record import CASES
from DeepRegLib.errors import InputError, OutputError
from DeepRegLib.files import make_folder
from DeepRegLib.files.workplace import remove_abandoned, workplace
from DeepRegLib.naming import shown

KEY = "cohort"


@contextmanager
def claimed(output: Path) -> Iterator[None]:
    """Have a cohort's folder for oneself; it is made with its parents.

    What processes left behind that died while they made a case is removed; those that live keep theirs.

    Raises
    ------
    InputError
        If it is a file.
    OutputError
        If another coordinator has it, or it cannot be made.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{shown(output)} is a file, not a folder.", "Choose another output folder.")
    make_folder(output)
    make_folder(output / CASES)
    try:
        with workplace(output, KEY):
            remove_abandoned(output / CASES)
            yield
            remove_abandoned(output / CASES)
    except OutputError as error:
        if error.message.startswith("Another run is writing there"):
            raise OutputError(
                f"Another run of this cohort writes to {shown(output)}.", "Wait for it, stop it, or choose another -o."
            ) from error
        raise
