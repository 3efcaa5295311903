"""Every stage, similarity and network on a simulated card: no devices are mixed, and iterations do not wait for it."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from DeepRegLib.networks import ARCHITECTURES, THIRD_PARTY, build_network
from DeepRegLib.optimization.deformable import Level, register_deformable
from DeepRegLib.optimization.field_grid import field_grid
from DeepRegLib.optimization.global_search import search_poses
from DeepRegLib.optimization.linear import FewSlices, refine_poses
from DeepRegLib.optimization.pulls import LabelPull, LandmarkPull, Pull, Structure
from DeepRegLib.optimization.rigid_pull import RigidNodes, RigidPull
from DeepRegLib.optimization.rotations import rotation_grid
from DeepRegLib.optimization.sliding import surface_of
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.pipeline import align
from DeepRegLib.recipes import VELOCITY, Deformable, LargeMotion, Recipe
from DeepRegLib.recipes.model import DEFORMABLE_SIMILARITIES, FEATURES, LNCC_NGF, SIMILARITIES
from DeepRegLib.request import Drivers, Request
from DeepRegLib.stages.run import REPORT_EVERY
from Testing.optimization.phantoms import cube, phantom
from Testing.simulated_card import CARD, UNREPEATABLE, SimulatedCard, TwoDevicesError, on_card, simulated_card
from Testing.small import shortest_recipe, small_pair, small_recipe, small_registration

GRID = cube(12, 9.0)
NETWORKS: dict[str, dict[str, Any]] = {
    "pyramid": {"channels": [4, 8, 8], "radius": 1, "integrate": True},
    "segmentation-unet": {"channels": [4, 8], "out": 3},
    "segmentation-cnn": {"channels": 4, "out": 3},
    "autoencoder": {"channels": [4, 8]},
    "translator": {"channels": [4, 8]},
    "motion": {"components": 2, "hidden": 4, "ahead": 2},
    "anatomix": {"channels": 2, "out": 2, "levels": 2},
    "lapirn": {"channels": 4, "integrate": True},
}


@pytest.fixture
def card() -> Any:
    """Give the machine a card for the time of a test."""
    with simulated_card() as simulated:
        yield simulated


def waits(card: SimulatedCard) -> Counter[str]:
    """Return by line what makes the host wait: what is fetched from the card, and what is sent to it."""
    return card.waits + card.copies


# The card itself


def test_the_card_refuses_what_cuda_refuses(card: SimulatedCard) -> None:
    there, here = torch.zeros(3, 4, device="cuda"), torch.zeros(3, 4)
    assert (there.device, (there + 1)[0].device, here.to(there.device).device) == (CARD, CARD, CARD)
    mixed: Sequence[Callable[[], object]] = (
        lambda: there + here,
        lambda: torch.cat([there, here]),
        lambda: there.copy_(here) + here,
        lambda: there[torch.tensor([0])],
        lambda: torch.nn.functional.conv1d(there[None], here[None, :, :3].transpose(0, 1)),
        lambda: there.numpy(),
        lambda: np.asarray(there),
    )
    for each in mixed:
        with pytest.raises(TwoDevicesError):
            each()
    assert on_card(there * torch.tensor(2.0))
    assert not on_card(there.cpu())
    np.testing.assert_array_equal(there.cpu().numpy(), here.numpy())


def test_the_card_counts_what_makes_the_host_wait(card: SimulatedCard) -> None:
    there = torch.ones(3, 4, device="cuda")
    asked: Sequence[Callable[[], object]] = (
        lambda: there.cpu(),
        lambda: float(there.sum()),
        lambda: there.max().item(),
        lambda: bool(there.any()),
        lambda: there.tolist(),
        lambda: there.nonzero(),
        lambda: there[there > 0],
        lambda: torch.tensor([1.0, 2.0], device="cuda"),
        lambda: torch.zeros(2).to("cuda"),
    )
    for number, each in enumerate(asked, start=1):
        each()
        assert waits(card).total() == number
    torch.where(there > 0, there, 0.0).clamp_(0, 1).masked_fill_(there > 0, 2.0)
    assert waits(card).total() == len(asked)


# Whole runs

RECIPES: dict[str, Callable[[Recipe], Recipe]] = {
    "searched": lambda r: replace(
        r,
        search=replace(r.search, enabled=True, angle=90.0, candidates=2),
        linear=replace(r.linear, similarity="mi", model="affine"),
        large_motion=LargeMotion(enabled=True, shrink=(2,), radius=(1,)),
        deformable=replace(r.deformable, ignore_unmatched=True),
    ),
    "from either side": lambda r: replace(
        r, symmetric=True, deformable=replace(r.deformable, parametrisation=VELOCITY)
    ),
    "contrasts": lambda r: replace(r, deformable=replace(r.deformable, similarity="auto")),
}


def small_request(device: str, chosen: Recipe, **drivers: Any) -> Request:
    fixed, moving, *_ = small_pair()
    return Request(fixed, moving, chosen, Drivers(**drivers), device)


@pytest.mark.parametrize("name", RECIPES)
def test_a_run_mixes_no_devices_and_asks_for_nothing_that_gives_other_numbers_each_time(name: str) -> None:
    chosen = RECIPES[name](shortest_recipe())
    with simulated_card() as card:
        found = align(small_request("cuda", chosen))
    assert found.provenance["device_name"] == "simulated card"
    assert card.called["add"] + card.called["__add__"] + card.called["mul"] + card.called["__mul__"] > 0
    assert card.called.keys() & UNREPEATABLE == set()


def test_a_run_on_the_card_gives_what_the_cpu_gives() -> None:
    expected = small_registration()
    with simulated_card():
        found = align(small_request("cuda", small_recipe()))
    points = found.fixed.geometry.points().reshape(-1, 3)[::7]
    # Off the CPU some kernels add in another order.
    difference = found.transform.apply_to_points(points) - expected.transform.apply_to_points(points)
    assert np.abs(difference).max() < 0.02


def test_a_run_with_all_that_a_user_knows_mixes_no_devices() -> None:
    *_, labels, moving_labels = small_pair()
    points = labels.geometry.centre[None] + np.array([[0.0, 0, 0], [4, 0, 2], [0, -5, 3], [3, 4, 0]])
    known = {
        "fixed_landmarks": points,
        "moving_landmarks": small_registration().transform.apply_to_points(points),
        "fixed_labels": labels,
        "moving_labels": moving_labels,
        "sliding_mask": labels.with_array(labels.array == labels.array.max()),
        "rigid_labels": labels,
    }
    with simulated_card():
        found = align(small_request("cuda", shortest_recipe(), **known))
    assert found.provenance["device"] == "cuda"


# Networks


@pytest.mark.parametrize("name", [name for name in (*ARCHITECTURES, *THIRD_PARTY) if name != "unigradicon"])
def test_a_network_keeps_to_its_device(name: str, card: SimulatedCard) -> None:
    network = build_network(name, NETWORKS[name]).eval().to(CARD)
    names = inspect.signature(network.forward).parameters.keys() & {"fixed", "moving", "image"}
    sides = [getattr(network, "multiple", 16)] * 3
    images = [torch.rand(1, 1, *sides, device=CARD) for _ in names] or [torch.rand(1, 4, 2, device=CARD)]
    with torch.no_grad():
        result = network(*images)
    assert on_card(result)
    assert not card.waits


# Iterations


def settings(similarity: str, iterations: int, **changes: Any) -> Deformable:
    features = "any" if similarity == FEATURES else ""
    return Deformable(
        similarity=similarity, features=features, radius=1, shrink=(1,), iterations=(iterations,), step=0.01, **changes
    )


def levels(similarity: str = "ssd", pulls: Sequence[Pull] = (), *, slides: bool = False) -> list[Level]:
    sides = [on_the_card(phantom(GRID, seed=seed)) for seed in (0, 1)]
    if similarity == FEATURES:
        sides = [replace(side, features=torch.rand(2, *GRID.shape).to(CARD)) for side in sides]
    if similarity == LNCC_NGF:
        sides = [replace(side, mapped=1 - side.intensity) for side in sides]
    nodes = field_grid(GRID).shape
    surface = surface_of((torch.arange(nodes[0]) > nodes[0] // 2)[:, None, None].expand(nodes).float().to(CARD))
    return [Level(sides[0], sides[1], tuple(pulls), surface if slides else None)]


def on_the_card(image: WorkingImage) -> WorkingImage:
    return replace(image, intensity=image.intensity.to(CARD), weight=image.weight.to(CARD))


def extra_waits(card: SimulatedCard, run: Callable[[int], object], few: int = 11) -> Counter[str]:
    """Return what ten iterations more make the host wait for."""
    found = []
    for iterations in (few, few + 10):
        card.waits.clear()
        card.copies.clear()
        run(iterations)
        found.append(waits(card))
    return found[1] - found[0]


def no_report(*_: object) -> None:
    """Tell nobody how far it is."""


@pytest.mark.parametrize("similarity", DEFORMABLE_SIMILARITIES)
def test_deformable_iterations_wait_once_in_ten_for_the_stall_test(similarity: str, card: SimulatedCard) -> None:
    made = levels(similarity)
    extra = extra_waits(card, lambda n: register_deformable(made, settings(similarity, n), on_step=no_report))
    assert set(extra) <= {"optimization/deformable.py:" + stall_line()}, extra
    assert extra.total() <= 1


def stall_line() -> str:
    """Return the line of the stall test that asks for a value."""
    from DeepRegLib.optimization import deformable

    lines, first = inspect.getsourcelines(deformable._stalled)
    return str(first + next(n for n, line in enumerate(lines) if "return bool(" in line))


@pytest.mark.parametrize("kind", ["landmarks", "labels", "rigid", "sliding", "velocity"])
def test_neither_do_pulls_sliding_or_a_velocity_wait(kind: str, card: SimulatedCard) -> None:
    nodes = field_grid(GRID).shape
    pulls: dict[str, Callable[[], Pull]] = {
        "landmarks": lambda: LandmarkPull(np.array([[3.0, 3, 3]]), np.array([[4.0, 3, 3]]), nodes, device=CARD),
        "labels": lambda: LabelPull(
            [Structure((1, 1, 1), *(torch.rand(4, 4, 4).to(CARD) for _ in range(2)))],
            *(torch.ones(nodes, device=CARD) for _ in range(2)),
        ),
        "rigid": lambda: RigidPull([rigid_nodes(nodes)], np.eye(4), nodes, device=CARD),
    }
    made = levels(pulls=[pulls[kind]()] if kind in pulls else [], slides=kind == "sliding")
    changes = {"parametrisation": VELOCITY} if kind == "velocity" else {}
    extra = extra_waits(card, lambda n: register_deformable(made, settings("ssd", n, **changes), on_step=no_report))
    # A pull has a stall test of its own; a velocity looks up its squarings as often.
    assert extra.total() <= 2, extra


def rigid_nodes(shape: tuple[int, int, int]) -> RigidNodes:
    """Return a bone of the first nodes of a grid."""
    numbers = torch.arange(3 * shape[2])
    places = torch.stack([numbers % shape[2], numbers // shape[2], torch.zeros_like(numbers)]).float()
    return RigidNodes(numbers.to(CARD), places.to(CARD), torch.ones(len(numbers), device=CARD))


@pytest.mark.parametrize("similarity", SIMILARITIES)
def test_linear_iterations_do_not_wait(similarity: str, card: SimulatedCard) -> None:
    fixed, moving = (on_the_card(phantom(GRID, seed=seed)) for seed in (0, 1))
    thick = FewSlices(np.array([0.0, 0, 1]), np.array([0.0, 0, 1]))

    def run(iterations: int) -> None:
        how = {"similarity": similarity, "iterations": iterations, "first_step": 0.1, "on_step": no_report}
        refine_poses(fixed, moving, [np.eye(4), np.eye(4)], model="affine", few_slices=thick, **how)  # type: ignore[arg-type]

    assert not extra_waits(card, run, few=1)


def test_a_search_waits_as_often_for_many_poses_as_for_few(card: SimulatedCard) -> None:
    fixed, moving = (on_the_card(phantom(GRID, seed=seed)) for seed in (0, 1))
    search_poses(fixed, moving, rotation_grid(90.0), count=2, edges=True, on_step=no_report)
    assert card.waits.total() < len(rotation_grid(90.0))


def test_progress_is_fetched_once_in_ten_iterations() -> None:
    assert REPORT_EVERY >= 10
