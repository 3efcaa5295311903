"""Pairs made from nothing: the true field is true, does not fold, and the same seed gives the same pair."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from DeepRegLib.networks.fields import displace, to_full, to_half
from DeepRegLib.optimization.regularity import corner_determinants
from DeepRegLib.training.appearance import Appearance, acquire, apply_curves, random_curves, random_looks, render
from DeepRegLib.training.deformation import Deformation, random_affine, random_field, random_velocity
from DeepRegLib.training.losses import seen_in_both
from DeepRegLib.training.randomness import Randomness, derived_seed
from DeepRegLib.training.separable import smooth_noise
from DeepRegLib.training.shapes import Shapes, random_labels
from DeepRegLib.training.synthesis import Pairs, Synthesis, deformed_pairs, random_scene

CPU = torch.device("cpu")
SHAPE = (28, 24, 32)
SYNTHESIS = Synthesis(
    Shapes(distances=(8.0, 20.0)), Deformation(distances=(6.0, 12.0), amplitudes=(1.0, 2.0)), Appearance()
)
PERFECT = Appearance(
    texture=0, dark_air=1, blur=0, thickness=1, thick=0, bias=0, gamma=0, noise=0, ghost=0, spike=0, crop=0, remap=0
)


def pairs_of(*seeds: int, synthesis: Synthesis = SYNTHESIS, margin: int = 4) -> Pairs:
    random = Randomness(seeds, CPU)
    return deformed_pairs(random, random_scene(random, SHAPE, margin, synthesis.shapes), synthesis)


def test_warping_the_moving_labels_by_the_true_field_gives_the_fixed_labels() -> None:
    pairs = pairs_of(0, 1, 2)
    assert pairs.field is not None
    assert pairs.fixed_labels is not None
    assert pairs.moving_labels is not None
    assert pairs.field.shape == (3, 3, 14, 12, 16)
    for field, fixed, moving in zip(to_full(pairs.field, SHAPE), pairs.fixed_labels, pairs.moving_labels, strict=True):
        seen = moved = 0
        for k in range(0, SHAPE[0], 3):  # voxel by voxel, as the convention reads
            for j in range(0, SHAPE[1], 3):
                for i in range(SHAPE[2]):
                    u, v, w = field[:, k, j, i].tolist()
                    a, b, c = round(i + u), round(j + v), round(k + w)
                    if 0 <= a < SHAPE[2] and 0 <= b < SHAPE[1] and 0 <= c < SHAPE[0]:
                        seen += 1
                        moved += bool(fixed[k, j, i] != moving[k, j, i])
                        assert fixed[k, j, i] == moving[c, b, a]
        assert seen > 500
        assert moved > 0.05 * seen


def test_what_moves_in_comes_from_beyond_the_moving_image() -> None:
    ranges = replace(
        SYNTHESIS.deformation, amplitudes=(0.0, 0.0), rotation=0.0, scaling=0.0, shear=0.0, translation=0.2
    )
    shapes = replace(SYNTHESIS.shapes, air=0.0)
    pairs = pairs_of(3, synthesis=Synthesis(shapes, ranges, SYNTHESIS.appearance), margin=8)
    assert pairs.fixed_labels is not None
    assert float((pairs.fixed_labels == 0).float().mean()) == 0


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), steepest=st.sampled_from([0.4, Deformation.steepest]))
def test_no_field_folds_however_strong_the_velocity(seed: int, steepest: float) -> None:
    ranges = Deformation(distances=(8.0, 16.0), amplitudes=(6.0, 12.0), steepest=steepest)
    field = random_field(Randomness([seed], CPU), (20, 18, 22), ranges)[0]
    assert float(corner_determinants(field).min()) > 0
    assert float(corner_determinants(to_full(field[None], (40, 36, 43))[0]).min()) > 0


def test_the_velocity_is_no_steeper_than_it_may_be() -> None:
    velocity = random_velocity(
        Randomness(range(4), CPU), (16, 16, 16), Deformation(amplitudes=(9.0, 9.0, 9.0), steepest=0.7)
    )
    gradient = torch.stack(torch.gradient(velocity, dim=(2, 3, 4)))
    assert float(gradient.square().sum((0, 2)).max()) ** 0.5 <= 0.7 + 1e-4


def test_affine_maps_keep_to_their_ranges() -> None:
    ranges = Deformation(rotation=10, scaling=0.2, shear=0.1, translation=0.05)
    matrix, shift = random_affine(Randomness(range(64), CPU), (20, 30, 40), ranges)
    stretch = torch.linalg.svdvals(matrix)
    assert float(stretch.max()) < 1.2214 * 1.2
    assert float(stretch.min()) > 0.8187 / 1.2
    assert float(torch.linalg.det(matrix).min()) > 0
    assert (shift.abs().amax((0, 1, 2, 3)) <= torch.tensor([2.0, 1.5, 1.0])).all()
    still = Deformation(rotation=0, scaling=0, shear=0, translation=0)
    matrix, shift = random_affine(Randomness([1], CPU), (20, 30, 40), still)
    torch.testing.assert_close(matrix, torch.eye(3)[None])
    assert float(shift.abs().max()) == 0


def test_a_seed_gives_the_same_pair_alone_and_in_any_batch() -> None:
    alone, together = pairs_of(5), pairs_of(4, 5, 6)
    for item in fields(Pairs):
        one, many = getattr(alone, item.name), getattr(together, item.name)
        if isinstance(one, torch.Tensor):
            torch.testing.assert_close(one[0], many[1], rtol=1e-5, atol=1e-5)
    assert not torch.equal(together.fixed[0], together.fixed[1])
    again = pairs_of(5)
    assert torch.equal(alone.fixed, again.fixed)
    assert again.field is not None
    assert alone.field is not None
    assert torch.equal(alone.field, again.field)


def test_seeds_for_different_ends_differ_and_are_the_same_everywhere() -> None:
    assert derived_seed(0, "training", 1) == 7876390619740497606
    seeds = {derived_seed(seed, stream, n) for seed in (0, 1) for stream in ("a", "b") for n in range(50)}
    assert len(seeds) == 200


def test_images_are_scaled_and_zero_where_unknown() -> None:
    pairs = pairs_of(*range(6), synthesis=replace(SYNTHESIS, appearance=Appearance(cropped=0.5, crop=0.3)))
    for image, known in ((pairs.fixed, pairs.fixed_known), (pairs.moving, pairs.moving_known)):
        assert image.shape == (6, 1, *SHAPE)
        assert bool(torch.isfinite(image).all())
        assert float(image.min()) >= 0
        assert float(image.max()) <= 1
        assert float(image.std()) > 0.02
        outside = torch.nn.functional.interpolate(known, scale_factor=2) == 0
        # A node counts as known when half of its eight voxels are.
        assert float((image[outside] == 0).float().mean()) > 0.9
    assert 0.3 < float(pairs.fixed_known.mean()) < 1


def correlations(appearance: Appearance) -> list[float]:
    """Return that of both images of a dozen pairs that do not move."""
    still = Deformation(amplitudes=(0.0, 0.0, 0.0), rotation=0, scaling=0, shear=0, translation=0)
    pairs = pairs_of(*range(12), synthesis=Synthesis(SYNTHESIS.shapes, still, appearance))
    assert pairs.fixed_labels is not None
    assert pairs.moving_labels is not None
    assert torch.equal(pairs.fixed_labels, pairs.moving_labels)
    both = zip(pairs.fixed, pairs.moving, strict=True)
    return [float(torch.corrcoef(torch.stack([f.flatten(), m.flatten()]))[0, 1]) for f, m in both]


def test_images_have_one_contrast_in_the_share_of_pairs_asked_for() -> None:
    assert min(correlations(replace(PERFECT, same_contrast=1.0))) > 0.999
    own = correlations(replace(PERFECT, same_contrast=0.0))
    assert min(own) < 0 < max(own)
    assert max(abs(c) for c in own) < 0.99
    same = [c > 0.999 for c in correlations(replace(PERFECT, same_contrast=0.5))]
    assert 2 <= sum(same) <= 10


def test_texture_belongs_to_the_tissue_in_the_share_of_pairs_asked_for() -> None:
    fine = replace(PERFECT, same_contrast=1.0, texture=1.0, dark_air=0.0)
    assert min(correlations(replace(fine, same_texture=1.0))) > 0.999
    assert max(correlations(replace(fine, same_texture=0.0))) < 0.95


def test_texture_of_the_tissue_moves_with_it() -> None:
    appearance = replace(PERFECT, same_contrast=1.0, same_texture=1.0, texture=1.0)
    moved = pairs_of(0, 1, 2, synthesis=replace(SYNTHESIS, appearance=appearance))
    assert moved.field is not None
    warped = displace(to_half(moved.moving), moved.field)
    seen = seen_in_both(moved.fixed_known, moved.moving_known, moved.field) > 0
    for fixed, brought, where in zip(to_half(moved.fixed), warped, seen, strict=True):
        assert float(torch.corrcoef(torch.stack([fixed[where], brought[where]]))[0, 1]) > 0.9


@pytest.mark.parametrize("remap", [0.0, 1.0])
def test_own_images_keep_their_contrast_or_get_another(remap: float) -> None:
    random = Randomness(range(20), CPU)
    fixed, moving = random_curves(random, replace(PERFECT, remap=remap, same_contrast=0.5))
    image = torch.rand(20, 1, 4, 4, 4)
    if remap == 0:
        torch.testing.assert_close(apply_curves(image, fixed), image)
        torch.testing.assert_close(fixed, moving)
        return
    knots = torch.linspace(0, 1, fixed.shape[1]).expand(20, 1, 1, 1, -1)
    torch.testing.assert_close(apply_curves(knots, fixed)[:, 0, 0, 0], fixed)
    expected = np.interp(image[7].flatten().numpy(), np.linspace(0, 1, fixed.shape[1]), fixed[7].numpy())
    np.testing.assert_allclose(apply_curves(image, fixed)[7].flatten().numpy(), expected, atol=1e-5)
    same = (fixed == moving).all(1)
    assert 5 <= int(same.sum()) <= 15


def test_labels_are_within_their_number_and_most_of_them_appear() -> None:
    shapes = SYNTHESIS.shapes
    labels = random_labels(Randomness(range(12), CPU), SHAPE, shapes)
    found = labels.unique().tolist()
    assert max(found) < shapes.labels
    assert len(found) > 0.8 * shapes.labels
    boxes = [len(volume.unique()) for volume in labels]
    assert min(boxes) >= 4


@pytest.mark.parametrize("name", ["blur", "bias", "noise", "texture", "gamma"])
def test_each_effect_changes_the_image_and_zero_switches_it_off(name: str) -> None:
    labels = random_labels(Randomness([1], CPU), SHAPE, SYNTHESIS.shapes)
    known = torch.ones(1, 1, *SHAPE)

    def image(appearance: Appearance) -> torch.Tensor:
        random = Randomness([2], CPU)
        look, _ = random_looks(random, SYNTHESIS.shapes.labels, appearance)
        texture = smooth_noise(random, 1, SHAPE, (2.0, 8.0))
        return acquire(random, render(labels, texture, look), known, appearance)[0]

    perfect, spoiled = image(PERFECT), image(replace(PERFECT, **{name: 5.0 if name == "blur" else 1.0}))
    assert float((perfect - spoiled).abs().max()) > 0.02
    for number in labels.unique().tolist():
        assert float(perfect[0, 0][labels[0] == number].std(correction=0)) < 1e-3
