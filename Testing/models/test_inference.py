"""What is asked of a network and what is made of its answer: grid, frame, consistency, uncertainty, cancelling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from DeepRegLib.errors import CancelledError, ModelError
from DeepRegLib.geometry import Geometry
from DeepRegLib.models.inference import network_grid, predict, uncertainty
from DeepRegLib.models.manifest import ModelInput
from DeepRegLib.optimization.deformable import Level
from DeepRegLib.optimization.regularity import corner_determinants
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.optimization.working import WorkingImage
from Testing.models.tiny import Centroid, Shift
from Testing.synthetic import geometry_in

SPACING = 2.5
GRID = geometry_in("oblique", (16, 20, 24), SPACING)
STEPS = 7  # answers asked of a network


def nothing(_fraction: float) -> None:
    """Stand in for who watches the progress."""


def blob(shift: Sequence[int] = (0, 0, 0)) -> WorkingImage:
    """Return a bright spot away from the middle, moved by whole voxels (i, j, k)."""
    volume = torch.zeros(GRID.shape)
    i, j, k = np.array([6, 11, 13]) + shift
    volume[k - 1 : k + 2, j - 1 : j + 3, i - 1 : i + 2] = 1
    return WorkingImage(smooth(volume, 0.8), torch.ones(GRID.shape), GRID)


def predicted(network: nn.Module, pair: Level, *, consistent: bool = False) -> Tensor:
    return predict(network, pair, consistent=consistent, on_step=nothing)


sizes = st.tuples(*[st.integers(1, 300)] * 3)


@settings(deadline=None, max_examples=60)
@given(
    size=sizes,
    spacing=st.floats(0.4, 4),
    wanted=st.floats(0.5, 5),
    multiple=st.sampled_from([1, 2, 8, 16, 48]),
    largest=st.sampled_from([2_000, 200_000, 4_000_000]),
)
def test_the_grid_is_isotropic_covers_the_anatomy_and_suits_the_network(size, spacing, wanted, multiple, largest):
    box = Geometry(size, (spacing, spacing * 1.3, spacing * 2), (3.0, -4.0, 5.0), geometry_in("oblique").direction)
    grid = network_grid(box, ModelInput(wanted), multiple, largest)
    unit = math.lcm(multiple, 2)
    assert len(set(grid.spacing)) == 1
    assert grid.spacing[0] >= wanted
    assert all(n % unit == 0 for n in grid.size)
    assert math.prod(grid.size) <= largest or grid.size == (unit,) * 3
    np.testing.assert_allclose(grid.centre, box.centre, atol=1e-9)
    assert grid.direction == box.direction
    assert np.all(grid.extent >= box.extent - 1e-3 * grid.spacing[0])
    needed = [unit * math.ceil((math.ceil(extent / wanted - 1e-6) + 4) / unit) for extent in box.extent]
    if math.prod(needed) <= largest:
        assert grid.spacing[0] == wanted
        assert list(grid.size) == needed


@settings(deadline=None, max_examples=40)
@given(size=sizes, wanted=st.floats(0.5, 5))
def test_a_network_of_one_size_gets_it_at_its_spacing_or_coarser(size, wanted):
    box = Geometry(size, (1.0, 1.2, 0.8))
    grid = network_grid(box, ModelInput(wanted, (64, 96, 32)), 16)
    assert grid.size == (64, 96, 32)
    assert np.all(grid.extent >= box.extent - 1e-3 * grid.spacing[0])
    if np.all(box.extent <= np.array(grid.size) * wanted - wanted):
        assert grid.spacing[0] == wanted


@settings(deadline=None, max_examples=40)
@given(size=sizes, spacing=st.floats(0.05, 4))
def test_a_network_for_any_scale_sees_small_and_large_anatomy_alike(size, spacing):
    box = Geometry(size, (spacing, spacing * 1.3, spacing * 2), (3.0, -4.0, 5.0))
    grid = network_grid(box, ModelInput(across=96), 32)
    assert max(grid.size) <= 96
    assert grid.spacing[0] == pytest.approx(max(box.extent.max() / 92, spacing))
    assert np.all(grid.extent >= box.extent)


def test_a_network_is_shown_both_images_and_its_answer_is_in_voxels_of_the_field():
    field = predicted(Centroid(), Level(blob(), blob((2, -4, 6))))
    assert field.shape == (3, 12, 10, 8)
    for axis, voxels in enumerate((2, -4, 6)):
        assert torch.allclose(field[axis], torch.tensor(voxels / 2), atol=1e-3)


def test_it_is_asked_again_for_what_is_missing_from_its_answer_or_from_a_start():
    class Hesitant(Centroid):
        def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
            return super().forward(fixed, moving) / 2

    pair, whole = Level(blob(), blob((2, -4, 4))), torch.tensor([1.0, -2.0, 2.0])
    for passes, share in ((1, 1 / 2), (2, 3 / 4), (3, 7 / 8)):
        field = predict(Hesitant(), pair, passes=passes, consistent=False, on_step=nothing)
        assert torch.allclose(field.flatten(1).mean(1), share * whole, atol=0.1)
    start = (whole / 2)[:, None, None, None].expand_as(field).clone()
    field = predict(Hesitant(), pair, start=start, consistent=False, on_step=nothing)
    assert torch.allclose(field.flatten(1).mean(1), 3 / 4 * whole, atol=0.1)


def test_unknown_voxels_are_shown_as_zero():
    seen: list[Tensor] = []

    class Spy(Shift):
        def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
            seen.append(fixed)
            return super().forward(fixed, moving)

    weight = torch.ones(GRID.shape)
    weight[5:] = 0
    image = WorkingImage(torch.full(GRID.shape, 0.7), weight, GRID)
    uncertainty(Spy(), Level(image, blob()), on_step=nothing)
    assert len(seen) == STEPS
    for shown in seen:
        known = shown.flip(-3) if shown[0, 0, 0, 0, 0] == 0 else shown
        assert (known[0, 0, :5] > 0).all()
        assert (known[0, 0, 5:] == 0).all()


def test_both_directions_are_brought_together():
    pair = Level(blob(), blob((2, 0, 0)))
    # Forward 1, backward -1: each other's inverse already.
    assert torch.allclose(predicted(Centroid(), pair, consistent=True)[0], torch.tensor(1.0), atol=1e-3)
    # 1 in both directions contradicts itself, and what is left of it is nothing.
    assert predicted(Shift((1, 0, 0)), pair, consistent=True).abs().max() < 1e-3


def test_an_answer_that_folds_is_mended():
    class Folding(Shift):
        def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
            field = torch.zeros(1, 3, *(n // 2 for n in fixed.shape[2:]))
            field[0, 0, 6, 5, 4] = 3.0
            return field

    pair = Level(blob(), blob())
    assert corner_determinants(Folding()(blob().intensity[None, None], blob().intensity[None, None])[0]).min() < 0
    assert corner_determinants(predicted(Folding(), pair)).min() > 0


def test_the_uncertainty_is_the_standard_deviation_of_the_answers_in_mm():
    shift = np.array([0.5, -1.0, 2.0])
    deviation = uncertainty(Shift(shift), Level(blob(), blob()), on_step=nothing)
    # Mirrored along an axis and back, that component changes its sign; all else stays.
    answers = np.tile(shift, (STEPS, 1))
    for axis in range(3):
        answers[1 + axis, axis] *= -1
    expected = math.sqrt(answers.var(axis=0, ddof=1).sum()) * 2 * SPACING
    assert deviation.shape == (12, 10, 8)
    assert torch.allclose(deviation, torch.tensor(expected, dtype=torch.float32), rtol=1e-5)


def test_a_network_that_answers_the_same_to_mirrored_images_and_other_contrasts_is_certain():
    class Dark(Centroid):
        """FrameOverview at the spot only, whether it is bright or dark."""

        def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
            return super().forward(
                *((image - image[..., :1, :1, :1]).abs().gt(0.3).float() for image in (fixed, moving))
            )

    deviation = uncertainty(Dark(), Level(blob(), blob((2, 1, -1))), on_step=nothing)
    assert deviation.max() < 1e-2


def test_progress_rises_to_the_end():
    fractions: list[float] = []
    uncertainty(Shift(), Level(blob(), blob()), on_step=fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1
    assert len(fractions) == STEPS


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (torch.zeros(1, 3, 24, 20, 16), r"shape \(1, 3, 24, 20, 16\) instead of \(1, 3, 12, 10, 8\)"),
        (torch.zeros(1, 2, 12, 10, 8), "shape"),
        (torch.full((1, 3, 12, 10, 8), torch.nan), "not finite"),
    ],
)
def test_an_answer_that_is_no_field_is_refused(answer: Tensor, told: str):
    class Wrong(Shift):
        def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
            return answer

    with pytest.raises(ModelError, match=told):
        predicted(Wrong(), Level(blob(), blob()))


def test_a_network_hears_a_cancel_between_its_layers_and_keeps_no_hook():
    deep = nn.Sequential(*[nn.Identity() for _ in range(20)])

    class Deep(Shift):
        def __init__(self) -> None:
            super().__init__()
            self.layers = deep

        def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
            return super().forward(self.layers(fixed), moving)

    asked = [0]

    def poll() -> None:
        asked[0] += 1
        if asked[0] == 10:
            raise CancelledError

    network = Deep()
    with pytest.raises(CancelledError):
        predict(network, Level(blob(), blob()), consistent=False, on_step=nothing, poll=poll)
    assert not any(module._forward_pre_hooks for module in network.modules())
    predicted(network, Level(blob(), blob()))
    assert asked[0] == 10
