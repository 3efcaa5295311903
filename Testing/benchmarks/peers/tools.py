"""The tools: where their scripts are, what they are called on PyPI, and how they are run."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from DeepRegLib.versions import versions
from Testing.benchmarks.child import ROOT, last_line

DEEPREG = "deepreg"
ENVIRONMENTS = ROOT / ".peers"


@dataclass(frozen=True)
class Tool:
    """One tool in one of its ways.

    Parameters
    ----------
    name
        What the tables call it.
    module
        Its script.
    packages
        The distributions that decide its result, the tool's own first; () for DeepReg.
    requirement
        What pip installs it from.
    variant
        What the script is told.
    about
        How it is run, for the reader of the tables.
    """

    name: str
    module: str
    packages: tuple[str, ...] = ()
    requirement: str = ""
    variant: str = ""
    about: str = ""

    @property
    def family(self) -> str:
        """The name of the script, for which an interpreter may be named."""
        return self.module.rpartition(".")[2]

    @property
    def script(self) -> Path:
        """The file of the script."""
        return ROOT / Path(*self.module.split(".")).with_suffix(".py")


# Numbers that were tried; the tables say which were used.
GREEDY = ("greedy", ("picsl-greedy",), "picsl-greedy>=1.4")
ANTS = ("ants", ("antspyx",), "antspyx>=0.6")
ELASTIX = ("elastix", ("itk-elastix", "itk"), "itk-elastix>=0.25")
CONVEXADAM = ("convexadam", ("convexadam", "torch"), "convexadam>=0.2")
FIREANTS = ("fireants", ("fireants", "torch"), "fireants>=1.5")


def _tool(name: str, origin: tuple[str, tuple[str, ...], str], variant: str, about: str) -> Tool:
    family, packages, requirement = origin
    return Tool(name, f"{__package__}.{family}", packages, requirement, variant, about)


PEERS = (
    _tool(
        "greedy",
        GREEDY,
        "",
        "image centres, rigid, affine, deformable, 100x50x10 (a level less for few slices); WNCC 2x2x2 (unlike images: "
        "NMI)",
    ),
    _tool("greedy-sv", GREEDY, "velocity", "the same with -sv, as in its quick start"),
    _tool("ants-quick", ANTS, "quick", "antsRegistrationSyNQuick[s]"),
    _tool("ants-syn", ANTS, "syn", "antsRegistrationSyN[s], CC"),
    _tool("elastix", ELASTIX, "", "its parameter maps rigid, affine, bspline"),
    _tool(
        "convexadam",
        CONVEXADAM,
        "",
        "MIND, its defaults; moving image resampled to the fixed one with the identity, as its own scripts do: it has "
        "no linear stage",
    ),
    _tool(
        "fireants",
        FIREANTS,
        "",
        "moments, rigid, affine, greedy as in its documentation; CC (unlike images: MI)",
    ),
)


def deepreg(recipe: str, name: str = DEEPREG) -> Tool:
    """Return DeepReg with a recipe."""
    return _tool(name, (DEEPREG, (), ""), recipe, f"recipe {recipe}")


def tools_named(names: str, recipe: str) -> tuple[Tool, ...]:
    """Return the tools of a comma-separated list, or all of them for ""; `deepreg:RECIPE` is DeepReg with a recipe.

    Raises
    ------
    ValueError
        If there is no such tool.
    """
    known = {tool.name: tool for tool in (deepreg(recipe), *PEERS)}
    chosen = []
    for name in filter(None, names.split(",")) if names else known:
        if name.startswith(f"{DEEPREG}:"):
            chosen.append(deepreg(name.partition(":")[2], name))
        elif name in known:
            chosen.append(known[name])
        else:
            raise ValueError(f"There is no tool {name}: take some of {', '.join(known)}, {DEEPREG}:RECIPE.")
    return tuple(chosen)


def interpreter(tool: Tool, pythons: Mapping[str, str]) -> str:
    """Return the interpreter that runs a tool: the one named for it, that of its environment, or this one."""
    own = environment(tool)
    return pythons.get(tool.family) or (str(own) if own.is_file() and tool.packages else sys.executable)


def environment(tool: Tool) -> Path:
    """Return the interpreter of a tool's environment, whether it is there or not."""
    return ENVIRONMENTS / tool.family / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def install(tool: Tool) -> str:
    """Install a tool into an environment of its own; return what pip said last if that failed, else "".

    The tools contradict each other and DeepReg: antspyx wants an older numpy, FireANTs an older SimpleITK.
    """
    python = environment(tool)
    commands = (
        [sys.executable, "-m", "venv", str(ENVIRONMENTS / tool.family)],
        [str(python), "-m", "pip", "install", "--quiet", "--only-binary", ":all:", tool.requirement],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            return last_line(done.stderr or done.stdout) or f"exit code {done.returncode}"
    return ""


@cache
def version_of(tool: Tool, python: str) -> str | None:
    """Return what decides a tool's result beside its options, or None where it is not installed."""
    if not tool.packages:
        return f"{versions()['deepreg']} ({library_hash(tool.variant)})"
    code = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
    try:
        done = subprocess.run([python, "-c", code, *tool.packages], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    own, *others = done.stdout.split()
    beside = ", ".join(f"{name} {number}" for name, number in zip(tool.packages[1:], others, strict=True))
    return f"{own} ({beside})" if beside else own


def library_hash(recipe: str, root: Path = ROOT) -> str:
    """Return a hash of what decides DeepReg's results: sources that a registration loads, shipped models, its recipe.

    Its version does not change with every change of its results, and the panel and the command line change none.
    """
    shipped = root / "DeepRegLib" / "recipes" / f"{recipe}.toml"
    own = shipped if shipped.is_file() else Path(recipe)
    models = sorted((root / "DeepRegLib" / "models" / "shipped").glob("*/model.json"))  # with the hash of the weights
    return hash_of([*registration_files(root), *models, *([own] if own.is_file() else [])])


@cache
def registration_files(root: Path = ROOT) -> tuple[Path, ...]:
    """Return the files of DeepRegLib that a transform is found by, as a fresh process imports them.

    What judges a transform, and hands it on, changes none.
    """
    code = (
        # Networks are loaded with the first model.
        "import sys, DeepRegLib.networks, DeepRegLib.planning, DeepRegLib.stages.both_ways\n"
        "import DeepRegLib.stages.gain, DeepRegLib.stages.rigid_segments, DeepRegLib.stages.run_of_request\n"
        "names = sorted(name for name in sys.modules if name.partition('.')[0] == 'DeepRegLib')\n"
        "print(*(sys.modules[name].__file__ for name in names), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return tuple(map(Path, done.stdout.splitlines()))


def hash_of(files: Iterable[Path]) -> str:
    """Return a short hash of the contents of files."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
