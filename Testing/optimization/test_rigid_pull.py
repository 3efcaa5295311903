"""The pull that keeps segments rigid during the descent."""

from __future__ import annotations

import numpy as np
import torch

from DeepRegLib.landmark_alignment import rigid_from_landmarks
from DeepRegLib.optimization.rigid_pull import RigidNodes, RigidPull
from DeepRegLib.optimization.rotations import rotation_from_vector

SHAPE = (12, 14, 16)
LINEAR = np.array([[1.1, 0.05, 0.0, 2.0], [0.0, 0.95, 0.1, -1.0], [0.02, 0.0, 1.0, 0.5], [0, 0, 0, 1.0]])
CPU = torch.device("cpu")


def block(*parts: slice) -> RigidNodes:
    """Return the nodes of a part (k, j, i) of the grid."""
    inside = np.zeros(SHAPE, dtype=bool)
    inside[parts] = True
    places = np.argwhere(inside)[:, ::-1].T.astype(np.float32)
    shares = np.linspace(0.3, 1.0, places.shape[1], dtype=np.float32)
    numbers = torch.from_numpy(np.flatnonzero(inside))
    return RigidNodes(numbers, torch.from_numpy(places.copy()), torch.from_numpy(shares))


SEGMENTS = [block(slice(2, 6), slice(3, 9), slice(3, 8)), block(slice(8, 11), slice(3, 9), slice(6, 12))]


def nodes() -> torch.Tensor:
    k, j, i = np.indices(SHAPE)
    return torch.from_numpy(np.stack([i, j, k]).astype(np.float32))


def moved_rigidly(angle: float) -> torch.Tensor:
    """Return the field that, with the linear transform after it, turns the whole grid by an angle."""
    turn = rotation_from_vector(torch.tensor([0.3, -0.5, 0.8]) * angle).double().numpy()
    places = nodes().flatten(1).double().numpy()
    before = np.linalg.inv(LINEAR[:3, :3]) @ (turn @ places + 0.7 - LINEAR[:3, 3:])
    return torch.from_numpy((before - places).astype(np.float32)).reshape(3, *SHAPE)


def test_a_rigid_motion_of_everything_is_left_alone() -> None:
    pull = RigidPull(SEGMENTS, LINEAR, SHAPE, device=CPU)
    value, force = pull.value_and_force(moved_rigidly(0.4))
    assert abs(float(value)) < 1e-6
    assert float(force.abs().max()) < 1e-3


def test_the_force_leads_each_segment_to_its_own_nearest_rigid_motion() -> None:
    pull = RigidPull(SEGMENTS, np.eye(4), SHAPE, device=CPU)
    field = torch.stack([1.5 * torch.sin(axis / 3) for axis in nodes().flip(0)])
    value, force = pull.value_and_force(field)
    assert float(value) < -0.05
    outside = torch.ones(int(np.prod(SHAPE)), dtype=torch.bool)
    for segment in SEGMENTS:
        outside[segment.numbers] = False
        here = segment.places.T.double().numpy()
        there = here + field.flatten(1)[:, segment.numbers].T.double().numpy()
        # Kabsch with weights: each point as often as its share is large.
        often = np.repeat(np.arange(len(here)), np.rint(segment.shares.numpy() * 200).astype(int))
        rigid = rigid_from_landmarks(here[often], there[often])
        wanted = (here @ rigid[:3, :3].T + rigid[:3, 3] - there) * segment.shares.numpy()[:, None]
        found = force.flatten(1)[:, segment.numbers].T.double().numpy()
        np.testing.assert_allclose(found / found.std(), wanted / wanted.std(), atol=0.05)
    assert not force.flatten(1)[:, outside].any()
    for _ in range(40):
        field = field + 0.2 * pull.value_and_force(field)[1]
    assert float(pull.value_and_force(field)[0]) > -1e-4


def test_a_segment_of_one_node_is_free() -> None:
    pull = RigidPull([block(slice(4, 5), slice(4, 5), slice(4, 5))], LINEAR, SHAPE, device=CPU)
    _, force = pull.value_and_force(torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0)))
    assert float(force.abs().max()) < 1e-4
