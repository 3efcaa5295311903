"""Make the virtual environment `.venv` usable, from whatever state it is in, and run a task in it.

    python Testing/environment.py demo | test | lint | docs | coverage | benchmark | create | clean [-- its arguments]

The Makefile, the continuous integration and a Windows shell without `make` all call this one script, so a fresh machine
and a developer's take the same way. It and the two modules it imports use the standard library only and keep to the
syntax of Python 3.7: whatever `python3` a machine has can run it, and it then looks for a Python it can build with.

A stamp inside `.venv`, written last, says what was installed: from which pyproject.toml and constraints.txt, with which
Python, in which folder. No stamp means that something was interrupted, and the environment is built anew. A stamp that
fits costs a fraction of a second. A lock file keeps two runs from building at once; it is dropped with its process.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Iterable, Iterator  # noqa: UP035 - Python 3.7 reads this file

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))  # a script called by its path finds what lies beside it only

from Testing.pythons import Python, choose, environment, probe, python_in  # noqa: E402 - on the path only now
from Testing.remedies import SetupError, diagnose, explain  # noqa: E402 - on the path only now

STAMP = "deepreg-environment.json"
FORMAT = "1"  # raise it when this script installs differently from the same files

# The tests run side by side, a process a core; four take what memory a small machine has. What ends first takes over.
SIDE_BY_SIDE = ["-n", "logical", "--maxprocesses", "4", "--dist", "worksteal"]

# Each task: the extra it needs, and the commands that the environment's Python runs.
TASKS = {
    "create": ("test", []),
    "demo": ("demo", [["-m", "Testing.demo"]]),
    "test": ("test", [["-m", "pytest", *SIDE_BY_SIDE]]),
    "lint": ("test", [["-m", "ruff", "check"], ["-m", "ruff", "format", "--check"], ["-m", "mypy"]]),
    "docs": ("docs", [["-m", "Testing.site"]]),
    "coverage": ("coverage", [["-m", "pytest", *SIDE_BY_SIDE, "--cov", "--cov-report=term"]]),
    "benchmark": ("benchmark", [["-m", "Testing.benchmarks"]]),
}
INCLUDES = {
    "demo": {"demo"},
    "test": {"demo", "test"},
    "docs": {"docs"},
    "coverage": {"demo", "test", "coverage"},
    "benchmark": {"demo", "benchmark"},
}
LEFTOVERS = (".peers", "benchmarks", "build", "demo", "dist", "site", "slicer_deepreg.egg-info")
CACHES = (".cache", ".hypothesis", ".mypy_cache", ".pytest_cache", ".ruff_cache")


def main(arguments: list[str] | None = None) -> int:
    """Prepare the environment, run the task in it, and return the task's exit code."""
    own, passed_on = split(sys.argv[1:] if arguments is None else arguments)
    options = parser().parse_args(own)
    try:
        if options.task == "clean":
            clean(ROOT)
            return 0
        extra, commands = TASKS[options.task]
        with on_termination(signal.default_int_handler):
            python = ensure(ROOT, extra, options.python)
        codes = [run(python, command + passed_on) for command in commands]
        return next((code for code in codes if code), 0)
    except SetupError as error:
        say("deepreg: " + str(error) + ".", sys.stderr)
    except OSError as error:
        say("deepreg: " + explain(error, ROOT) + ".", sys.stderr)
    except KeyboardInterrupt:
        say("deepreg: interrupted; the next run picks up from here.", sys.stderr)
        return 130
    return 1


def parser() -> argparse.ArgumentParser:
    """Return the description of this script's own arguments."""
    result = argparse.ArgumentParser(prog="Testing/environment.py", description="Prepare .venv and run a task in it.")
    result.add_argument("task", choices=[*TASKS, "clean"])
    result.add_argument("--python", metavar="PROGRAM", help="the Python to build with (3.10 to 3.13)")
    return result


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split the arguments at the first `--` into this script's and the task's."""
    if "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def say(text: str, stream=None) -> None:
    """Print a line at once, in order with what child processes print."""
    print(text, file=stream or sys.stdout, flush=True)


# --- the decision ---------------------------------------------------------------------------------------------------


def decide(stamp: dict | None, root: Path, key: str, version: str | None, missing: bool, extra: str) -> str:
    """Say what has to be done before a task can run.

    Parameters
    ----------
    stamp
        What the last complete installation left, None if there was none.
    root
        The folder of the checkout now.
    key
        The hash of what would be installed now.
    version
        What the environment's own Python answers, None if it does not run.
    missing
        Whether installed packages have disappeared since.
    extra
        What the task needs.

    Returns
    -------
    str
        `ready`, `install` (into the environment as it is) or `build` (from nothing).
    """
    if stamp is None or version is None or missing:
        return "build"
    if stamp.get("root") != str(root) or stamp.get("python") != version:
        return "build"
    if stamp.get("key") != key or not covers(stamp.get("extras", []), extra):
        return "install"
    return "ready"


def covers(extras: Iterable[str], wanted: str) -> bool:
    """Whether the installed extras bring everything the wanted one does."""
    present: set[str] = set().union(*(INCLUDES.get(extra, {extra}) for extra in extras))
    return INCLUDES[wanted] <= present


def fingerprint(pyproject: str, constraints: str) -> str:
    """Hash what decides about the installed packages: settings of ruff or pytest are not part of it."""
    lines, counted = [FORMAT], True
    for line in pyproject.splitlines():
        if line.startswith("["):
            counted = line.strip("[] ").split(".")[0] in ("build-system", "project") or "tool.setuptools" in line
        if counted:
            lines.append(line)
    return hashlib.sha256("\n".join([*lines, *constraints.splitlines()]).encode()).hexdigest()


# --- the environment ------------------------------------------------------------------------------------------------


def ensure(root: Path, extra: str, chosen: str | None = None) -> Path:
    """Return the Python of an environment that has the extra installed, building what is missing."""
    if not (root / "pyproject.toml").is_file():
        raise SetupError(f"there is no pyproject.toml in {root}: is the checkout complete?")
    folder = root / ".venv"
    key = fingerprint(read(root / "pyproject.toml"), read(root / "constraints.txt"))
    wanted = choose(chosen) if chosen else None
    with locked(root / ".venv.lock"):
        stamp = read_stamp(folder)
        found = probe([str(python_in(folder))])
        version = found.number if found else None
        if wanted and version and tuple(wanted.version) != tuple(found.version):
            version = None
        missing = bool(stamp) and not set(stamp.get("entries", [])) <= set(entries(folder))
        decision = decide(stamp, root, key, version, missing, extra)
        if decision == "ready":
            return python_in(folder)
        extras = {extra}
        if decision == "build":
            version = build(folder, wanted or choose(None))
        else:
            extras |= set(stamp["extras"])
            (folder / STAMP).unlink()
        install(root, folder, sorted(extras))
        content = {"root": str(root), "python": version, "key": key, "extras": sorted(extras)}
        write_stamp(folder, dict(content, entries=entries(folder)))
    return python_in(folder)


def build(folder: Path, python: Python) -> str:
    """Create an empty virtual environment in the place of whatever is there; return its Python's version."""
    say(f"Building .venv with Python {python.number} (the first time takes a few minutes) ...")
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    with contextlib.suppress(FileNotFoundError):
        (folder / STAMP).unlink()
    code, output = listen([python.executable, "-m", "venv", "--clear", str(folder)], None, lambda line: False)
    made = probe([str(python_in(folder))])
    if code or made is None:
        raise SetupError(f"Python {python.number} could not create .venv: {diagnose(output)}")
    return made.number


def install(root: Path, folder: Path, extras: list[str]) -> None:
    """Install this checkout, editable, with the extras and the tested versions."""
    pip = [str(python_in(folder)), "-m", "pip", "install", "--no-input", "--disable-pip-version-check"]
    pip += ["--progress-bar", "off"]
    target = ".[{}]".format(",".join(extras))
    for wanted in (["pip>=23.1"], ["-c", "constraints.txt", "-e", target]):
        code, output = listen(pip + wanted, root, worth_showing)
        (folder / "install.log").write_text("\n".join(output) + "\n", encoding="utf-8")
        if code:
            raise SetupError(f"the packages could not be installed: {diagnose(output)}")
    code, output = listen([str(python_in(folder)), "-c", "import numpy, SimpleITK, torch"], root, lambda line: False)
    if code:
        raise SetupError(f"the packages are installed, but do not start: {diagnose(output)}")


def worth_showing(line: str) -> bool:
    """Whether a line of pip's output tells the person waiting that something happens."""
    return line.strip().startswith(("Collecting", "Downloading", "Installing collected"))


def listen(command: list[str], folder: Path | None, shown) -> tuple[int, list[str]]:
    """Run a command; pass on the lines worth showing; return its exit code and all lines."""
    process = subprocess.Popen(
        command,
        cwd=None if folder is None else str(folder),
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        encoding="utf-8",
        errors="replace",
    )
    lines = []
    try:
        for line in process.stdout:
            lines.append(line.rstrip())
            if shown(line):
                say("  " + line.strip())
        return process.wait(), lines
    except BaseException:
        process.terminate()
        process.wait()
        raise


def entries(folder: Path) -> list[str]:
    """Name what is installed in an environment."""
    places = [*folder.glob("lib/python3.*/site-packages"), *folder.glob("Lib/site-packages")]
    return sorted({item.name for place in places for item in place.iterdir() if item.name != "__pycache__"})


def read_stamp(folder: Path) -> dict | None:
    """Return what the last complete installation left, None if it cannot be read."""
    try:
        stamp = json.loads(read(folder / STAMP))
    except (OSError, ValueError):
        return None
    return stamp if isinstance(stamp, dict) else None


def write_stamp(folder: Path, stamp: dict) -> None:
    """Write the stamp under its name only when it is whole."""
    partial = folder / (STAMP + ".part")
    partial.write_text(json.dumps(stamp, indent=1), encoding="utf-8")
    partial.replace(folder / STAMP)


def read(path: Path) -> str:
    """Return a text file's content."""
    return path.read_text(encoding="utf-8")


# --- running and cleaning -------------------------------------------------------------------------------------------


def run(python: Path, command: list[str]) -> int:
    """Run the environment's Python in the checkout; return its exit code, 128 + n where signal n ended it."""
    process = subprocess.Popen([str(python), *command], cwd=str(ROOT), env=environment())
    code = None
    with on_termination(lambda number, frame: process.terminate()):
        while code is None:
            with contextlib.suppress(KeyboardInterrupt):  # the task got it too; its answer is the one that counts
                code = process.wait()
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def on_termination(action) -> Iterator[None]:
    """Answer a request to end this process, so that no child goes on without it."""
    before = signal.signal(signal.SIGTERM, action)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock on the environment, waiting for another run to finish with it."""
    with path.open("a+") as file:
        told = False
        while not try_lock(file.fileno()):
            if not told:
                say("Another run is preparing .venv; waiting for it (Ctrl-C to stop) ...")
            told = True
            time.sleep(0.3)
        yield


def try_lock(descriptor: int) -> bool:
    """Take the lock if it is free; where the file system has no locks, go on without."""
    try:
        if os.name == "nt":
            import msvcrt

            os.lseek(descriptor, 0, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
    return True


def clean(root: Path) -> None:
    """Remove the environment, caches and outputs; the demo's downloaded data stays in its own cache."""
    with locked(root / ".venv.lock"):
        for name in (".venv", *LEFTOVERS, *CACHES):
            remove(root / name)
        for folder in ("DeepReg", "DeepRegLib", "Testing"):
            for cache in list((root / folder).rglob("__pycache__")):
                remove(cache)
    with contextlib.suppress(OSError):  # Windows keeps a file that another run has open
        (root / ".venv.lock").unlink()


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, if it is there."""
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(str(path))


if __name__ == "__main__":
    sys.exit(main())
