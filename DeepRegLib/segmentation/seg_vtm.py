"""Slicer's segmentations of closed surfaces (.seg.vtm) moved: a table of contents, and a `.vtp` file a segment.

The pieces are in RAS, and hold names, colours and terminology in fields, which stay as they are. The layout is that of
Slicer's ``vtkMRMLSegmentationStorageNode``.
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_folder, write_text
from DeepRegLib.guarding import guarded
from DeepRegLib.mesh_files import move_surface
from DeepRegLib.mesh_files.parts import Move
from DeepRegLib.naming import shown

SUFFIX = ".seg.vtm"
PIECE = re.compile(r"<DataSet\b[^>]*\bfile=\"([^\"]*)\"")
MOST_SEGMENTS = 65535
LARGEST_TABLE = 16 << 20
SAVE_AGAIN = "Save the segmentation again in Slicer as .seg.vtm, and keep its folder beside it."


def move_surfaces(source: str | Path, target: str | Path, move: Move) -> int:
    """Write a segmentation of closed surfaces with its points moved; nothing is turned into voxels.

    Parameters
    ----------
    source, target
        Files that end in ``.seg.vtm``. The pieces come into a folder of the target's name beside it.
    move
        Takes points ``(n, 3)``, LPS mm, to where they belong.

    Returns
    -------
    int
        How many segments there are.

    Raises
    ------
    InputError
        If a file cannot be read, a piece lies elsewhere than below the table's folder, or the endings are others.
    OutputError
        If the target cannot be written, or there is something of its folder's name.
    """
    path, written = Path(source), Path(target)
    if not all(each.name.lower().endswith(SUFFIX) for each in (path, written)):
        raise InputError(f"{shown(written)} does not end as {shown(path)} does.", f"End both in {SUFFIX}.")
    stem = written.name[: -len(".vtm")]
    pieces = [move_surface(piece, move, ras=True)[0] for piece in _pieces(path)]
    names = [f"{stem}_{number}.vtp" for number in range(len(pieces))]

    def write(folder: Path) -> None:
        for name, content in zip(names, pieces, strict=True):
            (folder / name).write_bytes(content)

    write_folder(written.with_name(stem), write)
    write_text(written, _table([f"{stem}/{name}" for name in names]))
    return len(pieces)


def _pieces(path: Path) -> list[Path]:
    with guarded(path, SAVE_AGAIN):
        if not path.is_file() or path.stat().st_size > LARGEST_TABLE:
            raise InputError(f"{shown(path)} does not exist, or is no table of surfaces.", SAVE_AGAIN)
        text = path.read_text(encoding="utf-8")
        names = PIECE.findall(text)
        if "vtkMultiBlockDataSet" not in text or not 0 < len(names) <= MOST_SEGMENTS:
            raise InputError(f"{shown(path)} is no segmentation of closed surfaces.", SAVE_AGAIN)
    return [_below(path, html.unescape(name)) for name in names]


def _below(path: Path, name: str) -> Path:
    """Return where a piece lies: below the folder of the table, whatever the table says."""
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name or place.suffix.lower() != ".vtp":
        raise InputError(f"{shown(path)} names a piece outside of its folder, or of another kind.", SAVE_AGAIN)
    piece = path.parent.joinpath(*place.parts)
    if not piece.resolve().is_relative_to(path.parent.resolve()):
        raise InputError(f"{shown(path)} has a piece that is a link to elsewhere.", SAVE_AGAIN)
    return piece


def _table(files: Sequence[str]) -> str:
    lines = [f'    <DataSet index="{number}" file="{html.escape(file)}"/>' for number, file in enumerate(files)]
    head = '<VTKFile type="vtkMultiBlockDataSet" version="1.0" byte_order="LittleEndian">'
    blocks = ["  <vtkMultiBlockDataSet>", *lines, "  </vtkMultiBlockDataSet>"]
    return "\n".join(['<?xml version="1.0"?>', head, *blocks, "</VTKFile>", ""])
