"""Nodes made with VTK and MRML alone, so that what the library reads from them is checked against something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from numpy.typing import ArrayLike, NDArray
from vtk.util import numpy_support

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image

TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
BODY_PART = "Segmentation category and type~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~Anatomic~^^~^^"


def vtk_matrix(array: ArrayLike) -> vtk.vtkMatrix4x4:
    matrix = vtk.vtkMatrix4x4()
    for row, values in enumerate(np.asarray(array)):
        for column, value in enumerate(values):
            matrix.SetElement(row, column, float(value))
    return matrix


def vtk_image(array: NDArray) -> vtk.vtkImageData:
    data = vtk.vtkImageData()
    data.SetDimensions(*array.shape[2::-1])
    flat = array.reshape(-1, array.shape[3]) if array.ndim == 4 else array.ravel()
    data.GetPointData().SetScalars(numpy_support.numpy_to_vtk(flat, deep=True))
    return data


def volume_node(
    scene: slicer.vtkMRMLScene, image: Image, name: str = "volume", kind: str = "vtkMRMLScalarVolumeNode"
) -> slicer.vtkMRMLScalarVolumeNode:
    node = scene.AddNewNodeByClass(kind, name)
    node.SetIJKToRASMatrix(vtk_matrix(TO_RAS @ image.geometry.index_to_world))
    array = image.array.astype(np.uint8) if image.array.dtype == np.bool_ else image.array
    node.SetAndObserveImageData(vtk_image(np.ascontiguousarray(array)))
    return node


def linear_node(
    scene: slicer.vtkMRMLScene, to_parent_lps: ArrayLike, name: str = "linear"
) -> slicer.vtkMRMLTransformNode:
    """Return a linear transform node that moves its children by a map of LPS points."""
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    node.SetMatrixTransformToParent(vtk_matrix(TO_RAS @ np.asarray(to_parent_lps) @ TO_RAS))
    return node


def bspline_node(scene: slicer.vtkMRMLScene, name: str = "bspline") -> slicer.vtkMRMLTransformNode:
    coefficients = np.zeros((6, 6, 6, 3))
    data = vtk_image(coefficients)
    data.SetSpacing(20, 20, 20)
    spline = slicer.vtkOrientedBSplineTransform()
    spline.SetCoefficientData(data)
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", name)
    node.SetAndObserveTransformFromParent(spline)
    return node


def segmentation_node(
    scene: slicer.vtkMRMLScene,
    layers: Sequence[Image],
    names: Sequence[Mapping[int, str]],
    name: str = "segmentation",
    extent_start: tuple[int, int, int] = (0, 0, 0),
) -> slicer.vtkMRMLSegmentationNode:
    """Return a segmentation whose segments share one labelmap a layer; id `id <name>`, a colour and a tag each."""
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    for layer, (image, labels) in enumerate(zip(layers, names, strict=True)):
        data = slicer.vtkOrientedImageData()
        data.ShallowCopy(vtk_image(image.array))
        matrix = TO_RAS @ image.geometry.index_to_world
        matrix[:3, 3] -= matrix[:3, :3] @ np.array(extent_start)
        data.SetImageToWorldMatrix(vtk_matrix(matrix))
        end = np.array(extent_start) + image.geometry.size - 1
        data.SetExtent(*(int(n) for pair in zip(extent_start, end, strict=True) for n in pair))
        for value, label in labels.items():
            segment = slicer.vtkSegment()
            segment.SetName(label)
            segment.SetColor(*colour_of(layer, value))
            segment.SetTerminology(BODY_PART)
            segment.SetTag("Origin", f"{label} by hand")
            segment.SetLabelValue(value)
            segment.AddRepresentation("Binary labelmap", data)
            node.GetSegmentation().AddSegment(segment, f"id {label}")
    return node


def colour_of(layer: int, value: int) -> tuple[float, float, float]:
    return (layer / 4, (value % 16) / 16, 0.5)


def tag_of(segment: slicer.vtkSegment, name: str) -> str:
    value = vtk.reference("")
    return str(value) if segment.GetTag(name, value) else ""


def markups_node(
    scene: slicer.vtkMRMLScene, points_lps: ArrayLike, labels: Sequence[str] | None = None, name: str = "points"
) -> slicer.vtkMRMLMarkupsFiducialNode:
    node = scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", name)
    for number, point in enumerate(np.asarray(points_lps) * (-1, -1, 1)):
        node.AddControlPoint(vtk.vtkVector3d(*point), labels[number] if labels is not None else f"F-{number + 1}")
    return node


def world_points(node: slicer.vtkMRMLMarkupsNode) -> NDArray[np.float64]:
    """Return the world positions of a markups node's points, LPS."""
    points = vtk.vtkPoints()
    node.GetControlPointPositionsWorld(points)
    return numpy_support.vtk_to_numpy(points.GetData()).astype(np.float64) * (-1, -1, 1)


def from_world(node: slicer.vtkMRMLTransformNode, points_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Map LPS points by a node's transform from the world, with VTK."""
    chain = vtk.vtkGeneralTransform()
    node.GetTransformFromWorld(chain)
    mapped = [chain.TransformDoublePoint(*(point * (-1, -1, 1))) for point in points_lps]
    return np.array(mapped) * (-1, -1, 1)


def sitk_points(transform: sitk.Transform, points_lps: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([transform.TransformPoint(tuple(point)) for point in points_lps])


def all_ids(scene: slicer.vtkMRMLScene) -> set[str]:
    return {scene.GetNthNode(n).GetID() for n in range(scene.GetNumberOfNodes())}


def sitk_image(node: slicer.vtkMRMLScalarVolumeNode, to_world_ras: NDArray[np.float64]) -> sitk.Image:
    """Return a volume node as SimpleITK would hold it, moved by a linear map of RAS points."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    own = np.array([[matrix.GetElement(r, c) for c in range(4)] for r in range(4)])
    lps = TO_RAS @ to_world_ras @ own
    i, j, k = node.GetImageData().GetDimensions()
    voxels = numpy_support.vtk_to_numpy(node.GetImageData().GetPointData().GetScalars()).reshape(k, j, i)
    picture = sitk.GetImageFromArray(voxels)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    picture.SetSpacing(spacing.tolist())
    picture.SetOrigin(lps[:3, 3].tolist())
    picture.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    return picture


def grid_of(geometry: Geometry) -> tuple:
    return geometry.size, geometry.spacing, geometry.origin, geometry.direction
