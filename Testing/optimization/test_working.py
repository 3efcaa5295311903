"""Working images: coarser copies keep what was known and let nothing unknown in."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization.field_grid import field_grid
from DeepRegLib.optimization.working import coarser, moved_by, weighted_centroid, weighted_radius
from Testing.optimization.phantoms import as_tensor, cube, image_of, phantom
from Testing.synthetic import CENTRE, geometry_in


def test_coarser_keeps_the_mean_and_the_place():
    fine = phantom(cube())
    coarse = coarser(fine, fine.geometry.resized(6.0))
    assert coarse.geometry.spacing == (6.0,) * 3
    assert float(coarse.intensity.mean()) == pytest.approx(float(fine.intensity.mean()), rel=0.02)
    brightness = [image_of(i.intensity.numpy(), i.geometry, i.intensity.numpy()) for i in (fine, coarse)]
    np.testing.assert_allclose(weighted_centroid(brightness[1]), weighted_centroid(brightness[0]), atol=0.3)


def test_coarser_keeps_a_ramp_where_it_is_also_on_an_oblique_grid():
    slope = np.array([0.003, -0.002, 0.004])
    geometry = geometry_in("oblique", (30, 28, 26), 2.0)

    def ramp(grid: Geometry) -> np.ndarray:
        return 0.5 + (grid.points() - CENTRE) @ slope

    coarse = coarser(image_of(ramp(geometry), geometry), geometry.resized(4.5))
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(coarse.intensity.numpy()[inner], ramp(coarse.geometry)[inner], atol=1e-3)


def test_what_has_no_weight_does_not_bleed():
    geometry = cube(30)
    values, weight = np.full(geometry.shape, 0.3), np.ones(geometry.shape)
    values[:, :, 15:], weight[:, :, 15:] = 1.0, 0.0
    coarse = coarser(image_of(values, geometry, weight), geometry.resized(9.0))
    counted = coarse.weight > 0.05
    assert counted.any()
    torch.testing.assert_close(coarse.intensity[counted], torch.full((int(counted.sum()),), 0.3), atol=1e-3, rtol=0)
    assert float(coarse.weight[:, :, -3:].max()) == 0
    assert float(coarse.weight[3:-3, 3:-3, 1:3].min()) == pytest.approx(1)


def test_centroid_and_radius():
    geometry = geometry_in("oblique", (21, 23, 25), 2.0)
    offset = np.array([4.0, -3.0, 2.0])
    distance = np.linalg.norm(geometry.points() - (CENTRE + offset), axis=-1)
    ball = image_of(np.zeros(geometry.shape), geometry, distance < 12)
    np.testing.assert_allclose(weighted_centroid(ball), CENTRE + offset, atol=0.2)
    # The mean square distance from a ball's centre is 3/5 of its radius squared.
    assert weighted_radius(ball, CENTRE + offset) == pytest.approx(12 * 0.6**0.5, rel=0.03)


def test_without_any_weight_the_grid_counts():
    geometry = cube(10)
    nothing = image_of(np.zeros(geometry.shape), geometry, np.zeros(geometry.shape))
    np.testing.assert_allclose(weighted_centroid(nothing), CENTRE)
    assert weighted_radius(nothing, CENTRE) == geometry.spacing[0]


def test_channels_hold_intensity_and_weight():
    image = phantom(cube(8))
    torch.testing.assert_close(image.channels, torch.stack([image.intensity, as_tensor(np.ones((8, 8, 8)))]))
    assert image.device.type == "cpu"


def test_a_second_contrast_goes_wherever_the_first_goes():
    geometry = cube(12)
    image = phantom(geometry)
    both = replace(image, mapped=1 - image.intensity, mapped_share=0.7)
    assert both.channels.shape == (3, 12, 12, 12)
    field = torch.full((3, *field_grid(geometry).shape), 0.4)
    for there in (coarser(both, geometry.resized(6.0)), moved_by(both, field)):
        known = there.weight > 0.99
        assert there.mapped is not None
        assert there.mapped_share == 0.7
        torch.testing.assert_close(there.mapped[known], 1 - there.intensity[known], atol=1e-5, rtol=0)
    assert moved_by(image, field).mapped is None


def test_features_are_compared_instead_of_contrasts_and_stay_with_their_grid():
    geometry = cube(12)
    image = phantom(geometry)
    torch.testing.assert_close(image.compared, image.channels)
    features = torch.rand(5, 12, 12, 12, generator=torch.Generator().manual_seed(0))
    known = replace(image, features=features)
    torch.testing.assert_close(known.compared, torch.cat([features, image.weight[None]]))
    torch.testing.assert_close(known.channels, image.channels)
    field = torch.full((3, *field_grid(geometry).shape), 0.4)
    for there in (coarser(known, geometry.resized(6.0)), moved_by(known, field)):
        assert there.features is None
