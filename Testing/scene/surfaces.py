"""A segmentation node whose source representation is closed surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

SURFACE = "Closed surface"
TERMINOLOGY = "Category~SCT^123037004^Anatomical Structure~SCT^10200004^Liver~^^~^^~^^"


def surface_node(scene: Any, names: Sequence[str], radius: float = 6.0, resolution: int = 8) -> Any:
    """Return a node in the scene with a ball a name, side by side and overlapping; RAS mm."""
    import slicer
    import vtk

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", "surfaces")
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(SURFACE)
    for number, name in enumerate(names):
        source = vtk.vtkSphereSource()
        source.SetRadius(radius)
        source.SetPhiResolution(resolution)
        source.SetThetaResolution(resolution)
        source.SetCenter(3.0 + radius * number, 4.0, 5.0)
        source.Update()
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetColor(0.25 * number, 0.5, 0.75)
        segment.SetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), TERMINOLOGY)
        segment.AddRepresentation(SURFACE, source.GetOutput())
        segmentation.AddSegment(segment, f"B{number}")
    return node


def points_of(segment: Any) -> NDArray[np.float64]:
    """Return the points of a segment's surface, ``(n, 3)``, RAS mm."""
    from vtk.util.numpy_support import vtk_to_numpy

    points: NDArray[np.float64] = vtk_to_numpy(segment.GetRepresentation(SURFACE).GetPoints().GetData()).astype(float)
    return points


def terminology(segment: Any) -> str:
    """Return what a segment is by a coding scheme, as Slicer writes it."""
    import slicer
    import vtk

    text = vtk.reference("")
    segment.GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), text)
    return str(text)
