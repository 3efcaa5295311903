"""Transforms as ITK objects, and their displacements on a grid."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import execute, geometry_of, set_geometry
from DeepRegLib.monitoring import Poll, never_cancel
from DeepRegLib.transforms.composite import Transform, compose, parts_of
from DeepRegLib.transforms.displacement import DisplacementField
from DeepRegLib.transforms.linear import LinearTransform

VOXELS_AT_ONCE = 1 << 20


def transform_to_sitk(transform: Transform) -> sitk.Transform:
    """Turn a transform into the SimpleITK transform that maps points the same way.

    Examples
    --------
    >>> transform_to_sitk(LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))).TransformPoint((3.0, 4.0, 5.0))
    (6.0, 4.0, 5.0)
    """
    parts = [_part_to_sitk(part) for part in parts_of(transform)]
    if len(parts) == 1:
        return parts[0]
    # ITK applies the transform added last first.
    return sitk.CompositeTransform(parts[::-1])


def transform_from_sitk(transform: sitk.Transform, name: str = "transform") -> Transform:
    """Turn a SimpleITK transform (linear, displacement field, or composite of these) into ours.

    Raises
    ------
    InputError
        If it is two-dimensional or of another kind.

    Examples
    --------
    >>> transform_from_sitk(sitk.TranslationTransform(3, (1.0, 2.0, 3.0))).apply_to_points([0.0, 0.0, 0.0]).tolist()
    [1.0, 2.0, 3.0]
    """
    if transform.GetDimension() != 3:
        raise InputError(f"{name} is a {transform.GetDimension()}-D transform.", "Give a 3-D transform.")
    concrete = transform.Downcast()
    if isinstance(concrete, sitk.CompositeTransform):
        if concrete.GetNumberOfTransforms() == 0:
            return LinearTransform.identity()
        parts = [
            transform_from_sitk(concrete.GetNthTransform(n), name)
            for n in reversed(range(concrete.GetNumberOfTransforms()))
        ]
        return compose(*parts)
    if isinstance(concrete, sitk.DisplacementFieldTransform):
        picture = concrete.GetDisplacementField()
        return DisplacementField(sitk.GetArrayFromImage(picture), geometry_of(picture, name))
    if concrete.IsLinear():
        return LinearTransform(_matrix_of(concrete))
    raise InputError(
        f"{name} is a {concrete.GetName()}, which DeepReg does not read.",
        "Convert it to a displacement field first.",
    )


def displacement_on_grid(transform: Transform, geometry: Geometry, *, poll: Poll = never_cancel) -> NDArray[np.float64]:
    """Return T(x) - x in mm (LPS) at every voxel centre x of a grid, shape ``(k, j, i, 3)``, float64.

    `poll` is called now and then and may raise to stop. `DisplacementPlanes` takes less memory.

    Examples
    --------
    >>> wider = LinearTransform(np.diag([2.0, 1.0, 1.0, 1.0]))
    >>> displacement_on_grid(wider, Geometry((4, 3, 2)))[0, 0, 3].tolist()
    [3.0, 0.0, 0.0]
    """
    return _sampled(transform_to_sitk(transform), geometry, poll)


def _sampled(chain: sitk.Transform, geometry: Geometry, poll: Poll) -> NDArray[np.float64]:
    sampler = sitk.TransformToDisplacementFieldFilter()
    sampler.SetOutputPixelType(sitk.sitkVectorFloat64)
    sampler.SetSize(geometry.size)
    sampler.SetOutputOrigin(geometry.origin)
    sampler.SetOutputSpacing(geometry.spacing)
    sampler.SetOutputDirection(geometry.direction)
    field = execute(sampler, poll, chain)
    view = sitk.GetArrayViewFromImage(field)
    displacement = np.empty(view.shape, dtype=np.float64)
    thickness = max(1, VOXELS_AT_ONCE // (geometry.shape[1] * geometry.shape[2]))
    for start in range(0, len(view), thickness):  # hundreds of megabytes, which take a while
        poll()
        displacement[start : start + thickness] = view[start : start + thickness]
    return displacement


def _part_to_sitk(part: LinearTransform | DisplacementField) -> sitk.Transform:
    if isinstance(part, LinearTransform):
        affine = sitk.AffineTransform(3)
        affine.SetMatrix(part.matrix[:3, :3].ravel().tolist())
        affine.SetTranslation(part.matrix[:3, 3].tolist())
        return affine
    picture = sitk.GetImageFromArray(part.array.astype(np.float64), isVector=True)
    set_geometry(picture, part.geometry)
    return sitk.DisplacementFieldTransform(picture)


def _matrix_of(transform: sitk.Transform) -> NDArray[np.float64]:
    matrix = np.eye(4)
    if isinstance(transform, sitk.AffineTransform):
        # Taken as stored, so that a file written and read again maps to the same bits.
        centre = np.array(transform.GetCenter())
        matrix[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
        matrix[:3, 3] = np.array(transform.GetTranslation()) + (centre - matrix[:3, :3] @ centre)
        return matrix
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    # Columns are taken 1000 mm out so that a small rotation is not lost to rounding against a far origin.
    reach = 1000.0
    columns = [np.array(transform.TransformPoint(tuple(axis))) - origin for axis in np.eye(3) * reach]
    matrix[:3, :3] = np.stack(columns, axis=1) / reach
    matrix[:3, 3] = origin
    return matrix
