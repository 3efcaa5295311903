"""The grid of an inverse: as fine as its promised error needs, and not much finer."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegLib.recipes import load_recipe
from DeepRegLib.stages.inverse import INVERSE_MEAN_MM, INVERSE_P99_MM, consistency, invert_well, is_exact
from DeepRegLib.transforms import parts_of
from Testing.stages.runs import run_of
from Testing.synthetic import blobs, geometry_in, smooth_field


@pytest.mark.parametrize("amplitude", [14.0, 18.0])
def test_the_inverse_of_a_bent_field_is_as_exact_as_promised_and_not_twice_as_exact(amplitude: float) -> None:
    fixed = blobs(geometry_in(size=(40, 40, 40), spacing=3.0), radius=40.0)
    field = smooth_field(geometry_in(size=(20, 20, 20), spacing=6.0), amplitude)
    run = run_of(fixed, fixed, load_recipe("fast"), "inverse")
    inverse = invert_well(run, field, seed=0).inverse
    reached = consistency(run, field, inverse)
    assert is_exact(reached)
    size = np.array(parts_of(inverse)[0].geometry.size)
    finer = size.max() > 1.1 * max(field.geometry.size)
    assert finer, "the field bends too little to tell anything"
    assert reached.mean > INVERSE_MEAN_MM / 2 or reached.p99 > INVERSE_P99_MM / 2
