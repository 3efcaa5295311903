"""Whether a TIFF file holds all its pixels: https://www.itu.int/itudoc/itu-t/com16/tiff-fx/docs/tiff6.pdf.

ITK's reader takes strips that are missing for black ones.
"""

from __future__ import annotations

import struct
from pathlib import Path

from DeepRegLib.formats.raster import DamagedFileError
from DeepRegLib.naming import shown

SUFFIXES = (".tif", ".tiff", ".lsm")
MOST_PAGES = 100_000
WIDTHS = {3: "H", 4: "I", 16: "Q"}
OFFSETS, COUNTS = (273, 324), (279, 325)  # of strips and of tiles


def require_whole_tiff(path: Path) -> None:
    """Make sure that every strip and tile of a file lies inside it.

    Raises
    ------
    DamagedFileError
        If one does not, or the directory of a page is damaged.
    """
    data = path.read_bytes()
    damaged = DamagedFileError(f"{shown(path)} is damaged or truncated: pixels are missing.")
    order = {b"II": "<", b"MM": ">"}.get(data[:2], "")
    if not order or len(data) < 8:
        raise damaged
    try:
        big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
        (page,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        seen: set[int] = set()
        while page:
            if page in seen or len(seen) > MOST_PAGES:
                raise damaged
            seen.add(page)
            parts, page = _page(data, order, page, big)
            if not parts or any(start + count > len(data) for start, count in parts):
                raise damaged
    except struct.error as error:
        raise damaged from error


def _page(data: bytes, order: str, at: int, big: bool) -> tuple[list[tuple[int, int]], int]:
    """Return where the strips of a page begin and how long they are, and where the next page is."""
    head, entry, long = ("Q", 20, "Q") if big else ("H", 12, "I")
    (entries,) = struct.unpack_from(order + head, data, at)
    first = at + struct.calcsize(head)
    found: dict[int, list[int]] = {}
    for number in range(entries):
        where = first + number * entry
        tag, kind, count = struct.unpack_from(f"{order}HH{long}", data, where)
        if tag in (*OFFSETS, *COUNTS) and kind in WIDTHS:
            width = WIDTHS[kind]
            place = where + 4 + struct.calcsize(f"={long}")
            if count * struct.calcsize(f"={width}") > struct.calcsize(f"={long}"):
                (place,) = struct.unpack_from(order + long, data, place)
            if count > len(data):
                raise struct.error
            found[tag] = list(struct.unpack_from(f"{order}{count}{width}", data, place))
    (following,) = struct.unpack_from(order + long, data, first + entries * entry)
    starts = found.get(OFFSETS[0]) or found.get(OFFSETS[1]) or []
    lengths = found.get(COUNTS[0]) or found.get(COUNTS[1]) or []
    return list(zip(starts, lengths, strict=False)) if len(starts) == len(lengths) else [], following
