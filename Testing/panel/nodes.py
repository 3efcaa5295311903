"""What a person might load beside the two volumes of the example."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
import slicer

from DeepRegLib.image import Image
from DeepRegLib.panel.self_test import example_pair
from Testing.scene.nodes import all_ids, bspline_node, linear_node, markups_node, segmentation_node, volume_node

__all__ = [
    "all_ids",
    "ball",
    "bspline_node",
    "linear_node",
    "load_volume",
    "markups_node",
    "segmentation",
    "volume_node",
]

GRID = example_pair()[0].geometry
BALLS = {"liver": (60.0, 60.0, 60.0), "spleen": (78.0, 60.0, 60.0)}  # centres, LPS mm
RADIUS_MM = 9.0


def ball(centre: tuple[float, float, float], value: int = 1) -> Image:
    """Return a ball on the grid of the example, uint8."""
    inside = np.sum((GRID.points() - centre) ** 2, axis=-1) < RADIUS_MM**2
    return Image(inside.astype(np.uint8) * value, GRID)


def segmentation(name: str = "segmentation", names: tuple[str, ...] = tuple(BALLS), apart: float = 0.0) -> Any:
    """Return a segmentation of balls, each in a layer of its own, moved along x by some mm."""
    centres = [(x + apart, y, z) for x, y, z in list(BALLS.values())[: len(names)]]
    return segmentation_node(
        slicer.mrmlScene, [ball(centre) for centre in centres], [{1: each} for each in names], name
    )


def load_volume(folder: Path, name: str, origin: float = 0.0, size: int = 20) -> Any:
    """Load a volume from a file, as a person does, and let the window live."""
    image = sitk.Image([size, size, size], sitk.sitkInt16)
    image.SetOrigin((origin, origin, origin))
    sitk.WriteImage(image, str(folder / f"{name}.nrrd"))
    return slicer.util.loadVolume(str(folder / f"{name}.nrrd"))
