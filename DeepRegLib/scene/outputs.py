"""What goes into a scene from a registration: of which inputs, which outputs, and the nodes that came of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import slicer

from DeepRegLib.scene.along import Along
from DeepRegLib.scene.sequences import current_volume, frame_label

# What an output is called after the prefix, and the class of its node.
NODE_OF = MappingProxyType(
    {
        "transform": ("transform", "vtkMRMLTransformNode"),
        "inverse": ("inverse transform", "vtkMRMLTransformNode"),
        "warped": ("registered", "vtkMRMLScalarVolumeNode"),
        "segmentation": ("segmentation", "vtkMRMLSegmentationNode"),
        "jacobian": ("Jacobian", "vtkMRMLScalarVolumeNode"),
        "uncertainty": ("model uncertainty", "vtkMRMLScalarVolumeNode"),
        "explanation": ("model explanation", "vtkMRMLScalarVolumeNode"),
        "trust": ("expected error", "vtkMRMLScalarVolumeNode"),
        "synthetic": ("synthetic, made by a network", "vtkMRMLScalarVolumeNode"),
        "table": ("measures", "vtkMRMLTableNode"),
    }
)


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
    along
        Markups and models that go along.
    """

    fixed: str
    moving: str
    segmentation: str
    prefix: str
    along: Along = field(default_factory=Along)


@dataclass(frozen=True)
class Outputs:
    """Which results are put into the scene; those that a registration lacks are left out.

    Slicer solves the inverse of a transform where it is used, so a field goes into a scene once; the inverse as a node
    of its own takes three times as much room there as the transform.
    """

    transform: bool = True
    inverse: bool = False
    warped: bool = True
    segmentation: bool = True
    jacobian: bool = False
    uncertainty: bool = False
    explanation: bool = False
    trust: bool = False
    synthetic: bool = True
    table: bool = True


@dataclass(frozen=True)
class Results:
    """The nodes of one registration, by id; None for those not made.

    Parameters
    ----------
    folder
        Item id of their folder in the subject hierarchy; None if every output went into a node that was there.
    transform, inverse, warped, segmentation, jacobian, uncertainty, explanation, trust, synthetic, table
        Node ids.
    along
        Ids of the copies of markups and models that went along.
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
    explanation: str | None = None
    trust: str | None = None
    synthetic: str | None = None
    table: str | None = None
    along: tuple[str, ...] = ()
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
    along: Along | None = None,
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
    along
        Markups and models that go along.
    """
    default = " ".join(word for word in (moving.GetName(), frame_label(moving)) if word)
    brought = segmentation.GetID() if segmentation else ""
    return Inputs(fixed.GetID(), moving.GetID(), brought, prefix or default, along or Along())


def input_volume(scene: slicer.vtkMRMLScene, identifier: str) -> slicer.vtkMRMLScalarVolumeNode | None:
    """Return the volume with an id, or that the sequence with this id shows; None if there is none in the scene."""
    node = scene.GetNodeByID(identifier)
    if node is not None and node.IsA("vtkMRMLSequenceNode"):
        node = current_volume(node) if node.GetNumberOfDataNodes() else None
    return node if node is not None and node.GetScene() is scene and node.IsA("vtkMRMLScalarVolumeNode") else None
