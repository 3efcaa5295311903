"""The folder of a result in the subject hierarchy."""

from __future__ import annotations

import slicer
import vtk

from DeepRegLib.scene.nodes import NAME_ATTRIBUTE, RESULT_ATTRIBUTE, is_named


def result_folder(scene: slicer.vtkMRMLScene, name: str, beside: slicer.vtkMRMLNode | None) -> int:
    """Make a folder and return its item id.

    Parameters
    ----------
    scene
        Whose subject hierarchy.
    name
        Of the folder; a number is appended where there is such a folder.
    beside
        A node; the folder is put into the study or folder that holds it.
    """
    hierarchy = _hierarchy(scene)
    parent = hierarchy.GetSceneItemID()
    item = hierarchy.GetItemByDataNode(beside) if beside is not None else 0
    if item:
        parent = hierarchy.GetItemParent(item)
    folder = hierarchy.CreateFolderItem(parent, hierarchy.GenerateUniqueItemName(name))
    hierarchy.SetItemAttribute(folder, RESULT_ATTRIBUTE, "1")
    hierarchy.SetItemAttribute(folder, NAME_ATTRIBUTE, name)
    return int(folder)


def name_folder_anew(scene: slicer.vtkMRMLScene, folder: int, name: str) -> None:
    """Name a result's folder after what it holds now, unless the user named it."""
    hierarchy = _hierarchy(scene)
    given = hierarchy.GetItemAttribute(folder, NAME_ATTRIBUTE)
    if given and given != name and is_named(hierarchy.GetItemName(folder), given):
        hierarchy.SetItemName(folder, hierarchy.GenerateUniqueItemName(name))
        hierarchy.SetItemAttribute(folder, NAME_ATTRIBUTE, name)


def folder_of_result(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode | None) -> int | None:
    """Return the folder of a result that a node lies in, if it lies in one."""
    hierarchy = _hierarchy(scene)
    item = hierarchy.GetItemByDataNode(node) if node is not None else 0
    folder = hierarchy.GetItemParent(item) if item else 0
    return int(folder) if folder and hierarchy.HasItemAttribute(folder, RESULT_ATTRIBUTE) else None


def put_into(scene: slicer.vtkMRMLScene, folder: int, node: slicer.vtkMRMLNode) -> None:
    """Move a node into a folder."""
    hierarchy = _hierarchy(scene)
    item = hierarchy.GetItemByDataNode(node)
    # The application makes an item for every node; the bare scene does not.
    if item:
        hierarchy.SetItemParent(item, folder)
    else:
        hierarchy.CreateItem(folder, node)


def remove_item(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLNode) -> None:
    """Remove a node's item, not the node: in the bare scene the item would stay behind when the node goes."""
    hierarchy = _hierarchy(scene)
    item = hierarchy.GetItemByDataNode(node)
    if item:
        hierarchy.RemoveItem(item, False, False)


def remove_folder(scene: slicer.vtkMRMLScene, folder: int) -> None:
    """Remove a folder that DeepReg made, if it is still there; what lies in it moves up to the folder around it."""
    if folder in result_folders(scene):
        _hierarchy(scene).RemoveItem(folder, False, False)


def result_folders(scene: slicer.vtkMRMLScene) -> list[int]:
    """Return the item ids of all folders that DeepReg made."""
    hierarchy = _hierarchy(scene)
    items = vtk.vtkIdList()
    hierarchy.GetItemChildren(hierarchy.GetSceneItemID(), items, True)
    identifiers = [items.GetId(n) for n in range(items.GetNumberOfIds())]
    return [item for item in identifiers if hierarchy.HasItemAttribute(item, RESULT_ATTRIBUTE)]


def _hierarchy(scene: slicer.vtkMRMLScene) -> slicer.vtkMRMLSubjectHierarchyNode:
    return slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
