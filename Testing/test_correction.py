"""What a user drags is checked before anything is computed."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegLib.correction import Correction
from DeepRegLib.errors import InputError


def test_places_are_kept_as_float64_and_the_longest_drag_is_told() -> None:
    correction = Correction(np.array([[0, 0, 0], [1, 1, 1]]), np.array([[3, 4, 0], [1, 1, 2]]))
    assert correction.shown.dtype == correction.wanted.dtype == np.float64
    assert correction.longest == 5.0


@pytest.mark.parametrize(
    ("shown", "wanted", "reason"),
    [
        ([[0, 0, 0]], [[1, 0, 0], [2, 0, 0]], "1 places to drag and 2 to drag them to"),
        (np.zeros((0, 3)), np.zeros((0, 3)), "0 places to drag"),
        ([[0, 0, 0]], [[0, 0, 0]], "corrects nothing"),
        ([[0, 0, np.nan]], [[1, 0, 0]], "not finite"),
        ([[0, 0]], [[1, 0]], "shape"),
        ([["a", 0, 0]], [[1, 0, 0]], "not lists of numbers"),
    ],
)
def test_what_corrects_nothing_is_refused(shown: object, wanted: object, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        Correction(shown, wanted)  # type: ignore[arg-type]
