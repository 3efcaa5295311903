"""Networks of one image, from training to a bundle: labels of a phantom, and noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from DeepRegLib.errors import InputError, ModelError
from DeepRegLib.evaluation import dice
from DeepRegLib.image import read_image
from DeepRegLib.models import load_bundle
from DeepRegLib.models.denoising import denoised_by
from DeepRegLib.preparation import prepare_pair
from DeepRegLib.recipes import without_folder
from DeepRegLib.segmentation import segment_with
from DeepRegLib.training import export, train
from DeepRegLib.training.config import TrainingConfig, config_from_dict
from DeepRegLib.training.denoising import rician
from DeepRegLib.training.journal import read_log
from DeepRegLib.training.segmentation_task import class_weights, soft_dice
from DeepRegLib.training.state import checkpoints, part, read_tensors
from Testing.small import small_pair, small_recipe

Make = Callable[..., TrainingConfig]
PLAIN = {
    "blur": 0.5,
    **dict.fromkeys(("noise", "thick", "artefacts", "cropped", "bias", "remap", "gamma"), 0.0),
}


@pytest.fixture
def make(phantoms: Path) -> Make:
    """Return a function that makes the configuration of a task, with some keys of its sections changed."""

    def made(task: str, **changes: dict[str, Any]) -> TrainingConfig:
        arguments = {"channels": [8, 16]}
        architecture = "segmentation-unet" if task == "segmentation" else "autoencoder"
        table: dict[str, Any] = {
            "name": "tiny",
            "task": task,
            "network": {"architecture": architecture, "arguments": arguments},
            "images": {"size": [16, 16, 16], "spacing": 4.0, "margin": 2},
            "sources": {"shapes": 0.0, "images": 1.0, "folder": str(phantoms)},
            "appearance": PLAIN,
            "deformation": {"distances": [16.0], "amplitudes": [1.0], "rotation": 5.0},
            "optimisation": {"iterations": 6, "warmup": 2, "rate": 1e-2, "average": 0.5},
            "record": {"log_every": 1, "checkpoint_every": 3},
            "validation": {"every": 1000, "pairs": 1},
        }
        if task == "segmentation":
            names = {str(label): f"part {label}" for label in labels_of(phantoms)}
            table["segmentation"] = {"names": names, "colours": {min(names): [1.0, 0.5, 0.0]}}
        for section, values in changes.items():
            table[section] = {**table.get(section, {}), **values}
        return config_from_dict(table)

    return made


def labels_of(phantoms: Path) -> list[int]:
    found = np.unique(read_image(phantoms / "labels" / "0.nii.gz").array)
    return [int(label) for label in found if label > 0]


def test_a_network_learns_the_labels_of_scans_and_its_bundle_finds_them_again(
    make: Make, phantoms: Path, tmp_path: Path
) -> None:
    config = make("segmentation", optimisation={"iterations": 30}, record={"checkpoint_every": 30})
    train(config, tmp_path / "run", device="cpu")
    bundle = export(tmp_path / "run", tmp_path / "tiny")
    manifest = load_bundle(bundle.folder).manifest
    assert manifest.task == "segmentation"
    assert [segment.label for segment in manifest.segments] == labels_of(phantoms)
    assert manifest.segments[0].name == f"part {labels_of(phantoms)[0]}"
    assert manifest.segments[0].colour == (1.0, 0.5, 0.0)
    result = segment_with(bundle.folder, phantoms / "images" / "1.nii.gz", device="cpu")
    truth = read_image(phantoms / "labels" / "1.nii.gz")
    assert result.labels.geometry == truth.geometry
    assert dice(truth, result.labels)[7] > 0.6
    assert result.model["name"] == "tiny"
    assert 0 < result.agreement.array.min() <= result.agreement.array.max() <= 1
    losses = [line["loss"] for line in read_log(tmp_path / "run") if line["group"] == "train"]
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("task", ["segmentation", "denoise"])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    task: str, make: Make, tmp_path: Path, one_thread: None
) -> None:
    sources = {"images": 1.0, "maps": 1.0} if task == "segmentation" else {"images": 1.0, "shapes": 1.0}
    config = make(task, sources=sources)
    train(config, tmp_path / "whole", device="cpu")
    asked = iter([False, False, False, True])
    assert train(config, tmp_path / "parts", device="cpu", stop=lambda: next(asked)).stopped
    train(config, tmp_path / "parts", device="cpu", resume=True)
    whole, parts = (
        part(read_tensors(checkpoints(tmp_path / run)[-1], "cpu"), "network.") for run in ("whole", "parts")
    )
    assert whole.keys() == parts.keys()
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_denoising_brings_images_nearer_to_those_without_noise(make: Make, tmp_path: Path) -> None:
    config = make(
        "denoise",
        optimisation={"iterations": 60, "rate": 5e-3},
        record={"checkpoint_every": 60},
        denoise={"noise": [0.1, 0.2]},
        validation={"every": 60, "pairs": 2},
    )
    train(config, tmp_path / "run", device="cpu")
    (measured,) = (line for line in read_log(tmp_path / "run") if line["group"] == "validation")
    assert measured["psnr_after"] > measured["psnr_before"] + 0.4
    assert export(tmp_path / "run", tmp_path / "tiny").manifest.task == "denoise"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": {"shapes": 1.0}}, "sources.shapes"),
        ({"network": {"architecture": "pyramid"}}, "network.architecture"),
        ({"segmentation": {"names": {}, "colours": {}}}, "segmentation.names"),
        ({"segmentation": {"names": {"liver": "1"}, "colours": {}}}, "segmentation.names"),
        ({"segmentation": {"names": {"9": "nine"}, "colours": {"9": ["red"]}}}, "segmentation.colours.9"),
    ],
)
def test_what_a_segmentation_cannot_be_trained_with_is_named(changes: Any, said: str, make: Make) -> None:
    with pytest.raises(InputError, match=said):
        make("segmentation", **changes)


def test_a_label_without_a_name_is_refused_before_the_training(make: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which are not named"):
        train(make("segmentation", segmentation={"names": {"99": "one"}, "colours": {}}), tmp_path, device="cpu")


def test_a_rare_label_counts_more_and_the_mean_voxel_one() -> None:
    shares = torch.tensor([0.9, 0.09, 0.01])
    weights = class_weights(shares, 0.5)
    assert weights[0] < weights[1] < weights[2]
    assert float((weights * shares).sum()) == pytest.approx(1)
    assert torch.allclose(class_weights(shares, 0.0), torch.ones(3))


def test_the_soft_dice_of_the_truth_is_one_and_unknown_voxels_do_not_count() -> None:
    labels = torch.zeros(1, 4, 4, 4, dtype=torch.int64)
    labels[:, :2] = 1
    truth = torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    known = torch.ones(1, 4, 4, 4)
    assert float(soft_dice(truth, labels, known)) == pytest.approx(1)
    wrong = truth.clone()
    wrong[:, :, 0] = torch.tensor([0.0, 0.0, 1.0])[None, :, None, None]
    known[:, 0] = 0
    assert float(soft_dice(wrong, labels, known)) == pytest.approx(1)


def test_noise_of_mr_has_the_mean_of_rayleigh_where_there_is_no_signal() -> None:
    parts = torch.randn(1, 2, 32, 32, 32, generator=torch.Generator().manual_seed(0))
    spoilt = rician(torch.zeros(1, 1, 32, 32, 32), parts, torch.full((1, 1, 1, 1, 1), 0.2))
    assert float(spoilt.mean()) == pytest.approx(0.2 * np.sqrt(np.pi / 2), rel=0.02)


def test_a_recipe_that_names_a_denoising_model_compares_what_it_has_cleaned(make: Make, tmp_path: Path) -> None:
    config = make("denoise", optimisation={"iterations": 1, "rate": 1e-4}, record={"checkpoint_every": 1})
    train(config, tmp_path / "run", device="cpu")
    bundle = export(tmp_path / "run", tmp_path / "tiny")
    fixed, moving, _, _ = small_pair()
    recipe = small_recipe()
    cleaning = replace(recipe, prepare=replace(recipe.prepare, denoise=str(bundle.folder)))
    prepared = prepare_pair(fixed, moving, cleaning.prepare)
    plain = prepare_pair(fixed, moving, recipe.prepare)
    np.testing.assert_allclose(denoised_by(bundle, fixed).array, fixed.array, atol=0.1 * float(np.ptp(fixed.array)))
    assert not np.array_equal(prepared.fixed.intensity.array, plain.fixed.intensity.array)
    assert prepared.fixed.original is fixed
    assert without_folder(cleaning).prepare.denoise == "tiny"


def test_a_model_for_another_task_takes_no_noise_out_and_segments_nothing(make: Make, tmp_path: Path) -> None:
    config = make("denoise", optimisation={"iterations": 1}, record={"checkpoint_every": 1})
    train(config, tmp_path / "run", device="cpu")
    bundle = export(tmp_path / "run", tmp_path / "tiny")
    with pytest.raises(ModelError, match="is for the task denoise, not for segmentation"):
        segment_with(bundle.folder, small_pair()[0], device="cpu")
