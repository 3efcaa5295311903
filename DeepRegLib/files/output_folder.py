"""The folder of a result: reserved before anything is computed, and filled with all of its files or none."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from DeepRegLib.errors import InputError, OutputError
from DeepRegLib.files.json_tables import json_table
from DeepRegLib.files.workplace import NEW, exchange, workplace
from DeepRegLib.files.writing import check_name, errors_naming, make_folder, output_error, rename_folder

RESULT = "result.json"
DICOM = ".dcm"
LARGEST_RESULT = 100_000_000

# Of the name of a file, or "frames/file" and "frames/" for a folder of a result and what lies in it.
IsOurs = Callable[[str], bool]
Earlier = Callable[[Path, IsOurs], list[str]]


@dataclass(frozen=True)
class OutputFolder:
    """A folder that one run has for itself, from before it computes until its result lies there.

    Parameters
    ----------
    folder
        As it was given.
    work
        Hidden folder on the same disk.
    fresh
        Whether the folder was not there.
    overwrite
        Whether an earlier result in it may be replaced.
    is_ours
        Tells whether a file name is one that such a result may have.
    earlier
        Returns the names of the files of an earlier result in a folder, which go when another takes its place.
    """

    folder: Path
    work: Path
    fresh: bool
    overwrite: bool
    is_ours: IsOurs
    earlier: Earlier

    def require_room(self, needed: int) -> None:
        """Make sure that so many bytes fit on the disk.

        Raises
        ------
        OutputError
            If not.
        """
        _require_room(self.folder, self.work, needed)

    def write(self, write: Callable[[Path], Sequence[str]]) -> list[str]:
        """Let `write` put files into an empty hidden folder, and return the names it returns."""
        with errors_naming(self.folder):
            return list(write(self.work / NEW))

    def commit(self, names: Sequence[str]) -> Path:
        """Give the written files their names, in this order, and remove an earlier result: all or nothing.

        Raises
        ------
        InputError
            If files of these names appeared meanwhile and may not be replaced.
        OutputError
            If the files cannot be moved; an earlier result is whole then.
        """
        with errors_naming(self.folder):
            if self.fresh and not os.path.lexists(self.folder):
                rename_folder(self.work / NEW, self.folder.absolute())
                return self.folder
            if not self.overwrite:
                _refuse_existing(self.folder, [name for name in names if os.path.lexists(self.folder / name)])
            if not self.fresh:
                exchange(self.work, self.folder, names, self.earlier(self.folder, self.is_ours))
                return self.folder
            # Somebody has made the folder since.
            with workplace(self.folder, self.folder.name) as inner:
                (inner / NEW).rmdir()
                (self.work / NEW).rename(inner / NEW)
                exchange(inner, self.folder, names, self.earlier(self.folder, self.is_ours))
        return self.folder


@contextlib.contextmanager
def reserved_folder(
    directory: str | Path,
    is_ours: IsOurs,
    *,
    overwrite: bool = False,
    inputs: Iterable[str | Path] = (),
    needed: int = 0,
    earlier: Earlier | None = None,
) -> Iterator[OutputFolder]:
    """Reserve a folder for a result; a run that asks for the same one meanwhile is refused at once.

    Parameters
    ----------
    directory
        The folder; made with its parents where there is none, and removed again if no result is committed.
    is_ours
        Tells whether a file name is one that such a result may have. It is also asked for ``"frame_0001/"``, a folder,
        and where that is one, for the files in it, ``"frame_0001/transform.h5"``.
    overwrite
        Whether an earlier result in it may be replaced.
    inputs
        Files that the run reads, which must not be among those it replaces.
    needed
        Bytes that will be written.
    earlier
        Returns which files in a folder are those of an earlier result; by default those that its ``result.json`` lists.

    Raises
    ------
    InputError
        If it is a file, holds an earlier result and `overwrite` is false, or a file of it is an input.
    OutputError
        If it cannot be written, another run has it, or the disk has too little room.
    """
    folder = Path(directory)
    _check_folder(folder, is_ours, overwrite, list(inputs))
    fresh = not folder.exists()
    # Beside a new folder, to be renamed as a whole; inside an existing one, whose parent may not be ours to write.
    above = folder.absolute().parent if fresh else folder.absolute()
    made = _missing(above)
    try:
        with contextlib.ExitStack() as stack:
            with reserving(folder):
                make_folder(above)
                work = stack.enter_context(workplace(above, folder.absolute().name))
                _require_room(folder, work, needed)
            yield OutputFolder(folder, work, fresh, overwrite, is_ours, earlier or earlier_files)
    finally:
        for empty in made:
            with contextlib.suppress(OSError):  # not empty: the result is in it
                empty.rmdir()


def _check_folder(folder: Path, is_ours: IsOurs, overwrite: bool, inputs: Iterable[str | Path]) -> None:
    check_name(folder / RESULT)
    try:
        parent = _existing_parent(folder)
        if not parent.is_dir():
            raise InputError(f"{parent} is a file, not a folder.", "Choose another output folder.")
        if folder.is_symlink() and not folder.exists():
            raise InputError(f"{folder} is a link to something that is not there.", "Choose another output folder.")
        present = files_called_so(folder, is_ours) if folder.is_dir() else []
    except OSError as error:
        raise output_error(folder, error) from error
    if not overwrite:
        _refuse_existing(folder, present)
    for name in present:
        if (folder / name).is_dir():
            raise InputError(f"{folder / name} is a folder and cannot be replaced.", "Choose another output folder.")
        for given in inputs:
            if is_input_of(folder / name, Path(given)):
                raise InputError(
                    f"{folder / name} is an input of this run, and its result would replace it.",
                    "Choose another output folder.",
                )


def files_called_so(folder: Path, is_ours: IsOurs) -> list[str]:
    """Return the names of what lies in a folder and is called as a result's files; in its folders ``folder/name``."""
    found = []
    for path in sorted(folder.iterdir()):
        if is_ours(path.name):
            found.append(path.name)
        elif is_ours(f"{path.name}/") and path.is_dir():
            found += [name for inner in sorted(path.iterdir()) if is_ours(name := f"{path.name}/{inner.name}")]
    return found


def earlier_files(folder: Path, is_ours: IsOurs) -> list[str]:
    """Return the names of the files that the result in a folder lists as its own."""
    listed = (json_table(folder / RESULT, LARGEST_RESULT) or {}).get("files")
    if not isinstance(listed, dict):
        return []
    return [name for name in listed.values() if isinstance(name, str) and is_ours(name)]


def _require_room(folder: Path, on: Path, needed: int) -> None:
    try:
        usage = shutil.disk_usage(on)
    except OSError as error:
        raise output_error(folder, error) from error
    if usage.total > 0 and usage.free < needed:
        raise OutputError(
            f"The disk holding {folder} has {usage.free / 1e6:.0f} MB left; "
            f"the result may take {max(needed / 1e6, 1):.0f} MB.",
            "Free some space or choose another output folder.",
        )


def _existing_parent(folder: Path) -> Path:
    """Return a folder, or the nearest above it that is there."""
    parent = folder.absolute()
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    return parent


@contextlib.contextmanager
def reserving(folder: Path) -> Iterator[None]:
    """Say which folder cannot be had, where a workplace for it is refused or cannot be made."""
    try:
        yield
    except OutputError as error:
        if error.message.startswith("Another run"):
            raise OutputError(f"Another run is writing to {folder}.", error.hint) from error
        raise
    except OSError as error:
        raise output_error(folder, error) from error


def _refuse_existing(folder: Path, names: Sequence[str]) -> None:
    if names:
        raise InputError(
            f"{folder} already holds a result ({', '.join(names)}).",
            "Choose another output folder, or give --overwrite (overwrite=True in Python).",
        )


def _missing(folder: Path) -> list[Path]:
    """Return the folders that must be made for a folder to be there, the deepest first."""
    missing = []
    while not folder.exists() and folder != folder.parent:
        missing.append(folder)
        folder = folder.parent
    return missing


def is_input_of(path: Path, given: Path) -> bool:
    """Tell whether a file is one that a run was given, or may be a slice of a DICOM folder that it was given."""
    if not given.is_dir():
        return is_same_file(path, given)
    return path.name.lower().endswith(DICOM) and path.exists() and path.resolve().is_relative_to(given.resolve())


def is_same_file(path: Path, other: Path) -> bool:
    """Tell whether two names are those of one file that is there, by links too."""
    try:
        return path.samefile(other)
    except OSError:
        return False
