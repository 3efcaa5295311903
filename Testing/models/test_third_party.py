"""Weights of others become bundles like any other; nothing is fetched, and what is wrong is said in a sentence."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from DeepRegLib.errors import ModelError
from DeepRegLib.models import add_unigradicon, check_bundle, known_models, load_bundle, load_network
from Testing.models.stand_in import unigradicon_weights
from Testing.models.tiny import own_folder

__all__ = ["own_folder", "unigradicon_weights"]
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
