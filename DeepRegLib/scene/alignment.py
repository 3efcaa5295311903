"""The moving nodes put under a result, so that they appear aligned, and taken out of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import slicer

from DeepRegLib.errors import InputError
from DeepRegLib.scene.nodes import APPLIED_ROLE, nodes_of, one_change, parents_of
from DeepRegLib.scene.outputs import Results
from DeepRegLib.scene.sequences import current_volume


def apply_to_moving(
    results: Results, moving: slicer.vtkMRMLNode, segmentation: slicer.vtkMRMLNode | None = None
) -> None:
    """Put the moving volume under the result, so that it appears aligned.

    A registration goes from world to world, so the result is put above the transforms that the volume has already;
    whatever else hangs under these moves along.

    Parameters
    ----------
    results
        With a transform.
    moving
        The volume that was registered, in the result's scene, or the sequence, of which the volume that shows it moves.
    segmentation
        Moves along, wherever it hangs.

    Raises
    ------
    InputError
        If the result has no transform any more, no volume shows the sequence, or a transform above the moving volume
        holds the fixed one as well.
    """
    scene, shown = moving.GetScene(), current_volume(moving)
    transform = scene.GetNodeByID(results.transform) if results.transform and scene is not None else None
    if transform is None:
        raise InputError("The result has no transform in this scene.", "Register again with the transform as output.")
    if shown.GetScene() is not scene:
        raise InputError(
            f"No volume shows the current frame of {moving.GetName()}.", "Show the sequence (Sequences module)."
        )
    fixed = transform.GetNodeReference(slicer.vtkMRMLTransformNode.GetFixedNodeReferenceRole())
    tops = [_top_of(node) for node in (shown, segmentation) if node is not None]
    if fixed is not None and any(top is _top_of(fixed) for top in tops):
        raise InputError(
            f"{moving.GetName()} and {fixed.GetName()} hang under the same transform, {_top_of(fixed).GetName()}.",
            "Harden it on the moving volume first (Transforms module), or align the moving volume by hand.",
        )
    with one_change(scene):
        for top in tops:
            if top is not transform:
                top.SetAndObserveTransformNodeID(transform.GetID())
                top.SetNodeReferenceID(APPLIED_ROLE, transform.GetID())


def unapply(nodes: Iterable[slicer.vtkMRMLNode]) -> None:
    """Take volumes and segmentations out of the results that `apply_to_moving` put them under; their parents stay.

    Parameters
    ----------
    nodes
        In a scene; of a sequence the volume that shows it is taken out.
    """
    for link, _ in _applied_links(nodes):
        link.SetAndObserveTransformNodeID(None)
        link.SetNodeReferenceID(APPLIED_ROLE, None)


@contextmanager
def temporarily_unapplied(nodes: Iterable[slicer.vtkMRMLNode]) -> Iterator[None]:
    """Do something while nodes are out of the results they were put under, as by `unapply`; then put them back."""
    links = _applied_links(nodes)
    try:
        for link, _ in links:
            link.SetAndObserveTransformNodeID(None)
        yield
    finally:
        for link, applied in links:
            link.SetAndObserveTransformNodeID(applied)


def unapply_all(scene: slicer.vtkMRMLScene, results: Results | None) -> None:
    """Take out whatever was put under a result, or under any where there is none, also where it is no longer there."""
    for node in nodes_of(scene):
        applied = node.GetNodeReferenceID(APPLIED_ROLE)
        if applied and (results is None or results.transform == applied):
            if node.GetTransformNodeID() == applied:
                node.SetAndObserveTransformNodeID(None)
            node.SetNodeReferenceID(APPLIED_ROLE, None)


def _applied_links(nodes: Iterable[slicer.vtkMRMLNode]) -> list[tuple[slicer.vtkMRMLTransformableNode, str]]:
    """Return which nodes, of these and the transforms above them, were put under a result, and its id."""
    chains = ([node, *parents_of(node)] for node in map(current_volume, nodes))
    links = [(link, link.GetNodeReferenceID(APPLIED_ROLE)) for chain in chains for link in chain]
    return [(link, applied) for link, applied in links if applied and link.GetTransformNodeID() == applied]


def _top_of(node: slicer.vtkMRMLTransformableNode) -> slicer.vtkMRMLTransformableNode:
    """Return the topmost transform above a node, or the node itself."""
    return [node, *parents_of(node)][-1]
