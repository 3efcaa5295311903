"""Each of two images in the other's contrast: what is learned from, how much it explains, and how either way counts."""

from __future__ import annotations

import pytest
import torch

from DeepRegLib.optimization.contrast_mapping import map_contrasts, share_explained
from DeepRegLib.optimization.field_grid import field_grid
from DeepRegLib.optimization.working import WorkingImage, moved_by
from Testing.optimization.phantoms import cube, phantom
from Testing.similarity.images import smooth_image

SHAPE = (14, 14, 14)
WEIGHT = torch.ones(SHAPE)


def image(intensity: torch.Tensor) -> WorkingImage:
    return WorkingImage(intensity.float(), WEIGHT, cube(14))


def scan() -> WorkingImage:
    return image(smooth_image((1, *SHAPE), 0)[0])


def test_an_inverted_image_and_its_original_explain_each_other_wholly_and_count_alike():
    fixed, moving = scan(), image(1 - scan().intensity)
    found = map_contrasts(fixed, moving, WEIGHT)
    assert found.explained > 0.99
    assert found.fixed.mapped is not None
    assert found.moving.mapped is not None
    torch.testing.assert_close(found.fixed.mapped, moving.intensity, atol=0.03, rtol=0)
    torch.testing.assert_close(found.moving.mapped, fixed.intensity, atol=0.03, rtol=0)
    assert found.fixed.mapped_share == pytest.approx(0.5, abs=0.01)


def test_a_contrast_in_which_tissues_look_alike_tells_less_of_the_other():
    dark_and_bright_alike = (scan().intensity - scan().intensity.median()).abs()
    found = map_contrasts(scan(), image(dark_and_bright_alike), WEIGHT)
    assert found.fixed.mapped_share > 0.8
    swapped = map_contrasts(image(dark_and_bright_alike), scan(), WEIGHT)
    assert swapped.fixed.mapped_share == pytest.approx(1 - found.fixed.mapped_share, abs=1e-6)


def test_images_of_nothing_count_alike():
    nothing = image(torch.zeros(SHAPE))
    found = map_contrasts(nothing, nothing, WEIGHT)
    assert found.fixed.mapped_share == 0.5


def test_contrasts_are_learned_where_the_moving_image_lies_on_the_fixed_one():
    away = 2  # voxels of the field, along k
    fixed, aligned = scan(), 1 - scan().intensity
    astray = image(aligned.roll(2 * away, 0))
    back = torch.zeros(3, *field_grid(fixed.geometry).shape)
    back[2] = away
    weight = WEIGHT.clone()
    weight[-2 * away :] = 0
    blind, told = map_contrasts(fixed, astray, weight), map_contrasts(fixed, astray, weight, back)
    assert told.explained > 0.95
    assert told.explained > blind.explained + 0.2
    assert told.fixed.mapped is not None
    assert told.moving.mapped is not None
    torch.testing.assert_close(told.fixed.mapped, aligned, atol=0.05, rtol=0)
    assert torch.equal(told.moving.intensity, astray.intensity), "the image itself stays where it is"
    torch.testing.assert_close(told.moving.mapped, 1 - astray.intensity, atol=0.05, rtol=0)
    assert share_explained(blind.fixed, moved_by(blind.moving, back), weight) < told.explained


def test_an_image_without_the_others_contrast_explains_nothing():
    with pytest.raises(ValueError, match="without the other"):
        share_explained(phantom(cube(8)), phantom(cube(8)), torch.ones(8, 8, 8))
