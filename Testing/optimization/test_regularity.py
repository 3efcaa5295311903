"""Folds: found as a plain loop finds them, and repaired where they are."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from DeepRegLib.evaluation import folded_voxels
from DeepRegLib.geometry import Geometry
from DeepRegLib.optimization import regularity
from DeepRegLib.optimization.regularity import (
    LEAST_DETERMINANT,
    MAXIMUM_REACH,
    ROUNDS_A_REACH,
    corner_determinants,
    repair_folds,
    smooth_locally,
)
from DeepRegLib.transforms import DisplacementField

CORNERS = list(itertools.product((0, 1), repeat=3))


def noise_field(shape: tuple[int, int, int], amplitude: float, seed: int = 0) -> torch.Tensor:
    return torch.randn(3, *shape, generator=torch.Generator().manual_seed(seed)) * amplitude


def tetrahedra() -> list[tuple[tuple[int, ...], ...]]:
    """Return four corners each: the eight corners with their neighbours, and the two central tetrahedra."""
    found = []
    for corner in CORNERS:
        neighbours = [tuple(1 - c if a == axis else c for a, c in enumerate(corner)) for axis in range(3)]
        found.append((corner, *neighbours))
    return found + [tuple(c for c in CORNERS if sum(c) % 2 == parity) for parity in (0, 1)]


def loop_determinants(field: torch.Tensor) -> np.ndarray:
    """Volume of every tetrahedron of every cell over its volume at rest, the smallest of each cell."""
    values = field.double().numpy()
    shape = tuple(n - 1 for n in values.shape[1:])
    smallest = np.full(shape, np.inf)
    for k, j, i in np.ndindex(shape):
        for four in tetrahedra():
            rest = np.array(four, dtype=float)
            moved = np.array([c + values[:, k + c[2], j + c[1], i + c[0]] for c in rest.astype(int)])
            ratio = np.linalg.det(moved[1:] - moved[0]) / np.linalg.det(rest[1:] - rest[0])
            smallest[k, j, i] = min(smallest[k, j, i], ratio)
    return smallest


@pytest.mark.parametrize("amplitude", [0.05, 0.3])
def test_determinants_are_those_of_a_plain_loop(amplitude):
    field = noise_field((5, 6, 7), amplitude)
    np.testing.assert_allclose(corner_determinants(field).numpy(), loop_determinants(field), atol=1e-4)


def test_rest_and_an_affine_map():
    field = torch.zeros(3, 6, 6, 6)
    torch.testing.assert_close(corner_determinants(field), torch.ones(5, 5, 5))
    matrix = torch.tensor([[1.2, 0.3, 0.0], [-0.1, 0.8, 0.2], [0.0, 0.1, 1.1]])
    k, j, i = torch.meshgrid(*[torch.arange(6.0)] * 3, indexing="ij")
    field = torch.einsum("ab,bkji->akji", matrix - torch.eye(3), torch.stack([i, j, k]))
    expected = torch.full((5, 5, 5), float(torch.linalg.det(matrix)))
    torch.testing.assert_close(corner_determinants(field), expected, atol=1e-4, rtol=0)


def judged_to_fold(field: torch.Tensor) -> bool:
    """Return whether the evaluation, which shares no code with the repair, finds a fold."""
    grid = Geometry((field.shape[3], field.shape[2], field.shape[1]))
    transform = DisplacementField(np.moveaxis(field.double().numpy(), 0, -1), grid)
    return bool(folded_voxels(transform, grid).any())


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_the_independent_judge(seed):
    field = noise_field((7, 7, 7), 0.13, seed)
    cells = corner_determinants(field) <= 0
    assert bool(cells.any()) == judged_to_fold(field)


def planted(side: int = 40) -> torch.Tensor:
    """Return a gentle field with a fold in its middle."""
    k, j, i = torch.meshgrid(*[torch.arange(float(side))] * 3, indexing="ij")
    field = torch.stack([torch.sin(j / 6), torch.cos(k / 7), torch.sin(i / 5)]) * 0.5
    middle = side // 2
    bump = torch.exp(-((i - middle) ** 2 + (j - middle) ** 2 + (k - middle) ** 2) / 8)
    field[0] += 6 * bump
    return field


def test_planted_folds_are_repaired_and_far_voxels_kept():
    field = planted()
    assert float(corner_determinants(field).min()) < 0
    before = field.clone()
    repaired, found = repair_folds(field)
    assert found > 0
    assert torch.equal(field, before)
    assert float(corner_determinants(repaired).min()) >= LEAST_DETERMINANT
    assert not judged_to_fold(repaired)
    far = torch.ones(40, 40, 40, dtype=torch.bool)
    far[4:-4, 4:-4, 4:-4] = False
    torch.testing.assert_close(repaired[:, far], field[:, far], atol=1e-5, rtol=0)


def test_a_field_without_folds_is_left_alone():
    field = planted() * 0.1
    repaired, found = repair_folds(field)
    assert found == 0
    assert torch.equal(repaired, field)


@pytest.mark.parametrize("corner", [(0, 0, 0), (17, 17, 17), (0, 17, 8)])
def test_a_fold_at_the_border_is_repaired(corner):
    field = torch.zeros(3, 18, 18, 18)
    field[0, corner[0], corner[1], corner[2]] = 1.8
    field[1, corner[0], corner[1], corner[2]] = -1.8
    field[2, corner[0], corner[1], corner[2]] = 1.8
    assert float(corner_determinants(field).min()) < LEAST_DETERMINANT
    assert float(corner_determinants(repair_folds(field)[0]).min()) >= LEAST_DETERMINANT


def test_where_two_parts_are_pushed_into_each_other_a_few_rounds_repair_it(monkeypatch):
    """Gentle smoothing over and over would drive such a fold outwards, round after round."""
    field = torch.zeros(3, 40, 40, 40)
    field[0, 8:32, 8:32, 10:20] = 4.0
    field[0, 8:32, 8:32, 20:30] = -4.0
    monkeypatch.setattr(regularity, "MAXIMUM_REACH", 7)
    repaired, _ = repair_folds(field)
    assert float(corner_determinants(repaired).min()) >= LEAST_DETERMINANT
    assert float(repaired[0, 20, 20, 12]) > 2.0, "away from the fold the field stays what it was"


def test_wild_noise_is_repaired():
    repaired, found = repair_folds(noise_field((16, 16, 16), 1.0))
    assert found > 1000
    assert float(corner_determinants(repaired).min()) >= LEAST_DETERMINANT


@pytest.mark.parametrize("field", [planted(), noise_field((9, 12, 15), 1.0)], ids=["planted", "noise"])
def test_looking_only_where_the_field_has_changed_repairs_as_looking_everywhere(field):
    expected = field
    for attempt in range(MAXIMUM_REACH * ROUNDS_A_REACH):
        bad = corner_determinants(expected) < LEAST_DETERMINANT
        if not bad.any():
            break
        expected = smooth_locally(expected, bad, reach=1 + attempt // ROUNDS_A_REACH)
    assert attempt > 1
    torch.testing.assert_close(repair_folds(field)[0], expected, atol=0, rtol=0)


def test_smoothing_locally_reaches_only_so_far():
    field = noise_field((30, 30, 30), 0.2)
    cells = torch.zeros(29, 29, 29, dtype=torch.bool)
    cells[14, 14, 14] = True
    smoothed = smooth_locally(field, cells, reach=2)
    assert float((smoothed - field)[:, 14, 14, 14].abs().max()) > 0.01
    torch.testing.assert_close(smoothed[..., 24:], field[..., 24:], atol=1e-6, rtol=0)
