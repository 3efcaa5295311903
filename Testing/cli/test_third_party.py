"""`deepreg models import-unigradicon` and `import-lapirn`."""

from __future__ import annotations

import json
from pathlib import Path

from DeepRegLib.models import read_manifest
from Testing.cli.conftest import Deepreg
from Testing.models.stand_in import lapirn_weights, unigradicon_weights
from Testing.models.tiny import own_folder

__all__ = ["lapirn_weights", "own_folder", "unigradicon_weights"]


def test_unigradicon_becomes_a_model_of_one_s_own(
    deepreg: Deepreg, unigradicon_weights: Path, own_folder: Path
) -> None:
    outcome = deepreg("models", "import-unigradicon", unigradicon_weights)
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith("use it with --model unigradicon.\n")
    assert (own_folder / "unigradicon" / "weights.safetensors").is_file()
    again = deepreg("models", "import-unigradicon", unigradicon_weights)
    assert again.code == 2
    assert "deepreg models remove unigradicon" in again.err


def test_multigradicon_is_the_same_network_under_a_name_of_its_own(
    deepreg: Deepreg, unigradicon_weights: Path, own_folder: Path
) -> None:
    deepreg("models", "import-unigradicon", unigradicon_weights)
    outcome = deepreg("models", "import-unigradicon", unigradicon_weights, "--multimodal")
    assert outcome.out.endswith("use it with --model multigradicon.\n")
    manifest = read_manifest(own_folder / "multigradicon")
    assert (manifest.name, manifest.architecture) == ("multigradicon", "unigradicon")
    assert "two modalities" in manifest.intended_use


def test_json_names_the_folder(deepreg: Deepreg, unigradicon_weights: Path, own_folder: Path) -> None:
    answer = json.loads(deepreg("models", "import-unigradicon", unigradicon_weights, "--json").out)
    assert answer == {"name": "unigradicon", "folder": str(own_folder / "unigradicon")}


def test_lapirn_becomes_a_model_of_one_s_own(deepreg: Deepreg, lapirn_weights: Path, own_folder: Path) -> None:
    outcome = deepreg("models", "import-lapirn", lapirn_weights)
    assert outcome.code == 0, outcome.err
    assert outcome.out.endswith("use it with --model lapirn.\n")
    assert deepreg("models", "check", "lapirn").code == 0
    other = json.loads(deepreg("models", "import-lapirn", lapirn_weights, "--velocity", "--json").out)
    assert other == {"name": "lapirn-velocity", "folder": str(own_folder / "lapirn-velocity")}
