"""The script that makes `.venv` usable: what it decides, and what it says when it cannot."""

from __future__ import annotations

import ast
import errno
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from Testing import environment as env
from Testing import pythons, remedies

ROOT = Path("/checkout")
STAMP = {"root": str(ROOT), "python": "3.11.7", "key": "key", "extras": ["demo"]}


def decide(stamp: dict | None = STAMP, **changes) -> str:
    given = {"root": ROOT, "key": "key", "version": "3.11.7", "missing": False, "extra": "demo"}
    return env.decide(stamp, **(given | changes))


def test_a_fitting_stamp_means_ready() -> None:
    assert decide() == "ready"


@pytest.mark.parametrize(
    ("stamp", "changes"),
    [
        (None, {}),  # nothing there, or an installation that did not finish
        ({}, {}),  # a stamp of something else
        (STAMP, {"version": None}),  # its Python does not run
        (STAMP, {"version": "3.12.1"}),  # its Python was replaced
        (STAMP, {"root": Path("/elsewhere")}),  # the checkout was moved
        (STAMP, {"missing": True}),  # packages were deleted
    ],
)
def test_what_cannot_be_trusted_is_built_anew(stamp: dict | None, changes: dict) -> None:
    assert decide(stamp, **changes) == "build"


def test_changed_requirements_are_installed_into_it() -> None:
    assert decide(key="other") == "install"


def test_an_extra_is_added_and_contained_ones_are_not() -> None:
    assert decide(extra="test") == "install"
    assert decide({**STAMP, "extras": ["test"]}, extra="demo") == "ready"
    assert decide({**STAMP, "extras": ["test"]}, extra="benchmark") == "install"


PYPROJECT = '[build-system]\nrequires = []\n[project]\ndependencies = ["numpy"]\n[tool.ruff]\nline-length = 120\n'


def test_the_fingerprint_follows_requirements_only() -> None:
    first = env.fingerprint(PYPROJECT, "numpy==2.0")
    assert env.fingerprint(PYPROJECT.replace("120", "100"), "numpy==2.0") == first
    assert env.fingerprint(PYPROJECT.replace("numpy", "torch"), "numpy==2.0") != first
    assert env.fingerprint(PYPROJECT, "numpy==2.1") != first
    assert env.fingerprint(PYPROJECT + "[tool.setuptools.package-data]\n", "numpy==2.0") != first


def test_line_endings_do_not_change_the_fingerprint() -> None:
    unix = env.fingerprint(PYPROJECT, "a\nb\n")
    assert env.fingerprint(PYPROJECT.replace("\n", "\r\n"), "a\r\nb\r\n") == unix


def test_a_stamp_is_read_back_and_rubbish_is_none(tmp_path: Path) -> None:
    assert env.read_stamp(tmp_path) is None
    env.write_stamp(tmp_path, STAMP)
    assert env.read_stamp(tmp_path) == STAMP
    assert [path.name for path in tmp_path.iterdir()] == [env.STAMP]
    for rubbish in ("", "{", "[]"):
        (tmp_path / env.STAMP).write_text(rubbish)
        assert env.read_stamp(tmp_path) is None


@pytest.mark.parametrize(
    ("line", "remedy"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("WARNING: ... NewConnectionError(... [Errno -3] Temporary failure in name resolution)", "cannot be reached"),
        ("SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] ...", "certificate"),
        ("ERROR: No matching distribution found for torch==2.13.0", "no build for this system"),
        ("ERROR: ResolutionImpossible: for help visit", "contradict"),
        ("ERROR: something new", "something new"),
    ],
)
def test_a_failed_installation_is_one_sentence(line: str, remedy: str) -> None:
    said = remedies.diagnose(["Collecting torch", line, "ERROR: No matching distribution found for torch"][:2])
    assert remedy in said
    assert "\n" not in said


def test_no_network_is_not_mistaken_for_a_missing_package() -> None:
    output = ["WARNING: ... Network is unreachable", "ERROR: No matching distribution found for setuptools>=77"]
    assert "cannot be reached" in remedies.diagnose(output)
    output = ["ERROR: Could not find a version that satisfies the requirement setuptools>=77 (from versions: none)"]
    assert "cannot be reached" in remedies.diagnose(
        [*output, "ERROR: No matching distribution found for setuptools>=77"]
    )


def test_no_output_has_a_sentence_too() -> None:
    assert "no reason given" in remedies.diagnose([])


@pytest.mark.parametrize(("number", "said"), [(errno.ENOSPC, "disk is full"), (errno.EACCES, "permissions")])
def test_a_system_error_is_one_sentence(number: int, said: str) -> None:
    assert said in remedies.explain(OSError(number, "text", "file"), ROOT)


def python(*version: int, complete: bool = True, usual: bool = True) -> pythons.Python:
    return pythons.Python("python", version, complete, usual)


def test_the_first_python_that_suits_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [None, python(3, 9, 2), python(3, 12, 1, complete=False), python(3, 11, 7), python(3, 10, 1)]
    monkeypatch.setattr(pythons, "candidates", lambda: iter([[str(index)] for index in range(len(found))]))
    monkeypatch.setattr(pythons, "probe", lambda command: found[int(command[0])])
    assert pythons.choose(None) == found[3]


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "none that runs"),
        ([python(3, 9, 2), python(3, 14, 0)], "found only 3.14.0, 3.9.2"),
        ([python(3, 12, 1, usual=False)], "64-bit"),
        ([python(3, 12, 1, complete=False)], "apt install python3.12-venv"),
    ],
)
def test_without_a_suitable_python_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, found: list[pythons.Python], said: str
) -> None:
    monkeypatch.setattr(pythons, "candidates", lambda: iter([[str(index)] for index in range(len(found))]))
    monkeypatch.setattr(pythons, "probe", lambda command: found[int(command[0])])
    with pytest.raises(remedies.SetupError, match=said):
        pythons.choose(None)


def test_a_program_that_is_no_python_is_not_one(tmp_path: Path) -> None:
    assert pythons.probe([str(tmp_path / "python3")]) is None
    assert pythons.probe([sys.executable, "-c", "raise SystemExit(127)"]) is None  # as a pyenv shim without a Python
    assert pythons.probe([sys.executable, "-c", "print('Python')"]) is None
    with pytest.raises(remedies.SetupError, match="does not run"):
        pythons.choose(str(tmp_path / "python3"))


def test_the_running_python_is_recognised() -> None:
    found = pythons.probe([sys.executable])
    assert found is not None
    assert found.version == sys.version_info[:3]
    assert found.supported


def test_the_script_runs_by_its_path_with_nothing_installed(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", str(env.ROOT / "Testing" / "environment.py"), "--help"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert "Prepare .venv" in finished.stdout, finished.stderr


@pytest.mark.parametrize("module", [env, pythons, remedies])
def test_an_old_python_reads_the_script(module: ModuleType) -> None:
    ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"), feature_version=(3, 7))


def test_arguments_after_two_dashes_are_the_tasks() -> None:
    assert env.split(["test", "--", "-k", "x", "--", "y"]) == (["test"], ["-k", "x", "--", "y"])
    assert env.split(["test"]) == (["test"], [])


def test_the_lock_keeps_a_second_process_out(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from Testing import environment as env\n"
        "with Path(sys.argv[1]).open('a+') as file: print(env.try_lock(file.fileno()))"
    )

    def other() -> str:
        command = [sys.executable, "-c", program, str(tmp_path / "lock")]
        return subprocess.run(command, cwd=env.ROOT, capture_output=True, text=True, check=True).stdout.strip()

    with env.locked(tmp_path / "lock"):
        assert other() == "False"
    assert other() == "True"


@pytest.mark.parametrize(("code", "expected"), [(0, 0), (7, 7)])
def test_the_exit_code_is_the_tasks(code: int, expected: int) -> None:
    assert env.run(Path(sys.executable), ["-c", f"raise SystemExit({code})"]) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals that end a process")
def test_a_signal_becomes_a_shells_exit_code() -> None:
    assert env.run(Path(sys.executable), ["-c", "import os; os.kill(os.getpid(), 9)"]) == 137


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals to pass on")
def test_a_request_to_end_reaches_the_task() -> None:
    program = (
        "import sys; from pathlib import Path; from Testing import environment as env\n"
        'task = "import os, signal, time; os.kill(os.getppid(), signal.SIGTERM); time.sleep(60)"\n'
        "sys.exit(env.run(Path(sys.executable), ['-c', task]))"
    )
    finished = subprocess.run([sys.executable, "-c", program], cwd=env.ROOT, timeout=30, check=False)
    assert finished.returncode == 143


def test_clean_removes_outputs_and_keeps_sources(tmp_path: Path) -> None:
    for name in (".venv", "demo", ".ruff_cache", "Testing", "DeepRegLib"):
        (tmp_path / name / "__pycache__").mkdir(parents=True)
    env.clean(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["DeepRegLib", "Testing"]
    assert not list(tmp_path.rglob("__pycache__"))


def test_no_pinned_version_contradicts_a_lower_bound() -> None:
    pyproject = (env.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    constraints = (env.ROOT / "constraints.txt").read_text(encoding="utf-8")
    pinned = [line.split("==")[0] for line in constraints.splitlines() if "==" in line.split("#")[0]]
    for name in ("torch", "numpy", "simpleitk", "pillow", "jinja2", "typer", "rich", "pytest", "ruff", "mypy"):
        assert name in pinned
        assert name in pyproject.lower()
