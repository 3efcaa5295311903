"""The files a case reads: which they are, whether they changed, and their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

# The header names another file, which lies beside it.
WITH_COMPANIONS = (".mhd", ".nhdr", ".hdr", ".img", ".hdr.gz", ".img.gz")
AT_ONCE = 1 << 22


def files_of(path: str | Path) -> list[Path]:
    """Return every file that stands behind one value of a table: of a folder all, of a header those beside it too."""
    source = Path(path)
    if source.is_dir():
        return sorted(file for file in source.rglob("*") if file.is_file())
    if source.name.lower().endswith(WITH_COMPANIONS):
        stem = source.name.partition(".")[0]
        return sorted(
            file for file in source.parent.iterdir() if file.is_file() and file.name.partition(".")[0] == stem
        )
    return [source]


def stamp_of(path: str | Path) -> str:
    """Return a text that stays the same as long as nobody writes to the files; "" if they cannot be seen.

    Sizes and times only: it is what a second call looks at, for thousands of scans.
    """
    try:
        parts = [(file.name, file.stat()) for file in files_of(path)]
    except OSError:
        return ""
    text = "\n".join(f"{name}\t{status.st_size}\t{status.st_mtime_ns}" for name, status in parts)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32] if parts else ""


def content_hash(path: str | Path) -> str:
    """Return the SHA-256 of the names and bytes of the files.

    Raises
    ------
    OSError
        If one cannot be read.
    """
    files, digest = files_of(path), hashlib.sha256()
    for file in files:
        if len(files) > 1:
            digest.update(file.name.encode("utf-8", "surrogateescape") + b"\0")
        with file.open("rb") as stream:
            while block := stream.read(AT_ONCE):
                digest.update(block)
    return digest.hexdigest()


def changed_file(files: Mapping[str, str], recorded: Mapping[str, Mapping[str, str]]) -> str:
    """Return the column of the first file that is not the recorded one; "" if all are.

    A file whose size and time are those of the record counts as the same; the others are read.
    """
    for column in sorted({*files, *recorded}):
        if column not in files or column not in recorded:
            return column
        if stamp_of(files[column]) == recorded[column].get("stamp"):
            continue
        try:
            if content_hash(files[column]) != recorded[column].get("sha256"):
                return column
        except OSError:
            return column
    return ""
