"""The quality sheet: every figure beside its limit, graded as told, and written so that others can read it."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.grading import Item, overall
from DeepRegLib.image import Image
from DeepRegLib.quality.limits import Limits, StructureLimits, read_limits
from DeepRegLib.quality.output import sheet_csv, sheet_html, write_sheet
from DeepRegLib.quality.sheet import Measured, distance_limit, quality_items
from DeepRegLib.transforms import DisplacementField, LinearTransform

GRID = Geometry((24, 24, 20), (2.0, 2.0, 3.0))


def scan() -> Image:
    away = np.linalg.norm((GRID.points() - GRID.centre) / (18, 16, 22), axis=-1)
    texture = 50 * np.sin(GRID.points()[..., 0] / 4) * np.cos(GRID.points()[..., 1] / 5)
    return Image(np.where(away < 1, 100 + texture, 0).astype(np.float32), GRID, "scan")


def labels() -> Image:
    x = np.abs(GRID.points() - GRID.centre)
    array = np.zeros(GRID.shape, dtype=np.uint8)
    array[np.all(x < 9, axis=-1)] = 1
    array[np.all(x < 4.5, axis=-1)] = 2
    return Image(array, GRID, "labels")


def shifted(x: float) -> LinearTransform:
    matrix = np.eye(4)
    matrix[0, 3] = x
    return LinearTransform(matrix)


def graded(measured: Measured, limits: Limits | None = None) -> dict[tuple[str, str], Item]:
    return {(item.name, item.structure): item for item in quality_items(measured, limits or Limits())}


def test_the_limit_is_the_longest_edge_of_a_voxel_of_both_scans_unless_told() -> None:
    other = Geometry((8, 8, 8), (1.0, 4.0, 1.0))
    assert distance_limit(Limits(), GRID, other) == 4
    assert distance_limit(Limits(distance=1.0), GRID, other) == 1


def test_landmarks_are_graded_against_the_limit() -> None:
    points = GRID.to_world([[10, 10, 10], [12, 9, 8]])
    for error, grade in ((2.9, "pass"), (5.0, "look"), (6.5, "fail")):
        found = graded(Measured(scan(), scan(), shifted(error), landmarks=(points, points)))
        item = found["target registration error, mean", ""]
        assert (item.value, item.grade, item.limit) == (pytest.approx(error), grade, "3 mm")
    strict = graded(Measured(scan(), scan(), shifted(1.5), landmarks=(points, points)), Limits(distance=1.0))
    assert strict["target registration error, largest", ""].grade == "look"


def test_structures_have_overlap_distance_volume_and_jacobian() -> None:
    measured = Measured(
        scan(), scan(), shifted(0), fixed_labels=labels(), moving_labels=labels(), names={1: "Mandible", 2: "core"}
    )
    found = graded(measured)
    assert found["Dice", "Mandible"].value == 1
    assert found["mean distance to agreement", "core"].value == 0
    assert found["volume change by the transform", "core"].value == pytest.approx(0)
    assert found["volume change by the transform", "core"].grade == "information"
    assert found["Jacobian, minimum", "core"].value == pytest.approx(1)
    assert overall(tuple(found.values())) == "pass"


def test_expected_ranges_are_those_of_the_structure() -> None:
    swollen = LinearTransform(np.diag([1.1, 1.1, 1.1, 1.0]))
    limits = Limits(structures={"mandible": StructureLimits(jacobian=(0.95, 1.05), volume_change=(-5.0, 5.0))})
    measured = Measured(
        scan(), scan(), swollen, fixed_labels=labels(), moving_labels=labels(), names={1: "Mandible", 2: "core"}
    )
    found = graded(measured, limits)
    bone, other = (found["Jacobian outside the expected range", name] for name in ("Mandible", "core"))
    assert (bone.value, bone.grade, bone.limit) == (100, "fail", "1 % outside 0.95 to 1.05")
    assert (other.value, other.grade) == (0, "pass")
    assert found["volume change by the transform", "Mandible"].grade == "fail"


def test_folds_fail_and_so_does_the_sheet() -> None:
    array = np.zeros((*GRID.shape, 3))
    array[..., 0] = 6 * np.sin(GRID.points()[..., 0] / 2)
    found = graded(Measured(scan(), scan(), DisplacementField(array, GRID)))
    assert found["folded voxels", ""].value > 0
    assert found["folded voxels", ""].grade == found["Jacobian, minimum", ""].grade == "fail"
    assert overall(tuple(found.values())) == "fail"


def test_inverse_and_loop_are_distances_there_and_back() -> None:
    measured = Measured(scan(), scan(), shifted(2), inverse=shifted(-1), further=(shifted(1), shifted(-7)))
    found = graded(measured)
    assert found["inverse consistency, mean", ""].value == pytest.approx(1)
    assert found["inverse consistency, mean", ""].grade == "pass"
    assert found["transitivity, 95 %", ""].value == pytest.approx(4)
    assert found["transitivity, 95 %", ""].grade == "look"


def test_intensities_are_information_only() -> None:
    found = graded(Measured(scan(), scan(), shifted(0)))
    assert found["cross correlation", ""].value == pytest.approx(1)
    assert {found["cross correlation", ""].grade, found["mutual information (1 to 2)", ""].grade} == {"information"}
    assert overall(()) == "look"


def test_a_sheet_without_landmarks_and_labels_does_not_pass() -> None:
    items = quality_items(Measured(scan(), scan(), shifted(0), inverse=shifted(0)), Limits())
    assert {item.grade for item in items} == {"pass", "information"}
    assert overall(items) == "look"


def test_a_missing_structure_fails() -> None:
    gone = labels()
    gone = gone.with_array(np.where(gone.array == 2, 0, gone.array))
    found = graded(Measured(scan(), scan(), shifted(0), fixed_labels=labels(), moving_labels=gone))
    assert found["Dice", "Label 2"].grade == "fail"
    assert math.isnan(found["mean distance to agreement", "Label 2"].value)
    assert found["mean distance to agreement", "Label 2"].grade == "fail"


def test_limits_are_read_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "l.toml").write_text(
        'distance = 2.5\n[usual]\ndice = 0.7\n[structures."Bone left"]\njacobian = [0.95, 1.05]\n', encoding="utf-8"
    )
    limits = read_limits(tmp_path / "l.toml")
    assert (limits.distance, limits.of("x").dice, limits.of("bone LEFT").jacobian) == (2.5, 0.7, (0.95, 1.05))


@pytest.mark.parametrize(
    "text",
    [
        "unknown = 1",
        "distance = -1",
        "distance = true",
        "[usual]\ndice = 2",
        "[usual]\njacobian = [1.0]",
        "[usual]\njacobian = [2.0, 1.0]",
        "[structures]\nbone = 3",
        "[structures.bone]\nvolume_change = [5.0, -5.0]",
    ],
)
def test_wrong_limits_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "l.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError):
        read_limits(tmp_path / "l.toml")


def test_the_sheet_is_written_for_programs_and_for_paper(tmp_path: Path) -> None:
    items = (Item("Dice", "<b>", 0.91, "", "at least 0.8", "pass"), Item("TRE", "", math.nan, "mm", "3 mm", "fail"))
    write_sheet(tmp_path, items, {"by": "A. <Physicist>", "measured with": {"deepreg": "1"}})
    table = json.loads((tmp_path / "quality.json").read_text(encoding="utf-8"))
    assert (table["grade"], table["items"][0]["value"], table["items"][1]["value"]) == ("fail", 0.91, None)
    rows = list(csv.DictReader(io.StringIO(sheet_csv(items))))
    assert (rows[0]["limit"], rows[0]["grade"], rows[1]["value"]) == ("at least 0.8", "pass", "")
    page = sheet_html(items, {"by": "A. <Physicist>"})
    assert "<b>" not in page.replace("<body>", "")
    assert "A. &lt;Physicist&gt;" in page
    assert "<script" not in page
    assert "http" not in page
