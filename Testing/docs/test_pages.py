"""The documentation: what its examples claim is true, and its links lead somewhere."""

from __future__ import annotations

import doctest
import re
import warnings
from pathlib import Path

import pytest

from Testing.docs.pages import DOCS, GENERATED, ROOT, Section, links, pages, sections_with_examples

SECTIONS = list(sections_with_examples())


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: f"{section.page}: {section.title}")
def test_an_example_does_what_it_says(section: Section, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in section.needs:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of other people's packages
            pytest.importorskip(package, reason=f"{package} is not installed, so this example is not tried")
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest(section.code, {}, section.title, section.page, 0)
    runner = doctest.DocTestRunner(verbose=False)
    report: list[str] = []
    with warnings.catch_warnings():
        if section.needs:
            warnings.simplefilter("ignore")
        runner.run(test, out=report.append)
    assert not runner.failures, "".join(report)


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.relative_to(DOCS).as_posix())
def test_every_link_of_a_page_leads_to_a_page_or_a_picture(page: Path) -> None:
    missing = [target for target in links(page) if not _leads_somewhere(page, target)]
    assert not missing


def test_every_link_of_the_first_pages_leads_to_a_file() -> None:
    for name in ("README.md", "CONTRIBUTING.md"):
        assert [target for target in links(ROOT / name) if not (ROOT / target).exists()] == []


def _leads_somewhere(page: Path, target: str) -> bool:
    place = (page.parent / target).resolve()
    if not place.is_relative_to(DOCS):
        return False  # the site has the pages only
    name = place.relative_to(DOCS).as_posix()
    return place.is_file() or name in GENERATED or (DOCS.parent / "Resources" / "Screenshots" / place.name).is_file()


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page() -> None:
    listed = set(re.findall(r'"([\w/-]+\.md)"', (ROOT / "zensical.toml").read_text(encoding="utf-8")))
    written = {page.relative_to(DOCS).as_posix() for page in pages()}
    assert listed == written | GENERATED


def test_the_decisions_that_code_names_are_pages() -> None:
    named = {
        name
        for file in (ROOT / "DeepRegLib").rglob("*.py")
        for name in re.findall(r"docs/decisions/[\w-]+\.md", file.read_text(encoding="utf-8"))
    }
    assert named
    assert [name for name in sorted(named) if not (ROOT / name).is_file()] == []
