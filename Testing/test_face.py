"""The face of the library: every promised name is there, and importing it costs nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import DeepRegLib

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("name", DeepRegLib.__all__)
def test_every_name_is_there_and_is_what_its_home_calls_it(name: str) -> None:
    value = getattr(DeepRegLib, name)
    assert name in dir(DeepRegLib)
    assert getattr(DeepRegLib, name) is value
    if name not in ("Transform", "__version__"):
        assert value.__name__ == name
        assert value.__doc__


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'registre'"):
        DeepRegLib.registre  # noqa: B018  # the access is the test
    with pytest.raises(ImportError, match="registre"):
        exec("from DeepRegLib import registre")


def loaded_after(statement: str) -> set[str]:
    finished = subprocess.run(
        [sys.executable, "-c", f"import sys; {statement}; print(*(m.split('.')[0] for m in sys.modules))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return set(finished.stdout.split())


def test_importing_the_package_loads_nothing_but_python() -> None:
    assert not loaded_after("import DeepRegLib; dir(DeepRegLib)") & {"torch", "numpy", "SimpleITK", "typer", "rich"}


def test_reading_images_and_transforms_needs_no_torch() -> None:
    names = "read_image, write_image, read_transform, write_transform, compose, load_recipe, Registration, Geometry"
    assert "torch" not in loaded_after(f"from DeepRegLib import {names}")


def test_the_command_line_starts_without_the_heavy_packages() -> None:
    loaded = loaded_after("from DeepRegLib.cli import main; main(['recipes']); import DeepRegLib.cli.app")
    assert not loaded & {"torch", "numpy", "SimpleITK", "PIL", "matplotlib"}
