"""Measures of segments against plain loops, SimpleITK, and cases worked out by hand."""

from __future__ import annotations

import csv
import io
import math

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.errors import InputError
from DeepRegLib.evaluation import confusion_as_csv, measure_segments, table_as_csv
from DeepRegLib.evaluation.segments import MEASURES
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, to_sitk

SPACING = (1.5, 1.0, 2.0)
OVERLAPS = ("dice", "iou", "accuracy", "sensitivity", "specificity", "precision")


def labels(array: np.ndarray, name: str = "labels") -> Image:
    return Image(array, Geometry(array.shape[::-1], SPACING), name)


def random_pair(seed: int = 3) -> tuple[Image, Image]:
    """Two label maps with three blocky segments each that agree in part."""
    rng = np.random.default_rng(seed)
    first = np.kron(rng.integers(0, 4, size=(4, 5, 4)), np.ones((4, 4, 4), int)).astype(np.int16)
    second = np.roll(first, 1, axis=2)
    second[rng.random(first.shape) < 0.05] = 2
    return labels(first, "drawn"), labels(second, "found")


def surface_points(region: np.ndarray) -> np.ndarray:
    faces = np.concatenate([np.eye(3, dtype=int), -np.eye(3, dtype=int)])
    padded = np.pad(region, 1)
    inside = [p for p in np.argwhere(region) if not all(padded[tuple(p + 1 + face)] for face in faces)]
    return np.array(inside)[:, ::-1] * np.array(SPACING)


def test_overlaps_are_those_of_counted_voxels_and_of_simpleitk():
    reference, found = random_pair()
    table = measure_segments(reference, found)
    assert [row.label for row in table.rows] == [1, 2, 3]
    for row in table.rows:
        a, b = reference.array == row.label, found.array == row.label
        tp, fp, fn, tn = (int(n.sum()) for n in (a & b, ~a & b, a & ~b, ~a & ~b))
        assert row.accuracy == pytest.approx((tp + tn) / a.size)
        assert row.sensitivity == pytest.approx(tp / (tp + fn))
        assert row.specificity == pytest.approx(tn / (tn + fp))
        assert row.precision == pytest.approx(tp / (tp + fp))
        ml = math.prod(SPACING) / 1000
        assert (row.reference_volume, row.volume) == pytest.approx((a.sum() * ml, b.sum() * ml))
        assert row.volume_difference == pytest.approx((int(b.sum()) - int(a.sum())) * ml)
        overlap = sitk.LabelOverlapMeasuresImageFilter()
        overlap.Execute(*(to_sitk(labels(x.astype(np.uint8))) for x in (a, b)))
        assert row.dice == pytest.approx(overlap.GetDiceCoefficient())
        assert row.iou == pytest.approx(overlap.GetJaccardCoefficient())


def test_surface_distances_are_those_between_all_surface_voxels():
    reference, found = random_pair()
    table = measure_segments(reference, found, tolerance=1.0)
    pooled = []
    for row in table.rows:
        a, b = (surface_points(image.array == row.label) for image in (reference, found))
        apart = np.linalg.norm(a[:, None] - b[None], axis=-1)
        there, back = apart.min(axis=1), apart.min(axis=0)
        both = np.concatenate([there, back])
        pooled.append(both)
        assert row.mean_distance == pytest.approx(both.mean(), abs=1e-5)
        assert row.distance95 == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), abs=1e-5)
        assert row.largest_distance == pytest.approx(both.max(), abs=1e-5)
        assert row.surface_dice == pytest.approx(np.mean(both <= 1.0))
    every = np.concatenate(pooled)
    assert table.overall.mean_distance == pytest.approx(every.mean(), abs=1e-5)
    assert table.overall.largest_distance == pytest.approx(every.max(), abs=1e-5)
    assert table.overall.surface_dice == pytest.approx(np.mean(every <= 1.0))


def test_all_segments_together_count_every_voxel_and_confusion_tells_what_is_wrong():
    reference, found = random_pair()
    table = measure_segments(reference, found)
    a, b = reference.array, found.array
    right = int(((a == b) & (a > 0)).sum())
    assert table.overall.dice == pytest.approx(2 * right / ((a > 0).sum() + (b > 0).sum()))
    assert table.overall.accuracy == pytest.approx(np.mean(a == b))
    assert table.overall.sensitivity == pytest.approx(right / (a > 0).sum())
    assert table.overall.specificity == pytest.approx(np.mean(b[a == 0] == 0))
    assert table.mean("dice") == pytest.approx(np.mean([row.dice for row in table.rows]))
    ml = math.prod(SPACING) / 1000
    for each in table.confusion:
        count = int(((a == each.reference) & (b == each.found)).sum())
        assert each.volume == pytest.approx(count * ml)
        assert each.share == pytest.approx(count / (a == each.reference).sum())
    assert sum(each.volume for each in table.confusion) == pytest.approx((a != b).sum() * ml)
    assert [each.volume for each in table.confusion] == sorted((each.volume for each in table.confusion), reverse=True)
    assert len(confusion_as_csv(table.confusion).splitlines()) == len(table.confusion) + 1


def test_a_missing_segment_never_reads_as_perfect():
    """Neither a tiny one that nobody found, nor one that is in neither map, nor one invented."""
    reference, found = np.zeros((2, 16, 16, 16), np.uint8)
    reference[2:8, 2:8, 2:8] = found[2:8, 2:8, 2:8] = 1
    reference[12, 12, 12] = 2
    found[14, 14, 14] = 3
    table = measure_segments(labels(reference), labels(found), {1: "liver", 4: "spleen"})
    rows = {row.label: row for row in table.rows}
    assert [rows[1].name, rows[2].name, rows[4].name] == ["liver", "Label 2", "spleen"]
    assert [rows[1].missing, rows[2].missing, rows[3].missing, rows[4].missing] == [False, True, True, True]
    assert table.missing == (2, 3, 4)
    assert [getattr(rows[1], name) for name in OVERLAPS] == [1.0] * 6
    good = {"dice": 1, "iou": 1, "accuracy": 1, "sensitivity": 1, "specificity": 1, "precision": 1, "surface_dice": 1}
    good |= {"mean_distance": 0, "distance95": 0, "largest_distance": 0, "volume_difference": 0}
    for name, perfect in good.items():
        for label in (2, 3, 4):
            assert getattr(rows[label], name) != perfect, (name, label)
        assert table.mean(name) != perfect, name
        assert getattr(table.overall, name) != perfect or name == "volume_difference", name
    assert (rows[2].dice, rows[2].sensitivity, rows[3].precision, rows[2].surface_dice) == (0, 0, 0, 0)
    assert math.isnan(rows[4].dice)


def test_the_table_as_csv_has_a_line_a_segment_and_nothing_where_nothing_can_be_said():
    reference, found = np.zeros((2, 8, 8, 8), np.uint8)
    reference[2:5, 2:5, 2:5] = found[2:5, 2:5, 3:6] = 1
    reference[7, 7, 7] = 2
    table = measure_segments(labels(reference), labels(found), {1: 'left, "old"', 2: "Größe 肝"})
    rows = list(csv.DictReader(io.StringIO(table_as_csv(table))))
    assert [row["name"] for row in rows] == ['left, "old"', "Größe 肝", "all"]
    assert list(rows[0])[2:] == list(MEASURES)
    assert float(rows[0]["dice"]) == pytest.approx(2 / 3, abs=1e-5)
    assert (rows[1]["dice"], rows[1]["mean_distance"], rows[1]["specificity"]) == ("0", "", "")


def test_what_cannot_be_measured_is_refused():
    reference, found = random_pair()
    with pytest.raises(InputError, match="negative"):
        measure_segments(reference, found, tolerance=-1)
    with pytest.raises(InputError, match="grid"):
        measure_segments(reference, labels(np.zeros((3, 3, 3), np.uint8)))
    with pytest.raises(InputError, match="not scans"):
        measure_segments(reference, labels(np.arange(1280 * 4).reshape(16, 20, 16).astype(np.int32)))
