"""A segmentation node whose segments are fractional, as Slicer's conversion from surfaces makes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from DeepRegLib.segmentation.fractional import Fractions

FRACTIONAL = "Fractional labelmap"


def fractional_node(scene: Any, fractions: Fractions, name: str = "plan") -> Any:
    """Return a node in the scene with these segments, each in a box of its own."""
    import slicer
    import vtk
    from vtk.util.numpy_support import numpy_to_vtk

    from DeepRegLib.scene.world import ijk_to_ras, matrix_from_array

    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    segmentation = node.GetSegmentation()
    segmentation.SetSourceRepresentationName(FRACTIONAL)
    for image, known in zip(fractions.images, fractions.segments, strict=True):
        stored = fractions.scale.stored(np.asarray(image.array, np.float32))
        there = np.argwhere(np.asarray(image.array) > 0)
        low, high = there.min(axis=0), there.max(axis=0)
        box = stored[tuple(slice(a, b + 1) for a, b in zip(low, high, strict=True))]
        labelmap = slicer.vtkOrientedImageData()
        labelmap.SetExtent(*(int(side) for pair in zip(low[::-1], high[::-1], strict=True) for side in pair))
        labelmap.GetPointData().SetScalars(
            numpy_to_vtk(box.ravel(), deep=True, array_type=vtk.VTK_CHAR if box.dtype == np.int8 else None)
        )
        labelmap.SetImageToWorldMatrix(matrix_from_array(ijk_to_ras(image.geometry)))
        told = vtk.vtkDoubleArray()
        told.SetName(slicer.vtkSegmentationConverter.GetScalarRangeFieldName())
        for value in (fractions.scale.low, fractions.scale.high):
            told.InsertNextValue(value)
        labelmap.GetFieldData().AddArray(told)
        segment = slicer.vtkSegment()
        segment.SetName(known.name)
        segment.SetColor(*known.colour)
        segment.AddRepresentation(FRACTIONAL, labelmap)
        segmentation.AddSegment(segment, f"S{known.label}")
    return node
