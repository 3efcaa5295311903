"""`deepreg apply` to points, curves and models: each point goes where the transform maps it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from DeepRegLib.cli.session import Session, check_output_file, reading

if TYPE_CHECKING:
    from DeepRegLib.transforms import Transform

MARKUPS = ".mrk.json"


def apply_to_points(screen: Session, transform: Path, data: Path, output: Path) -> None:
    """Map the points of a list, of markups, or of a model, and write what they make up.

    Raises
    ------
    InputError
        If a file cannot be read, or the output is of another kind.
    """
    from DeepRegLib.landmarks import SUFFIXES
    from DeepRegLib.landmarks.markups_moved import move_markups
    from DeepRegLib.mesh_files import SUFFIXES as MODEL_SUFFIXES
    from DeepRegLib.mesh_files import move_model
    from DeepRegLib.transforms import read_transform

    is_model = data.name.lower().endswith(MODEL_SUFFIXES)
    check_output_file(output, MODEL_SUFFIXES if is_model else SUFFIXES, transform, data)
    with reading(screen):
        given = read_transform(transform)
    if is_model:
        count = move_model(data, output, given.apply_to_points)
        screen.wrote(output)
        screen.emit({"output": output.name, "points": count})
    elif all(path.name.lower().endswith(MARKUPS) for path in (data, output)):
        moved = move_markups(data, output, given.apply_to_points)
        count = len(moved)
        screen.wrote(output)
        screen.emit({"output": output.name, "points": moved})
    else:
        count = _apply_to_list(screen, given, data, output)
    screen.say(f"{count} points mapped. Written to {output}")


def _apply_to_list(screen: Session, given: Transform, data: Path, output: Path) -> int:
    from DeepRegLib.landmarks import read_point_list, write_points

    listed = read_point_list(data).placed_only()
    moved = given.apply_to_points(listed.points)
    write_points(moved, output, listed.labels if any(listed.labels) else None)
    screen.wrote(output)
    screen.emit({"output": output.name, "points": moved})
    return len(moved)
