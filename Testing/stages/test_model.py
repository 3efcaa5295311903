"""A model as a stage of a registration: where it runs, in which frame it answers, and that it has no last word."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from DeepRegLib.errors import CancelledError, ModelError, RecipeError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, box_around
from DeepRegLib.models import ModelBundle, ModelInput, save_bundle
from DeepRegLib.models.inference import network_grid
from DeepRegLib.optimization.smoothing import smooth
from DeepRegLib.orientation import standard_order
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Deformable, LargeMotion, Model, Recipe, load_recipe
from DeepRegLib.recipes import with_model as chosen_model
from DeepRegLib.stages.deformable import to_displacement_field
from DeepRegLib.stages.initialisation import Initialisation, with_searched_if_better
from DeepRegLib.stages.levels import finest_level, with_deformable_similarity
from DeepRegLib.stages.model import UNCERTAINTY, is_worth_asking, model_field, model_of, on_image_grid
from DeepRegLib.transforms import LinearTransform
from Testing.models.tiny import MANIFEST, build, own_folder, tiny_bundle, tiny_networks
from Testing.small import FIXED_GRID, TRUTH, small_pair, small_recipe
from Testing.stages.runs import run_of
from Testing.synthetic import ORIENTATIONS, blob_values, geometry_in, smooth_field

__all__ = ["own_folder", "tiny_networks"]
pytestmark = pytest.mark.usefixtures("tiny_networks", "own_folder")

SPACING = 3.0
MOVE = np.array([5.0, -3.0, 7.0])  # LPS, mm


def shifted(matrix: np.ndarray, by: np.ndarray) -> LinearTransform:
    shift = np.array(matrix)
    shift[:3, 3] += by
    return LinearTransform(shift)


def moved_pair(orientation: str) -> tuple[Image, Image]:
    """Return a phantom, and the same phantom moved by `MOVE` mm on a grid of another orientation."""
    fixed, moving = geometry_in(orientation, (30, 34, 28), 3.0), geometry_in("oblique", (36, 34, 36), 2.8)
    return (
        Image(blob_values(fixed.points(), radius=24).astype(np.float32), fixed, "fixed"),
        Image(blob_values(moving.points() - MOVE, radius=24).astype(np.float32), moving, "moving"),
    )


def with_model(name: object, recipe: Recipe | None = None, **options: object) -> Recipe:
    return replace(recipe or small_recipe(), model=Model(str(name), **{"passes": 1, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize("way_up", ["", "SPL"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_what_a_network_sees_moved_is_moved_as_far_in_the_world(orientation: str, way_up: str, tmp_path: Path) -> None:
    wanted = ModelInput(2.0, orientation=way_up)
    bundle = tiny_bundle(tmp_path / "tiny", architecture="centroid", input=wanted)
    run = run_of(*moved_pair(orientation), with_model("tiny"), "model")
    for known in (np.zeros(3), MOVE):
        linear = shifted(np.eye(4), known)
        start = model_field(run, linear, bundle)
        grid = finest_level(run, linear).fixed.geometry.resized(4.5)
        displacement = to_displacement_field(start(grid), grid)
        middle = displacement.array[tuple(n // 2 for n in grid.shape)]
        np.testing.assert_allclose(middle, MOVE - known, atol=0.35)
        np.testing.assert_allclose(displacement.array, np.broadcast_to(middle, displacement.array.shape), atol=1e-3)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_a_field_that_differs_from_place_to_place_lies_where_the_network_saw_it(
    orientation: str, tmp_path: Path
) -> None:
    fixed, moving = moved_pair(orientation)
    run = run_of(fixed, moving, with_model("tiny", consistent=False), "model")
    seen = network_grid(box_around(run.pair.fixed.foreground), ModelInput(2.0), 1)
    nodes = Geometry(
        (seen.size[0] // 2, seen.size[1] // 2, seen.size[2] // 2),
        (4.0, 4.0, 4.0),
        tuple(seen.to_world([0.5, 0.5, 0.5]).tolist()),  # type: ignore[arg-type]  # three of them
        seen.direction,
    )
    slope = np.random.default_rng(0).normal(scale=0.05, size=(3, 3))

    def truth(points: np.ndarray) -> np.ndarray:
        return (points - seen.centre) @ slope.T

    voxels = truth(nodes.points()) @ seen.axes / 4.0
    manifest = replace(MANIFEST, architecture="remembered", arguments={"shape": nodes.shape}, input=ModelInput(2.0))
    state = {"field": torch.tensor(np.moveaxis(voxels, -1, 0)[None])}
    bundle = save_bundle(tmp_path / "tiny", manifest, state, build=build)
    for spacing in (1.7, 6.0):
        grid = seen.resized(spacing, -8.0)  # past the outer nodes a field is continued as it is
        displacement = to_displacement_field(model_field(run, LinearTransform.identity(), bundle)(grid), grid)
        np.testing.assert_allclose(displacement.array, truth(grid.points()), atol=5e-3)


def test_values_on_the_network_s_grid_are_interpolated_at_the_voxels_of_the_scan() -> None:
    scan, grid = geometry_in("anisotropic", (15, 13, 9), 2.0), geometry_in("anisotropic", (6, 6, 6), 1.0).resized(6.0)
    values = torch.tensor(grid.points() @ [1.0, 2.0, -0.5], dtype=torch.float32)
    run = run_of(*small_pair()[:2], small_recipe(), "model")
    mapped = on_image_grid(values, grid, scan, run, UNCERTAINTY)
    index = np.clip(grid.to_index(scan.points()), 0, np.array(grid.size) - 1)
    np.testing.assert_allclose(mapped.array, grid.to_world(index) @ [1.0, 2.0, -0.5], atol=1e-3)
    assert mapped.geometry == scan
    assert mapped.array.dtype == np.float32


CROWDED = replace(
    small_recipe(),
    linear=replace(small_recipe().linear, model="none"),
    deformable=replace(
        small_recipe().deformable, voxels=120_000, shrink=(4, 2, 1), iterations=(10, 10, 5), similarity="lncc"
    ),
)
SHIFT_VOXELS, SPACING_MM = 9, 2.0


def crowd(shift: int) -> Image:
    """Return a crowd of blobs, some 4 voxels wide, shifted along i: a descent does not find its way through it."""
    # In the order that a network sees, so that its i is theirs.
    as_stored = geometry_in("oblique", (40, 40, 40), SPACING_MM)
    grid = standard_order(as_stored).of_geometry(as_stored)
    blobs = smooth(torch.randn(grid.shape, generator=torch.Generator().manual_seed(0)), 2.0)
    return Image(np.roll(blobs.numpy(), shift, axis=2), grid, f"shift {shift}")


@functools.cache
def crowd_error(recipe: Recipe) -> tuple[float, tuple[str, ...]]:
    pair = crowd(0), crowd(SHIFT_VOXELS)
    result = register(*pair, recipe, device="cpu", initial_transform=LinearTransform.identity())
    points = pair[0].geometry.points()[12:28, 12:28, 12:28].reshape(-1, 3)
    truth = points + pair[0].geometry.axes @ [SHIFT_VOXELS * SPACING_MM, 0, 0]
    assert result.measures.folds == 0
    error = np.linalg.norm(result.transform.apply_to_points(points) - truth, axis=1)
    return float(np.median(error)), tuple(d for d in result.decisions if d.startswith(("The model", "Search")))


@pytest.mark.parametrize(
    ("spacing", "recipe"),
    [
        (2.0, CROWDED),
        (5.0, CROWDED),
        (3.0, replace(CROWDED, deformable=replace(CROWDED.deformable, shrink=(1,), iterations=(10,)))),
        (3.0, replace(CROWDED, deformable=replace(CROWDED.deformable, shrink=(4,), iterations=(10,)))),
        (3.0, replace(CROWDED, large_motion=LargeMotion(enabled=True, shrink=(2,), radius=(1,)))),
    ],
    ids=["fine", "coarse", "one level", "one coarse level", "with a search that does not reach"],
)
def test_a_right_prediction_is_used_and_refined(spacing: float, recipe: Recipe, tmp_path: Path) -> None:
    # A little off, as networks are.
    shift = (SHIFT_VOXELS * SPACING_MM + 1.5) / (2 * spacing)
    bundle = tiny_bundle(tmp_path / "tiny", (shift, 0, 0), input=ModelInput(spacing))
    without, _ = crowd_error(recipe)
    error, decisions = crowd_error(with_model(bundle.folder, recipe, consistent=False))
    assert without > 3 * SPACING_MM
    assert error < 0.75 * SPACING_MM
    assert decisions[-1].startswith("The model's field: used (similarity 0.")


def test_a_wrong_prediction_changes_nothing(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", (1.5, -3, 2))
    plain, advised = (
        register(*small_pair()[:2], recipe, device="cpu")
        for recipe in (small_recipe(), with_model(bundle.folder, consistent=False))
    )
    assert any(d.startswith("The model's field: not needed") for d in advised.decisions)
    points = FIXED_GRID.points().reshape(-1, 3)
    assert np.array_equal(plain.transform.apply_to_points(points), advised.transform.apply_to_points(points))


def test_a_prediction_that_says_nothing_is_not_preferred(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", (0.002, 0, 0))
    result = register(*small_pair()[:2], with_model(bundle.folder, consistent=False), device="cpu")
    assert any(d.startswith("The model's field: not needed") for d in result.decisions)


def test_a_search_that_is_better_than_the_model_stays(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", (2, 2, 2))
    recipe = replace(CROWDED, large_motion=LargeMotion(enabled=True, shrink=(4, 2), radius=(3, 2)))
    error, decisions = crowd_error(with_model(bundle.folder, recipe, consistent=False))
    assert error < SPACING_MM
    assert [decision.partition(" (")[0] for decision in decisions] == [
        "Search for large motion: used",
        "The model's field: not needed",
    ]


@pytest.mark.parametrize("moved", [0, SHIFT_VOXELS])
def test_where_a_search_matches_clearly_worse_than_the_coarse_levels_all_is_in_their_reach(moved: int) -> None:
    run = run_of(crowd(0), crowd(moved), CROWDED, "model")
    _, level = with_deformable_similarity(run, finest_level(run, LinearTransform.identity()))

    def searched(geometry: Geometry) -> torch.Tensor:
        along_i = torch.tensor([SHIFT_VOXELS * SPACING_MM / geometry.spacing[0], 0, 0])
        return along_i[:, None, None, None].expand(3, *geometry.shape).clone()

    start = with_searched_if_better(run, [level, level], Initialisation(level=1), searched)
    assert start.within_capture_range == (moved == 0)
    assert (start.field is searched) == (moved > 0)


@pytest.mark.parametrize(
    ("within_capture_range", "asked_for", "asked"),
    [
        (True, {"if_needed": True}, False),
        (False, {"if_needed": True}, True),
        (True, {}, True),
        (True, {"if_needed": True, "uncertainty": True}, True),
        (True, {"if_needed": True, "explanation": True}, True),
    ],
    ids=[
        "spared",
        "something moved far",
        "asked in any case",
        "its uncertainty is wanted",
        "its explanation is wanted",
    ],
)
def test_a_model_is_spared_only_where_it_is_not_needed(within_capture_range, asked_for, asked, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny")
    run = run_of(*small_pair()[:2], with_model(bundle.folder, **asked_for), "model")
    assert is_worth_asking(run, bundle, Initialisation(within_capture_range=within_capture_range)) == asked
    assert any("tiny was not asked" in decision for decision in run.log.decisions) != asked


def test_a_model_that_the_user_names_is_asked_in_any_case() -> None:
    assert load_recipe("auto").model.if_needed
    assert not chosen_model(load_recipe("auto"), "anatomy").model.if_needed


@pytest.mark.parametrize("mm", [8.0, -6.0])
def test_a_model_is_asked_what_is_missing_from_a_search_that_is_better_than_nothing(mm: float, tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", (0, 0.5, 0), input=ModelInput(2.0))
    run = run_of(crowd(0), crowd(4), with_model("tiny", CROWDED, consistent=False), "model")
    asked: list[Geometry] = []

    def searched(geometry: Geometry) -> torch.Tensor:
        asked.append(geometry)
        along_i = torch.tensor([mm / geometry.spacing[0], 0, 0])
        return along_i[:, None, None, None].expand(3, *geometry.shape).clone()

    start = model_field(run, LinearTransform.identity(), bundle, searched)
    found = start(asked[0])[:, 4:-4, 4:-4, 4:-4].flatten(1).mean(1) * 4.0
    np.testing.assert_allclose(found, (mm if mm > 0 else 0, 2.0, 0), atol=1e-3)


def test_it_runs_after_the_linear_stage_and_is_named_in_the_result(own_folder: Path) -> None:
    tiny_bundle(own_folder / "tiny", version="2.0-beta", input=ModelInput(4.0))
    recipe = replace(small_recipe(), large_motion=LargeMotion(enabled=True, shrink=(2,), radius=(2,)))
    calls: list[tuple[str, float]] = []
    result = register(
        *small_pair()[:2],
        recipe,
        model="tiny",
        device="cpu",
        progress=lambda stage, whole, *_: calls.append((stage, whole)),
    )
    assert list(result.timings) == [
        "prepare",
        "linear",
        "levels",
        "large motion",
        "model",
        "deformable",
        "inverse",
        "judge",
    ]
    assert [whole for _, whole in calls] == sorted(whole for _, whole in calls)
    assert result.recipe.model.name == "tiny"
    assert result.provenance["model"]["name"] == "tiny"
    assert result.provenance["model"]["version"] == "2.0-beta"
    assert len(result.provenance["model"]["weights_sha256"]) == 64
    assert "Model: tiny 2.0-beta, asked at 4 mm." in result.decisions
    assert result.uncertainty is None
    again = register(*small_pair()[:2], result.recipe, device="cpu")
    points = FIXED_GRID.points().reshape(-1, 3)
    assert np.array_equal(result.transform.apply_to_points(points), again.transform.apply_to_points(points))


def test_the_uncertainty_lies_on_the_fixed_grid_and_does_not_change_the_transform(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", (0, 0, 0.5))
    plain, told = (
        register(*small_pair()[:2], with_model(bundle.folder, uncertainty=wanted), device="cpu")
        for wanted in (False, True)
    )
    assert told.uncertainty is not None
    assert told.uncertainty.geometry == FIXED_GRID
    assert told.uncertainty.array.dtype == np.float32
    # Six answers of half a field voxel of 6 mm along k, and one of minus that.
    np.testing.assert_allclose(told.uncertainty.array, np.std([3.0] * 6 + [-3.0], ddof=1), rtol=1e-4)
    points = FIXED_GRID.points().reshape(-1, 3)
    assert np.array_equal(plain.transform.apply_to_points(points), told.transform.apply_to_points(points))


def test_the_explanation_lies_on_the_fixed_grid_is_set_beside_the_expected_error_and_changes_no_transform(
    tmp_path: Path,
) -> None:
    bundle = tiny_bundle(tmp_path / "centroid", architecture="centroid")
    plain, told = (
        register(*small_pair()[:2], with_model(bundle.folder, explanation=wanted), device="cpu")
        for wanted in (False, True)
    )
    assert plain.explanation is None
    assert plain.explanation_agreement() is None
    assert told.explanation is not None
    assert told.explanation.geometry == FIXED_GRID
    assert told.explanation.array.dtype == np.float32
    assert told.explanation.array.max() > 0
    assert -1 <= told.explanation_agreement() <= 1
    points = FIXED_GRID.points().reshape(-1, 3)
    assert np.array_equal(plain.transform.apply_to_points(points), told.transform.apply_to_points(points))


def test_anatomy_too_large_for_the_network_is_seen_coarser_and_the_user_is_told(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny", input=ModelInput(1.0, (16, 16, 16)))
    run = run_of(*small_pair()[:2], with_model("tiny"), "model")
    model_field(run, LinearTransform.identity(), bundle)
    assert "made for 1 mm, but the anatomy is too large" in run.log.decisions[-1]


def test_a_given_field_is_refined_and_no_model_is_asked(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny")
    given = smooth_field(FIXED_GRID, 2.0)
    result = register(*small_pair()[:2], with_model(bundle.folder), device="cpu", initial_transform=given)
    assert "model" not in result.timings
    assert "model" not in result.provenance
    linear = register(*small_pair()[:2], with_model(bundle.folder), device="cpu", initial_transform=TRUTH)
    assert "model" in linear.timings
    with pytest.raises(ModelError, match="initial transform holds a field"):
        model_of(with_model(bundle.folder, uncertainty=True), has_field=True)


def test_what_cannot_work_is_told_before_anything_is_computed(tmp_path: Path) -> None:
    features = tiny_bundle(tmp_path / "features", name="features", task="features").folder
    damaged = tiny_bundle(tmp_path / "damaged")
    damaged.weights.write_bytes(b"")
    unknown = _renamed(tiny_bundle(tmp_path / "unknown"), "transformer")
    stages: list[str] = []
    for name, told in (
        ("nonsense", "no model named 'nonsense'"),
        (features, "for the task features, not for registration"),
        (damaged.folder, "SHA-256"),
        (unknown, "'transformer' is unknown"),
    ):
        with pytest.raises(ModelError, match=told):
            register(*small_pair()[:2], small_recipe(), model=name, progress=lambda stage, *_: stages.append(stage))
    for wanted in ("uncertainty", "explanation"):
        with pytest.raises(ModelError, match=f"The {wanted} of a model was asked for, but no model is named"):
            register(*small_pair()[:2], with_model("", **{wanted: True}))
    with pytest.raises(RecipeError, match=r"model\.name.*deformable\.enabled"):
        register(*small_pair()[:2], "rigid", model="tiny")
    assert stages == []


def test_a_recipe_s_file_may_name_a_model(tmp_path: Path) -> None:
    path = tmp_path / "r.toml"
    path.write_text('[model]\nname = "brain"\nuncertainty = true\n', encoding="utf-8")
    assert load_recipe(path).model == Model("brain", uncertainty=True)
    assert chosen_model(load_recipe(path), "").model == Model()
    assert Recipe("x").model == Model() == Model(name="", consistent=True, uncertainty=False)
    with pytest.raises(RecipeError, match=r"model\.name"):
        Recipe("x", model=Model("brain"), deformable=Deformable(enabled=False))


def test_it_can_be_cancelled_on_its_way(tmp_path: Path) -> None:
    bundle = tiny_bundle(tmp_path / "tiny")
    stages: list[str] = [""]
    with pytest.raises(CancelledError):
        register(
            *small_pair()[:2],
            with_model(bundle.folder, uncertainty=True),
            device="cpu",
            progress=lambda stage, *_: stages.append(stage),
            cancel=lambda: stages.count("model") > 3,
        )
    assert stages[-1] == "model"


def test_the_map_has_the_name_of_its_file(tmp_path: Path) -> None:
    run = run_of(*small_pair()[:2], with_model("tiny", uncertainty=True), "model")
    model_field(run, LinearTransform.identity(), tiny_bundle(tmp_path / "tiny"))
    assert list(run.log.maps) == [UNCERTAINTY] == [run.log.maps[UNCERTAINTY].name]


def _renamed(bundle: ModelBundle, architecture: str) -> Path:
    path = bundle.folder / "model.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"shift"', f'"{architecture}"', 1), encoding="utf-8")
    return bundle.folder
