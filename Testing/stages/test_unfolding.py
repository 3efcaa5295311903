"""An inverse is smoothed where it folds on the moving scan's grid, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegLib.evaluation import digital_folds
from DeepRegLib.evaluation.regularity import folded_voxels
from DeepRegLib.geometry import Geometry
from DeepRegLib.monitoring import never_cancel
from DeepRegLib.stages import unfolding
from DeepRegLib.stages.unfolding import unfolded
from DeepRegLib.transforms import DisplacementField, compose, parts_of
from Testing.synthetic import geometry_in, random_linear, smooth_field

GRID = geometry_in("oblique", (24, 24, 24), 2.0)


def folded_field(strength: float = 8.0) -> DisplacementField:
    """Return a field that is torn at two voxels."""
    array = smooth_field(GRID, 6.0, seed=3).array.astype(np.float32)
    array[12, 12, 12] += strength
    array[6, 15, 9] -= strength
    return DisplacementField(array, GRID)


@pytest.mark.parametrize("spacing", [1.3, 2.0, 2.9])
def test_an_inverse_that_folds_is_smoothed_there_alone(spacing: float) -> None:
    turned = random_linear(seed=2)
    given = compose(turned, folded_field())
    back = turned.inverse()
    corner, direction = back.apply_to_points(GRID.to_world([2.0, 2.0, 2.0])), back.matrix[:3, :3] @ GRID.axes
    moving = Geometry((16, 16, 16), (spacing,) * 3, tuple(corner), tuple(direction.ravel()))
    found = digital_folds(given, moving)
    if not found:
        pytest.skip("this grid does not show the tear")
    done = unfolded(given, moving)
    assert (done.found, done.folds) == (found, 0)
    assert digital_folds(done.inverse, moving) == 0
    changed = (parts_of(done.inverse)[-1].array != folded_field().array).any(-1)
    assert 0 < changed.mean() < 0.3


def test_an_inverse_without_folds_stays_what_it_is() -> None:
    given = smooth_field(GRID, 6.0, seed=3)
    done = unfolded(given, GRID)
    assert done.inverse is given
    assert (done.folds, done.found) == (0, 0)


def test_of_several_fields_the_folds_are_counted() -> None:
    given = compose(folded_field(), smooth_field(GRID, 1.0, seed=5))
    done = unfolded(given, GRID)
    assert done.inverse is given
    assert done.folds == done.found == digital_folds(given, GRID) > 0


@pytest.mark.parametrize("rounds", [0, 1, 12])
def test_what_is_counted_about_changes_is_what_counting_all_finds(rounds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfolding, "FOLD_ROUNDS", rounds)
    turned = random_linear(seed=2)
    given, back = compose(turned, folded_field()), turned.inverse()
    corner, direction = back.apply_to_points(GRID.to_world([-4.0, -4.0, -4.0])), back.matrix[:3, :3] @ GRID.axes
    moving = Geometry((44, 44, 44), (1.5,) * 3, tuple(corner), tuple(direction.ravel()))
    folded = folded_voxels(given, moving)
    tried, touched = unfolding._smoothed_where(given, folded, moving, "cpu", never_cancel)
    assert sum(int(np.prod(unfolding._lengths(box))) for box in touched) < folded.size
    assert bool(touched) == (rounds > 0)
    again = unfolding._counted_again(tried, folded, touched, moving, never_cancel)
    assert np.array_equal(again, folded_voxels(tried, moving))
    assert again.any() == (rounds == 0)
