"""`deepreg improve`: a saved result brought nearer to a few landmarks, and what does not belong to it refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DeepRegLib.engine.packing import Arrays
from DeepRegLib.engine.task import Task
from DeepRegLib.image import read_image
from DeepRegLib.landmarks import write_points
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.pipeline import register
from DeepRegLib.request import Drivers
from DeepRegLib.saved_result import read_result
from DeepRegLib.transforms import read_transform
from Testing.cli.conftest import Deepreg, Files
from Testing.small import FIXED_GRID

PLACE = FIXED_GRID.centre + np.array([[3.0, -2.0, 4.0]])
SHIFT = np.array([[0.0, 3.0, 0.0]])


@pytest.fixture(scope="module")
def registered(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Register the small pair from its files, and return the folder of the result."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("DeepRegLib.report.write_report", lambda registration, path: path.write_text("report"))
        return register(files.fixed, files.moving, files.recipe).save(tmp_path_factory.mktemp("registered") / "out")


def landmarks(registered: Path, folder: Path) -> tuple[str, Path, str, Path]:
    """Write a pair of landmarks that the result leaves some mm apart, and return the options that name it."""
    files = folder / "fixed.csv", folder / "moving.csv"
    write_points(PLACE + SHIFT, files[0])
    write_points(read_transform(registered / "transform.h5").apply_to_points(PLACE), files[1])
    return "--fixed-landmarks", files[0], "--moving-landmarks", files[1]


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Let workers be this process, to which requests are packed all the same; return the commands that start them."""
    started: list[list[str]] = []

    class Here:
        def run(self, task: Task[Any, Any], asked: Any, *, progress: Progress, cancel: Cancel) -> Any:
            arrays: Arrays = {}
            return task.run(task.unpack_request(task.pack_request(asked, arrays), arrays), progress, cancel)

        def close(self) -> None:
            pass

    def start(words: list[str], **_options: object) -> Here:
        started.append(words)
        return Here()

    monkeypatch.setattr("DeepRegLib.engine.client.subprocess_client", start)
    return started


@pytest.mark.usefixtures("no_report")
def test_landmarks_draw_a_saved_result_to_where_they_belong(
    deepreg: Deepreg, files: Files, registered: Path, tmp_path: Path, commands: list[list[str]]
) -> None:
    options, out = landmarks(registered, tmp_path), tmp_path / "better"
    before = {path.name: path.read_bytes() for path in registered.iterdir()}
    words = ("improve", registered, files.fixed, files.moving, "-o", out, *options, "--device", "cpu")
    outcome = deepreg(*words, "--name", "Pair 7", "--engine", "ssh scanner python3")
    assert outcome.code in (0, 1), outcome.err
    assert commands == [["ssh", "scanner", "python3"]]
    partner = read_transform(registered / "transform.h5").apply_to_points(PLACE)
    better = read_transform(out / "transform.h5").apply_to_points(PLACE + SHIFT)
    former = read_transform(registered / "transform.h5").apply_to_points(PLACE + SHIFT)
    assert np.linalg.norm(better - partner) < 0.5 * np.linalg.norm(former - partner)
    assert {path.name: path.read_bytes() for path in registered.iterdir()} == before
    table = json.loads((out / "result.json").read_text(encoding="utf-8"))
    assert any(decision.startswith("Corrected by hand: 1 places") for decision in table["decisions"])
    assert (table["fixed"]["name"], table["moving"]["name"]) == ("Pair 7 (fixed)", "Pair 7 (moving)")
    (made,) = read_result(out).record.corrections
    np.testing.assert_allclose(made.wanted, PLACE + SHIFT, atol=1e-6)


def test_other_scans_than_those_registered_are_refused(
    deepreg: Deepreg, files: Files, registered: Path, tmp_path: Path
) -> None:
    outcome = deepreg(
        "improve", registered, files.moving, files.fixed, "-o", tmp_path / "out", *landmarks(registered, tmp_path)
    )
    assert outcome.code == 2
    assert "is not the fixed scan of this result" in outcome.err
    assert not (tmp_path / "out").exists()


def test_landmarks_that_meet_already_are_refused(
    deepreg: Deepreg, files: Files, registered: Path, tmp_path: Path
) -> None:
    shown = read_transform(registered / "inverse.h5").apply_to_points(PLACE)
    write_points(shown, tmp_path / "fixed.csv")
    write_points(PLACE, tmp_path / "moving.csv")
    options = "--fixed-landmarks", tmp_path / "fixed.csv", "--moving-landmarks", tmp_path / "moving.csv"
    outcome = deepreg("improve", registered, files.fixed, files.moving, "-o", tmp_path / "out", *options)
    assert outcome.code == 2
    assert "All landmarks meet already" in outcome.err


def test_a_mask_that_the_result_had_is_missed(files: Files, registered: Path, tmp_path: Path) -> None:
    folder = tmp_path / "masked"
    shutil.copytree(registered, folder)
    table = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    table["provenance"]["fixed_mask_sha256"] = "0" * 64
    (folder / "result.json").write_text(json.dumps(table), encoding="utf-8")
    record = read_result(folder).record
    assert record.unlike(Drivers()) == ["The result was registered with a fixed mask, which is not given now."]
    other = Drivers(fixed_mask=read_image(files.fixed))
    assert record.unlike(other) == ["The fixed mask is not the one that the result was registered with."]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("", "There is no result in"),
        ("{", "it is no JSON"),
        ("[1]", "it holds no table"),
        ('{"files": 3}', "'files' is missing"),
    ],
)
def test_a_damaged_result_is_told_as_one_sentence(
    damage: str, words: str, deepreg: Deepreg, files: Files, registered: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    if damage:
        (folder / "result.json").write_text(damage, encoding="utf-8")
    outcome = deepreg(
        "improve", folder, files.fixed, files.moving, "-o", tmp_path / "out", *landmarks(registered, tmp_path)
    )
    assert outcome.code == 2
    assert words in outcome.err
    assert outcome.err.count("\n") <= 2


def test_a_result_names_no_file_outside_its_folder(
    deepreg: Deepreg, files: Files, registered: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "moved"
    shutil.copytree(registered, folder)
    table = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    table["files"]["transform"] = "../saved/transform.h5"
    (folder / "result.json").write_text(json.dumps(table), encoding="utf-8")
    outcome = deepreg(
        "improve", folder, files.fixed, files.moving, "-o", tmp_path / "out", *landmarks(registered, tmp_path)
    )
    assert outcome.code == 2
    assert "lists no file for its transform" in outcome.err
