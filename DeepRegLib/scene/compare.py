"""Ways to show two volumes over each other in slice views, none of which changes how the volumes are displayed.

What a view cannot show of the volumes themselves is shown of hidden helpers, which are not saved with the scene.
"""

from __future__ import annotations

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.scene.nodes import HELPER_ATTRIBUTE, nodes_with, remove_with_companions
from DeepRegLib.scene.steps import Steps, run_through
from DeepRegLib.scene.transforms import transform_from_node
from DeepRegLib.scene.views import Layers
from DeepRegLib.scene.volumes import geometry_of_volume, set_volume, value_range
from DeepRegLib.scene.world import array_from_matrix, geometry_from_ras, voxels_of
from DeepRegLib.transforms import LinearTransform, background_value, transform_to_sitk

RED = "vtkMRMLColorTableNodeRed"
CYAN = "vtkMRMLColorTableNodeCyan"
WINDOW_PERCENTILES = (1.0, 99.0)
CHECKERBOARD_NAME = "Checkerboard"


def blend(fixed: slicer.vtkMRMLScalarVolumeNode, warped: slicer.vtkMRMLScalarVolumeNode, opacity: float) -> Layers:
    """Return the warped volume over the fixed one; `opacity` 0 shows the fixed, 1 the warped alone."""
    return Layers(fixed.GetID(), warped.GetID(), opacity, slicer.vtkMRMLSliceCompositeNode.Alpha)


def red_cyan(
    scene: slicer.vtkMRMLScene, fixed: slicer.vtkMRMLScalarVolumeNode, warped: slicer.vtkMRMLScalarVolumeNode
) -> Layers:
    """Return the fixed volume in red and the warped one in cyan, added: grey where they agree.

    Each is shown by a hidden helper with the same voxels, so that the volume's own colours and window stay.
    """
    red, cyan = (_twin(scene, node, colours) for node, colours in ((fixed, RED), (warped, CYAN)))
    return Layers(red.GetID(), cyan.GetID(), 1.0, slicer.vtkMRMLSliceCompositeNode.Add)


def remove_helpers(scene: slicer.vtkMRMLScene) -> None:
    """Remove the hidden helpers; no view may show them any more."""
    for node in nodes_with(scene, HELPER_ATTRIBUTE):
        remove_with_companions(scene, node)


def checkerboard(
    scene: slicer.vtkMRMLScene,
    fixed: slicer.vtkMRMLScalarVolumeNode,
    warped: slicer.vtkMRMLScalarVolumeNode,
    squares: int = 8,
) -> Layers:
    """Do all of `checkerboard_steps` at once."""
    return run_through(checkerboard_steps(scene, fixed, warped, squares))


def checkerboard_steps(
    scene: slicer.vtkMRMLScene,
    fixed: slicer.vtkMRMLScalarVolumeNode,
    warped: slicer.vtkMRMLScalarVolumeNode,
    squares: int = 8,
) -> Steps[Layers]:
    """Return in steps cubes of the fixed and the warped volume in turn, each in its own window of grey.

    Parameters
    ----------
    scene
        Of both volumes.
    fixed, warped
        The warped volume may lie on another grid.
    squares
        Along the longest edge of the fixed volume.

    Returns
    -------
    Layers
        Of a hidden helper on the fixed grid.
    """
    geometry = geometry_of_volume(fixed)
    on_grid = _on_grid(warped, geometry)
    yield
    board = yield from _checkerboard_steps(voxels_of(fixed.GetImageData()), on_grid, geometry, squares)
    helper = _helper(scene, CHECKERBOARD_NAME)
    set_volume(helper, Image(board, geometry, CHECKERBOARD_NAME))
    display = helper.GetDisplayNode()
    display.SetSaveWithScene(False)
    display.SetWindowLevelMinMax(0, 255)
    display.SetInterpolate(False)  # between two layers of cubes the volumes would be mixed everywhere
    return Layers(helper.GetID(), None, 0.0, slicer.vtkMRMLSliceCompositeNode.Alpha)


def _twin(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLScalarVolumeNode, colours: str) -> slicer.vtkMRMLVolumeNode:
    """Add a helper that shows a volume's voxels, where that lies, in other colours."""
    twin = _helper(scene, str(node.GetName()))
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    twin.SetIJKToRASMatrix(matrix)
    twin.SetAndObserveTransformNodeID(node.GetTransformNodeID())
    display = slicer.vtkMRMLScalarVolumeDisplayNode()
    display.SetSaveWithScene(False)
    display.SetAutoWindowLevel(False)
    display.SetAndObserveColorNodeID(colours)
    display.SetWindowLevelMinMax(*value_range(voxels_of(node.GetImageData()), *WINDOW_PERCENTILES))
    scene.AddNode(display)
    twin.SetAndObserveDisplayNodeID(display.GetID())
    twin.SetAndObserveImageData(node.GetImageData())
    return twin


def _helper(scene: slicer.vtkMRMLScene, name: str) -> slicer.vtkMRMLScalarVolumeNode:
    """Add a volume that nobody sees in a list, nor finds in a saved scene."""
    helper = slicer.vtkMRMLScalarVolumeNode()
    helper.SetName(name)
    helper.SetAttribute(HELPER_ATTRIBUTE, "1")
    helper.SetHideFromEditors(True)
    helper.SetSaveWithScene(False)
    return scene.AddNode(helper)


def _checkerboard_steps(
    fixed: NDArray[np.generic], warped: NDArray[np.generic], geometry: Geometry, squares: int
) -> Steps[NDArray[np.uint8]]:
    """Return in steps cubes of two images on one grid in turn, each as grey from its 1st to its 99th percentile."""
    edge = float(geometry.extent.max()) / squares
    i, j, k = (
        (np.arange(n) * step // edge).astype(np.int64) for n, step in zip(geometry.size, geometry.spacing, strict=True)
    )
    plane = (j[:, None] + i) % 2 == 1
    windows = [value_range(array, *WINDOW_PERCENTILES) for array in (fixed, warped)]
    board = np.empty(geometry.shape, dtype=np.uint8)
    for number, parity in enumerate(k % 2):  # a slice at a time stays in the processor's cache
        cubes = ~plane if parity else plane
        board[number] = np.where(cubes, _grey(warped[number], *windows[1]), _grey(fixed[number], *windows[0]))
        yield
    return board


def _grey(array: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    scaled = array.astype(np.float32)
    scaled -= np.float32(low)
    scaled *= np.float32(255 / max(high - low, 1e-12))
    # Unlike clipping, this makes NaN black.
    np.fmax(scaled, 0, out=scaled)
    return np.minimum(scaled, 255, out=scaled).astype(np.uint8)


def _on_grid(node: slicer.vtkMRMLScalarVolumeNode, geometry: Geometry) -> NDArray[np.generic]:
    """Return a volume's voxels on a grid of the world, through all its parent transforms."""
    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    voxels = voxels_of(node.GetImageData())
    own = geometry_from_ras(array_from_matrix(matrix), node.GetImageData().GetDimensions(), node.GetName())
    parent = node.GetParentTransformNode()
    if parent is None and geometry.is_close(own):
        return voxels
    from_world = LinearTransform.identity() if parent is None else transform_from_node(parent)
    image = Image(voxels, own, node.GetName())
    return resample(image, geometry, background=background_value(image), transform=transform_to_sitk(from_world)).array
