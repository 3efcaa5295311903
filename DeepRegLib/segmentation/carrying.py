"""A segmentation file carried over: its layers or shares on another grid, with all that is known of its segments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.labels import lost_labels_message
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.segmentation.fractional import Fractions, read_fractions, write_fractions
from DeepRegLib.segmentation.seg_nrrd import read_layers, write_layers
from DeepRegLib.segmentation.segments import Segment, segments_for
from DeepRegLib.transforms import Transform, apply_to_labels

MICROLITRES = 1000.0


@dataclass(frozen=True, eq=False)
class SegmentedScan:
    """What a ``.seg.nrrd`` holds.

    Parameters
    ----------
    layers
        Label maps on one grid; segments that overlap lie in different ones.
    segments
        What the labels of each are; every label that has a voxel is among them.
    fractions
        The same segments as shares of voxels, where the file holds them so; `layers` has them where they reach a half.
    """

    layers: tuple[Image, ...]
    segments: tuple[tuple[Segment, ...], ...]
    fractions: Fractions | None = None

    def volumes(self) -> list[float]:
        """Return the volume of each segment in ml, layer by layer."""
        if self.fractions is not None:
            return [volume / MICROLITRES for volume in self.fractions.volumes()]
        found = []
        for layer, each in zip(self.layers, self.segments, strict=True):
            labels, counts = np.unique(layer.array, return_counts=True)
            voxels = dict(zip(labels.tolist(), counts.tolist(), strict=True))
            found += [voxels.get(one.label, 0) * layer.geometry.voxel_volume / MICROLITRES for one in each]
        return found


def read_segmented(path: str | Path) -> SegmentedScan:
    """Read a ``.seg.nrrd`` of any kind; errors as of `read_layers`."""
    fractions = read_fractions(path)
    if fractions is not None:
        return _of(fractions)
    layers, segments = read_layers(path)
    named = (_all_named(layer, each) for layer, each in zip(layers, segments, strict=True))
    return SegmentedScan(layers, tuple(named))


def carried_scan(
    content: SegmentedScan, transform: Transform, grid: Geometry, *, smooth: bool = True, poll: Poll = never_cancel
) -> tuple[SegmentedScan, tuple[str, ...]]:
    """Return segments on a fixed grid, and what was lost of them in sentences.

    Parameters
    ----------
    content
        In the moving world, on any grid.
    transform
        Fixed points to moving points.
    grid
        The fixed grid.
    smooth
        As of `apply_to_labels`; shares are interpolated linearly in any case.
    poll
        Called now and then; may raise to stop.
    """
    if content.fractions is not None:
        carried = _of(content.fractions.carried(transform, grid, poll=poll))
    else:
        moved = (apply_to_labels(transform, layer, grid, smooth=smooth, poll=poll) for layer in content.layers)
        carried = SegmentedScan(tuple(moved), content.segments)
    pairs = zip(content.layers, carried.layers, strict=True)
    return carried, tuple(warning for pair in pairs for warning in lost_labels_message(*pair))


def write_segmented(content: SegmentedScan, path: str | Path) -> None:
    """Write segments as they are; errors as of `write_layers`."""
    if content.fractions is not None:
        write_fractions(content.fractions, path)
    else:
        write_layers(content.layers, content.segments, path)


def volume_rows(before: SegmentedScan, after: SegmentedScan) -> list[dict[str, Any]]:
    """Return name, label, layer, and volume in ml before and after of each segment."""
    places = [(number, segment) for number, each in enumerate(before.segments) for segment in each]
    return [
        {"name": one.name, "label": one.label, "layer": number, "volume_before_ml": was, "volume_after_ml": now}
        for (number, one), was, now in zip(places, before.volumes(), after.volumes(), strict=True)
    ]


def _of(fractions: Fractions) -> SegmentedScan:
    return SegmentedScan(fractions.label_maps, tuple((segment,) for segment in fractions.segments), fractions)


def _all_named(labels: Image, known: Sequence[Segment]) -> tuple[Segment, ...]:
    """Return the segments of a layer, and one for each label that the file does not name."""
    named = {segment.label: segment for segment in known}
    there = {int(label) for label in np.unique(labels.array) if label > 0}
    return segments_for(there | named.keys(), named)
