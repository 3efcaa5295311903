"""Distance discordance: nothing where all registrations agree, the error's size where one does not."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.evaluation.discordance import distance_discordance
from DeepRegLib.transforms import LinearTransform, compose
from Testing.synthetic import random_linear

POINTS = np.array([[1.0, 2.0, 3.0], [40.0, -20.0, 9.0]])


def consistent(count: int) -> dict[tuple[int, int], LinearTransform]:
    """Return transforms between scans that are all right: each scan has a place of its own in one world."""
    places = [random_linear(seed, 15, 9) for seed in range(count)]
    return {(a, b): compose(places[a].inverse(), places[b]) for a, b in permutations(range(count), 2)}


@pytest.mark.parametrize("count", [4, 5])
def test_registrations_that_agree_have_none(count: int) -> None:
    np.testing.assert_allclose(distance_discordance(consistent(count), 1, POINTS), 0, atol=1e-9)


def test_a_registration_that_is_off_shows_by_its_share() -> None:
    transforms = consistent(4)
    shift = np.eye(4)
    shift[0, 3] = 6
    transforms[2, 3] = compose(transforms[2, 3], LinearTransform(shift))
    # From 0, scan 3 is reached over 1 and over 2, which are 6 mm apart; so are no others: a third of the mean.
    np.testing.assert_allclose(distance_discordance(transforms, 0, POINTS), 2, atol=1e-9)


def test_too_few_scans_and_missing_pairs_are_refused() -> None:
    with pytest.raises(InputError, match="needs the registrations of 4 scans; 3 were given"):
        distance_discordance(consistent(3), 0, POINTS)
    transforms = consistent(4)
    del transforms[2, 3]
    with pytest.raises(InputError, match="scan 2 to scan 3 is missing"):
        distance_discordance(transforms, 0, POINTS)
