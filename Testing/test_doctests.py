"""The examples in docstrings do what they say, and stand where a user starts.

Pytest's own `--doctest-modules` would import the panel, which needs Slicer, and every helper of the tests; by hand,
`pytest --doctest-modules DeepRegLib --ignore DeepRegLib/panel` runs the same examples.
"""

from __future__ import annotations

import ast
import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "DeepRegLib"
# Every public class, method and function of these has an example.
STARTING_POINTS = ("geometry.py", "transforms", "image", "landmarks")


def files_with_examples() -> list[Path]:
    return [path for path in sorted(LIBRARY.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", files_with_examples(), ids=name_of)
def test_the_examples_of_a_module_are_true(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = import_module(name_of(path))
    runner = doctest.DocTestRunner(verbose=False)
    report: list[str] = []
    for test in doctest.DocTestFinder(exclude_empty=True).find(module):
        runner.run(test, out=report.append)
    assert runner.tries > 0
    assert not runner.failures, "".join(report)


def public_without_example(path: Path) -> list[str]:
    """Return the public functions, classes and methods of a file that show no example."""
    missing = []

    def look(body: list[ast.stmt], before: str) -> None:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
                continue
            if ">>> " not in (ast.get_docstring(node) or ""):
                missing.append(before + node.name)
            if isinstance(node, ast.ClassDef):
                look(node.body, f"{node.name}.")

    look(ast.parse(path.read_text(encoding="utf-8")).body, "")
    return missing


def starting_files() -> list[Path]:
    places = [LIBRARY / name for name in STARTING_POINTS]
    return [file for place in places for file in ([place] if place.is_file() else sorted(place.rglob("*.py")))]


@pytest.mark.parametrize("path", starting_files(), ids=name_of)
def test_where_a_user_starts_every_public_name_has_an_example(path: Path) -> None:
    assert public_without_example(path) == []
