"""The pages that are written from the code."""

from __future__ import annotations

import re

import pytest

pytest.importorskip("typer")

from DeepRegLib.recipes import Deformable, recipe_names
from Testing.site import command_line_page, described, recipes_page


def test_every_shipped_recipe_is_shown_with_its_file() -> None:
    page = recipes_page()
    for name in recipe_names():
        assert f"\n## {name}\n" in page
        assert f'name = "{name}"' in page


def test_every_key_of_a_recipe_has_a_meaning_and_no_constant_is_left_to_look_up() -> None:
    page = recipes_page()
    assert "| `smooth_field` | `0.42` | Gaussian sigma on the whole field" in page
    assert not re.search(r"`[A-Z_]{3,}`", page)
    for line in page.splitlines():
        if line.startswith("| `"):
            assert len(line.split(" | ")) == 3
            assert line.split(" | ")[2].strip(" |")


def test_names_that_share_a_description_each_get_it() -> None:
    class Two:
        """A class.

        Parameters
        ----------
        first, second
            One text
            for both.
        """

    assert described(Two) == ("A class.", {"first": "One text for both.", "second": "One text for both."})
    assert "radius" in described(Deformable)[1]


@pytest.mark.parametrize(
    "wanted",
    [
        "## deepreg register\n\n    deepreg register FIXED MOVING [OPTIONS]",
        "## deepreg models info\n",
        "| `--output`, `-o` | `OUTPUT` | Folder for the results. |",
        "Default: `auto`.",
    ],
)
def test_every_command_is_shown_with_its_options(wanted: str) -> None:
    assert wanted in command_line_page()
