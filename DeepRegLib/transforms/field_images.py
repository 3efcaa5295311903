"""Displacement fields saved as vector images, each in the sense that its program and its own marks give it.

ITK, ANTs and elastix save displacements in LPS mm that map fixed points. NiftyReg and FSL save other things under the
same endings, and say so in the header; Slicer says in which direction a field maps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.formats.nrrd import SPACES
from DeepRegLib.formats.raster import Raster
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import grid_of, read_raster
from DeepRegLib.naming import shown
from DeepRegLib.transforms.displacement import DisplacementField

SUFFIXES = (".nrrd", ".nhdr", ".nii.gz", ".nii", ".hdr", ".img", ".mha", ".mhd")
RAS_TO_LPS = np.array([-1.0, -1.0, 1.0])
NIFTYREG, DEFORMATION, DISPLACEMENT = "NREG_TRANS", 0, 1
NIFTYREG_OTHERS = {2: "a grid of spline control points", 3: "a velocity", 4: "a velocity", 5: "a velocity"}
DISPLACEMENT_VECTORS = 1006  # NIFTI_INTENT_DISPVECT: NIfTI's own vectors, in RAS as all of NIfTI
FSL_CODES = range(2006, 2020)
SYMMETRIC_MATRIX = 1005
# SPM's y_*.nii holds where each voxel comes to lie, in its own world: RAS mm.
SPM_COORDINATES = "mapping"
VELOCITY_WORDS = ("velocity", "svf")
LPS_SPACES = ("", "left-posterior-superior", "lps", "scanner-xyz", "3d-right-handed", "3d-left-handed")
DIRECTION_KEYS = ("displacement field type", "displacement_field_type")
OTHER_KINDS = (
    "rgb-color",
    "rgba-color",
    "3-color",
    "4-color",
    "hsv-color",
    "xyz-color",
    "3-normal",
    "3-gradient",
    "point",
)


def read_field(path: Path) -> DisplacementField:
    """Read a vector image as the map that it holds.

    Raises
    ------
    InputError
        If it is no field of 3-component vectors, or says that it holds something else. Others may escape: wrap it in
        `guarded`.

    Examples
    --------
    >>> import tempfile
    >>> from DeepRegLib.transforms.io import write_transform
    >>> field = DisplacementField(np.ones((2, 3, 4, 3), dtype=np.float32), Geometry((4, 3, 2)))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_transform(field, Path(folder) / "field.nii.gz")
    ...     read_field(Path(folder) / "field.nii.gz").geometry.size
    (4, 3, 2)
    """
    name = shown(path)
    raster = read_raster(path)
    if int(raster.marks.get("intent_code", "0") or 0) in FSL_CODES:
        raise InputError(
            f"{name} is a warp of FSL, whose numbers count from the corner of its images.",
            "Convert it with FSL's convertwarp and a tool that writes ITK's fields.",
        )
    vectors = _vectors(raster, name)
    geometry = grid_of(raster, name)
    return DisplacementField(_displacements(vectors, raster.marks, geometry, name), geometry)


def _vectors(raster: Raster, name: str) -> NDArray[Any]:
    array = raster.array
    if raster.channels == 3 and array.ndim == 5 and array.shape[0] == 1:
        array = array[0]
    if raster.channels != 3 or array.ndim != 4 or array.dtype.kind not in "iuf":
        raise InputError(f"{name} is not a 3-D field of 3-component vectors.", "Give a displacement field in mm.")
    if array.dtype.kind != "f":
        raise InputError(
            f"{name} holds whole numbers, not a field of vectors in mm.", "Give a displacement field in mm."
        )
    return array


def _displacements(
    vectors: NDArray[Any], marks: Mapping[str, str], geometry: Geometry, name: str
) -> NDArray[np.floating]:
    if marks.get("intent_name") == NIFTYREG:
        return _of_niftyreg(vectors, marks, geometry, name)
    code = int(marks.get("intent_code", "0") or 0)
    meaning = marks.get("intent_name", "").strip().lower()
    if code == SYMMETRIC_MATRIX or any(word in meaning for word in VELOCITY_WORDS):
        what = "symmetric matrices" if code == SYMMETRIC_MATRIX else "a velocity"
        raise InputError(f"{name} holds {what}, no displacements.", "Give a displacement field in mm.")
    if meaning == SPM_COORDINATES:
        return np.asarray(vectors * RAS_TO_LPS - geometry.points(), dtype=np.float64)
    if code == DISPLACEMENT_VECTORS:
        return vectors * RAS_TO_LPS.astype(vectors.dtype)
    _require_displacements(marks, name)
    return _in_lps(vectors, marks, name)


def _of_niftyreg(
    vectors: NDArray[Any], marks: Mapping[str, str], geometry: Geometry, name: str
) -> NDArray[np.floating]:
    kind = int(float(marks.get("intent_p1", "0")))
    turned = vectors * RAS_TO_LPS.astype(vectors.dtype)
    if kind == DEFORMATION:
        return np.asarray(turned - geometry.points(), dtype=np.float64)
    if kind == DISPLACEMENT:
        return turned
    what = NIFTYREG_OTHERS.get(kind, "something unknown")
    raise InputError(f"{name} is {what} of NiftyReg.", "Convert it to a deformation field: reg_transform -def.")


def _require_displacements(marks: Mapping[str, str], name: str) -> None:
    direction = next((marks[key] for key in DIRECTION_KEYS if key in marks), "resampling").strip().lower()
    if direction == "modeling":
        raise InputError(
            f"{name} maps moving points to fixed points: its displacement field type is modeling.",
            "Invert it in Slicer's module Transforms, and save it again.",
        )
    if direction != "resampling":
        raise InputError(f"{name} has the displacement field type {direction[:60]!r}.", "Save it as resampling.")
    if marks.get("component kind", "").lower() in OTHER_KINDS:
        raise InputError(
            f"{name} holds a {marks['component kind']} a voxel, no displacement.", "Give a displacement field in mm."
        )


def _in_lps(vectors: NDArray[Any], marks: Mapping[str, str], name: str) -> NDArray[np.floating]:
    """Turn vectors of a NRRD file that says in which frame they were measured."""
    text, space = marks.get("measurement frame"), marks.get("space", "").lower()
    if text is None and space not in LPS_SPACES:
        raise InputError(
            f"{name} lies in {space[:40]} and does not say in which frame its vectors are.",
            "Save it in left-posterior-superior.",
        )
    if text is None:
        return vectors
    numbers = [float(word) for word in text.replace("(", " ").replace(")", " ").replace(",", " ").split()]
    if len(numbers) != 9:
        raise InputError(f"{name} has the measurement frame {text[:80]!r}.", "Repair the image header.")
    frame = np.array(numbers).reshape(3, 3).T  # listed one axis after another
    if np.array_equal(frame, np.eye(3)) and space in SPACES:
        return vectors * np.array(SPACES[space], dtype=vectors.dtype)
    if np.array_equal(frame, np.eye(3)):
        return vectors  # written by ITK beside every image, whatever the vectors are in
    raise InputError(
        f"{name} has vectors in a frame of their own (measurement frame).", "Save it with vectors in LPS mm."
    )
