"""Making, marking, finding and removing nodes; the marks are saved with the scene."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import count

import slicer

# On every node and folder that DeepReg made and may remove.
RESULT_ATTRIBUTE = "DeepReg.Result"
# On a node of the user's that holds an output of DeepReg's, which may be overwritten and is never removed.
OUTPUT_ATTRIBUTE = "DeepReg.Output"
# On helpers of the comparing views, which go when the views are put back.
HELPER_ATTRIBUTE = "DeepReg.Helper"
# On a node or folder that DeepReg made: what it called it, without a number. What the user renamed keeps its name.
NAME_ATTRIBUTE = "DeepReg.Name"
# On a transform: how far its registration can be trusted.
VERDICT_ATTRIBUTE = "DeepReg.Verdict"
# On a transform: how its registration was made, as JSON.
RECORD_ATTRIBUTE = "DeepReg.Record"
# A node's reference to the result it was put under. A reference, for ids change when one scene is added to another.
APPLIED_ROLE = "DeepReg.Applied"
# A segmentation's reference to the one that was made of it, for which it was hidden.
HIDDEN_ROLE = "DeepReg.Hidden"


# A VTK object's name, which no file holds and no copy takes over.
SESSION_MARK = "DeepReg.MadeInThisSession"


def mark_session(node: slicer.vtkMRMLNode) -> None:
    """Mark a node as made since the application was started; the mark is not saved with the scene."""
    node.SetObjectName(SESSION_MARK)


def is_of_session(node: slicer.vtkMRMLNode) -> bool:
    """Return whether a node was marked by `mark_session`, and not read from a file."""
    return bool(node.GetObjectName() == SESSION_MARK)


def new_node(scene: slicer.vtkMRMLScene, class_name: str, name: str) -> slicer.vtkMRMLNode:
    """Add a node to a scene; a number is appended to its name where the scene has the name."""
    return scene.AddNewNodeByClass(class_name, free_name(scene, name))


def free_name(scene: slicer.vtkMRMLScene, name: str) -> str:
    """Return a name, with a number appended where a node of the scene has it.

    Not by the scene's own function, which also counts the names of nodes that are gone.
    """
    if scene.GetFirstNodeByName(name) is None:
        return name
    return next(each for each in (f"{name}_{n}" for n in count(1)) if scene.GetFirstNodeByName(each) is None)


def new_named_node(scene: slicer.vtkMRMLScene, class_name: str, name: str) -> slicer.vtkMRMLNode:
    """Add a node as `new_node` does that is named anew (`name_anew`) when it is filled with something else."""
    node = new_node(scene, class_name, name)
    node.SetAttribute(NAME_ATTRIBUTE, name)
    return node


def name_anew(node: slicer.vtkMRMLNode, name: str) -> None:
    """Name a node after what it holds now, unless the user named it or it was never named by DeepReg."""
    given = node.GetAttribute(NAME_ATTRIBUTE)
    if given and given != name and is_named(node.GetName(), given):
        node.SetName(free_name(node.GetScene(), name))
        node.SetAttribute(NAME_ATTRIBUTE, name)


def is_named(name: str, given: str) -> bool:
    """Tell whether a name is one that was given, apart from a number."""
    return re.fullmatch(rf"{re.escape(given)}(_\d+)?", name) is not None


def nodes_of(scene: slicer.vtkMRMLScene) -> list[slicer.vtkMRMLNode]:
    """Return all nodes of a scene."""
    return [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]


def nodes_of_class(scene: slicer.vtkMRMLScene, class_name: str) -> list[slicer.vtkMRMLNode]:
    """Return the nodes of a class, and of those derived from it, in a scene."""
    found = scene.GetNodesByClass(class_name)
    found.UnRegister(None)
    return [found.GetItemAsObject(number) for number in range(found.GetNumberOfItems())]


def nodes_with(scene: slicer.vtkMRMLScene, attribute: str) -> list[slicer.vtkMRMLNode]:
    """Return the nodes of a scene that have an attribute."""
    return [node for node in nodes_of(scene) if node.GetAttribute(attribute)]


def remove_with_companions(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> None:
    """Remove a node and the display and storage nodes that only it uses."""
    remove_all_with_companions(scene, [node])


def remove_all_with_companions(scene: slicer.vtkMRMLScene, nodes: Iterable[slicer.vtkMRMLNode]) -> None:
    """Remove nodes, and the display and storage nodes that only they use."""
    companions: list[slicer.vtkMRMLNode] = []
    for node in nodes:
        companions += _companions(node)
        if node.IsA("vtkMRMLSegmentationNode"):
            remove_segments(node)
        scene.RemoveNode(node)
    used = [companion for node in nodes_of(scene) for companion in _companions(node)]
    for companion in companions:
        if companion.GetScene() is scene and companion not in used:
            scene.RemoveNode(companion)


def remove_segments(node: slicer.vtkMRMLSegmentationNode) -> None:
    """Remove all segments of a segmentation.

    Each lets go of its label map first: Slicer would erase it there, voxel by voxel, for others that share the map.
    """
    changed, segmentation = node.StartModify(), node.GetSegmentation()
    for number in range(segmentation.GetNumberOfSegments()):
        segmentation.GetNthSegment(number).RemoveAllRepresentations()
    segmentation.RemoveAllSegments()
    node.EndModify(changed)


def parents_of(node: slicer.vtkMRMLTransformableNode) -> Iterator[slicer.vtkMRMLTransformNode]:
    """Yield the transforms above a node, the nearest first."""
    parent = node.GetParentTransformNode()
    while parent is not None:
        yield parent
        parent = parent.GetParentTransformNode()


def is_transformed_by(node: slicer.vtkMRMLTransformableNode, transform: slicer.vtkMRMLNode) -> bool:
    """Return whether a transform is one of those above a node."""
    return any(parent is transform for parent in parents_of(node))


@contextmanager
def one_change(scene: slicer.vtkMRMLScene) -> Iterator[None]:
    """Let selectors and views hear of many changes as of one."""
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        yield
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)


def _companions(node: slicer.vtkMRMLNode) -> Iterator[slicer.vtkMRMLNode]:
    if node.IsA("vtkMRMLDisplayableNode"):
        yield from (node.GetNthDisplayNode(n) for n in range(node.GetNumberOfDisplayNodes()))
    if node.IsA("vtkMRMLStorableNode"):
        yield from (node.GetNthStorageNode(n) for n in range(node.GetNumberOfStorageNodes()))
