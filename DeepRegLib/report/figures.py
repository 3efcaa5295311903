"""The pictures of the report: slices in anatomical orientation, drawn with matplotlib's Agg canvas."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import hsv_to_rgb
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.report.planes import Plane, Slice
from DeepRegLib.result import Registration
from DeepRegLib.transforms import LinearTransform, linear_part

DOTS_PER_INCH = 110
WIDTH = 10.0  # inches
JPEG_QUALITY = 88
TILES = 9
GRID_LINES = 24
BACKGROUND, INK = "#101214", "#f2f2f2"
EDGE_COLOUR, GRID_COLOUR, BORDER_COLOUR, FOLD_COLOUR = "#ffd400", "#ffd400", "#ff9f1a", "#00ff44"


@dataclass(frozen=True)
class Row:
    """One row of a figure: its title and how it is drawn in each plane."""

    title: str
    draw: Callable[[Axes, Plane], object]


def images_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw fixed, moving before and moving after registration."""
    return _picture(
        planes,
        Row("Fixed", lambda axes, plane: _grey(axes, plane.fixed)),
        Row("Moving, before", lambda axes, plane: _moving(axes, plane.before, plane.scanned_before)),
        Row("Moving, registered", lambda axes, plane: _moving(axes, plane.after, plane.scanned_after)),
    )


def overlay_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw the fixed image in red and the moving one in cyan."""
    return _before_and_after(planes, lambda axes, fixed, moving: axes.imshow(np.stack([fixed, moving, moving], -1)))


def checkerboard_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw fixed and moving image in alternating tiles."""
    return _before_and_after(planes, lambda axes, fixed, moving: _grey(axes, _checkerboard(fixed, moving)))


def edges_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw the edges of the fixed image on the moving one."""
    return _before_and_after(planes, _edges_over)


def difference_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw moving minus fixed: grey where they agree."""
    return _before_and_after(
        planes, lambda axes, fixed, moving: axes.imshow(moving - fixed, cmap="gray", vmin=-0.8, vmax=0.8)
    )


def labels_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw the outlines of the warped labels on the fixed and on the registered image."""
    return _picture(
        planes,
        Row("On fixed", lambda axes, plane: _outlines_over(axes, plane.fixed, plane.labels)),
        Row("On registered", lambda axes, plane: _outlines_over(axes, plane.after, plane.labels)),
    )


def deformation_figure(registration: Registration, planes: tuple[Plane, ...]) -> bytes:
    """Draw the deformation without its linear part: the moving image's grid, and the log Jacobian."""
    positions = {plane.name: _deformed_positions(registration, plane.geometry) for plane in planes}
    determinants = {plane.name: _determinant(positions[plane.name], plane.geometry.spacing[0]) for plane in planes}
    stretches = [np.abs(np.log(d[p.foreground & (d > 0)])) for p, d in zip(planes, determinants.values(), strict=True)]
    limit = _round_limit(np.concatenate(stretches))
    extent = max(max(plane.geometry.size) * plane.geometry.spacing[0] for plane in planes)
    step = _round_step(extent / GRID_LINES)
    return _picture(
        planes,
        Row(f"Grid of {step:g} mm", lambda axes, plane: _deformed_grid(axes, plane, positions[plane.name][1], step)),
        Row("log Jacobian", lambda axes, plane: _log_jacobian(axes, plane, determinants[plane.name], limit)),
        colour_bar="%+.2f",
    )


def uncertainty_figure(planes: tuple[Plane, ...]) -> bytes:
    """Draw how far the model's answers differ, in mm, inside the fixed foreground."""
    values = [plane.uncertainty[plane.foreground] for plane in planes if plane.uncertainty is not None]
    limit = max(float(np.percentile(np.concatenate(values), 99)), 0.1) if any(map(np.size, values)) else 0.1
    row = Row("Uncertainty, mm", lambda axes, plane: _uncertainty(axes, plane, limit))
    return _picture(planes, row, colour_bar="%.1f")


def curves_figure(curves: Mapping[str, NDArray[np.float64]]) -> bytes:
    """Draw the similarity over the iterations, a panel a stage and level."""
    columns = min(len(curves), 4)
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(WIDTH, 2.1 * rows), dpi=DOTS_PER_INCH, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in panels[len(curves) :]:
        axes.set_axis_off()
    for axes, (name, values) in zip(panels, curves.items(), strict=False):
        axes.plot(np.arange(1, len(values) + 1), values, color="#1f5fa8", linewidth=1.4)
        axes.set_title(_unmarked(name), fontsize=9)
        axes.tick_params(labelsize=7)
        axes.grid(color="#dddddd", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    return _encoded(figure, "png")


def is_linear(registration: Registration) -> bool:
    """Tell whether the transform is linear, so that there is no deformation to draw."""
    return isinstance(registration.transform, LinearTransform)


def _before_and_after(planes: tuple[Plane, ...], draw: Callable[[Axes, Slice, Slice], object]) -> bytes:
    return _picture(
        planes,
        Row("Before", lambda axes, plane: draw(axes, plane.fixed, plane.before)),
        Row("After", lambda axes, plane: draw(axes, plane.fixed, plane.after)),
    )


def _picture(planes: tuple[Plane, ...], *rows: Row, colour_bar: str | None = None) -> bytes:
    """Lay planes out in columns, all at one scale, and encode the figure; `colour_bar` is the format of its numbers."""
    left, right, top, gap = 0.28, 0.75 if colour_bar else 0.08, 0.28, 0.06  # inches
    widths = np.array([plane.geometry.size[0] for plane in planes], dtype=np.float64)
    heights = np.array([plane.geometry.size[1] for plane in planes], dtype=np.float64)
    scale = (WIDTH - left - right - gap * (len(planes) - 1)) / widths.sum()
    row_height = heights.max() * scale
    height = top + len(rows) * (row_height + gap)
    figure = Figure(figsize=(WIDTH, height), dpi=DOTS_PER_INCH, facecolor=BACKGROUND)
    for n, row in enumerate(rows):
        middle = height - top - n * (row_height + gap) - row_height / 2
        figure.text(
            left / 2 / WIDTH, middle / height, row.title, color=INK, fontsize=10, rotation=90, ha="center", va="center"
        )
        drawn: object = None
        for m, plane in enumerate(planes):
            x = left + widths[:m].sum() * scale + m * gap
            size = widths[m] * scale, heights[m] * scale
            box = (x / WIDTH, (middle - size[1] / 2) / height, size[0] / WIDTH, size[1] / height)
            axes = figure.add_axes(box)
            drawn = row.draw(axes, plane)
            _finish(axes, plane)
            if n == 0:
                figure.text(
                    (x + size[0] / 2) / WIDTH,
                    1 - top / 2 / height,
                    plane.name,
                    color=INK,
                    fontsize=10,
                    ha="center",
                    va="center",
                )
        if colour_bar and n == len(rows) - 1:
            bar = figure.add_axes(
                ((WIDTH - right + 0.12) / WIDTH, (middle - row_height * 0.4) / height, 0.012, 0.8 * row_height / height)
            )
            figure.colorbar(drawn, cax=bar, format=colour_bar)  # type: ignore[arg-type]  # the row draws an image
            bar.tick_params(colors=INK, labelsize=8)
            bar.locator_params(nbins=5)
    return _encoded(figure, "jpeg")


def _finish(axes: Axes, plane: Plane) -> None:
    columns, rows = plane.geometry.size[:2]
    axes.set_xlim(-0.5, columns - 0.5)
    axes.set_ylim(rows - 0.5, -0.5)
    axes.set_axis_off()
    places = (
        (0.02, 0.5, "left", "center"),
        (0.98, 0.5, "right", "center"),
        (0.5, 0.985, "center", "top"),
        (0.5, 0.015, "center", "bottom"),
    )
    for letter, (x, y, horizontal, vertical) in zip(plane.letters, places, strict=True):
        _write(axes, x, y, letter, ha=horizontal, va=vertical)


def _write(axes: Axes, x: float, y: float, text: str, ha: str, va: str, size: float = 10) -> None:
    outline = withStroke(linewidth=2.5, foreground="black")
    axes.text(
        x,
        y,
        text,
        transform=axes.transAxes,
        color="white",
        fontsize=size,
        fontweight="bold",
        ha=ha,
        va=va,
        path_effects=[outline],
    )


def _encoded(figure: Figure, kind: str) -> bytes:
    stream = io.BytesIO()
    options = {"quality": JPEG_QUALITY} if kind == "jpeg" else {"optimize": True}
    FigureCanvasAgg(figure).print_figure(stream, format=kind, facecolor=figure.get_facecolor(), pil_kwargs=options)
    return stream.getvalue()


def _grey(axes: Axes, picture: Slice) -> object:
    return axes.imshow(picture, cmap="gray", vmin=0, vmax=1)


def _moving(axes: Axes, picture: Slice, scanned: NDArray[np.bool_]) -> None:
    _grey(axes, picture)
    if not scanned.any():
        _write(axes, 0.5, 0.4, "not in this slice", ha="center", va="center")
    elif not scanned.all():
        _contour(axes, scanned.astype(np.float32), [0.5], BORDER_COLOUR, 0.9, "dashed")


def _contour(
    axes: Axes, values: NDArray[np.floating], levels: list[float], colour: str, width: float, style: str = "solid"
) -> None:
    if min(values.shape) >= 2:
        axes.contour(values, levels=levels, colors=colour, linewidths=width, linestyles=style)


def _checkerboard(fixed: Slice, moving: Slice) -> Slice:
    tile = max(max(fixed.shape) // TILES, 1)
    row, column = np.indices(fixed.shape) // tile
    return np.where((row + column) % 2 == 0, fixed, moving)


def _edges_over(axes: Axes, fixed: Slice, moving: Slice) -> None:
    _grey(axes, moving)
    edges = np.zeros((*fixed.shape, 4))
    edges[_edges(fixed)] = _rgba(EDGE_COLOUR)
    axes.imshow(edges, interpolation="nearest")


def _edges(picture: Slice) -> NDArray[np.bool_]:
    smooth = sitk.DiscreteGaussian(sitk.GetImageFromArray(picture), [2.0, 2.0])
    strength = sitk.GetArrayFromImage(sitk.GradientMagnitude(smooth))
    visible = strength[strength > 0.01]
    if visible.size == 0:
        return np.zeros(picture.shape, dtype=np.bool_)
    low, high = (float(v) for v in np.percentile(visible, (45, 70)))
    canny = sitk.CannyEdgeDetection(sitk.GetImageFromArray(picture), low, high, [2.0, 2.0])
    return sitk.GetArrayFromImage(canny) > 0


def _outlines_over(axes: Axes, picture: Slice, labels: NDArray[np.generic] | None) -> None:
    _grey(axes, picture)
    if labels is None:
        return
    border = np.zeros(labels.shape, dtype=np.bool_)
    border[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    border[:, :-1] |= labels[:, 1:] != labels[:, :-1]
    border[1:] |= labels[1:] != labels[:-1]
    border[:-1] |= labels[1:] != labels[:-1]
    border &= labels != 0
    outlines = np.zeros((*labels.shape, 4))
    # The golden ratio spreads the hues of neighbouring labels.
    hue = (labels[border].astype(np.float64) * 0.618034) % 1
    outlines[border, :3] = hsv_to_rgb(np.stack([hue, np.full_like(hue, 0.85), np.ones_like(hue)], axis=-1))
    outlines[border, 3] = 1
    axes.imshow(outlines, interpolation="nearest")


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


def _deformed_grid(axes: Axes, plane: Plane, positions: NDArray[np.float64], step: float) -> None:
    _grey(axes, plane.fixed * 0.75)
    for axis in (0, 1):
        along = positions @ plane.geometry.axes[:, axis]
        levels = np.arange(math.ceil(along.min() / step), math.floor(along.max() / step) + 1) * step
        if 0 < levels.size <= 10 * GRID_LINES:
            _contour(axes, along, levels.tolist(), GRID_COLOUR, 0.6)


def _log_jacobian(axes: Axes, plane: Plane, determinant: NDArray[np.float64], limit: float) -> object:
    axes.set_facecolor(BACKGROUND)
    _grey(axes, plane.fixed * 0.35)
    folded = determinant <= 0
    stretch = np.ma.masked_array(np.log(np.where(folded, 1, determinant)), ~plane.foreground)
    drawn = axes.imshow(stretch, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    if folded.any():
        marks = np.zeros((*folded.shape, 4))
        marks[folded] = _rgba(FOLD_COLOUR)
        axes.imshow(marks, interpolation="nearest")
    return drawn


def _uncertainty(axes: Axes, plane: Plane, limit: float) -> object:
    axes.set_facecolor(BACKGROUND)
    _grey(axes, plane.fixed * 0.35)
    shown = np.zeros(plane.fixed.shape) if plane.uncertainty is None else plane.uncertainty
    masked = np.ma.masked_array(shown, ~plane.foreground)
    return axes.imshow(masked, cmap="viridis", vmin=0, vmax=limit, interpolation="nearest")


def _round_limit(stretch: NDArray[np.float64]) -> float:
    if stretch.size == 0:
        return 0.1
    return float(np.clip(math.ceil(float(np.percentile(stretch, 99)) * 10) / 10, 0.1, 2.0))


def _round_step(step: float) -> float:
    """Return the nearest of 1, 2, 5, 10, 20, ... mm."""
    power = 10.0 ** math.floor(math.log10(step))
    return power * min((1, 2, 5, 10), key=lambda n: abs(n - step / power))


def _rgba(colour: str) -> tuple[float, float, float, float]:
    red, green, blue = (int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5))
    return red, green, blue, 1.0


def _unmarked(text: str) -> str:
    """Keep matplotlib from reading a name as mathematics."""
    return text.replace("$", r"\$")
