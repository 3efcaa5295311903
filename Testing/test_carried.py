"""What became of labels that were carried over, in cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegLib.carried import carried_labels, left_behind_message
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.propagation import with_labels
from DeepRegLib.saving import result_to_dict
from DeepRegLib.transforms import LinearTransform, apply_to_labels, invert
from Testing.small import small_pair, small_registration

GRID = Geometry((20, 20, 20), (1.0, 1.0, 1.0))
WIDE = Geometry((40, 20, 20), (1.0, 1.0, 1.0))


def test_a_label_that_shrinks_by_half_is_told_by_its_volumes_and_the_jacobian() -> None:
    drawn = np.zeros(GRID.shape, np.uint8)
    drawn[6:10, 4:8, 2:18] = 5  # 16 voxels along x
    moving = Image(drawn, GRID, "plan")
    transform = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))  # a fixed mm is two moving ones
    warped = apply_to_labels(transform, moving, GRID)
    (row,) = carried_labels(transform, invert(transform), moving, warped)
    assert (row.label, row.volume_before, row.volume_after) == (5, pytest.approx(0.256), pytest.approx(0.128))
    assert row.mean_jacobian == pytest.approx(2.0, abs=1e-5)
    assert row.outside == 0
    assert left_behind_message((row,), "plan") == ()


def test_a_label_that_leaves_the_field_of_view_is_flagged_and_one_that_vanished_has_no_volume() -> None:
    drawn = np.zeros(WIDE.shape, np.uint8)
    drawn[6:10, 4:8, 16:24] = 1  # half of it beyond the fixed grid
    drawn[6:10, 4:8, 30:34] = 2
    moving = Image(drawn, WIDE, "plan")
    same = LinearTransform.identity()
    rows = carried_labels(same, same, moving, apply_to_labels(same, moving, GRID))
    assert [row.outside for row in rows] == [pytest.approx(0.5), 1.0]
    assert [row.volume_after for row in rows] == [pytest.approx(0.064), 0.0]
    assert rows[1].mean_jacobian is None
    (warning,) = left_behind_message(rows, "plan")
    assert "1 (50%), 2 (100%)" in warning


def test_a_registration_tells_what_became_of_its_labels() -> None:
    _, _, fixed_labels, moving_labels = small_pair()
    result = with_labels(small_registration(), moving_labels, fixed_labels)
    assert [row.label for row in result.carried] == [2, 7, 250]
    for row in result.carried:
        ml = fixed_labels.geometry.voxel_volume / 1000
        assert row.volume_after == pytest.approx((result.warped_labels.array == row.label).sum() * ml)
    largest = max(result.carried, key=lambda row: row.volume_before)
    assert largest.volume_after == pytest.approx(largest.volume_before, rel=0.15)
    assert largest.mean_jacobian == pytest.approx(1.0, abs=0.15)
    written = result_to_dict(result, {})["carried_labels"]
    assert [row["label"] for row in written] == [2, 7, 250]
