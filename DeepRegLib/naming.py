"""File names as they may be shown: without their folders, which may tell more of a patient than they should."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from os import PathLike
from pathlib import Path, PureWindowsPath


def base_name(name: str) -> str:
    """Return the last part of a path, whichever kind of slashes it has."""
    return PureWindowsPath(name).name or name


def shown(path: str | PathLike[str]) -> str:
    r"""Return a path as it can be printed and written into any file.

    What is no character, because the name on the disk is not UTF-8, stands as ``\xe9``; control and format characters,
    which a terminal would obey, stand as codes too.
    """
    text = str(path)
    if text.isascii() and text.isprintable():  # nearly every one
        return text
    return "".join(_shown_character(character) for character in text)


def _shown_character(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # what Python makes of a byte that is not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if 0xD800 <= code <= 0xDFFF or unicodedata.category(character) in ("Cc", "Cf"):
        return character.encode("unicode_escape", "backslashreplace").decode("ascii")
    return character


def without_folders(texts: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return texts in which every one of the file names stands without its folder."""
    longest_first = sorted(set(names), key=len, reverse=True)
    result = []
    for text in texts:
        shown_text = text
        for name in longest_first:
            shown_text = shown_text.replace(name, base_name(name))
        result.append(shown_text)
    return result


def without_paths(text: str, files: Mapping[str, str]) -> str:
    """Return a text in which no input stands with its folders, and a DICOM folder as what it is given for.

    So does what is not there and has no ending, which may have been meant for such a folder.

    Parameters
    ----------
    text
        What may name inputs.
    files
        Their paths, by what they are: ``"fixed"``, ``"moving_labels"``.
    """
    for what, path in sorted(files.items(), key=lambda item: len(item[1]), reverse=True):
        text = text.replace(path, _named_for(what, Path(path)) or base_name(path))
    return text


def _named_for(what: str, path: Path) -> str:
    """Return what a folder is called in place of its name, "" for a file."""
    if path.is_dir():
        return f"the folder of {what}"
    return "" if path.suffix or path.is_file() else "a path without an ending"
