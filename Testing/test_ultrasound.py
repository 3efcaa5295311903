"""An ultrasound registered by what an MR explains of it: the cone, the neighbourhood, the pose and the verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, box_around, resample
from DeepRegLib.optimization.neighbourhood import poses_around
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.phantom.ultrasound import Probe, ultrasound
from DeepRegLib.pipeline import register
from DeepRegLib.preparation import prepare_pair
from DeepRegLib.recipes import Prepare, Recipe, load_recipe
from DeepRegLib.result import FAILED
from DeepRegLib.transforms import LinearTransform, apply_to_image

GRID = Geometry((48, 48, 44), (2.5, 2.5, 2.5))


def brain(seed: int) -> Image:
    """Return a ball of tissue with small structures, float32, zero around."""
    noise = torch.randn((1, 1, 11, 12, 12), generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(noise, size=GRID.shape, mode="trilinear")[0, 0].numpy()
    levels = 0.55 + 0.35 * np.tanh(4 * smooth)
    inside = np.linalg.norm(GRID.points() - GRID.centre, axis=-1) < 52
    return Image(np.where(inside, levels, 0).astype(np.float32), GRID, "mr")


def shown(scan: Image) -> Image:
    """Return an ultrasound of a scan, no larger than its cone."""
    x, y, z = GRID.centre.tolist()
    whole = ultrasound(scan, Probe((x + 68.0, y, z), (-1.0, 0.0, 0.0), depth=(15.0, 110.0), speckle=2.0))
    cone = box_around(whole.with_array(whole.array > 0))
    return replace(resample(whole, cone, interpolation="nearest"), name="us")


def quick() -> Recipe:
    recipe = load_recipe("ultrasound")
    stiff = replace(recipe.deformable, shrink=(2,), iterations=(6,), voxels=30_000)
    near = replace(recipe.search, candidates=4)
    return replace(recipe, linear=replace(recipe.linear, voxels=20_000, iterations=30), deformable=stiff, search=near)


def shift(x: float, y: float, z: float) -> LinearTransform:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return LinearTransform(matrix)


def test_a_tracked_ultrasound_is_found_and_believed_and_another_persons_is_not() -> None:
    truth = shift(9.0, -6.0, 7.0)
    fixed = shown(apply_to_image(truth, brain(1), GRID))
    points = fixed.geometry.to_world(np.argwhere(fixed.array > 0)[::11, ::-1])
    result = register(fixed, brain(1), quick())
    error = np.linalg.norm(result.transform.apply_to_points(points) - truth.apply_to_points(points), axis=1)
    assert error.mean() < 2.0  # of 12.9; a voxel is 2.5 mm wide
    assert result.verdict.level != FAILED
    assert result.measures.explained is not None
    rigid = replace(quick(), deformable=replace(quick().deformable, enabled=False))
    other = register(fixed, brain(2), rigid)
    assert other.verdict.level == FAILED
    assert "of the ultrasound" in other.verdict.reasons[0]


def test_what_lies_beside_the_cone_is_unknown_in_the_ultrasound_alone() -> None:
    fixed = shown(brain(3))
    pair = prepare_pair(fixed, brain(3), Prepare(ultrasound=True))
    cone = fixed.array > 0
    assert pair.fixed.known.array[cone].all()
    assert pair.fixed.known.array[~cone].mean() < 0.02  # corners thinner than three voxels
    np.testing.assert_array_equal(pair.fixed.foreground.array, pair.fixed.known.array)
    assert pair.moving.known.array.all()


def test_a_start_is_tried_first_and_others_lie_within_reach() -> None:
    ones = torch.ones(8, 9, 10)
    image = WorkingImage(ones, ones, Geometry((10, 9, 8), (5.0, 5.0, 5.0), (100.0, -30.0, 7.0)))
    start = shift(3.0, 0.0, -2.0).matrix
    poses = poses_around(image, start, 20.0)
    np.testing.assert_allclose(poses[0], start)
    centre = image.geometry.centre
    moved = np.array([LinearTransform(pose).apply_to_points(centre) for pose in poses])
    distance = np.linalg.norm(moved - LinearTransform(start).apply_to_points(centre), axis=-1)
    assert distance.max() == pytest.approx(20.0)
    turned = [np.degrees(np.arccos((np.trace(pose[:3, :3]) - 1) / 2)) for pose in poses]
    assert max(turned) > 10
