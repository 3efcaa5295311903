"""`deepreg models`, and what `deepreg register` says of a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.image import read_image
from DeepRegLib.models import known_models
from Testing.cli.conftest import Deepreg, Files
from Testing.models.tiny import own_folder, tiny_bundle, tiny_networks

__all__ = ["own_folder", "tiny_networks"]
pytestmark = pytest.mark.usefixtures("own_folder", "tiny_networks")

COMMANDS = ("list", "info", "check", "add", "import-lapirn", "import-unigradicon", "remove")


def test_without_models_the_list_says_where_they_would_be(deepreg: Deepreg, own_folder: Path) -> None:
    outcome = deepreg("models", "list")
    assert outcome.code == 0
    assert outcome.out.startswith("There are no models here.")
    assert str(own_folder) in outcome.out
    assert json.loads(deepreg("models", "list", "--json").out) == {"models": [], "user_folder": str(own_folder)}


def test_a_model_is_added_listed_shown_checked_and_removed(deepreg: Deepreg, tmp_path: Path, own_folder: Path) -> None:
    source = tiny_bundle(tmp_path / "download", name="brain").folder
    added = deepreg("models", "add", source)
    assert added.code == 0, added.err
    assert added.out == "Added brain 1.2; use it with --model brain.\n"
    assert [model.name for model in known_models()] == ["brain"]
    listed = " ".join(deepreg("models", "list").out.split())
    assert listed.startswith("brain 1.2 registration user Tests.")
    shown = deepreg("models", "info", "brain").out
    for text in ("intended_use     Tests.", "licence          CC0", "parameters       3", str(own_folder / "brain")):
        assert text in shown
    table = json.loads(deepreg("models", "info", "brain", "--json").out)
    assert table["input"] == {"spacing": 3.0, "intensity": "percentile"}
    for name in ("brain", source):
        assert deepreg("models", "check", name).out == "brain 1.2 is whole and can be used here.\n"
    assert json.loads(deepreg("models", "check", "brain", "--json").out)["ok"]
    removed = deepreg("models", "remove", "brain")
    assert removed.out == f"Removed brain from {own_folder}.\n"
    assert known_models() == []


def test_json_is_given_by_add_and_remove(deepreg: Deepreg, tmp_path: Path, own_folder: Path) -> None:
    source = tiny_bundle(tmp_path / "download", name="brain").folder
    expected = {"name": "brain", "folder": str(own_folder / "brain")}
    assert json.loads(deepreg("models", "add", source, "--json").out) == expected
    assert [model["name"] for model in json.loads(deepreg("models", "list", "--json").out)["models"]] == ["brain"]
    assert json.loads(deepreg("models", "remove", "brain", "--json").out) == expected


def test_a_model_cannot_command_the_terminal(deepreg: Deepreg, own_folder: Path) -> None:
    evil = "\x1b[2J\x1b]0;owned\x07\u202egood[bold]"
    tiny_bundle(own_folder / "evil", name="evil", intended_use=evil, version=evil, licence=evil)
    (own_folder / "half\x1b[31m").mkdir()
    for arguments in (("list",), ("info", "evil"), ("check", "evil"), ("check", evil)):
        outcome = deepreg("models", *arguments)
        assert not {"\x1b", "\x07", "\u202e"} & set(outcome.out + outcome.err), arguments
    assert "good[bold]" in deepreg("models", "info", "evil").out


def test_a_damaged_model_is_listed_with_what_is_wrong(deepreg: Deepreg, own_folder: Path) -> None:
    tiny_bundle(own_folder / "cut", name="cut").weights.unlink()
    tiny_bundle(own_folder / "good", name="good")
    assert "There is no weights.safetensors" in " ".join(deepreg("models", "list").out.split())
    entries = {model["name"]: model for model in json.loads(deepreg("models", "list", "--json").out)["models"]}
    assert entries["good"]["problem"] == ""
    assert "weights.safetensors" in entries["cut"]["problem"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("info", "nonsense"), "There is no model named 'nonsense', nor such a folder."),
        (("check", "nonsense"), "There is no model named 'nonsense', nor such a folder."),
        (("check", "{damaged}"), "SHA-256 differs"),
        (("add", "{damaged}"), "SHA-256 differs"),
        (("add", "{unknown}"), "The architecture 'transformer' is unknown."),
        (("add", "{folder}"), "holds no model.json."),
        (("remove", "nonsense"), "There is no model named 'nonsense' in"),
        (("nonsense",), "No such command 'nonsense'. See deepreg models --help."),
        ((), "Missing command. See deepreg models --help."),
        (("info",), "Missing argument 'NAME'. See deepreg models info --help."),
    ],
)
def test_an_error_is_one_line(deepreg: Deepreg, tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    damaged, unknown = (tiny_bundle(tmp_path / name) for name in ("damaged", "unknown"))
    damaged.weights.write_bytes(b"x")
    path = unknown.folder / "model.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"shift"', '"transformer"', 1), encoding="utf-8")
    places = {"damaged": damaged.folder, "unknown": unknown.folder, "folder": tmp_path}
    outcome = deepreg("models", *(word.format(**places) for word in words))
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert told in outcome.err
    assert outcome.err.count("\n") == 1
    assert outcome.out == ""
    assert known_models() == []


def test_help_names_every_command(deepreg: Deepreg) -> None:
    outcome = deepreg("models", "-h")
    assert outcome.code == 0
    for command in COMMANDS:
        assert command in outcome.out
        assert deepreg("models", command, "--help").code == 0
    assert "--model" in deepreg("register", "--help").out


@pytest.mark.usefixtures("no_report")
def test_a_registration_asks_a_model_and_writes_its_maps(deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    folder = tiny_bundle(tmp_path / "clinic" / "tiny", (0, 0, 0.5)).folder
    out = tmp_path / "out"
    words = ("register", files.fixed, files.moving, "-o", out, "--recipe", files.recipe, "--device", "cpu")
    outcome = deepreg(*words, "--model", folder, "--uncertainty", "--explain")
    assert outcome.code in (0, 1), outcome.err
    assert "asking the model" in outcome.err
    assert "uncertainty.nii.gz" in outcome.out
    written = (out / "result.json").read_text(encoding="utf-8")
    table = json.loads(written)
    assert table["files"]["uncertainty"] == "uncertainty.nii.gz"
    wanted = {
        "name": "tiny",
        "passes": 2,
        "consistent": True,
        "if_needed": False,
        "uncertainty": True,
        "explanation": True,
    }
    assert table["recipe"]["model"] == wanted
    assert table["provenance"]["model"]["version"] == "1.2"
    assert "clinic" not in written
    uncertainty = read_image(out / "uncertainty.nii.gz")
    fixed = read_image(files.fixed)
    assert uncertainty.geometry.is_close(fixed.geometry)
    np.testing.assert_allclose(uncertainty.array, np.std([3.0] * 6 + [-3.0], ddof=1), rtol=1e-4)
    assert not read_image(out / "explanation.nii.gz").array.any(), "this network looks at nothing"
    assert table["explanation_agreement"] is None
    plain = deepreg(*words, "--overwrite")
    assert plain.code == outcome.code
    for name in ("uncertainty", "explanation"):
        assert not (out / f"{name}.nii.gz").exists(), "nothing is left of the result before"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--model", "nonsense"), "There is no model named 'nonsense'"),
        (("--recipe", "fast", "--uncertainty"), "The uncertainty of a model was asked for, but no model is named."),
        (("--model", "nonsense", "--recipe", "rigid"), "model.name is 'nonsense'"),
    ],
)
def test_a_model_that_cannot_be_asked_is_told_at_once(
    deepreg: Deepreg, files: Files, tmp_path: Path, words: tuple[str, ...], told: str
) -> None:
    outcome = deepreg("register", files.fixed, files.moving, "-o", tmp_path / "out", "--json", *words)
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert told in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
