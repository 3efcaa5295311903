"""Slice views rendered by MRML's own displayable managers, without a window, to pictures.

Without a GL library VTK ends the process when it makes a render window, so `rendering_available()` asks in another
process first. On a machine without a display, OSMesa (the package libosmesa6) or EGL serves.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

OSMESA = {"VTK_DEFAULT_OPENGL_WINDOW": "vtkOSOpenGLRenderWindow"}
PROBE = """
import vtk
window = vtk.vtkRenderWindow()
window.SetOffScreenRendering(1)
window.AddRenderer(vtk.vtkRenderer())
window.Render()
"""
MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
)


@functools.cache
def rendering_available() -> bool:
    """Return whether this machine can render without a window; chooses OSMesa for this process where it is there."""
    for choice in (OSMESA, {}):
        environment = {**os.environ, **choice}
        probe = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, timeout=120)
        if probe.returncode == 0 and b"ERR|" not in probe.stderr:
            os.environ.update(choice)
            return True
    return False


class SliceView:
    """A slice of the scene as a picture.

    Parameters
    ----------
    name
        The slice view, such as "Red"; one that the layout does not have is added, and removed by `close`.
    orientation
        "Axial", "Sagittal" or "Coronal".
    size
        Width and height of the picture in pixels.
    """

    def __init__(self, name: str = "Red", orientation: str = "Axial", size: tuple[int, int] = (400, 400)) -> None:
        self._size = size
        self._renderer = vtk.vtkRenderer()
        self._renderer.GetActiveCamera().ParallelProjectionOn()
        self._window = offscreen_window(self._renderer, size)
        self._interactor = vtk.vtkRenderWindowInteractor()
        self._interactor.SetRenderWindow(self._window)
        self._interactor.Initialize()
        self._image = image_actor()
        self._renderer.AddViewProp(self._image)  # before the managers' actors: 2-D actors are drawn in this order
        self._managers = displayable_managers(self._renderer)
        self._logic, self._added = slice_logic(name)
        self._managers.SetMRMLDisplayableNode(self._logic.GetSliceNode())
        self._logic.GetSliceNode().SetOrientation(orientation)
        self._logic.GetSliceNode().SetMappedInLayout(1)

    @property
    def logic(self) -> slicer.vtkMRMLSliceLogic:
        """The logic that cuts the slice: offset, field of view, layers."""
        return self._logic

    def show(
        self,
        background: slicer.vtkMRMLVolumeNode,
        foreground: slicer.vtkMRMLVolumeNode | None = None,
        opacity: float = 0.5,
    ) -> None:
        """Show a volume, with another one over it, and fit the view to it."""
        composite = self._logic.GetSliceCompositeNode()
        composite.SetBackgroundVolumeID(background.GetID())
        composite.SetForegroundVolumeID(foreground.GetID() if foreground is not None else None)
        composite.SetForegroundOpacity(opacity)
        self.fit()

    def fit(self) -> None:
        """Fit the view to its background."""
        self._logic.ResizeSliceNode(*self._size)
        self._logic.FitSliceToBackground()
        self._logic.SnapSliceOffsetToIJK()

    def jump_to(self, point_ras: Sequence[float]) -> None:
        """Move the slice through a point, RAS mm."""
        self._logic.GetSliceNode().JumpSlice(*point_ras)

    def picture(self) -> np.ndarray:
        """Return what the view shows, as (height, width, 3) uint8, top row first."""
        self._connect_image()
        self._window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self._window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        return array_from_image(grabber.GetOutput())

    def _connect_image(self) -> None:
        self._logic.UpdatePipeline()
        connection = self._logic.GetImageDataConnection()
        if connection is None:
            return
        self._image.GetMapper().SetInputConnection(connection)
        self._image.VisibilityOn()

    def close(self) -> None:
        """Release the window, and remove the view if it was added."""
        self._managers.SetMRMLDisplayableNode(None)
        self._window.Finalize()
        if self._added:
            slicer.app.applicationLogic().GetSliceLogics().RemoveItem(self._logic)
            scene = slicer.mrmlScene
            for node in (self._logic.GetSliceCompositeNode(), self._logic.GetSliceNode()):
                scene.RemoveNode(node)


def offscreen_window(renderer: vtk.vtkRenderer, size: tuple[int, int]) -> vtk.vtkRenderWindow:
    """Return a render window that is never shown."""
    window = vtk.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.ShowWindowOff()
    window.SetSize(*size)
    window.AddRenderer(renderer)
    return window


def image_actor() -> vtk.vtkActor2D:
    """Return the actor of the slice's image, hidden until there is one; grey values are final and shown as they are."""
    mapper = vtk.vtkImageMapper()
    mapper.SetColorWindow(255)
    mapper.SetColorLevel(127.5)
    actor = vtk.vtkActor2D()
    actor.SetMapper(mapper)
    actor.GetProperty().SetDisplayLocationToBackground()
    actor.VisibilityOff()
    return actor


def displayable_managers(renderer: vtk.vtkRenderer) -> slicer.vtkMRMLDisplayableManagerGroup:
    """Return the managers that draw segmentations, markups, models and transforms."""
    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
    factory.SetMRMLApplicationLogic(slicer.app.applicationLogic())
    for manager in MANAGERS:
        if not factory.IsDisplayableManagerRegistered(manager):
            factory.RegisterDisplayableManager(manager)
    group = slicer.vtkMRMLDisplayableManagerGroup()
    group.SetRenderer(renderer)
    group.Initialize(factory, renderer)
    return group


def slice_logic(name: str) -> tuple[slicer.vtkMRMLSliceLogic, bool]:
    """Return the slice logic of that name, and whether it had to be added."""
    application = slicer.app.applicationLogic()
    logics = application.GetSliceLogics()
    for index in range(logics.GetNumberOfItems()):
        logic = logics.GetItemAsObject(index)
        if logic.GetSliceNode() is not None and logic.GetSliceNode().GetLayoutName() == name:
            return logic, False
    logic = slicer.vtkMRMLSliceLogic()
    logic.SetMRMLApplicationLogic(application)
    logics.AddItem(logic)
    logic.SetMRMLScene(slicer.mrmlScene)
    logic.AddSliceNode(name)
    return logic, True


def array_from_image(image: vtk.vtkImageData) -> np.ndarray:
    """Return a picture as (height, width, 3) uint8, top row first."""
    width, height, _ = image.GetDimensions()
    return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()


def read_picture(path: Path) -> np.ndarray:
    """Return a PNG file as (height, width, 3) uint8, top row first."""
    reader = vtk.vtkPNGReader()
    reader.SetFileName(str(path))
    reader.Update()
    return array_from_image(reader.GetOutput())


def write_picture(picture: np.ndarray, path: Path) -> None:
    """Write a (height, width, 3) uint8 picture as a PNG file."""
    height, width, channels = picture.shape
    image = vtk.vtkImageData()
    image.SetDimensions(width, height, 1)
    flat = np.ascontiguousarray(picture[::-1]).reshape(-1, channels)
    image.GetPointData().SetScalars(numpy_to_vtk(flat, deep=True, array_type=vtk.VTK_UNSIGNED_CHAR))
    writer = vtk.vtkPNGWriter()
    writer.SetFileName(str(path))
    writer.SetInputData(image)
    writer.Write()


def side_by_side(pictures: Sequence[np.ndarray], *, gap: int = 4, columns: int | None = None) -> np.ndarray:
    """Return pictures in rows of `columns` (all in one row by default) with white between; all tops in a row align."""
    columns = columns or len(pictures)
    rows = [with_gaps(pictures[start : start + columns], gap, axis=1) for start in range(0, len(pictures), columns)]
    return with_gaps(rows, gap, axis=0)


def with_gaps(pictures: Sequence[np.ndarray], gap: int, *, axis: int) -> np.ndarray:
    """Return pictures joined along an axis, padded with white to one size across it."""
    across = 1 - axis
    extent = max(picture.shape[across] for picture in pictures)
    joined: list[np.ndarray] = []
    for picture in pictures:
        padding = [(0, 0), (0, 0), (0, 0)]
        padding[across] = (0, extent - picture.shape[across])
        padding[axis] = (gap if joined else 0, 0)
        joined.append(np.pad(picture, padding, constant_values=255))
    return np.concatenate(joined, axis=axis)
