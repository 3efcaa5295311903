"""The node selector follows the scene: nodes that come, go and are renamed, and the scene that is closed."""

from __future__ import annotations

import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError)

VOLUME = "vtkMRMLScalarVolumeNode"


@pytest.fixture
def selector(desktop):
    """Return a selector for volumes, without rows that do something."""
    return make_selector(desktop)


def make_selector(desktop, *, none=False, actions=False):
    box = slicer.qMRMLNodeComboBox()
    box.nodeTypes = [VOLUME]
    box.noneEnabled, box.addEnabled, box.removeEnabled = none, actions, actions
    box.setMRMLScene(desktop.scene)
    desktop.show(box)
    return box


def add(desktop, *names):
    return [desktop.scene.AddNewNodeByClass(VOLUME, name) for name in names]


def rows(selector):
    return [selector.comboBox().itemText(row) for row in range(selector.comboBox().count)]


def test_the_first_node_that_comes_is_chosen_where_nothing_else_can_be(desktop, selector):
    heard = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: heard.append(node and node.GetName()))
    selector.connect("currentNodeChanged(bool)", heard.append)
    add(desktop, "One", "Two")
    assert rows(selector) == ["One", "Two"]
    assert heard == ["One", True]


def test_nothing_is_chosen_for_the_user_where_none_is_a_choice(desktop):
    selector = make_selector(desktop, none=True)
    add(desktop, "One")
    assert selector.currentNode() is None
    assert rows(selector) == ["None", "One"]


def test_nodes_of_other_classes_and_hidden_nodes_are_not_listed(desktop, selector):
    desktop.scene.AddNewNodeByClass("vtkMRMLModelNode", "Model")
    hidden, label = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLLabelMapVolumeNode()
    hidden.SetHideFromEditors(True)
    desktop.scene.AddNode(hidden)
    desktop.scene.AddNode(label)
    assert rows(selector) == [label.GetName()]
    selector.showChildNodeTypes = False
    assert rows(selector) == []


def test_a_new_name_shows_at_once(desktop, selector):
    (node,) = add(desktop, "Before")
    node.SetName("After")
    assert rows(selector) == ["After"]


def test_the_neighbour_is_chosen_when_the_chosen_node_goes(desktop):
    selector = make_selector(desktop, none=True)
    _, two, three = add(desktop, "One", "Two", "Three")
    selector.setCurrentNode(two)
    desktop.scene.RemoveNode(two)
    assert selector.currentNode() is three
    desktop.scene.RemoveNode(three)
    assert selector.currentNode().GetName() == "One"


def test_another_nodes_end_leaves_the_choice(desktop, selector):
    one, two = add(desktop, "One", "Two")
    selector.setCurrentNode(two)
    desktop.scene.RemoveNode(one)
    assert selector.currentNode() is two


def test_closing_the_scene_empties_the_selector(desktop, selector):
    heard = []
    add(desktop, "One")
    selector.connect("currentNodeChanged(vtkMRMLNode*)", heard.append)
    desktop.scene.Clear(False)
    assert heard == [None]
    assert rows(selector) == []


def test_reading_a_scene_lists_its_nodes(desktop, selector, tmp_path):
    add(desktop, "Saved")
    slicer.util.saveScene(str(tmp_path / "scene.mrb"))
    desktop.scene.Clear(False)
    slicer.util.loadScene(str(tmp_path / "scene.mrb"))
    assert rows(selector) == ["Saved"]


def test_create_new_adds_a_node_with_the_base_name_and_chooses_it(desktop):
    selector = make_selector(desktop, none=True, actions=True)
    selector.baseName = "Warped"
    heard = []
    selector.connect("nodeAddedByUser(vtkMRMLNode*)", lambda node: heard.append(node.GetName()))
    desktop.choose(selector, "Create new Volume")
    desktop.choose(selector, "Create new Volume")
    assert heard == ["Warped", "Warped_1"]
    assert selector.currentNode().GetName() == "Warped_1"
    desktop.choose(selector, "Delete current Volume")
    assert slicer.util.getNodes("Warped*").keys() == {"Warped"}


def test_rename_asks_for_a_name(desktop, qt, monkeypatch):
    selector = make_selector(desktop, none=True)
    selector.renameEnabled = True
    (node,) = add(desktop, "Before")
    selector.setCurrentNode(node)
    monkeypatch.setattr(qt.QInputDialog, "getText", lambda *_: "After")
    desktop.choose(selector, "Rename current Volume")
    assert node.GetName() == "After"


def test_only_nodes_with_the_attribute_are_listed(desktop, selector):
    selector.addAttribute(VOLUME, "Kind", "result")
    plain, marked = slicer.vtkMRMLScalarVolumeNode(), slicer.vtkMRMLScalarVolumeNode()
    marked.SetName("Marked")
    marked.SetAttribute("Kind", "result")
    desktop.scene.AddNode(plain)
    desktop.scene.AddNode(marked)
    assert rows(selector) == ["Marked"]


def test_a_selector_is_disabled_until_it_has_a_scene(desktop):
    selector = slicer.qMRMLNodeComboBox()
    assert not selector.enabled
    selector.setMRMLScene(desktop.scene)
    assert selector.enabled


def test_a_deleted_selector_no_longer_listens(desktop):
    selector = make_selector(desktop)
    selector.delete()
    desktop.process_events()
    add(desktop, "Later")
    desktop.process_events()


def test_the_neighbour_is_chosen_while_the_node_is_still_there_and_in_a_batch(desktop):
    selector = make_selector(desktop, none=True)
    one, two = add(desktop, "One", "Two")
    selector.setCurrentNode(one)
    heard = []
    selector.connect("currentNodeChanged(vtkMRMLNode*)", lambda node: heard.append((node, one.GetScene())))
    desktop.scene.StartState(desktop.scene.BatchProcessState)
    desktop.scene.RemoveNode(one)
    assert heard == [(two, desktop.scene)]
    desktop.scene.EndState(desktop.scene.BatchProcessState)
    assert selector.currentNode() is two


def test_who_listens_first_can_choose_before_the_neighbour_is_chosen(desktop):
    selector = make_selector(desktop, none=True)
    one, _ = add(desktop, "One", "Two")
    selector.setCurrentNode(one)
    tag = desktop.scene.AddObserver(
        desktop.scene.NodeAboutToBeRemovedEvent, lambda *_event: selector.setCurrentNode(None)
    )
    desktop.scene.RemoveNode(one)
    desktop.scene.RemoveObserver(tag)
    assert selector.currentNode() is None


def test_nodes_can_be_left_out_by_their_ids(desktop):
    selector = make_selector(desktop, none=True)
    one, _ = add(desktop, "One", "Two")
    selector.sortFilterProxyModel().hiddenNodeIDs = [one.GetID()]
    assert rows(selector) == ["None", "Two"]
    selector.sortFilterProxyModel().hiddenNodeIDs = []
    assert rows(selector) == ["None", "One", "Two"]
