"""`deepreg evaluate`: overlap, surface distance, landmark error, folds."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from DeepRegLib.cli.pairs import read_landmark_pairs
from DeepRegLib.cli.session import Json, Session, Verbose, reading, session
from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from DeepRegLib.geometry import Geometry
    from DeepRegLib.image import Image
    from DeepRegLib.transforms import Transform

logger = logging.getLogger(__name__)


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
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Measure a result: Dice and surface distances of labels, landmark error (TRE), folds.

    Labels of the moving side that were brought onto the fixed grid already (warped_labels.nii.gz) are measured without
    --transform.
    """
    with session(json_output, verbose) as screen:
        labels = _both("labels", fixed_labels, moving_labels)
        landmarks = _both("landmarks", fixed_landmarks, moving_landmarks)
        if labels is None and landmarks is None and (transform is None or reference is None):
            raise InputError(
                "There is nothing to evaluate.", "Give labels, landmarks, or a transform with --reference; see --help."
            )
        with reading(screen):
            table = _measure(labels, landmarks, transform, reference)
        screen.emit(table)
        if not screen.json_output:
            _show(screen, table)


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
) -> dict[str, Any]:
    from DeepRegLib.image import read_image
    from DeepRegLib.transforms import LinearTransform, read_transform

    chain: Transform = LinearTransform.identity() if transform is None else read_transform(transform)
    table: dict[str, Any] = {}
    grid = None if reference is None else read_image(reference).geometry
    if labels is not None:
        fixed = read_image(labels[0])
        grid = grid or fixed.geometry
        table |= _measure_labels(fixed, read_image(labels[1]), chain)
    if landmarks is not None:
        table["landmark_error_mm"] = _measure_landmarks(landmarks, chain, grid)
    if transform is not None and grid is not None:
        table |= _measure_folds(chain, grid)
    return table


def _measure_labels(fixed: Image, moving: Image, transform: Transform) -> dict[str, Any]:
    from DeepRegLib.evaluation import dice, mean_dice, surface_distances
    from DeepRegLib.labels import label_map
    from DeepRegLib.transforms import apply_to_labels

    first = label_map(fixed)
    second = apply_to_labels(transform, label_map(moving), fixed.geometry)
    overlaps, distances = dice(first, second), surface_distances(first, second)
    if not overlaps:
        raise InputError(f"{fixed.name} and {moving.name} hold no label.", "Give label maps with nonzero voxels.")
    each = {
        label: {
            "dice": overlaps[label],
            "mean_surface_distance_mm": distances[label].mean,
            "hausdorff95_mm": distances[label].hausdorff95,
        }
        for label in overlaps
    }
    mean = {
        "dice": mean_dice(overlaps),
        "mean_surface_distance_mm": _mean([d.mean for d in distances.values()]),
        "hausdorff95_mm": _mean([d.hausdorff95 for d in distances.values()]),
    }
    missing = [label for label in overlaps if math.isnan(distances[label].mean)]
    return {"labels": each, "mean": mean, "missing_labels": missing}


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


def _mean(values: list[float]) -> float:
    """Return the mean; NaN if a label is missing on one side: the mean of the others would hide that."""
    return math.fsum(values) / len(values) if values else math.nan


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
    if "folds" in table:
        limits = table["determinant"]
        screen.say(f"Folded voxels: {table['folds']}; volume change {limits['min']:.3f} to {limits['max']:.3f}")


def _label_table(table: dict[str, Any]) -> Table:
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("label", "Dice", "mean distance (mm)", "95 % Hausdorff (mm)"):
        shown.add_column(heading, justify="right")
    for name, row in (*table["labels"].items(), ("mean", table["mean"])):
        values = ["-" if math.isnan(value) else f"{value:.3f}" for value in row.values()]
        shown.add_row(str(name), *values, style="bold" if name == "mean" else "")
    return shown
