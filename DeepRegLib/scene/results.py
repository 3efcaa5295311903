"""A registration as nodes of the scene: added together, and removed together."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import slicer

from DeepRegLib.result import Registration
from DeepRegLib.scene.alignment import unapply_all
from DeepRegLib.scene.along import SOURCE_ROLE, TO_FIXED, TO_MOVING, Along, add_along, copies_of, way_steps
from DeepRegLib.scene.chosen_outputs import usable_nodes
from DeepRegLib.scene.correspondence import COMPANION_ROLES
from DeepRegLib.scene.filling import ResultData, fillers_of, result_data_steps
from DeepRegLib.scene.hierarchy import (
    folder_of_result,
    name_folder_anew,
    put_into,
    remove_folder,
    remove_item,
    result_folder,
    result_folders,
)
from DeepRegLib.scene.nodes import (
    HELPER_ATTRIBUTE,
    HIDDEN_ROLE,
    OUTPUT_ATTRIBUTE,
    RESULT_ATTRIBUTE,
    name_anew,
    new_named_node,
    nodes_of,
    nodes_with,
    one_change,
    remove_all_with_companions,
)
from DeepRegLib.scene.outputs import NODE_OF, Inputs, Outputs, Results, input_volume
from DeepRegLib.scene.segmentations import SegmentLayers
from DeepRegLib.scene.steps import run_through


def add_results(
    scene: slicer.vtkMRMLScene,
    registration: Registration,
    inputs: Inputs,
    outputs: Outputs,
    *,
    layers: SegmentLayers | None = None,
    data: ResultData | None = None,
    existing: Mapping[str, str] | None = None,
    overwrite: Collection[str] = (),
    label_names: Mapping[int, str] | None = None,
    former: Results | None = None,
) -> Results:
    """Put a registration into a scene, all of it or, if that fails, nothing.

    Parameters
    ----------
    scene
        Which must not be closing.
    registration
        What the engine returned.
    inputs
        What was registered. Nodes that were removed meanwhile are done without.
    outputs
        What is wanted.
    layers
        The moving segments as they were read; `Registration.warped_layers` holds them on the fixed grid.
    data
        The result as VTK holds it (`result_data_steps`); by default it is made here, which holds a window up.
    existing
        Node ids by name of the output: nodes that are overwritten rather than made. The user's keep their names, those
        that DeepReg named are named after this result. One that is gone or cannot take the output is left alone, and a
        new node made.
    overwrite
        As in `check_existing`.
    label_names
        What the labels of the overlap measures are called.
    former
        The result that this one takes the place of: what DeepReg made of it and this one does not fill is removed.
    """
    chosen = usable_nodes(scene, inputs, existing or {}, overwrite)
    data = data or run_through(result_data_steps(registration, outputs, layers, inputs.along))
    fillers = fillers_of(scene, registration, data, inputs, layers, label_names)
    wanted = [name for name in NODE_OF if getattr(outputs, name) and name in fillers]
    with one_change(scene):
        results = Results(chosen=frozenset(wanted) & chosen.keys())
        try:
            for name in wanted:
                node = chosen[name] if name in chosen else _new_node(scene, name, inputs.prefix)
                name_anew(node, _name_of(name, inputs.prefix))
                results = replace(results, **{name: node.GetID()})
                fillers[name](node)
                if name in chosen:
                    node.SetAttribute(OUTPUT_ATTRIBUTE, "1")
            _set_companions(scene, results, inputs)
            results = replace(results, along=_along(scene, results, inputs, data))
            _hide_sources(scene, results, inputs)
            results = _filed(scene, results, inputs)
        except BaseException:
            remove_results(scene, results)
            raise
        if former is not None:
            remove_results(scene, _unfilled(former, results))
    return results


def remove_results(scene: slicer.vtkMRMLScene, results: Results | None = None) -> list[slicer.vtkMRMLNode]:
    """Remove what DeepReg made, and put back where they were the nodes that `apply_to_moving` moved.

    Nodes of the user's stay: those chosen to take an output, and those put into a result's folder.

    Parameters
    ----------
    scene
        Where.
    results
        One registration's; None for everything, helpers of the comparing views included.

    Returns
    -------
    list of vtkMRMLNode
        The nodes that have left the scene. Each frees its voxels when nobody holds it any more.
    """
    if results is None:
        nodes = [*nodes_with(scene, RESULT_ATTRIBUTE), *nodes_with(scene, HELPER_ATTRIBUTE)]
        folders = result_folders(scene)
    else:
        ids = [i for name, i in results.ids.items() if name not in results.chosen]
        own = [scene.GetNodeByID(i) for i in (*ids, *results.along)]
        nodes = [node for node in own if node is not None and node.GetAttribute(RESULT_ATTRIBUTE)]
        folders = [] if results.folder is None else [results.folder]
    with one_change(scene):
        _show_sources(scene, results)
        unapply_all(scene, results)
        for node in nodes:
            remove_item(scene, node)
        remove_all_with_companions(scene, nodes)
        for folder in folders:
            remove_folder(scene, folder)
    return nodes


def left_behind(scene: slicer.vtkMRMLScene, former: Results, results: Results) -> list[slicer.vtkMRMLNode]:
    """Return the nodes that still hold a result whose place another has taken: the user's, which are never removed."""
    nodes = (scene.GetNodeByID(identifier) for identifier in _unfilled(former, results).ids.values())
    return [node for node in nodes if node is not None]


def bring_along(
    scene: slicer.vtkMRMLScene, registration: Registration, inputs: Inputs, results: Results, along: Along
) -> Results:
    """Carry markups and models over, or back, by a result that is in the scene already; return it with their copies.

    Copies that are there are made anew; those of what does not go along any more are removed.
    """
    inputs = replace(inputs, along=along)
    data = ResultData({}, {}, ways=run_through(way_steps(registration, along)))
    with one_change(scene):
        results = replace(results, along=_along(scene, results, inputs, data))
        _hide_sources(scene, results, inputs)
        transform = scene.GetNodeByID(results.transform) if results.transform else None
        folder = folder_of_result(scene, transform)
        for copy in (scene.GetNodeByID(identifier) for identifier in results.along):
            if folder is not None:
                put_into(scene, folder, copy)
    return results


def _new_node(scene: slicer.vtkMRMLScene, name: str, prefix: str) -> slicer.vtkMRMLNode:
    node = new_named_node(scene, NODE_OF[name][1], _name_of(name, prefix))
    node.SetAttribute(RESULT_ATTRIBUTE, "1")
    return node


def _name_of(name: str, prefix: str) -> str:
    return f"{prefix} {NODE_OF[name][0]}"


def _unfilled(former: Results, results: Results) -> Results:
    """Return the nodes of a former result that the one in its place does not fill."""
    filled = [name for name, identifier in former.ids.items() if identifier in results.ids.values()]
    return replace(former, folder=None, along=(), chosen=frozenset(), **dict.fromkeys(filled))


def _set_companions(scene: slicer.vtkMRMLScene, results: Results, inputs: Inputs) -> None:
    """Let the transform know what came with it, and both scans, for which SlicerRT's exporter asks."""
    transform = scene.GetNodeByID(results.transform) if results.transform else None
    if transform is not None:
        for name, role in COMPANION_ROLES.items():
            transform.SetNodeReferenceID(role, results.ids.get(name))
        scans = input_volume(scene, inputs.fixed), input_volume(scene, inputs.moving)
        roles = transform.GetFixedNodeReferenceRole(), transform.GetMovingNodeReferenceRole()
        for role, scan in zip(roles, scans, strict=True):
            transform.SetNodeReferenceID(role, scan.GetID() if scan is not None else None)


def _filed(scene: slicer.vtkMRMLScene, results: Results, inputs: Inputs) -> Results:
    """Put the new nodes of a result into a folder beside the fixed volume, or that of the result they belong to."""
    name = f"{inputs.prefix} registration"
    transform = scene.GetNodeByID(results.transform) if results.transform else None
    folder = folder_of_result(scene, transform)
    if folder is not None:
        name_folder_anew(scene, folder, name)
    made = [identifier for output, identifier in results.ids.items() if output not in results.chosen]
    fresh = [*made, *(i for i in results.along if folder_of_result(scene, scene.GetNodeByID(i)) is None)]
    if not fresh:
        return results
    if made or folder is None:
        folder = result_folder(scene, name, scene.GetNodeByID(inputs.fixed))
    for identifier in fresh:
        put_into(scene, folder, scene.GetNodeByID(identifier))
    return replace(results, folder=folder) if made else results


def _along(scene: slicer.vtkMRMLScene, results: Results, inputs: Inputs, data: ResultData) -> tuple[str, ...]:
    """Copy what goes along to the other scan; what goes along no more is shown again."""
    _show_sources(scene, Results(along=copies_of(scene, results.transform)))
    scans = {TO_FIXED: inputs.fixed, TO_MOVING: inputs.moving}
    nodes = {side: scene.GetNodeByID(identifier) for side, identifier in scans.items()}
    suffixes = {side: f"on {side if node is None else node.GetName()}" for side, node in nodes.items()}
    return add_along(scene, data.ways, inputs.along, results.transform, suffixes)


def _hide_sources(scene: slicer.vtkMRMLScene, results: Results, inputs: Inputs) -> None:
    """Hide what was brought along from the moving scan while what came of it is shown in the same colours."""
    segmentation = scene.GetNodeByID(inputs.segmentation) if inputs.segmentation else None
    carried = scene.GetNodeByID(results.segmentation) if results.segmentation else None
    if carried is not None and segmentation is not None and segmentation.IsA("vtkMRMLSegmentationNode"):
        _hide(segmentation, carried)
    for copy in (scene.GetNodeByID(identifier) for identifier in results.along):
        source = copy.GetNodeReference(SOURCE_ROLE)
        if source is not None and source.GetID() in inputs.along.to_fixed:
            _hide(source, copy)


def _hide(source: slicer.vtkMRMLDisplayableNode, carried: slicer.vtkMRMLDisplayableNode) -> None:
    display = source.GetDisplayNode()
    if display is not None and (display.GetVisibility() or source.GetNodeReferenceID(HIDDEN_ROLE)):
        source.SetNodeReferenceID(HIDDEN_ROLE, carried.GetID())
        display.SetVisibility(False)


def _show_sources(scene: slicer.vtkMRMLScene, results: Results | None) -> None:
    """Show again what was hidden for a result, or for any where there is none."""
    shown_again = () if results is None else (results.segmentation, *results.along)
    for node in nodes_of(scene):
        hidden = node.GetNodeReferenceID(HIDDEN_ROLE)
        if hidden and (results is None or hidden in shown_again):
            node.SetNodeReferenceID(HIDDEN_ROLE, None)
            if node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetVisibility(True)
