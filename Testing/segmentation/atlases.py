"""Atlases of the small pair: its moving phantom with noise of its own, and its labels, each a little wrong."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from DeepRegLib.image import Image, write_image
from DeepRegLib.segmentation import Atlas, Segment
from DeepRegLib.segmentation.seg_nrrd import write_segmentation
from DeepRegLib.transforms import apply_to_labels
from Testing.small import MOVING_GRID, small_pair
from Testing.synthetic import random_linear

SEGMENTS = (
    Segment(2, "Cochlea, left", (0.9, 0.2, 0.1)),
    Segment(7, "Größe 肝", (0.1, 0.6, 0.3), "Segmentation category~A~B~^^~^^"),
    Segment(250, "nerve", (0.0, 0.0, 1.0)),
)


@functools.cache
def small_atlases() -> tuple[Atlas, ...]:
    """Return three atlases."""
    _, moving, _, labels = small_pair()
    atlases = []
    for number, name in enumerate("ABC"):
        noise = np.random.default_rng(number).normal(scale=8, size=moving.array.shape)
        image = Image((moving.array + noise).astype(np.float32), MOVING_GRID, f"/clinic/Smith John/{name}.nii.gz")
        drawn = apply_to_labels(random_linear(number + 5, angle=2.0, shift=1.6), labels, MOVING_GRID)
        atlases.append(Atlas(name, image, drawn, SEGMENTS))
    return tuple(atlases)


def write_atlases(folder: Path) -> Path:
    """Write the atlases as a folder and return it."""
    for atlas in small_atlases():
        place = folder / atlas.name
        place.mkdir(parents=True)
        write_image(atlas.image, place / "image.nii.gz")
        write_segmentation(atlas.labels, atlas.segments, place / "labels.seg.nrrd")
    return folder
