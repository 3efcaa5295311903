"""Transforms as DICOM registrations."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from DeepRegLib.dicom.registration_reading import Grid
from DeepRegLib.dicom.registration_writing import write_deformable, write_spatial
from DeepRegLib.dicom.series import Series
from DeepRegLib.transforms.composite import CompositeTransform, Part, Transform, compose, linear_part, parts_of
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.itk import displacement_on_grid
from DeepRegLib.transforms.linear import LinearTransform


def write_dicom_registration(
    transform: Transform, path: str | Path, fixed: Series, moving: Series, *, root: str | None = None
) -> tuple[str, str]:
    """Write a transform as a DICOM registration that refers to both series.

    A linear transform becomes a Spatial Registration; one with a field a Deformable Spatial Registration, with what is
    linear before and after the field as its matrices. Several fields are sampled as one, on the grid of the first.

    Parameters
    ----------
    transform
        Fixed points to moving points, LPS mm.
    path
        The file.
    fixed, moving
        The series it belongs to.
    root
        What new UIDs begin with.

    Returns
    -------
    tuple of str
        SOP class and instance UID of the new object.

    Raises
    ------
    InputError
        If a series names no frame of reference, or they are of two patients.
    OutputError
        If the file cannot be written.

    Examples
    --------
    >>> hidden = Series(({"PatientID": "P1"},))
    >>> write_dicom_registration(LinearTransform.identity(), "r.dcm", hidden, hidden)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    DeepRegLib.errors.InputError: The fixed series names no frame of reference, without which no DICOM object ...
    """
    if isinstance(transform, LinearTransform):
        return write_spatial(path, transform.inverse().matrix, fixed, moving, root)
    before, field, after = _around_one_field(transform)
    grid = Grid(field.array.astype(np.float32), field.geometry)
    return write_deformable(path, before.matrix, grid, after.matrix, fixed, moving, root)


def _around_one_field(transform: Transform) -> tuple[LinearTransform, DisplacementField, LinearTransform]:
    parts = parts_of(transform)
    places = [number for number, part in enumerate(parts) if isinstance(part, DisplacementField)]
    first, last = places[0], places[-1]
    fields = [part for part in parts if isinstance(part, DisplacementField)]
    field = fields[0]
    if last > first:
        between = CompositeTransform(parts[first : last + 1])
        field = DisplacementField(displacement_on_grid(between, field.geometry), field.geometry)
    return linear_part(compose(*_ends(parts[:first]))), field, linear_part(compose(*_ends(parts[last + 1 :])))


def _ends(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    return parts or (LinearTransform.identity(),)
