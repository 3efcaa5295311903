"""What a user counts on: which changes of contrast a metric sees through, and that it still finds the match."""

import numpy as np
import pytest
import torch

from DeepRegLib.similarity import LNCC, MIND, NCC, NGF, SSD, SSIM, MattesMI, mind, mind_features, ngf
from DeepRegLib.similarity.mattes import _moments_by_counting, _moments_by_product
from Testing.similarity import references
from Testing.similarity.images import random_weight, smooth_image

SHAPE = (1, 12, 11, 13)


@pytest.fixture
def weight():
    return random_weight(SHAPE, 0)


@pytest.mark.parametrize("metric", [NCC, LNCC, NGF])
def test_correlation_ignores_gain_and_offset(metric, weight):
    fixed, warped = smooth_image(SHAPE, 1), smooth_image(SHAPE, 2)
    value, gradient = metric(fixed, weight).value_and_gradient(warped)
    changed, changed_gradient = metric(fixed * 300 - 1000, weight).value_and_gradient(warped * 20 + 70)
    torch.testing.assert_close(changed, value)
    torch.testing.assert_close(changed_gradient * 20, gradient)


def test_signs(weight):
    fixed, warped = smooth_image(SHAPE, 3), smooth_image(SHAPE, 4)
    torch.testing.assert_close(NCC(fixed, weight).value(-warped), -NCC(fixed, weight).value(warped))
    torch.testing.assert_close(LNCC(fixed, weight).value(-warped), LNCC(fixed, weight).value(warped))
    torch.testing.assert_close(NGF(fixed, weight).value(-warped), NGF(fixed, weight).value(warped))
    torch.testing.assert_close(mind_features(1 - 3 * warped), mind_features(warped))


def test_ranges(weight):
    fixed = smooth_image(SHAPE, 5)
    torch.testing.assert_close(NCC(fixed, weight).value(2 * fixed), torch.ones(1).double())
    assert 0.97 < LNCC(fixed, weight).value(-fixed) <= 1
    assert 0 <= LNCC(fixed, weight).value(smooth_image(SHAPE, 6)) < 0.5
    torch.testing.assert_close(SSIM(fixed, weight).value(fixed), torch.ones(1).double())
    assert -1 <= SSIM(fixed, weight).value(1 - fixed) < 0
    torch.testing.assert_close(NGF(fixed, weight).value(-fixed), torch.ones(1).double())
    assert 0 <= NGF(fixed, weight).value(smooth_image(SHAPE, 6)) < 0.7
    assert 0 < MattesMI(fixed, weight).value(fixed) <= torch.tensor(32.0).log()
    assert MIND(fixed, weight).value(fixed) == 0
    features = mind_features(fixed)
    assert features.shape == (1, 12, *SHAPE[1:])
    assert (features.amax(1) == 1).all()
    assert (features >= 0).all()


@pytest.mark.parametrize("metric", [LNCC, MIND, MattesMI, NGF])
@pytest.mark.parametrize("shift", [(1, 0, 0), (0, -1, 0), (0, 0, 2)])
def test_inverted_contrast_matches_best_where_it_is_aligned(metric, shift, weight):
    fixed = smooth_image(SHAPE, 7)
    inverted = (1 - fixed) ** 2
    similarity = metric(fixed, weight)
    assert similarity.value(inverted) > similarity.value(inverted.roll(shift, (1, 2, 3)))


@pytest.mark.parametrize("metric", [SSD, NCC, SSIM, MIND, NGF])
def test_nothing_pulls_at_equal_images(metric, weight):
    fixed = smooth_image(SHAPE, 16)
    similarity = metric(fixed, weight)
    usual = similarity.value_and_gradient(smooth_image(SHAPE, 17))[1]
    assert similarity.value_and_gradient(fixed)[1].abs().max() < 1e-10 * usual.abs().max()


def test_ssim_of_a_window_is_that_of_its_moments():
    fixed, warped = smooth_image((1, 3, 3, 3), 18), smooth_image((1, 3, 3, 3), 19) * 0.7 + 0.2
    f, m = fixed.numpy().ravel(), warped.numpy().ravel()
    covariance = np.cov(f, m, ddof=0)
    luminance = (2 * f.mean() * m.mean() + 0.01**2) / (f.mean() ** 2 + m.mean() ** 2 + 0.01**2)
    structure = (2 * covariance[0, 1] + 0.03**2) / (covariance.trace() + 0.03**2)
    value = SSIM(fixed, torch.ones_like(fixed), 2).value(warped)
    assert value.item() == pytest.approx(luminance * structure)


def test_ssim_ignores_a_common_scale_and_offset_but_sees_either_of_one_image(weight):
    fixed, warped = smooth_image(SHAPE, 20), smooth_image(SHAPE, 21)
    value, gradient = SSIM(fixed, weight).value_and_gradient(warped)
    changed, changed_gradient = SSIM(fixed * 300 - 1000, weight).value_and_gradient(warped * 300 - 1000)
    torch.testing.assert_close(changed, value)
    torch.testing.assert_close(changed_gradient * 300, gradient)
    assert SSIM(fixed, weight).value(fixed / 2) < 0.9
    assert SSIM(fixed, weight).value(fixed + 0.5) < 0.9


def test_ngf_does_not_depend_on_its_blocks(monkeypatch, weight):
    fixed, warped = smooth_image(SHAPE, 22), smooth_image((2, *SHAPE[1:]), 23)
    value, gradient = NGF(fixed, weight).value_and_gradient(warped)
    monkeypatch.setattr(ngf, "_CPU_BLOCK_CELLS", 100)
    cut, cut_gradient = NGF(fixed, weight).value_and_gradient(warped)
    torch.testing.assert_close(cut, value)
    torch.testing.assert_close(cut_gradient, gradient)


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_ngf_of_a_single_slice_is_that_of_the_slice_twice(axis, weight):
    fixed, warped = (smooth_image(SHAPE, seed).narrow(axis, 5, 1) for seed in (24, 25))
    slice_weight = weight.narrow(axis, 5, 1)
    value, gradient = NGF(fixed, slice_weight).value_and_gradient(warped)
    twice = [torch.cat([image, image], axis) for image in (fixed, slice_weight, warped)]
    expected, expected_gradient = NGF(twice[0], twice[1]).value_and_gradient(twice[2])
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, expected_gradient.sum(axis, keepdim=True))


def test_ngf_counts_faint_edges_by_its_edge_parameter():
    ramp = torch.linspace(-1, 1, 16, dtype=torch.float64)
    step = (8 * ramp).tanh().view(1, 1, 1, -1).expand(1, 16, 16, 16)
    ripple = 0.03 * (5 * ramp).sin().view(1, 16, 1, 1)
    weight = torch.ones_like(step)
    faint = [NGF(step, weight, edge).value(step + ripple) for edge in (1.0, 0.05)]
    assert faint[0] > 0.95
    assert faint[1] < faint[0] - 0.1


def test_lncc_sees_through_a_bias_field(weight):
    fixed = smooth_image(SHAPE, 8)
    bias = torch.linspace(0.5, 2, SHAPE[-1], dtype=torch.float64)
    assert LNCC(fixed, weight, 1).value(fixed * bias) > 0.75
    assert NCC(fixed, weight).value(fixed * bias) < 0.75


def test_mutual_information_has_no_gradient_beyond_its_range(weight):
    fixed, warped = smooth_image(SHAPE, 9), 3 * smooth_image(SHAPE, 10) - 1
    gradient = MattesMI(fixed, weight).value_and_gradient(warped)[1]
    beyond = (warped < 0) | (warped > 1)
    assert (gradient[beyond] == 0).all()
    assert (gradient[~beyond & (weight > 0)] != 0).any()


def test_both_ways_to_build_the_joint_histogram_agree():
    generator = torch.Generator().manual_seed(0)
    item = torch.arange(3).view(3, 1, 1, 1) * 64
    cell = torch.randint(0, 64, (3, 5, 6, 7), generator=generator) + item
    fraction = torch.rand(3, 5, 6, 7, generator=generator, dtype=torch.float64)
    share = torch.rand(1, 5, 6, 7, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(
        _moments_by_product(cell, fraction, share, 8), _moments_by_counting(cell, fraction, share, 8)
    )


@pytest.mark.parametrize(("radius", "dilation"), [(1, 2), (0, 1), (2, 3)])
def test_mind_features_hold_the_channels_of_the_reference(radius, dilation):
    image = smooth_image((2, 7, 8, 6), 11)
    ours, theirs = mind_features(image, radius, dilation), references.mind_features(image, radius, dilation)
    torch.testing.assert_close(ours.sort(1).values, theirs.sort(1).values)
    distance = (ours[:, :, None] - theirs[:, None]).abs().amax((0, 3, 4, 5))
    assert sorted(distance.argmin(1).tolist()) == list(range(12))
    assert distance.amin(1).max() < 1e-12


def test_mind_does_not_depend_on_its_slabs(monkeypatch, weight):
    fixed, warped = smooth_image(SHAPE, 12), smooth_image((2, *SHAPE[1:]), 13)
    value, gradient = MIND(fixed, weight).value_and_gradient(warped)
    monkeypatch.setattr(mind, "_CPU_SLAB_VOXELS", 1)
    sliced, sliced_gradient = MIND(fixed, weight).value_and_gradient(warped)
    torch.testing.assert_close(sliced, value)
    torch.testing.assert_close(sliced_gradient, gradient)


def test_mind_shares_the_gradient_of_tied_distances(weight):
    warped = torch.randint(0, 3, SHAPE, generator=torch.Generator().manual_seed(14)).double().requires_grad_()
    fixed = smooth_image(SHAPE, 15)
    expected = references.mind(fixed, weight, warped, 0, 1)
    expected.backward()
    torch.testing.assert_close(MIND(fixed, weight, 0, 1).value_and_gradient(warped)[1], warped.grad)
