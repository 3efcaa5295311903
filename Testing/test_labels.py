"""Label maps carried over by a registration, on the moving image's grid or on any other."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from DeepRegLib.errors import CancelledError, InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.labels import label_map, lost_labels_message
from DeepRegLib.propagation import with_labels, with_layers
from DeepRegLib.transforms import LinearTransform, jacobian_determinant
from Testing.small import small_pair, small_registration


def cancelled() -> None:
    raise CancelledError


def test_each_layer_comes_from_its_own_grid_onto_the_fixed_one() -> None:
    identity = replace(small_registration(), transform=LinearTransform.identity())
    fixed = identity.fixed.geometry
    corner = Geometry((5, 4, 3), fixed.spacing, fixed.origin, fixed.direction)
    layers = [
        Image(np.full(corner.shape, 7, np.int16), corner, "corner"),
        Image(np.ones(fixed.shape, bool), fixed, "all"),
    ]
    result = with_layers(identity, layers)
    first, second = result.warped_layers
    ((told,), (other,)) = result.carried_layers
    assert (told.label, told.volume_before, told.outside) == (7, pytest.approx(60 * fixed.voxel_volume / 1000), 0.0)
    assert other.volume_after == pytest.approx(fixed.voxel_volume * second.array.size / 1000)
    assert (first.geometry, first.name, first.array.dtype) == (fixed, "corner", np.int16)
    assert np.all(first.array[:3, :4, :5] == 7)
    assert np.count_nonzero(first.array) == 60
    assert second.array.dtype == np.bool_
    assert second.array.all()


def test_layers_saved_as_floats_become_whole_numbers_and_others_are_refused() -> None:
    result = small_registration()
    labels = small_pair()[3]
    (warped,) = with_layers(result, [labels.with_array(labels.array.astype(np.float64))]).warped_layers
    assert warped.array.dtype == np.int32
    np.testing.assert_array_equal(warped.array, with_labels(result, labels).warped_labels.array)
    with pytest.raises(InputError, match="not whole numbers"):
        with_layers(result, [labels.with_array(labels.array + 0.5)])


def test_carrying_labels_and_the_jacobian_can_be_cancelled() -> None:
    result = small_registration()
    labels = small_pair()[3]
    with pytest.raises(CancelledError):
        with_labels(result, labels, poll=cancelled)
    with pytest.raises(CancelledError):
        with_layers(result, [labels], poll=cancelled)
    with pytest.raises(CancelledError):
        jacobian_determinant(result.transform, result.fixed.geometry, poll=cancelled)


def test_whole_numbers_within_the_rounding_of_a_scale_factor_are_accepted() -> None:
    image = small_pair()[3]
    for noise in (1e-7, -1e-7, 2e-4):
        scaled = image.with_array(image.array.astype(np.float64) + noise)
        np.testing.assert_array_equal(label_map(scaled).array, image.array)
    with pytest.raises(InputError, match="whole numbers"):
        label_map(image.with_array(image.array + np.float32(0.01)))


def test_a_label_that_vanishes_is_told() -> None:
    result = small_registration()
    fixed = result.fixed.geometry
    array = np.zeros(fixed.shape, np.uint8)
    array[0, 0, 0], array[4:, 4:, 4:] = 3, 5
    away = np.eye(4)
    away[:3, 3] = fixed.axes @ (3 * np.array(fixed.spacing))
    moved = replace(result, transform=LinearTransform(away), inverse=LinearTransform(np.linalg.inv(away)))
    layer = Image(array, fixed, "thin")
    (told,) = [warning for warning in with_layers(moved, [layer]).warnings if warning not in result.warnings]
    assert told.startswith("Label 3 of thin has no voxel left")
    assert lost_labels_message(layer, layer) == ()
