"""The memory of the deformable stage: estimated no lower than it is, and no finer grid than it allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.profiler import ProfilerActivity, profile

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.models import ModelInput, find_model, load_bundle, save_bundle
from DeepRegLib.models.inference import LARGEST_GRID, network_grid
from DeepRegLib.networks import ARCHITECTURES, THIRD_PARTY, build_network
from DeepRegLib.optimization.deformable import Level, register_deformable
from DeepRegLib.optimization.working import WorkingImage
from DeepRegLib.pipeline import align
from DeepRegLib.recipes import LNCC_NGF, Deformable, Model, Recipe, load_recipe
from DeepRegLib.recipes.model import DEFORMABLE_SIMILARITIES, FEATURES
from DeepRegLib.request import Request
from DeepRegLib.result import Registration
from DeepRegLib.stages import memory
from DeepRegLib.stages.memory import ANSWER_BYTES, BYTES, answerable_voxels, fitting_voxels, needed_bytes
from DeepRegLib.training.config import PAIRS, TRAINED
from Testing.optimization.phantoms import cube, phantom
from Testing.simulated_card import CARD, simulated_card
from Testing.small import shortest_recipe, small_pair

GRID = cube(32, 3.0)
GB = 1_000_000_000


def on_the_card(seed: int, similarity: str) -> WorkingImage:
    image = phantom(GRID, seed=seed)
    image = replace(image, intensity=image.intensity.to(CARD), weight=image.weight.to(CARD))
    if similarity == FEATURES:
        return replace(image, features=torch.rand(16, *GRID.shape).to(CARD))
    return replace(image, mapped=1 - image.intensity) if similarity == LNCC_NGF else image


def peak_bytes(run: Callable[[], object]) -> int:
    """Return the most bytes that were allocated at a time, as the profiler counts them."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        run()
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    changes = [event.nbytes() for event in sorted(events, key=lambda event: event.start_ns())]
    return int(np.cumsum(changes).max())


@pytest.mark.parametrize("similarity", DEFORMABLE_SIMILARITIES)
def test_the_descent_needs_no_more_than_is_estimated(similarity: str) -> None:
    features = "any" if similarity == FEATURES else ""
    recipe = Deformable(similarity=similarity, features=features, shrink=(1,), iterations=(2,))

    def descend() -> None:
        level = Level(on_the_card(0, similarity), on_the_card(1, similarity))
        register_deformable([level], recipe, on_step=lambda *_: None)

    with simulated_card():
        needed = peak_bytes(descend) / np.prod(GRID.size)
    assert 0.3 * BYTES[similarity] < needed < BYTES[similarity]


def test_a_card_of_six_gb_has_room_for_all_that_auto_asks_for() -> None:
    auto = load_recipe("auto").deformable
    assert needed_bytes(auto, auto.voxels) < 6 * GB
    assert fitting_voxels(auto, 6 * GB) == auto.voxels


@pytest.mark.parametrize("gigabytes", [2, 3, 4])
def test_less_memory_gives_a_grid_that_fits_it(gigabytes: int) -> None:
    large = replace(load_recipe("auto").deformable, voxels=300**3)
    voxels = fitting_voxels(large, gigabytes * GB)
    assert memory.LEAST_VOXELS < voxels < large.voxels
    assert needed_bytes(large, voxels) < gigabytes * GB
    assert fitting_voxels(large, 0) == memory.LEAST_VOXELS


def test_a_run_that_does_not_fit_works_on_a_coarser_grid_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    fixed, moving, *_ = small_pair()
    recipe = shortest_recipe()
    recipe = replace(recipe, deformable=replace(recipe.deformable, voxels=10**6))
    monkeypatch.setattr(memory, "LEAST_VOXELS", 2000)
    monkeypatch.setattr(memory, "free_memory", lambda _device: 10**9)
    found = aligned(fixed, moving, recipe)
    assert found.recipe.deformable.voxels == 2000
    told = "1.0 GB are free on cpu, too little for a grid of 0.0"
    assert any(told in warning for warning in found.warnings)
    assert any(told in decision for decision in found.decisions)
    monkeypatch.setattr(memory, "free_memory", lambda _device: None)
    assert not any("are free" in decision for decision in aligned(fixed, moving, recipe).decisions)


def aligned(fixed: Image, moving: Image, recipe: Recipe) -> Registration:
    return align(Request(fixed, moving, recipe, device="cpu"))


# What a network sees


REGISTERING = [name for name in (*ARCHITECTURES, *THIRD_PARTY) if name in ANSWER_BYTES and name != "unigradicon"]


def test_the_answer_of_every_network_that_registers_is_estimated() -> None:
    assert {*TRAINED[PAIRS], *THIRD_PARTY} - {"anatomix"} == ANSWER_BYTES.keys()


@pytest.mark.parametrize("architecture", REGISTERING)
def test_an_answer_needs_no_more_than_is_estimated(architecture: str) -> None:
    network = build_network(architecture, {}).eval()
    sides = [64] * 3
    images = [torch.rand(1, 1, *sides) for _ in range(2)]
    with torch.no_grad():
        needed = peak_bytes(lambda: network(*images)) / math.prod(sides)
    assert 0.3 * ANSWER_BYTES[architecture] < needed < ANSWER_BYTES[architecture]


def test_a_card_of_six_gb_has_room_for_the_shipped_model_on_any_scan_and_for_the_largest_grid() -> None:
    manifest = load_bundle(find_model("anatomy")).manifest
    large = Geometry((256, 256, 256), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    wanted = math.prod(network_grid(large, manifest.input, 32).size)
    assert wanted < answerable_voxels(manifest, 2 * GB)
    assert answerable_voxels(manifest, 6 * GB) >= LARGEST_GRID


def test_a_network_is_shown_a_coarser_grid_where_memory_is_short_and_the_user_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    arguments = {"channels": [4, 8, 8], "radius": 1}
    manifest = replace(load_bundle(find_model("anatomy")).manifest, arguments=arguments, input=ModelInput(2.0))
    bundle = save_bundle(tmp_path / "fine", manifest, build_network("pyramid", arguments).state_dict())
    recipe = replace(shortest_recipe(), model=Model(str(bundle.folder), passes=1, consistent=False))
    fixed, moving, *_ = small_pair()
    with simulated_card():
        found = align(Request(fixed, moving, recipe, device="cuda"))
        assert not any("million voxels instead of" in decision for decision in found.decisions)
        monkeypatch.setattr("DeepRegLib.stages.model.free_memory", lambda _device: 8_000_000)
        found = align(Request(fixed, moving, recipe, device="cuda"))
    assert any("GB are free on cuda" in decision and "Model: a grid of" in decision for decision in found.decisions)


def test_a_network_of_one_size_is_not_asked_where_memory_is_too_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    arguments = {"channels": [4, 8, 8], "radius": 1}
    sized = ModelInput(4.0, (32, 32, 32))
    manifest = replace(load_bundle(find_model("anatomy")).manifest, arguments=arguments, input=sized)
    bundle = save_bundle(tmp_path / "sized", manifest, build_network("pyramid", arguments).state_dict())
    recipe = replace(shortest_recipe(), model=Model(str(bundle.folder), passes=1, consistent=False))
    fixed, moving, *_ = small_pair()
    monkeypatch.setattr("DeepRegLib.stages.model.free_memory", lambda _device: 1_000_000)
    found = aligned(fixed, moving, recipe)
    assert any("was not asked: its 0.0328 million voxels" in warning for warning in found.warnings)
