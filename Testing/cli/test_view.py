"""`deepreg view`, and `deepreg register --viewer`."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import pytest

from DeepRegLib.viewer import niivue, page
from Testing.cli.conftest import Deepreg, Files


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    addresses: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: addresses.append(address) is None)
    return addresses


def test_a_viewer_is_made_of_a_result_and_its_scans_and_opened(
    deepreg: Deepreg, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: list[str]
) -> None:
    monkeypatch.setattr(page, "niivue_script", lambda: "AAAA")
    monkeypatch.setattr(niivue, "niivue_script", lambda: "AAAA")
    out = tmp_path / "out"
    asked = ("register", files.fixed, files.moving, "-o", out, "--recipe", files.recipe)
    assert deepreg(*asked).code == 0
    outcome = deepreg("view", out)
    assert (outcome.code, opened) == (2, [])
    assert "There is no viewer in" in outcome.err
    outcome = deepreg("view", out, files.moving, files.fixed)
    assert outcome.code == 2
    assert "is not the fixed scan of this result" in outcome.err
    assert deepreg("view", out, files.fixed, files.moving).code == 0
    assert opened == [(out / "viewer.html").as_uri()]
    assert "Expected error" in (out / "viewer.html").read_text(encoding="utf-8")
    assert deepreg(*asked, "--overwrite", "--viewer").code == 0
    assert (out / "viewer.html").is_file()
    assert deepreg("view", out).code == 0
    assert len(opened) == 2


def test_a_viewer_that_cannot_be_written_is_told_before_anything_is_computed(
    deepreg: Deepreg, files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(niivue, "_script_path", lambda: None)
    niivue.niivue_script.cache_clear()
    outcome = deepreg("register", files.fixed, files.moving, "-o", tmp_path / "out", "--viewer")
    niivue.niivue_script.cache_clear()
    assert outcome.code == 2
    assert "ipyniivue" in outcome.err
    assert not (tmp_path / "out").exists()
