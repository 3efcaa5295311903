"""Fractional segments: which share of each voxel belongs to a segment, as Slicer's fractional label maps hold it.

Slicer keeps a voxel's share as a number of a range: -108 to 108 in its own conversions, which it writes as signed bytes
without saying so. Files written here name the range (``Segmentation_ScalarRange``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.formats.raster import Raster
from DeepRegLib.geometry import Geometry
from DeepRegLib.guarding import guarded
from DeepRegLib.image import Image, grid_of, read_raster
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.naming import shown
from DeepRegLib.segmentation.seg_nrrd_header import (
    FRACTIONAL,
    KIND,
    extents_of,
    keys_of,
    layered_segments,
    write_stack,
)
from DeepRegLib.segmentation.segments import Segment
from DeepRegLib.transforms import Transform, apply_to_image

RANGE = "Segmentation_ScalarRange"
HALF = 0.5
# What a type holds where the file does not say: Slicer's own range in bytes with a sign, all of a byte without, shares.
USUAL = {"i1": (-108.0, 108.0), "u1": (0.0, 255.0), "f4": (0.0, 1.0), "f8": (0.0, 1.0)}


@dataclass(frozen=True)
class Scale:
    """How shares are stored.

    Parameters
    ----------
    low, high
        What stands for nothing and for all of a voxel.
    dtype
        Of the voxels, as numpy writes it: ``"i1"``, ``"u1"``, ``"f4"`` and so on.
    """

    low: float
    high: float
    dtype: str

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"Shares from {self.low:g} to {self.high:g} cannot be told.", "Save the file again.")

    def shares(self, stored: NDArray[np.generic]) -> NDArray[np.float32]:
        """Return shares from 0 to 1 of what is stored."""
        return np.clip((stored.astype(np.float32) - self.low) / (self.high - self.low), 0, 1).astype(np.float32)

    def stored(self, shares: NDArray[np.float32]) -> NDArray[np.generic]:
        """Return how shares are stored."""
        values = self.low + np.clip(shares.astype(np.float64), 0, 1) * (self.high - self.low)
        kind = np.dtype(self.dtype)
        return (values if kind.kind == "f" else np.rint(values)).astype(kind)


SLICERS = Scale(*USUAL["i1"], "i1")


@dataclass(frozen=True, eq=False)
class Fractions:
    """Segments of which each voxel holds a share; they may overlap.

    Parameters
    ----------
    images
        One a segment, float32 from 0 to 1, all on one grid.
    segments
        What they are; the labels tell nothing.
    scale
        How the shares are stored in a file.
    """

    images: tuple[Image, ...]
    segments: tuple[Segment, ...]
    scale: Scale = SLICERS

    def __post_init__(self) -> None:
        if not self.images or len(self.images) != len(self.segments):
            raise InputError("There are no fractional segments.", "Mark something in at least one.")
        if not all(image.geometry.is_close(self.images[0].geometry) for image in self.images):
            raise InputError("Fractional segments lie on different grids.", "Bring them onto one grid.")

    @property
    def label_maps(self) -> tuple[Image, ...]:
        """Where each segment has half of a voxel at least: uint16 with the segment's label, one image a segment."""
        return tuple(
            image.with_array(np.where(np.asarray(image.array, np.float32) >= HALF, segment.label, 0).astype(np.uint16))
            for image, segment in zip(self.images, self.segments, strict=True)
        )

    @property
    def merged(self) -> Image:
        """The label of the segment with the largest share, where that is half of a voxel at least."""
        stack = np.stack([image.array for image in self.images])
        labels = np.array([segment.label for segment in self.segments], np.uint16)
        found = np.where(stack.max(axis=0) >= HALF, labels[stack.argmax(axis=0)], 0)
        return self.images[0].with_array(found.astype(np.uint16))

    def carried(self, transform: Transform, grid: Geometry, *, poll: Poll = never_cancel) -> Fractions:
        """Return the segments on a fixed grid, interpolated linearly; nothing lies outside of the moving one.

        `transform` maps fixed points to moving points.
        """
        images = [apply_to_image(transform, image, grid, background=0.0, poll=poll) for image in self.images]
        return replace(self, images=tuple(images))

    def volumes(self) -> tuple[float, ...]:
        """Return the volume of each segment in mm^3: the sum of its shares."""
        return tuple(float(image.array.sum(dtype=np.float64)) * image.geometry.voxel_volume for image in self.images)


def is_fractional(marks: Mapping[str, str]) -> bool:
    """Tell whether what a file says of itself makes its segments fractional."""
    return marks.get(KIND, "").strip() == FRACTIONAL


def read_fractions(path: str | Path) -> Fractions | None:
    """Read the fractional segments of a ``.seg.nrrd``; None where the file holds others.

    Raises
    ------
    InputError
        If it cannot be read, or does not tell in which range its shares are.
    """
    source = Path(path)
    with guarded(source):
        raster = read_raster(source)
        return fractions_of(raster, shown(source)) if is_fractional(raster.marks) else None


def fractions_of(raster: Raster, name: str) -> Fractions:
    """Return the fractional segments of what was read of a file."""
    kind = raster.array.dtype.newbyteorder("<").str[1:]
    low, high = _range(raster.marks.get(RANGE, ""), kind, name)
    scale = Scale(low, high, kind)
    grid, several = grid_of(raster, name), raster.channels > 1
    named = layered_segments(raster.marks, raster.channels)
    extents = extents_of(raster.marks, raster.channels)
    images: list[Image] = []
    segments: list[Segment] = []
    for layer, each in enumerate(named):
        stored = raster.array[..., layer] if several else raster.array
        shares = scale.shares(_within(np.asarray(stored), extents[layer], scale))
        for segment in each:
            images.append(Image(shares, grid, name))
            segments.append(replace(segment, label=len(segments) + 1))
    return Fractions(tuple(images), tuple(segments), scale)


def write_fractions(fractions: Fractions, path: str | Path) -> None:
    """Write fractional segments as a ``.seg.nrrd``, a layer each, in the range and type they came in.

    Raises
    ------
    OutputError
        If the file cannot be written.
    """
    grid, scale = fractions.images[0].geometry, fractions.scale
    voxels = np.stack([scale.stored(np.asarray(image.array, np.float32)) for image in fractions.images], axis=-1)
    layers = [[replace(segment, label=1)] for segment in fractions.segments]
    keys = keys_of(grid, layers, FRACTIONAL) | {RANGE: f"{scale.low:g} {scale.high:g}"}
    write_stack(Path(path), grid, voxels, keys)


def _range(text: str, kind: str, name: str) -> tuple[float, float]:
    if text:
        low, high = (float(word) for word in text.split())
        return low, high
    if kind not in USUAL:
        raise InputError(
            f"{name} does not tell in which range its fractional segments are.", "Save it as signed bytes."
        )
    return USUAL[kind]


def _within(
    stored: NDArray[np.generic], extent: tuple[tuple[int, int], ...] | None, scale: Scale
) -> NDArray[np.generic]:
    """Return a layer with nothing outside of its segment's own box, where Slicer writes 0, which may mean a half."""
    if extent is None:
        return stored
    box = tuple(slice(max(first, 0), last + 1) for first, last in reversed(extent))
    empty = np.full_like(stored, scale.stored(np.zeros(1, np.float32))[0])
    empty[box] = stored[box]
    return empty
