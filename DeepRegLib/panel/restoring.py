"""A result that came with the scene: which it is, and the task that judges it anew so that it can be used again."""

from __future__ import annotations

from dataclasses import replace

import slicer
from slicer.i18n import tr as _

from DeepRegLib.errors import InputError
from DeepRegLib.panel.parameters import Parameters, task_of
from DeepRegLib.panel.task import Restore, Task
from DeepRegLib.recipes import MODEL_MAPS
from DeepRegLib.scene.nodes import VERDICT_ATTRIBUTE, is_of_session
from DeepRegLib.scene.records import read_record, results_of
from DeepRegLib.scene.sequences import current_volume


def saved_transform(parameters: Parameters) -> slicer.vtkMRMLTransformNode | None:
    """Return the transform that the verdict is about, if a scene brought it; None otherwise."""
    node = parameters.verdictOf
    if node is None or not node.IsA("vtkMRMLTransformNode") or is_of_session(node):
        return None
    return node if node.GetAttribute(VERDICT_ATTRIBUTE) else None


def restoring_task(parameters: Parameters, transform: slicer.vtkMRMLTransformNode) -> Task:
    """Return what judges a saved result anew, with what the panel is set to know of its scans.

    Raises
    ------
    InputError
        If the scene does not say how the result was made, its scans are not those chosen, or they are gone.
    """
    record, results = read_record(transform), results_of(transform)
    roles = transform.GetFixedNodeReferenceRole(), transform.GetMovingNodeReferenceRole()
    scans = [transform.GetNodeReference(role) for role in roles]
    if None in scans:
        raise InputError(
            _("A scan of the result {name} is no longer in the scene.").format(name=transform.GetName()),
            _("Load the scans that were registered and register again."),
        )
    chosen = [node and current_volume(node) for node in (parameters.fixedVolume, parameters.movingVolume)]
    if chosen != scans:
        fixed, moving = (node.GetName() for node in scans)
        raise InputError(
            _("The result {name} is of other scans than those chosen.").format(name=transform.GetName()),
            _("Choose {fixed} as fixed and {moving} as moving volume.").format(fixed=fixed, moving=moving),
        )
    scene, task = transform.GetScene(), task_of(parameters, lambda _name: record.recipe)
    inverse = scene.GetNodeByID(results.inverse) if results.inverse else None
    return replace(
        task,
        recipe=record.recipe,
        drivers=replace(task.drivers, background=record.background),
        seed=record.seed,
        initial_transform=None,
        existing={},
        outputs=replace(task.outputs, **dict.fromkeys(MODEL_MAPS, False)),
        restore=Restore(record, results, transform, inverse),
    )
