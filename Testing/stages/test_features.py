"""A recipe that compares what a network says of each voxel: what is used, noted, refused, and that it registers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from DeepRegLib.errors import CancelledError, ModelError
from DeepRegLib.evaluation import target_registration_error
from DeepRegLib.image import Image, box_around
from DeepRegLib.models import ModelBundle, save_bundle
from DeepRegLib.models.inference import described
from DeepRegLib.networks import Anatomix, build_network
from DeepRegLib.networks.anatomix import describe
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Recipe, load_recipe, recipe_to_toml
from DeepRegLib.saving import save
from DeepRegLib.stages.features import described_where_wanted, features_of, with_features
from DeepRegLib.stages.run import aligned_level
from DeepRegLib.transforms import LinearTransform, apply_to_image
from Testing.models.tiny import MANIFEST
from Testing.small import FIXED_GRID, small_pair, small_recipe
from Testing.stages.runs import run_of
from Testing.synthetic import blobs, geometry_in, smooth_field

ARGUMENTS = {"channels": 8, "out": 6, "levels": 1}


@pytest.fixture(autouse=True)
def no_models_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPREG_MODELS", str(tmp_path / "own models"))


def feature_bundle(folder: Path, name: str = "random") -> ModelBundle:
    """Return a network that was never trained: what it says of a voxel depends on what surrounds it all the same."""
    torch.manual_seed(0)
    manifest = replace(MANIFEST, name=name, task="features", architecture="anatomix", arguments=ARGUMENTS)
    network = Anatomix(**ARGUMENTS)
    for tensor in network.parameters():  # offsets would make all voxels look alike
        nn.init.zeros_(tensor) if tensor.ndim < 2 else nn.init.kaiming_normal_(tensor, nonlinearity="relu")
    return save_bundle(folder, manifest, network.state_dict())


def with_features_of(bundle: ModelBundle, recipe: Recipe | None = None) -> Recipe:
    recipe = recipe or small_recipe()
    return replace(recipe, deformable=replace(recipe.deformable, similarity="features", features=str(bundle.folder)))


def deformed_pair() -> tuple[Image, Image, np.ndarray, np.ndarray]:
    """Return a pair of one contrast, points of the anatomy, and their partners."""
    grid = geometry_in("LPS", (32, 32, 32), 2.5)
    truth = smooth_field(grid, 5.0, seed=4)
    moving = blobs(geometry_in("LPS", (40, 40, 40), 2.5), 3)
    fixed = apply_to_image(truth, moving, grid)
    inside = np.argwhere(fixed.array > 0.3 * fixed.array.max())[::7, ::-1]
    points = grid.to_world(inside)
    return fixed, moving, points, truth.apply_to_points(points)


def test_comparing_features_finds_a_deformation_and_says_whose_they_were(tmp_path: Path) -> None:
    bundle = feature_bundle(tmp_path / "random")
    recipe = small_recipe()
    longer = replace(
        recipe,
        linear=replace(recipe.linear, model="none"),
        deformable=replace(recipe.deformable, voxels=40_000, iterations=(80, 40)),
    )
    fixed, moving, points, partners = deformed_pair()
    result = register(fixed, moving, with_features_of(bundle, longer), device="cpu")
    before = target_registration_error(LinearTransform.identity(), points, partners).mean()
    assert target_registration_error(result.transform, points, partners).mean() < 0.8 * before
    assert result.measures.folds == 0
    assert result.provenance["features"] == bundle.identity
    assert any("Features: those of random 1.2" in decision for decision in result.decisions)


def test_the_features_are_those_of_each_level_and_of_both_images(tmp_path: Path) -> None:
    bundle = feature_bundle(tmp_path / "random")
    recipe = with_features_of(bundle)
    run = run_of(*small_pair()[:2], recipe, "levels")
    level = aligned_level(run, box_around(run.pair.fixed.foreground).resized(4.0, 5.0), LinearTransform.identity())
    assert described_where_wanted(run, level) is level
    run = with_features(run, bundle)
    assert run.describing is not None
    with run.monitor.stage("levels"):
        with_both = described_where_wanted(run, level)
    for before, after in ((level.fixed, with_both.fixed), (level.moving, with_both.moving)):
        assert after.features is not None
        assert after.features.shape == (6, *before.intensity.shape)
        expected = describe(run.describing, (before.intensity * before.weight)[None])[0]
        torch.testing.assert_close(after.features, expected)
        torch.testing.assert_close(after.compared[:-1], expected)
        assert torch.equal(after.compared[-1], before.weight)


def test_a_model_that_proposes_and_one_that_describes_work_together(tmp_path: Path) -> None:
    recipe = with_features_of(feature_bundle(tmp_path / "random"))
    recipe = replace(recipe, large_motion=load_recipe("auto").large_motion)
    result = register(*small_pair()[:2], recipe, model="anatomy", device="cpu")
    assert {"features", "model"} <= result.provenance.keys()
    assert any(decision.startswith("The model's field") for decision in result.decisions)


def test_a_cancel_is_heard_within_the_network(tmp_path: Path) -> None:
    bundle = feature_bundle(tmp_path / "random")
    recipe = with_features_of(bundle)
    run = run_of(*small_pair()[:2], recipe, "levels")
    image = aligned_level(run, FIXED_GRID, LinearTransform.identity()).fixed
    network = with_features(run, bundle).describing
    assert network is not None

    def cancelled() -> None:
        raise CancelledError

    with pytest.raises(CancelledError):
        described(network, image, poll=cancelled)
    assert described(network, image).features is not None, "no hook is left behind"


def test_what_cannot_work_is_told_before_anything_is_computed(tmp_path: Path) -> None:
    damaged = feature_bundle(tmp_path / "damaged")
    damaged.weights.write_bytes(b"")
    stages: list[str] = []
    for name, told in (
        ("nonsense", "no model named 'nonsense'"),
        ("anatomy", "for the task registration, not for features"),
        (str(damaged.folder), "SHA-256"),
    ):
        recipe = replace(
            small_recipe(), deformable=replace(small_recipe().deformable, similarity="features", features=name)
        )
        with pytest.raises(ModelError, match=told):
            register(*small_pair()[:2], recipe, progress=lambda stage, *_: stages.append(stage))
    assert not stages
    assert features_of(small_recipe()) is None


def test_a_network_that_describes_nothing_is_refused(tmp_path: Path) -> None:
    arguments = {"channels": [4, 8]}
    network = build_network("pyramid", arguments)
    manifest = replace(MANIFEST, task="features", architecture="pyramid", arguments=arguments)
    bundle = save_bundle(tmp_path / "liar", manifest, network.state_dict())
    with pytest.raises(ModelError, match="pyramid, which describes no voxels"):
        register(*small_pair()[:2], with_features_of(bundle), device="cpu")


def test_a_result_names_the_folder_of_the_features_without_those_above(tmp_path: Path) -> None:
    folder = tmp_path / "Smith John"
    folder.mkdir()
    recipe = with_features_of(feature_bundle(folder / "mine"))
    result = register(*small_pair()[:2], recipe, device="cpu")
    save(result, tmp_path / "out")
    told = (tmp_path / "out" / "result.json").read_text(encoding="utf-8")
    assert '"features": "mine"' in told
    assert "Smith" not in told
    assert f'features = "{folder}' in recipe_to_toml(recipe).replace("\\\\", "\\")
