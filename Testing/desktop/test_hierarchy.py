"""The subject hierarchy keeps itself in step with the nodes, as in the application."""

from __future__ import annotations

import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError)


def item_of(desktop, node):
    return desktop.scene.GetSubjectHierarchyNode().GetItemByDataNode(node)


def test_a_new_node_has_an_item_and_a_hidden_one_has_none(desktop):
    volume = desktop.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "Volume")
    hidden = slicer.vtkMRMLScalarVolumeNode()
    hidden.SetHideFromEditors(True)
    desktop.scene.AddNode(hidden)
    assert item_of(desktop, volume)
    assert not item_of(desktop, hidden)


def test_the_item_goes_with_its_node_and_what_lay_below_moves_up(desktop):
    hierarchy = desktop.scene.GetSubjectHierarchyNode()
    parent, child = (desktop.scene.AddNewNodeByClass("vtkMRMLTransformNode", name) for name in ("Parent", "Child"))
    hierarchy.SetItemParent(item_of(desktop, child), item_of(desktop, parent))
    count = hierarchy.GetNumberOfItems()
    desktop.scene.RemoveNode(parent)
    assert hierarchy.GetNumberOfItems() == count - 1
    assert hierarchy.GetItemParent(item_of(desktop, child)) == hierarchy.GetSceneItemID()


def test_a_read_scene_has_the_items_it_was_saved_with(desktop, tmp_path):
    hierarchy = desktop.scene.GetSubjectHierarchyNode()
    folder = hierarchy.CreateFolderItem(hierarchy.GetSceneItemID(), "Folder")
    node = desktop.scene.AddNewNodeByClass("vtkMRMLTransformNode", "Inside")
    hierarchy.SetItemParent(item_of(desktop, node), folder)
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    desktop.scene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    hierarchy = desktop.scene.GetSubjectHierarchyNode()
    item = item_of(desktop, slicer.util.getNode("Inside"))
    assert hierarchy.GetItemName(hierarchy.GetItemParent(item)) == "Folder"
