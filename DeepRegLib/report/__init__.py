"""The report of a registration: one HTML file with pictures, measures and how the result came about."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.files import write_text
from DeepRegLib.grading import items_of, overall, value_text
from DeepRegLib.naming import base_name, without_folders
from DeepRegLib.recipes import (
    AUTO,
    CROSS_MODAL_SIMILARITIES,
    FEATURES,
    LNCC_NGF,
    Recipe,
    recipe_to_toml,
    without_folder,
)
from DeepRegLib.report.pages import Picture, banner_of, data_uri, page_template
from DeepRegLib.report.planes import Plane, planes_of
from DeepRegLib.result import Measures, Registration
from DeepRegLib.transforms import linear_part

__all__ = ["write_report"]

TEMPLATE = "template.html.j2"
ABSOLUTE_PATH = re.compile(r"^(/|~|\\\\|[A-Za-z]:[\\/])")


@dataclass(frozen=True)
class MeasureRow:
    """A line of the table of measures, numbers already written out."""

    name: str
    before: str
    after: str
    meaning: str


def write_report(registration: Registration, path: str | Path) -> None:
    """Write a registration's report as one HTML file that needs nothing else: no scripts, no links, no fonts.

    It shows the verdict with its reasons, slices in three planes (radiological orientation) before and after, the
    deformation, label outlines if there are labels, the model's uncertainty if it was asked for, the convergence, all
    measures, and the recipe and provenance. Of file names only the last part is shown.

    Parameters
    ----------
    registration
        The result to report.
    path
        The HTML file. Its folder must exist.

    Raises
    ------
    DeepRegError
        If jinja2 or Pillow is not installed.
    OutputError
        If the file cannot be written.
    """
    write_text(path, render_report(registration))


def render_report(registration: Registration) -> str:
    """Return the HTML text that `write_report` writes.

    Raises
    ------
    DeepRegError
        If jinja2 or Pillow is not installed.
    """
    page = page_template(TEMPLATE)
    from DeepRegLib.report.curves import curves_drawing

    planes = planes_of(registration)
    measures = registration.measures
    return page.render(
        banner=banner_of(registration.verdict),
        reasons=_plain(registration, registration.verdict.reasons),
        warnings=_plain(registration, registration.warnings),
        decisions=_plain(registration, registration.decisions),
        fixed=base_name(registration.fixed.name),
        moving=base_name(registration.moving.name),
        pictures=list(_pictures(registration, planes)),
        curves=data_uri(curves_drawing(registration.curves), "svg+xml") if registration.curves else None,
        transform=_transform_rows(registration),
        measures=[
            *measure_rows(measures),
            *_uncertainty_rows(registration),
            *_explanation_rows(registration),
            *_trust_rows(registration),
        ],
        places=_place_rows(registration),
        sheet=items_of(registration),
        grade=overall(items_of(registration)),
        value_text=value_text,
        dice=_dice_rows(measures),
        timings=[(name, f"{seconds:.1f}") for name, seconds in registration.timings.items()],
        total_time=f"{sum(registration.timings.values()):.1f}",
        recipe_name=registration.recipe.name,
        model=registration.model,
        recipe=recipe_to_toml(without_folder(registration.recipe)),
        provenance=list(_flattened(registration, registration.provenance)),
    )


def _pictures(registration: Registration, planes: tuple[Plane, ...]) -> Iterator[Picture]:
    from DeepRegLib.report import figures

    yield Picture(
        "Images",
        "Slices through the centre of the fixed foreground, radiological orientation: R right, L left, A anterior, "
        "P posterior, S superior, I inferior. A dashed line is the border of what was scanned in the moving image.",
        data_uri(figures.images_figure(planes)),
    )
    yield Picture(
        "Edges of the fixed image on the moving image",
        "After registration the yellow lines must follow the outlines below them.",
        data_uri(figures.edges_figure(planes)),
    )
    yield Picture(
        "Overlay",
        "Fixed in red, moving in cyan. Within one modality, what agrees is grey and colour fringes show misalignment.",
        data_uri(figures.overlay_figure(planes)),
    )
    yield Picture(
        "Checkerboard",
        "Tiles of the fixed and the moving image in turn. Edges must run on across the borders of the tiles.",
        data_uri(figures.checkerboard_figure(planes)),
    )
    if _one_modality(registration.recipe):
        yield Picture(
            "Difference",
            "Moving minus fixed after both were brought to one brightness: grey where they agree.",
            data_uri(figures.difference_figure(planes)),
        )
    if registration.warped_labels is not None:
        yield Picture(
            "Transferred labels",
            "Outlines of the moving labels after registration. They must follow the structures of the fixed image.",
            data_uri(figures.labels_figure(planes)),
        )
    if not figures.is_linear(registration):
        yield Picture(
            "Deformation",
            "Without the linear part. Above, the moving image's regular grid as it lies on the fixed image: it must be "
            "smooth and must not cross itself. Below, the logarithm of the volume change: 0 keeps volume, red is "
            "moving tissue that was shrunk to fit (0.7 is to a half), blue was enlarged, green is folded.",
            data_uri(figures.deformation_figure(registration, planes)),
        )
    if registration.uncertainty is not None:
        yield Picture(
            "Uncertainty of the model",
            "How far the model's answers to the same pair differ, in mm: where it is bright, it was guessing. The "
            "deformable stage moves on from the answer, so this is no error bar of the final transform.",
            data_uri(figures.uncertainty_figure(planes)),
        )
    if registration.explanation is not None:
        yield Picture(
            "What the model went by",
            "How far the model's field moves at each place if the fixed image is hidden there. Where it is dark, the "
            "field came from what lies around, or from what the model was taught, not from what the image shows.",
            data_uri(figures.explanation_figure(planes)),
        )


def _one_modality(recipe: Recipe) -> bool:
    """Tell whether brightness was comparable, from the similarity that the run chose."""
    stage = recipe.deformable if recipe.deformable.enabled else recipe.linear
    return stage.similarity not in (AUTO, LNCC_NGF, FEATURES, *CROSS_MODAL_SIMILARITIES)


def _transform_rows(registration: Registration) -> list[tuple[str, str, str]]:
    matrix = linear_part(registration.transform).matrix[:3, :3]
    left, _, right = np.linalg.svd(matrix)
    rotation = left @ right
    determinant = float(np.linalg.det(matrix))
    angle = math.degrees(math.acos(float(np.clip((np.trace(rotation * np.sign(determinant)) - 1) / 2, -1, 1))))
    inside = np.argwhere(registration.fixed_foreground.array)[:, ::-1]
    geometry = registration.fixed.geometry
    centre = geometry.to_world(inside.mean(0)) if len(inside) else geometry.centre
    shift = float(np.linalg.norm(registration.transform.apply_to_points(centre) - centre))
    rows = [
        (
            "Shift of the centre",
            f"{shift:.1f} mm",
            "From the fixed foreground's centre to its place in the moving image.",
        ),
        ("Rotation", f"{angle:.1f}°", "Of the linear part."),
        ("Volume factor", f"{abs(determinant):.3f}", "Of the linear part; above 1 the moving anatomy is larger."),
    ]
    if determinant < 0:
        rows.append(("Mirrored", "yes", "Left and right are exchanged."))
    return rows


def measure_rows(measures: Measures) -> Iterator[MeasureRow]:
    m = measures
    yield MeasureRow(
        "Structure agreement",
        _number(m.structure_before),
        _number(m.structure_after),
        "How well edges run the same way, whatever the contrast: 0 chance, 1 everywhere.",
    )
    yield MeasureRow(
        "Mutual information", _number(m.nmi_before), _number(m.nmi_after), "Normalised: 1 unrelated, 2 identical."
    )
    yield MeasureRow(
        "Cross correlation",
        _number(m.ncc_before),
        _number(m.ncc_after),
        "−1 to 1; meaningful within one modality.",
    )
    if m.dice_after is not None:
        yield MeasureRow(
            "Mean Dice",
            _number(_mean(m.dice_before)),
            _number(_mean(m.dice_after)),
            "Overlap of the labels: 0 none, 1 identical.",
        )
    if m.tre_after is not None:
        yield MeasureRow(
            "Landmark error (TRE)",
            _number(m.tre_before, " mm"),
            _number(m.tre_after, " mm"),
            "Mean distance between corresponding landmarks.",
        )
    yield from _single_rows(m)


def _single_rows(m: Measures) -> Iterator[MeasureRow]:
    yield MeasureRow(
        "Coverage", "", _percent(m.overlap), "Share of the fixed anatomy that was scanned in the moving image."
    )
    yield MeasureRow("Folds", "", str(m.folds), "Voxels where the transform folds space over; should be 0.")
    if m.inverse_folds is not None:
        yield MeasureRow("Folds of the inverse", "", str(m.inverse_folds), "The same of the way back; should be 0.")
    yield MeasureRow(
        "Volume change",
        "",
        f"{_number(m.jacobian_min)} to {_number(m.jacobian_max)}",
        "Smallest and largest Jacobian determinant; 1 keeps volume, below 0 is a fold.",
    )
    yield MeasureRow(
        "Irregularity", "", _number(m.log_jacobian_sd), "Spread of the log Jacobian of the deformation; 0 is rigid."
    )
    yield MeasureRow(
        "Inverse error",
        "",
        f"{_number(m.inverse_error_mean)} mm, 99 % below {_number(m.inverse_error_p99)} mm",
        "Distance between points and their way there and back.",
    )


def _trust_rows(registration: Registration) -> Iterator[MeasureRow]:
    percentiles = registration.trust_percentiles()
    if percentiles is not None:
        median, high = percentiles
        yield MeasureRow(
            "Expected error",
            "",
            f"{_number(median)} mm, 95 % below {_number(high)} mm",
            "By how well the surroundings of each place agree (trust map, inside the fixed foreground).",
        )


def _place_rows(registration: Registration) -> list[tuple[str, str, str]]:
    """Return where to look first: the place, the expected error, and what is wrong there."""
    return [
        (" ".join(f"{value:.0f}" for value in place.position), f"{place.expected_mm:.1f} mm", place.reason)
        for place in registration.worst_places
    ]


def _uncertainty_rows(registration: Registration) -> Iterator[MeasureRow]:
    percentiles = registration.uncertainty_percentiles()
    if percentiles is not None:
        median, high = percentiles
        yield MeasureRow(
            "Model uncertainty",
            "",
            f"{_number(median)} mm, 95 % below {_number(high)} mm",
            "How far the model's answers to the same pair differ (median inside the fixed foreground); it is no error "
            "bar of the final transform.",
        )


def _explanation_rows(registration: Registration) -> Iterator[MeasureRow]:
    agreement = registration.explanation_agreement()
    if agreement is not None:
        yield MeasureRow(
            "Model explanation",
            "",
            _number(agreement),
            "Rank correlation of what the model went by with the expected error: below 0, it relied most on what the "
            "scans show where least error is expected.",
        )


def _dice_rows(measures: Measures) -> list[tuple[int, str, str]]:
    before, after = measures.dice_before or {}, measures.dice_after or {}
    labels = sorted(before.keys() | after.keys())
    return [(n, _number(before.get(n)), _number(after.get(n))) for n in labels]


def _mean(scores: Mapping[int, float] | None) -> float | None:
    return math.fsum(scores.values()) / len(scores) if scores else None


def _number(value: float | None, unit: str = "") -> str:
    if value is None or math.isnan(value):
        return "–"
    text = f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"
    return f"{text}{unit}".replace("-", "−")


def _percent(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.0f} %"


def _plain(registration: Registration, texts: tuple[str, ...]) -> list[str]:
    """Take the folders off file names: they may say more about a patient than the reader should know."""
    images = (registration.fixed, registration.moving, registration.warped_labels)
    return without_folders(texts, [image.name for image in images if image is not None])


def _flattened(registration: Registration, table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flattened(registration, value, f"{prefix}{base_name(str(key))}.")
            continue
        text = value if isinstance(value, str) else json.dumps(value, default=str, ensure_ascii=False)
        shown = base_name(text) if ABSOLUTE_PATH.match(text) else _plain(registration, (text,))[0]
        yield f"{prefix}{base_name(str(key))}", shown
