"""From a run to a bundle, and from the bundle to a field."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from DeepRegLib.errors import InputError, OutputError
from DeepRegLib.models import load_bundle, load_network
from DeepRegLib.networks import ARCHITECTURES, DENOISES, PREDICTS, SEGMENTS, TRANSLATES, build_network
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import with_model
from DeepRegLib.training import adaptation, export, train
from DeepRegLib.training.journal import read_log
from DeepRegLib.training.state import checkpoints, part, read_tensors
from Testing.small import small_pair, small_recipe
from Testing.training.conftest import TinyConfig


def test_a_bundle_holds_the_averaged_weights_and_says_what_they_are(tiny_config: TinyConfig, tmp_path: Path) -> None:
    config = tiny_config(bundle={"licence": "CC0-1.0", "trained_on": "Two phantoms."})
    train(config, tmp_path / "run", device="cpu")
    bundle = export(tmp_path / "run", tmp_path / "tiny")
    assert load_bundle(tmp_path / "tiny").manifest == bundle.manifest
    assert bundle.manifest.name == "tiny"
    assert bundle.manifest.task == "registration"
    assert bundle.manifest.input.spacing == 2.5
    assert bundle.manifest.licence == "CC0-1.0"
    assert bundle.manifest.trained_on == "Two phantoms. (6 iterations.)"
    averaged = part(read_tensors(checkpoints(tmp_path / "run")[-1], "cpu"), "average.")
    network = load_network(bundle, "cpu")
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(tensor, averaged[name], rtol=1e-3, atol=1e-6)
    images = torch.rand(2, 1, 1, 24, 24, 24)
    assert network(images[0], images[1]).shape == (1, 3, 12, 12, 12)


def test_a_model_for_any_scale_is_asked_on_a_grid_as_large_as_the_one_it_learned_on(
    tiny_config: TinyConfig, tmp_path: Path
) -> None:
    config = tiny_config(bundle={"any_scale": True})
    train(config, tmp_path / "run", device="cpu")
    wanted = export(tmp_path / "run", tmp_path / "tiny").manifest.input
    assert (wanted.across, wanted.spacing) == (max(config.images.size), 0)


def test_a_recipe_that_names_the_bundle_registers_a_pair_with_it(tiny_config: TinyConfig, tmp_path: Path) -> None:
    train(tiny_config(), tmp_path / "run", device="cpu")
    bundle = export(tmp_path / "run", tmp_path / "tiny")
    fixed, moving, _, _ = small_pair()
    result = register(fixed, moving, with_model(small_recipe(), bundle.folder), device="cpu")
    assert any(decision.startswith("Model: tiny") for decision in result.decisions)
    assert result.provenance["model"]["weights_sha256"] == bundle.manifest.weights_sha256
    assert result.measures.folds == 0


def test_a_student_comes_nearer_to_what_its_teacher_says(tiny_config: TinyConfig, tmp_path: Path) -> None:
    plain = {"architecture": "pyramid", "arguments": {"channels": [8, 16, 16], "self_similarity": False}}
    teacher = tiny_config(network=plain, optimisation={"iterations": 1})
    train(teacher, tmp_path / "run", device="cpu")
    export(tmp_path / "run", tmp_path / "teacher")
    student = tiny_config(
        network={
            "architecture": "pyramid",
            "arguments": {"channels": [4, 8, 8], "self_similarity": False, "interpolated": 1},
            "teacher": str(tmp_path / "teacher"),
        },
        losses={"labels": 0.0, "endpoint": 0.0, "smoothness": 0.0, "teacher": 1.0},
        optimisation={"iterations": 16, "warmup": 1},
        record={"log_every": 4, "checkpoint_every": 16},
    )
    train(student, tmp_path / "student", device="cpu")
    export(tmp_path / "student", tmp_path / "small")
    distances = [line["teacher"] for line in read_log(tmp_path / "student") if line["group"] == "train"]
    assert distances[-1] < 0.9 * distances[0]
    small, large = (load_bundle(tmp_path / name).manifest for name in ("small", "teacher"))
    assert small.parameters < large.parameters


def test_a_model_is_adapted_to_scans_without_labels(tiny_config: TinyConfig, phantoms: Path, tmp_path: Path) -> None:
    train(tiny_config(optimisation={"iterations": 2}), tmp_path / "run", device="cpu")
    before = export(tmp_path / "run", tmp_path / "tiny")
    config = adaptation(tmp_path / "tiny", phantoms / "images")
    assert config.images.spacing == 2.5
    quick = replace(config, optimisation=replace(config.optimisation, iterations=6, rate=1e-2, warmup=0))
    train(quick, tmp_path / "adapted", device="cpu")
    after = export(tmp_path / "adapted", tmp_path / "bundle")
    assert after.manifest.name == "tiny-adapted"
    assert after.manifest.input == before.manifest.input
    assert after.manifest.trained_on.startswith(before.manifest.trained_on)
    matched = [line["lncc"] for line in read_log(tmp_path / "adapted") if line["group"] == "train"]
    assert all(0 < value < 1 for value in matched)
    (tmp_path / "one").mkdir()
    shutil.copy(phantoms / "images" / "0.nii.gz", tmp_path / "one")
    with pytest.raises(InputError, match="has 1 scans"):
        adaptation(tmp_path / "tiny", tmp_path / "one")


def test_training_can_begin_with_the_weights_of_a_bundle(tiny_config: TinyConfig, tmp_path: Path) -> None:
    config = tiny_config(optimisation={"iterations": 2})
    train(config, tmp_path / "run", device="cpu")
    export(tmp_path / "run", tmp_path / "tiny")
    start = {"start": str(tmp_path / "tiny")}
    tuned = tiny_config(network=start, optimisation={"iterations": 1, "rate": 1e-9})
    train(tuned, tmp_path / "tuned", device="cpu")
    before = load_network(load_bundle(tmp_path / "tiny"), "cpu").state_dict()
    after = part(read_tensors(checkpoints(tmp_path / "tuned")[-1], "cpu"), "network.")
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, rtol=0, atol=1e-6)
    other = tiny_config(network={**start, "arguments": {"channels": [8, 8]}})
    with pytest.raises(InputError, match="Give network"):
        train(other, tmp_path / "other", device="cpu")


def test_a_network_that_leaves_out_the_finest_level_begins_with_the_weights_of_one_that_has_it(
    tiny_config: TinyConfig, tmp_path: Path
) -> None:
    channels = {"channels": [8, 8, 8], "self_similarity": False}
    whole = tiny_config(network={"architecture": "pyramid", "arguments": channels}, optimisation={"iterations": 1})
    train(whole, tmp_path / "run", device="cpu")
    export(tmp_path / "run", tmp_path / "whole")
    pruned = {"architecture": "pyramid", "arguments": channels | {"interpolated": 1}, "start": str(tmp_path / "whole")}
    train(tiny_config(network=pruned, optimisation={"iterations": 1, "rate": 1e-9}), tmp_path / "pruned", device="cpu")
    before = load_network(load_bundle(tmp_path / "whole"), "cpu").state_dict()
    after = part(read_tensors(checkpoints(tmp_path / "pruned")[-1], "cpu"), "network.")
    assert before.keys() - after.keys() == {name for name in before if name.startswith(("levels.0.", "lifts.0."))}
    for name, tensor in after.items():
        torch.testing.assert_close(tensor, before[name], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "architecture",
    [n for n in ARCHITECTURES if n not in (*SEGMENTS, *DENOISES, *TRANSLATES, *PREDICTS)],
)
def test_every_network_that_registers_can_be_trained(
    architecture: str, tiny_config: TinyConfig, tmp_path: Path
) -> None:
    network = {"architecture": architecture, "arguments": {}}
    multiple = int(build_network(architecture, {}).multiple)  # type: ignore[arg-type]
    side = multiple * -(-24 // multiple)
    config = tiny_config(
        network=network, images={"size": [side] * 3}, losses={"inverse": 0.1}, optimisation={"iterations": 2}
    )
    start = build_network(architecture, {})
    train(config, tmp_path / "run", device="cpu", build=lambda *_: start)
    bundle = export(tmp_path / "run", tmp_path / "bundle")
    assert bundle.manifest.task == "registration"


def test_what_is_no_run_is_refused_and_a_folder_in_use_too(tiny_config: TinyConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a checkpoint nor a run"):
        export(tmp_path, tmp_path / "bundle")
    train(tiny_config(optimisation={"iterations": 1}), tmp_path / "run", device="cpu")
    export(tmp_path / "run", tmp_path / "bundle")
    with pytest.raises(OutputError):
        export(tmp_path / "run", tmp_path / "bundle")
