"""What is in the tree arrives on the user's machine: through Slicer's CMake and through pip."""

from __future__ import annotations

import re
import sys
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import pytest

from DeepRegLib.models.bundle import WEIGHTS
from DeepRegLib.models.manifest import MANIFEST
from DeepRegLib.models.registry import SHIPPED_FOLDER
from Testing.packaging import FOLDERS, RESOURCES, ROOT, SCRIPTS, listed, present, with_lists

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

REMEDY = "run `python -m Testing.packaging`, which writes the lists anew"


def cmake(folder: str) -> str:
    return (ROOT / folder / "CMakeLists.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", FOLDERS)
def test_slicer_installs_every_file_of_the_module_and_of_the_library_once(folder: str) -> None:
    lists, files = listed(cmake(folder)), present(ROOT / folder)
    assert lists.keys() == {SCRIPTS, RESOURCES}
    for name in (SCRIPTS, RESOURCES):
        twice = [file for file, count in Counter(lists[name]).items() if count > 1]
        missing, gone = set(files[name]) - set(lists[name]), set(lists[name]) - set(files[name])
        assert not twice, f"{folder}/CMakeLists.txt has {twice} twice: {REMEDY}"
        assert not missing, f"{folder}/CMakeLists.txt lacks {sorted(missing)}: {REMEDY}"
        assert not gone, f"{folder}/CMakeLists.txt has {sorted(gone)}, which are not there: {REMEDY}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_both_lists_reach_the_macro_that_installs(folder: str) -> None:
    call = re.search(r"slicerMacroBuildScriptedModule\((.*?)\)", cmake(folder), re.DOTALL)
    assert call is not None
    assert f"SCRIPTS ${{{SCRIPTS}}}" in call[1]
    assert f"RESOURCES ${{{RESOURCES}}}" in call[1]
    assert ("WITH_SUBDIR" in call[1]) == (folder == "DeepRegLib")


def test_slicer_finds_one_module_and_no_test_or_helper_beside_it() -> None:
    top_level = [file for file in listed(cmake("DeepReg"))[SCRIPTS] if "/" not in file]
    assert top_level == ["DeepReg.py"]


def test_recipes_report_and_type_marker_are_installed() -> None:
    resources = listed(cmake("DeepRegLib"))[RESOURCES]
    assert {"py.typed", "recipes/auto.toml", "report/template.html.j2"} <= set(resources)


def test_pip_installs_the_library_s_files_too() -> None:
    left_out = [file for file in listed(cmake("DeepRegLib"))[RESOURCES] if not is_package_data(file)]
    assert not left_out, f"no pattern in pyproject.toml's package-data takes {left_out}"


def is_package_data(file: str) -> bool:
    """Tell whether pip installs a file, given relative to the library."""
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    data = tool["package-data"]
    models = SHIPPED_FOLDER.parent.relative_to(ROOT / "DeepRegLib").as_posix()
    whole = [f"{models}/{pattern}" for pattern in data["DeepRegLib.models"]]
    return any(fnmatch(Path(file).name, pattern) for pattern in data["*"]) or any(
        fnmatch(file, pattern) for pattern in whole
    )


def test_a_shipped_model_is_installed_by_slicer_and_by_pip(tmp_path: Path) -> None:
    place = SHIPPED_FOLDER.relative_to(ROOT / "DeepRegLib") / "brain"
    (tmp_path / place).mkdir(parents=True)
    files = {(place / name).as_posix() for name in (MANIFEST, WEIGHTS)}
    for file in files:
        (tmp_path / file).touch()
    assert set(present(tmp_path)[RESOURCES]) == files
    assert all(is_package_data(file) for file in files)


def test_every_folder_of_the_library_is_a_package() -> None:
    scripts = listed(cmake("DeepRegLib"))[SCRIPTS]
    folders = {Path(file).parent for file in scripts}
    assert folders == {Path(file).parent for file in scripts if Path(file).name == "__init__.py"}


def test_a_new_file_is_taken_into_the_list_and_a_removed_one_leaves_it(tmp_path: Path) -> None:
    for name in ("Module.py", "Resources/UI/Module.ui", "part/new.py", "part/__pycache__/new.pyc", "Testing/test.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".DS_Store").touch()
    text = f"# a comment\nset({SCRIPTS}\n  gone.py\n  )\n\nset({RESOURCES}\n  )\n\ncall()\n"

    rewritten = with_lists(text, present(tmp_path))

    assert listed(rewritten) == {SCRIPTS: ["Module.py", "part/new.py"], RESOURCES: ["Resources/UI/Module.ui"]}
    assert rewritten.startswith("# a comment\n")
    assert rewritten.endswith("\n\ncall()\n")
    assert with_lists(rewritten, present(tmp_path)) == rewritten
