"""A small series and what a registration of it would return, made by hand: the body shifts by known millimetres."""

from __future__ import annotations

import numpy as np

from DeepRegLib.image import Image
from DeepRegLib.result import Verdict
from DeepRegLib.series.request import SeriesRequest, SeriesResult
from DeepRegLib.series.result import FrameRow
from DeepRegLib.transforms import DisplacementField, LinearTransform, Transform

STEP_MM = 2.0


def shift_of(number: int) -> float:
    """Return how far frame `number` lies along z from the first, mm (LPS)."""
    return STEP_MM * number


def transform_of(request: SeriesRequest, number: int) -> Transform:
    """Return the transform from the first frame to another: none, then a matrix, then fields."""
    grid = request.frames[0].geometry
    if number < 2:
        matrix = np.eye(4)
        matrix[2, 3] = shift_of(number)
        return LinearTransform(matrix)
    field = np.zeros((*grid.shape, 3), np.float32)
    field[..., 2] = shift_of(number)
    return DisplacementField(field, grid)


def result_for(request: SeriesRequest) -> SeriesResult:
    """Answer a request: frame n is the first one shifted; labels are marked at the frame's number."""
    grid = request.frames[0].geometry
    rows = tuple(
        FrameRow(
            n, f"frame {n + 1}", time, Verdict("check" if n == 1 else "ok", ()), False, 0.7, 0.9,
            shift_of(n), shift_of(n), shift_of(n), 0.9, 1.0, 1.1, 0.05, 0, 0, 0.01, 1.0,
        )
        for n, time in enumerate(request.times)
    )  # fmt: skip

    def marked(image: Image, number: int) -> Image:
        labels = np.zeros(image.array.shape, np.uint8)
        labels[2 + number, 3:6, 3:6] = 1
        return Image(labels, image.geometry, "labels")

    flat = Image(np.full(grid.shape, 0.2, np.float32), grid, "map")
    return SeriesResult(
        reference_index=0,
        transforms=tuple(transform_of(request, n) for n in range(len(rows))),
        stabilised=tuple(request.frames[0].with_array(frame.array) for frame in request.frames),
        carried=tuple(
            tuple(marked(frame, n) for _ in request.layers)
            for n, frame in enumerate(request.frames if request.layers else ())
        ),
        volume_change=flat,
        peak_strain=flat,
        motion=flat,
        rows=rows,
        cyclic=False,
        smoothing=0.5,
        roughness_before=1.0,
        roughness_after=0.5,
        verdict=Verdict("check", ("1 of 4 frames are in doubt: frame 2.",)),
        decisions=("Reference: frame 0.",),
    )
