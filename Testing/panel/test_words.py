"""What the panel says: plain sentences, and nothing that a name could turn into markup."""

from __future__ import annotations

import ast
import functools
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

REPORTS = re.compile(r"progress|(\w+\.)*monitor\.(stage|finishing)")
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def words(desktop: Desktop) -> ModuleType:
    from DeepRegLib.panel import words

    return words


@functools.cache
def reported_stages() -> set[str]:
    """Return the stages that the library reports, from its sources: who calls what with a text first."""
    trees = (ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "DeepRegLib").rglob("*.py"))
    calls = (node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    told = (call.args[0] for call in calls if REPORTS.fullmatch(ast.unparse(call.func)))
    return {str(what.value) for what in told if isinstance(what, ast.Constant)}


def test_each_stage_has_a_name_for_people(words: ModuleType) -> None:
    assert {"jacobian", "labels", "judge"} <= reported_stages()
    for stage in (*STAGE_SHARES, *reported_stages(), "waiting", "cancelling", "restoring"):
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


def test_what_was_measured_is_told_in_words(words: ModuleType) -> None:
    told = replace(made_registration(), measures=MEASURES, uncertainty=None, provenance={})
    assert words.measures_of(told) == [
        "Likeness: 30 % → 90 %",
        "Overlap of segments: 45 % → 92 %",
        "Folded tissue: none",
        "Way back: within 0.05 mm",
    ]
    other = replace(MEASURES, dice_after=None, tre_before=8.0, tre_after=1.234, folds=7, structure_before=-0.1)
    assert words.measures_of(replace(told, measures=other))[:3] == [
        "Likeness: 0 % → 90 %",
        "Landmarks: 8.0 → 1.2 mm apart",
        "Folded tissue: 7 voxels",
    ]
    back = replace(MEASURES, inverse_folds=5)
    assert "Folded on the way back: 5 voxels" in words.measures_of(replace(told, measures=back))


def test_the_model_is_told_with_how_far_its_answers_differ(words: ModuleType) -> None:
    asked = {"model": {"name": "tiny", "version": "1.2"}}
    told = replace(made_registration(), provenance=asked)
    median, high = np.percentile(told.uncertainty.array, (50, 95))
    assert words.measures_of(told)[-2:] == [
        "Model: tiny 1.2",
        f"Its answers: differ by {median:.2f} mm, 95 % by less than {high:.2f} mm",
    ]
    assert words.measures_of(replace(told, uncertainty=None))[-1] == "Model: tiny 1.2"


def test_a_verdict_says_what_to_do(words: ModuleType) -> None:
    titles = [words.verdict_title(level) for level in (OK, CHECK, FAILED)]
    assert titles == ["Looks right", "Check this result", "Do not use"]


def test_names_are_not_taken_for_markup(words: ModuleType) -> None:
    name = '<img src="x"> & "T1" <b>'
    manifest = Manifest("tiny", name, "registration", name, {}, ModelInput(3.0), name, name, name, name)
    model = words.model_html(KnownModel("tiny", Path(name), "user", manifest))
    texts = words.title_html(name), words.reasons_html([name]), words.measures_html([f"{name}: {name}"])
    for html in (*texts, words.error_html(DeepRegError(name, name)), model):
        assert "<img" not in html
        assert "<b>" not in html.replace("<b>&lt;", "&lt;")
        assert "&amp; &quot;T1&quot; &lt;b&gt;" in html


@pytest.mark.parametrize(
    ("images", "told"),
    [(ModelInput(1.5), "voxels of 1.5 mm"), (ModelInput(across=96), "96 voxels along the longest side")],
)
def test_a_model_says_on_what_grid_it_sees_its_images(words: ModuleType, images: ModelInput, told: str) -> None:
    manifest = Manifest("tiny", "1.0", "registration", "pyramid", {}, images, "MIT", "a", "b", "c")
    html = words.model_html(KnownModel("tiny", Path("tiny"), "user", manifest))
    assert told in html
    assert "voxels of 0 mm" not in html


def test_an_error_without_a_hint_is_one_sentence(words: ModuleType) -> None:
    assert words.error_html(DeepRegError("It is wrong.")).count("<p") == 0
