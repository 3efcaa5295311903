"""Regions as polygons and back: the same pixels, holes and islands right, for readers of either rule."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk

from DeepRegLib.dicom.polygons import crosses, filled, outlines

SQUARE = np.array([(1.2, 1.2), (7.6, 1.2), (7.6, 7.6), (1.2, 7.6)])


def smaller(polygon: np.ndarray, share: float) -> np.ndarray:
    return polygon.mean(axis=0) + share * (polygon - polygon.mean(axis=0))


@pytest.mark.parametrize("seed", range(20))
def test_borders_fill_to_the_same_pixels_whether_a_reader_joins_or_alternates_polygons(seed: int) -> None:
    rng = np.random.default_rng(seed)
    noise = rng.normal(size=(30, 40))
    if seed % 2:
        noise = sitk.GetArrayFromImage(sitk.SmoothingRecursiveGaussian(sitk.GetImageFromArray(noise), 1.5))
    mask = noise > np.quantile(noise, rng.uniform(0.1, 0.9))
    polygons = outlines(mask)
    np.testing.assert_array_equal(filled(polygons, mask.shape), mask)
    joined = np.any([filled([polygon], mask.shape) for polygon in polygons], axis=0)
    np.testing.assert_array_equal(joined, mask)
    assert not crosses(polygons)


def test_a_contour_in_a_contour_is_a_hole_and_one_in_that_an_island() -> None:
    region = filled([SQUARE], (9, 9))
    assert region[2:8, 2:8].all()
    assert region.sum() == 36
    ring = filled([SQUARE, smaller(SQUARE, 0.6)], (9, 9))
    assert (ring[3, 3], ring[2, 2], ring[4, 4]) == (False, True, False)
    island = filled([SQUARE, smaller(SQUARE, 0.6), smaller(SQUARE, 0.2)], (9, 9))
    assert island[4, 4]


def test_a_hole_joined_by_a_channel_is_a_hole() -> None:
    inner = smaller(SQUARE, 0.5)
    joined = np.concatenate([SQUARE[:1], inner[::-1], inner[-1:], SQUARE])
    np.testing.assert_array_equal(filled([joined], (9, 9)), filled([SQUARE, inner], (9, 9)))
    assert not crosses([joined])


def test_corners_on_pixel_centres_count_once() -> None:
    halves = [np.array([(0, 0), (4, 0), (4, 4), (0, 4)]), np.array([(4, 0), (8, 0), (8, 4), (4, 4)])]
    region = filled([half.astype(float) for half in halves], (6, 10))
    assert region.sum() == 8 * 4


@pytest.mark.parametrize(
    ("polygons", "crossing"),
    [
        ([SQUARE, SQUARE + 3], True),
        ([SQUARE[[0, 2, 1, 3]]], True),
        ([SQUARE, SQUARE + 20], False),
        ([SQUARE, smaller(SQUARE, 0.5)], False),
        ([SQUARE, SQUARE + np.array([6.4, 0])], False),
    ],
    ids=["two", "itself", "apart", "inside", "touching"],
)
def test_crossing_contours_are_found(polygons, crossing: bool) -> None:
    assert crosses(polygons) is crossing


def test_contours_outside_the_slice_are_cut() -> None:
    assert filled([SQUARE - 4], (9, 9)).sum() == 16
    assert not filled([SQUARE + 50], (9, 9)).any()
