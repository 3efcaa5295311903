import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from DeepRegLib.errors import InputError
from DeepRegLib.similarity.box import box_sum, sparse_box_sum, spread
from Testing.similarity.images import random_weight, smooth_image
from Testing.similarity.references import window_sum

sides = st.integers(1, 9)


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(1, 3), sides, sides, sides), st.integers(0, 5), st.integers(0, 99))
def test_equals_convolution_with_ones_for_any_size_and_radius(shape, radius, seed):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(box_sum(x, radius), window_sum(x, radius), rtol=1e-12, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.tuples(st.integers(1, 3), sides, sides, sides), st.integers(0, 5), st.integers(0, 99))
def test_sparse_windows_are_every_second_of_all_and_spreading_is_their_adjoint(shape, radius, seed):
    x = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    sums = sparse_box_sum(x, radius)
    torch.testing.assert_close(sums, window_sum(x, radius)[..., ::2, ::2, ::2], rtol=1e-12, atol=1e-12)
    spaced = torch.zeros_like(x)
    spaced[..., ::2, ::2, ::2] = sums
    torch.testing.assert_close(spread(sums, shape[1:], radius), window_sum(spaced, radius), rtol=1e-12, atol=1e-12)


def test_is_its_own_adjoint():
    x, y = smooth_image((2, 8, 7, 9), 1), smooth_image((2, 8, 7, 9), 2)
    torch.testing.assert_close((box_sum(x, 2) * y).sum(), (x * box_sum(y, 2)).sum())


def test_empty_windows_are_exactly_zero_and_none_is_negative():
    weight = torch.zeros(1, 12, 12, 12)
    weight[:, 9:] = random_weight((1, 3, 12, 12), 3).float()
    sums = box_sum(weight, 2)
    assert (sums[:, :7] == 0).all()
    assert (sums >= 0).all()


def test_takes_strided_input_and_leading_axes_and_leaves_the_input_alone():
    x = smooth_image((6, 8, 7, 9), 4).view(2, 3, 8, 7, 9).transpose(-1, -3)
    before = x.clone()
    sums = box_sum(x, 1)
    assert torch.equal(x, before)
    torch.testing.assert_close(sums[1, 2], window_sum(x[1, 2][None], 1)[0])
    assert box_sum(x, 0).data_ptr() != x.data_ptr()


def test_refuses_what_it_cannot_sum():
    with pytest.raises(InputError):
        box_sum(torch.zeros(4, 4, 4), -1)
    with pytest.raises(InputError):
        box_sum(torch.zeros(4, 4), 1)
    with pytest.raises(InputError):
        sparse_box_sum(torch.zeros(4, 4, 4), -1)
