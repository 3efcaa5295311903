"""The real MRML scene of the `slicer-core` wheel, with what the application would put around it.

After `boot_scene()` the scene stands at `slicer.mrmlScene`, the modules' logics at `slicer.modules.<name>.logic()`, and
a `slicer.app` without Qt answers what `slicer.util` asks of it, so loading, saving and exporting run their real code.
"""

from __future__ import annotations

import contextlib
import tempfile
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import slicer
import slicer.util
import vtk

from Testing.desktop.file_io import FileIO

# Name of each module, and the class of its logic; creating a logic registers the module's node classes with the scene.
LOGICS = {
    "Colors": "vtkMRMLColorLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Terminologies": "vtkSlicerTerminologiesModuleLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Markups": "vtkSlicerMarkupsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Models": "vtkSlicerModelsLogic",
    "Sequences": "vtkSlicerSequencesLogic",
    "Plots": "vtkSlicerPlotsLogic",
    "CropVolume": "vtkSlicerCropVolumeLogic",
    "Units": "vtkSlicerUnitsLogic",
    "VolumeRendering": "vtkSlicerVolumeRenderingLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "ViewControllers": "vtkSlicerViewControllersLogic",
}


class LogicModule:
    """What stands at `slicer.modules.<name>` for a module of which only the logic is here."""

    def __init__(self, name: str, logic: Any) -> None:
        self.name = name
        self._logic = logic

    def logic(self) -> Any:
        """Return the module's logic, one for the whole scene."""
        return self._logic


class SceneServices:
    """The part of `slicer.app` that has to do with the scene and with files."""

    applicationName = "Slicer"
    majorVersion = 5
    minorVersion = 12

    def serve(self, scene: slicer.vtkMRMLScene, logic: slicer.vtkMRMLApplicationLogic, folder: str) -> None:
        """Set what the services work on; not the constructor, because the one with Qt has Qt's."""
        self.temporaryPath = folder
        self._scene = scene
        self._logic = logic
        self._files = FileIO(scene)

    def applicationLogic(self) -> slicer.vtkMRMLApplicationLogic:
        """Return the logic that knows the modules' logics, the selection and the colours."""
        return self._logic

    def mrmlScene(self) -> slicer.vtkMRMLScene:
        """Return the scene."""
        return self._scene

    def coreIOManager(self) -> FileIO:
        """Return what reads and writes files."""
        return self._files

    def ioManager(self) -> FileIO:
        """Return what reads and writes files."""
        return self._files

    def testingEnabled(self) -> bool:
        """Return True: `slicer.util` logs its messages instead of showing a window that waits for an answer."""
        return True

    def pauseRender(self) -> None:
        """Do nothing: nothing is rendered unless a view is asked for its picture."""

    def resumeRender(self) -> None:
        """Do nothing: nothing is rendered unless a view is asked for its picture."""


class SceneApplication(SceneServices):
    """`slicer.app` without Qt: no window, no event loop."""

    def layoutManager(self) -> None:
        """Return None: there are no views."""

    def topLevelWidgets(self) -> list:
        """Return no windows."""
        return []

    def processEvents(self) -> None:
        """Do nothing: there are no events."""

    def setOverrideCursor(self, cursor: Any) -> None:
        """Do nothing: there is no cursor."""

    def restoreOverrideCursor(self) -> None:
        """Do nothing: there is no cursor."""


@dataclass(frozen=True)
class Boot:
    """What a booted process keeps: the nodes every scene starts with, and objects that must live as long as it does."""

    node_ids: frozenset[str]
    kept: tuple[Any, ...]


def boot_scene() -> slicer.vtkMRMLScene:
    """Make `slicer.mrmlScene`, `slicer.app` and `slicer.modules` in this process, once.

    Returns
    -------
    vtkMRMLScene
        The scene; a second call returns the same one, as it then is.
    """
    if hasattr(slicer, "desktopBoot"):
        return slicer.mrmlScene
    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    crosshair = slicer.vtkMRMLCrosshairNode()
    crosshair.SetCrosshairName("default")
    scene.AddNode(crosshair)
    # The application's factory of command line modules registers this class.
    scene.RegisterNodeClass(slicer.vtkMRMLCommandLineModuleNode())
    logic = application_logic(scene)
    folder = tempfile.TemporaryDirectory(prefix="slicer-desktop-", ignore_cleanup_errors=True)
    logic.SetTemporaryPath(folder.name)
    slicer.app = SceneApplication()
    slicer.app.serve(scene, logic, folder.name)
    data_logics = data_manager(scene, logic, Path(folder.name) / "cache")
    with without_vtk_messages():  # the wheel lacks terminologies and rendering presets that two of the logics look for
        slicer.modules = module_logics(scene, logic)
    slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene, True)
    slicer.desktopBoot = Boot(frozenset(node_ids(scene)), (folder, *data_logics))
    return scene


def clear_scene() -> None:
    """Close the scene as the application's "Close scene" does, and remove every node that was not there at boot.

    Closing keeps singletons, such as a module's parameter node and the slice nodes; the next test should not see them.
    """
    scene = slicer.mrmlScene
    scene.Clear(False)
    for identifier in node_ids(scene):
        node = scene.GetNodeByID(identifier)
        if node is not None and identifier not in slicer.desktopBoot.node_ids:
            scene.RemoveNode(node)
    scene.GetSubjectHierarchyNode()  # made anew where closing removed it


def keep_present_nodes() -> None:
    """Count the nodes that are there now as part of the empty scene."""
    slicer.desktopBoot = Boot(frozenset(node_ids(slicer.mrmlScene)), slicer.desktopBoot.kept)


def node_ids(scene: slicer.vtkMRMLScene) -> list[str]:
    """Return the IDs of all nodes of a scene."""
    return [scene.GetNthNode(index).GetID() for index in range(scene.GetNumberOfNodes())]


def application_logic(scene: slicer.vtkMRMLScene) -> slicer.vtkSlicerApplicationLogic:
    """Return the application's logic with default colours and room for views."""
    logic = slicer.vtkSlicerApplicationLogic()
    logic.SetMRMLScene(scene)
    logic.GetColorLogic().SetMRMLScene(scene)
    logic.GetColorLogic().AddDefaultColorNodes()
    logic.SetSliceLogics(vtk.vtkCollection())
    logic.SetViewLogics(vtk.vtkCollection())
    return logic


def data_manager(scene: slicer.vtkMRMLScene, logic: slicer.vtkMRMLApplicationLogic, cache: Path) -> tuple[Any, Any]:
    """Give the scene its data manager, without which storage nodes name no file formats."""
    remote = slicer.vtkMRMLRemoteIOLogic()
    remote.SetMRMLScene(scene)
    remote.SetMRMLApplicationLogic(logic)
    remote.GetCacheManager().SetRemoteCacheDirectory(str(cache))
    manager = slicer.vtkDataIOManagerLogic()
    manager.SetMRMLScene(scene)
    manager.SetMRMLApplicationLogic(logic)
    manager.SetAndObserveDataIOManager(remote.GetDataIOManager())
    remote.AddDataIOToScene()
    return remote, manager


def module_logics(scene: slicer.vtkMRMLScene, logic: slicer.vtkMRMLApplicationLogic) -> types.SimpleNamespace:
    """Return what stands at `slicer.modules`: each module's logic, connected to scene and application."""
    modules = types.SimpleNamespace()
    for name, class_name in LOGICS.items():
        own = getattr(slicer, class_name)()
        own.SetMRMLApplicationLogic(logic)
        own.SetMRMLScene(scene)
        logic.SetModuleLogic(name, own)
        setattr(modules, name.lower(), LogicModule(name, own))
    return modules


@contextlib.contextmanager
def without_vtk_messages() -> Iterator[None]:
    """Keep VTK's messages off stderr for a while."""
    verbosity = vtk.vtkLogger.GetCurrentVerbosityCutoff()
    vtk.vtkLogger.SetStderrVerbosity(vtk.vtkLogger.VERBOSITY_OFF)
    try:
        yield
    finally:
        vtk.vtkLogger.SetStderrVerbosity(verbosity)
