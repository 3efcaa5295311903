"""Networks that show a scan as another modality would, from training to a registration through what they make."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from DeepRegLib.errors import InputError, ModelError
from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.models import ModelBundle
from DeepRegLib.pipeline import align
from DeepRegLib.recipes import Translate, load_recipe, without_folder
from DeepRegLib.request import Request
from DeepRegLib.training import export, train
from DeepRegLib.training.config import TrainingConfig, config_from_dict
from DeepRegLib.training.journal import read_log
from DeepRegLib.training.randomness import Randomness
from DeepRegLib.training.state import checkpoints, part, read_tensors
from DeepRegLib.training.translation_losses import patch_contrast, tolerant_difference
from DeepRegLib.translation import save_translation, translate_with
from DeepRegLib.translation.belief import belief_in
from Testing.cli.conftest import Deepreg, deepreg  # noqa: F401  # a fixture
from Testing.small import small_pair, small_recipe

Make = Callable[..., TrainingConfig]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return two scans beside themselves with bright and dark changed over."""
    place = tmp_path_factory.mktemp("sides")
    for number, image in enumerate(small_pair()[:2]):
        for side, each in (("images", image), ("targets", turned(image))):
            (place / side).mkdir(exist_ok=True)
            write_image(each, place / side / f"{number}.nii.gz")
    return place


@pytest.fixture
def make(folder: Path) -> Make:
    """Return a function that makes a configuration, with some keys of its sections changed."""

    def made(**changes: dict[str, Any]) -> TrainingConfig:
        table: dict[str, Any] = {
            "name": "tiny",
            "task": "translate",
            "network": {"architecture": "translator", "arguments": {"channels": [8, 12]}},
            "images": {"size": [16, 16, 16], "spacing": 4.0},
            "sources": {"shapes": 0.0, "images": 1.0, "folder": str(folder)},
            "optimisation": {"iterations": 4, "warmup": 2, "rate": 1e-2, "average": 0.5},
            "record": {"log_every": 1, "checkpoint_every": 2},
            "validation": {"every": 1000, "pairs": 1},
        }
        for section, values in changes.items():
            table[section] = {**table.get(section, {}), **values}
        return config_from_dict(table)

    return made


@pytest.fixture(scope="module")
def learned(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[ModelBundle, Path]:
    """Return a model that has learned to change bright and dark over, and its run."""
    place = tmp_path_factory.mktemp("learned")
    config = config_from_dict(
        {
            "name": "tiny",
            "task": "translate",
            "network": {"architecture": "translator", "arguments": {"channels": [8, 12]}},
            "images": {"size": [16, 16, 16], "spacing": 3.0},
            "sources": {"shapes": 0.0, "images": 1.0, "folder": str(folder)},
            "optimisation": {"iterations": 40, "warmup": 5, "rate": 3e-2, "average": 0.8},
            "record": {"log_every": 5, "checkpoint_every": 40},
            "validation": {"every": 40, "pairs": 1},
        }
    )
    train(config, place / "run", device="cpu")
    return export(place / "run", place / "tiny"), place / "run"


def turned(image: Image) -> Image:
    return image.with_array((float(image.array.max()) - image.array).astype(np.float32))


def test_it_learns_the_other_contrast_and_its_bundle_shows_a_scan_in_it(
    learned: tuple[ModelBundle, Path], folder: Path, tmp_path: Path
) -> None:
    bundle, run = learned
    losses = [line["absolute"] for line in read_log(run) if line["group"] == "train"]
    assert losses[-1] < 0.6 * losses[0]
    scan, target = (read_image(folder / side / "1.nii.gz") for side in ("images", "targets"))
    result = translate_with(bundle.folder, scan, device="cpu")
    correlation = np.corrcoef(result.synthetic.array.ravel(), target.array.ravel())[0, 1]
    assert correlation > 0.7
    assert result.synthetic.geometry == scan.geometry
    assert result.verdict.level == "ok"
    assert "synthetic, tiny" in result.synthetic.name
    saved = save_translation(result, tmp_path / "out")
    assert sorted(path.name for path in saved.iterdir()) == ["result.json", "synthetic.nii.gz"]
    with pytest.raises(InputError):
        save_translation(result, tmp_path / "out")


def test_the_command_writes_the_synthetic_scan_beside_what_became_of_it(
    learned: tuple[ModelBundle, Path],
    folder: Path,
    deepreg: Deepreg,  # noqa: F811
    tmp_path: Path,
) -> None:
    words = ("translate", folder / "images" / "1.nii.gz", "--model", learned[0].folder, "--device", "cpu")
    told = deepreg(*words, "-o", tmp_path / "out")
    assert told.code == 0, told.err
    assert "Edges run like those of the scan" in told.out
    synthetic = read_image(tmp_path / "out" / "synthetic.nii.gz")
    assert synthetic.geometry.is_close(read_image(folder / "images" / "1.nii.gz").geometry)
    assert 0 <= synthetic.array.min() < synthetic.array.max() <= 1
    again = deepreg(*words, "-o", tmp_path / "out")
    assert (again.code, again.err.count("\n")) == (2, 1)
    assert deepreg(*words, "-o", tmp_path / "out", "--overwrite", "--json").code == 0


def test_a_recipe_registers_through_the_synthetic_scan_and_is_judged_by_the_scan_itself(
    learned: tuple[ModelBundle, Path],
) -> None:
    bundle, _ = learned
    fixed, moving, _, _ = small_pair()
    recipe = small_recipe()
    through = replace(recipe, translate=Translate(str(bundle.folder)))
    found = align(Request(fixed, turned(moving), through, device="cpu"))
    assert any("synthetic" in decision for decision in found.decisions)
    # What is delivered is the scan, and the measures are its own: dark where the fixed scan is bright.
    assert found.measures.ncc_after < 0
    assert without_folder(through).translate.model == "tiny"


def test_a_synthetic_scan_that_was_invented_is_no_good() -> None:
    scan = small_pair()[0]
    noise = np.random.default_rng(0).normal(size=scan.array.shape).astype(np.float32)
    assert belief_in(scan.with_array(noise), scan)[1].level == "failed"
    assert belief_in(scan.with_array(np.zeros(scan.array.shape)), scan)[1].level == "failed"
    agreement, verdict = belief_in(turned(scan), scan)
    assert agreement > 0.9
    assert verdict.level == "ok"


@pytest.mark.parametrize("paired", [True, False])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    paired: bool, make: Make, tmp_path: Path, one_thread: None
) -> None:
    config = make(translate={"paired": paired, "adversarial": 0.5})
    train(config, tmp_path / "whole", device="cpu")
    asked = iter([False, True])
    assert train(config, tmp_path / "parts", device="cpu", stop=lambda: next(asked)).stopped
    train(config, tmp_path / "parts", device="cpu", resume=True)
    whole, parts = (read_tensors(checkpoints(tmp_path / run)[-1], "cpu") for run in ("whole", "parts"))
    for start in ("network.", "judge."):
        first, second = part(whole, start), part(parts, start)
        assert first
        assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_target_that_is_a_voxel_off_costs_little_and_one_that_is_three_off_does() -> None:
    image = torch.zeros(1, 1, 12, 12, 12)
    image[..., 4:8] = 1
    known = torch.ones_like(image)
    costs = [float(tolerant_difference(image.roll(by, -1), image, known, 1)) for by in (0, 1, 3)]
    assert costs[0] == pytest.approx(0)
    assert costs[1] < 0.1 * costs[2]
    assert float(tolerant_difference(image.roll(1, -1), image, known, 0)) > 5 * costs[1]


def test_features_that_stay_in_their_place_contrast_and_shuffled_ones_do_not() -> None:
    random = Randomness([0], torch.device("cpu"))
    features = torch.randn(1, 6, 6, 6, 6, generator=torch.Generator().manual_seed(0))
    kept = float(patch_contrast([features], [features * 2], random))
    moved = float(patch_contrast([features], [features.roll(1, 2)], random))
    assert kept < 0.5 < moved


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sources": {"shapes": 1.0}}, "sources.shapes"),
        ({"network": {"architecture": "pyramid"}}, "network.architecture"),
        ({"translate": {"absolute": 0.0, "contrast": 0.0}}, "translate.absolute"),
        ({"translate": {"paired": False, "adversarial": 0.0}}, "translate.adversarial"),
    ],
)
def test_what_it_cannot_be_trained_with_is_named(changes: Any, said: str, make: Make) -> None:
    with pytest.raises(InputError, match=said):
        make(**changes)


def test_pairs_that_are_none_are_refused_before_the_training(make: Make, folder: Path, tmp_path: Path) -> None:
    for side in ("images", "targets"):
        (tmp_path / side).mkdir()
    image = read_image(folder / "images" / "0.nii.gz")
    write_image(image, tmp_path / "images" / "one.nii.gz")
    with pytest.raises(InputError, match="no volumes in targets"):
        train(make(sources={"folder": str(tmp_path)}), tmp_path / "run", device="cpu")
    write_image(image, tmp_path / "targets" / "other.nii.gz")
    with pytest.raises(InputError, match="only an image or only a target of one, other"):
        train(make(sources={"folder": str(tmp_path)}), tmp_path / "run", device="cpu")


def test_a_model_for_another_task_translates_nothing() -> None:
    with pytest.raises(ModelError, match="is for the task registration, not for translate"):
        translate_with("anatomy", small_pair()[0], device="cpu")


def test_the_side_of_a_recipe_is_checked() -> None:
    assert load_recipe("auto").translate == Translate()
    with pytest.raises(InputError, match=r"translate\.side"):
        Translate("tiny", "both")
