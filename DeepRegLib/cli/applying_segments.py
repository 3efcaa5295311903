"""`deepreg apply` to a segmentation of Slicer: label maps and shares (.seg.nrrd), closed surfaces (.seg.vtm)."""

from __future__ import annotations

from pathlib import Path

from DeepRegLib.cli.session import Session, check_output_file, reading
from DeepRegLib.errors import InputError

SUFFIX = ".seg.nrrd"
SURFACES = ".seg.vtm"


def is_for_segments(data: Path, output: Path) -> bool:
    """Tell whether a segmentation is wanted of a segmentation."""
    return data.name.lower().endswith(SUFFIX) and output.name.lower().endswith(SUFFIX)


def is_for_surfaces(data: Path) -> bool:
    """Tell whether a segmentation is one of closed surfaces."""
    return data.name.lower().endswith(SURFACES)


def apply_to_segments(
    screen: Session, transform: Path, data: Path, output: Path, reference: Path | None, *, smooth: bool
) -> None:
    """Bring every segment onto the fixed grid, and tell its volume before and after.

    Raises
    ------
    InputError
        If there is no fixed image, or a file cannot be read.
    """
    from DeepRegLib.cli.transform_files import read_between
    from DeepRegLib.image import read_image
    from DeepRegLib.segmentation.carrying import carried_scan, read_segmented, volume_rows, write_segmented

    check_output_file(output, (SUFFIX,), transform, data, reference)
    if reference is None:
        raise InputError(f"{data} needs a grid to be brought onto.", "Give --reference with the fixed image.")
    with reading(screen):
        grid = read_image(reference).geometry
        content = read_segmented(data)
        given = read_between(transform, (reference, grid), (data, content.layers[0].geometry))
    carried, warnings = carried_scan(content, given, grid, smooth=smooth)
    write_segmented(carried, output)
    screen.wrote(output)
    for warning in warnings:
        screen.warn(warning)
    rows = volume_rows(content, carried)
    screen.emit({"output": output.name, "size": list(grid.size), "spacing": list(grid.spacing), "segments": rows})
    for row in rows:
        screen.say(f"{row['name']}: {row['volume_before_ml']:.3f} ml, now {row['volume_after_ml']:.3f} ml")
    kind = "layers" if content.fractions is None else "fractional segments"
    screen.say(f"Written to {output}, {len(content.layers)} {kind}")


def apply_to_surfaces(screen: Session, transform: Path, data: Path, output: Path) -> None:
    """Move the points of every segment, each where the transform maps it; no voxel is involved.

    Raises
    ------
    InputError
        If a file cannot be read.
    """
    from DeepRegLib.segmentation.seg_vtm import move_surfaces
    from DeepRegLib.transforms import read_transform

    check_output_file(output, (SURFACES,), transform, data)
    with reading(screen):
        given = read_transform(transform)
    count = move_surfaces(data, output, given.apply_to_points)
    screen.wrote(output)
    screen.emit({"output": output.name, "segments": count})
    screen.say(f"Written to {output}, {count} surfaces")
