"""File names as they may be shown: without their folders, which may tell more of a patient than they should."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PureWindowsPath


def base_name(name: str) -> str:
    """Return the last part of a path, whichever kind of slashes it has."""
    return PureWindowsPath(name).name or name


def without_folders(texts: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return texts in which every one of the file names stands without its folder."""
    longest_first = sorted(set(names), key=len, reverse=True)
    result = []
    for text in texts:
        shown = text
        for name in longest_first:
            shown = shown.replace(name, base_name(name))
        result.append(shown)
    return result
