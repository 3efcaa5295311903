"""Which scans of a folder are complete: a file or a DICOM folder that has not changed for a while, and reads whole."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from DeepRegLib.formats.metaimage import SUFFIXES as METAIMAGE_SUFFIXES
from DeepRegLib.formats.nifti import SUFFIXES as NIFTI_SUFFIXES
from DeepRegLib.formats.nrrd import SUFFIXES as NRRD_SUFFIXES

SUFFIXES = (*NIFTI_SUFFIXES, *NRRD_SUFFIXES, *METAIMAGE_SUFFIXES, ".dcm", ".tif", ".tiff")
VOXELS_BESIDE = (".raw", ".zraw", ".img", ".img.gz")  # belong to a header with another name
SERIES = "series-{}"


@dataclass(frozen=True)
class State:
    """A file or folder as it is at one moment.

    Parameters
    ----------
    files
        How many files it is.
    size
        Their bytes together.
    changed
        When the latest of them was changed, ns.
    """

    files: int
    size: int
    changed: int


@dataclass(frozen=True)
class FolderState:
    """What has been seen of a folder so far.

    Parameters
    ----------
    since
        Each scan's state and since when it has been so, s of any clock, by name.
    handled
        The state in which each scan was handed out.
    """

    since: Mapping[str, tuple[State, float]] = field(default_factory=lambda: MappingProxyType({}))
    handled: Mapping[str, State] = field(default_factory=lambda: MappingProxyType({}))

    def settled(self, now: float, seconds: float) -> list[str]:
        """Return the scans not yet handed out that have not changed for some seconds, the oldest first."""
        ready = [
            (state.changed, name)
            for name, (state, since) in self.since.items()
            if now - since >= seconds and self.handled.get(name) != state
        ]
        return [name for _, name in sorted(ready)]

    def waiting(self) -> list[str]:
        """Return the scans that were not handed out as they are now."""
        return [name for name, (state, _) in self.since.items() if self.handled.get(name) != state]

    def with_handled(self, name: str) -> FolderState:
        """Return the same with a scan as handed out; if it changes it will be handed out again."""
        return FolderState(self.since, MappingProxyType({**self.handled, name: self.since[name][0]}))


def look(folder: Path, before: FolderState, now: float) -> FolderState:
    """Look at a folder again.

    A scan is a file of a known format, or a folder, which holds one DICOM series. What belongs to the header of another
    format, and hidden files, which copying programs use, are no scans.

    Raises
    ------
    OSError
        If the folder cannot be listed.
    """
    since = {}
    for path in sorted(folder.iterdir()):
        state = _state(path) if _is_scan(path) else None
        if state is not None:
            known = before.since.get(path.name)
            since[path.name] = known if known is not None and known[0] == state else (state, now)
    return FolderState(MappingProxyType(since), before.handled)


def result_name(path: Path) -> str:
    """Return the name for a scan's results: the file's; a DICOM folder's often bears the patient's and is not shown."""
    if not path.is_dir():
        return path.name
    return SERIES.format(hashlib.sha256(path.name.encode("utf-8", "surrogateescape")).hexdigest()[:8])


def changed_at(path: Path) -> float | None:
    """Return when a scan was changed last, s since 1970; None where it has gone meanwhile."""
    state = _state(path)
    return None if state is None else state.changed / 1e9


def _is_scan(path: Path) -> bool:
    name = path.name.lower()
    if name.startswith((".", "~")):
        return False
    return path.is_dir() or (name.endswith(SUFFIXES) and not name.endswith(VOXELS_BESIDE))


def _state(path: Path) -> State | None:
    """Return the state of a file or folder; None where there is nothing in it, or it has gone meanwhile."""
    try:
        files = [each for each in path.rglob("*") if each.is_file()] if path.is_dir() else [path, *_beside(path)]
        stats = [each.stat() for each in files]
    except OSError:
        return None
    if not stats or not sum(each.st_size for each in stats):
        return None
    return State(len(stats), sum(each.st_size for each in stats), max(each.st_mtime_ns for each in stats))


def _beside(path: Path) -> list[Path]:
    """Return the files beside a header that may hold its voxels."""
    if not path.name.lower().endswith((".mhd", ".nhdr", ".hdr")):
        return []
    return [path.with_suffix(suffix) for suffix in VOXELS_BESIDE if path.with_suffix(suffix).is_file()]
