"""Running `deepreg` inside this process, and the files it is run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

pytest.importorskip("typer")
pytest.importorskip("rich")

import SimpleITK as sitk

from DeepRegLib.cli import main
from DeepRegLib.recipes import recipe_to_toml
from Testing.small import small_recipe, small_registration, write_small_pair


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


class Files(NamedTuple):
    folder: Path
    fixed: Path
    moving: Path
    fixed_labels: Path
    moving_labels: Path
    recipe: Path


Deepreg = Callable[..., Outcome]


@pytest.fixture
def deepreg(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Deepreg]:
    """Run `deepreg` with words as from a shell; what C++ writes to the terminal is caught too."""
    monkeypatch.setenv("COLUMNS", "100")
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()

    def run(*words: object) -> Outcome:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return Outcome(code, *capfd.readouterr())

    yield run
    sitk.ProcessObject.SetGlobalWarningDisplay(shown)


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """Write the small pair, its labels and the small recipe; tests write elsewhere."""
    folder = tmp_path_factory.mktemp("inputs")
    images = write_small_pair(folder)
    recipe = folder / "small.toml"
    recipe.write_text(recipe_to_toml(small_recipe()), encoding="utf-8")
    return Files(folder, *images, recipe)


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the small registration and return its folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("DeepRegLib.report.write_report", lambda registration, path: path.write_text("report"))
        return small_registration().save(tmp_path_factory.mktemp("saved") / "out")


@pytest.fixture
def no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the pictures, which take seconds."""
    monkeypatch.setattr("DeepRegLib.report.write_report", lambda registration, path: path.write_text("report"))


@pytest.fixture
def no_run(monkeypatch: pytest.MonkeyPatch, no_report: None) -> None:
    """Answer every registration with the small one."""
    result = small_registration()
    monkeypatch.setattr("DeepRegLib.pipeline.run_request", lambda *_request, **_settings: result)
