"""A registration as nodes of the scene: added together, put to use, and removed together."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import slicer

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image
from DeepRegLib.result import Registration
from DeepRegLib.scene.correspondence import INVERSE_ROLE, WARPED_ROLE
from DeepRegLib.scene.hierarchy import put_into, remove_folder, remove_item, result_folder, result_folders
from DeepRegLib.scene.nodes import (
    APPLIED_ROLE,
    HELPER_ATTRIBUTE,
    HIDDEN_ROLE,
    OUTPUT_ATTRIBUTE,
    RESULT_ATTRIBUTE,
    VERDICT_ATTRIBUTE,
    hangs_under,
    new_node,
    nodes_of,
    nodes_with,
    parents_of,
    remove_with_companions,
)
from DeepRegLib.scene.ownership import is_the_users, mark_segments
from DeepRegLib.scene.segmentations import SegmentLayers, set_segments
from DeepRegLib.scene.sequences import current_volume, frame_label
from DeepRegLib.scene.tables import set_measures
from DeepRegLib.scene.transforms import set_transform
from DeepRegLib.scene.volumes import set_millimetres, set_volume, value_range

# What an output is called after the prefix, and the class of its node.
NODE_OF = MappingProxyType(
    {
        "transform": ("transform", "vtkMRMLTransformNode"),
        "inverse": ("inverse transform", "vtkMRMLTransformNode"),
        "warped": ("registered", "vtkMRMLScalarVolumeNode"),
        "segmentation": ("segmentation", "vtkMRMLSegmentationNode"),
        "jacobian": ("Jacobian", "vtkMRMLScalarVolumeNode"),
        "uncertainty": ("model uncertainty", "vtkMRMLScalarVolumeNode"),
        "trust": ("expected error", "vtkMRMLScalarVolumeNode"),
        "table": ("measures", "vtkMRMLTableNode"),
    }
)
JACOBIAN_COLOURS = "vtkMRMLColorTableNodeRainbow"
JACOBIAN_RANGE = (0.0, 2.0)
# From black, where the model is sure, through red to white.
UNCERTAINTY_COLOURS = "vtkMRMLColorTableNodeIron"
UNCERTAINTY_PERCENTILE = 99.0
# A model that is sure everywhere shall look so.
SMALLEST_UNCERTAINTY_RANGE_MM = 1.0


@dataclass(frozen=True)
class Inputs:
    """What was registered, by ids, for the nodes may be gone when the result comes.

    Parameters
    ----------
    fixed, moving
        Ids of the volumes or sequences.
    segmentation
        Id of the moving segmentation, or empty.
    prefix
        First part of the names of new nodes.
    """

    fixed: str
    moving: str
    segmentation: str
    prefix: str


@dataclass(frozen=True)
class Outputs:
    """Which results are put into the scene; those that a registration lacks are left out."""

    transform: bool = True
    inverse: bool = True
    warped: bool = True
    segmentation: bool = True
    jacobian: bool = False
    uncertainty: bool = False
    trust: bool = False
    table: bool = True


@dataclass(frozen=True)
class Results:
    """The nodes of one registration, by id; None for those not made.

    Parameters
    ----------
    folder
        Item id of their folder in the subject hierarchy; None if every output went into a node that was there.
    transform, inverse, warped, segmentation, jacobian, uncertainty, trust, table
        Node ids.
    chosen
        Names of the outputs that went into nodes of the user's, which are never removed.
    """

    folder: int | None = None
    transform: str | None = None
    inverse: str | None = None
    warped: str | None = None
    segmentation: str | None = None
    jacobian: str | None = None
    uncertainty: str | None = None
    trust: str | None = None
    table: str | None = None
    chosen: frozenset[str] = field(default_factory=frozenset)

    @property
    def ids(self) -> Mapping[str, str]:
        """Node id by name of the output."""
        return {name: getattr(self, name) for name in NODE_OF if getattr(self, name) is not None}


def inputs_of(
    fixed: slicer.vtkMRMLNode,
    moving: slicer.vtkMRMLNode,
    segmentation: slicer.vtkMRMLNode | None = None,
    prefix: str = "",
) -> Inputs:
    """Return what `add_results` needs to know of the inputs.

    Parameters
    ----------
    fixed, moving
        Volumes, or sequences.
    segmentation
        The moving segmentation, if one is brought along.
    prefix
        First part of the names of new nodes; by default the moving node's name, and which frame of it.
    """
    default = " ".join(word for word in (moving.GetName(), frame_label(moving)) if word)
    return Inputs(fixed.GetID(), moving.GetID(), segmentation.GetID() if segmentation else "", prefix or default)


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


def add_results(
    scene: slicer.vtkMRMLScene,
    registration: Registration,
    inputs: Inputs,
    outputs: Outputs,
    *,
    layers: SegmentLayers | None = None,
    existing: Mapping[str, str] | None = None,
    overwrite: Collection[str] = (),
    label_names: Mapping[int, str] | None = None,
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
    existing
        Node ids by name of the output: nodes that are overwritten rather than made, and keep their names. One that is
        gone or cannot take the output is left alone, and a new node made.
    overwrite
        As in `check_existing`.
    label_names
        What the labels of the overlap measures are called.
    """
    chosen = {
        name: identifier
        for name, identifier in (existing or {}).items()
        if scene.GetNodeByID(identifier) is not None and not _unusable(scene, inputs, existing or {}, name, overwrite)
    }
    fillers = _fillers(scene, registration, inputs, layers, label_names)
    wanted = [name for name in NODE_OF if getattr(outputs, name) and name in fillers]
    with _one_change(scene):
        results = Results(chosen=frozenset(wanted) & chosen.keys())
        try:
            for name in wanted:
                node = scene.GetNodeByID(chosen[name]) if name in chosen else _new_node(scene, name, inputs.prefix)
                results = replace(results, **{name: node.GetID()})
                fillers[name](node)
                if name in chosen:
                    node.SetAttribute(OUTPUT_ATTRIBUTE, "1")
            _set_companions(scene, results)
            _hide_source(scene, results, inputs)
            return _filed(scene, results, inputs)
        except BaseException:
            remove_results(scene, results)
            raise


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
    with _one_change(scene):
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


def remove_results(scene: slicer.vtkMRMLScene, results: Results | None = None) -> None:
    """Remove what DeepReg made, and put back where they were the nodes that `apply_to_moving` moved.

    Nodes of the user's stay: those chosen to take an output, and those put into a result's folder.

    Parameters
    ----------
    scene
        Where.
    results
        One registration's; None for everything, helpers of the comparing views included.
    """
    if results is None:
        nodes = [*nodes_with(scene, RESULT_ATTRIBUTE), *nodes_with(scene, HELPER_ATTRIBUTE)]
        folders = result_folders(scene)
    else:
        own = [scene.GetNodeByID(i) for name, i in results.ids.items() if name not in results.chosen]
        nodes = [node for node in own if node is not None and node.GetAttribute(RESULT_ATTRIBUTE)]
        folders = [] if results.folder is None else [results.folder]
    with _one_change(scene):
        _put_back(scene, results)
        for node in nodes:
            remove_item(scene, node)
            remove_with_companions(scene, node)
        for folder in folders:
            remove_folder(scene, folder)


def _fillers(
    scene: slicer.vtkMRMLScene,
    registration: Registration,
    inputs: Inputs,
    layers: SegmentLayers | None,
    label_names: Mapping[int, str] | None,
) -> dict[str, Callable[[slicer.vtkMRMLNode], None]]:
    """Return for each output that there is a function that fills a node with it."""
    fixed, moving = _volume(scene, inputs.fixed), _volume(scene, inputs.moving)

    def fill_transform(node: slicer.vtkMRMLTransformNode) -> None:
        set_transform(node, registration.transform)
        node.SetAttribute(VERDICT_ATTRIBUTE, registration.verdict.level)
        _set_roles(scene, node, inputs.fixed, inputs.moving)

    def fill_inverse(node: slicer.vtkMRMLTransformNode) -> None:
        set_transform(node, registration.inverse)
        _set_roles(scene, node, inputs.moving, inputs.fixed)

    fillers: dict[str, Callable[[slicer.vtkMRMLNode], None]] = {
        "transform": fill_transform,
        "inverse": fill_inverse,
        "warped": lambda node: set_volume(node, registration.warped, like=moving),
        "table": lambda node: set_measures(node, registration, label_names),
    }
    if layers is not None and registration.warped_layers:
        warped_layers = registration.warped_layers

        def fill_segmentation(node: slicer.vtkMRMLSegmentationNode) -> None:
            set_segments(node, layers, warped_layers, reference=fixed)
            mark_segments(node)

        fillers["segmentation"] = fill_segmentation
    if registration.jacobian is not None:
        jacobian = registration.jacobian

        def fill_jacobian(node: slicer.vtkMRMLScalarVolumeNode) -> None:
            set_volume(node, jacobian)
            display = node.GetDisplayNode()
            display.SetAndObserveColorNodeID(JACOBIAN_COLOURS)
            display.SetWindowLevelMinMax(*JACOBIAN_RANGE)

        fillers["jacobian"] = fill_jacobian
    if registration.uncertainty is not None:
        uncertainty = registration.uncertainty
        fillers["uncertainty"] = lambda node: _fill_millimetres(node, uncertainty)
    if registration.trust is not None:
        trust = registration.trust
        fillers["trust"] = lambda node: _fill_millimetres(node, trust)
    return fillers


def _fill_millimetres(node: slicer.vtkMRMLScalarVolumeNode, image: Image) -> None:
    set_volume(node, image)
    set_millimetres(node)
    _low, high = value_range(image.array, 0.0, UNCERTAINTY_PERCENTILE)
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(UNCERTAINTY_COLOURS)
    display.SetWindowLevelMinMax(0.0, max(high, SMALLEST_UNCERTAINTY_RANGE_MM))


def _new_node(scene: slicer.vtkMRMLScene, name: str, prefix: str) -> slicer.vtkMRMLNode:
    suffix, class_name = NODE_OF[name]
    node = new_node(scene, class_name, f"{prefix} {suffix}")
    node.SetAttribute(RESULT_ATTRIBUTE, "1")
    return node


def _volume(scene: slicer.vtkMRMLScene, identifier: str) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Return the volume with an id, or that the sequence with this id shows; None if there is none in the scene."""
    node = scene.GetNodeByID(identifier)
    if node is not None and node.IsA("vtkMRMLSequenceNode"):
        node = current_volume(node) if node.GetNumberOfDataNodes() else None
    return node if node is not None and node.GetScene() is scene and node.IsA("vtkMRMLScalarVolumeNode") else None


def _set_roles(scene: slicer.vtkMRMLScene, node: slicer.vtkMRMLTransformNode, fixed: str, moving: str) -> None:
    roles = {
        slicer.vtkMRMLTransformNode.GetFixedNodeReferenceRole(): fixed,
        slicer.vtkMRMLTransformNode.GetMovingNodeReferenceRole(): moving,
    }
    for role, identifier in roles.items():
        node.SetNodeReferenceID(role, identifier if scene.GetNodeByID(identifier) is not None else None)


def _set_companions(scene: slicer.vtkMRMLScene, results: Results) -> None:
    """Let the transform know its inverse and the volume that it registered."""
    transform = scene.GetNodeByID(results.transform) if results.transform else None
    if transform is not None:
        transform.SetNodeReferenceID(INVERSE_ROLE, results.inverse)
        transform.SetNodeReferenceID(WARPED_ROLE, results.warped)


def _filed(scene: slicer.vtkMRMLScene, results: Results, inputs: Inputs) -> Results:
    """Put the new nodes of a result into a folder beside the fixed volume."""
    fresh = [identifier for name, identifier in results.ids.items() if name not in results.chosen]
    if not fresh:
        return results
    folder = result_folder(scene, f"{inputs.prefix} registration", scene.GetNodeByID(inputs.fixed))
    for identifier in fresh:
        put_into(scene, folder, scene.GetNodeByID(identifier))
    return replace(results, folder=folder)


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
        if other is not None and other.IsA("vtkMRMLTransformableNode") and hangs_under(other, node):
            return f"The transform {node.GetName()} moves {other.GetName()}, so overwriting it would move the input."
    if name not in overwrite and is_the_users(node):
        return f"{node.GetName()} holds something that DeepReg did not make, which would be lost."
    return ""


def _applied_links(nodes: Iterable[slicer.vtkMRMLNode]) -> list[tuple[slicer.vtkMRMLTransformableNode, str]]:
    """Return which nodes, of these and the transforms above them, were put under a result, and its id."""
    chains = ([node, *parents_of(node)] for node in map(current_volume, nodes))
    links = [(link, link.GetNodeReferenceID(APPLIED_ROLE)) for chain in chains for link in chain]
    return [(link, applied) for link, applied in links if applied and link.GetTransformNodeID() == applied]


def _top_of(node: slicer.vtkMRMLTransformableNode) -> slicer.vtkMRMLTransformableNode:
    """Return the topmost transform above a node, or the node itself."""
    return [node, *parents_of(node)][-1]


def _hide_source(scene: slicer.vtkMRMLScene, results: Results, inputs: Inputs) -> None:
    """Hide the segmentation that was brought along while the one that came of it is shown in the same colours."""
    source, carried = (
        scene.GetNodeByID(name) if name else None for name in (inputs.segmentation, results.segmentation)
    )
    if carried is None or source is None or not source.IsA("vtkMRMLSegmentationNode"):
        return
    display = source.GetDisplayNode()
    if display is not None and (display.GetVisibility() or source.GetNodeReferenceID(HIDDEN_ROLE)):
        source.SetNodeReferenceID(HIDDEN_ROLE, carried.GetID())
        display.SetVisibility(False)


def _put_back(scene: slicer.vtkMRMLScene, results: Results | None) -> None:
    """Take the nodes that were put under a result, or under any, out of it, and show what was hidden for it."""
    for node in nodes_of(scene):
        hidden = node.GetNodeReferenceID(HIDDEN_ROLE)
        if hidden and (results is None or results.segmentation == hidden):
            node.SetNodeReferenceID(HIDDEN_ROLE, None)
            if node.GetDisplayNode() is not None:
                node.GetDisplayNode().SetVisibility(True)
        applied = node.GetNodeReferenceID(APPLIED_ROLE)
        if applied and (results is None or results.transform == applied):
            if node.GetTransformNodeID() == applied:
                node.SetAndObserveTransformNodeID(None)
            node.SetNodeReferenceID(APPLIED_ROLE, None)


@contextmanager
def _one_change(scene: slicer.vtkMRMLScene) -> Iterator[None]:
    """Let selectors and views hear of many changes as of one."""
    scene.StartState(slicer.vtkMRMLScene.BatchProcessState)
    try:
        yield
    finally:
        scene.EndState(slicer.vtkMRMLScene.BatchProcessState)
