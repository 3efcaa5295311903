"""What the report's pictures are drawn with: colours, lines along a level, words; on Pillow's pictures of 8 bits."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.Image import Image as Picture
from PIL.Image import Resampling

Colours = NDArray[np.uint8]
Size = tuple[int, int]

DOTS_PER_INCH = 110
POINTS_PER_INCH = 72
TEXT_POINTS = 10.0
# From the lowest value to the highest, evenly spaced: ColorBrewer's RdBu turned round, and viridis.
RED_OVER_BLUE = (
    *("053061", "2166ac", "4393c3", "92c5de", "d1e5f0", "f7f7f7"),
    *("fddbc7", "f4a582", "d6604d", "b2182b", "67001f"),
)
VIRIDIS = ("440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725")


def pixels(inches: float) -> float:
    """Return a length in pixels."""
    return inches * DOTS_PER_INCH


def grey(values: NDArray[np.floating]) -> Colours:
    """Return values from 0 (black) to 1 (white), ``(j, i)``, as colours ``(j, i, 3)``."""
    level = np.rint(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)
    return np.repeat(level[..., None], 3, axis=-1)


def coloured(values: NDArray[np.floating], low: float, high: float, scale: tuple[str, ...]) -> Colours:
    """Return values as colours of a scale that runs from `low` to `high`."""
    anchors = np.array([rgb(f"#{colour}") for colour in scale], dtype=np.float64)
    place = np.clip((np.nan_to_num(values) - low) / (high - low), 0, 1) * (len(anchors) - 1)
    parts = [np.interp(place, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.rint(np.stack(parts, axis=-1)).astype(np.uint8)


def rgb(colour: str) -> tuple[int, int, int]:
    """Return a colour written as ``#rrggbb``."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def tile(colours: Colours, size: Size) -> Picture:
    """Return a slice's colours as a picture of another size, smoothly."""
    return Image.fromarray(colours).resize(size, Resampling.HAMMING)


def lay_over(picture: Picture, colours: Colours | str, where: NDArray[np.bool_]) -> None:
    """Colour a picture where a mask of its slice is set, without smoothing."""
    mask = Image.fromarray(where.astype(np.uint8) * 255).resize(picture.size, Resampling.NEAREST)
    if isinstance(colours, str):
        picture.paste(rgb(colours), mask=mask)
    else:
        picture.paste(Image.fromarray(colours).resize(picture.size, Resampling.NEAREST), mask=mask)


def draw_levels(
    picture: Picture, values: NDArray[np.floating], step: float, colour: str, width: float, *, dash: float = 0.0
) -> None:
    """Draw the lines along which values of a slice are a whole multiple of a step.

    How far a pixel lies from the nearest such line is how much its value lacks over the slope there.

    Parameters
    ----------
    picture
        What is drawn on.
    values
        Of the slice, ``(j, i)``.
    step
        Between two lines.
    colour
        ``#rrggbb``.
    width
        Of a line in points.
    dash
        Length of a dash and of the gap behind it in pixels; 0 for none.
    """
    if min(values.shape) < 2:
        return
    source = Image.fromarray(np.nan_to_num(values).astype(np.float32))
    fine = np.asarray(source.resize(picture.size, Resampling.BILINEAR), dtype=np.float32)
    if min(fine.shape) < 2:
        return
    lacking = np.abs(fine - step * np.rint(fine / step))
    slope = np.hypot(*np.gradient(fine))
    away = np.divide(lacking, slope, out=np.full_like(fine, np.inf), where=slope > 1e-6 * step)
    cover = np.clip(width * DOTS_PER_INCH / POINTS_PER_INCH / 2 + 0.5 - away, 0, 1)
    if dash:
        rows, columns = np.indices(fine.shape)
        cover *= ((rows + columns) // dash) % 2 == 0
    picture.paste(rgb(colour), mask=Image.fromarray(np.rint(cover * 255).astype(np.uint8)))


def write(
    picture: Picture,
    place: tuple[float, float],
    text: str,
    colour: str,
    *,
    anchor: str = "mm",
    points: float = TEXT_POINTS,
    outline: bool = False,
) -> None:
    """Write a line of text; where its `anchor` lies is told in Pillow's two letters.

    Parameters
    ----------
    picture
        What is written on.
    place
        Column and row in pixels.
    text, colour, points
        What, in which colour and how large.
    anchor
        ``"mm"`` has the middle at the place.
    outline
        Whether it stands out on any background by a black rim.
    """
    font = ImageFont.load_default(points * DOTS_PER_INCH / POINTS_PER_INCH)
    rim = 2 if outline else 0
    draw = ImageDraw.Draw(picture)
    draw.text(place, text, fill=rgb(colour), font=font, anchor=anchor, stroke_width=rim, stroke_fill=(0, 0, 0))


def write_upwards(picture: Picture, place: tuple[float, float], text: str, colour: str) -> None:
    """Write a line of text that runs upwards, its middle at a place."""
    font = ImageFont.load_default(TEXT_POINTS * DOTS_PER_INCH / POINTS_PER_INCH)
    left, top, right, bottom = font.getbbox(text)
    mask = Image.new("L", (math.ceil(right - left), math.ceil(bottom - top)))
    ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font)
    turned = mask.transpose(Image.Transpose.ROTATE_90)
    corner = round(place[0] - turned.width / 2), round(place[1] - turned.height / 2)
    picture.paste(rgb(colour), (*corner, corner[0] + turned.width, corner[1] + turned.height), turned)


def round_numbers(low: float, high: float, count: int) -> list[float]:
    """Return the round numbers between two: steps of 1, 2 or 5 times a power of ten, `count` steps at most.

    Examples
    --------
    >>> round_numbers(0.12, 0.68, 3)
    [0.2, 0.4, 0.6]
    """
    least = (high - low) / count
    if not (math.isfinite(least) and least > 0):
        return [low]
    power = 10.0 ** math.floor(math.log10(least))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [float(f"{n * step:.12g}") for n in range(first, last + 1)]
