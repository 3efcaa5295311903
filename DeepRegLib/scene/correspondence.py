"""Which place of the moving scan belongs to a place of the fixed one, through transform nodes, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import slicer
import vtk
from numpy.typing import ArrayLike, NDArray

from DeepRegLib.scene.nodes import VERDICT_ATTRIBUTE, is_transformed_by
from DeepRegLib.scene.sequences import current_volume

# From a result's transform to what came with it.
INVERSE_ROLE = "DeepReg.Inverse"
WARPED_ROLE = "DeepReg.Warped"
COMPANION_ROLES: Mapping[str, str] = MappingProxyType(
    {
        "inverse": INVERSE_ROLE,
        "warped": WARPED_ROLE,
        "segmentation": "DeepReg.Segmentation",
        "jacobian": "DeepReg.Jacobian",
        "uncertainty": "DeepReg.Uncertainty",
        "explanation": "DeepReg.Explanation",
        "trust": "DeepReg.Trust",
        "table": "DeepReg.Table",
    }
)

FIXED, MOVING = "fixed", "moving"
OTHER = {FIXED: MOVING, MOVING: FIXED}


@dataclass(frozen=True)
class Correspondence:
    """Two scans and what leads from one to the other, by node id; None for what there is not.

    Parameters
    ----------
    fixed, moving
        The volumes.
    transform
        Takes places of the fixed scan to places of the moving one.
    inverse
        The way back; without it the transform is inverted numerically.
    warped
        The moving scan as it was registered, which lies where the fixed one lies.
    """

    fixed: str
    moving: str
    transform: str
    inverse: str | None = None
    warped: str | None = None


def correspondence_of(
    transform: slicer.vtkMRMLTransformNode | None,
    fixed: slicer.vtkMRMLVolumeNode | None = None,
    moving: slicer.vtkMRMLVolumeNode | None = None,
) -> Correspondence | None:
    """Return what a transform node connects.

    Parameters
    ----------
    transform
        A result's transform, which knows its volumes, or any other.
    fixed, moving
        The volumes of a transform that is no result.

    Returns
    -------
    Correspondence or None
        None where a node is missing or has left the scene, or both volumes are one.
    """
    if transform is None or transform.GetScene() is None:
        return None
    roles = slicer.vtkMRMLTransformNode
    if transform.GetAttribute(VERDICT_ATTRIBUTE):
        fixed = transform.GetNodeReference(roles.GetFixedNodeReferenceRole())
        moving = transform.GetNodeReference(roles.GetMovingNodeReferenceRole())
    fixed, moving = _volume(fixed), _volume(moving)
    if fixed is None or moving is None or fixed is moving:
        return None
    inverse, warped = (transform.GetNodeReference(role) for role in (INVERSE_ROLE, WARPED_ROLE))
    return Correspondence(
        fixed.GetID(),
        moving.GetID(),
        transform.GetID(),
        inverse.GetID() if inverse is not None else None,
        warped.GetID() if warped is not None else None,
    )


def corresponding_place(
    scene: slicer.vtkMRMLScene, pair: Correspondence, place: ArrayLike, side: str
) -> NDArray[np.float64] | None:
    """Return where a place of one scan is shown on the other.

    Parameters
    ----------
    scene
        Of the nodes.
    pair
        The scans and what connects them.
    place
        ``(3,)``, RAS mm in the world.
    side
        Whose place it is, `FIXED` or `MOVING`.

    Returns
    -------
    ndarray or None
        ``(3,)`` float64, RAS mm; None where a node is gone. A moving scan that hangs under the transform already is
        shown where the fixed one is.
    """
    transform, moving = scene.GetNodeByID(pair.transform), scene.GetNodeByID(pair.moving)
    if transform is None or moving is None:
        return None
    if is_transformed_by(moving, transform):
        return np.array(place, dtype=np.float64)
    inverse = scene.GetNodeByID(pair.inverse) if pair.inverse else None
    way = vtk.vtkGeneralTransform()
    if side == FIXED:
        transform.GetTransformFromWorld(way)
    elif inverse is not None:
        inverse.GetTransformFromWorld(way)
    else:
        transform.GetTransformToWorld(way)
    return np.array(way.TransformPoint(np.asarray(place, dtype=np.float64).tolist()))


def _volume(node: slicer.vtkMRMLNode | None) -> slicer.vtkMRMLVolumeNode | None:
    """Return a node if it is a volume of the scene, or the volume that shows the sequence that it is."""
    if node is None or node.GetScene() is None:
        return None
    if node.IsA("vtkMRMLSequenceNode"):
        node = current_volume(node) if node.GetNumberOfDataNodes() else node
    return node if node.IsA("vtkMRMLVolumeNode") and node.GetScene() is not None else None
