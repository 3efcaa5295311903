"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from DeepRegLib.errors import OutputError
from DeepRegLib.files.workplace import NEW, PREFIX, exchange, sync, workplace


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary name beside `path`, then rename; leave nothing behind on failure.

    Parameters
    ----------
    path
        Final file name. Its folder must exist.
    write
        Writes the whole content to the path it is given, which has another name, of the same ending in lower case.

    Raises
    ------
    OutputError
        If the folder cannot be written or the disk is full.
    """
    target = Path(path)
    check_name(target)
    try:
        if _disk_is_full(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with workplace(target.absolute().parent) as work:
            temporary = work / NEW / f"file{_ending(target.name)}"
            write(temporary)
            # Some of ITK's writers return as if nothing had happened, so the disk is asked afterwards too.
            if _disk_is_full(target):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            sync(temporary)
            temporary.replace(target)
            sync(target.absolute().parent)
    except (OSError, RuntimeError) as error:
        raise output_error(target, error) from error


def write_together(folder: str | Path, names: Sequence[str], write: Callable[[Path], object]) -> None:
    """Write several files that belong together, all of them or none, over files of these names.

    Parameters
    ----------
    folder
        Where they go; it must exist.
    names
        Of the files, in the order in which they appear.
    write
        Writes files of these names into the empty folder it is given.

    Raises
    ------
    OutputError
        If the folder cannot be written or the disk is full.
    """
    target = Path(folder) / names[-1]
    check_name(target)
    try:
        if _disk_is_full(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with workplace(Path(folder).absolute()) as work:
            write(work / NEW)
            if _disk_is_full(target):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            exchange(work, Path(folder).absolute(), names)
    except (OSError, RuntimeError) as error:
        raise output_error(target, error) from error


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text to `path` through a temporary name."""
    write_atomically(path, lambda temporary: _write_text(temporary, text))


def write_folder(path: str | Path, write: Callable[[Path], object]) -> Path:
    """Call `write` with an empty folder beside `path`, then rename that; leave nothing behind on failure.

    Parameters
    ----------
    path
        Final folder name: not there yet, or an empty folder. Its parents are created.
    write
        Writes the whole content into the folder it is given.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    OutputError
        If there is something of that name, another run is writing it, the folder above cannot be written, or the disk
        is full.
    """
    target = Path(path)
    check_new_folder(target)
    above = make_folder(target.absolute().parent)
    with errors_naming(target), workplace(above, target.name) as work:
        write(work / NEW)
        rename_folder(work / NEW, target)
    return target


def check_new_folder(path: str | Path) -> None:
    """Make sure, before anything is computed for it, that a folder is not there, or empty.

    Raises
    ------
    OutputError
        If there is something of that name, it cannot be a name, or the folder above is a file or cannot be written.
    """
    target = Path(path)
    check_name(target)
    if os.path.lexists(target) and not _is_empty_folder(target):
        raise OutputError(f"{target} exists already.", "Choose another folder, or remove it first.")
    above = _existing_parent(target)
    if not above.is_dir() or not os.access(above, os.W_OK):
        raise OutputError(f"{target} cannot be written: {above} is a file, or not yours.", "Choose another folder.")


def rename_folder(made: Path, target: Path) -> None:
    """Give a folder its name once all in it is on the disk; nothing may have the name but an empty folder."""
    for path in made.rglob("*"):
        sync(path)
    sync(made)
    if target.is_dir():
        target.rmdir()
    made.rename(target)
    sync(target.absolute().parent)


@contextlib.contextmanager
def errors_naming(target: Path) -> Iterator[None]:
    """Let errors speak of the folder that is written, not of where it is made."""
    hidden = re.compile(re.escape(str(target.absolute().parent / PREFIX)) + "[0-9a-f]{8}" + re.escape(os.sep + NEW))
    try:
        yield
    except OutputError as error:
        raise OutputError(hidden.sub(lambda _: str(target), error.message), error.hint) from error
    except OSError as error:
        raise output_error(target, error) from error


def make_folder(path: str | Path) -> Path:
    """Create a folder with its parents and return it.

    Raises
    ------
    OutputError
        If it cannot be created or is a file.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(folder, error) from error
    return folder


def output_error(path: Path, error: BaseException) -> OutputError:
    """Say in one sentence why `path` cannot be written."""
    number = getattr(error, "errno", None)
    text = str(error)
    if number in (errno.ENOSPC, errno.EDQUOT) or "No space left" in text or _disk_is_full(path):
        return OutputError(f"The disk holding {path} is full.", "Free some space or choose another output folder.")
    if number in (errno.EACCES, errno.EPERM, errno.EROFS) or not os.access(_existing_parent(path), os.W_OK):
        return OutputError(f"{path} cannot be written: no permission.", "Choose another output folder.")
    if path.is_dir():
        return OutputError(f"{path} cannot be written: it is a folder.", "Choose another file name.")
    if not path.absolute().parent.is_dir():
        return OutputError(f"{path} cannot be written: its folder does not exist.", "Create the folder first.")
    reason = " ".join(text.split())[-200:] or type(error).__name__
    return OutputError(f"{path} cannot be written: {reason}", "Check the path and choose another output folder.")


def check_name(path: str | Path) -> None:
    """Make sure that files can have a name, which ITK takes as UTF-8 text only, and the system up to some length.

    Raises
    ------
    OutputError
        If not.
    """
    target = Path(path)
    try:
        os.fspath(target.absolute()).encode("utf-8")
        os.lstat(target)
    except UnicodeEncodeError as error:
        shown = os.fspath(target).encode("utf-8", "replace").decode("utf-8")
        raise OutputError(f"The name {shown} is not UTF-8 text.", "Choose another name.") from error
    except (FileNotFoundError, NotADirectoryError):  # which is told better where it is written
        return
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"Nothing can be written to {target}: {reason}.", "Choose another name.") from error


def _ending(name: str) -> str:
    """Return the ending that tells the format, in lower case: ITK does not write .NII.GZ."""
    suffixes = Path(name.lower()).suffixes
    return "".join(suffixes[-2:] if suffixes[-1:] == [".gz"] else suffixes[-1:])


def _write_text(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(text)


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _existing_parent(path: Path) -> Path:
    folder = path if path.is_dir() else path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def _disk_is_full(path: Path) -> bool:
    # ITK's writers report a full disk as a generic failure, so the disk is asked.
    try:
        usage = shutil.disk_usage(_existing_parent(path))
    except OSError:
        return False
    return usage.total > 0 and usage.free < 64 * 1024  # some network drives report nothing at all
