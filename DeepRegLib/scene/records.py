"""A result that came with a scene: how it was made, as its transform node says, and which nodes came with it.

A scene may be a stranger's: its record is checked as any file is, and its references name nodes of the scene alone.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import slicer

from DeepRegLib.errors import InputError
from DeepRegLib.record import RECORDED, Record, record_of_text
from DeepRegLib.result import Registration
from DeepRegLib.saving import result_to_dict
from DeepRegLib.scene.along import copies_of
from DeepRegLib.scene.chosen_outputs import foreign_outputs
from DeepRegLib.scene.correspondence import COMPANION_ROLES
from DeepRegLib.scene.nodes import RECORD_ATTRIBUTE
from DeepRegLib.scene.outputs import NODE_OF, Results

LONGEST_RECORD = 1_000_000


def write_record(node: slicer.vtkMRMLTransformNode, registration: Registration) -> None:
    """Note on its transform node how a registration was made."""
    table = result_to_dict(registration, {})
    node.SetAttribute(RECORD_ATTRIBUTE, json.dumps({name: table[name] for name in RECORDED}, allow_nan=False))


def read_record(node: slicer.vtkMRMLTransformNode) -> Record:
    """Return how the registration of a transform node was made.

    Raises
    ------
    InputError
        If the node does not say, or what it says is damaged.
    """
    text = node.GetAttribute(RECORD_ATTRIBUTE) or ""
    if not text:
        raise InputError(
            f"The scene does not say how the result {node.GetName()} was made: an earlier DeepReg saved it.",
            "Register again.",
        )
    where = f"What the scene says of the result {node.GetName()}"
    if len(text) > LONGEST_RECORD:
        raise InputError(f"{where} is too long.", "Register again.")
    return record_of_text(text, where)


def results_of(transform: slicer.vtkMRMLTransformNode) -> Results:
    """Return the nodes of a result by its transform node; those that hold something of the user's are left out."""
    scene = transform.GetScene()
    ids: dict[str, Any] = {"transform": transform.GetID()}
    for name, role in COMPANION_ROLES.items():
        node = transform.GetNodeReference(role)
        if node is not None and node.IsA(NODE_OF[name][1]) and node.GetID() not in ids.values():
            ids[name] = node.GetID()
    foreign = foreign_outputs(scene, ids)
    kept = Results(along=copies_of(scene, transform.GetID()))
    return replace(kept, **{name: identifier for name, identifier in ids.items() if name not in foreign})
