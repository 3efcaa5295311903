"""What has changed between two aligned scans, segment by segment."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegLib.change import distance_to_surface, segment_changes
from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.masks import grown

GRID = Geometry((40, 36, 30), (1.0, 1.0, 2.0))


def box(first: int, last: int, label: int = 1) -> np.ndarray:
    array = np.zeros(GRID.shape, dtype=np.int16)
    array[8:20, 8:28, first:last] = label
    return array


def test_a_box_that_grew_at_one_face_gained_that_much_and_its_surface_lies_that_far_out() -> None:
    fixed, moving = Image(box(10, 25), GRID, "fixed"), Image(box(10, 20), GRID, "moving")
    (found,) = segment_changes(fixed, moving)
    per_column = 12 * 20 * 2 / 1000
    assert found.fixed_ml == pytest.approx(15 * per_column)
    assert (found.added_ml, found.lost_ml) == (pytest.approx(5 * per_column), 0.0)
    assert found.largest_mm == pytest.approx(5.0)
    assert found.mean_mm is not None
    assert 0 < found.mean_mm < 2
    (other,) = segment_changes(moving, fixed)
    assert (other.added_ml, other.lost_ml) == (found.lost_ml, found.added_ml)


def test_equal_segments_are_no_distance_apart_and_one_that_is_gone_has_none() -> None:
    fixed = Image(box(5, 15, 3) + box(20, 30, 9), GRID, "fixed")
    same, gone = segment_changes(fixed, Image(box(5, 15, 3), GRID, "moving"))
    assert (same.label, same.largest_mm, same.added_ml, same.lost_ml) == (3, 0.0, 0.0, 0.0)
    assert (gone.label, gone.mean_mm, gone.moving_ml) == (9, None, 0.0)
    assert gone.added_ml == gone.fixed_ml


def test_distances_are_in_mm_and_negative_inside() -> None:
    scan = Image(box(10, 20), GRID)
    apart = distance_to_surface(scan, scan.array > 0).array
    assert apart[14, 18, 30] == pytest.approx(10.5)
    assert apart[3, 18, 15] == pytest.approx(9.0)  # five slices of 2 mm
    assert apart[14, 18, 15] < 0


def test_mistakes_are_told() -> None:
    scan = Image(box(10, 20), GRID, "fixed")
    with pytest.raises(InputError, match="different grids"):
        segment_changes(scan, Image(np.zeros((3, 3, 3), np.int16), Geometry((3, 3, 3)), "moving"))
    empty = scan.with_array(np.zeros_like(scan.array))
    with pytest.raises(InputError, match="has a segment"):
        segment_changes(empty, empty)


def test_a_mask_grows_by_millimetres_along_each_axis() -> None:
    scan = Image(box(10, 20), GRID)
    inside = grown(scan, scan.array > 0, 4.0)
    assert inside[14, 18, 6:24].all()
    assert not inside[14, 18, 5]
    assert inside[6:22, 18, 15].all()  # two slices
    assert not inside[5, 18, 15]
    assert grown(scan, scan.array > 0, 0.0).sum() == (scan.array > 0).sum()
