"""Volume nodes and images."""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from DeepRegLib.errors import InputError
from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image
from DeepRegLib.scene.nodes import new_node
from DeepRegLib.scene.world import (
    array_from_matrix,
    geometry_from_ras,
    ijk_to_ras,
    image_data,
    matrix_from_array,
    parent_to_world,
    voxels_of,
)

GREY = "vtkMRMLColorTableNodeGrey"
# Enough voxels for percentiles; all of a large volume would take a third of a second.
SAMPLED_VOXELS = 200_000
DISPLAYED_PERCENTILES = (0.1, 99.9)


def image_from_volume(node: slicer.vtkMRMLScalarVolumeNode | None, *, copy: bool = True) -> Image:
    """Return a volume as it lies in the world, its parent transforms included.

    Parameters
    ----------
    node
        A scalar or label map volume.
    copy
        Copy the voxels, so that editing the node later does not change the image. Copying a large scan can hold the
        window up; without it the image shows the node's own voxels, which stay in memory as long as it does.

    Returns
    -------
    Image
        The volume; its array must not be written to.

    Raises
    ------
    InputError
        If there is no node or it was removed from its scene, it is no volume, it has no voxels, several values a voxel
        or a single slice, a parent transform bends space, or its voxel axes are not at right angles in the world.
    """
    volume = _require_volume(node)
    geometry = geometry_of_volume(volume)
    voxels = voxels_of(volume.GetImageData())
    return Image(voxels.copy() if copy else voxels, geometry, volume.GetName())


def scan_fault(node: slicer.vtkMRMLNode | None) -> InputError | None:
    """Return why a node is no scan that a person would register, or None; a glance, cheap enough for each change.

    A scan is a volume of several slices with one value a voxel, and no label map.
    """
    try:
        volume = _require_volume(node)
    except InputError as error:
        return error
    if volume.IsA("vtkMRMLLabelMapVolumeNode"):
        return InputError(f"{volume.GetName()} is a label map, not a scan.", "Choose the scan it belongs to.")
    return None


class Untouched:
    """Remembers the voxels of a volume, to tell later whether they were edited in place.

    Parameters
    ----------
    node
        A volume with voxels. Giving it other voxels, as a sequence does with each frame, is no edit of these.
    """

    def __init__(self, node: slicer.vtkMRMLScalarVolumeNode) -> None:
        self.name = str(node.GetName())
        self._scalars = node.GetImageData().GetPointData().GetScalars()
        self._time = self._scalars.GetMTime()

    def __bool__(self) -> bool:
        """Whether the voxels are as they were."""
        return bool(self._scalars.GetMTime() == self._time)


def geometry_of_volume(node: slicer.vtkMRMLScalarVolumeNode) -> Geometry:
    """Return the grid of a volume as it lies in the world (LPS, mm), its parent transforms included.

    Raises
    ------
    InputError
        If a parent transform bends space or the voxel axes are not at right angles.
    """
    name = f"The volume {node.GetName()}"
    return _placed(node, parent_to_world(node, name), name)


def own_geometry(node: slicer.vtkMRMLScalarVolumeNode) -> Geometry:
    """Return the grid of a volume as it was loaded (LPS, mm), whatever transforms it is under; errors as above."""
    return _placed(node, np.eye(4), f"The volume {node.GetName()}")


def _placed(node: slicer.vtkMRMLScalarVolumeNode, to_world: NDArray[np.float64], name: str) -> Geometry:
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return geometry_from_ras(to_world @ array_from_matrix(matrix), node.GetImageData().GetDimensions(), name)


def add_volume(
    scene: slicer.vtkMRMLScene,
    image: Image,
    name: str,
    *,
    like: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Add an image to a scene as a scalar volume.

    Parameters
    ----------
    scene
        Where to add it.
    image
        Its voxels are copied.
    name
        Of the node; a number is appended where the scene has the name.
    like
        A volume whose colours, window and units the new one takes over.
    """
    node = new_node(scene, "vtkMRMLScalarVolumeNode", name)
    set_volume(node, image, like=like)
    return node


def add_label_volume(scene: slicer.vtkMRMLScene, image: Image, name: str) -> slicer.vtkMRMLLabelMapVolumeNode:
    """Add a label map (or a mask) to a scene as a label map volume; the voxels are copied."""
    node = new_node(scene, "vtkMRMLLabelMapVolumeNode", name)
    set_voxels(node, image)
    node.CreateDefaultDisplayNodes()
    return node


def set_volume(
    node: slicer.vtkMRMLScalarVolumeNode,
    image: Image,
    data: vtk.vtkImageData | None = None,
    *,
    like: slicer.vtkMRMLScalarVolumeNode | None = None,
) -> None:
    """Fill a volume node of a scene with an image as `add_volume` does; it leaves its parent transform.

    `data` are the voxels as VTK holds them, made beforehand by `image_data_steps`; by default they are copied here.
    """
    node.SetAndObserveTransformNodeID(None)
    set_voxels(node, image, data)
    if not node.IsA("vtkMRMLLabelMapVolumeNode"):
        _set_display(node, image, like)


def show_like(node: slicer.vtkMRMLScalarVolumeNode, pattern: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Let a volume that has a display be shown in the colours and the window of another."""
    display = node.GetDisplayNode()
    display.SetAutoWindowLevel(False)
    _show_as(display, pattern.GetDisplayNode())


def _show_as(display: slicer.vtkMRMLScalarVolumeDisplayNode, pattern: slicer.vtkMRMLScalarVolumeDisplayNode) -> None:
    display.SetAndObserveColorNodeID(pattern.GetColorNodeID())
    display.SetWindowLevel(pattern.GetWindow(), pattern.GetLevel())
    display.SetInterpolate(pattern.GetInterpolate())


def set_millimetres(node: slicer.vtkMRMLScalarVolumeNode) -> None:
    """Say that the values of a volume are mm, as views and files show it."""
    units = slicer.vtkCodedEntry()
    units.SetValueSchemeMeaning("mm", "UCUM", "millimeter")
    node.SetVoxelValueUnits(units)


def value_range(array: NDArray[np.generic], low: float, high: float) -> tuple[float, float]:
    """Return two percentiles of the finite values of an array, from a regular sample of it."""
    step = max(1, array.size // SAMPLED_VOXELS)
    # An odd step does not stay in one column of voxels.
    sample = array.reshape(-1)[:: step | 1].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return 0.0, 1.0
    lower, upper = np.percentile(sample, (low, high))
    return float(lower), float(upper)


def _require_volume(node: slicer.vtkMRMLVolumeNode | None) -> slicer.vtkMRMLScalarVolumeNode:
    if node is None:
        raise InputError("No volume is chosen.", "Choose a volume.")
    name = node.GetName()
    if node.GetScene() is None:
        raise InputError(f"The volume {name} is no longer in the scene.", "Choose another volume.")
    if not node.IsA("vtkMRMLVolumeNode"):
        raise InputError(f"{name} is not a volume.", "Choose a volume.")
    data = node.GetImageData()
    if data is None or data.GetNumberOfPoints() == 0:
        raise InputError(f"The volume {name} has no voxels.", "Load or compute it first.")
    if data.GetPointData().GetScalars() is None or data.GetNumberOfScalarComponents() != 1:
        count = data.GetNumberOfScalarComponents()
        raise InputError(
            f"The volume {name} has {count} values a voxel (colours, vectors or tensors).",
            "Extract a scalar volume from it, in the Vector to Scalar Volume module for instance.",
        )
    if 1 in data.GetDimensions():
        size = " x ".join(str(n) for n in data.GetDimensions())
        raise InputError(f"The volume {name} is a single slice ({size}).", "Choose a volume of several slices.")
    return node


def set_voxels(node: slicer.vtkMRMLVolumeNode, image: Image, data: vtk.vtkImageData | None = None) -> None:
    """Give a volume node, in a scene or not, the voxels of an image and where they lie; `data` as of `set_volume`."""
    node.SetIJKToRASMatrix(matrix_from_array(ijk_to_ras(image.geometry)))
    node.SetAndObserveImageData(image_data(image.array) if data is None else data)


def _set_display(
    node: slicer.vtkMRMLScalarVolumeNode, image: Image, like: slicer.vtkMRMLScalarVolumeNode | None
) -> None:
    pattern = like.GetDisplayNode() if like is not None else None
    display = node.GetDisplayNode()
    fresh = display is None
    if fresh:
        display = slicer.vtkMRMLScalarVolumeDisplayNode()
        display.SetAndObserveColorNodeID(GREY)
    changed = display.StartModify()
    # Left to itself the node measures a histogram of all voxels, a quarter of a second for 256^3.
    display.SetAutoWindowLevel(False)
    if pattern is not None and pattern.IsA("vtkMRMLScalarVolumeDisplayNode"):
        _show_as(display, pattern)
    else:
        low, high = value_range(image.array, *DISPLAYED_PERCENTILES)
        display.SetWindowLevelMinMax(low, high)
    display.EndModify(changed)
    if fresh:
        node.GetScene().AddNode(display)
        node.SetAndObserveDisplayNodeID(display.GetID())
    if like is not None:
        node.SetVoxelValueQuantity(like.GetVoxelValueQuantity())
        node.SetVoxelValueUnits(like.GetVoxelValueUnits())
