"""Keep the lists of what 3D Slicer installs complete.

    python -m Testing.packaging

writes them anew. Slicer installs the files that its CMake macro is given by name and nothing else, so a file that is
missing from the lists is missing on every user's machine, while everything works in a checkout.
"""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("DeepReg", "DeepRegLib")
SCRIPTS, RESOURCES = "MODULE_PYTHON_SCRIPTS", "MODULE_PYTHON_RESOURCES"
LIST = re.compile(r"^set\((?P<name>\w+)\n(?P<files>.*?)  \)\n", re.DOTALL | re.MULTILINE)
NOT_INSTALLED = {"CMakeLists.txt", "Testing", "__pycache__"}


def main() -> None:
    """Write the lists of both folders."""
    for name in FOLDERS:
        path = ROOT / name / "CMakeLists.txt"
        text = path.read_text(encoding="utf-8")
        path.write_text(with_lists(text, present(path.parent)), encoding="utf-8", newline="\n")


def present(folder: Path) -> dict[str, list[str]]:
    """Return what there is to install in a folder: paths relative to it, sorted, by the name of the list."""
    files = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and is_installed(path.relative_to(folder))
    )
    return {
        SCRIPTS: [file for file in files if file.endswith(".py")],
        RESOURCES: [file for file in files if not file.endswith(".py")],
    }


def is_installed(path: Path) -> bool:
    """Whether a file, given relative to its module's folder, belongs into an installation."""
    return not NOT_INSTALLED & set(path.parts) and not any(part.startswith(".") for part in path.parts)


def listed(text: str) -> dict[str, list[str]]:
    """Return what a CMakeLists.txt lists for installation, by the name of the list."""
    return {match["name"]: match["files"].split() for match in LIST.finditer(text)}


def with_lists(text: str, lists: dict[str, list[str]]) -> str:
    """Return the text of a CMakeLists.txt with other lists in it."""

    def written(match: re.Match[str]) -> str:
        files = "".join(f"  {file}\n" for file in lists[match["name"]])
        return f"set({match['name']}\n{files}  )\n"

    return LIST.sub(written, text)


if __name__ == "__main__":
    main()
