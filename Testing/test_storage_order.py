"""The same scans give the same result, however their files store the axes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from DeepRegLib.image import Image
from DeepRegLib.orientation import AxisOrder
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import load_recipe
from DeepRegLib.result import Registration
from Testing.synthetic import blob_values, geometry_in, label_map, points_in, random_linear

GEOMETRY = geometry_in(size=(27, 30, 24), spacing=4.0)
RECIPE = load_recipe("fast")
RECIPE = replace(
    RECIPE,
    search=replace(RECIPE.search, enabled=False),
    deformable=replace(RECIPE.deformable, shrink=(2, 1), iterations=(20, 10)),
)
# Of the fixed and of the moving scan: permuted both ways round, mirrored along each axis and along all.
ORDERS = [
    (AxisOrder((2, 0, 1), (False, False, False)), AxisOrder((0, 1, 2), (True, True, True))),
    (AxisOrder((1, 2, 0), (True, False, False)), AxisOrder((2, 1, 0), (False, False, False))),
    (AxisOrder((0, 1, 2), (False, True, False)), AxisOrder((1, 0, 2), (False, False, True))),
]


@cache
def scans() -> tuple[Image, Image, Image, Image, Image]:
    """Return a fixed and a moving scan, a mask of the fixed one and label maps of both."""
    pose = random_linear(5, angle=4, shift=5)
    points = GEOMETRY.points()
    fixed = Image(blob_values(points, radius=42.0).astype(np.float32), GEOMETRY, "fixed")
    moving = Image(
        blob_values(pose.inverse().apply_to_points(points), radius=42.0).astype(np.float32), GEOMETRY, "moving"
    )
    mask = Image((np.linalg.norm(points - points.mean((0, 1, 2)), axis=-1) < 44).astype(np.uint8), GEOMETRY, "mask")
    labels = label_map(GEOMETRY)
    return fixed, moving, mask, labels, labels


def registered(of_fixed: AxisOrder, of_moving: AxisOrder) -> Registration:
    fixed, moving, mask, fixed_labels, moving_labels = scans()
    return register(
        of_fixed.of_image(fixed),
        of_moving.of_image(moving),
        RECIPE,
        fixed_mask=of_fixed.of_image(mask),
        fixed_labels=of_fixed.of_image(fixed_labels),
        moving_labels=of_moving.of_image(moving_labels),
        device="cpu",
    )


@cache
def as_they_are() -> Registration:
    same = AxisOrder((0, 1, 2), (False, False, False))
    return registered(same, same)


@pytest.mark.parametrize(("of_fixed", "of_moving"), ORDERS)
def test_another_storage_order_gives_the_same_result(of_fixed: AxisOrder, of_moving: AxisOrder) -> None:
    expected, found = as_they_are(), registered(of_fixed, of_moving)
    points = points_in(GEOMETRY)
    moved = found.transform.apply_to_points(points)
    np.testing.assert_allclose(moved, expected.transform.apply_to_points(points), atol=0.02 * GEOMETRY.spacing[0])
    assert found.verdict == expected.verdict
    for part in ("warped", "field_of_view", "fixed_foreground", "warped_labels", "trust"):
        image, reference = getattr(found, part), getattr(expected, part)
        assert image.geometry == found.fixed.geometry, f"{part} lies on another grid than the fixed scan"
        in_its_order = of_fixed.of_image(reference).array
        np.testing.assert_allclose(image.array.astype(float), in_its_order.astype(float), atol=0.11, err_msg=part)
