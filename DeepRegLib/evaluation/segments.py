"""All measures of one segmentation against another: a row a segment, one for all, and what was taken for what."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.evaluation.grids import require_one_grid
from DeepRegLib.evaluation.labels import label_array
from DeepRegLib.evaluation.surfaces import around, bounding_boxes, surface_gaps
from DeepRegLib.image import Image

MICROLITRES = 1000.0
TOLERANCE_MM = 1.0
ALL = "all"
NOWHERE = math.nan
MOST_LABELS = 4096  # each pair of them is counted


@dataclass(frozen=True)
class SegmentMeasures:
    """How well one segment was found.

    Everything that cannot be said of a segment that is missing on one side or on both is NaN, specificity and accuracy
    among it: of a small segment that nobody found they would read as perfect.

    Parameters
    ----------
    label
        Its number; 0 in the row of all segments.
    name
        What it is called.
    dice, iou
        2 |A and B| / (|A| + |B|) and |A and B| / |A or B|, 0 to 1; 0 where it is missing on one side.
    accuracy
        Share of all voxels that are rightly inside or outside of it.
    sensitivity
        Share of the reference that was found; 0 where nothing was found.
    specificity
        Share of what lies outside of the reference that was left out.
    precision
        Share of what was found that is right; 0 where the reference has no such segment.
    mean_distance, distance95, largest_distance
        Mean over both surfaces, the larger of both directions' 95th percentiles, and the largest (Hausdorff), mm.
    surface_dice
        Share of both surfaces that lies within the tolerance of the other; 0 where it is missing on one side.
    reference_volume, volume, volume_difference
        In ml; the difference is found minus reference.
    """

    label: int
    name: str
    dice: float
    iou: float
    accuracy: float
    sensitivity: float
    specificity: float
    precision: float
    mean_distance: float
    distance95: float
    largest_distance: float
    surface_dice: float
    reference_volume: float
    volume: float
    volume_difference: float

    @property
    def missing(self) -> bool:
        """Whether it has no voxel on one side, or on both."""
        return not (self.reference_volume > 0 and self.volume > 0)


@dataclass(frozen=True)
class Mistaken:
    """So much of one segment that was found as another; the label 0 is the background.

    Parameters
    ----------
    reference, found
        Labels in the reference and in what was found.
    volume
        In ml.
    share
        Of the volume of that label in the reference.
    """

    reference: int
    found: int
    volume: float
    share: float


@dataclass(frozen=True)
class SegmentTable:
    """All measures of a segmentation.

    Parameters
    ----------
    rows
        One a segment, labels ascending.
    overall
        All of them together: voxels, surfaces and volumes summed, so that a large segment weighs more.
    confusion
        What was taken for what, the largest volume first; what is right is not in it.
    tolerance
        Of the surface Dice, mm.
    """

    rows: tuple[SegmentMeasures, ...]
    overall: SegmentMeasures
    confusion: tuple[Mistaken, ...]
    tolerance: float

    def mean(self, measure: str) -> float:
        """Return the mean of a measure over the segments; NaN where it is NaN for one: the others would hide that."""
        values = [getattr(row, measure) for row in self.rows]
        return math.fsum(values) / len(values) if values else math.nan

    @property
    def missing(self) -> tuple[int, ...]:
        """The labels that have no voxel on one side, or on both."""
        return tuple(row.label for row in self.rows if row.missing)


MEASURES = tuple(field.name for field in fields(SegmentMeasures) if field.name not in ("label", "name"))


@dataclass(frozen=True, eq=False)
class _Surfaces:
    """Distances from the surface of the reference to that of what was found, and back, mm."""

    there: NDArray[np.float32]
    back: NDArray[np.float32]


@dataclass(frozen=True)
class _Counts:
    both: int
    reference: int
    found: int
    voxels: int


def measure_segments(
    reference: Image, found: Image, names: Mapping[int, str] | None = None, *, tolerance: float = TOLERANCE_MM
) -> SegmentTable:
    """Measure a segmentation against a reference.

    Parameters
    ----------
    reference, found
        Label maps on one grid.
    names
        Of the segments to be expected, by label; one that is in neither map gets a row of its own, all NaN.
    tolerance
        Surfaces that are no further apart than this, in mm, agree.

    Raises
    ------
    InputError
        If the grids differ, a voxel is not a whole number, there are too many labels, or the tolerance is negative.

    References
    ----------
    Taha and Hanbury, "Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 2015; surface Dice:
    Nikolov et al., "Clinically applicable segmentation of head and neck anatomy", JMIR 2021 (here by surface voxels).
    """
    if not tolerance >= 0:
        raise InputError(f"The tolerance {tolerance:g} mm is negative.", "Give a distance in mm, 0 or more.")
    require_one_grid(reference, found)
    names = names or {}
    arrays = label_array(reference), label_array(found)
    labels = np.union1d(np.union1d(np.unique(arrays[0]), np.unique(arrays[1])), [0, *names]).astype(np.int64)
    if len(labels) > MOST_LABELS:
        raise InputError(f"{reference.name} and {found.name} hold {len(labels)} labels.", "Give label maps, not scans.")
    matrix = _confusion(*arrays, labels)
    surfaces = _all_surfaces(*arrays, reference.geometry.spacing)
    ml = reference.geometry.voxel_volume / MICROLITRES
    rows = []
    for index, label in enumerate(labels.tolist()):
        if label != 0:
            name = names.get(label, f"Label {label}")
            rows.append(_row(label, name, _counts(matrix, index), surfaces.get(label), tolerance, ml))
    return SegmentTable(
        rows=tuple(rows),
        overall=_overall(matrix, labels, surfaces, tolerance, ml),
        confusion=_mistaken(matrix, labels, ml),
        tolerance=tolerance,
    )


def table_as_csv(table: SegmentTable) -> str:
    """Return a table as CSV text: one line a segment and one for all; what cannot be said is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["label", "name", *MEASURES])
    for row in (*table.rows, table.overall):
        values = [getattr(row, name) for name in MEASURES]
        label = "" if row is table.overall else row.label
        writer.writerow([label, row.name, *("" if math.isnan(value) else f"{value:.6g}" for value in values)])
    return text.getvalue()


def confusion_as_csv(confusion: Sequence[Mistaken]) -> str:
    """Return what was taken for what as CSV text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["reference", "found", "volume", "share"])
    writer.writerows([each.reference, each.found, f"{each.volume:.6g}", f"{each.share:.6g}"] for each in confusion)
    return text.getvalue()


def _confusion(
    reference: NDArray[np.integer], found: NDArray[np.integer], labels: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the voxels of each pair of labels, rows of the reference; slab by slab, so that memory stays small."""
    count = len(labels)
    matrix = np.zeros(count * count, dtype=np.int64)
    for first, second in zip(reference, found, strict=True):
        pairs = np.searchsorted(labels, first) * count + np.searchsorted(labels, second)
        matrix += np.bincount(pairs.ravel(), minlength=count * count)
    return matrix.reshape(count, count)


def _all_surfaces(
    reference: NDArray[np.integer], found: NDArray[np.integer], spacing: tuple[float, float, float]
) -> dict[int, _Surfaces]:
    boxes = bounding_boxes(reference), bounding_boxes(found)
    surfaces = {}
    for label in boxes[0].keys() & boxes[1].keys():
        crop = around(boxes[0][label], boxes[1][label])
        surfaces[label] = _Surfaces(*surface_gaps(reference[crop] == label, found[crop] == label, spacing))
    return surfaces


def _counts(matrix: NDArray[np.int64], index: int) -> _Counts:
    both, reference, found = matrix[index, index], matrix[index].sum(), matrix[:, index].sum()
    return _Counts(int(both), int(reference), int(found), int(matrix.sum()))


def _row(
    label: int, name: str, counts: _Counts, surfaces: _Surfaces | None, tolerance: float, ml: float
) -> SegmentMeasures:
    c = counts
    either = c.reference + c.found - c.both
    whole = c.reference > 0 and c.found > 0
    gone = 0.0 if either else NOWHERE  # a segment on one side only is wrong; of one on neither nothing can be said
    mean, high, largest, agreeing = (
        (NOWHERE, NOWHERE, NOWHERE, gone) if surfaces is None else _apart(surfaces, tolerance)
    )
    return SegmentMeasures(
        label=label,
        name=name,
        dice=_share(2 * c.both, c.reference + c.found),
        iou=_share(c.both, either),
        accuracy=_share(c.voxels - either + c.both, c.voxels) if whole else NOWHERE,
        sensitivity=_share(c.both, c.reference),
        specificity=_share(c.voxels - either, c.voxels - c.reference) if whole else NOWHERE,
        precision=_share(c.both, c.found),
        mean_distance=mean,
        distance95=high,
        largest_distance=largest,
        surface_dice=agreeing,
        reference_volume=c.reference * ml,
        volume=c.found * ml,
        volume_difference=(c.found - c.reference) * ml if either else NOWHERE,
    )


def _overall(
    matrix: NDArray[np.int64],
    labels: NDArray[np.int64],
    surfaces: Mapping[int, _Surfaces],
    tolerance: float,
    ml: float,
) -> SegmentMeasures:
    zero = int(np.searchsorted(labels, 0))
    inside = np.arange(len(labels)) != zero
    reference, found = int(matrix[inside].sum()), int(matrix[:, inside].sum())
    both = int(np.trace(matrix)) - int(matrix[zero, zero])
    # A voxel of one segment that was found as another counts once in each.
    counts = _Counts(both, reference, found, int(matrix.sum()))
    complete = bool(surfaces) and len(surfaces) == int(inside.sum())
    pooled = None
    if complete:
        there = np.concatenate([each.there for each in surfaces.values()])
        pooled = _Surfaces(there, np.concatenate([each.back for each in surfaces.values()]))
    row = _row(0, ALL, counts, pooled, tolerance, ml)
    right = int(np.trace(matrix))
    wrongly_inside = int(matrix[zero].sum()) - int(matrix[zero, zero])
    outside = int(matrix[zero].sum())
    return replace(
        row,
        iou=_share(both, reference + found - both),
        accuracy=_share(right, counts.voxels) if complete else NOWHERE,
        specificity=_share(outside - wrongly_inside, outside) if complete else NOWHERE,
        surface_dice=row.surface_dice if complete else NOWHERE,
    )


def _apart(surfaces: _Surfaces, tolerance: float) -> tuple[float, float, float, float]:
    there, back = surfaces.there, surfaces.back
    both = np.concatenate([there, back])
    high = max(float(np.percentile(there, 95)), float(np.percentile(back, 95)))
    return float(both.mean()), high, float(both.max()), float(np.mean(both <= tolerance))


def _mistaken(matrix: NDArray[np.int64], labels: NDArray[np.int64], ml: float) -> tuple[Mistaken, ...]:
    sizes = matrix.sum(axis=1)
    wrong = [(int(matrix[a, b]), int(a), int(b)) for a, b in np.argwhere(matrix) if a != b]
    wrong.sort(key=lambda each: (-each[0], each[1], each[2]))
    return tuple(Mistaken(int(labels[a]), int(labels[b]), n * ml, n / int(sizes[a])) for n, a, b in wrong)


def _share(part: int, whole: int) -> float:
    return part / whole if whole else NOWHERE
