"""Nodes that the user chose for the outputs: which can take them, and which hold something of the user's."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import slicer

from DeepRegLib.errors import InputError
from DeepRegLib.scene.nodes import is_transformed_by
from DeepRegLib.scene.outputs import NODE_OF, Inputs
from DeepRegLib.scene.ownership import is_the_users


def check_existing(
    scene: slicer.vtkMRMLScene, inputs: Inputs, existing: Mapping[str, str], overwrite: Collection[str] = ()
) -> None:
    """Make sure, before anything is computed, that the nodes chosen for the outputs can take them.

    A node that holds something DeepReg did not put there is refused unless the user was asked: what it holds would be
    lost. A script, where nobody can be asked, gives an empty node, an earlier result, or none.

    Parameters
    ----------
    scene
        Where the nodes are.
    inputs
        What is registered.
    existing
        Node id by name of the output.
    overwrite
        Names of the outputs for which the user agreed.

    Raises
    ------
    InputError
        If a node is of the wrong kind, is an input or chosen twice, holds something of the user's, or a transform moves
        an input already.
    """
    for name in existing:
        reason = _unusable(scene, inputs, existing, name, overwrite)
        if reason:
            raise InputError(reason, "Choose another node for this output, or let a new one be made.")


def foreign_outputs(scene: slicer.vtkMRMLScene, existing: Mapping[str, str]) -> dict[str, slicer.vtkMRMLNode]:
    """Return the nodes, of those chosen for outputs, that hold something of the user's, by name of the output."""
    nodes = {name: scene.GetNodeByID(identifier) for name, identifier in existing.items()}
    return {name: node for name, node in nodes.items() if node is not None and is_the_users(node)}


def usable_nodes(
    scene: slicer.vtkMRMLScene, inputs: Inputs, existing: Mapping[str, str], overwrite: Collection[str] = ()
) -> dict[str, slicer.vtkMRMLNode]:
    """Return the nodes, of those chosen for outputs, that are there and can take them, by name of the output."""
    nodes = {name: scene.GetNodeByID(identifier) for name, identifier in existing.items()}
    return {
        name: node
        for name, node in nodes.items()
        if node is not None and not _unusable(scene, inputs, existing, name, overwrite)
    }


def _unusable(
    scene: slicer.vtkMRMLScene, inputs: Inputs, existing: Mapping[str, str], name: str, overwrite: Collection[str]
) -> str:
    """Say why a node cannot take an output, or return an empty text; a node that is gone has no fault."""
    node = scene.GetNodeByID(existing[name])
    if node is None:
        return ""
    given = [scene.GetNodeByID(i) for i in (inputs.fixed, inputs.moving, inputs.segmentation) if i]
    kind = NODE_OF[name][1]
    if not node.IsA(kind) or node.IsA("vtkMRMLLabelMapVolumeNode"):
        return f"{node.GetName()} is no node for the output '{name}'."
    if node in given:
        return f"The output '{name}' would overwrite {node.GetName()}, which is registered."
    if list(existing.values()).count(existing[name]) > 1:
        return f"{node.GetName()} is chosen for two outputs."
    for other in given:
        if other is not None and other.IsA("vtkMRMLTransformableNode") and is_transformed_by(other, node):
            return f"The transform {node.GetName()} moves {other.GetName()}, so overwriting it would move the input."
    if name not in overwrite and is_the_users(node):
        return f"{node.GetName()} holds something that DeepReg did not make, which would be lost."
    return ""
