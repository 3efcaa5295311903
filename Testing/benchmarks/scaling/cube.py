"""Write both images of a case as cubes of N x N x N voxels over their own fields of view, in their own pixel type."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from DeepRegLib.image import Image, write_image
from DeepRegLib.preprocessing import smooth_and_resample
from Testing.benchmarks.cases import Case


def write_cubes(folder: str, size: str, output: str) -> dict[str, str]:
    """Resample both images of a case, write them and return their paths."""
    paths = {}
    for side, image in zip(("fixed", "moving"), Case(Path(folder)).images(), strict=True):
        paths[side] = str(Path(output) / f"{side}.nii")
        write_image(cube(image, int(size), side), paths[side])
    return paths


def cube(image: Image, size: int, name: str) -> Image:
    """Return an image with `size` voxels along each axis of its field of view."""
    spacing = tuple(float(length) / size for length in image.geometry.extent)
    resampled = smooth_and_resample(image, image.geometry.recentred((size,) * 3, spacing))
    array = resampled.array
    if image.array.dtype.kind != "f":
        array = np.rint(array)
    return Image(array.astype(image.array.dtype), resampled.geometry, name)


if __name__ == "__main__":
    Path(sys.argv[-1]).write_text(json.dumps(write_cubes(*sys.argv[1:-1])), encoding="utf-8")
