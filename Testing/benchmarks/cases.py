"""The real pairs: a folder each, with fixed and moving image and what is known of the truth."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image, read_image, write_image
from DeepRegLib.landmarks import read_points
from DeepRegLib.preprocessing import smooth_and_resample

# The size that times are stated for, and the pairs to take for it.
FULL_SIZE = (160, 192, 224)
FULL_SIZE_PAIRS = ("brain_t1_nirep_na02_na03",)
# By how the names of the cases begin.
SETS = {
    "brain_t1": "brain with labels",
    "brain_preop": "brain surgery",
    "head": "head with skull",
    "liver": "liver under breathing",
    "mouse_skull": "skull CT",
}


@dataclass(frozen=True)
class Case:
    """One folder of the data."""

    folder: Path

    @property
    def name(self) -> str:
        """What the case is called."""
        return self.folder.name

    def description(self) -> dict[str, Any]:
        """Return what case.json says, or nothing where there is none."""
        path = self.folder / "case.json"
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}

    def is_multimodal(self) -> bool:
        """Tell whether case.json calls the case multimodal."""
        return "multimodal" in self.description().get("kind", "")

    def set_name(self) -> str:
        """Return the name of the set of like cases: what case.json says, else from the name of the case."""
        stated = self.description().get("set")
        if stated or self.is_multimodal():
            return stated or "multimodal"
        return next((name for start, name in SETS.items() if self.name.startswith(start)), self.name.partition("_")[0])

    def images(self) -> tuple[Image, Image]:
        """Return the fixed and the moving image."""
        return read_image(self.folder / "fixed.nii.gz"), read_image(self.folder / "moving.nii.gz")

    def labels(self) -> tuple[Image, Image] | None:
        """Return fixed and moving labels where both are there."""
        paths = [self.folder / f"{side}_labels.nii.gz" for side in ("fixed", "moving")]
        return (read_image(paths[0]), read_image(paths[1])) if all(path.is_file() for path in paths) else None

    def landmarks(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Return fixed and moving landmarks (LPS, mm) where both are there."""
        paths = [self.folder / f"{side}_landmarks.csv" for side in ("fixed", "moving")]
        return (read_points(paths[0]), read_points(paths[1])) if all(path.is_file() for path in paths) else None


def find_cases(data: Path, only: str = "") -> list[Case]:
    """Return the cases of a folder whose names contain a text, by name."""
    folders = sorted(path.parent for path in data.glob("*/fixed.nii.gz"))
    return [Case(folder) for folder in folders if (folder / "moving.nii.gz").is_file() and only in folder.name]


def preferred(cases: list[Case], names: tuple[str, ...]) -> list[Case]:
    """Return the cases of these names, in this order; without any of them, as many of the first ones."""
    by_name = {case.name: case for case in cases}
    return [by_name[name] for name in names if name in by_name] or cases[: len(names)]


def write_pair(case: Case, folder: Path, size: tuple[int, int, int] = FULL_SIZE) -> tuple[Path, Path]:
    """Resample both images of a case to so many voxels over their field of view and write them."""
    paths = []
    for image, side in zip(case.images(), ("fixed", "moving"), strict=True):
        spacing = tuple(float(e) / n for e, n in zip(image.geometry.extent, size, strict=True))
        resampled = smooth_and_resample(image, image.geometry.recentred(size, spacing))
        paths.append(folder / f"{side}.nii")
        write_image(Image(resampled.array, resampled.geometry, side), paths[-1])
    return paths[0], paths[1]
