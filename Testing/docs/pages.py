"""The pages of the documentation as the tests see them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
GENERATED = {"reference/cli.md", "reference/recipes.md"}  # by Testing/site.py
HEADING = re.compile(r"^## (?P<title>.+)$", re.MULTILINE)
NEEDS = re.compile(r"<!-- needs: (?P<package>\w+) -->")
CODE = re.compile(r"```python\n(?P<code>.*?)```", re.DOTALL)
LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True)
class Section:
    """A part of a page, the packages its code needs, and the code: that of the page's beginning comes first."""

    page: str
    title: str
    needs: tuple[str, ...]
    code: str


def pages() -> list[Path]:
    """Return the pages that are written by hand."""
    return sorted(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).as_posix() not in GENERATED)


def sections_with_examples() -> Iterator[Section]:
    """Yield each section of each page that holds a doctest."""
    for path in pages():
        text = path.read_text(encoding="utf-8")
        if ">>>" not in text:
            continue
        parts = HEADING.split(text)
        start = _code(parts[0])
        for title, body in zip(parts[1::2], parts[2::2], strict=True):
            if ">>>" in body:
                needs = tuple(match["package"] for match in NEEDS.finditer(body))
                yield Section(path.relative_to(DOCS).as_posix(), title, needs, start + _code(body))


def _code(text: str) -> str:
    return "\n".join(match["code"] for match in CODE.finditer(text))


def links(path: Path) -> list[str]:
    """Return what a page links to within the project."""
    targets = [match["target"] for match in LINK.finditer(path.read_text(encoding="utf-8"))]
    return [target.partition("#")[0] for target in targets if not target.startswith(("http", "#", "mailto:"))]
