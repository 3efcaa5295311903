"""The report of a series: curves over time and a moving picture, in one HTML page that needs nothing else."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_atomically, write_text
from DeepRegLib.image import Image, resample
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.naming import base_name, without_folders
from DeepRegLib.orientation import in_standard_order
from DeepRegLib.series.products import stabilised_frame
from DeepRegLib.series.result import SeriesRegistration

PICTURE_HEIGHT = 260  # pixels
MOST_PICTURES = 40
CYCLE_SECONDS = 4.0
LEAST_MILLISECONDS = 40
WINDOW = (1.0, 99.5)  # percentiles of the reference
GAP = 6  # pixels
Grey = NDArray[np.uint8]
STYLE = (
    "body{font-family:sans-serif;max-width:1120px;margin:2em auto;color:#222}table{border-collapse:collapse}"
    "td,th{padding:.25em .7em;text-align:right;border-bottom:1px solid #ddd}"
    "td:first-child,th:first-child{text-align:left}"
    ".ok{color:#1a7f37}.check{color:#9a6700}.failed{color:#b42318}img{max-width:100%}"
)
WORDS = {"ok": "Trusted", "check": "To be checked", "failed": "Failed"}


def write_moving_picture(series: SeriesRegistration, path: str | Path, *, poll: Poll = never_cancel) -> None:
    """Write an animated GIF: on the left the frames as they lie, on the right registered.

    Raises
    ------
    InputError
        If Pillow is not installed.
    OutputError
        If it cannot be written.
    """
    try:
        from PIL import Image as Pictures
    except ModuleNotFoundError as error:
        raise InputError("The moving picture needs Pillow, which is not installed.", "pip install Pillow") from error
    pictures = [Pictures.fromarray(each) for each in _pictures(series, poll)]
    sized = [each.resize(_shown_size(series, each.size), Pictures.Resampling.BILINEAR) for each in pictures]
    duration = max(int(1000 * CYCLE_SECONDS / len(sized)), LEAST_MILLISECONDS)
    write_atomically(
        path,
        lambda temporary: sized[0].save(
            temporary, format="GIF", save_all=True, append_images=sized[1:], duration=duration, loop=0
        ),
    )


def write_series_report(
    series: SeriesRegistration, scores: NDArray[np.float64] | None, picture: Path, path: str | Path
) -> None:
    """Write the page; `scores` are those of `motion_scores`, `picture` is the file of `write_moving_picture`."""
    write_text(Path(path), series_report(series, scores, picture.read_bytes()))


def series_report(series: SeriesRegistration, scores: NDArray[np.float64] | None, picture: bytes) -> str:
    """Return the page as HTML; what names hold is text, never markup."""
    from DeepRegLib.report.curves import curves_drawing

    level = series.verdict.level
    names = [series.reference.name, series.frames.name]
    times = np.array([row.time for row in series.rows], dtype=np.float64)
    drawing = base64.b64encode(curves_drawing(series_curves(series, scores), times)).decode()
    moving = base64.b64encode(picture).decode()
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Series</title>',
        f"<style>{STYLE}</style></head><body><h1>Series of {len(series.frames)} frames: "
        f'<span class="{escape(level)}">{escape(WORDS.get(level, level))}</span></h1>',
        _list(without_folders((*series.verdict.reasons, *series.warnings), names)),
        "<h2>As they lie, and registered</h2>",
        f'<img alt="frames as they lie and registered" src="data:image/gif;base64,{moving}">',
        f"<h2>Over time ({escape(series.frames.unit)})</h2>",
        f'<img alt="curves over time" src="data:image/svg+xml;base64,{drawing}">',
        f"<p>Roughness of the paths of points: {series.roughness_before:.3f} mm before smoothing over time, "
        f"{series.roughness_after:.3f} mm after (mean second difference).</p>",
        "<h2>Frames</h2>",
        _table(series),
        "<h2>Decisions</h2>",
        _list(without_folders(series.decisions, names)),
        f"<p>Recipe {escape(series.recipe.name)}; reference {escape(base_name(series.reference.name))}.</p>",
        "</body></html>",
    ]
    return "\n".join(parts)


def series_curves(series: SeriesRegistration, scores: NDArray[np.float64] | None) -> dict[str, NDArray[np.float64]]:
    """Return what is drawn over the frames, by its title."""
    rows = series.rows
    curves = {
        "mean motion (mm)": np.array([row.motion_mean for row in rows]),
        "mean volume change": np.array([row.jacobian_mean for row in rows]),
        "mean largest strain": np.array([row.strain for row in rows]),
        "likeness, registered (NCC)": np.array([row.ncc_after for row in rows]),
    }
    if scores is not None:
        curves |= {f"component {n + 1} of the motion (mm)": column for n, column in enumerate(scores.T)}
    motion = series.motion
    if motion is not None:
        for axis, name in enumerate("xyz"):
            curves[f"along {name} (mm)"] = motion.translations[:, axis]
        for axis, name in enumerate("xyz"):
            curves[f"about {name} (degrees)"] = motion.rotations[:, axis]
        curves["framewise displacement (mm)"] = motion.framewise_displacement
    return curves


def _list(texts: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(text)}</li>" for text in texts) + "</ul>" if texts else ""


def _table(series: SeriesRegistration) -> str:
    heading = [
        *("frame", f"time ({series.frames.unit})", "verdict", "motion (mm)", "95 %", "NCC before", "NCC after"),
        *("volume", "strain", "folds", "folds of the inverse", "inverse (mm)"),
    ]
    lines = ["<table><tr>" + "".join(f"<th>{escape(each)}</th>" for each in heading) + "</tr>"]
    for row in series.rows:
        cells = (
            base_name(row.name),
            f"{row.time:g}",
            row.verdict.level + (", bridged" if row.bridged else ""),
            f"{row.motion_mean:.2f}",
            f"{row.motion_p95:.2f}",
            f"{row.ncc_before:.3f}",
            f"{row.ncc_after:.3f}",
            f"{row.jacobian_mean:.3f}",
            f"{row.strain:.3f}",
            str(row.folds),
            str(row.inverse_folds),
            f"{row.inverse_error:.3f}",
        )
        lines.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return "\n".join([*lines, "</table>"])


def _pictures(series: SeriesRegistration, poll: Poll) -> Iterator[Grey]:
    """Give, for each frame, one coronal slice as it lies and registered, side by side."""
    reference = in_standard_order(series.reference)
    low, high = np.percentile(reference.array.astype(np.float64), WINDOW)
    middle = _middle(in_standard_order(series.foreground))
    step = -(-len(series.frames) // MOST_PICTURES)
    for index in range(0, len(series.frames), step):
        poll()
        lies = in_standard_order(resample(series.frames[index].read(), series.reference.geometry, poll=poll))
        moved = in_standard_order(stabilised_frame(series, index, poll=poll))
        sides = [_slice(each, middle, float(low), float(high)) for each in (lies, moved)]
        gap = np.zeros((sides[0].shape[0], GAP), np.uint8)
        yield np.concatenate([sides[0], gap, sides[1]], axis=1)


def _middle(foreground: Image) -> int:
    rows = np.flatnonzero(foreground.array.any(axis=(0, 2)))
    return int(rows[len(rows) // 2]) if rows.size else foreground.array.shape[1] // 2


def _slice(image: Image, row: int, low: float, high: float) -> Grey:
    """Return a coronal slice, the head up, as grey levels; a stack of few thick slices is stretched later."""
    values = image.array[::-1, row].astype(np.float64)
    return np.asarray(np.clip(255 * (values - low) / max(high - low, 1e-12), 0, 255), dtype=np.uint8)


def _shown_size(series: SeriesRegistration, size: tuple[int, int]) -> tuple[int, int]:
    spacing = in_standard_order(series.reference).geometry.spacing
    tall, wide = size[1] * spacing[2], size[0] * spacing[0]
    return max(round(PICTURE_HEIGHT * wide / tall), 1), PICTURE_HEIGHT
