"""Transform nodes: a transform that maps fixed points to moving points is a node's transform *from parent*."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.scene.nodes import new_node, nodes_of_class
from DeepRegLib.scene.steps import Steps, run_through, slabs
from DeepRegLib.scene.world import (
    FLIP,
    array_from_matrix,
    empty_voxels,
    flipped_matrix,
    geometry_from_ras,
    ijk_to_ras,
    matrix_from_array,
    voxels_of,
)
from DeepRegLib.transforms import (
    DisplacementField,
    LinearTransform,
    Transform,
    compose,
    parts_of,
)

# On nodes whose fields are linear between voxels; see `restore_interpolation`.
LINEAR_ATTRIBUTE = "DeepReg.LinearInterpolation"
# The displacement at the border of a field's grid falls to zero over so many voxels that nothing folds there.
STEEPEST_FADE = 0.5
LONGEST_FADE = 16
CONVERT = "Convert it to a displacement field first (Transforms module, section Convert)."


def transform_from_node(node: slicer.vtkMRMLTransformNode | None) -> Transform:
    """Return what a transform node and its parents do from the world to the node: fixed points to moving points.

    Parameters
    ----------
    node
        Linear transforms, displacement fields, and chains and composites of these.

    Returns
    -------
    Transform
        LPS, mm. Fields are linear between voxels, as ITK reads them; a node loaded from a file interpolates
        cubically. Outside a field's grid nothing moves, where the node repeats the displacement at its border.

    Raises
    ------
    InputError
        If there is no node or it was removed from its scene, a part is of another kind, or a field is stored the other
        way round (to parent), so that only a numerical inverse could be had.
    """
    if node is None:
        raise InputError("No transform is chosen.", "Choose a transform.")
    name = node.GetName()
    if node.GetScene() is None:
        raise InputError(f"The transform {name} is no longer in the scene.", "Choose another transform.")
    if not node.IsA("vtkMRMLTransformNode"):
        raise InputError(f"{name} is not a transform.", "Choose a transform.")
    chain = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(chain)
    return compose(LinearTransform.identity(), *(_part_from(part, name) for part in _flattened(chain)))


def add_transform(scene: slicer.vtkMRMLScene, transform: Transform, name: str) -> slicer.vtkMRMLTransformNode:
    """Add a transform to a scene so that the node, put above the moving volume, aligns it.

    Parameters
    ----------
    scene
        Where to add it.
    transform
        Fixed points to moving points; a linear one becomes a matrix, a field a grid of displacements in float32 or
        float64 as given, a composite a composite.
    name
        Of the node; a number is appended where the scene has the name.
    """
    node = new_node(scene, "vtkMRMLTransformNode", name)
    set_transform(node, transform)
    return node


def set_transform(
    node: slicer.vtkMRMLTransformNode, transform: Transform, made: vtk.vtkAbstractTransform | None = None
) -> None:
    """Fill a transform node as `add_transform` does; it leaves its parent transform.

    `made` is what `transform_steps` made of it beforehand; by default it is made here.
    """
    changed = node.StartModify()
    node.SetAndObserveTransformNodeID(None)
    made = made or run_through(transform_steps(transform))
    if isinstance(transform, LinearTransform):
        node.SetAndObserveTransformToParent(made)
    else:
        node.SetAndObserveTransformFromParent(made)
    node.SetAttribute(LINEAR_ATTRIBUTE, None if isinstance(transform, LinearTransform) else "1")
    node.EndModify(changed)


def transform_steps(transform: Transform) -> Steps[vtk.vtkAbstractTransform]:
    """Return in steps what a node has of a transform: a matrix to parent, or what holds a field from parent."""
    if isinstance(transform, LinearTransform):
        return _matrix_transform(transform.inverse())  # to parent, or Slicer's sliders could not edit it
    if isinstance(transform, DisplacementField):
        grid = yield from _grid_steps(transform)
        return grid
    chain = vtk.vtkGeneralTransform()
    chain.PostMultiply()
    for part in parts_of(transform):
        if isinstance(part, LinearTransform):
            chain.Concatenate(_matrix_transform(part))
        else:
            grid = yield from _grid_steps(part)
            chain.Concatenate(grid)
    return chain


def restore_interpolation(scene: slicer.vtkMRMLScene) -> None:
    """Make the fields that DeepReg put into a scene linear between voxels again; call it after a scene was loaded.

    Slicer saves a field's vectors but not its interpolation, and reads every field as cubic.
    """
    frames = [
        sequence.GetNthDataNode(number)
        for sequence in nodes_of_class(scene, "vtkMRMLSequenceNode")
        for number in range(sequence.GetNumberOfDataNodes())
    ]
    stored = [node for node in frames if node is not None and node.IsA("vtkMRMLTransformNode")]
    for node in [*nodes_of_class(scene, "vtkMRMLTransformNode"), *stored]:
        if node.GetAttribute(LINEAR_ATTRIBUTE):
            for part in _flattened(node.GetTransformFromParent()):
                if part.IsA("vtkGridTransform"):
                    part.SetInterpolationModeToLinear()


def _flattened(transform: vtk.vtkAbstractTransform) -> Iterator[vtk.vtkAbstractTransform]:
    """Yield the parts of a VTK transform, the one applied first first."""
    parts = vtk.vtkCollection()
    slicer.vtkMRMLTransformNode.FlattenGeneralTransform(parts, transform)
    for number in range(parts.GetNumberOfItems()):
        yield parts.GetItemAsObject(number)


def _part_from(part: vtk.vtkAbstractTransform, name: str) -> LinearTransform | DisplacementField:
    part.Update()
    if part.IsA("vtkHomogeneousTransform"):
        return LinearTransform(flipped_matrix(array_from_matrix(part.GetMatrix())))
    if not part.IsA("vtkGridTransform"):
        kinds = {"vtkOrientedBSplineTransform": "B-spline", "vtkBSplineTransform": "B-spline"}
        kind = kinds.get(part.GetClassName(), "thin-plate spline" if part.IsA("vtkThinPlateSplineTransform") else "")
        raise InputError(f"The transform {name} is a {kind or part.GetClassName()} transform.", CONVERT)
    if part.GetInverseFlag():
        raise InputError(
            f"The transform {name} holds a displacement field of the opposite direction (to parent).", CONVERT
        )
    return _field_from(part, name)


def _field_from(grid: vtk.vtkGridTransform, name: str) -> DisplacementField:
    data = grid.GetDisplacementGrid()
    if data is None or data.GetNumberOfPoints() == 0:
        raise InputError(f"The transform {name} holds an empty displacement field.", "Choose another transform.")
    axes = np.eye(4)
    if grid.IsA("vtkOrientedGridTransform") and grid.GetGridDirectionMatrix() is not None:
        axes = array_from_matrix(grid.GetGridDirectionMatrix())
    matrix = np.eye(4)
    matrix[:3, :3] = axes[:3, :3] * np.array(data.GetSpacing())
    first = np.array(data.GetExtent()[::2])
    matrix[:3, 3] = np.array(data.GetOrigin()) + matrix[:3, :3] @ first
    geometry = geometry_from_ras(matrix, data.GetDimensions(), f"The displacement field of {name}")
    vectors = voxels_of(data)
    array: NDArray[np.floating] = vectors.astype(vectors.dtype if vectors.dtype.kind == "f" else np.float64)
    array *= grid.GetDisplacementScale()
    array += grid.GetDisplacementShift()
    array[..., :2] *= -1
    return DisplacementField(array, geometry)


def _matrix_transform(part: LinearTransform) -> vtk.vtkTransform:
    linear = vtk.vtkTransform()
    linear.SetMatrix(matrix_from_array(flipped_matrix(part.matrix)))
    return linear


def _grid_steps(field: DisplacementField) -> Steps[slicer.vtkOrientedGridTransform]:
    width = _fade_width(field)
    geometry = _widened(field.geometry, width)
    matrix = ijk_to_ras(geometry)
    data = vtk.vtkImageData()
    data.SetSpacing(geometry.spacing)
    data.SetOrigin(matrix[:3, 3].tolist())
    vectors = empty_voxels(data, geometry.size, field.array.dtype.newbyteorder("="), components=3)
    yield from _fill_steps(vectors, field.array, width)
    grid = slicer.vtkOrientedGridTransform()
    grid.SetDisplacementGridData(data)
    axes = np.eye(4)
    axes[:3, :3] = FLIP[:3, :3] @ geometry.axes
    grid.SetGridDirectionMatrix(matrix_from_array(axes))
    grid.SetInterpolationModeToLinear()
    return grid


def _fade_width(field: DisplacementField) -> int:
    """Return how many voxels to add on every side so that the field ends in zeros.

    Outside its grid VTK repeats the border's displacement where ITK has none. A first voxel repeats it still, for in
    ITK it holds for half a voxel; over the others it falls to zero.
    """
    sides = [np.moveaxis(field.array, axis, 0)[end] for axis in range(3) for end in (0, -1)]
    largest = max(float(np.abs(side).max()) for side in sides)
    if largest == 0:
        return 0
    return 1 + min(math.ceil(largest / (STEEPEST_FADE * min(field.geometry.spacing))), LONGEST_FADE)


def _widened(geometry: Geometry, width: int) -> Geometry:
    origin = geometry.to_world([-width] * 3)
    i, j, k = (n + 2 * width for n in geometry.size)
    return Geometry(
        (i, j, k), geometry.spacing, (float(origin[0]), float(origin[1]), float(origin[2])), geometry.direction
    )


def _fill_steps(vectors: NDArray[np.floating], array: NDArray[np.floating], width: int) -> Steps[None]:
    """Write in steps an LPS field into the middle of `vectors` as RAS, and let it fade out around."""
    height, length = array.shape[1:3]
    # A row of vectors at a time: numpy is slow on last axes of three.
    signs = np.tile(np.array([-1, -1, 1], dtype=array.dtype), length)
    for slab in slabs(array.shape):
        planes = vectors[width + slab.start : width + slab.stop]
        rows = planes.reshape(*planes.shape[:2], -1)[:, width : width + height, 3 * width : 3 * (width + length)]
        np.multiply(array[slab].reshape(-1, height, 3 * length), signs, out=rows)
        for number in range(1, width + 1):
            _fade(np.moveaxis(planes[:, width : width + height], 2, 0), width, number)
        for number in range(1, width + 1):
            _fade(np.moveaxis(planes, 1, 0), width, number)
        yield
    for number in range(1, width + 1):
        _fade(vectors, width, number)
        yield


def _fade(vectors: NDArray[np.floating], width: int, number: int) -> None:
    """Fill what lies a number of voxels outside of the middle on either end of the first axis."""
    weight = vectors.dtype.type((width - number) / (width - 1))
    np.multiply(vectors[width], weight, out=vectors[width - number])
    np.multiply(vectors[-1 - width], weight, out=vectors[-1 - width + number])
