"""The version of this library."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

DISTRIBUTION = "slicer-deepreg"


def library_version() -> str:
    """Return DeepReg's version, or ``"source checkout"`` where it is not installed."""
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "source checkout"
