"""Transforms of two scans that are told by their files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from DeepRegLib.geometry import Geometry
    from DeepRegLib.transforms import Transform


def read_between(
    path: Path, fixed: tuple[Path | None, Geometry | None], moving: tuple[Path | None, Geometry | None]
) -> Transform:
    """Read a transform of two scans, each told by its file and grid; a DICOM registration by what the files are."""
    from DeepRegLib.dicom.series import series_of
    from DeepRegLib.transforms import read_transform
    from DeepRegLib.transforms.io import is_dicom_file

    series = [series_of(file) if file is not None and is_dicom_file(path) else None for file, _ in (fixed, moving)]
    return read_transform(path, fixed=fixed[1], moving=moving[1], fixed_series=series[0], moving_series=series[1])
