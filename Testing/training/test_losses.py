"""Losses against brute force, closed forms and the library's own metrics."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from DeepRegLib.similarity.lncc import LNCC
from DeepRegLib.similarity.mind import MIND
from DeepRegLib.training.judge import Judge, objection, shown_images, verdict_loss
from DeepRegLib.training.losses import (
    Losses,
    endpoint_error,
    field_losses,
    inverse_inconsistency,
    seen_in_both,
    similarity,
    soft_dice,
    soft_labels,
    squared_slope,
)
from DeepRegLib.training.randomness import Randomness
from DeepRegLib.training.synthesis import Pairs
from Testing.training.test_synthesis import PERFECT, SYNTHESIS, pairs_of

CPU = torch.device("cpu")
ALL = Losses(labels=1, endpoint=1, smoothness=1, inverse=1, lncc=1, mind=1)


def numeric_gradient(function: object, at: torch.Tensor, voxels: list[tuple[int, ...]]) -> list[float]:
    step, slopes = 1e-4, []
    for voxel in voxels:
        both = []
        for sign in (1, -1):
            moved = at.clone()
            moved[voxel] += sign * step
            both.append(float(function(moved)))  # type: ignore[operator]
        slopes.append((both[0] - both[1]) / (2 * step))
    return slopes


@pytest.mark.parametrize("kind", [LNCC, MIND])
def test_metrics_have_the_library_s_value_and_a_true_gradient(kind: type[LNCC] | type[MIND]) -> None:
    torch.manual_seed(0)
    fixed, weight = torch.rand(2, 9, 8, 10, dtype=torch.float64), torch.rand(2, 9, 8, 10, dtype=torch.float64)
    metric = kind(fixed, weight)
    warped = torch.rand(2, 9, 8, 10, dtype=torch.float64).requires_grad_()
    value = similarity(warped, metric)
    torch.testing.assert_close(value.detach(), metric.value(warped.detach()), rtol=1e-12, atol=1e-12)
    share = torch.tensor([1.0, 3.0], dtype=torch.float64)
    (value * share).sum().backward()
    voxels = [(0, 4, 4, 4), (1, 0, 0, 0), (1, 8, 3, 9)]
    slopes = numeric_gradient(lambda moved: (metric.value(moved) * share).sum(), warped.detach(), voxels)
    assert warped.grad is not None
    assert [float(warped.grad[voxel]) for voxel in voxels] == pytest.approx(slopes, rel=1e-4, abs=1e-9)


def test_soft_labels_are_the_share_of_the_eight_voxels() -> None:
    torch.manual_seed(1)
    labels = torch.randint(0, 5, (2, 5, 6, 7))
    chosen = torch.tensor([[3, 1], [2, 4]])
    shares = soft_labels(labels, chosen, 5)
    assert shares.shape == (2, 2, 3, 3, 4)
    for b, c, k, j, i in torch.cartesian_prod(*(torch.arange(n) for n in shares.shape)).tolist():
        # An odd last voxel counts twice, as in the field's grid.
        cell = [
            labels[b, min(2 * k + z, 4), min(2 * j + y, 5), min(2 * i + x, 6)]
            for z in (0, 1)
            for y in (0, 1)
            for x in (0, 1)
        ]
        expected = sum(bool(label == chosen[b, c]) for label in cell) / 8
        assert float(shares[b, c, k, j, i]) == expected


def test_dice_is_that_of_sets_and_leaves_out_small_labels_and_what_has_no_weight() -> None:
    a, b, weight = torch.zeros(1, 3, 6, 6, 6), torch.zeros(1, 3, 6, 6, 6), torch.ones(1, 1, 6, 6, 6)
    a[0, 0, :4], b[0, 0, 2:] = 1, 1
    a[0, 1, 0], b[0, 1, 0] = 1, 1
    a[0, 2, 5, 5, 5] = 1
    assert float(soft_dice(a, b, weight)) == pytest.approx((0.5 + 1) / 2)
    weight[:, :, :2] = 0
    assert float(soft_dice(a, b, weight)) == pytest.approx(2 * 72 / (72 + 144))


def test_the_endpoint_error_is_in_voxels_of_the_images() -> None:
    field, truth, weight = torch.zeros(1, 3, 2, 2, 2), torch.zeros(1, 3, 2, 2, 2), torch.zeros(1, 1, 2, 2, 2)
    truth[0, :, 0] = torch.tensor([3.0, 4.0, 0.0])[:, None, None]
    weight[0, 0, 0, 0] = 1
    assert float(endpoint_error(field, truth, weight)) == pytest.approx(10, rel=1e-4)


def test_the_slope_of_a_linear_field_is_that_of_its_matrix() -> None:
    torch.manual_seed(2)
    matrix = torch.randn(3, 3)
    grid = torch.stack(torch.meshgrid(*(torch.arange(5.0),) * 3, indexing="ij")[::-1])
    field = torch.einsum("ab,bkji->akji", matrix, grid)[None]
    assert float(squared_slope(field)) == pytest.approx(float(matrix.square().sum()), rel=1e-4)


def test_there_and_back_along_a_shift_is_consistent_and_forth_and_forth_of_a_stretch_is_not() -> None:
    shift = torch.tensor([1.5, -0.5, 2.0])[None, :, None, None, None].expand(1, 3, 6, 6, 6)
    assert float(inverse_inconsistency(shift, -shift)) == pytest.approx(0, abs=1e-10)
    # A shift that is left over has no slope: it is not punished.
    assert float(inverse_inconsistency(shift, shift)) == pytest.approx(0, abs=1e-10)
    stretch = torch.zeros(1, 3, 6, 6, 6)
    stretch[0, 0] = 0.1 * (torch.arange(6.0) - 2.5)
    inverse = torch.zeros_like(stretch)
    inverse[0, 0] = (1 / 1.1 - 1) * (torch.arange(6.0) - 2.5)
    assert float(inverse_inconsistency(stretch, inverse)) < 1e-3 < float(inverse_inconsistency(stretch, stretch))


def test_only_what_both_images_show_is_seen() -> None:
    known, other = torch.ones(1, 1, 4, 4, 4), torch.ones(1, 1, 4, 4, 4)
    known[..., 0], other[..., 3] = 0, 0
    shift = torch.zeros(1, 3, 4, 4, 4)
    shift[:, 0] = 1  # along i
    seen = seen_in_both(known, other, shift)
    assert seen[0, 0, 0, 0].tolist() == [0, 1, 0, 0]


def test_the_true_field_is_better_than_none_by_every_measure() -> None:
    clean = replace(SYNTHESIS, appearance=replace(PERFECT, blur=0.5, noise=0.02))
    pairs = pairs_of(0, 1, 2, synthesis=clean)
    assert pairs.field is not None
    still = torch.zeros_like(pairs.field)
    losses = replace(ALL, inverse=0, smoothness=0)
    right = field_losses(pairs, pairs.field, None, Randomness([0, 1, 2], CPU), losses)
    none = field_losses(pairs, still, None, Randomness([0, 1, 2], CPU), losses)
    assert right.keys() == none.keys() == {"labels", "endpoint", "lncc", "mind"}
    for name in ("labels", "endpoint", "mind"):
        assert bool((right[name] < none[name]).all()), name
    assert float(right["labels"].max()) < 0.15  # what linear interpolation of shares takes from small labels


def test_a_weight_of_zero_is_not_computed_and_unknown_fields_are_judged_by_labels_and_images() -> None:
    pairs = pairs_of(0)
    assert pairs.field is not None
    unknown = replace(pairs, field=None)
    field = 0.5 * pairs.field
    found = field_losses(unknown, field, -field, Randomness([0], CPU), ALL)
    assert found.keys() == {"labels", "smoothness", "inverse", "lncc", "mind"}
    without = field_losses(replace(unknown, fixed_labels=None), field, None, Randomness([0], CPU), Losses(lncc=1))
    assert without.keys() == {"smoothness", "lncc"}


def test_losses_reach_the_field() -> None:
    pairs = pairs_of(0)
    assert pairs.field is not None
    for name in ("labels", "endpoint", "smoothness", "inverse", "lncc", "mind"):
        field = (0.5 * pairs.field).requires_grad_()
        weights = {
            other: float(other == name) for other in ("labels", "endpoint", "smoothness", "inverse", "lncc", "mind")
        }
        if name in ("smoothness", "inverse"):
            weights["labels"] = 1.0
        found = field_losses(pairs, field, -field, Randomness([0], CPU), Losses(**weights))  # type: ignore[arg-type]
        found[name].sum().backward()
        assert field.grad is not None
        assert float(field.grad.abs().sum()) > 0


def test_the_judge_learns_and_its_objection_teaches_the_network_only() -> None:
    torch.manual_seed(0)
    judge = Judge()
    pairs: Pairs = pairs_of(0, 1)
    assert pairs.field is not None
    visible = seen_in_both(pairs.fixed_known, pairs.moving_known, pairs.field)
    aligned = shown_images(pairs, pairs.field, visible)
    field = torch.zeros_like(pairs.field).requires_grad_()
    shown = shown_images(pairs, field, visible)
    objection(judge, shown).sum().backward()
    assert field.grad is not None
    assert float(field.grad.abs().sum()) > 0
    assert all(parameter.grad is None for parameter in judge.parameters())
    optimiser = torch.optim.Adam(judge.parameters(), lr=0.01)
    values = []
    for _ in range(40):
        loss = verdict_loss(judge, aligned, shown).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        values.append(float(loss.detach()))
    assert min(values) < 0.8 * values[0]
