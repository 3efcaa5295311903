"""`deepreg quality`: the quality sheet of a registration."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from DeepRegLib.cli.session import Json, Session, Verbose, one_line, reading, session
from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from DeepRegLib.grading import Item
    from DeepRegLib.quality.limits import Limits
    from DeepRegLib.quality.sheet import Measured

STYLES = {"pass": "green", "look": "yellow", "fail": "bold red", "information": "dim"}


def quality(
    fixed: Annotated[Path, typer.Argument(metavar="FIXED", help="Volume file or DICOM folder.")],
    moving: Annotated[Path, typer.Argument(metavar="MOVING", help="Volume file or DICOM folder.")],
    transform: Annotated[Path, typer.Option(help="Fixed points to moving points, of any tool.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="New folder for quality.json, .csv and .html.")],
    inverse: Annotated[
        Path | None, typer.Option(help="Moving points to fixed points; by default inverse.h5 beside the transform.")
    ] = None,
    fixed_landmarks: Annotated[
        Path | None, typer.Option(help="Points that the registration was not given, on the fixed scan.")
    ] = None,
    moving_landmarks: Annotated[Path | None, typer.Option(help="The same points on the moving scan.")] = None,
    fixed_labels: Annotated[Path | None, typer.Option(help="Label map, SEG or RTSTRUCT of the fixed scan.")] = None,
    moving_labels: Annotated[Path | None, typer.Option(help="The same structures of the moving scan.")] = None,
    via: Annotated[
        tuple[Path, Path] | None,
        typer.Option(metavar="SECOND THIRD", help="Transforms moving to a third scan, and that to the fixed one."),
    ] = None,
    limits: Annotated[Path | None, typer.Option(help="TOML file with limits, also per structure.")] = None,
    stereotactic: Annotated[bool, typer.Option("--stereotactic", help="The limit of distances is 1 mm.")] = False,
    by: Annotated[str | None, typer.Option(metavar="TEXT", help="Who has looked at it.")] = None,
    on: Annotated[str | None, typer.Option(metavar="TEXT", help="When.")] = None,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Measure what AAPM's TG-132 asks for, each item beside its limit and graded pass, look or fail."""
    with session(json_output, verbose) as screen:
        from DeepRegLib.files import check_new_folder, write_folder
        from DeepRegLib.quality.output import sheet_table, write_sheet
        from DeepRegLib.quality.sheet import quality_items

        check_new_folder(output)
        wanted = _limits(limits, stereotactic)
        beside = transform.parent / "inverse.h5"
        back = inverse or (beside if transform.name == "transform.h5" and beside.is_file() else None)
        with reading(screen):
            measured = _measured(
                (fixed, moving),
                transform,
                back,
                (fixed_landmarks, moving_landmarks),
                (fixed_labels, moving_labels),
                via,
            )
        about = _about(measured, transform, by, on, wanted)
        for key in ("landmarks", "scans"):
            if key in about:
                screen.warn(about[key])
        items = quality_items(measured, wanted)
        write_folder(output, lambda folder: write_sheet(folder, items, about))
        screen.wrote(output)
        screen.emit(sheet_table(items, about))
        if not screen.json_output:
            _show(screen, items)
            screen.say(f"Written to {output}")


def _limits(path: Path | None, stereotactic: bool) -> Limits:
    from DeepRegLib.quality.limits import STEREOTACTIC_MM, Limits, read_limits

    limits = Limits() if path is None else read_limits(path)
    return replace(limits, distance=STEREOTACTIC_MM) if stereotactic else limits


def _measured(
    scans: tuple[Path, Path],
    transform: Path,
    inverse: Path | None,
    landmarks: tuple[Path | None, Path | None],
    labels: tuple[Path | None, Path | None],
    via: tuple[Path, Path] | None,
) -> Measured:
    from DeepRegLib.cli.label_files import read_label_pair
    from DeepRegLib.cli.pairs import read_landmark_pairs
    from DeepRegLib.cli.transform_files import read_between
    from DeepRegLib.image import read_image
    from DeepRegLib.labels import check_labels
    from DeepRegLib.quality.sheet import Measured
    from DeepRegLib.transforms import read_transform

    if (landmarks[0] is None) != (landmarks[1] is None):
        raise InputError(
            "Landmarks were given of one scan only.", "Give both --fixed-landmarks and --moving-landmarks."
        )
    fixed, moving = (read_image(scan) for scan in scans)
    ends = (scans[0], fixed.geometry), (scans[1], moving.geometry)
    found = _structures(read_label_pair, (scans[0], fixed, labels[0]), (scans[1], moving, labels[1]))
    pair = None if landmarks[0] is None or landmarks[1] is None else read_landmark_pairs(landmarks[0], landmarks[1])
    return Measured(
        fixed,
        moving,
        read_between(transform, *ends),
        None if inverse is None else read_between(inverse, ends[1], ends[0]),
        pair,
        None if found[0] is None else check_labels(found[0], fixed),
        None if found[1] is None else check_labels(found[1], moving),
        found[2],
        () if via is None else tuple(read_transform(path) for path in via),
    )


def _structures(read: Any, fixed: tuple[Any, ...], moving: tuple[Any, ...]) -> tuple[Any, Any, dict[int, str]]:
    """Return both label maps and what their labels are called; of fixed labels alone their Jacobian is measured."""
    if fixed[2] is not None and moving[2] is None:
        alone = read((moving[0], moving[1], None), fixed)
        return alone.moving, None, {structure.label: structure.name for structure in alone.structures}
    both = read(fixed, moving)
    return both.fixed, both.moving, {structure.label: structure.name for structure in both.structures}


def _about(measured: Measured, transform: Path, by: str | None, on: str | None, limits: Limits) -> dict[str, Any]:
    from DeepRegLib.provenance import image_hash, points_hash, transform_hash
    from DeepRegLib.quality.sheet import distance_limit
    from DeepRegLib.versions import versions

    hashes = {
        "fixed_sha256": image_hash(measured.fixed),
        "moving_sha256": image_hash(measured.moving),
        "transform_sha256": transform_hash(measured.transform),
    }
    about: dict[str, Any] = {"by": one_line(by) if by else "", "on": one_line(on) if on else ""}
    about["limit of distances"] = f"{distance_limit(limits, measured.fixed.geometry, measured.moving.geometry):g} mm"
    made = _result_beside(transform)
    if made:
        made_of, recipe, verdict = (_table(made.get(key)) for key in ("provenance", "recipe", "verdict"))
        about["recipe"] = one_line(str(recipe.get("name", "")))
        about["verdict"] = one_line(str(verdict.get("level", "")))
        about["registered with"] = _table(made_of.get("versions"))
        if any(made_of.get(key) not in (None, hashes[key]) for key in ("fixed_sha256", "moving_sha256")):
            about["scans"] = "The result beside the transform was made of other scans than these."
        if measured.landmarks is not None and made_of.get("fixed_landmarks_sha256") == points_hash(
            measured.landmarks[0]
        ):
            about["landmarks"] = "These landmarks drew the registration: their error says nothing of it elsewhere."
    return about | {"measured with": versions()} | hashes


def _result_beside(transform: Path) -> dict[str, Any]:
    """Return the result that a transform is of, where it lies in that result's folder."""
    from DeepRegLib.files.json_tables import json_table
    from DeepRegLib.files.output_folder import LARGEST_RESULT, RESULT

    path = transform.parent / RESULT
    table = json_table(path, LARGEST_RESULT) or {}
    listed = table.get("files", {})
    return table if isinstance(listed, dict) and transform.name in listed.values() else {}


def _table(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _show(screen: Session, items: tuple[Item, ...]) -> None:
    from DeepRegLib.grading import overall, value_text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("item", "structure", "value", "limit", "grade"):
        table.add_column(heading, justify="right" if heading == "value" else "left")
    for item in items:
        table.add_row(
            item.name, one_line(item.structure), value_text(item), item.limit, f"[{STYLES[item.grade]}]{item.grade}[/]"
        )
    screen.out.print(table)
    screen.say(f"Grade: {overall(items)}")
