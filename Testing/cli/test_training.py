"""`deepreg train` and `deepreg export`."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from DeepRegLib.cli import training
from DeepRegLib.training.journal import Journal
from Testing.cli.conftest import Deepreg

TINY = """
[network]
architecture = "pyramid"
[network.arguments]
channels = [8, 8]
[images]
size = [16, 16, 16]
margin = 2
[shapes]
regions = 3
bodies = 1
distances = [8.0, 16.0]
[optimisation]
iterations = 2
[record]
log_every = 1
[validation]
pairs = 1
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.toml"
    path.write_text(TINY, encoding="utf-8")
    return path


def test_a_run_from_a_file_to_a_bundle(deepreg: Deepreg, config: Path, tmp_path: Path) -> None:
    trained = deepreg("train", config, "-o", tmp_path / "run", "--device", "cpu")
    assert trained.code == 0, trained.err
    assert "loss" in trained.err
    assert "error mm after" in trained.err
    assert "Done after 2 iterations" in trained.out.replace("\n", " ")
    exported = deepreg("export", tmp_path / "run", tmp_path / "bundle", "--json")
    assert exported.code == 0, exported.err
    assert json.loads(exported.out)["name"] == "tiny"
    assert (tmp_path / "bundle" / "model.json").is_file()


def test_json_is_all_there_is_on_standard_output(deepreg: Deepreg, config: Path, tmp_path: Path) -> None:
    outcome = deepreg("train", config, "-o", tmp_path / "run", "--device", "cpu", "--json")
    assert json.loads(outcome.out)["stopped"] is False
    assert outcome.err == ""


def test_ctrl_c_leaves_a_checkpoint_and_resume_goes_on(
    deepreg: Deepreg, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def press(self: Journal, iteration: int, group: str, values: Mapping[str, float]) -> dict[str, Any]:
        signal.raise_signal(sent.pop()) if sent else None
        return write(self, iteration, group, values)

    write = Journal.write
    monkeypatch.setattr(Journal, "write", press)
    config.write_text(TINY.replace("iterations = 2", "iterations = 6"), encoding="utf-8")
    run = ("train", config, "-o", tmp_path / "run", "--device", "cpu")
    sent = [signal.SIGINT]
    stopped = deepreg(*run)
    assert stopped.code == 130
    assert "Stopped after 2 iterations" in stopped.out.replace("\n", " ")
    sent = [signal.SIGTERM]
    assert deepreg(*run, "--resume").code == 130
    again = deepreg(*run, "--resume")
    assert again.code == 0, again.err
    assert "Done after 6 iterations" in again.out.replace("\n", " ")


def test_mistakes_are_told_in_one_line(deepreg: Deepreg, config: Path, tmp_path: Path) -> None:
    config.write_text("[images]\nsize = [16, 16, 20]\n", encoding="utf-8")
    for words in (("train", config, "-o", tmp_path / "run"), ("export", tmp_path, tmp_path / "bundle")):
        outcome = deepreg(*words)
        assert outcome.code == 2
        assert outcome.err.count("\n") == 1
        assert outcome.err.startswith("error: ")


def test_without_safetensors_the_extra_is_named(
    deepreg: Deepreg, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "find_spec", lambda name: None)
    outcome = deepreg("train", config, "-o", tmp_path / "run")
    assert outcome.code == 2
    assert "slicer-deepreg[train]" in outcome.err


def test_what_is_trained_is_a_configuration_or_a_model_with_scans(deepreg: Deepreg, tmp_path: Path) -> None:
    for given in ((), ("anatomy", "--from", "anatomy"), ("--from", "anatomy"), ("--unlabelled", tmp_path)):
        refused = deepreg("train", *given, "-o", tmp_path / "run")
        assert refused.code == 2, given
        assert "--unlabelled FOLDER" in refused.err.replace("\n", " ")
