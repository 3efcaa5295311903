"""Segments that are no label maps, as a segmentation holds them: shares of voxels, and closed surfaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray
from vtk.util import numpy_support

from DeepRegLib.image import Image
from DeepRegLib.scene.steps import Steps
from DeepRegLib.scene.world import array_from_matrix, geometry_from_ras, ijk_to_ras, matrix_from_array, voxels_of
from DeepRegLib.segmentation.fractional import HALF, USUAL, Scale

FRACTIONAL = slicer.vtkSegmentationConverter.GetSegmentationFractionalLabelmapRepresentationName()
SURFACE = slicer.vtkSegmentationConverter.GetSegmentationClosedSurfaceRepresentationName()
RANGE, THRESHOLD, INTERPOLATION = (
    slicer.vtkSegmentationConverter.GetScalarRangeFieldName(),
    slicer.vtkSegmentationConverter.GetThresholdValueFieldName(),
    slicer.vtkSegmentationConverter.GetInterpolationTypeFieldName(),
)


@dataclass(frozen=True, eq=False)
class Shares:
    """One fractional segment.

    Parameters
    ----------
    array
        Share of each voxel, float32 from 0 to 1, ``(k, j, i)``, with an empty voxel on every side.
    ijk_to_ras
        Where it lies in the segmentation's own frame.
    scale
        How its segmentation stores shares.
    """

    array: NDArray[np.float32]
    ijk_to_ras: NDArray[np.float64]
    scale: Scale


@dataclass(frozen=True, eq=False)
class WholeSegments:
    """What a segmentation holds in place of label maps, one a segment in its order; nothing where it holds these.

    Parameters
    ----------
    shares
        float32 from 0 to 1, in the world, each on its own grid.
    scales
        How they are stored.
    surfaces
        In the world, RAS mm.
    """

    shares: tuple[Image, ...] = ()
    scales: tuple[Scale, ...] = ()
    surfaces: tuple[vtk.vtkPolyData, ...] = ()


@dataclass(frozen=True, eq=False)
class WholeData:
    """The same as VTK has it after it was carried over: the representation's name, and one object a segment."""

    representation: str
    objects: tuple[vtk.vtkDataObject, ...]


def shares_of(segmentation: slicer.vtkSegmentation) -> Iterator[tuple[str, Shares]]:
    """Yield the id and the shares of each segment of a fractional segmentation that has voxels."""
    for number in range(segmentation.GetNumberOfSegments()):
        data = segmentation.GetNthSegment(number).GetRepresentation(FRACTIONAL)
        if data is None or data.GetNumberOfPoints() == 0 or data.GetPointData().GetScalars() is None:
            continue
        array, matrix = voxels_of(data), vtk.vtkMatrix4x4()
        scale = _scale_of(data, array)
        data.GetImageToWorldMatrix(matrix)
        own = array_from_matrix(matrix)
        own[:3, 3] += own[:3, :3] @ (np.array(data.GetExtent()[::2]) - 1)
        yield segmentation.GetNthSegmentID(number), Shares(np.pad(scale.shares(array), 1), own, scale)


def is_fractional(node: slicer.vtkMRMLSegmentationNode) -> bool:
    """Tell whether a segmentation is stored as shares of voxels."""
    return str(node.GetSegmentation().GetSourceRepresentationName()) == FRACTIONAL


def marked(shares: Shares) -> NDArray[np.uint8]:
    """Return 1 where a segment holds half of a voxel at least."""
    return (shares.array >= HALF).astype(np.uint8)


def whole_steps(node: slicer.vtkMRMLSegmentationNode, to_world: NDArray[np.float64]) -> Steps[WholeSegments]:
    """Return in steps what a segmentation holds in place of label maps; `to_world` takes its own frame to the world."""
    segmentation = node.GetSegmentation()
    source = str(segmentation.GetSourceRepresentationName())
    if source == SURFACE:
        surfaces = []
        for number in range(segmentation.GetNumberOfSegments()):
            surfaces.append(_moved(segmentation.GetNthSegment(number).GetRepresentation(SURFACE), _linear(to_world)))
            yield
        return WholeSegments(surfaces=tuple(surfaces))
    if source != FRACTIONAL:
        return WholeSegments()
    found = dict(shares_of(segmentation))
    nothing = Shares(np.zeros((1, 1, 1), np.float32), np.eye(4), Scale(*USUAL["i1"], "i1"))
    images, scales = [], []
    for number in range(segmentation.GetNumberOfSegments()):
        shares = found.get(segmentation.GetNthSegmentID(number), nothing)
        depth, height, width = shares.array.shape
        name = f"The segmentation {node.GetName()}"
        grid = geometry_from_ras(to_world @ shares.ijk_to_ras, (width, height, depth), name)
        images.append(Image(shares.array, grid, node.GetName()))
        scales.append(shares.scale)
        yield
    return WholeSegments(tuple(images), tuple(scales))


def carried_surface_steps(whole: WholeSegments, way: vtk.vtkAbstractTransform) -> Steps[WholeData]:
    """Return in steps the surfaces with their points moved; `way` takes RAS points to where they belong."""
    moved = []
    for surface in whole.surfaces:
        moved.append(_moved(surface, way))
        yield
    return WholeData(SURFACE, tuple(moved))


def carried_share_steps(whole: WholeSegments, carried: Sequence[Image]) -> Steps[WholeData]:
    """Return in steps the shares after they were brought onto another grid, stored as they were."""
    made = []
    for image, scale in zip(carried, whole.scales, strict=True):
        made.append(_labelmap(image, scale))
        yield
    return WholeData(FRACTIONAL, tuple(made))


def _scale_of(data: vtk.vtkImageData, array: NDArray[np.generic]) -> Scale:
    kind = array.dtype.str[1:]
    told = data.GetFieldData().GetArray(RANGE)
    low, high = USUAL.get(kind, USUAL["f4"])
    if told is not None and told.GetNumberOfValues() == 2:
        low, high = (float(told.GetComponent(number, 0)) for number in range(2))
    return Scale(low, high, kind)


def _labelmap(image: Image, scale: Scale) -> slicer.vtkOrientedImageData:
    labelmap = slicer.vtkOrientedImageData()
    stored = scale.stored(np.asarray(image.array, np.float32))
    # Slicer's own type; its writer of files does not know VTK's other one of bytes with a sign.
    kind = vtk.VTK_CHAR if stored.dtype == np.int8 else None
    labelmap.SetDimensions(image.geometry.size)
    labelmap.GetPointData().SetScalars(numpy_support.numpy_to_vtk(stored.ravel(), deep=True, array_type=kind))
    labelmap.SetImageToWorldMatrix(matrix_from_array(ijk_to_ras(image.geometry)))
    middle = (scale.low + scale.high) / 2
    told = {RANGE: (scale.low, scale.high), THRESHOLD: (middle,), INTERPOLATION: (vtk.VTK_LINEAR_INTERPOLATION,)}
    for name, values in told.items():
        column = vtk.vtkIntArray() if name == INTERPOLATION else vtk.vtkDoubleArray()
        column.SetName(name)
        for value in values:
            column.InsertNextValue(value)
        labelmap.GetFieldData().AddArray(column)
    return labelmap


def _linear(matrix: NDArray[np.float64]) -> vtk.vtkTransform:
    transform = vtk.vtkTransform()
    transform.SetMatrix(matrix_from_array(matrix))
    return transform


def _moved(surface: vtk.vtkPolyData | None, way: vtk.vtkAbstractTransform) -> vtk.vtkPolyData:
    result = vtk.vtkPolyData()
    if surface is None or surface.GetNumberOfPoints() == 0:
        return result
    mover = vtk.vtkTransformPolyDataFilter()
    mover.SetTransform(way)
    mover.SetInputData(surface)
    mover.Update()
    result.DeepCopy(mover.GetOutput())
    return result
