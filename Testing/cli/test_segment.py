"""`deepreg segment`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from DeepRegLib import pipeline
from DeepRegLib.cli.session import FAILED
from DeepRegLib.image import write_image
from Testing.cli.conftest import Deepreg, Files
from Testing.segmentation.atlases import write_atlases
from Testing.segmentation.tiny_model import tiny_model
from Testing.small import small_pair, small_registration


def test_the_command_writes_what_it_says(
    deepreg: Deepreg,
    files: Files,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(pipeline, "align", lambda *_request, **_settings: small_registration())
    folder = write_atlases(tmp_path / "atlases")
    words = ("segment", files.fixed, "--atlas", folder, "-o", tmp_path / "out", "--recipe", files.recipe)
    outcome = deepreg(*words, "--device", "cpu")
    assert outcome.code == 0, outcome.err
    for text in ("Cochlea, left", "agreement", "Dice with the result", "segmentation.seg.nrrd"):
        assert text in outcome.out
    assert deepreg(*words).code == 2  # there is a result
    table = json.loads(deepreg(*words, "--device", "cpu", "--overwrite", "--fusion", "majority", "--json").out)
    assert (table["fusion"], table["verdict"]["level"] in ("ok", "check")) == ("majority", True)
    outcome = deepreg("segment", files.fixed, "--atlas", tmp_path / "none", "-o", tmp_path / "other")
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert not (tmp_path / "other").exists()


def test_a_model_in_place_of_atlases_writes_its_confidence(deepreg: Deepreg, tmp_path: Path) -> None:
    scan = tmp_path / "scan.nii.gz"
    write_image(small_pair()[0], scan)
    outcome = deepreg(
        "segment", scan, "--model", tiny_model(tmp_path / "tiny"), "--device", "cpu", "-o", tmp_path / "out"
    )
    assert outcome.code in (0, FAILED), outcome.err
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"segmentation.seg.nrrd", "confidence.nii.gz", "segments.csv", "report.html", "result.json"}
    assert "Leber 肝" in (tmp_path / "out" / "segments.csv").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))["model"]["name"] == "tiny"


def test_a_worker_finds_the_same_as_this_process(deepreg: Deepreg, tmp_path: Path) -> None:
    scan, model = tmp_path / "scan.nii.gz", tiny_model(tmp_path / "tiny")
    write_image(small_pair()[0], scan)
    for place in ("here", "local"):
        words = ("segment", scan, "--model", model, "--device", "cpu", "-o", tmp_path / place)
        outcome = deepreg(*words, *([] if place == "here" else ["--engine", place]))
        assert outcome.code in (0, FAILED), outcome.err
    for name in ("segmentation.seg.nrrd", "confidence.nii.gz", "segments.csv"):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "local" / name).read_bytes(), name


def test_a_cohort_and_an_engine_together_are_refused(deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    folder = write_atlases(tmp_path / "atlases")
    given = ("--atlas", folder, "--engine", "local", "--cohort", tmp_path / "cohort.toml")
    outcome = deepreg("segment", files.fixed, *given, "-o", tmp_path / "out")
    assert outcome.code != 0
    assert "--cohort" in outcome.err


def test_atlases_and_a_model_together_or_neither_are_refused(deepreg: Deepreg, tmp_path: Path) -> None:
    for given in ([], ["--atlas", tmp_path, "--model", "tiny"]):
        outcome = deepreg("segment", tmp_path / "scan.nii.gz", *given, "-o", tmp_path / "out")
        assert outcome.code != 0
        assert "One of --atlas and --model is needed" in outcome.err.replace("\n", " ")
