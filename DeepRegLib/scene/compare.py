"""The slice views made to compare two volumes, and put back as they were.

Works on whatever slice views a scene has. `capture` comes first and `restore` last.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import slicer
import vtk
from numpy.typing import NDArray

from DeepRegLib.geometry import Geometry
from DeepRegLib.image import Image, resample
from DeepRegLib.scene.nodes import HELPER_ATTRIBUTE, nodes_of, nodes_of_class, nodes_with, remove_with_companions
from DeepRegLib.scene.side_by_side import is_own_view
from DeepRegLib.scene.transforms import transform_from_node
from DeepRegLib.scene.volumes import geometry_of_volume, set_volume, value_range
from DeepRegLib.scene.world import array_from_matrix, geometry_from_ras, voxels_of
from DeepRegLib.transforms import LinearTransform, background_value, transform_to_sitk

RED = "vtkMRMLColorTableNodeRed"
CYAN = "vtkMRMLColorTableNodeCyan"
WINDOW_PERCENTILES = (1.0, 99.0)
CHECKERBOARD_NAME = "Checkerboard"


@dataclass(frozen=True)
class ViewState:
    """What one slice view shows, by the id of its composite node; volume ids are None where there is none."""

    composite: str
    background: str | None
    foreground: str | None
    opacity: float
    compositing: int
    linked: bool
    hot_linked: bool


@dataclass(frozen=True)
class DisplayState:
    """How one volume is displayed, by the id of its display node."""

    display: str
    colours: str | None
    window: float
    level: float
    automatic: bool


@dataclass(frozen=True)
class ComparisonState:
    """How views and volumes were before a comparison."""

    views: tuple[ViewState, ...]
    displays: tuple[DisplayState, ...]


def capture(scene: slicer.vtkMRMLScene) -> ComparisonState:
    """Remember what all slice views show and how the volumes are displayed."""
    views = [
        ViewState(
            node.GetID(),
            node.GetBackgroundVolumeID(),
            node.GetForegroundVolumeID(),
            node.GetForegroundOpacity(),
            node.GetCompositing(),
            bool(node.GetLinkedControl()),
            bool(node.GetHotLinkedControl()),
        )
        for node in _views(scene)
    ]
    displays = [
        DisplayState(
            node.GetID(), node.GetColorNodeID(), node.GetWindow(), node.GetLevel(), bool(node.GetAutoWindowLevel())
        )
        for node in nodes_of(scene)
        if node.IsA("vtkMRMLScalarVolumeDisplayNode")
    ]
    return ComparisonState(tuple(views), tuple(displays))


def restore(scene: slicer.vtkMRMLScene, state: ComparisonState) -> None:
    """Put views and volumes back as they were, as far as they still are there, and remove the helpers."""
    for view in state.views:
        node = scene.GetNodeByID(view.composite)
        if node is not None:
            changed = node.StartModify()
            node.SetLinkedControl(view.linked)
            node.SetHotLinkedControl(view.hot_linked)
            node.SetCompositing(view.compositing)
            node.SetBackgroundVolumeID(_present(scene, view.background))
            node.SetForegroundVolumeID(_present(scene, view.foreground))
            node.SetForegroundOpacity(view.opacity)
            node.EndModify(changed)
    for display in state.displays:
        node = scene.GetNodeByID(display.display)
        if node is not None:
            changed = node.StartModify()
            node.SetAndObserveColorNodeID(_present(scene, display.colours))
            node.SetWindowLevel(display.window, display.level)
            node.SetAutoWindowLevel(display.automatic)
            node.EndModify(changed)
    for node in nodes_with(scene, HELPER_ATTRIBUTE):
        remove_with_companions(scene, node)


def show_blend(
    scene: slicer.vtkMRMLScene,
    fixed: slicer.vtkMRMLScalarVolumeNode,
    warped: slicer.vtkMRMLScalarVolumeNode,
    opacity: float,
) -> None:
    """Show the warped volume over the fixed one; `opacity` 0 shows the fixed, 1 the warped alone."""
    _show(scene, fixed, warped, opacity, slicer.vtkMRMLSliceCompositeNode.Alpha)


def show_flicker_phase(scene: slicer.vtkMRMLScene, phase: float) -> None:
    """Show the fixed (0) or the warped volume (1) of a blend."""
    for node in _views(scene):
        node.SetForegroundOpacity(phase)


def show_red_cyan(
    scene: slicer.vtkMRMLScene, fixed: slicer.vtkMRMLScalarVolumeNode, warped: slicer.vtkMRMLScalarVolumeNode
) -> None:
    """Show the fixed volume in red and the warped one in cyan, added: grey where they agree."""
    for node, colours in ((fixed, RED), (warped, CYAN)):
        display = node.GetDisplayNode()
        if display is not None:
            changed = display.StartModify()
            display.SetAndObserveColorNodeID(colours)
            display.SetAutoWindowLevel(False)
            display.SetWindowLevelMinMax(*value_range(voxels_of(node.GetImageData()), *WINDOW_PERCENTILES))
            display.EndModify(changed)
    _show(scene, fixed, warped, 1.0, slicer.vtkMRMLSliceCompositeNode.Add)


def show_checkerboard(
    scene: slicer.vtkMRMLScene,
    fixed: slicer.vtkMRMLScalarVolumeNode,
    warped: slicer.vtkMRMLScalarVolumeNode,
    squares: int = 8,
) -> slicer.vtkMRMLScalarVolumeNode:
    """Show cubes of the fixed and the warped volume in turn, each in its own window of grey.

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
    vtkMRMLScalarVolumeNode
        A hidden helper on the fixed grid, which `restore` and `remove_results` remove.
    """
    geometry = geometry_of_volume(fixed)
    board = _checkerboard(voxels_of(fixed.GetImageData()), _on_grid(warped, geometry), geometry, squares)
    helper = next(iter(nodes_with(scene, HELPER_ATTRIBUTE)), None)
    if helper is None:
        helper = slicer.vtkMRMLScalarVolumeNode()
        helper.SetName(CHECKERBOARD_NAME)
        helper.SetAttribute(HELPER_ATTRIBUTE, "1")
        helper.SetHideFromEditors(True)
        scene.AddNode(helper)
    set_volume(helper, Image(board, geometry, CHECKERBOARD_NAME))
    helper.GetDisplayNode().SetWindowLevelMinMax(0, 255)
    helper.GetDisplayNode().SetInterpolate(False)  # between two layers of cubes the volumes would be mixed everywhere
    _show(scene, helper, None, 0.0, slicer.vtkMRMLSliceCompositeNode.Alpha)
    return helper


def set_linked(scene: slicer.vtkMRMLScene, linked: bool) -> None:
    """Let all slice views scroll, zoom and change together, or not."""
    for node in _views(scene):
        node.SetLinkedControl(linked)
        node.SetHotLinkedControl(linked)


def _views(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLSliceCompositeNode]:
    """Return the views that compare; those that show the scans side by side do not."""
    views = nodes_of_class(scene, "vtkMRMLSliceCompositeNode")
    return [node for node in views if not is_own_view(node.GetLayoutName())]


def _present(scene: slicer.vtkMRMLScene, identifier: str | None) -> str | None:
    return identifier if identifier and scene.GetNodeByID(identifier) is not None else None


def _show(
    scene: slicer.vtkMRMLScene,
    background: slicer.vtkMRMLScalarVolumeNode,
    foreground: slicer.vtkMRMLScalarVolumeNode | None,
    opacity: float,
    compositing: int,
) -> None:
    for node in _views(scene):
        changed = node.StartModify()
        node.SetBackgroundVolumeID(background.GetID())
        node.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
        node.SetForegroundOpacity(opacity)
        node.SetCompositing(compositing)
        node.EndModify(changed)


def _checkerboard(
    fixed: NDArray[np.generic], warped: NDArray[np.generic], geometry: Geometry, squares: int
) -> NDArray[np.uint8]:
    """Return cubes of two images on one grid in turn, each image as grey from its 1st to its 99th percentile."""
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
