"""Between the scene's frame and the library's: RAS and LPS, VTK matrices and images and numpy arrays."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from numpy.typing import ArrayLike, NDArray
from vtk.util import numpy_support

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.scene.steps import Steps, run_through, slabs

FLIP = np.diag([-1.0, -1.0, 1.0, 1.0])


def array_from_matrix(matrix: vtk.vtkMatrix4x4) -> NDArray[np.float64]:
    """Return a VTK matrix as ``(4, 4)`` float64."""
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def matrix_from_array(array: NDArray[np.floating]) -> vtk.vtkMatrix4x4:
    """Return a ``(4, 4)`` array as a VTK matrix."""
    matrix = vtk.vtkMatrix4x4()
    matrix.DeepCopy(np.asarray(array, dtype=np.float64).ravel().tolist())
    return matrix


def flipped_matrix(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take a ``(4, 4)`` map of RAS points to the same map of LPS points, or back."""
    return FLIP @ matrix @ FLIP


def flipped_points(points: ArrayLike) -> NDArray[np.float64]:
    """Take points ``(..., 3)`` from RAS to LPS, or back."""
    return np.asarray(points, dtype=np.float64) * (-1.0, -1.0, 1.0)


def ijk_to_ras(geometry: Geometry) -> NDArray[np.float64]:
    """Return the ``(4, 4)`` matrix from an index (i, j, k) of a grid to RAS mm."""
    return FLIP @ geometry.index_to_world


def geometry_from_ras(matrix: NDArray[np.float64], size: tuple[int, int, int], name: str) -> Geometry:
    """Return the grid (LPS) of a matrix from indices to RAS mm.

    Parameters
    ----------
    matrix
        ``(4, 4)``, index (i, j, k) to RAS mm.
    size
        Voxels along i, j, k.
    name
        What to call the owner of the grid in messages.

    Raises
    ------
    InputError
        If the axes are not orthogonal, or a spacing is zero or not finite.
    """
    lps = FLIP @ matrix
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        direction = np.where(spacing > 0, lps[:3, :3] / spacing, np.eye(3))
    try:
        return Geometry(
            size,
            (float(spacing[0]), float(spacing[1]), float(spacing[2])),
            (float(lps[0, 3]), float(lps[1, 3]), float(lps[2, 3])),
            tuple(float(d) for d in direction.ravel()),
        )
    except InputError as error:
        raise InputError(
            f"{name} does not lie on a regular grid with right angles in the world: {error.message}",
            "Harden its transform (Transforms module), or resample it onto another volume's grid.",
        ) from error


def parent_to_world(node: slicer.vtkMRMLTransformableNode, what: str) -> NDArray[np.float64]:
    """Return the product of a node's parent transforms as a ``(4, 4)`` map of RAS points.

    Parameters
    ----------
    node
        Any node that can be transformed.
    what
        What to call it in messages.

    Raises
    ------
    InputError
        If a parent is not linear.
    """
    parent = node.GetParentTransformNode()
    if parent is None:
        return np.eye(4)
    if not parent.IsTransformToWorldLinear():
        raise InputError(
            f"{what} is moved by the transform {parent.GetName()}, which bends space.",
            "Take it out of the transform, or harden the transform (Transforms module).",
        )
    matrix = vtk.vtkMatrix4x4()
    parent.GetMatrixTransformToWorld(matrix)
    return array_from_matrix(matrix)


def voxels_of(data: vtk.vtkImageData) -> NDArray[np.generic]:
    """Return the voxels of a VTK image as a view, shape ``(k, j, i)``, or ``(k, j, i, c)`` with c components."""
    flat = numpy_support.vtk_to_numpy(data.GetPointData().GetScalars())
    i, j, k = data.GetDimensions()
    return flat.reshape((k, j, i, *flat.shape[1:]))


def empty_voxels(data: vtk.vtkImageData, size: tuple[int, int, int], dtype: np.dtype, components: int = 1) -> NDArray:
    """Give a VTK image room for voxels and return it to be filled, shape ``(k, j, i)`` or ``(k, j, i, c)``.

    VTK owns the memory, so nothing is copied and nothing can be freed too early.
    """
    scalars = vtk.vtkDataArray.CreateDataArray(numpy_support.get_vtk_array_type(dtype))
    scalars.SetNumberOfComponents(components)
    scalars.SetNumberOfTuples(int(np.prod(size)))
    data.SetDimensions(size)
    data.GetPointData().SetScalars(scalars)
    return voxels_of(data)


def stored_dtype(dtype: np.dtype) -> np.dtype:
    """Return the voxel type in which VTK holds a numpy type: it has no bool, half or long double."""
    known = {"b1": "u1", "f2": "f4", "f12": "f8", "f16": "f8"}
    return np.dtype(known.get(f"{dtype.kind}{dtype.itemsize}", dtype.newbyteorder("=")))


def image_data(array: NDArray[np.generic], dtype: np.dtype | None = None) -> vtk.vtkImageData:
    """Return voxels ``(k, j, i)`` as a VTK image with a copy of them, origin zero and spacing one.

    The copy is of another type where one is given, which must hold all values, or where VTK has no such type.
    """
    return run_through(image_data_steps(array, dtype))


def image_data_steps(array: NDArray[np.generic], dtype: np.dtype | None = None) -> Steps[vtk.vtkImageData]:
    """Do what `image_data` does in steps."""
    data = vtk.vtkImageData()
    size = (array.shape[2], array.shape[1], array.shape[0])
    voxels = empty_voxels(data, size, dtype or stored_dtype(array.dtype))
    for slab in slabs(array.shape):
        np.copyto(voxels[slab], array[slab], casting="unsafe")
        yield
    return data
