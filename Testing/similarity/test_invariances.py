"""What a user counts on: which changes of contrast a metric sees through, and that it still finds the match."""

import pytest
import torch

from DeepRegLib.similarity import LNCC, MIND, NCC, MattesMI, mind, mind_features
from DeepRegLib.similarity.mattes import _moments_by_counting, _moments_by_product
from Testing.similarity import references
from Testing.similarity.images import random_weight, smooth_image

SHAPE = (1, 12, 11, 13)


@pytest.fixture
def weight():
    return random_weight(SHAPE, 0)


@pytest.mark.parametrize("metric", [NCC, LNCC])
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
    torch.testing.assert_close(mind_features(1 - 3 * warped), mind_features(warped))


def test_ranges(weight):
    fixed = smooth_image(SHAPE, 5)
    torch.testing.assert_close(NCC(fixed, weight).value(2 * fixed), torch.ones(1).double())
    assert 0.97 < LNCC(fixed, weight).value(-fixed) <= 1
    assert 0 <= LNCC(fixed, weight).value(smooth_image(SHAPE, 6)) < 0.5
    assert 0 < MattesMI(fixed, weight).value(fixed) <= torch.tensor(32.0).log()
    assert MIND(fixed, weight).value(fixed) == 0
    features = mind_features(fixed)
    assert features.shape == (1, 12, *SHAPE[1:])
    assert (features.amax(1) == 1).all()
    assert (features >= 0).all()


@pytest.mark.parametrize("metric", [LNCC, MIND, MattesMI])
@pytest.mark.parametrize("shift", [(1, 0, 0), (0, -1, 0), (0, 0, 2)])
def test_inverted_contrast_matches_best_where_it_is_aligned(metric, shift, weight):
    fixed = smooth_image(SHAPE, 7)
    inverted = (1 - fixed) ** 2
    similarity = metric(fixed, weight)
    assert similarity.value(inverted) > similarity.value(inverted.roll(shift, (1, 2, 3)))


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
