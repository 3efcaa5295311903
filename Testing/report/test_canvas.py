"""What the report's pictures are drawn with, and the drawing of the convergence."""

from __future__ import annotations

import math
from xml.etree import ElementTree as ET

import numpy as np
import pytest

pytest.importorskip("PIL")
from PIL import Image

from DeepRegLib.report.canvas import RED_OVER_BLUE, coloured, draw_levels, grey, lay_over, round_numbers, write
from DeepRegLib.report.curves import curves_drawing

SVG = "{http://www.w3.org/2000/svg}"


def test_lines_run_where_values_are_multiples_of_the_step() -> None:
    values = np.tile(np.linspace(0.0, 4.0, 81), (40, 1))
    picture = Image.new("RGB", (162, 80))
    draw_levels(picture, values, 2.0, "#ffffff", 1.0)
    bright = np.asarray(picture)[40, :, 0] > 128
    # Two pixels a sample: 0, 2 and 4 lie at the samples 0, 40 and 80.
    found = np.flatnonzero(bright)
    assert {round((column - 0.5) / 2 / 40) for column in found.tolist()} == {0, 1, 2}
    assert all(abs((column - 0.5) / 2 - 40 * round((column - 0.5) / 80)) <= 1.5 for column in found.tolist())


def test_where_nothing_changes_there_is_no_line() -> None:
    picture = Image.new("RGB", (20, 20))
    draw_levels(picture, np.zeros((10, 10)), 1.0, "#ffffff", 1.0)
    draw_levels(picture, np.arange(10.0)[None], 1.0, "#ffffff", 1.0)  # a slice of one row has no slope across
    assert not np.asarray(picture).any()


def test_a_scale_runs_from_blue_through_white_to_red_and_stops_at_its_ends() -> None:
    low, middle, high, beyond = coloured(np.array([[-1.0, 0.0, 1.0, 9.0]]), -1.0, 1.0, RED_OVER_BLUE)[0].astype(int)
    assert low[2] > low[0] + 50
    assert middle.min() > 240
    assert high[0] > high[2] + 50
    np.testing.assert_array_equal(high, beyond)


def test_what_is_not_a_number_is_black() -> None:
    assert grey(np.array([[np.nan, 2.0]])).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_a_mask_colours_its_pixels_and_no_others() -> None:
    picture = Image.new("RGB", (4, 2))
    lay_over(picture, "#ff0000", np.array([[True, False]]))
    assert np.asarray(picture)[0].tolist() == [[255, 0, 0], [255, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_text_is_visible_on_its_own_colour() -> None:
    picture = Image.new("RGB", (40, 40), (255, 255, 255))
    write(picture, (20, 20), "A", "#ffffff", outline=True)
    assert np.asarray(picture).min() < 64


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [(0, 10, 5, [0, 2, 4, 6, 8, 10]), (-0.65, 0.65, 5, [-0.5, 0, 0.5]), (1, 1, 5, [1]), (0, math.inf, 5, [0])],
)
def test_round_numbers_lie_between_the_ends(low: float, high: float, count: int, expected: list[float]) -> None:
    assert round_numbers(low, high, count) == pytest.approx(expected)


def test_curves_are_drawn_a_panel_each_with_names_as_text() -> None:
    falling, gap = np.linspace(1.0, 0.2, 30), np.array([0.2, np.nan, 0.7])
    drawing = ET.fromstring(curves_drawing({"linear": falling, "<b> & $x$": gap, "one": np.ones(1)}))
    assert {"linear", "<b> & $x$", "one"} <= {text.text for text in drawing.iter(f"{SVG}text")}
    lines = [path.get("d") for path in drawing.iter(f"{SVG}path") if path.get("stroke-linecap")]
    assert len(lines) == 3
    rows = [float(word.split()[1].removesuffix("h0")) for word in lines[0].replace("L", "M").split("M")[1:]]
    assert rows == sorted(rows)  # a similarity that falls runs down the page
    assert [line.count("M") for line in lines] == [1, 2, 1]
    assert "nan" not in "".join(lines)


def test_values_stand_where_their_times_are() -> None:
    drawing = ET.fromstring(curves_drawing({"motion": np.arange(3.0)}, np.array([0.0, 10.0, 40.0])))
    assert {"0", "20", "40"} <= {text.text for text in drawing.iter(f"{SVG}text")}
    (line,) = (path.get("d") for path in drawing.iter(f"{SVG}path") if path.get("stroke-linecap"))
    across = np.array([float(word.split()[0]) for word in line.replace("L", "M").split("M")[1:]])
    assert (across[2] - across[0]) / (across[1] - across[0]) == pytest.approx(4, abs=0.01)


def test_a_curve_of_nothing_is_an_empty_panel() -> None:
    ET.fromstring(curves_drawing({"none": np.zeros(0), "lost": np.full(3, np.nan)}))
