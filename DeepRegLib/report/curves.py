"""Curves as an SVG drawing, a panel each: similarity over the iterations of a stage and level, motion over time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.report.canvas import round_numbers

COLUMNS = 4
WIDTH, HEIGHT = 1100, 210  # of the drawing, and of a row of panels
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 28, 24  # of a panel, around its curve
LINE, GRID, INK = "#1f5fa8", "#dddddd", "#222222"
MARGIN = 0.05
STEPS = 5
Box = tuple[float, float, float, float]


def curves_drawing(curves: Mapping[str, NDArray[np.float64]], places: NDArray[np.float64] | None = None) -> bytes:
    """Return the drawing as SVG; what names hold is text, never markup.

    Parameters
    ----------
    curves
        Values by the title of their panel.
    places
        Where the values of each lie along its horizontal axis, rising; None counts them from 1.
    """
    columns = min(len(curves), COLUMNS)
    height = HEIGHT * math.ceil(len(curves) / columns)
    width = WIDTH / columns
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="sans-serif" font-size="11" fill="{INK}"><rect width="100%" height="100%" fill="#ffffff"/>'
    ]
    for number, (name, values) in enumerate(curves.items()):
        corner = (number % columns) * width, (number // columns) * HEIGHT
        box = corner[0] + LEFT, corner[1] + TOP, corner[0] + width - RIGHT, corner[1] + HEIGHT - BOTTOM
        along = np.arange(1, len(values) + 1, dtype=np.float64) if places is None else places
        parts += _panel(name, along, np.asarray(values, dtype=np.float64), box)
    return "".join([*parts, "</svg>"]).encode("utf-8")


def _panel(name: str, along: NDArray[np.float64], values: NDArray[np.float64], box: Box) -> Iterator[str]:
    left, top, right, bottom = box
    ends, reach = _reach(along), _reach(values[np.isfinite(values)])
    x = _scaled(along, ends, (left, right))
    y = _scaled(values, reach, (bottom, top))
    yield f'<text x="{(left + right) / 2:.1f}" y="{top - 10}" text-anchor="middle" font-size="13">{escape(name)}</text>'
    for number in round_numbers(*ends, STEPS):
        at = float(_scaled(np.array([number]), ends, (left, right))[0])
        yield f'<path d="M{at:.1f} {top}V{bottom}" stroke="{GRID}"/>'
        yield f'<text x="{at:.1f}" y="{bottom + 15}" text-anchor="middle">{number:g}</text>'
    for number in round_numbers(*reach, STEPS):
        at = float(_scaled(np.array([number]), reach, (bottom, top))[0])
        yield f'<path d="M{left} {at:.1f}H{right}" stroke="{GRID}"/>'
        yield f'<text x="{left - 5}" y="{at + 4:.1f}" text-anchor="end">{number:g}</text>'
    yield f'<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="{INK}"/>'
    yield f'<path d="{_line(x, y)}" fill="none" stroke="{LINE}" stroke-width="2" stroke-linecap="round"/>'


def _reach(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of an axis: those of the values and a little more."""
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    margin = MARGIN * (high - low) if high > low else max(abs(high), 1.0) * MARGIN
    return low - margin, high + margin


def _scaled(values: NDArray[np.float64], reach: tuple[float, float], ends: tuple[float, float]) -> NDArray[np.float64]:
    share = (values - reach[0]) / (reach[1] - reach[0])
    return ends[0] + share * (ends[1] - ends[0])


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> str:
    """Return a path through points, interrupted where one is not finite; a point alone is a dot."""
    words, drawing = [], False
    for across, down in zip(x.tolist(), y.tolist(), strict=True):
        if math.isfinite(down):
            words.append(f"{'L' if drawing else 'M'}{across:.1f} {down:.1f}" + ("" if drawing else "h0"))
        drawing = math.isfinite(down)
    return "".join(words)
