"""From a run to a bundle, and from the bundle to a field."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from DeepRegLib.errors import InputError, OutputError
from DeepRegLib.models import load_bundle, load_network
from DeepRegLib.networks import ARCHITECTURES, DENOISES, PREDICTS, SEGMENTS, TRANSLATES, build_network
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import with_model
from DeepRegLib.training import export, train
from DeepRegLib.training.state import checkpoints, part, read_tensors
from DeepRegLib.training.validation import as_field
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
    assert as_field(network(images[0], images[1]), images[0]).shape == (1, 3, 12, 12, 12)


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


@pytest.mark.parametrize(
    "architecture",
    [n for n in ARCHITECTURES if n not in ("features", *SEGMENTS, *DENOISES, *TRANSLATES, *PREDICTS)],
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
    assert bundle.manifest.task == ("affine" if architecture == "affine" else "registration")


def test_what_is_no_run_is_refused_and_a_folder_in_use_too(tiny_config: TinyConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="neither a checkpoint nor a run"):
        export(tmp_path, tmp_path / "bundle")
    train(tiny_config(optimisation={"iterations": 1}), tmp_path / "run", device="cpu")
    export(tmp_path / "run", tmp_path / "bundle")
    with pytest.raises(OutputError):
        export(tmp_path / "run", tmp_path / "bundle")
