"""Weights of others become bundles like any other; nothing is fetched, and what is wrong is said in a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from DeepRegLib.errors import ModelError
from DeepRegLib.models import add_lapirn, add_unigradicon, check_bundle, known_models, load_bundle, load_network
from Testing.models.stand_in import LAPIRN_CHANNELS, lapirn_table, lapirn_weights, unigradicon_weights
from Testing.models.tiny import own_folder

__all__ = ["lapirn_weights", "own_folder", "unigradicon_weights"]
pytestmark = pytest.mark.usefixtures("own_folder")


def test_the_weights_become_a_model_of_one_s_own(unigradicon_weights: Path) -> None:
    added = add_unigradicon(unigradicon_weights)
    bundle = load_bundle(added.folder)
    check_bundle(bundle)
    assert bundle.manifest.licence == "Apache-2.0"
    assert bundle.manifest.input.size == (175, 175, 175)
    network = load_network(bundle, "cpu")
    assert torch.equal(network.get_parameter("net.shift"), torch.tensor([0.5, 0.25, -1.0]))
    with pytest.raises(ModelError, match="There is a user model named unigradicon already"):
        add_unigradicon(unigradicon_weights)


def test_a_missing_file_is_not_fetched(unigradicon_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"There is no file .*nowhere\.trch") as caught:
        add_unigradicon(tmp_path / "nowhere.trch")
    assert "Step_2_final.trch" in caught.value.hint


def test_another_file_is_refused_and_leaves_nothing(unigradicon_weights: Path, own_folder: Path) -> None:
    unigradicon_weights.write_text("not weights", encoding="utf-8")
    with pytest.raises(ModelError, match="does not hold the weights of uniGradICON"):
        add_unigradicon(unigradicon_weights)
    assert not own_folder.exists() or list(own_folder.iterdir()) == []
    assert "unigradicon" not in [model.name for model in known_models()]


def test_without_the_package_it_is_named(unigradicon_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "unigradicon", None)
    with pytest.raises(ModelError, match="its own Python package") as caught:
        add_unigradicon(unigradicon_weights)
    assert "pip install unigradicon" in caught.value.hint


@pytest.mark.parametrize("velocity", [False, True])
def test_lapirn_s_weights_become_a_model_of_one_s_own(lapirn_weights: Path, velocity: bool) -> None:
    bundle = load_bundle(add_lapirn(lapirn_weights, velocity=velocity).folder)
    check_bundle(bundle)
    assert bundle.manifest.name == ("lapirn-velocity" if velocity else "lapirn")
    assert bundle.manifest.arguments == {"channels": LAPIRN_CHANNELS, "integrate": velocity}
    assert bundle.manifest.licence == "MIT"
    network, table = load_network(bundle, "cpu"), lapirn_table()
    for ours, theirs in {
        "levels.0.encode.0": "input_encoder_lvl1.0",
        "levels.1.blocks.4.first": "model_lvl2.resblock_group_lvl1.8.conv1",
        "levels.1.blocks.1.second": "model_lvl2.resblock_group_lvl1.2.conv2",
        "levels.2.up": "model_lvl2.model_lvl1.up",
        "levels.2.predict.2": "model_lvl2.model_lvl1.output_lvl1.2",
    }.items():
        assert torch.equal(network.get_parameter(f"{ours}.weight"), table[f"{theirs}.weight"].half().float())


def test_a_file_that_lacks_some_of_lapirn_or_holds_more_is_refused(tmp_path: Path, own_folder: Path) -> None:
    path, table = tmp_path / "weights.pth", lapirn_table()
    for changed, told in (
        ({name: tensor for name, tensor in table.items() if name != "down_conv.weight"}, "47 of 48 are there, and 0"),
        ({**table, "extra.weight": torch.ones(1)}, "48 of 48 are there, and 1"),
        ({"net.shift": torch.ones(3)}, "0 of 48 are there, and 1"),
    ):
        torch.save(changed, path)
        with pytest.raises(ModelError, match=f"does not hold the weights of LapIRN: {told}"):
            add_lapirn(path)
    assert not own_folder.exists() or list(own_folder.iterdir()) == []


def test_weights_of_another_shape_are_refused(tmp_path: Path, own_folder: Path) -> None:
    path = tmp_path / "weights.pth"
    torch.save({**lapirn_table(), "up.weight": torch.ones(2, 2, 2, 2, 2)}, path)
    with pytest.raises(ModelError, match="up"):
        add_lapirn(path)
    assert not own_folder.exists() or list(own_folder.iterdir()) == []
