"""What the panel says: plain sentences, and nothing that a name could turn into markup."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

from DeepRegLib.errors import DeepRegError
from DeepRegLib.models import KnownModel, Manifest, ModelInput
from DeepRegLib.monitoring import STAGE_SHARES
from DeepRegLib.result import CHECK, FAILED, OK
from Testing.desktop.running import Desktop
from Testing.scene.results import MEASURES, made_registration


@pytest.fixture
def words(desktop: Desktop) -> ModuleType:
    from DeepRegLib.panel import words

    return words


def test_each_stage_has_a_name_for_people(words: ModuleType) -> None:
    for stage in (*STAGE_SHARES, "waiting", "labels", "cancelling"):
        assert words.stage_name(stage) != stage
        assert words.stage_name(stage)[0].isupper()


def test_a_stage_of_a_later_engine_is_shown_as_it_is(words: ModuleType) -> None:
    assert words.progress_text("polish", None, None) == "polish"


def test_progress_tells_what_is_known(words: ModuleType) -> None:
    text: Callable[..., str] = words.progress_text
    assert text("linear", None, None) == "Aligning (rigid, then affine)"
    assert text("deformable", 0.12345, None) == "Deforming · similarity 0.123"
    assert text("deformable", 0.5, 3.2) == "Deforming · similarity 0.500 · about 3 s left"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, "about 1 s left"), (59.6, "about 60 s left"), (89.0, "about 89 s left"), (200.0, "about 3 min left")],
)
def test_the_time_left_is_rounded(words: ModuleType, seconds: float, text: str) -> None:
    assert words.duration_left(seconds) == text


def test_the_measures_are_one_line(words: ModuleType) -> None:
    assert words.measures_text(MEASURES) == (
        "likeness 0.30 → 0.90 · overlap of segments 0.93 · no folds · inverse within 0.05 mm"
    )
    text = words.measures_text(replace(MEASURES, dice_after=None, tre_after=1.234, folds=7))
    assert text == "likeness 0.30 → 0.90 · landmarks 1.2 mm apart · 7 folds · inverse within 0.05 mm"


def test_the_model_is_one_line_with_how_far_its_answers_differ(words: ModuleType) -> None:
    asked = {"model": {"name": "tiny", "version": "1.2"}}
    told = replace(made_registration(), provenance=asked)
    median, high = np.percentile(told.uncertainty.array, (50, 95))
    assert words.model_text(told) == (
        f"model tiny 1.2 · its answers differ by {median:.2f} mm, 95 % by less than {high:.2f} mm"
    )
    assert words.model_text(replace(told, uncertainty=None)) == "model tiny 1.2"
    assert words.model_text(replace(told, uncertainty=None, provenance={})) == ""


@pytest.mark.parametrize(
    ("level", "title"), [(OK, "Looks right"), (CHECK, "Check this result"), (FAILED, "Do not use")]
)
def test_a_verdict_is_a_badge_with_reasons(words: ModuleType, level: str, title: str) -> None:
    html = words.verdict_html(level, ["Half of it is outside."], "no folds")
    assert title in html
    assert re.findall("<p>([^<]+)</p>", html) == ["Half of it is outside.", "no folds"]
    assert words.COLOURS[level] in html


def test_the_badges_can_be_read_by_everyone(words: ModuleType) -> None:
    for colour in words.COLOURS.values():
        assert contrast_with_white(colour) > 4.5  # WCAG 2.1, level AA


def test_names_are_not_taken_for_markup(words: ModuleType) -> None:
    name = '<img src="x"> & "T1" <b>'
    manifest = Manifest("tiny", name, "registration", name, {}, ModelInput(3.0), name, name, name, name)
    model = words.model_html(KnownModel("tiny", Path(name), "user", manifest))
    for html in (words.verdict_html(OK, [name], name), words.error_html(DeepRegError(name, name)), model):
        assert "<img" not in html
        assert "<b>" not in html.replace("<b>&lt;", "&lt;")
        assert "&amp; &quot;T1&quot; &lt;b&gt;" in html


def test_an_error_without_a_hint_is_one_sentence(words: ModuleType) -> None:
    assert words.error_html(DeepRegError("It is wrong.")).count("<p>") == 1


def contrast_with_white(colour: str) -> float:
    """Return the contrast ratio of a colour such as #2e7d32 to white, by the formula of WCAG 2.1."""
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 1.05 / (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05)
