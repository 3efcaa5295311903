"""Writing files so that a reader never sees half of one."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from DeepRegLib.errors import OutputError


def write_atomically(path: str | Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary name beside `path`, then rename; leave nothing behind on failure.

    Parameters
    ----------
    path
        Final file name. Its folder must exist.
    write
        Writes the whole content to the path it is given, which has the same suffixes as `path`.

    Raises
    ------
    OutputError
        If the folder cannot be written or the disk is full.
    """
    target = Path(path)
    # In lower case: ITK does not write an ending such as .NII.GZ.
    temporary = target.with_name(f".{uuid.uuid4().hex[:8]}.{target.name.lower()}")
    try:
        if _disk_is_full(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(temporary)
        # Some of ITK's writers return as if nothing had happened, so the disk is asked afterwards too.
        if _disk_is_full(target):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        temporary.replace(target)
    except (OSError, RuntimeError) as error:
        raise output_error(target, error) from error
    finally:
        with contextlib.suppress(OSError):  # a read-only file system refuses even to remove what is not there
            temporary.unlink(missing_ok=True)


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
        If there is something of that name, the folder above cannot be written, or the disk is full.
    """
    target = Path(path)
    if os.path.lexists(target) and not _is_empty_folder(target):
        raise OutputError(f"{target} exists already.", "Choose another folder, or remove it first.")
    with partial_folder(make_folder(target.absolute().parent), target) as partial:
        write(partial)
        if target.is_dir():
            target.rmdir()
        partial.rename(target)
    return target


@contextlib.contextmanager
def partial_folder(above: Path, target: Path) -> Iterator[Path]:
    """Give an empty folder of a temporary name, to be filled and renamed; what is left of it at the end is removed.

    Parameters
    ----------
    above
        The folder to make it in, on the disk of `target`.
    target
        What its content is to become; errors speak of that.

    Raises
    ------
    OutputError
        If it cannot be created, or something inside the `with` cannot be written.
    """
    partial = above / f".{target.name}.partial-{uuid.uuid4().hex[:8]}"
    try:
        partial.mkdir()
        yield partial
    except OutputError as error:
        raise OutputError(error.message.replace(str(partial), str(target)), error.hint) from error
    except OSError as error:
        raise output_error(target, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
