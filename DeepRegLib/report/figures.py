"""The pictures of the report: slices in anatomical orientation, drawn with Pillow.

Not with matplotlib: loading it and laying out its axes took longer than a small registration.
"""

from __future__ import annotations

import colorsys
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray
from PIL import Image
from PIL.Image import Image as Picture

from DeepRegLib.geometry import Geometry
from DeepRegLib.report.canvas import (
    RED_OVER_BLUE,
    VIRIDIS,
    Colours,
    Size,
    coloured,
    draw_levels,
    grey,
    lay_over,
    pixels,
    rgb,
    round_numbers,
    tile,
    write,
    write_upwards,
)
from DeepRegLib.report.planes import Plane, Slice
from DeepRegLib.result import Registration
from DeepRegLib.segments import Colour
from DeepRegLib.transforms import LinearTransform, linear_part

WIDTH = 10.0  # inches
JPEG_QUALITY = 88
TILES = 9
GRID_LINES = 24
BACKGROUND, INK, LETTERS = "#101214", "#f2f2f2", "#ffffff"
EDGE_COLOUR, GRID_COLOUR, BORDER_COLOUR, FOLD_COLOUR = "#ffd400", "#ffd400", "#ff9f1a", "#00ff44"
DIFFERENCE = 0.8
DASH = 5.0  # pixels
LETTER_POINTS = 12.0
BAR_NUMBERS = 5
SURE = 0.999  # above that, nothing is said against a voxel
NO_COLOURS: Mapping[int, Colour] = MappingProxyType({})


@dataclass(frozen=True)
class Row:
    """One row of a figure: its title and how it is drawn in each plane, in pixels."""

    title: str
    draw: Callable[[Plane, Size], Picture]


@dataclass(frozen=True)
class Bar:
    """What the colours of the last row mean: a scale from `low` to `high`, its numbers in a format."""

    scale: tuple[str, ...]
    low: float
    high: float
    form: str


def images_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw fixed, moving before and moving after registration."""
    return _figure(
        planes,
        Row("Fixed", lambda plane, size: tile(grey(plane.fixed), size)),
        Row("Moving, before", lambda plane, size: _moving(plane.before, plane.scanned_before, size)),
        Row("Moving, registered", lambda plane, size: _moving(plane.after, plane.scanned_after, size)),
    )


def overlay_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw the fixed image in red and the moving one in cyan."""
    return _before_and_after(planes, lambda fixed, moving, size: tile(_red_and_cyan(fixed, moving), size))


def checkerboard_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw fixed and moving image in alternating tiles."""
    return _before_and_after(planes, lambda fixed, moving, size: tile(grey(_checkerboard(fixed, moving)), size))


def edges_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw the edges of the fixed image on the moving one."""
    edges = {plane.name: _edges(plane.fixed) for plane in planes}
    return _figure(
        planes,
        Row("Before", lambda plane, size: _edges_over(plane.before, edges[plane.name], size)),
        Row("After", lambda plane, size: _edges_over(plane.after, edges[plane.name], size)),
    )


def difference_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw moving minus fixed: grey where they agree."""
    return _before_and_after(
        planes, lambda fixed, moving, size: tile(grey((moving - fixed) / (2 * DIFFERENCE) + 0.5), size)
    )


def labels_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw the outlines of the warped labels on the fixed and on the registered image."""
    return _figure(
        planes,
        Row("On fixed", lambda plane, size: _outlines_over(plane.fixed, plane.labels, size)),
        Row("On registered", lambda plane, size: _outlines_over(plane.after, plane.labels, size)),
    )


def labelled_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw the outlines of labels on one scan, in one row."""
    return _figure(planes, Row("", lambda plane, size: _outlines_over(plane.fixed, plane.labels, size)))


def segmented_figure(
    planes: tuple[Plane, ...], certainty: Sequence[Slice], colours: Mapping[int, Colour], title: str
) -> bytes:
    """Draw a scan, the outlines of its segments in their colours, and a map of how sure they are.

    Parameters
    ----------
    planes
        Of the scan with its labels.
    certainty
        0 to 1, a slice a plane; shown in and around the segments.
    colours
        Of the labels, red, green and blue from 0 to 1.
    title
        Of the map.
    """
    maps = {plane.name: values for plane, values in zip(planes, certainty, strict=True)}

    def mapped(plane: Plane, size: Size) -> Picture:
        values = maps[plane.name]
        drawn = tile(grey(plane.fixed * 0.35), size)
        doubted = values < SURE if plane.labels is None else (values < SURE) | (plane.labels != 0)
        lay_over(drawn, coloured(values, 0.0, 1.0, VIRIDIS), doubted & plane.foreground)
        return drawn

    return _figure(
        planes,
        Row("Scan", lambda plane, size: tile(grey(plane.fixed), size)),
        Row("Segments", lambda plane, size: _outlines_over(plane.fixed, plane.labels, size, colours)),
        Row(title, mapped),
        bar=Bar(VIRIDIS, 0.0, 1.0, ".1f"),
    )


def deformation_figure(registration: Registration, planes: tuple[Plane, ...]) -> bytes:
    """Draw the deformation without its linear part: the moving image's grid, and the log Jacobian."""
    positions = {plane.name: _deformed_positions(registration, plane.geometry) for plane in planes}
    determinants = {plane.name: _determinant(positions[plane.name], plane.geometry.spacing[0]) for plane in planes}
    stretches = [np.abs(np.log(d[p.foreground & (d > 0)])) for p, d in zip(planes, determinants.values(), strict=True)]
    limit = _round_limit(np.concatenate(stretches))
    extent = max(max(plane.geometry.size) * plane.geometry.spacing[0] for plane in planes)
    step = _round_step(extent / GRID_LINES)
    return _figure(
        planes,
        Row(f"Grid of {step:g} mm", lambda plane, size: _deformed_grid(plane, positions[plane.name][1], step, size)),
        Row("log Jacobian", lambda plane, size: _log_jacobian(plane, determinants[plane.name], limit, size)),
        bar=Bar(RED_OVER_BLUE, -limit, limit, "+.2f"),
    )


def uncertainty_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw how far the model's answers differ, in mm, inside the fixed foreground."""
    return _map_figure(planes, "Uncertainty, mm", lambda plane: plane.uncertainty)


def explanation_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw how far the model's field moves where the fixed image is hidden, in mm, inside the fixed foreground."""
    return _map_figure(planes, "Moves by, mm", lambda plane: plane.explanation)


def _map_figure(planes: tuple[Plane, ...], title: str, values_of: Callable[[Plane], Slice | None]) -> bytes:
    values = [found[plane.foreground] for plane in planes if (found := values_of(plane)) is not None]
    limit = max(float(np.percentile(np.concatenate(values), 99)), 0.1) if any(map(np.size, values)) else 0.1
    row = Row(title, lambda plane, size: _over_fixed(plane, values_of(plane), limit, size))
    return _figure(planes, row, bar=Bar(VIRIDIS, 0.0, limit, ".1f"))


def is_linear(registration: Registration) -> bool:
    """Tell whether the transform is linear, so that there is no deformation to draw."""
    return isinstance(registration.transform, LinearTransform)


def _before_and_after(planes: tuple[Plane, ...], draw: Callable[[Slice, Slice, Size], Picture]) -> bytes:
    return _figure(
        planes,
        Row("Before", lambda plane, size: draw(plane.fixed, plane.before, size)),
        Row("After", lambda plane, size: draw(plane.fixed, plane.after, size)),
    )


def _figure(planes: tuple[Plane, ...], *rows: Row, bar: Bar | None = None) -> bytes:
    """Lay planes out in columns, all at one scale, and encode the figure."""
    left, right, top, gap = (pixels(inches) for inches in (0.28, 0.75 if bar else 0.08, 0.28, 0.06))
    widths = np.array([plane.geometry.size[0] for plane in planes], dtype=np.float64)
    heights = np.array([plane.geometry.size[1] for plane in planes], dtype=np.float64)
    scale = (pixels(WIDTH) - left - right - gap * (len(planes) - 1)) / widths.sum()
    row_height = heights.max() * scale
    sheet = Image.new("RGB", (round(pixels(WIDTH)), round(top + len(rows) * (row_height + gap))), rgb(BACKGROUND))
    for n, row in enumerate(rows):
        middle = top + n * (row_height + gap) + row_height / 2
        write_upwards(sheet, (left / 2, middle), row.title, INK)
        for m, plane in enumerate(planes):
            x = left + widths[:m].sum() * scale + m * gap
            size = max(round(widths[m] * scale), 1), max(round(heights[m] * scale), 1)
            drawn = row.draw(plane, size)
            _write_letters(drawn, plane)
            sheet.paste(drawn, (round(x), round(middle - size[1] / 2)))
            if n == 0:
                write(sheet, (x + size[0] / 2, top / 2), plane.name, INK)
    if bar is not None:
        corner = sheet.width - right + pixels(0.12), top + (len(rows) - 1) * (row_height + gap) + 0.1 * row_height
        _draw_bar(sheet, bar, corner, round(0.8 * row_height))
    stream = io.BytesIO()
    sheet.save(stream, "JPEG", quality=JPEG_QUALITY)
    return stream.getvalue()


def _draw_bar(sheet: Picture, bar: Bar, corner: tuple[float, float], height: int) -> None:
    width = round(pixels(0.012 * WIDTH))
    column = np.repeat(np.linspace(bar.high, bar.low, max(height, 1))[:, None], width, axis=1)
    left, top = (round(part) for part in corner)
    sheet.paste(Image.fromarray(coloured(column, bar.low, bar.high, bar.scale)), (left, top))
    for number in round_numbers(bar.low, bar.high, BAR_NUMBERS):
        row = top + (bar.high - number) / (bar.high - bar.low) * height
        sheet.paste(rgb(INK), (left + width, round(row), left + width + 4, round(row) + 1))
        write(sheet, (left + width + 7, row), format(number, bar.form), INK, anchor="lm", points=8)


def _write_letters(picture: Picture, plane: Plane) -> None:
    width, height = picture.size
    places = (
        ((0.02 * width, 0.5 * height), "lm"),
        ((0.98 * width, 0.5 * height), "rm"),
        ((0.5 * width, 0.015 * height), "mt"),
        ((0.5 * width, 0.985 * height), "mb"),
    )
    for letter, (place, anchor) in zip(plane.letters, places, strict=True):
        write(picture, place, letter, LETTERS, anchor=anchor, points=LETTER_POINTS, outline=True)


def _red_and_cyan(fixed: Slice, moving: Slice) -> Colours:
    red, cyan = grey(fixed)[..., 0], grey(moving)[..., 0]
    return np.stack([red, cyan, cyan], axis=-1)


def _moving(picture: Slice, scanned: NDArray[np.bool_], size: Size) -> Picture:
    drawn = tile(grey(picture), size)
    if not scanned.any():
        write(drawn, (0.5 * size[0], 0.6 * size[1]), "not in this slice", LETTERS, outline=True)
    elif not scanned.all():
        # Between -0.5 and 0.5 there is one multiple of a large step, at the border.
        draw_levels(drawn, scanned.astype(np.float32) - 0.5, 10.0, BORDER_COLOUR, 0.9, dash=DASH)
    return drawn


def _checkerboard(fixed: Slice, moving: Slice) -> Slice:
    tile = max(max(fixed.shape) // TILES, 1)
    row, column = np.indices(fixed.shape) // tile
    return np.where((row + column) % 2 == 0, fixed, moving)


def _edges_over(moving: Slice, edges: NDArray[np.bool_], size: Size) -> Picture:
    drawn = tile(grey(moving), size)
    lay_over(drawn, EDGE_COLOUR, edges)
    return drawn


def _edges(picture: Slice) -> NDArray[np.bool_]:
    smooth = sitk.DiscreteGaussian(sitk.GetImageFromArray(picture), [2.0, 2.0])
    strength = sitk.GetArrayFromImage(sitk.GradientMagnitude(smooth))
    visible = strength[strength > 0.01]
    if visible.size == 0:
        return np.zeros(picture.shape, dtype=np.bool_)
    low, high = (float(v) for v in np.percentile(visible, (45, 70)))
    canny = sitk.CannyEdgeDetection(sitk.GetImageFromArray(picture), low, high, [2.0, 2.0])
    return sitk.GetArrayFromImage(canny) > 0


def _outlines_over(
    picture: Slice, labels: NDArray[np.generic] | None, size: Size, colours: Mapping[int, Colour] = NO_COLOURS
) -> Picture:
    drawn = tile(grey(picture), size)
    if labels is None:
        return drawn
    border = np.zeros(labels.shape, dtype=np.bool_)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    border[:-1] |= labels[1:] != labels[:-1]
    border &= labels != 0
    present, which = np.unique(labels[border], return_inverse=True)
    # The golden ratio spreads the hues of neighbouring labels.
    hues = [
        colours.get(label) or colorsys.hsv_to_rgb(float(label) * 0.618034 % 1, 0.85, 1.0) for label in present.tolist()
    ]
    outlines = np.zeros((*labels.shape, 3), dtype=np.uint8)
    outlines[border] = np.rint(255 * np.array(hues).reshape(-1, 3)).astype(np.uint8)[which.ravel()]
    lay_over(drawn, outlines, border)
    return drawn


def _deformed_positions(registration: Registration, plane: Geometry) -> NDArray[np.float64]:
    """Where a slice and its two neighbours come from, without the linear part, shape ``(3, j, i, 3)``, LPS mm."""
    step = plane.axes[:, 2] * plane.spacing[2]
    layers = plane.points() + np.array([-1, 0, 1])[:, None, None, None] * step
    moved = registration.transform.apply_to_points(layers)
    return linear_part(registration.transform).inverse().apply_to_points(moved)


def _determinant(positions: NDArray[np.float64], spacing: float) -> NDArray[np.float64]:
    """Jacobian determinant of the middle layer, shape ``(j, i)``."""
    across = (positions[2] - positions[0]) / 2
    along = [np.gradient(positions[1], axis=a) if positions.shape[1 + a] > 1 else None for a in (1, 0)]
    if along[0] is None or along[1] is None:
        return np.ones(positions.shape[1:3])
    return np.asarray(np.einsum("jia,jia->ji", np.cross(along[0], along[1]), across)) / spacing**3


def _deformed_grid(plane: Plane, positions: NDArray[np.float64], step: float, size: Size) -> Picture:
    drawn = tile(grey(plane.fixed * 0.75), size)
    for axis in (0, 1):
        along = positions @ plane.geometry.axes[:, axis]
        if along.max() - along.min() <= 10 * GRID_LINES * step:
            draw_levels(drawn, along, step, GRID_COLOUR, 0.6)
    return drawn


def _log_jacobian(plane: Plane, determinant: NDArray[np.float64], limit: float, size: Size) -> Picture:
    drawn = tile(grey(plane.fixed * 0.35), size)
    folded = determinant <= 0
    stretch = np.log(np.where(folded, 1, determinant))
    lay_over(drawn, coloured(stretch, -limit, limit, RED_OVER_BLUE), plane.foreground)
    lay_over(drawn, FOLD_COLOUR, folded)
    return drawn


def _over_fixed(plane: Plane, values: Slice | None, limit: float, size: Size) -> Picture:
    drawn = tile(grey(plane.fixed * 0.35), size)
    if values is not None:
        lay_over(drawn, coloured(values, 0.0, limit, VIRIDIS), plane.foreground)
    return drawn


def _round_limit(stretch: NDArray[np.float64]) -> float:
    if stretch.size == 0:
        return 0.1
    return float(np.clip(math.ceil(float(np.percentile(stretch, 99)) * 10) / 10, 0.1, 2.0))


def _round_step(step: float) -> float:
    """Return the nearest of 1, 2, 5, 10, 20, ... mm."""
    power = 10.0 ** math.floor(math.log10(step))
    return power * min((1, 2, 5, 10), key=lambda n: abs(n - step / power))
