"""`deepreg register --engine`: a worker process computes, and everything else stays as it is without one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from DeepRegLib.engine.transport import WORKER
from DeepRegLib.transforms import parts_of, read_transform
from Testing.cli.conftest import Deepreg, Files
from Testing.cli.test_register import ALWAYS, ROOT, names

VARYING = ("timings", "files")


def register(files: Files, output: Path, *more: object) -> tuple[object, ...]:
    return (
        *("register", files.fixed, files.moving, "-o", output, "--recipe", files.recipe, "--device", "cpu"),
        *("--moving-labels", files.moving_labels, "--fixed-labels", files.fixed_labels, *more),
    )


@pytest.mark.usefixtures("no_report")
def test_the_files_are_those_of_a_run_without_an_engine(deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    plain = deepreg(*register(files, tmp_path / "plain"))
    engines = {"local": "local", "elsewhere": f'"{sys.executable}" "{WORKER}"'}
    for place, engine in engines.items():
        outcome = deepreg(*register(files, tmp_path / place, "--engine", engine))
        assert outcome.code == plain.code, outcome.err
        assert_same_files(tmp_path / place, tmp_path / "plain")
        for stage in ("starting the engine", "preparing", "deformable", "measuring", "carrying labels", "writing"):
            assert stage in outcome.err


def assert_same_files(engine: Path, plain: Path) -> None:
    assert names(engine) == names(plain) == sorted(ALWAYS | {"warped_labels.nii.gz"})
    for name in ("warped.nii.gz", "warped_labels.nii.gz"):
        assert (engine / name).read_bytes() == (plain / name).read_bytes()
    for name in ("transform.h5", "inverse.h5"):
        one, other = (read_transform(run / name) for run in (engine, plain))
        for part, twin in zip(parts_of(one), parts_of(other), strict=True):
            numbers = "matrix" if hasattr(part, "matrix") else "array"
            assert getattr(part, numbers).tobytes() == getattr(twin, numbers).tobytes()
    tables = [json.loads((run / "result.json").read_text(encoding="utf-8")) for run in (engine, plain)]
    for table in tables:
        for key in VARYING:
            del table[key]
    assert tables[0] == tables[1]


@pytest.mark.parametrize(
    ("engine", "code", "words"),
    [
        ("/nowhere/python worker.py", 1, "The engine cannot be started: /nowhere/python"),
        (f"{sys.executable} -c 'print(1)'", 1, "is no message"),
        (f"{sys.executable} -c 'raise SystemExit(127)'", 1, "no such Python"),
        ("ssh 'host", 2, "cannot be read"),
        (" ", 2, "is empty"),
    ],
)
def test_an_engine_that_cannot_be_used_is_one_line_and_leaves_nothing(
    deepreg: Deepreg, files: Files, tmp_path: Path, engine: str, code: int, words: str
) -> None:
    outcome = deepreg(*register(files, tmp_path / "out", "--engine", engine, "--json"))
    assert outcome.code == code
    assert outcome.err.startswith("error: ")
    assert words in outcome.err
    assert outcome.err.count("\n") == 1
    assert names(tmp_path) == []


@pytest.mark.skipif(os.name == "nt", reason="the words of the command are a POSIX shell's")
def test_with_an_engine_elsewhere_no_torch_is_needed_here(files: Files, tmp_path: Path) -> None:
    script = "import sys; sys.modules['torch'] = None; from DeepRegLib.cli import main; sys.exit(main(sys.argv[1:]))"
    engine = f"env PYTHONPATH={ROOT} {sys.executable} -m DeepRegLib.engine.worker"
    words = map(str, register(files, tmp_path / "out", "--engine", engine))
    finished = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode in (0, 1), finished.stderr
    assert {"transform.h5", "warped.nii.gz", "warped_labels.nii.gz", "result.json"} <= set(names(tmp_path / "out"))


def test_the_engine_is_told_what_it_may_say(deepreg: Deepreg, files: Files, tmp_path: Path) -> None:
    noisy = f"{sys.executable} -c 'import sys; sys.exit(\"It is Monday.\")'"
    quiet = deepreg(*register(files, tmp_path / "out", "--engine", noisy))
    assert "Its last words: It is Monday." in quiet.err
    verbose = deepreg(*register(files, tmp_path / "out", "--engine", noisy, "--verbose"))
    assert "\nIt is Monday.\n" in verbose.err
