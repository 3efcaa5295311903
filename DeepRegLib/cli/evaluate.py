"""`deepreg evaluate`: overlap, surface distance, landmark error, folds."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from DeepRegLib.cli.pairs import read_landmark_pairs
from DeepRegLib.cli.session import Json, Session, Verbose, check_output_file, reading, session
from DeepRegLib.cli.truth import measure_truth
from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from DeepRegLib.evaluation import SegmentTable
    from DeepRegLib.geometry import Geometry
    from DeepRegLib.image import Image
    from DeepRegLib.transforms import Transform

logger = logging.getLogger(__name__)

# What JSON calls each measure of a segment; the terminal shows those of HEADINGS.
KEYS = {
    "dice": "dice",
    "mean_surface_distance_mm": "mean_distance",
    "hausdorff95_mm": "distance95",
    "hausdorff_mm": "largest_distance",
    "surface_dice": "surface_dice",
    "iou": "iou",
    "accuracy": "accuracy",
    "sensitivity": "sensitivity",
    "specificity": "specificity",
    "precision": "precision",
    "fixed_volume_ml": "reference_volume",
    "moving_volume_ml": "volume",
    "volume_difference_ml": "volume_difference",
}
HEADINGS = {
    "dice": "Dice",
    "mean_surface_distance_mm": "mean distance (mm)",
    "hausdorff95_mm": "95 % Hausdorff (mm)",
    "hausdorff_mm": "Hausdorff (mm)",
    "surface_dice": "surface Dice",
    "volume_difference_ml": "volume (ml)",
}


def evaluate(
    fixed_labels: Annotated[Path | None, typer.Option(help="Label map on the fixed image.")] = None,
    moving_labels: Annotated[Path | None, typer.Option(help="Label map of the same structures, moving side.")] = None,
    fixed_landmarks: Annotated[Path | None, typer.Option(help="Points on the fixed image.")] = None,
    moving_landmarks: Annotated[Path | None, typer.Option(help="The same points on the moving image.")] = None,
    transform: Annotated[
        Path | None, typer.Option(help="Fixed points to moving points; without it the scans are taken as they lie.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="The fixed image, on whose grid folds are counted; else that of the labels.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="The true transform, of a phantom: compared with --transform voxel by voxel.")
    ] = None,
    mask: Annotated[
        Path | None, typer.Option(help="Where the truth counts, on the reference's grid; by default in the anatomy.")
    ] = None,
    error_map: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the distance from the truth, mm, as a volume.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(metavar="MM", help="Of the surface Dice: surfaces no further apart than this agree.")
    ] = 1.0,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the measures of the labels as a table, a .csv file.")
    ] = None,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Measure a result: overlap and surface distances of labels, landmark error (TRE), distance from the truth, folds.

    Of labels, each segment gets Dice, mean, 95 % and largest surface distance, surface Dice, and the difference of its
    volume (moving minus fixed). --csv and --json add IoU, accuracy, sensitivity, specificity and precision, and --json
    what was taken for what. The row "all" counts the voxels of all segments together.

    Labels of the moving side that were brought onto the fixed grid already (warped_labels.nii.gz) are measured without
    --transform.
    """
    with session(json_output, verbose) as screen:
        from DeepRegLib.image import WRITABLE_SUFFIXES

        labels = _both("labels", fixed_labels, moving_labels)
        landmarks = _both("landmarks", fixed_landmarks, moving_landmarks)
        if labels is None and landmarks is None and (transform is None or reference is None):
            raise InputError(
                "There is nothing to evaluate.", "Give labels, landmarks, or a transform with --reference; see --help."
            )
        inputs = [*(labels or ()), *(landmarks or ()), transform, reference, truth, mask]
        if csv is not None:
            if labels is None:
                raise InputError("There are no labels for --csv.", "Give --fixed-labels and --moving-labels.")
            check_output_file(csv, (".csv",), *inputs)
        _check_truth(truth, mask, error_map, transform, reference)
        if error_map is not None:
            check_output_file(error_map, WRITABLE_SUFFIXES, *inputs)
        with reading(screen):
            table = _measure(labels, landmarks, transform, reference, tolerance, csv)
            if truth is not None and transform is not None and reference is not None:
                table["truth_error_mm"] = measure_truth(transform, truth, reference, mask, error_map)
        if csv is not None:
            screen.wrote(csv)
        screen.emit(table)
        if not screen.json_output:
            _show(screen, table)


def _check_truth(
    truth: Path | None, mask: Path | None, error_map: Path | None, transform: Path | None, reference: Path | None
) -> None:
    if truth is None and (mask is not None or error_map is not None):
        raise InputError("There is no truth to compare with.", "Give --truth, or leave out --mask and --error-map.")
    if truth is not None and (transform is None or reference is None):
        raise InputError(f"{truth} is compared with nothing.", "Give --transform and --reference too.")


def _both(kind: str, fixed: Path | None, moving: Path | None) -> tuple[Path, Path] | None:
    if fixed is None and moving is None:
        return None
    if fixed is None or moving is None:
        raise InputError(
            f"{fixed or moving} is one of two files of {kind}.", f"Give both --fixed-{kind} and --moving-{kind}."
        )
    return fixed, moving


def _measure(
    labels: tuple[Path, Path] | None,
    landmarks: tuple[Path, Path] | None,
    transform: Path | None,
    reference: Path | None,
    tolerance: float,
    csv: Path | None,
) -> dict[str, Any]:
    from DeepRegLib.evaluation import table_as_csv
    from DeepRegLib.files import write_text
    from DeepRegLib.image import read_image
    from DeepRegLib.transforms import LinearTransform, read_transform

    chain: Transform = LinearTransform.identity() if transform is None else read_transform(transform)
    table: dict[str, Any] = {}
    grid = None if reference is None else read_image(reference).geometry
    if labels is not None:
        fixed = read_image(labels[0])
        grid = grid or fixed.geometry
        measured = _measure_labels(fixed, read_image(labels[1]), chain, tolerance)
        table |= _as_json(measured)
        if csv is not None:
            write_text(csv, table_as_csv(measured))
    if landmarks is not None:
        table["landmark_error_mm"] = _measure_landmarks(landmarks, chain, grid)
    if transform is not None and grid is not None:
        table |= _measure_folds(chain, grid)
    return table


def _measure_labels(fixed: Image, moving: Image, transform: Transform, tolerance: float) -> SegmentTable:
    from DeepRegLib.evaluation import measure_segments
    from DeepRegLib.labels import label_map
    from DeepRegLib.transforms import apply_to_labels

    first = label_map(fixed)
    measured = measure_segments(
        first, apply_to_labels(transform, label_map(moving), fixed.geometry), tolerance=tolerance
    )
    if not measured.rows:
        raise InputError(f"{fixed.name} and {moving.name} hold no label.", "Give label maps with nonzero voxels.")
    return measured


def _as_json(measured: SegmentTable) -> dict[str, Any]:
    return {
        "labels": {row.label: {key: getattr(row, name) for key, name in KEYS.items()} for row in measured.rows},
        "mean": {key: measured.mean(name) for key, name in KEYS.items()},
        "all": {key: getattr(measured.overall, name) for key, name in KEYS.items()},
        "missing_labels": measured.missing,
        "surface_tolerance_mm": measured.tolerance,
        "confusion": [
            {"fixed": each.reference, "moving": each.found, "volume_ml": each.volume, "share": each.share}
            for each in measured.confusion
        ],
    }


def _measure_landmarks(landmarks: tuple[Path, Path], transform: Transform, grid: Geometry | None) -> dict[str, Any]:
    import numpy as np

    from DeepRegLib.evaluation import target_registration_error
    from DeepRegLib.landmarks import outside_message
    from DeepRegLib.naming import shown

    fixed, moving = read_landmark_pairs(*landmarks)
    if grid is not None:
        for warning in outside_message(fixed, grid, shown(landmarks[0]), "that is the reference"):
            logger.warning("%s", warning)
    errors = target_registration_error(transform, fixed, moving)
    return {
        "mean": float(errors.mean()),
        "median": float(np.median(errors)),
        "max": float(errors.max()),
        "count": len(errors),
    }


def _measure_folds(transform: Transform, grid: Geometry) -> dict[str, Any]:
    from DeepRegLib.evaluation import digital_folds
    from DeepRegLib.transforms import jacobian_determinant

    determinant = jacobian_determinant(transform, grid).array
    return {
        "folds": digital_folds(transform, grid),
        "determinant": {"min": float(determinant.min()), "max": float(determinant.max())},
    }


def _show(screen: Session, table: dict[str, Any]) -> None:
    if "labels" in table:
        screen.out.print(_label_table(table))
        if table["missing_labels"]:
            labels = ", ".join(str(label) for label in table["missing_labels"])
            screen.say(f"Missing in one of the label maps, so that there is no mean distance: {labels}")
    if "landmark_error_mm" in table:
        error = table["landmark_error_mm"]
        screen.say(
            f"Landmark error of {error['count']} points: mean {error['mean']:.2f} mm, "
            f"median {error['median']:.2f} mm, largest {error['max']:.2f} mm"
        )
    if "truth_error_mm" in table:
        error = table["truth_error_mm"]
        screen.say(
            f"Distance from the truth at {error['voxels']} voxels: mean {error['mean']:.2f} mm, 95 % below "
            f"{error['p95']:.2f} mm, largest {error['largest']:.2f} mm; doing nothing: {error['moved']:.2f} mm"
        )
    if "folds" in table:
        limits = table["determinant"]
        screen.say(f"Folded voxels: {table['folds']}; volume change {limits['min']:.3f} to {limits['max']:.3f}")


def _label_table(table: dict[str, Any]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("label", *HEADINGS.values()):
        shown.add_column(heading, justify="right")
    for name, row in (*table["labels"].items(), ("mean", table["mean"]), ("all", table["all"])):
        values = ["-" if math.isnan(row[key]) else f"{row[key]:.3f}" for key in HEADINGS]
        shown.add_row(str(name), *values, style="bold" if name in ("mean", "all") else "")
    return shown
