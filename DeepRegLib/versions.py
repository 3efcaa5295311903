"""The versions of what decides a result; nothing is imported to find them."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from DeepRegLib.version import VERSION

LIBRARIES = ("torch", "numpy", "SimpleITK")


def versions() -> dict[str, str]:
    """Return the versions of DeepReg, Python and the libraries that decide a result."""
    found = {"deepreg": VERSION, "python": platform.python_version()}
    return found | {name: _library_version(name) for name in LIBRARIES}


def _library_version(name: str) -> str:
    # A library bundled with an application may have come without its package metadata.
    try:
        return version(name)
    except PackageNotFoundError:
        return "unknown"
