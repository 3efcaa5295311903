"""All that computes, on a simulated card: every recipe, every similarity, every task of the engine, every training.

What is added to one of these lists without a run here fails a test.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from DeepRegLib.correction import Correction, Improvement
from DeepRegLib.engine.files import FilesRequest
from DeepRegLib.engine.tasks import TASKS
from DeepRegLib.image import write_image
from DeepRegLib.models import Manifest, ModelBundle, ModelInput, save_bundle
from DeepRegLib.models.denoising import denoised_by
from DeepRegLib.models.manifest import TASKS as MODEL_TASKS
from DeepRegLib.motion.prediction import network_predictor
from DeepRegLib.networks import build_network
from DeepRegLib.pipeline import align
from DeepRegLib.recipes import VELOCITY, LargeMotion, Model, Recipe, Translate, load_recipe, recipe_names
from DeepRegLib.recipes.model import DEFORMABLE_SIMILARITIES, FEATURES, SIMILARITIES
from DeepRegLib.record import RECORDED, Restoring, record_of_text
from DeepRegLib.request import Drivers, Request
from DeepRegLib.saving import result_to_dict
from DeepRegLib.segmentation.model_request import ModelRequest
from DeepRegLib.segmentation.request import FUSIONS, SegmentRequest
from DeepRegLib.segments import Segment
from DeepRegLib.series.building import build_template
from DeepRegLib.series.request import SeriesRequest
from DeepRegLib.tracking import Following
from DeepRegLib.tracking.request import last_of
from DeepRegLib.training import loop, train
from DeepRegLib.training.config import TrainingConfig, config_from_dict, config_names, load_config
from DeepRegLib.training.tasks import TASKS as TRAININGS
from DeepRegLib.translation import translate_with
from Testing.segmentation.atlases import small_atlases
from Testing.series.breathing import breath
from Testing.simulated_card import UNREPEATABLE, SimulatedCard, simulated_card
from Testing.small import shortest_recipe, small_pair, small_registration

pytestmark = pytest.mark.filterwarnings("ignore:PyTorch was compiled without cuDNN")  # said of a recurrent layer
VOXELS = 2000
# A window of LC2 holds more than there is in fewer.
VOXELS_OF_LC2 = 8000


@pytest.fixture(autouse=True)
def poses_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Judge without a look at other poses, but for the two runs of `test_card.py` that do."""
    from DeepRegLib.judgement import Inherited
    from DeepRegLib.series.members import NOT_COMPARED

    monkeypatch.setattr("DeepRegLib.finishing.compare_start", lambda *_given, **_named: Inherited(NOT_COMPARED))


def computed_on(card: SimulatedCard) -> bool:
    """Tell whether anything was added or multiplied on the card."""
    return sum(card.called[name] for name in ("add", "__add__", "mul", "__mul__", "conv3d")) > 0


# Recipes, similarities, and what a recipe can be told besides


def shortened(recipe: Recipe) -> Recipe:
    """Return a recipe with all its stages and hardly an iteration."""
    voxels = VOXELS_OF_LC2 if recipe.linear.similarity == "lc2" else VOXELS
    few = replace(recipe.linear, voxels=voxels, iterations=2)
    deformable = replace(recipe.deformable, voxels=voxels, shrink=(2, 1), iterations=(2, 1))
    search = replace(recipe.search, angle=90.0, candidates=2)
    reach = replace(recipe.large_motion, shrink=(2,), radius=(1,))
    return replace(recipe, search=search, linear=few, large_motion=reach, deformable=deformable)


def request(recipe: Recipe, **drivers: Any) -> Request:
    fixed, moving, *_ = small_pair()
    return Request(fixed, moving, recipe, Drivers(**drivers), "cuda")


def run_on_the_card(recipe: Recipe, **drivers: Any) -> None:
    with simulated_card() as card:
        found = align(request(recipe, **drivers))
    assert found.provenance["device_name"] == "simulated card"
    assert computed_on(card)
    assert card.called.keys() & UNREPEATABLE == set()


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_ships_keeps_to_its_device(name: str) -> None:
    *_, labels, moving_labels = small_pair()
    recipe = shortened(load_recipe(name))
    drivers = {"fixed_labels": labels, "moving_labels": moving_labels} if recipe.prepare.labels_only else {}
    run_on_the_card(recipe, **drivers)


@pytest.mark.parametrize("name", [name for name in DEFORMABLE_SIMILARITIES if name != FEATURES])
def test_every_similarity_of_the_deformable_stage_keeps_to_its_device(name: str) -> None:
    recipe = shortest_recipe()
    run_on_the_card(replace(recipe, deformable=replace(recipe.deformable, similarity=name)))


@pytest.mark.parametrize("name", SIMILARITIES)
def test_every_similarity_of_the_linear_stage_keeps_to_its_device(name: str) -> None:
    recipe = shortest_recipe()
    linear = replace(recipe.linear, similarity=name, around=5.0)
    alone = replace(recipe, linear=linear, deformable=replace(recipe.deformable, enabled=False))
    run_on_the_card(shortened(alone))


VARIANTS: dict[str, Callable[[Recipe], Recipe]] = {
    "symmetric": lambda r: replace(r, symmetric=True),
    "velocity": lambda r: replace(r, deformable=replace(r.deformable, parametrisation=VELOCITY)),
    "large motion": lambda r: replace(r, large_motion=LargeMotion(enabled=True, shrink=(2,), radius=(1,))),
    "unmatched": lambda r: replace(r, deformable=replace(r.deformable, ignore_unmatched=True)),
    "bias and noise": lambda r: replace(r, prepare=replace(r.prepare, bias_correction=True, denoise="curvature")),
    "cone beam": lambda r: replace(r, prepare=replace(r.prepare, cone_beam=True)),
    "linear alone": lambda r: replace(r, deformable=replace(r.deformable, enabled=False)),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_what_a_recipe_can_be_told_keeps_to_its_device(name: str) -> None:
    run_on_the_card(VARIANTS[name](shortest_recipe()))


def known() -> dict[str, dict[str, Any]]:
    """Return what a user can know about a pair, one thing at a time."""
    fixed, moving, labels, moving_labels = small_pair()
    points = labels.geometry.centre[None] + np.array([[0.0, 0, 0], [4, 0, 2], [0, -5, 3], [3, 4, 0]])
    ones = [image.with_array(np.ones(image.array.shape, np.uint8)) for image in (fixed, moving)]
    found = small_registration().transform
    return {
        "landmarks": {"fixed_landmarks": points, "moving_landmarks": found.apply_to_points(points)},
        "labels": {"fixed_labels": labels, "moving_labels": moving_labels},
        "masks": {"fixed_mask": ones[0], "moving_mask": ones[1]},
        "sliding": {"sliding_mask": labels.with_array(labels.array == labels.array.max())},
        "rigid": {"rigid_labels": labels},
        "a first transform": {"initial_transform": found},
    }


KNOWN_FIELDS = {
    *("fixed_landmarks", "moving_landmarks", "fixed_labels", "moving_labels", "fixed_mask", "moving_mask"),
    *("sliding_mask", "rigid_labels", "initial_transform"),
}
# A number that fills the warped image.
NOT_COMPUTED_WITH = {"background"}


@pytest.mark.parametrize("name", ["landmarks", "labels", "masks", "sliding", "rigid", "a first transform"])
def test_what_a_user_knows_keeps_to_its_device(name: str) -> None:
    run_on_the_card(shortest_recipe(), **known()[name])


def test_all_that_a_user_can_know_is_among_these_runs() -> None:
    assert {field for one in known().values() for field in one} == KNOWN_FIELDS
    assert Drivers.__dataclass_fields__.keys() - NOT_COMPUTED_WITH == KNOWN_FIELDS


# Models


def bundle(folder: Path, task: str, architecture: str, arguments: dict[str, Any], **changes: Any) -> ModelBundle:
    """Write a model that has learned nothing."""
    torch.manual_seed(0)
    manifest = Manifest(
        name="untrained",
        version="1",
        task=task,
        architecture=architecture,
        arguments=arguments,
        input=changes.pop("input", ModelInput(4.0)),
        trained_on="nothing",
        licence="CC0",
        intended_use="Tests.",
        limits="All but tests.",
        **changes,
    )
    return save_bundle(folder, manifest, build_network(architecture, arguments).state_dict())


def with_registration_model(folder: Path) -> None:
    made = bundle(folder, "registration", "pyramid", {"channels": [4, 8, 8], "radius": 1})
    model = Model(str(made.folder), uncertainty=True, explanation=True)
    run_on_the_card(replace(shortest_recipe(), model=model))


def with_features(folder: Path) -> None:
    made = bundle(folder, "features", "anatomix", {"channels": 2, "out": 4, "levels": 2})
    deformable = replace(shortest_recipe().deformable, similarity=FEATURES, features=str(made.folder))
    run_on_the_card(replace(shortest_recipe(), deformable=deformable))


def with_segmentation(folder: Path) -> None:
    made = segmenting(folder)
    with simulated_card() as card:
        TASKS["segment with"].run(ModelRequest(small_pair()[0], str(made.folder), device="cuda"), told, never)
    assert computed_on(card)


def segmenting(folder: Path) -> ModelBundle:
    segments = (Segment(3, "liver", (0.5, 0.2, 0.1)),)
    settings = {"input": ModelInput(4.0, (16, 16, 16)), "segments": segments}
    return bundle(folder, "segmentation", "segmentation-cnn", {"channels": 2, "out": 2}, **settings)


def with_denoising(folder: Path) -> None:
    made = bundle(folder, "denoise", "autoencoder", {"channels": [4, 8]})
    with simulated_card() as card:
        denoised_by(made, small_pair()[0], device="cuda")
    assert computed_on(card)
    run_on_the_card(replace(shortest_recipe(), prepare=replace(shortest_recipe().prepare, denoise=str(made.folder))))


def with_translation(folder: Path) -> None:
    made = bundle(folder, "translate", "translator", {"channels": [4, 8]})
    with simulated_card() as card:
        translate_with(made.folder, small_pair()[1], device="cuda")
    assert computed_on(card)
    run_on_the_card(replace(shortest_recipe(), translate=Translate(str(made.folder))))


def with_motion(folder: Path) -> None:
    arguments = {"components": 2, "hidden": 4, "ahead": 2}
    made = bundle(folder, "motion", "motion", arguments, input=ModelInput(0.0, interval=0.1))
    times, scores = np.arange(0, 8, 0.1), np.random.default_rng(0).normal(size=(80, 2))
    with simulated_card() as card:
        said = network_predictor(made, "cuda")(times, scores, float(times[-1]) + 0.1)
    assert np.isfinite(said).all()
    assert card.called


MODELS: Mapping[str, Callable[[Path], None]] = {
    "registration": with_registration_model,
    "features": with_features,
    "segmentation": with_segmentation,
    "denoise": with_denoising,
    "translate": with_translation,
    "motion": with_motion,
}


@pytest.mark.parametrize("task", MODEL_TASKS)
def test_a_model_of_every_task_keeps_to_its_device(task: str, tmp_path: Path) -> None:
    MODELS[task](tmp_path / "model")


# Tasks of the engine


def told(*_: object) -> None:
    """Tell nobody how far it is."""


def never() -> bool:
    """Do not cancel."""
    return False


def segment_request(fusion: str) -> SegmentRequest:
    return SegmentRequest(small_pair()[0], small_atlases()[:2], shortest_recipe(), fusion, "cuda")


def improvement() -> Improvement:
    earlier = small_registration()
    centre = earlier.fixed.geometry.centre[None]
    drag = Correction(centre, centre + np.array([4.0, 0.0, 3.0]))
    return Improvement(request(earlier.recipe), earlier.transform, earlier.inverse, drag)


def restoring() -> Restoring:
    earlier = small_registration()
    record = record_of_text(json.dumps({name: result_to_dict(earlier, {})[name] for name in RECORDED}), "a test")
    return Restoring(request(earlier.recipe), record, earlier.transform, earlier.inverse)


def asked(name: str, folder: Path) -> Any:
    """Return a request for a task of the engine."""
    earlier = small_registration()
    return {
        "register": lambda: request(shortest_recipe()),
        "improve": improvement,
        "restore": restoring,
        "segment": lambda: segment_request("joint"),
        "segment with": lambda: ModelRequest(small_pair()[0], str(segmenting(folder).folder), device="cuda"),
        "track": lambda: Following(request(earlier.recipe), last_of(earlier)),
        "series": lambda: SeriesRequest(breath(3), (0.0, 1.0, 2.0), recipe=shortest_recipe(), device="cuda"),
        "files": lambda: FilesRequest(earlier, only_report=True),
    }[name]()


# It writes what is finished.
COMPUTES_NOTHING = {"files"}
# Of what is judged anew, poses alone are compared on a card, which is left out here.
COMPARES_POSES_ALONE = {"restore"}


@pytest.mark.parametrize("name", sorted(TASKS.keys() - COMPUTES_NOTHING))
def test_every_task_of_the_engine_keeps_to_its_device(name: str, tmp_path: Path) -> None:
    work = asked(name, tmp_path / "model")
    with simulated_card() as card:
        TASKS[name].run(work, told, never)
    assert computed_on(card) or name in COMPARES_POSES_ALONE


@pytest.mark.parametrize("fusion", FUSIONS)
def test_every_fusion_of_atlases_runs_behind_a_card(fusion: str) -> None:
    with simulated_card():
        TASKS["segment"].run(segment_request(fusion), told, never)


@pytest.mark.parametrize("changes", [{"reference": "mean"}, {"recipe": "perfusion"}], ids=["mean", "low rank"])
def test_a_series_of_another_kind_keeps_to_its_device(changes: dict[str, Any]) -> None:
    recipe = shortened(load_recipe(changes.pop("recipe", "fast")))
    with simulated_card() as card:
        wanted = SeriesRequest(breath(4), (0.0, 1.0, 2.0, 3.0), recipe=recipe, device="cuda", **changes)
        TASKS["series"].run(wanted, told, never)
    assert computed_on(card)


def test_a_template_of_a_group_keeps_to_its_device() -> None:
    with simulated_card() as card:
        build_template(breath(3), shortest_recipe(), passes=1, device="cuda")
    assert computed_on(card)


# Trainings

PLAIN = dict.fromkeys(("noise", "thick", "artefacts", "cropped", "bias", "remap", "blur", "gamma"), 0.0)
PYRAMID = {"architecture": "pyramid", "arguments": {"channels": [4, 8, 8]}}
TRANSLATOR = {"architecture": "translator", "arguments": {"channels": [4, 8]}}
SHAPES, IMAGES = {"shapes": 1.0}, {"shapes": 0.0, "images": 1.0}
EVERY_LOSS = dict.fromkeys(("labels", "endpoint", "smoothness", "inverse", "lncc", "mind", "adversarial"), 0.1)
# By name: the tables of a configuration. The folder of the scans is set where `sources` takes some.
TRAINED: dict[str, dict[str, Any]] = {
    "pairs of random shapes": {"task": "pairs", "network": PYRAMID, "sources": SHAPES},
    "pairs of bent scans, every loss": {"task": "pairs", "network": PYRAMID, "sources": IMAGES, "losses": EVERY_LOSS},
    "segmentation": {
        "task": "segmentation",
        "network": {"architecture": "segmentation-unet", "arguments": {"channels": [4, 8]}},
        "sources": IMAGES,
    },
    "segmentation by maps alone": {
        "task": "segmentation",
        "network": {"architecture": "segmentation-cnn", "arguments": {"channels": 4}},
        "sources": {"shapes": 0.0, "maps": 1.0},
    },
    "denoise": {
        "task": "denoise",
        "network": {"architecture": "autoencoder", "arguments": {"channels": [4, 8]}},
        "sources": IMAGES,
        "appearance": PLAIN,
    },
    "translate": {"task": "translate", "network": TRANSLATOR, "sources": IMAGES},
    "translate without pairs": {
        "task": "translate",
        "network": TRANSLATOR,
        "sources": IMAGES,
        "translate": {"paired": False, "adversarial": 1.0},
    },
    "motion": {
        "task": "motion",
        "network": {"architecture": "motion", "arguments": {"components": 2, "hidden": 4, "ahead": 2}},
        "sources": {"shapes": 0.0, "traces": 1.0},
    },
}


def training(name: str, folder: Path) -> TrainingConfig:
    """Return the configuration of two steps of two samples, and write the scans that it reads."""
    table: dict[str, Any] = {
        "name": "tiny",
        "optimisation": {"iterations": 2, "batch": 2, "warmup": 1},
        "record": {"log_every": 1, "checkpoint_every": 2},
        "validation": {"every": 2, "pairs": 1},
        **{key: dict(value) if isinstance(value, dict) else value for key, value in TRAINED[name].items()},
    }
    if table["task"] != "motion":
        size = [24, 24, 24] if table["task"] == "pairs" else [16, 16, 16]
        table["images"] = {"size": size, "spacing": 3.0, "margin": 2}
        table["shapes"] = {"regions": 4, "bodies": 3, "distances": [8.0, 16.0]}
        table["deformation"] = {"distances": [8.0], "amplitudes": [1.0]}
    if table["task"] == "segmentation":
        found = np.unique(small_pair()[2].array)
        table["segmentation"] = {"names": {str(label): f"part {label}" for label in found if label > 0}}
    if table["sources"].get("images") or table["sources"].get("maps"):
        table["sources"]["folder"] = str(folder)
        write_scans(folder)
    return config_from_dict(table)


def write_scans(folder: Path) -> None:
    fixed, moving, *labels = small_pair()
    for part, images in (("images", (fixed, moving)), ("labels", labels), ("targets", (fixed, moving))):
        (folder / part).mkdir(parents=True)
        for number, image in enumerate(images):
            write_image(image, folder / part / f"{number}.nii.gz")


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_of_every_kind_keeps_to_its_device(name: str, tmp_path: Path) -> None:
    config = training(name, tmp_path / "scans")
    with simulated_card() as card:
        train(config, tmp_path / "run", device="cuda")
    assert computed_on(card)


@pytest.mark.parametrize("name", config_names())
def test_a_step_of_every_configuration_that_ships_keeps_to_its_device(name: str, tmp_path: Path) -> None:
    config = load_config(name)
    small = replace(
        config,
        images=replace(config.images, size=(32, 32, 32), early=0.0, margin=2),
        optimisation=replace(config.optimisation, iterations=1, batch=min(config.optimisation.batch, 2)),
        validation=replace(config.validation, pairs=1),
    )
    with simulated_card() as card:
        train(small, tmp_path / "run", device="cuda")
    assert computed_on(card)


def test_every_task_that_can_be_trained_is_among_these_runs() -> None:
    assert {table["task"] for table in TRAINED.values()} == TRAININGS.keys()


def test_another_step_of_a_training_on_random_shapes_waits_no_more_often_than_its_log_asks(tmp_path: Path) -> None:
    config = training("pairs of random shapes", tmp_path)
    waits = []
    for steps in (2, 3):
        quiet = replace(
            config,
            optimisation=replace(config.optimisation, iterations=steps),
            record=replace(config.record, log_every=100, checkpoint_every=100),
            validation=replace(config.validation, every=100, pairs=0),
        )
        with simulated_card() as card:
            train(quiet, tmp_path / f"run {steps}", device="cuda")
        waits.append(card.waits)
    # Torch groups the gradients that it clips by where they truly lie, and sends the factor there.
    assert set(waits[1] - waits[0]) <= {f"training/loop.py:{clipping_line()}"}


def clipping_line() -> int:
    lines, first = inspect.getsourcelines(loop)
    return max(first, 1) + next(n for n, line in enumerate(lines) if "clip_grad_norm_" in line)
