"""Where models are found, and what may be added and removed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from DeepRegLib.errors import ModelError, OutputError
from DeepRegLib.models import (
    add_model,
    check_bundle,
    find_model,
    known_models,
    load_bundle,
    look_up,
    registry,
    remove_model,
    user_folder,
)
from Testing.models.tiny import build, own_folder, tiny_bundle

__all__ = ["own_folder"]
ROOT = Path(__file__).resolve().parents[2]


def shipped(tmp_path: Path, name: str, **changes: object) -> Path:
    return tiny_bundle(tmp_path / "shipped" / name, name=name, **changes).folder


def test_nothing_is_known_where_there_is_no_folder(own_folder: Path) -> None:
    assert known_models() == []
    assert not own_folder.exists(), "looking creates nothing"


def test_shipped_models_come_first_and_each_place_is_sorted(own_folder: Path, tmp_path: Path) -> None:
    for name in ("z", "b"):
        shipped(tmp_path, name)
    for name in ("c", "a"):
        tiny_bundle(own_folder / name, name=name)
    assert [(model.name, model.place, model.problem) for model in known_models()] == [
        ("b", "shipped", ""),
        ("z", "shipped", ""),
        ("a", "user", ""),
        ("c", "user", ""),
    ]


@pytest.mark.parametrize(
    "manifest",
    [
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b'{"format": 1' + b"0" * 5000 + b"}",
        b"x" * 2_000_000,
        b'{"format": 1, "minimum_library": "' + b"9" * 5000 + b'"}',
    ],
)
def test_one_bad_folder_among_them_is_told_and_the_others_are_there(own_folder: Path, manifest: bytes) -> None:
    tiny_bundle(own_folder / "good", name="good")
    (own_folder / "bad").mkdir()
    (own_folder / "bad" / "model.json").write_bytes(manifest)
    bad, good = known_models()
    assert (bad.name, good.name, good.problem) == ("bad", "good", "")
    assert bad.problem
    assert len(bad.problem) < 700
    assert "\n" not in bad.problem
    assert find_model("good") == own_folder / "good"


def test_a_folder_whose_files_cannot_be_looked_at_is_told(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        tiny_bundle(own_folder / name, name=name)
    is_file = Path.is_file

    def refused(path: Path) -> bool:
        if path.parent.name == "a":
            raise PermissionError(13, "Permission denied")
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", refused)
    bad, good = known_models()
    assert "Permission denied" in bad.problem
    assert good.problem == ""


def test_a_library_version_of_too_many_digits_is_refused(own_folder: Path) -> None:
    tiny_bundle(own_folder / "a", name="a")
    path = own_folder / "a" / "model.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"minimum_library": "9" * 5000}))
    (model,) = known_models()
    assert "minimum_library" in model.problem


def test_a_model_is_found_by_name_by_folder_and_by_its_manifest(own_folder: Path, tmp_path: Path) -> None:
    folder = shipped(tmp_path, "brain")
    elsewhere = tiny_bundle(tmp_path / "elsewhere").folder
    assert find_model("brain") == folder
    assert find_model(elsewhere) == elsewhere
    assert find_model(str(elsewhere / "model.json")) == elsewhere


def test_an_unknown_name_lists_the_known_ones(own_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no model named 'brian'.*Give the folder"):
        find_model("brian")
    shipped(tmp_path, "brain")
    with pytest.raises(ModelError, match=r"no model named 'brian'.*one of brain, or the folder"):
        find_model("brian")
    with pytest.raises(ModelError, match="no model named ''"):
        find_model("")


def test_a_name_too_long_for_a_path_is_an_unknown_one_told_in_a_line(own_folder: Path) -> None:
    with pytest.raises(ModelError, match=r"no model named 'aaa.* \.\.\.'") as caught:
        find_model("a" * 5000)
    assert len(caught.value.message) < 1000


def test_a_damaged_model_does_not_hide_the_others_and_says_what_is_wrong(own_folder: Path, tmp_path: Path) -> None:
    shipped(tmp_path, "brain")
    tiny_bundle(own_folder / "brain", name="brain")
    tiny_bundle(own_folder / "good", name="good")
    (own_folder / "empty").mkdir()
    (own_folder / "text.txt").write_text("no model")
    (own_folder / ".half.partial-1234").mkdir()
    tiny_bundle(own_folder / "renamed", name="other")
    tiny_bundle(own_folder / "cut", name="cut").weights.unlink()
    problems = {model.name: model.problem for model in known_models() if model.place == "user"}
    assert list(problems) == ["brain", "cut", "empty", "good", "renamed"]
    assert "same name and is used instead" in problems["brain"]
    assert "no weights.safetensors" in problems["cut"]
    assert "holds no model.json" in problems["empty"]
    assert problems["good"] == ""
    assert "rename the folder" in problems["renamed"]
    assert find_model("brain") == tmp_path / "shipped" / "brain"
    with pytest.raises(ModelError, match=r"cut cannot be used. There is no weights"):
        find_model("cut")


def test_adding_copies_a_bundle_and_removing_takes_it_away(own_folder: Path, tmp_path: Path) -> None:
    source = tiny_bundle(tmp_path / "download", name="brain").folder
    (source / "notes.txt").write_text("not a part of it")
    added = add_model(source, build=build)
    assert added.folder == own_folder / "brain"
    assert added.problem == ""
    assert sorted(path.name for path in added.folder.iterdir()) == ["model.json", "weights.safetensors"]
    assert load_bundle(added.folder).manifest == load_bundle(source).manifest
    assert find_model("brain") == added.folder
    assert remove_model("brain") == added.folder
    assert list(own_folder.iterdir()) == []
    assert source.is_dir()


def test_only_what_is_whole_and_new_is_added(own_folder: Path, tmp_path: Path) -> None:
    shipped(tmp_path, "brain")
    with pytest.raises(ModelError, match=r"holds no model\.json"):
        add_model(tmp_path, build=build)
    bundle = tiny_bundle(tmp_path / "download", name="brain")
    with pytest.raises(ModelError, match=r"shipped model named brain already"):
        add_model(bundle.folder, build=build)
    other = tiny_bundle(tmp_path / "other", name="liver")
    with pytest.raises(ModelError, match="cannot be built"):
        add_model(other.folder, build=lambda architecture, arguments: build("unknown", arguments))
    add_model(other.folder / "model.json", build=build)
    with pytest.raises(ModelError, match=r"user model named liver already. Remove it first"):
        add_model(other.folder, build=build)
    other.weights.write_bytes(b"cut")
    with pytest.raises(ModelError, match="SHA-256"):
        add_model(other.folder, build=build)
    assert [path.name for path in own_folder.iterdir()] == ["liver"]


def test_a_model_is_added_without_torch_and_only_its_network_is_not_looked_at(tmp_path: Path, own_folder: Path) -> None:
    folder = tiny_bundle(tmp_path / "download").folder
    script = """
import sys
sys.modules["torch"] = None
from DeepRegLib.models import add_model
print(add_model(sys.argv[1], network=False).name)
"""
    finished = subprocess.run(
        [sys.executable, "-c", script, str(folder)], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.stdout == "tiny\n", finished.stderr
    assert load_bundle(own_folder / "tiny").manifest.name == "tiny"
    damaged = tiny_bundle(tmp_path / "damaged", name="other")
    damaged.weights.write_bytes(b"cut")
    with pytest.raises(ModelError, match="SHA-256"):
        add_model(damaged.folder, network=False)


def test_what_is_known_of_a_model_is_told_be_it_usable_or_not(tmp_path: Path, own_folder: Path) -> None:
    folder = shipped(tmp_path, "brain")
    size = sum(path.stat().st_size for path in folder.iterdir())
    brain = look_up("brain")
    assert (brain.folder, brain.place, brain.problem) == (folder, "shipped", "")
    assert brain.megabytes == pytest.approx(size / 1e6)
    elsewhere = look_up(tiny_bundle(tmp_path / "elsewhere").folder)
    assert (elsewhere.name, elsewhere.place, elsewhere.problem) == ("tiny", "elsewhere", "")
    gone = look_up("gone")
    assert (gone.manifest, gone.megabytes) == (None, 0)
    assert "no model named 'gone'" in gone.problem
    (folder / "weights.safetensors").unlink()
    assert "There is no weights.safetensors" in look_up("brain").problem


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, own_folder: Path) -> None:
    own_folder.write_text("a file in the way")
    with pytest.raises(OutputError, match=r"own models"):
        add_model(tiny_bundle(tmp_path / "download").folder, build=build)


def test_what_is_shipped_or_elsewhere_is_not_removed(own_folder: Path, tmp_path: Path) -> None:
    folder = shipped(tmp_path, "brain")
    elsewhere = tiny_bundle(tmp_path / "elsewhere").folder
    with pytest.raises(ModelError, match="part of DeepReg"):
        remove_model("brain")
    for name in (str(elsewhere), "../elsewhere", "elsewhere", ""):
        with pytest.raises(ModelError, match="no model named"):
            remove_model(name)
    assert folder.is_dir()
    assert elsewhere.is_dir()


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows")
def test_a_linked_model_is_unlinked_and_what_it_points_to_stays(own_folder: Path, tmp_path: Path) -> None:
    elsewhere = tiny_bundle(tmp_path / "elsewhere", name="linked").folder
    own_folder.mkdir()
    (own_folder / "linked").symlink_to(elsewhere)
    assert find_model("linked") == own_folder / "linked"
    remove_model("linked")
    assert load_bundle(elsewhere).manifest.name == "linked"
    assert list(own_folder.iterdir()) == []


@pytest.mark.parametrize(
    ("platform", "variable", "expected"),
    [
        ("linux", None, ".local/share/deepreg/models"),
        ("linux", "XDG_DATA_HOME", "deepreg/models"),
        ("darwin", None, "Library/Application Support/DeepReg/models"),
        ("win32", None, "AppData/Local/DeepReg/models"),
        ("win32", "LOCALAPPDATA", "DeepReg/models"),
    ],
)
def test_the_user_s_folder_is_where_the_platform_keeps_data(
    platform: str, variable: str | None, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DEEPREG_MODELS", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", platform)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    if variable is not None:
        monkeypatch.setenv(variable, str(tmp_path / "home"))
    assert user_folder() == tmp_path / "home" / expected
    monkeypatch.setenv("DEEPREG_MODELS", str(tmp_path / "chosen"))
    assert user_folder() == tmp_path / "chosen"


def test_shipped_models_lie_inside_the_package() -> None:
    assert registry.SHIPPED_FOLDER.is_relative_to(ROOT / "DeepRegLib")


def test_every_model_that_is_shipped_is_whole_and_fits_the_library() -> None:
    shipped = [model for model in known_models() if model.place == "shipped"]
    for model in shipped:
        assert not model.problem
        check_bundle(load_bundle(model.folder))


def test_models_are_listed_without_torch_and_safetensors(own_folder: Path) -> None:
    tiny_bundle(own_folder / "tiny")
    script = (
        "import sys\nsys.modules['torch'] = sys.modules['safetensors'] = None\n"
        "from DeepRegLib.models import known_models, load_bundle\n"
        "print([load_bundle(model.folder).manifest.name for model in known_models() if model.place == 'user'])"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "['tiny']"
