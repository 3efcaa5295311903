"""Segments that move but do not bend."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from DeepRegLib import pipeline
from DeepRegLib.errors import InputError
from DeepRegLib.evaluation import folds_and_statistics
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.landmark_alignment import rigid_from_landmarks
from DeepRegLib.monitoring import never_cancel
from DeepRegLib.pipeline import run_request
from DeepRegLib.request import Drivers, Request
from DeepRegLib.stages.rigid_segments import projected, rigid_motions
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform, apply_to_image, compose
from Testing.small import small_pair, small_recipe
from Testing.synthetic import CENTRE, blob_values

GRID = Geometry((40, 36, 32), (2.0, 2.0, 2.5))
COARSE = GRID.resized(4.0, 8.0)


def bending() -> Transform:
    """Return waves of some mm before a scaling linear transform."""
    waves = 3 * np.sin(COARSE.points()[..., ::-1] / 12)
    return compose(DisplacementField(waves.astype(np.float32), COARSE), LinearTransform(np.diag([1.1, 1.0, 0.95, 1.0])))


def two_vertebrae() -> Image:
    labels = np.zeros(GRID.shape, dtype=np.uint8)
    labels[6:12, 12:22, 14:26] = 3
    labels[15:21, 12:22, 14:26] = 7
    return Image(labels, GRID, "bones")


def bent(transform: Transform, labels: Image, label: int) -> float:
    """Return the largest distance in mm of the corners of a segment's voxels from its nearest rigid motion."""
    corners = np.array(list(itertools.product((-0.5, 0.5), repeat=3)))
    index = np.argwhere(labels.array == label)[:, np.newaxis, ::-1] + corners
    points = labels.geometry.to_world(index.reshape(-1, 3))
    moved = transform.apply_to_points(points)
    rigid = LinearTransform(rigid_from_landmarks(points, moved)).apply_to_points(points)
    return float(np.linalg.norm(rigid - moved, axis=1).max())


def test_each_segment_is_rigid_and_far_from_them_nothing_changes() -> None:
    labels, transform = two_vertebrae(), bending()
    segments = rigid_motions(transform, labels, never_cancel)
    assert [segment.label for segment in segments] == [3, 7]
    assert min(bent(transform, labels, label) for label in (3, 7)) > 1.5
    found = projected(transform, labels, segments, 10.0, never_cancel)
    for segment in segments:
        assert bent(found, labels, segment.label) < 1e-4
        points = GRID.to_world(np.argwhere(labels.array == segment.label)[:, ::-1])
        np.testing.assert_allclose(found.apply_to_points(points), segment.motion.apply_to_points(points), atol=1e-4)
    far = GRID.to_world([[2, 2, 2], [37, 33, 2], [2, 33, 29]])
    # The field has other nodes than before: between them it is linear, and the waves are not.
    np.testing.assert_allclose(found.apply_to_points(far), transform.apply_to_points(far), atol=0.03)
    folded, _ = folds_and_statistics(found, GRID, Image(np.ones(GRID.shape, dtype=np.bool_), GRID))
    assert not folded.any()


def test_segments_nearer_to_each_other_than_the_field_is_fine_are_rigid_too() -> None:
    labels = two_vertebrae()
    near = labels.with_array(labels.array.copy())
    near.array[12:14] = np.where(near.array[11] > 0, 3, 0)  # one slice of 2.5 mm is left between them
    transform = bending()
    found = projected(transform, near, rigid_motions(transform, near, never_cancel), 10.0, never_cancel)
    assert max(bent(found, near, label) for label in (3, 7)) < 1e-4


def test_a_segment_at_the_border_of_the_scan_is_rigid_to_its_faces() -> None:
    cut = np.zeros(GRID.shape, dtype=np.uint8)
    cut[:6, 12:22, 14:26], cut[15:21, 12:22, 34:] = 3, 7
    labels, transform = Image(cut, GRID, "bones"), bending()
    found = projected(transform, labels, rigid_motions(transform, labels, never_cancel), 10.0, never_cancel)
    assert max(bent(found, labels, label) for label in (3, 7)) < 1e-4
    folded, _ = folds_and_statistics(found, GRID, Image(np.ones(GRID.shape, dtype=np.bool_), GRID))
    assert not folded.any()


def test_the_voxels_of_segments_that_touch_move_rigidly_by_their_centres() -> None:
    labels, transform = two_vertebrae(), bending()
    near = labels.with_array(labels.array.copy())
    near.array[12:15] = np.where(near.array[11] > 0, 3, 0)
    segments = rigid_motions(transform, near, never_cancel)
    found = projected(transform, near, segments, 10.0, never_cancel)
    for segment in segments:
        points = GRID.to_world(np.argwhere(near.array == segment.label)[:, ::-1])
        np.testing.assert_allclose(found.apply_to_points(points), segment.motion.apply_to_points(points), atol=0.02)


def test_the_field_goes_on_over_the_outer_half_voxels_of_the_scan() -> None:
    # A field that ends at the centres of the scan's outer voxels moves what lies behind by the linear part alone.
    labels, linear = two_vertebrae(), LinearTransform(np.diag([1.1, 1.0, 0.95, 1.0]))
    shift = np.full((*GRID.shape, 3), 5.0, dtype=np.float32)
    transform = compose(DisplacementField(shift, GRID), linear)
    found = projected(transform, labels, rigid_motions(transform, labels, never_cancel), 10.0, never_cancel)
    border = GRID.to_world([[-0.4, 2, 2], [39.4, 33, 31.4]])
    np.testing.assert_allclose(found.apply_to_points(border), linear.apply_to_points(border + 5.0), atol=1e-3)


def test_a_registration_keeps_them_rigid_and_says_what_it_cost() -> None:
    fixed, moving, labels, _ = small_pair()
    request = Request(fixed, moving, small_recipe(), Drivers(rigid_labels=labels))
    found = run_request(request)
    free = run_request(replace(request, drivers=Drivers()))
    numbers = [int(n) for n in np.unique(labels.array) if n]
    assert max(bent(found.transform, labels, n) for n in numbers) < 0.1
    assert max(bent(free.transform, labels, n) for n in numbers) > 0.15
    assert any("segments kept rigid" in decision for decision in found.decisions)
    assert found.measures.folds == 0
    assert found.measures.inverse_error_p99 < 0.3
    assert "rigid_labels_sha256" in found.provenance


def test_while_the_field_is_solved_they_bend_less(monkeypatch: pytest.MonkeyPatch) -> None:
    values = blob_values(GRID.points() - GRID.centre + CENTRE, radius=30.0)
    scan = Image(values.astype(np.float32), GRID, "scan")
    waves = 3 * np.sin(GRID.points()[..., ::-1] / 9)
    moving = apply_to_image(DisplacementField(waves.astype(np.float32), GRID), scan, GRID)
    labels = two_vertebrae()
    request = Request(scan, moving, small_recipe(), Drivers(rigid_labels=labels))
    monkeypatch.setattr(pipeline, "with_rigid_segments", lambda _run, found, _labels: found)
    pulled, free = run_request(request), run_request(replace(request, drivers=Drivers()))
    bending = [
        float(np.mean([segment.bending for segment in rigid_motions(each.transform, labels, never_cancel)]))
        for each in (pulled, free)
    ]
    assert bending[1] > 0.3
    assert bending[0] < 0.97 * bending[1]


def test_segments_on_another_grid_are_refused() -> None:

    fixed, moving, *_ = small_pair()
    other = Image(np.ones((4, 4, 4), dtype=np.uint8), Geometry((4, 4, 4)), "bones.nii.gz")
    with pytest.raises(InputError, match=r"bones\.nii\.gz do not lie on the grid"):
        Request(fixed, moving, small_recipe(), Drivers(rigid_labels=other))
