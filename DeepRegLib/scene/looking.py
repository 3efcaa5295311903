"""The slice views moved to a place."""

from __future__ import annotations

from collections.abc import Sequence

import slicer

from DeepRegLib.scene.nodes import nodes_of_class
from DeepRegLib.scene.world import flipped_points


def look_at(scene: slicer.vtkMRMLScene, place: Sequence[float]) -> None:
    """Move all slice views of the layout, and the crosshair, to a place.

    Parameters
    ----------
    scene
        Whose views these are.
    place
        In LPS mm; it comes to lie in the middle of each view.
    """
    ras = [float(value) for value in flipped_points(place)]
    for view in nodes_of_class(scene, "vtkMRMLSliceNode"):
        if view.IsMappedInLayout():
            view.JumpSliceByCentering(*ras)
    for crosshair in nodes_of_class(scene, "vtkMRMLCrosshairNode"):
        crosshair.SetCrosshairRAS(*ras)
