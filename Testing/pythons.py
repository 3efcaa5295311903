"""The Pythons of this machine: which one to build `.venv` with, found by running them.

A name on PATH (a pyenv shim, a shop's stub) does not mean that there is a Python behind it. Like the script that needs
this, Testing/environment.py: standard library only, in the syntax of Python 3.7.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Iterator, NamedTuple  # noqa: UP035 - Python 3.7 reads this file

from Testing.remedies import SetupError

OLDEST, NEWEST = (3, 10), (3, 13)

PROBE = """
import json, struct, sys, sysconfig
try:
    import ensurepip, venv
    complete = True
except ImportError:
    complete = False
inside = sys.prefix != sys.base_prefix
base = getattr(sys, "_base_executable", None)
print(json.dumps({
    "executable": base if inside and base else sys.executable,
    "version": list(sys.version_info[:3]),
    "complete": complete,
    "usual": struct.calcsize("P") == 8 and not sysconfig.get_config_var("Py_GIL_DISABLED"),
}))
"""


class Python(NamedTuple):
    """An interpreter that ran when asked."""

    executable: str
    version: tuple
    complete: bool  # has venv and ensurepip
    usual: bool  # 64 bits, with the global lock: what wheels are built for

    @property
    def number(self):
        """The version as people write it."""
        return ".".join(str(part) for part in self.version)

    @property
    def supported(self):
        """Whether DeepReg runs on it."""
        return OLDEST <= tuple(self.version[:2]) <= NEWEST and self.usual


def choose(chosen: str | None) -> Python:
    """Return the Python to build with: the one asked for, or the first that runs, is supported and complete."""
    if chosen:
        found = probe([chosen])
        if found is None:
            raise SetupError(f"{chosen} does not run as a Python")
        if not found.supported:
            raise SetupError(f"{chosen} is Python {found.number}; DeepReg needs a 64-bit {supported_range()}")
        return require_complete(found)
    seen: list[Python] = []
    for candidate in candidates():
        found = probe(candidate)
        if found and found.supported and found.complete:
            return found
        if found:
            seen.append(found)
    return require_complete(best_of(seen))


def best_of(seen: list[Python]) -> Python:
    """Return a supported Python from those that did not suit, or say what to install."""
    for python in seen:
        if python.supported:
            return python
    versions = sorted({python.number for python in seen})
    found = "found only " + ", ".join(versions) if versions else "found none that runs"
    raise SetupError(f"DeepReg needs a 64-bit {supported_range()} and {found}: install one and try again")


def require_complete(python: Python) -> Python:
    """Return the Python if it can make virtual environments, or say what to install."""
    if python.complete:
        return python
    raise SetupError(
        "Python {} ({}) cannot create virtual environments: install its venv package "
        "(on Debian and Ubuntu: sudo apt install python{}.{}-venv) and try again".format(
            python.number, python.executable, *python.version[:2]
        )
    )


def supported_range() -> str:
    """Name the supported versions."""
    return "Python {}.{} to {}.{}".format(*OLDEST, *NEWEST)


def candidates() -> Iterator[list[str]]:
    """Name every command that may be a Python, the best guess first."""
    yield [sys.executable]
    minors = range(NEWEST[1], OLDEST[1] - 1, -1)
    names = [f"python3.{minor}" for minor in minors] + ["python3", "python"]
    folders = [Path(folder) for folder in os.environ.get("PATH", "").split(os.pathsep) if folder]
    for name in names:
        for folder in folders:
            program = shutil.which(name, path=str(folder))
            if program:
                yield [program]
    if os.name == "nt":
        yield from (["py", f"-3.{minor}"] for minor in minors)
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for minor in minors:  # installed there, though its shim on PATH may not run
        yield from ([str(program)] for program in sorted(pyenv.glob(f"3.{minor}.*/bin/python"), reverse=True))


def probe(command: list[str]) -> Python | None:
    """Run a candidate and return what it is, None if it does not run."""
    try:
        answer = subprocess.run(
            [*command, "-c", PROBE],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            timeout=30,
            check=True,
        )
        found = json.loads(answer.stdout.decode("utf-8"))
        return Python(found["executable"], tuple(found["version"]), found["complete"], found["usual"])
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError):
        return None


def python_in(folder: Path) -> Path:
    """Return where an environment has its Python."""
    return folder / "Scripts" / "python.exe" if os.name == "nt" else folder / "bin" / "python"


def environment() -> dict[str, str]:
    """Return the process environment without what would lead a virtual environment astray."""
    result = {name: value for name, value in os.environ.items() if name not in ("PYTHONHOME", "PYTHONPATH")}
    result["PIP_USER"] = "0"  # pip refuses a user installation inside a virtual environment
    result["PYTHONIOENCODING"] = "utf-8"
    return result
