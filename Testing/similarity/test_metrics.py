"""What holds for every metric: agreement with autograd of a plain reference, masks, degenerate input, repeatability."""

import pytest
import torch

from DeepRegLib.errors import InputError
from DeepRegLib.recipes.model import SIMILARITIES
from DeepRegLib.similarity import LC2, LNCC, MIND, NCC, NGF, SSD, SSIM, MattesMI, Windows, make_similarity
from Testing.similarity import references
from Testing.similarity.images import random_weight, smooth_image

SHAPE = (10, 9, 11)
METRICS = {
    "ssd": (SSD, references.ssd),
    "ncc": (NCC, references.ncc),
    "lncc1": (lambda f, w: LNCC(f, w, 1), lambda f, w, m: references.lncc(f, w, m, 1)),
    "lncc2": (LNCC, lambda f, w, m: references.lncc(f, w, m, 2)),
    "lncc1sparse": (lambda f, w: LNCC(f, w, 1, Windows.SPARSE), lambda f, w, m: references.lncc(f, w, m, 1, step=2)),
    "lncc2sparse": (lambda f, w: LNCC(f, w, 2, Windows.SPARSE), lambda f, w, m: references.lncc(f, w, m, 2, step=2)),
    "ssim1": (lambda f, w: SSIM(f, w, 1), lambda f, w, m: references.ssim(f, w, m, 1)),
    "ssim2": (SSIM, lambda f, w, m: references.ssim(f, w, m, 2)),
    "mi": (
        lambda f, w: MattesMI(f, w, bins=12, moving_range=(0.1, 0.8)),
        lambda f, w, m: references.mutual_information(f, w, m, 12, (0.1, 0.8)),
    ),
    "mi32": (MattesMI, lambda f, w, m: references.mutual_information(f, w, m, 32, (0.0, 1.0))),
    "mind": (MIND, lambda f, w, m: references.mind(f, w, m, 1, 2)),
    "mind0": (lambda f, w: MIND(f, w, 0, 1), lambda f, w, m: references.mind(f, w, m, 0, 1)),
    "lc2_1": (lambda f, w: LC2(f, w, 1), lambda f, w, m: references.lc2(f, w, m, 1)),
    "lc2_2": (lambda f, w: LC2(f, w, 2), lambda f, w, m: references.lc2(f, w, m, 2)),
    "ngf": (NGF, lambda f, w, m: references.ngf(f, w, m, 0.5)),
    "ngf0.2": (lambda f, w: NGF(f, w, 0.2), lambda f, w, m: references.ngf(f, w, m, 0.2)),
}
every_metric = pytest.mark.parametrize("metric", METRICS)


@every_metric
@pytest.mark.parametrize(
    ("fixed_batch", "weight_batch", "batch"), [(1, 1, 1), (1, 1, 3), (1, 3, 3), (3, 1, 3), (2, 2, 2)]
)
def test_value_and_gradient_agree_with_autograd_of_the_reference(metric, fixed_batch, weight_batch, batch):
    prepare, reference = METRICS[metric]
    fixed, weight = smooth_image((fixed_batch, *SHAPE), 0), random_weight((weight_batch, *SHAPE), 1)
    warped = (smooth_image((batch, *SHAPE), 2) + fixed).div(2).requires_grad_()
    expected = reference(fixed, weight, warped)
    (expected_gradient,) = torch.autograd.grad(expected.sum(), warped)
    similarity = prepare(fixed, weight)
    value, gradient = similarity.value_and_gradient(warped)
    assert value.shape == (batch,)
    assert gradient.shape == warped.shape
    assert not value.requires_grad
    torch.testing.assert_close(value, expected.detach(), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(similarity.value(warped), value, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-8, atol=1e-11)


@every_metric
def test_gradient_agrees_with_finite_differences(metric):
    fixed, weight = smooth_image((1, *SHAPE), 3), random_weight((1, *SHAPE), 4)
    warped, direction = smooth_image((1, *SHAPE), 5) * 0.6 + 0.15, smooth_image((1, *SHAPE), 6) - 0.5
    similarity = METRICS[metric][0](fixed, weight)
    step = 1e-6
    slope = (similarity.value(warped + step * direction) - similarity.value(warped - step * direction)) / (2 * step)
    gradient = similarity.value_and_gradient(warped)[1]
    torch.testing.assert_close((gradient * direction).sum(), slope[0], rtol=1e-4, atol=1e-7)


@every_metric
def test_equal_images_are_a_best_match_and_images_are_left_alone(metric):
    fixed, weight = smooth_image((1, *SHAPE), 7), random_weight((1, *SHAPE), 8)
    warped, before = fixed.clone(), fixed.clone()
    similarity = METRICS[metric][0](fixed, weight)
    value = similarity.value_and_gradient(warped)[0]
    assert torch.equal(warped, before)
    assert torch.equal(fixed, before)
    for seed in range(9, 13):
        assert similarity.value(smooth_image((1, *SHAPE), seed)) < value


@every_metric
def test_large_offsets_cost_no_precision_in_float32(metric):
    offset = 0 if metric.startswith("mi3") or metric == "mi" else 1000
    gain = 1 if offset == 0 else 400
    fixed = (smooth_image((1, *SHAPE), 13) * gain + offset).float()
    warped = ((smooth_image((2, *SHAPE), 14) + smooth_image((1, *SHAPE), 13)) * gain / 2 + offset).float()
    weight = random_weight((1, *SHAPE), 15).float()
    value, gradient = METRICS[metric][0](fixed, weight).value_and_gradient(warped)
    exact, exact_gradient = METRICS[metric][0](fixed.double(), weight.double()).value_and_gradient(warped.double())
    assert value.dtype == gradient.dtype == torch.float32
    torch.testing.assert_close(value.double(), exact, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        gradient.double(), exact_gradient, rtol=1e-3, atol=1e-4 * exact_gradient.abs().max().item()
    )


@every_metric
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("level", [0.0, 0.3, 1234.567])
@pytest.mark.parametrize("constant", ["fixed", "warped", "both"])
def test_constant_images_give_finite_numbers(metric, dtype, level, constant):
    image = smooth_image((1, *SHAPE), 16).to(dtype)
    flat = torch.full_like(image, level)
    fixed = flat if constant != "warped" else image
    warped = flat if constant != "fixed" else image
    weight = random_weight((1, *SHAPE), 17).to(dtype)
    value, gradient = METRICS[metric][0](fixed, weight).value_and_gradient(warped)
    assert value.isfinite().all()
    assert gradient.isfinite().all()
    if metric.startswith(("ncc", "lncc", "lc2", "ngf")) or (metric in ("ssim1", "ssim2") and constant != "warped"):
        assert value == 0
        assert (gradient == 0).all()


@every_metric
def test_no_weight_gives_zero_and_does_not_touch_the_rest_of_the_batch(metric):
    fixed, warped = smooth_image((1, *SHAPE), 18), smooth_image((2, *SHAPE), 19)
    weight = random_weight((2, *SHAPE), 20)
    weight[0] = 0
    value, gradient = METRICS[metric][0](fixed, weight).value_and_gradient(warped)
    assert value[0] == 0
    assert (gradient[0] == 0).all()
    alone, alone_gradient = METRICS[metric][0](fixed, weight[1:]).value_and_gradient(warped[1:])
    torch.testing.assert_close(value[1:], alone)
    torch.testing.assert_close(gradient[1:], alone_gradient)


@pytest.mark.parametrize("metric", [name for name in METRICS if not name.startswith("mind")])
def test_what_has_no_weight_has_no_influence(metric):
    fixed, warped = smooth_image((1, *SHAPE), 21), smooth_image((2, *SHAPE), 22)
    weight = random_weight((1, *SHAPE), 23)
    value, gradient = METRICS[metric][0](fixed, weight).value_and_gradient(warped)
    outside = (weight == 0).to(weight.dtype)
    other, other_gradient = METRICS[metric][0](fixed - 7 * outside, weight).value_and_gradient(warped + 5 * outside)
    torch.testing.assert_close(other, value, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(other_gradient, gradient, rtol=1e-10, atol=1e-14)
    assert (gradient[weight.expand_as(gradient) == 0] == 0).all()


@every_metric
def test_scaling_the_weight_changes_nothing(metric):
    fixed, warped = smooth_image((1, *SHAPE), 24), smooth_image((1, *SHAPE), 25)
    weight = random_weight((1, *SHAPE), 26)
    value, gradient = METRICS[metric][0](fixed, weight).value_and_gradient(warped)
    scaled, scaled_gradient = METRICS[metric][0](fixed, 37 * weight).value_and_gradient(warped)
    torch.testing.assert_close(scaled, value)
    torch.testing.assert_close(scaled_gradient, gradient)


@every_metric
def test_the_same_input_gives_the_same_bits(metric):
    fixed, warped = smooth_image((1, *SHAPE), 27).float(), smooth_image((2, *SHAPE), 28).float()
    similarity = METRICS[metric][0](fixed, random_weight((1, *SHAPE), 29).float())
    first, second = similarity.value_and_gradient(warped), similarity.value_and_gradient(warped)
    assert torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


@every_metric
def test_nothing_waits_for_the_device(metric):
    image = torch.empty(1, *SHAPE, device="meta")
    value, gradient = METRICS[metric][0](image, image).value_and_gradient(image.expand(3, -1, -1, -1))
    assert value.device.type == gradient.device.type == "meta"
    assert (value.shape, gradient.shape) == ((3,), (3, *SHAPE))


@pytest.mark.parametrize("name", SIMILARITIES)
def test_recipes_make_metrics_by_name(name):
    fixed, warped = smooth_image((1, *SHAPE), 30), smooth_image((2, *SHAPE), 31)
    similarity = make_similarity(name, fixed, torch.ones_like(fixed), radius=1)
    value, gradient = similarity.value_and_gradient(warped)
    assert value.shape == (2,)
    assert gradient.shape == warped.shape


def test_what_cannot_be_used_is_refused_in_words():
    image = smooth_image((1, *SHAPE), 32)
    with pytest.raises(InputError, match="nothing"):
        make_similarity("nothing", image, image, radius=1)
    with pytest.raises(InputError, match="radius is 0"):
        LNCC(image, image, 0)
    with pytest.raises(InputError, match="radius is 0"):
        SSIM(image, image, 0)
    with pytest.raises(InputError, match="radius is 0"):
        LC2(image, image, 0)
    with pytest.raises(InputError, match="edge parameter is 0"):
        NGF(image, image, 0)
    with pytest.raises(InputError, match="3 bins"):
        MattesMI(image, image, bins=3)
    with pytest.raises(InputError, match="moving range"):
        MattesMI(image, image, moving_range=(1.0, 1.0))
    with pytest.raises(InputError, match="dilation 0"):
        MIND(image, image, 1, 0)
    with pytest.raises(InputError, match="one grid"):
        SSD(image, image[:, 1:])
    with pytest.raises(InputError, match="batch 2"):
        NCC(image.expand(2, -1, -1, -1), image.expand(3, -1, -1, -1))
    with pytest.raises(InputError, match="one type"):
        NCC(image, image.float())


@pytest.mark.parametrize("radius", [1, 2])
def test_the_own_windows_gradient_is_that_of_each_window_by_its_middle(radius):
    generator = torch.Generator().manual_seed(3)
    fixed, warped, weight = (torch.rand(1, 6, 5, 7, generator=generator, dtype=torch.float64) for _ in range(3))
    _, gradient = LNCC(fixed, weight, radius, Windows.OWN).value_and_gradient(warped)
    terms = torch.autograd.functional.jacobian(lambda m: references.lncc_terms(fixed, weight, m, radius), warped)
    own = terms.reshape(fixed.numel(), -1).diagonal().reshape(fixed.shape) * references.window_sum(weight, radius)
    # The floor under the variances, a share of the whole image's, is what little is not of the own window.
    torch.testing.assert_close(gradient, own, atol=2e-4 * float(own.abs().max()), rtol=0)
