"""DICOM series where pydicom is missing: read by ITK's GDCM in a process of its own, with what can be checked so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from DeepRegLib.dicom.frames import Frame
from DeepRegLib.dicom.stack import stacked
from DeepRegLib.errors import InputError
from DeepRegLib.formats.isolated import read_elsewhere
from DeepRegLib.formats.raster import Raster
from DeepRegLib.naming import shown

INSTALL = 'Install pydicom: pip install "slicer-deepreg[dicom]".'


def read_with_gdcm(source: Path) -> Raster:
    """Read a series of single slices that are all scaled alike.

    Raises
    ------
    InputError
        If there is no series or there are several, it is multi-frame or not scaled alike, or not one even stack.
    """
    name = shown(source)
    table, arrays = read_elsewhere("series", source)
    if table.get("series", 1) == 0:
        raise InputError(f"{name} is a folder without DICOM files.", "Give a volume file or a DICOM series folder.")
    if table.get("series", 1) > 1:
        raise InputError(
            f"{name} holds {table['series']} DICOM series.",
            f"Give one file of the series you mean: {'; '.join(shown(file) for file in table['files'][:6])}.",
        )
    (array,), slices = arrays, table["slices"]
    if table["channels"] != 1:
        raise InputError(f"{name} is a colour image: several components a voxel.", "Convert it to a scalar volume.")
    if any(int(entry["frames"] or 1) > 1 for entry in slices):
        raise InputError(f"{name} is a multi-frame DICOM file, which cannot be checked here.", INSTALL)
    if len({(entry["slope"], entry["intercept"]) for entry in slices}) > 1:
        raise InputError(f"The slices of {name} are scaled differently, which is lost here.", INSTALL)
    if any(not entry["position"] or not entry["orientation"] for entry in slices):
        raise InputError(f"The slices of {name} do not say where they lie.", INSTALL)
    stack = stacked([_frame(entry, n, source, table) for n, entry in enumerate(slices)], f"the DICOM series in {name}")
    x, y, z = stack.frames[0].position.tolist()
    ordered = array[[frame.number for frame in stack.frames]]
    return Raster(np.ascontiguousarray(ordered), 1, stack.spacing, (x, y, z), stack.direction)


def _frame(entry: dict[str, Any], number: int, source: Path, table: dict[str, Any]) -> Frame:
    position, orientation = (np.array(entry[key].split("\\"), dtype=np.float64) for key in ("position", "orientation"))
    axes = orientation.reshape(2, 3).T
    spacing, shape = table["spacing"], table["shape"]
    return Frame(source, number, position, axes, (spacing[0], spacing[1]), (shape[-1], shape[-2]), 1.0, 0.0, ())
