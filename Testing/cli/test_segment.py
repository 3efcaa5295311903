"""`deepreg segment`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from DeepRegLib import pipeline
from Testing.cli.conftest import Deepreg, Files
from Testing.segmentation.atlases import write_atlases
from Testing.small import small_registration


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
