"""The tools: where their scripts are, what they are called on PyPI, and how they are run."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from DeepRegLib.provenance import versions
from Testing.benchmarks.child import ROOT

DEEPREG = "deepreg"


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
    variant
        What the script is told.
    about
        How it is run, for the reader of the tables.
    """

    name: str
    module: str
    packages: tuple[str, ...] = ()
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


def _tool(name: str, family: str, packages: tuple[str, ...], variant: str, about: str) -> Tool:
    return Tool(name, f"{__package__}.{family}", packages, variant, about)


PEERS = (
    _tool(
        "greedy",
        "greedy",
        ("picsl-greedy",),
        "",
        "image centres, rigid, affine, deformable, 100x50x10; WNCC 2x2x2 (linear stages of unlike images: NMI)",
    ),
    _tool("greedy-sv", "greedy", ("picsl-greedy",), "velocity", "the same with -sv, as in its quick start"),
    _tool("ants-quick", "ants", ("antspyx",), "quick", "antsRegistrationSyNQuick[s]"),
    _tool("ants-syn", "ants", ("antspyx",), "syn", "antsRegistrationSyN[s], CC"),
    _tool("elastix", "elastix", ("itk-elastix", "itk"), "", "its parameter maps rigid, affine, bspline"),
    _tool(
        "convexadam",
        "convexadam",
        ("convexadam", "torch"),
        "",
        "MIND, its defaults; moving image resampled to the fixed one with the identity, as its own scripts do: it has "
        "no linear stage",
    ),
    _tool(
        "fireants",
        "fireants",
        ("fireants", "torch"),
        "",
        "moments, rigid, affine, greedy as in its documentation; CC (unlike images: MI)",
    ),
)


def deepreg(recipe: str, name: str = DEEPREG) -> Tool:
    """Return DeepReg with a recipe."""
    return _tool(name, DEEPREG, (), recipe, f"recipe {recipe}")


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
    """Return the interpreter that runs a tool."""
    return pythons.get(tool.family, sys.executable)


@cache
def version_of(tool: Tool, python: str) -> str | None:
    """Return what decides a tool's result beside its options, or None where it is not installed."""
    if not tool.packages:
        return f"{versions()['deepreg']} ({library_hash()})"
    code = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
    try:
        done = subprocess.run([python, "-c", code, *tool.packages], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    own, *others = done.stdout.split()
    beside = ", ".join(f"{name} {number}" for name, number in zip(tool.packages[1:], others, strict=True))
    return f"{own} ({beside})" if beside else own


@cache
def library_hash() -> str:
    """Return a hash of DeepReg's own sources: its version does not change with every change of its results."""
    files = sorted(path for path in (ROOT / "DeepRegLib").rglob("*") if path.suffix in (".py", ".toml"))
    return hash_of(files)


def hash_of(files: list[Path]) -> str:
    """Return a short hash of the contents of files."""
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:8]
