"""Reading and writing files as the application's `coreIOManager` does, on MRML's own storage nodes and module logics.

`slicer.util.loadVolume`, `saveNode`, `exportNode`, `saveScene` and their kin come here with Slicer's names of file
types.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import slicer
import vtk


@dataclass(frozen=True)
class FileKind:
    """One of Slicer's file types: the node that holds its content and the storage node that reads it."""

    name: str
    node_class: str
    storage_class: str
    extensions: tuple[str, ...]


SCENE = "SceneFile"
SCENE_EXTENSIONS = (".mrb", ".mrml")
KINDS = (
    FileKind(
        "VolumeFile",
        "vtkMRMLVolumeNode",
        "vtkMRMLVolumeArchetypeStorageNode",
        (".nrrd", ".nhdr", ".nii.gz", ".nii", ".mha", ".mhd"),
    ),
    FileKind("SegmentationFile", "vtkMRMLSegmentationNode", "vtkMRMLSegmentationStorageNode", (".seg.nrrd",)),
    FileKind("TransformFile", "vtkMRMLTransformNode", "vtkMRMLTransformStorageNode", (".h5", ".tfm", ".mat", ".txt")),
    FileKind("MarkupsFile", "vtkMRMLMarkupsNode", "vtkMRMLMarkupsJsonStorageNode", (".mrk.json", ".fcsv")),
    FileKind("TableFile", "vtkMRMLTableNode", "vtkMRMLTableStorageNode", (".csv", ".tsv")),
    FileKind("TextFile", "vtkMRMLTextNode", "vtkMRMLTextStorageNode", (".json",)),
    FileKind("ModelFile", "vtkMRMLModelNode", "vtkMRMLModelStorageNode", (".vtk", ".vtp", ".stl", ".obj", ".ply")),
    FileKind("SequenceFile", "vtkMRMLSequenceNode", "vtkMRMLVolumeSequenceStorageNode", (".seq.nrrd", ".seq.nhdr")),
    FileKind("ColorTableFile", "vtkMRMLColorTableNode", "vtkMRMLColorTableStorageNode", (".ctbl",)),
)

# Options of vtkSlicerVolumesLogic::AddArchetypeVolume.
LABEL_MAP = 1
SINGLE_FILE = 8


class FileIO:
    """What `slicer.app.coreIOManager()` returns, for one scene."""

    def __init__(self, scene: slicer.vtkMRMLScene) -> None:
        self._scene = scene

    def fileType(self, filename: str) -> str:
        """Return the type whose extension fits longest (a .seg.nrrd is no volume); unknown files are volumes."""
        name = str(filename).lower()
        if name.endswith(SCENE_EXTENSIONS):
            return SCENE
        fitting = [(len(ending), kind.name) for kind in KINDS for ending in kind.extensions if name.endswith(ending)]
        return max(fitting)[1] if fitting else "VolumeFile"

    def fileWriterFileType(self, node: slicer.vtkMRMLNode) -> str:
        """Return the type in which a node is saved."""
        return next((kind.name for kind in KINDS if node.IsA(kind.node_class)), "NoFile")

    def fileWriterExtensions(self, node: slicer.vtkMRMLNode) -> list[str]:
        """Return the formats a node can be written in, such as "NRRD (.nrrd)"."""
        storage = node.CreateDefaultStorageNode()
        self._scene.AddNode(storage)  # the list of formats comes from the scene's data manager
        formats = storage.GetSupportedWriteFileTypes()
        self._scene.RemoveNode(storage)
        return [formats.GetValue(index) for index in range(formats.GetNumberOfValues())]

    def extractKnownExtension(self, filename: str, node: slicer.vtkMRMLNode) -> str:
        """Return the longest extension of a file name that the node can be written in, or ""."""
        extension = slicer.vtkDataFileFormatHelper.GetFileExtensionFromFormatString
        known = [extension(description) for description in self.fileWriterExtensions(node)]
        return max((ending for ending in known if ending and str(filename).endswith(ending)), key=len, default="")

    def loadNodes(
        self,
        filetype: str,
        properties: dict,
        loaded: vtk.vtkCollection | None = None,
        messages: slicer.vtkMRMLMessageCollection | None = None,
    ) -> bool:
        """Read a file into the scene; the nodes go into `loaded`, the reason of a failure into `messages`."""
        path = Path(properties["fileName"])
        if not path.exists():
            if messages is not None:
                messages.AddMessage(vtk.vtkCommand.ErrorEvent, f"file does not exist: {path}")
            return False
        if filetype == SCENE:
            return read_scene(self._scene, path, clear=properties.get("clear", False))
        kind = next(kind for kind in KINDS if kind.name == filetype)
        node = self._read(kind, path, properties)
        if node is not None and loaded is not None:
            loaded.AddItem(node)
        return node is not None

    def _read(self, kind: FileKind, path: Path, properties: dict) -> slicer.vtkMRMLNode | None:
        name = properties.get("name") or stem(path, kind)
        if kind.name == "VolumeFile":
            options = LABEL_MAP * bool(properties.get("labelmap")) + SINGLE_FILE * bool(properties.get("singleFile"))
            volume = slicer.modules.volumes.logic().AddArchetypeVolume(str(path), name, options)
            if volume is not None and properties.get("show", True):
                show_in_views(volume)
            return volume
        if kind.name == "TransformFile":
            return slicer.modules.transforms.logic().AddTransform(str(path), self._scene)
        if kind.name == "MarkupsFile":
            identifier = slicer.modules.markups.logic().LoadMarkups(str(path), name)
            return self._scene.GetNodeByID(identifier) if identifier else None
        return read_with_storage_node(self._scene, kind, path, name)

    def saveNodes(
        self, filetype: str, properties: dict, messages: slicer.vtkMRMLMessageCollection | None = None
    ) -> bool:
        """Write one node, or the scene, to properties["fileName"]."""
        path = Path(properties["fileName"])
        if filetype == SCENE:
            return write_scene(self._scene, path)
        node = self._scene.GetNodeByID(properties["nodeID"])
        if node.GetStorageNode() is None:
            node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(str(path))
        if "useCompression" in properties:
            storage.SetUseCompression(properties["useCompression"])
        return bool(storage.WriteData(node))

    def exportNodes(
        self,
        identifiers: Sequence[str],
        filenames: Sequence[str],
        properties: dict,
        harden: bool,
        messages: slicer.vtkMRMLMessageCollection | None = None,
    ) -> bool:
        """Write nodes to files through a copy of theirs, so that their own storage stays as it is."""
        return all(
            export_copy(self._scene, self._scene.GetNodeByID(identifier), Path(filename), harden)
            for identifier, filename in zip(identifiers, filenames, strict=True)
        )


def show_in_views(volume: slicer.vtkMRMLVolumeNode) -> None:
    """Show a newly loaded volume in all slice views and fit them to it, as Slicer's reader of volumes does."""
    logic = slicer.app.applicationLogic()
    if volume.IsA("vtkMRMLLabelMapVolumeNode"):
        logic.GetSelectionNode().SetActiveLabelVolumeID(volume.GetID())
    else:
        logic.GetSelectionNode().SetActiveVolumeID(volume.GetID())
    logic.PropagateVolumeSelection(1)


def stem(path: Path, kind: FileKind) -> str:
    """Return a file's name without the longest extension of its type."""
    endings = sorted(kind.extensions, key=len, reverse=True)
    ending = next((ending for ending in endings if path.name.lower().endswith(ending)), "")
    return path.name[: len(path.name) - len(ending)]


def read_with_storage_node(
    scene: slicer.vtkMRMLScene, kind: FileKind, path: Path, name: str
) -> slicer.vtkMRMLNode | None:
    """Read a file into a new node of its type; None, and nothing left in the scene, where it cannot be read."""
    node = scene.AddNewNodeByClass(kind.node_class, name)
    storage = scene.AddNewNodeByClass(kind.storage_class)
    storage.SetFileName(str(path))
    if not storage.ReadData(node):
        scene.RemoveNode(storage)
        scene.RemoveNode(node)
        return None
    node.SetAndObserveStorageNodeID(storage.GetID())
    if node.IsA("vtkMRMLDisplayableNode"):
        node.CreateDefaultDisplayNodes()
    return node


def export_copy(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLStorableNode, path: Path, harden: bool) -> bool:
    """Write a copy of a node from a scene of its own, in world coordinates if it is to be hardened."""
    other = slicer.vtkMRMLScene()
    scene.CopyDefaultNodesToScene(other)
    scene.CopyRegisteredNodesToScene(other)
    other.SetDataIOManager(scene.GetDataIOManager())
    copy = other.AddNewNodeByClass(node.GetClassName(), node.GetName())
    copy.CopyContent(node)
    if harden and node.GetParentTransformNode() is not None:
        to_world = vtk.vtkGeneralTransform()
        node.GetParentTransformNode().GetTransformToWorld(to_world)
        copy.ApplyTransform(to_world)
    storage = copy.CreateDefaultStorageNode()
    other.AddNode(storage)
    storage.SetFileName(str(path))
    return bool(storage.WriteData(copy))


def write_scene(scene: slicer.vtkMRMLScene, path: Path) -> bool:
    """Write the scene as a bundle (.mrb), a scene file alone (.mrml), or into an existing folder."""
    path = path.resolve()
    if path.suffix == ".mrb":
        return bool(scene.WriteToMRB(str(path)))
    if path.suffix == ".mrml":
        scene.SetURL(str(path))
        scene.SetRootDirectory(str(path.parent))
        return bool(scene.Commit())
    return bool(scene.SaveSceneToSlicerDataBundleDirectory(str(path)))


def read_scene(scene: slicer.vtkMRMLScene, path: Path, *, clear: bool) -> bool:
    """Read a bundle or a scene file, in place of the scene's content or beside it."""
    if path.suffix == ".mrb":
        return bool(scene.ReadFromMRB(str(path), clear))
    scene.SetURL(str(path))
    return bool(scene.Connect() if clear else scene.Import())
