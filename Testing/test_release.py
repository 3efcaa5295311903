"""What a release says, and when it is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from Testing.release import main, notes_of

PACKAGE = 'VERSION = "0.2.0"\n'
CHANGELOG = """# Changelog

## [Unreleased]

later

## [0.2.0] - 2026-12-01

### Added

- a thing

## [0.1.0]

old
"""


def test_the_notes_are_the_section_of_that_version_alone() -> None:
    assert notes_of("v0.2.0", PACKAGE, CHANGELOG) == "### Added\n\n- a thing\n"


@pytest.mark.parametrize(
    ("tag", "changelog", "what"),
    [
        ("v0.3.0", CHANGELOG, "the package's version is 0.2.0"),
        ("0.2.0", CHANGELOG, "the tag is 0.2.0"),
        ("v0.2.0", "# Changelog\n\n## [Unreleased]\n\n- a thing\n", "no section for 0.2.0"),
        ("v0.2.0", "## [0.2.0]\n\n## [0.1.0]\n\nold\n", "no section for 0.2.0"),
    ],
)
def test_a_tag_that_does_not_fit_is_refused(tag: str, changelog: str, what: str) -> None:
    with pytest.raises(ValueError, match=re.escape(what)):
        notes_of(tag, PACKAGE, changelog)


def test_a_wrong_tag_ends_with_an_error_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["v99.0", "--notes", str(tmp_path / "notes.md")]) == 1
    assert "the tag is v99.0" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
