"""Markups and models that go along with a registration: copies of them on the other scan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import slicer
import vtk

from DeepRegLib.result import Registration
from DeepRegLib.scene.nodes import (
    HELPER_ATTRIBUTE,
    NAME_ATTRIBUTE,
    RESULT_ATTRIBUTE,
    is_transformed_by,
    name_anew,
    new_named_node,
    nodes_of,
    remove_with_companions,
)
from DeepRegLib.scene.places import MARK_ATTRIBUTE
from DeepRegLib.scene.steps import Steps
from DeepRegLib.scene.transforms import transform_steps
from DeepRegLib.transforms import LinearTransform, Transform

KINDS = ("vtkMRMLMarkupsNode", "vtkMRMLModelNode")
# A copy's references to what it was made of, and to the transform of the result that it came with.
SOURCE_ROLE = "DeepReg.AlongOf"
RESULT_ROLE = "DeepReg.AlongBy"
# On a copy: which scan it lies on.
SIDE_ATTRIBUTE = "DeepReg.AlongOn"
TO_FIXED, TO_MOVING = "fixed", "moving"


@dataclass(frozen=True)
class Along:
    """Which markups and models go along, by id, for they may be gone when the result comes.

    Parameters
    ----------
    to_fixed
        Of the moving scan, carried over to the fixed one.
    to_moving
        Of the fixed scan, taken back to the moving one.
    """

    to_fixed: tuple[str, ...] = field(default=())
    to_moving: tuple[str, ...] = field(default=())

    @property
    def sides(self) -> Mapping[str, tuple[str, ...]]:
        """The ids by the scan that the copies lie on."""
        return MappingProxyType({TO_FIXED: self.to_fixed, TO_MOVING: self.to_moving})


def can_go_along(node: slicer.vtkMRMLNode) -> bool:
    """Tell whether a node is a user's markups or model, and no result or helper of DeepReg's, nor a slice."""
    marks = (RESULT_ATTRIBUTE, HELPER_ATTRIBUTE, MARK_ATTRIBUTE)
    return any(node.IsA(kind) for kind in KINDS) and not (
        node.GetHideFromEditors() or any(node.GetAttribute(mark) for mark in marks)
    )


def along_of(to_fixed: Iterable[slicer.vtkMRMLNode | None], to_moving: Iterable[slicer.vtkMRMLNode | None]) -> Along:
    """Return what goes along of chosen nodes; those that have left the scene, or are of another kind, do not."""
    chosen = (
        tuple(node.GetID() for node in nodes if node is not None and node.GetScene() is not None and can_go_along(node))
        for nodes in (to_fixed, to_moving)
    )
    return Along(*chosen)


def way_steps(registration: Registration, along: Along) -> Steps[dict[str, vtk.vtkAbstractTransform]]:
    """Return in steps what moves points onto each scan that something is carried to, as VTK has it.

    Points go the other way round than images: those of the moving scan by the inverse. It is the result's own, and not
    one that Slicer would have to solve for each point.
    """
    wanted = {TO_FIXED: registration.inverse, TO_MOVING: registration.transform}
    ways = {}
    for side, identifiers in along.sides.items():
        if identifiers:
            ways[side] = yield from point_map_steps(wanted[side])
    return ways


def point_map_steps(transform: Transform) -> Steps[vtk.vtkAbstractTransform]:
    """Return in steps what moves points (RAS mm) as a transform does."""
    made = yield from transform_steps(transform)
    # Of a linear transform a node has the way to its parent, which is the way back.
    return made.GetInverse() if isinstance(transform, LinearTransform) else made


def add_along(
    scene: slicer.vtkMRMLScene,
    ways: Mapping[str, vtk.vtkAbstractTransform],
    along: Along,
    transform: str | None,
    suffixes: Mapping[str, str],
) -> tuple[str, ...]:
    """Make a copy on the other scan of each markups and model node that goes along, and return their ids.

    Where the result went into a transform that had copies already, these are filled anew; one whose source is no
    longer in the scene, or does not go along any more, is removed: it would lie where the former result had put it.

    Parameters
    ----------
    scene
        Where.
    ways
        What moves points, by the scan that they come to lie on (`way_steps`).
    along
        What is copied. Nodes that are gone meanwhile are done without.
    transform
        Id of the result's transform node, if there is one.
    suffixes
        What is appended to the names, by the scan.
    """
    former = _copies_of(scene, transform)
    made = []
    for side, identifiers in along.sides.items():
        for source in (scene.GetNodeByID(identifier) for identifier in identifiers):
            if source is None or side not in ways:
                continue
            name = f"{source.GetName()} {suffixes[side]}"
            copy = former.pop((source.GetID(), side), None) or _new_copy(scene, source, name)
            name_anew(copy, name)
            _fill(copy, source, ways[side], scene.GetNodeByID(transform) if transform else None)
            _mark(copy, source, side, transform)
            made.append(copy.GetID())
    for stale in former.values():
        remove_with_companions(scene, stale)
    return tuple(made)


def copies_of(scene: slicer.vtkMRMLScene, transform: str | None) -> tuple[str, ...]:
    """Return the ids of the copies that came with a result's transform."""
    return tuple(copy.GetID() for copy in _copies_of(scene, transform).values())


def _copies_of(
    scene: slicer.vtkMRMLScene, transform: str | None
) -> dict[tuple[str | None, str | None], slicer.vtkMRMLNode]:
    """Return the copies that came with a result's transform, by source and scan."""
    if not transform:
        return {}
    return {
        (node.GetNodeReferenceID(SOURCE_ROLE), node.GetAttribute(SIDE_ATTRIBUTE)): node
        for node in nodes_of(scene)
        if node.GetNodeReferenceID(RESULT_ROLE) == transform
    }


def _mark(copy: slicer.vtkMRMLNode, source: slicer.vtkMRMLNode, side: str, transform: str | None) -> None:
    """Note on a copy what it is; the content of a node has its attributes, so that this comes last."""
    copy.SetAttribute(RESULT_ATTRIBUTE, "1")
    copy.SetAttribute(SIDE_ATTRIBUTE, side)
    copy.SetNodeReferenceID(SOURCE_ROLE, source.GetID())
    copy.SetNodeReferenceID(RESULT_ROLE, transform)


def _new_copy(scene: slicer.vtkMRMLScene, source: slicer.vtkMRMLNode, name: str) -> slicer.vtkMRMLDisplayableNode:
    copy = new_named_node(scene, source.GetClassName(), name)
    copy.CreateDefaultDisplayNodes()
    shown, display = source.GetDisplayNode(), copy.GetDisplayNode()
    if shown is not None and display is not None:
        display.CopyContent(shown)
    return copy


def _fill(
    copy: slicer.vtkMRMLDisplayableNode,
    source: slicer.vtkMRMLDisplayableNode,
    way: vtk.vtkAbstractTransform,
    transform: slicer.vtkMRMLTransformNode | None,
) -> None:
    """Give a copy its source's content, in the world, moved to the other scan.

    What a user has put under the result already lies there.
    """
    changed, given = copy.StartModify(), copy.GetAttribute(NAME_ATTRIBUTE)
    copy.SetAndObserveTransformNodeID(None)
    copy.CopyContent(source)  # its attributes too
    copy.SetAttribute(NAME_ATTRIBUTE, given)
    copy.SetAndObserveTransformNodeID(source.GetTransformNodeID())
    copy.HardenTransform()
    if transform is None or not is_transformed_by(source, transform):
        copy.ApplyTransform(way)
    copy.EndModify(changed)
