"""The subject hierarchy's items, which the application makes for nodes and takes away with them by itself.

Follows `qSlicerSubjectHierarchyPluginLogic` of Slicer 5.12: a node that is added outside of an import gets an item,
unless it is hidden from editors, and loses it just before it is removed; what an import left without an item gets one
at its end.
"""

from __future__ import annotations

import slicer
import vtk

# Nodes that one of Slicer's plugins takes on. A parameter node or a display node has no item.
CLASSES = (
    "vtkMRMLVolumeNode",
    "vtkMRMLSegmentationNode",
    "vtkMRMLTransformNode",
    "vtkMRMLMarkupsNode",
    "vtkMRMLModelNode",
    "vtkMRMLTableNode",
    "vtkMRMLTextNode",
    "vtkMRMLPlotChartNode",
    "vtkMRMLSequenceBrowserNode",
)


def follow(scene: slicer.vtkMRMLScene) -> None:
    """Keep the items of a scene in step with its nodes from now on."""
    scene.AddObserver(scene.NodeAddedEvent, on_node_added)
    scene.AddObserver(scene.NodeAboutToBeRemovedEvent, on_node_about_to_be_removed)
    scene.AddObserver(scene.EndImportEvent, on_import_ended, 10.0)


@vtk.calldata_type(vtk.VTK_OBJECT)
def on_node_added(scene: slicer.vtkMRMLScene, _event: str, node: slicer.vtkMRMLNode) -> None:
    """Give a node an item."""
    if not scene.IsImporting():
        add_item(scene, node)


@vtk.calldata_type(vtk.VTK_OBJECT)
def on_node_about_to_be_removed(scene: slicer.vtkMRMLScene, _event: str, node: slicer.vtkMRMLNode) -> None:
    """Take a node's item away; its children move up."""
    hierarchy = None if scene.IsClosing() else of(scene)
    item = hierarchy.GetItemByDataNode(node) if hierarchy is not None and has_item(node) else 0
    if item:
        hierarchy.RemoveItem(item, False, False)


def on_import_ended(scene: slicer.vtkMRMLScene, _event: str) -> None:
    """Give an item to each node that came without one."""
    for number in range(scene.GetNumberOfNodes()):
        node = scene.GetNthNode(number)
        if has_item(node) and not of(scene).GetItemByDataNode(node):
            add_item(scene, node)


def add_item(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> None:
    """Make a node's item in the uppermost folder."""
    if has_item(node):
        of(scene).CreateItem(of(scene).GetSceneItemID(), node)


def has_item(node: slicer.vtkMRMLNode) -> bool:
    """Return whether the application shows a node in the subject hierarchy."""
    return not node.GetHideFromEditors() and any(node.IsA(name) for name in CLASSES)


def of(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSubjectHierarchyNode:
    """Return the scene's subject hierarchy."""
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
