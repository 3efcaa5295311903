"""Hidden folders in which files are made before they get their names, and the exchange of old files for new ones.

A process that is killed leaves such a folder behind. Whoever writes beside it next removes it, for the lock in it tells
whether its owner still lives; where files were being exchanged, the old ones are put back first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from DeepRegLib.errors import OutputError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

PREFIX = ".partial-"
NAME = re.compile(re.escape(PREFIX) + "[0-9a-f]{8}")
LOCK, PLAN = "lock", "plan.json"
# Where the new files are made, and where the old ones lie while they are exchanged.
NEW, OLD = "new", "old"
LARGEST_PLAN = 100_000_000  # bytes
# A folder without a lock may be one that is just being made.
YOUNG_SECONDS = 3600.0


@contextlib.contextmanager
def workplace(above: Path, key: str | None = None) -> Iterator[Path]:
    """Give a locked hidden folder with an empty folder `NEW` in it; all of it is removed at the end.

    What dead processes left in `above` is removed first, see `remove_abandoned`.

    Parameters
    ----------
    above
        The folder to make it in, on the disk the files are for.
    key
        Two workplaces of one key cannot be open at the same time; None for one that excludes nobody.

    Raises
    ------
    OutputError
        If a living process has the workplace of this key.
    OSError
        If it cannot be made.
    """
    remove_abandoned(above)
    word = uuid.uuid4().hex[:8] if key is None else hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    work = above / f"{PREFIX}{word}"
    try:
        work.mkdir()
        lock = _locked(work / LOCK, "x+b")
    except FileExistsError:
        lock = None
    if lock is None:
        raise OutputError("Another run is writing there.", "Wait for it, stop it, or choose another output.")
    try:
        (work / NEW).mkdir()
        yield work
    finally:
        if (work / PLAN).exists():  # putting back failed: what is in it must not be lost, and the next run tries again
            lock.close()
        else:
            _remove(work, lock)


def exchange(work: Path, folder: Path, new: Sequence[str], old: Iterable[str] = ()) -> None:
    """Move files from a workplace into the folder it lies in, and those they replace out of it: all of them or none.

    At no moment does a new file lie beside an old one. Folders that are left empty go too. Should the process be
    killed, `remove_abandoned` puts the old files back, or, if all the new ones were in already, removes the old ones.

    Parameters
    ----------
    work
        The workplace; `new` lie in its folder `NEW`.
    folder
        The folder above it.
    new
        Names of files, in the order in which they appear; ``"frame_0001/transform.h5"`` lies in a folder of its own.
    old
        Further names of files that go with those that are replaced, if they are there.

    Raises
    ------
    OSError
        If one cannot be moved; all is as it was then.
    """
    leaving = [name for name in dict.fromkeys([*reversed(new), *old]) if os.path.lexists(folder / name)]
    for name in leaving:
        if (folder / name).is_dir() and not (folder / name).is_symlink():
            raise OutputError(f"{folder / name} cannot be replaced: it is a folder.", "Move it elsewhere first.")
    for name in new:
        sync(work / NEW / name)
    (work / OLD).mkdir()
    try:
        _write_plan(work, new)
        for name in leaving:
            _move(folder / name, work / OLD / name)
        for name in new:
            _move(work / NEW / name, folder / name)
        _remove_empty({(folder / name).parent for name in leaving} - {folder})
        for place in {(folder / name).parent for name in new} | {folder}:
            sync(place)
        (work / PLAN).unlink()
    except BaseException:
        _undo(work, folder, new)
        raise


def remove_abandoned(above: Path) -> None:
    """Remove the workplaces in a folder whose processes are dead, after putting back what they had set aside."""
    try:
        found = [entry.name for entry in os.scandir(above) if NAME.fullmatch(entry.name)]
    except OSError:  # not there, or not ours to read
        return
    for name in found:
        work = above / name
        if work.is_symlink() or not work.is_dir():
            continue
        with contextlib.suppress(OSError):  # a leftover that cannot be removed is in nobody's way
            _remove_if_abandoned(work)


def sync(path: Path) -> None:
    """Bring a file or the names in a folder onto the disk, as far as the system can."""
    if path.is_dir() and sys.platform == "win32":
        return  # folders cannot be opened there
    with contextlib.suppress(OSError):  # some network drives cannot
        handle = os.open(path, os.O_RDONLY if path.is_dir() or sys.platform != "win32" else os.O_RDWR)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _remove_if_abandoned(work: Path) -> None:
    # Ours are never links: one that came with a stranger's folder would bring files in from elsewhere.
    if any((work / name).is_symlink() for name in (LOCK, PLAN, NEW, OLD)):
        return
    try:
        lock = _locked(work / LOCK, "r+b")
    except FileNotFoundError:
        if time.time() - work.stat().st_mtime > YOUNG_SECONDS:
            work.rmdir()  # made by a process that came no further; a folder with anything in it is not ours
        return
    if lock is None:
        return
    try:
        planned = _read_plan(work)
        if planned is None or _leads_away(work, planned):  # nobody knows what is to be done with what lies there
            lock.close()
            return
        if any((work / NEW / name).exists() for name in planned):
            _undo(work, work.parent, planned)
    except BaseException:
        lock.close()
        raise
    _remove(work, lock)


def _undo(work: Path, folder: Path, new: Sequence[str]) -> None:
    for name in new:
        if not os.path.lexists(work / NEW / name) and _is_file(folder / name):
            _move(folder / name, work / NEW / name)
    for path in sorted((work / OLD).rglob("*")):
        if _is_file(path):
            _move(path, folder / path.relative_to(work / OLD))
    _remove_empty({(folder / name).parent for name in new} - {folder})
    sync(folder)
    (work / PLAN).unlink(missing_ok=True)


def _remove_empty(places: Iterable[Path]) -> None:
    for place in places:
        with contextlib.suppress(OSError):  # not empty, or not there
            place.rmdir()


def _write_plan(work: Path, new: Sequence[str]) -> None:
    beginning = work / "plan"
    beginning.write_text(json.dumps(list(new)), encoding="utf-8")
    sync(beginning)
    beginning.replace(work / PLAN)
    sync(work)


def _read_plan(work: Path) -> list[str] | None:
    """Return the names in a plan, none if there is no plan; None if they are not those of files beside a workplace."""
    try:
        if (work / PLAN).stat().st_size > LARGEST_PLAN:
            return None
        names = json.loads((work / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    except (ValueError, RecursionError):
        return None
    right = isinstance(names, list) and all(isinstance(name, str) and _is_plain(name) for name in names)
    return names if right and names else None


def _leads_away(work: Path, planned: Sequence[str]) -> bool:
    """Tell whether putting back would take or bring a file elsewhere than in the workplace's folder, by a link."""
    names = [*map(Path, planned), *(path.relative_to(work / OLD) for path in (work / OLD).rglob("*"))]
    folders = {part for name in names for part in name.parents if part.parts}
    return any((base / part).is_symlink() for base in (work.parent, work / NEW, work / OLD) for part in folders)


def _is_plain(name: str) -> bool:
    """Tell whether a name is that of a file beside a workplace, or in a folder beside it."""
    parts = name.split("/")
    return len(parts) <= 2 and all(
        part not in ("", ".", "..") and Path(part).name == part and "\\" not in part for part in parts
    )


def _move(path: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    path.replace(target)


def _is_file(path: Path) -> bool:
    return path.is_symlink() or path.is_file()


def _locked(path: Path, mode: str) -> BinaryIO | None:
    """Open and lock a file; return None if another process has locked it. The lock goes with the process."""
    stream: BinaryIO = path.open(mode)  # type: ignore[assignment]  # a binary mode
    try:
        if sys.platform == "win32":
            msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        stream.close()
        return None
    except OSError:  # a drive without locks: nothing is known of the owners of what lies there
        if mode != "x+b":
            stream.close()
            return None
    if not path.exists():  # taken for abandoned in the moment before it was locked
        stream.close()
        return None
    return stream


def _remove(work: Path, lock: BinaryIO) -> None:
    """Remove a workplace, the lock last: what an interruption leaves is still known as abandoned."""
    for name in (NEW, OLD):
        shutil.rmtree(work / name, ignore_errors=True)
    lock.close()  # before it is removed, for the sake of Windows
    shutil.rmtree(work, ignore_errors=True)
