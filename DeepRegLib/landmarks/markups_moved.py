"""Markups of Slicer (`.mrk.json`) moved: points, lines, angles and curves keep all that the file says but where."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_text
from DeepRegLib.guarding import guarded
from DeepRegLib.landmarks.markups_json import markups_entries
from DeepRegLib.landmarks.points import EXPORT_AGAIN, suffix_of
from DeepRegLib.landmarks.reading import file_text
from DeepRegLib.naming import shown

Move = Callable[[NDArray[np.float64]], NDArray[np.float64]]
# What is given by its points alone. A plane or a box that is bent is none.
MOVABLE = ("Fiducial", "Line", "Angle", "Curve", "ClosedCurve")


def move_markups(source: str | Path, target: str | Path, move: Move) -> NDArray[np.float64]:
    """Write the markups of a file with their points moved; kind, name, labels and display stay as they are.

    Measurements, which Slicer computes again, are left out; points that were not placed stay unplaced.

    Parameters
    ----------
    source, target
        `.mrk.json` files.
    move
        Takes points ``(n, 3)``, LPS mm, to where they belong.

    Returns
    -------
    NDArray
        The moved points ``(n, 3)``, LPS mm, those that were not placed left out.

    Raises
    ------
    InputError
        If the file cannot be read, has no placed point, or holds a plane or region of interest.
    OutputError
        If the target cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> from DeepRegLib.landmarks import read_points, write_points
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "tip.mrk.json"
    ...     write_points([[1, 2, 3]], file)
    ...     _ = move_markups(file, file, lambda points: points + 10)
    ...     read_points(file).tolist()
    [[11.0, 12.0, 13.0]]
    """
    path, name = Path(source), shown(Path(source))
    suffix_of(Path(target))
    with guarded(path, EXPORT_AGAIN):
        text = file_text(path)
        entries = markups_entries(name, text)
        content = json.loads(text)
    markup: dict[str, Any] = content["markups"][0]
    kind = markup.get("type", MOVABLE[0])
    if kind not in MOVABLE:
        raise InputError(
            f"{name} holds markups of the kind {str(kind)[:40]!r}, which may be bent by a transform.",
            f"Give one of {', '.join(MOVABLE)}, or turn it into a model.",
        )
    points = np.array([entry.position for entry in entries], dtype=np.float64).reshape(-1, 3)
    placed: NDArray[np.bool_] = np.isfinite(points).min(axis=1)
    if not placed.any():
        raise InputError(f"{name} holds no placed points.", "Place the points and save the list again.")
    moved = points.copy()
    moved[placed] = move(points[placed])
    places = [point.tolist() if here else None for point, here in zip(moved, placed, strict=True)]
    controls = zip(markup["controlPoints"], places, strict=True)
    markup["controlPoints"] = [_moved_control(control, position) for control, position in controls]
    markup |= {"coordinateSystem": "LPS", "coordinateUnits": "mm", "measurements": []}
    write_text(Path(target), json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return moved[placed]


def _moved_control(control: dict[str, Any], position: list[float] | None) -> dict[str, Any]:
    """Return a control point elsewhere; its orientation, that of the view it was placed in, says nothing there."""
    kept = {key: value for key, value in control.items() if key not in ("orientation", "position")}
    return kept if position is None else kept | {"position": position}
