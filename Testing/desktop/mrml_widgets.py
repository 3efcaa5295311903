"""Stand-ins for the widgets of Slicer that look at the scene, on the real scene.

How the node selector chooses after nodes come and go follows qMRMLNodeComboBox of Slicer 5.12, surprises included: when
the chosen node is about to be removed, its neighbour is chosen, not "None", and whoever listens hears of the neighbour.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import shiboken6
import slicer
import slicer.util
import vtk
from PySide6.QtCore import Property, QObject, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QInputDialog, QWidget

from Testing.desktop.ctk_widgets import ctkSliderWidget
from Testing.desktop.stand_ins import missing_classes_on_demand, stand_in


@stand_in
class qMRMLWidget(QWidget):
    """A widget that knows the scene and tells its contents which one it is."""

    mrmlSceneChanged = Signal(object)
    cxxSignals = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged"}  # noqa: RUF012

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: slicer.vtkMRMLScene | None = None

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        """Return the scene."""
        return self._scene

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        """Set the scene; contents that are connected in the .ui file get it too."""
        if scene is not self._scene:
            self._scene = scene
            self.mrmlSceneChanged.emit(scene)


@stand_in
class qSlicerWidget(qMRMLWidget):
    """The same, as the application's own widgets have it."""


@stand_in
class qMRMLSliderWidget(ctkSliderWidget):
    """A slider and a spin box; units, which the real one takes from the scene, are left out."""

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        """Do nothing: there are no units to show."""


class Observations:
    """VTK observers that end with a widget."""

    def __init__(self, widget: QObject) -> None:
        self._observed: list[tuple[vtk.vtkObject, int]] = []
        widget.destroyed.connect(self.clear)

    def add(self, observed: vtk.vtkObject, event: int, method: Callable[[], None]) -> None:
        """Call a bound method on an event, as long as its widget exists."""
        reference = weakref.WeakMethod(method)

        def called(caller: vtk.vtkObject, event_name: str) -> None:
            alive = reference()
            if alive is not None and shiboken6.isValid(alive.__self__):
                alive()

        self._observed.append((observed, observed.AddObserver(event, called)))

    def add_removal(self, scene: slicer.vtkMRMLScene, method: Callable[[slicer.vtkMRMLNode], None]) -> None:
        """Call a bound method with each node that is about to be removed, as late as Slicer's model of the scene."""
        reference = weakref.WeakMethod(method)

        @vtk.calldata_type(vtk.VTK_OBJECT)
        def called(_scene: vtk.vtkObject, _event: str, node: slicer.vtkMRMLNode) -> None:
            alive = reference()
            if alive is not None and shiboken6.isValid(alive.__self__):
                alive(node)

        tag = scene.AddObserver(slicer.vtkMRMLScene.NodeAboutToBeRemovedEvent, called, MODEL_PRIORITY)
        self._observed.append((scene, tag))

    def clear(self) -> None:
        """Remove all observers."""
        while self._observed:
            observed, tag = self._observed.pop()
            observed.RemoveObserver(tag)


# `qMRMLSceneModel` observes nodes that are about to be removed with this priority: others are told before it.
MODEL_PRIORITY = -10.0


@dataclass(frozen=True)
class Row:
    """A row of the node selector: a node, "None", a separator, or something to do."""

    text: str
    node_id: str = ""
    action: str = ""
    node_class: str = ""

    @property
    def is_node(self) -> bool:
        """Whether the row is a node."""
        return bool(self.node_id)


SEPARATOR = Row("", action="separator")


class qMRMLSortFilterProxyModel(QObject):
    """Which of the nodes that fit are left out of a selector."""

    changed = Signal()

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._hidden: list[str] = []

    def _hide(self, identifiers: Sequence[str]) -> None:
        if list(identifiers) != self._hidden:
            self._hidden = list(identifiers)
            self.changed.emit()

    hiddenNodeIDs = Property("QStringList", lambda self: self._hidden, _hide)


def listed(name: str, kind: Any) -> Property:
    """Return a property of the node selector that decides what it lists."""
    attribute = f"_{name}"

    def write(self: qMRMLNodeComboBox, value: Any) -> None:
        setattr(self, attribute, list(value) if isinstance(value, tuple) else value)
        self._relist()

    return Property(kind, lambda self: getattr(self, attribute), write)


@stand_in
class qMRMLNodeComboBox(QWidget):
    """A list of the scene's nodes of some classes, to choose one from."""

    currentNodeChanged = Signal(object)
    currentNodeValid = Signal(bool)
    currentNodeIDChanged = Signal(str)
    currentNodeRenamed = Signal(str)
    nodeActivated = Signal(object)
    nodeAddedByUser = Signal(object)
    cxxSignals = {  # noqa: RUF012
        "currentNodeChanged(vtkMRMLNode*)": "currentNodeChanged",
        "currentNodeChanged(bool)": "currentNodeValid",
        "nodeActivated(vtkMRMLNode*)": "nodeActivated",
        "nodeAddedByUser(vtkMRMLNode*)": "nodeAddedByUser",
    }

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._scene: slicer.vtkMRMLScene | None = None
        self._scene_events = Observations(self)
        self._node_events = Observations(self)
        self._nodeTypes: list[str] = []
        self._noneEnabled = False
        self._addEnabled = self._removeEnabled = True
        self._editEnabled = self._renameEnabled = False
        self._showHidden = False
        self._showChildNodeTypes = True
        self._selectNodeUponCreation = True
        self._noneDisplay = "None"
        self._baseName = ""
        self._attributes: list[tuple[str, str, str | None]] = []
        self._rows: list[Row] = []
        self._current = ""
        self._filter = qMRMLSortFilterProxyModel(self)
        self._filter.changed.connect(self._relist)
        self._box = QComboBox()
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._box)
        self._box.currentIndexChanged.connect(self._index_changed)
        self._box.activated.connect(self._activated)
        self.setEnabled(False)

    nodeTypes = listed("nodeTypes", "QStringList")
    noneEnabled = listed("noneEnabled", bool)
    addEnabled = listed("addEnabled", bool)
    removeEnabled = listed("removeEnabled", bool)
    editEnabled = listed("editEnabled", bool)
    renameEnabled = listed("renameEnabled", bool)
    showHidden = listed("showHidden", bool)
    showChildNodeTypes = listed("showChildNodeTypes", bool)
    selectNodeUponCreation = listed("selectNodeUponCreation", bool)
    noneDisplay = listed("noneDisplay", str)
    baseName = listed("baseName", str)

    def setNodeTypes(self, types: list[str]) -> None:
        """Set which classes of nodes are listed."""
        self.nodeTypes = types

    def addAttribute(self, node_class: str, name: str, value: str | None = None) -> None:
        """List nodes of a class only if they have an attribute (with a value); new nodes get it."""
        self._attributes.append((node_class, name, value))
        self._relist()

    def comboBox(self) -> QComboBox:
        """Return the list itself."""
        return self._box

    def sortFilterProxyModel(self) -> qMRMLSortFilterProxyModel:
        """Return what leaves nodes out."""
        return self._filter

    # --- the scene

    def mrmlScene(self) -> slicer.vtkMRMLScene | None:
        """Return the scene whose nodes are listed."""
        return self._scene

    def setMRMLScene(self, scene: slicer.vtkMRMLScene | None) -> None:
        """List another scene's nodes; a node chosen before there was a scene is chosen now."""
        if scene is self._scene:
            return
        self._scene_events.clear()
        self._scene = scene
        self.setEnabled(scene is not None)
        if scene is not None:
            for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndImportEvent):
                self._scene_events.add(scene, event, self._relist)
            self._scene_events.add(scene, scene.EndCloseEvent, self._closed)
            self._scene_events.add_removal(scene, self._leaves)
        self._relist()

    def _leaves(self, node: slicer.vtkMRMLNode) -> None:
        """Take the row of a node out while the node is still in the scene, in a batch as well."""
        rows = [row for row in self._rows if row.node_id != node.GetID()]
        if len(rows) < len(self._rows) and not self._scene.IsClosing():
            self._fill(rows, self._choice(rows))

    def _closed(self) -> None:
        self._fill(self._list(), "")

    def _list(self) -> list[Row]:
        nodes = [Row(node.GetName() or node.GetID(), node_id=node.GetID()) for node in self._nodes()]
        none = [Row(self._noneDisplay)] if self._noneEnabled else []
        actions = self._actions() if self._scene is not None else []
        return none + nodes + ([SEPARATOR, *actions] if actions else [])

    def _nodes(self) -> list[slicer.vtkMRMLNode]:
        if self._scene is None:
            return []
        # By class, because most nodes of a scene are none that any selector lists.
        found = {
            node.GetID(): node
            for node_class in self._nodeTypes
            for node in slicer.util.getNodesByClass(node_class, self._scene)
            if self._is_listed(node)
        }
        return sorted(found.values(), key=self._scene.IsNodePresent)  # its place in the scene

    def _is_listed(self, node: slicer.vtkMRMLNode) -> bool:
        if node.GetID() in self._filter.hiddenNodeIDs or (node.GetHideFromEditors() and not self._showHidden):
            return False
        if self._showChildNodeTypes:
            fits = any(node.IsA(node_class) for node_class in self._nodeTypes)
        else:
            fits = node.GetClassName() in self._nodeTypes
        return fits and all(has_attribute(node, *required) for required in self._attributes)

    def _label(self, node_class: str) -> str:
        return self._scene.GetTypeDisplayNameByClassName(node_class) or "node"

    def _actions(self) -> list[Row]:
        label = self._label(self._nodeTypes[0]) if len(self._nodeTypes) == 1 else "node"
        rows = []
        if self._renameEnabled:
            rows.append(Row(f"Rename current {label}", action="rename"))
        if self._editEnabled:
            rows.append(Row(f"Edit current {label}", action="edit"))
        if self._addEnabled:
            rows += [
                Row(f"Create new {self._label(each)}", action="create", node_class=each) for each in self._nodeTypes
            ]
        if self._addEnabled and self._renameEnabled:
            rows += [
                Row(f"Create new {self._label(each)} as...", action="create as", node_class=each)
                for each in self._nodeTypes
            ]
        if self._removeEnabled:
            rows.append(Row(f"Delete current {label}", action="delete"))
        return rows

    # --- choosing

    def _relist(self) -> None:
        if self._scene is not None and (self._scene.IsClosing() or self._scene.IsImporting()):
            return  # IDs are not final while a scene is read
        rows = self._list()
        if rows == self._rows:
            return
        self._fill(rows, self._choice(rows))

    def _choice(self, rows: list[Row]) -> str:
        """Return the ID of the node to choose from new rows, as QComboBox and qMRMLNodeComboBox settle it together."""
        ids = [row.node_id for row in rows]
        if self._current in ids:
            return self._current
        if not self._rows or self._scene is None:
            return "" if any(row.action for row in rows) or not rows else rows[0].node_id
        before = next((index for index, row in enumerate(self._rows) if row.node_id == self._current), 0)
        if not self._current or before == 0:
            return ""
        neighbour = rows[min(before, len(rows) - 1)].node_id
        return neighbour or next((node_id for node_id in reversed(ids) if node_id), "")

    def _fill(self, rows: list[Row], node_id: str) -> None:
        self._rows = rows
        self._box.blockSignals(True)
        self._box.clear()
        for index, row in enumerate(rows):
            if row is SEPARATOR:
                self._box.insertSeparator(index)
            else:
                self._box.addItem(row.text)
        self._box.setCurrentIndex(self._row_of(node_id))
        self._box.blockSignals(False)
        self._node_events.clear()
        for row in rows:
            if row.is_node:
                self._node_events.add(self._scene.GetNodeByID(row.node_id), vtk.vtkCommand.ModifiedEvent, self._relist)
        if self._scene is not None:
            self._set_current(node_id)

    def _row_of(self, node_id: str) -> int:
        ids = [row.node_id if not row.action else None for row in self._rows]
        return ids.index(node_id) if node_id in ids else -1

    def _index_changed(self, index: int) -> None:
        row = self._rows[index] if index >= 0 else Row("")
        if not row.action:
            self._set_current(row.node_id)

    def _set_current(self, node_id: str) -> None:
        if node_id == self._current:
            return
        self._current = node_id
        node = self.currentNode()
        self.currentNodeChanged.emit(node)
        self.currentNodeValid.emit(node is not None)
        self.currentNodeIDChanged.emit(node_id)

    def _activated(self, index: int) -> None:
        row = self._rows[index]
        if not row.action:
            self.nodeActivated.emit(self.currentNode())
            return
        self._box.setCurrentIndex(self._row_of(self._current))
        if row.action == "create":
            self.addNode(row.node_class)
        elif row.action == "create as":
            self._create_as(row.node_class)
        elif row.action == "rename":
            self.renameCurrentNode()
        elif row.action == "delete":
            self.removeCurrentNode()

    def currentNode(self) -> slicer.vtkMRMLNode | None:
        """Return the chosen node, None where there is none."""
        return self._scene.GetNodeByID(self._current) if self._scene is not None and self._current else None

    def setCurrentNode(self, node: slicer.vtkMRMLNode | None) -> None:
        """Choose a node."""
        self.setCurrentNodeID(node.GetID() if node is not None else "")

    def setCurrentNodeID(self, node_id: str | None) -> None:
        """Choose a node by its ID; one that is not listed chooses nothing."""
        if self._scene is None:
            self._current = node_id or ""
            return
        row = self._row_of(node_id or "")
        self._box.setCurrentIndex(row if row >= 0 else self._row_of(""))

    currentNodeID = Property(str, lambda self: self._current, setCurrentNodeID)

    def nodeCount(self) -> int:
        """Return how many nodes are listed."""
        return sum(row.is_node for row in self._rows)

    def nodeFromIndex(self, index: int) -> slicer.vtkMRMLNode | None:
        """Return a listed node by its place."""
        ids = [row.node_id for row in self._rows if row.is_node]
        return self._scene.GetNodeByID(ids[index]) if 0 <= index < len(ids) else None

    def setCurrentNodeIndex(self, index: int) -> None:
        """Choose a node by its place."""
        self.setCurrentNode(self.nodeFromIndex(index))

    # --- what the last rows do

    def addNode(self, node_class: str | None = None) -> slicer.vtkMRMLNode:
        """Add a node to the scene and choose it."""
        node_class = node_class or self._nodeTypes[0]
        node = self._scene.CreateNodeByClass(node_class)
        node.UnRegister(None)
        node.SetName(self._scene.GetUniqueNameByString(self._baseName or node.GetDefaultNodeNamePrefix()))
        for _, name, value in self._attributes:
            node.SetAttribute(name, value or "")
        node = self._scene.AddNode(node)
        if self._selectNodeUponCreation:
            self.setCurrentNode(node)
        self.nodeAddedByUser.emit(node)
        return node

    def _create_as(self, node_class: str) -> None:
        name = QInputDialog.getText(self, f"Create new {self._label(node_class)}", "New name:")
        if name:
            self.addNode(node_class).SetName(name)

    def renameCurrentNode(self) -> None:
        """Ask for another name of the chosen node."""
        node = self.currentNode()
        name = QInputDialog.getText(self, "Rename node", "New name:") if node is not None else ""
        if name:
            node.SetName(name)
            self.currentNodeRenamed.emit(name)

    def removeCurrentNode(self) -> None:
        """Remove the chosen node from the scene."""
        if self.currentNode() is not None:
            self._scene.RemoveNode(self.currentNode())


def has_attribute(node: slicer.vtkMRMLNode, node_class: str, name: str, value: str | None) -> bool:
    """Return whether a node satisfies what is asked of nodes of a class."""
    if not node.IsA(node_class):
        return True
    found = node.GetAttribute(name)
    return found is not None and value in (None, found)


def install() -> None:
    """Put the widgets where modules look for them: `slicer.qMRMLNodeComboBox`."""
    for cls in (qMRMLWidget, qSlicerWidget, qMRMLSliderWidget, qMRMLNodeComboBox):
        setattr(slicer, cls.__name__, cls)
    missing_classes_on_demand(slicer, ("qMRML", "qSlicer"))
