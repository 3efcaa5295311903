"""What a release says: the changelog's section of a version.

    python -m Testing.release v0.2.0 --notes notes.md

ends with an error if the tag is not the version of the package, or the changelog has no section for it. It uses the
standard library only, so that a release can be refused before anything is installed.
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VERSION = re.compile(r'^VERSION = "(?P<version>[^"]+)"$', re.MULTILINE)


def main(arguments: list[str] | None = None) -> int:
    """Check a tag and write its notes; return the exit code."""
    parser = argparse.ArgumentParser(prog="Testing.release", description=__doc__)
    parser.add_argument("tag")
    parser.add_argument("--notes", type=Path, required=True, help="file to write")
    options = parser.parse_args(arguments)
    package = (ROOT / "DeepRegLib" / "version.py").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    try:
        notes = notes_of(options.tag, package, changelog)
    except ValueError as error:
        sys.stderr.write(f"release: {error}\n")
        return 1
    options.notes.write_text(notes, encoding="utf-8")
    return 0


def notes_of(tag: str, package: str, changelog: str) -> str:
    """Return the changelog's section of a tag.

    Parameters
    ----------
    tag
        ``v`` and the version.
    package
        Text of the file that holds the package's version.
    changelog
        Text of the changelog.

    Raises
    ------
    ValueError
        If the tag is another version than the package's, or the changelog has no text for it.
    """
    match = VERSION.search(package)
    version = match["version"] if match else ""
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, the package's version is {version}")
    section = re.search(rf"^## \[{re.escape(version)}\][^\n]*\n(?P<text>.*?)(?=^## \[|\Z)", changelog, re.M | re.S)
    text = section["text"].strip() if section else ""
    if not text:
        raise ValueError(f"CHANGELOG.md has no section for {version}")
    return text + "\n"


if __name__ == "__main__":
    sys.exit(main())
