"""The map of expected errors: larger where something is wrong, in mm, and the places it names."""

from __future__ import annotations

import numpy as np
import pytest

from DeepRegLib.evaluation.surroundings import Apart, doubt_of, led_astray, motion_of_surroundings
from DeepRegLib.evaluation.trust import Place, Signs, expected_error, window_signs, worst_places
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.transforms import DisplacementField, LinearTransform, apply_to_image, invert
from DeepRegLib.trust_map import STEP_MM, trust_of, what_is_wrong
from Testing.small import small_registration
from Testing.synthetic import anatomy, geometry_in

GRID = geometry_in("LPS", (36, 40, 34), 3.0)
IDENTITY = LinearTransform.identity()


def moved_on_one_side(image: Image, mm: float) -> Image:
    """Return an image of which the half of larger x is moved along y."""
    array = np.zeros((*GRID.shape, 3))
    array[..., 1] = mm / (1 + np.exp(-(GRID.points()[..., 0] - GRID.centre[0]) / 4))
    return apply_to_image(DisplacementField(array, GRID), image, GRID)


def everywhere(image: Image) -> Image:
    return image.with_array(np.ones(image.array.shape, dtype=np.bool_))


def signs(**changes: float) -> Signs:
    values = {"unlike": 0.4, "shift": 1.0, "stretch": 0.1, "inverse_error": 0.05, "astray": 0.5} | changes
    return Signs(**{name: np.full((1, 1, 1), value, np.float32) for name, value in values.items()})


def test_more_error_is_expected_where_the_images_are_apart() -> None:
    fixed = anatomy(GRID)
    inside = fixed.with_array(fixed.array > 0)
    warped = moved_on_one_side(fixed, 6.0)
    trust, places = trust_of(fixed, warped, everywhere(fixed), inside, IDENTITY, IDENTITY, inside)
    right = (GRID.points()[..., 0] > GRID.centre[0] + 10) & inside.array
    left = (GRID.points()[..., 0] < GRID.centre[0] - 10) & inside.array
    assert trust.array[right].mean() > 1.5 * trust.array[left].mean()
    assert all(place.position[0] > GRID.centre[0] - 5 for place in places[:2])
    assert places[0].expected_mm == pytest.approx(trust.array.max(), rel=0.25)


def test_the_map_lies_on_the_fixed_grid_in_steps_and_is_nothing_outside_the_anatomy() -> None:
    result = small_registration()
    trust = result.trust
    assert trust is not None
    assert trust.geometry == result.fixed.geometry
    assert trust.array.dtype == np.float32
    inside = result.fixed_foreground.array
    assert trust.array[inside].min() > 0
    assert not trust.array[~inside].any()
    np.testing.assert_allclose(trust.array, np.rint(trust.array / STEP_MM) * STEP_MM, atol=1e-5)
    assert 1 <= len(result.worst_places) <= 3
    assert result.measures.led_astray is not None
    for place in result.worst_places:
        index = np.rint(result.fixed.geometry.to_index(place.position)).astype(int)
        assert inside[tuple(index[::-1])]
        assert place.reason


@pytest.mark.parametrize("sign", ["unlike", "shift", "stretch", "inverse_error", "astray"])
def test_the_expected_error_grows_with_each_sign(sign: str) -> None:
    errors = [expected_error(signs(**{sign: value}), 4.0).item() for value in (0.1, 0.5, 0.9)]
    assert errors == sorted(errors)
    assert errors[0] < errors[2]


def test_the_expected_error_is_as_much_smaller_as_the_voxels() -> None:
    exact = signs(inverse_error=0.0, astray=0.0)
    assert expected_error(exact, 4.0).item() == pytest.approx(10 * expected_error(exact, 0.4).item())


def test_a_window_knows_by_how_much_it_is_off_whatever_the_contrast() -> None:
    fixed = anatomy(GRID)
    middle = tuple(slice(n // 2 - 3, n // 2 + 4) for n in GRID.shape)
    for warped in (fixed, fixed.with_array(300 - fixed.array)):
        unlike, shift = window_signs(fixed, warped, everywhere(fixed))
        assert max(unlike[middle].max(), shift[middle].max()) < 0.1
        moved = warped.with_array(np.roll(warped.array, 2, axis=0))
        unlike, shift = window_signs(fixed, moved, everywhere(fixed))
        assert unlike[middle].mean() > 0.5
        assert 1.0 < np.median(shift[middle]) < 3.5


def test_the_worst_places_are_not_beside_each_other_and_lie_inside() -> None:
    grid = Geometry((20, 20, 20), (2.0, 2.0, 2.0))
    expected = np.zeros(grid.shape, dtype=np.float32)
    expected[10, 10, 10], expected[10, 10, 11], expected[3, 3, 3], expected[0, 0, 0] = 9, 8, 7, 99
    seen = Signs(*(np.zeros(grid.shape, np.float32) for _ in range(5)))
    inside = np.ones(grid.shape, dtype=np.bool_)
    inside[0] = False
    found = worst_places(expected, seen, inside, grid, count=2)
    assert [place.position for place in found] == [(20.0, 20.0, 20.0), (6.0, 6.0, 6.0)]
    assert worst_places(expected, seen, np.zeros(grid.shape, dtype=np.bool_), grid) == ()


def bump(middle: np.ndarray, shift: tuple[float, float, float], width: float) -> DisplacementField:
    distance = np.linalg.norm(GRID.points() - middle, axis=-1)
    return DisplacementField(np.exp(-0.5 * (distance / width) ** 2)[..., None] * np.array(shift), GRID)


def compared_with_surroundings(field: DisplacementField) -> Apart:
    """Of an image registered to itself by a field."""
    fixed = anatomy(GRID)
    inside = fixed.array > 0
    motion, millimetres = motion_of_surroundings(field, GRID, inside)
    warped, otherwise = (apply_to_image(each, fixed, GRID) for each in (field, motion))
    return Apart(GRID, millimetres, doubt_of(fixed, warped, otherwise, everywhere(fixed)), inside, fixed, warped)


def test_a_bump_that_nothing_speaks_for_is_told_with_its_place() -> None:
    middle = GRID.centre + np.array([15.0, 0.0, 0.0])
    field = bump(middle, (0.0, 9.0, 0.0), 8.0)
    apart = compared_with_surroundings(field)
    assert led_astray(apart) > 4.0
    fixed = anatomy(GRID)
    inside = fixed.with_array(fixed.array > 0)
    warped = apply_to_image(field, fixed, GRID)
    images = fixed, warped, everywhere(fixed), inside
    _, places = trust_of(*images, field, invert(field), inside, apart=apart)
    assert np.linalg.norm(places[0].position - middle) < 12.0
    assert "surroundings" in places[0].reason


def test_what_the_images_ask_for_is_no_bump_and_neither_is_what_moves_widely() -> None:
    fixed = anatomy(GRID)
    inside = fixed.array > 0
    narrow = bump(GRID.centre, (0.0, 9.0, 0.0), 8.0)
    moving = apply_to_image(invert(narrow), fixed, GRID)  # which the bump brings back
    motion, millimetres = motion_of_surroundings(narrow, GRID, inside)
    warped, otherwise = (apply_to_image(each, moving, GRID) for each in (narrow, motion))
    doubt = doubt_of(fixed, warped, otherwise, everywhere(fixed))
    assert led_astray(Apart(GRID, millimetres, doubt, inside, fixed, warped)) < 1.0
    assert led_astray(compared_with_surroundings(bump(GRID.centre, (0.0, 9.0, 0.0), 60.0))) < 2.5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"inverse_error": 2.0}, "there and back ends 2.0 mm off"),
        ({"stretch": 1.4}, "factor of 4.1"),
        ({"astray": 7.0}, "surroundings, 7 mm from its own, fits as well or better"),
        ({"shift": 8.0, "unlike": 0.5}, "about 8 mm apart"),
        ({"unlike": 0.95}, "do not show the same"),
        ({}, "agree less here than elsewhere"),
    ],
)
def test_what_is_wrong_is_said_in_words(change: dict[str, float], words: str) -> None:
    quiet = {"unlike": 0.3, "shift": 1.0, "stretch": 0.1, "inverse_error": 0.0, "astray": 0.0}
    assert words in what_is_wrong(Place((0.0, 0.0, 0.0), 3.0, **quiet | change), 4.0)
