"""Slicer's own CMake macros build and install the extension as a whole, and what they install runs.

`SLICER_CMAKE_DIR` names the folder `CMake` of a Slicer checkout, `CTK_CMAKE_DIR` that of a CTK checkout.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from Testing.packaging import FOLDERS, ROOT, present

MODULES = Path("lib/Slicer/qt-scripted-modules")
MACROS = {name: os.environ.get(name) for name in ("SLICER_CMAKE_DIR", "CTK_CMAKE_DIR")}
RUNS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import DeepRegLib, DeepRegLib.pipeline
from DeepRegLib.recipes import load_recipe, recipe_names
recipes = [load_recipe(name).name for name in recipe_names()]
print(json.dumps({"from": DeepRegLib.__file__, "recipes": recipes}))
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(MACROS.values()), reason="SLICER_CMAKE_DIR and CTK_CMAKE_DIR do not name the macros of Slicer and CTK"
    ),
    pytest.mark.skipif(shutil.which("cmake") is None, reason="there is no cmake"),
]


def run(*command: str | Path, folder: Path) -> str:
    finished = subprocess.run([str(part) for part in command], cwd=folder, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-3000:]
    return finished.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the extension built in `build` and installed in `install`."""
    folder = tmp_path_factory.mktemp("extension")
    macros = [f"-D{name}={Path(path).resolve()}" for name, path in MACROS.items() if path]
    slicer = [f"-DSlicer_DIR={ROOT / 'Testing' / 'slicer_build'}", f"-DPYTHON_EXECUTABLE={sys.executable}"]
    prefix = f"-DCMAKE_INSTALL_PREFIX={folder / 'install'}"
    run("cmake", "-S", ROOT, "-B", "build", *macros, *slicer, prefix, folder=folder)
    run("cmake", "--build", "build", folder=folder)
    run("cmake", "--install", "build", folder=folder)
    return folder


def expected() -> set[str]:
    """Return what has to lie in Slicer's folder of scripted modules: the module's own files, and a package beside."""
    files = {name: [file for part in present(ROOT / name).values() for file in part] for name in FOLDERS}
    return set(files["DeepReg"]) | {f"DeepRegLib/{file}" for file in files["DeepRegLib"]}


@pytest.mark.parametrize("tree", ["build", "install"])
def test_the_module_and_the_whole_library_arrive(place: Path, tree: str) -> None:
    folder = place / tree / MODULES
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    assert {path.as_posix() for path in found if path.suffix != ".pyc"} == expected()


def test_the_installed_library_runs_with_its_recipes(place: Path) -> None:
    folder = place / "install" / MODULES
    answer = json.loads(run(sys.executable, "-c", RUNS, folder, folder=place))
    assert Path(answer["from"]).is_relative_to(folder)
    assert len(answer["recipes"]) == len(list((ROOT / "DeepRegLib" / "recipes").glob("*.toml")))


def test_slicer_s_test_run_has_the_module_s_self_test(place: Path) -> None:
    tests = run("ctest", "-N", folder=place / "build")
    assert "py_DeepReg\n" in tests
    assert "py_nomainwindow_qSlicerDeepRegModuleGenericTest\n" in tests
    assert "qSlicerDeepRegLib" not in tests
