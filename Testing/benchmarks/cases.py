"""The real pairs: a folder each, with fixed and moving image and what is known of the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.image import Image, read_image
from DeepRegLib.landmarks import read_points


@dataclass(frozen=True)
class Case:
    """One folder of the data."""

    folder: Path

    @property
    def name(self) -> str:
        """What the case is called."""
        return self.folder.name

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
