"""Preparation: what is known, what is anatomy, and scales that compare."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.preparation import PreparedPair, foreground_weight, prepare_pair, working_image
from DeepRegLib.recipes import Prepare
from Testing.optimization.phantoms import cube
from Testing.synthetic import CENTRE, blobs, geometry_in, random_linear

GEOMETRY = geometry_in("oblique", (36, 38, 34), 2.0)
CPU = torch.device("cpu")


def prepared(fixed: Image, moving: Image | None = None, **masks: Image | None) -> PreparedPair:
    return prepare_pair(
        fixed,
        blobs(GEOMETRY, 1) if moving is None else moving,
        Prepare(),
        masks.get("fixed_mask"),
        masks.get("moving_mask"),
    )


def ball(radius: float, geometry=GEOMETRY) -> Image:
    return Image(np.linalg.norm(geometry.points() - CENTRE, axis=-1) < radius, geometry, "ball")


def ct(body: float = 40.0, *, lung: bool = False) -> Image:
    """Return a body in air with bone in it, in Hounsfield units, int16."""
    points = GEOMETRY.points() - CENTRE
    distance = np.linalg.norm(points, axis=-1)
    values = np.full(GEOMETRY.shape, -1000.0)
    values[distance < 30] = body
    values[distance < 6] = 900
    if lung:
        values[np.linalg.norm(points - [10, 0, 0], axis=-1) < 19] = -800
    values += np.random.default_rng(0).normal(scale=10, size=values.shape)
    return Image(values.astype(np.int16), GEOMETRY, "ct")


def test_both_images_are_scaled_and_the_anatomy_is_found():
    pair = prepared(blobs(GEOMETRY))
    for side in (pair.fixed, pair.moving):
        assert side.intensity.array.dtype == np.float32
        assert side.intensity.array.min() >= 0
        assert side.intensity.array.max() <= 1
        assert side.known.array.all()
        truth = side.original.array > 250
        assert (side.foreground.array & truth).sum() > 0.95 * truth.sum()
        assert side.foreground.array.mean() < 0.6
        assert not side.is_ct
    assert pair.warnings == ()


def test_nan_and_infinite_voxels_are_left_out_with_a_warning():
    image = blobs(GEOMETRY)
    array = image.array.copy()
    array[15:18, 15:18, 15:18] = np.nan
    array[20, 20, 20] = np.inf
    before = array.copy()
    pair = prepared(image.with_array(array))
    assert len(pair.warnings) == 1
    assert "28 NaN or infinite" in pair.warnings[0]
    assert image.name in pair.warnings[0]
    np.testing.assert_array_equal(pair.fixed.known.array, np.isfinite(array))
    assert not pair.fixed.foreground.array[~np.isfinite(array)].any()
    assert np.isfinite(pair.fixed.intensity.array).all()
    np.testing.assert_array_equal(array, before)


def test_masks_say_what_is_known():
    mask = ball(15)
    pair = prepared(blobs(GEOMETRY), fixed_mask=mask.with_array(mask.array.astype(np.uint8) * 7), moving_mask=None)
    np.testing.assert_array_equal(pair.fixed.known.array, mask.array)
    assert not (pair.fixed.foreground.array & ~mask.array).any()
    assert pair.moving.known.array.all()


def test_what_lies_outside_the_mask_changes_no_intensity_inside():
    image, mask = blobs(GEOMETRY), ball(15)
    spoilt = image.with_array(np.where(mask.array, image.array, 1e5).astype(np.float32))
    clean, dirty = (prepared(i, fixed_mask=mask).fixed for i in (image, spoilt))
    np.testing.assert_allclose(clean.intensity.array[mask.array], dirty.intensity.array[mask.array], atol=1e-6)
    grid = cube(20, 3.0)
    a, b = (working_image(side, grid, CPU) for side in (clean, dirty))
    counted = a.weight > 0.01
    torch.testing.assert_close(a.intensity[counted], b.intensity[counted], atol=1e-3, rtol=0)


def test_bad_masks_are_refused():
    image = blobs(GEOMETRY)
    with pytest.raises(InputError, match="grid"):
        prepared(image, fixed_mask=ball(15, cube(20)))
    with pytest.raises(InputError, match="empty"):
        prepared(image, fixed_mask=ball(0))


def test_empty_images_are_refused():
    image = blobs(GEOMETRY)
    with pytest.raises(InputError, match="constant"):
        prepared(image.with_array(np.full(GEOMETRY.shape, 3.0, np.float32)))
    with pytest.raises(InputError, match="no finite voxel"):
        prepared(image.with_array(np.full(GEOMETRY.shape, np.nan, np.float32)))


def test_a_cut_out_counts_its_blank_surroundings_as_unknown():
    whole = blobs(GEOMETRY, radius=30.0)
    brain = ball(14)
    stripped = whole.with_array(np.where(brain.array, whole.array, 0).astype(np.float32))
    for fixed, moving in ((whole, stripped), (stripped, whole)):
        pair = prepared(fixed, moving)
        cut, full = (pair.moving, pair.fixed) if moving is stripped else (pair.fixed, pair.moving)
        assert any("cut-out" in note for note in pair.decisions)
        assert full.known.array.all()
        assert cut.known.array[brain.array].mean() > 0.99
        assert cut.known.array[~brain.array].mean() < 0.1


def test_two_images_with_blank_surroundings_keep_them():
    brain = ball(20).array
    images = [i.with_array(np.where(brain, i.array, 0)) for i in (blobs(GEOMETRY, 0), blobs(GEOMETRY, 1))]
    pair = prepared(*images)
    assert pair.fixed.known.array.all()
    assert pair.moving.known.array.all()


@pytest.mark.parametrize(("lung", "low"), [(False, -500.0), (True, -1000.0)])
def test_a_pair_of_cts_shares_one_window(lung, low):
    pair = prepared(ct(), ct(60, lung=lung))
    assert pair.fixed.is_ct
    assert pair.moving.is_ct
    assert any(f"{low:g}" in decision for decision in pair.decisions)
    for side in (pair.fixed, pair.moving):
        expected = np.clip((side.original.array - low) / (1000 - low), 0, 1)
        np.testing.assert_allclose(side.intensity.array, expected, atol=1e-4)


def test_one_ct_is_windowed_alone():
    pair = prepared(ct(), blobs(GEOMETRY))
    assert [side.is_ct for side in (pair.fixed, pair.moving)] == [True, False]
    assert any("ct is CT" in decision for decision in pair.decisions)


def test_a_working_image_lies_where_the_transform_puts_it():
    truth = random_linear(3, angle=20, shift=6)
    side = prepared(blobs(GEOMETRY)).fixed
    grid = cube(16, 2.0)
    placed = working_image(side, grid, CPU, truth)
    assert placed.weight.dtype == torch.float32
    index = side.original.geometry.to_index(truth.apply_to_points(grid.points()))
    inside = np.all((index > 1) & (index < np.array(side.original.geometry.size) - 2), axis=-1)
    assert float(placed.weight[torch.from_numpy(inside)].min()) == pytest.approx(1)
    plain = working_image(side, grid, CPU)
    assert float((placed.intensity - plain.intensity).abs().max()) > 0.1


def test_the_foreground_weight_reaches_a_little_past_the_anatomy():
    side = prepared(blobs(GEOMETRY)).fixed
    weight = foreground_weight(side, cube(40, 2.0), CPU).numpy()
    assert weight.min() >= 0
    assert weight.max() == pytest.approx(1)
    assert weight[20, 20, 20] == pytest.approx(1)
    assert weight[0, 0, 0] < 0.05
    assert (weight > 0.5).sum() * 8 > side.foreground.array.sum() * GEOMETRY.voxel_volume


def test_bias_is_removed_where_asked_for_but_not_from_ct():
    image = blobs(GEOMETRY)
    wanted = Prepare(bias_correction=True)
    corrected = prepare_pair(image, ct(), wanted, None, None)
    plain = prepare_pair(image, ct(), Prepare(), None, None)
    assert not np.array_equal(corrected.fixed.intensity.array, plain.fixed.intensity.array)
    np.testing.assert_array_equal(corrected.moving.intensity.array, plain.moving.intensity.array)
