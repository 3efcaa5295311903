"""Whose a node's content is: DeepReg's, which another result may replace, or the user's, which would be lost."""

from __future__ import annotations

import slicer
import vtk

from DeepRegLib.scene.nodes import OUTPUT_ATTRIBUTE, RESULT_ATTRIBUTE, nodes_of


def is_the_users(node: slicer.vtkMRMLNode) -> bool:
    """Return whether a node holds something that DeepReg did not put there.

    An empty volume, segmentation or table and an identity transform that moves nothing hold nothing. A result stays
    DeepReg's when it is edited, but a segment that was added to it is the user's.
    """
    if node.IsA("vtkMRMLSegmentationNode"):
        return not all(_is_marked(segment) for segment in _segments(node))
    if node.GetAttribute(RESULT_ATTRIBUTE) or node.GetAttribute(OUTPUT_ATTRIBUTE):
        return False
    if node.IsA("vtkMRMLVolumeNode"):
        return node.GetImageData() is not None and node.GetImageData().GetNumberOfPoints() > 0
    if node.IsA("vtkMRMLTableNode"):
        return node.GetNumberOfColumns() > 0
    return not node.IsA("vtkMRMLTransformNode") or not _is_identity(node) or _moves_something(node)


def mark_segments(node: slicer.vtkMRMLSegmentationNode) -> None:
    """Mark the segments that a segmentation has now as DeepReg's."""
    for segment in _segments(node):
        segment.SetTag(RESULT_ATTRIBUTE, "1")


def _segments(node: slicer.vtkMRMLSegmentationNode) -> list[slicer.vtkSegment]:
    segmentation = node.GetSegmentation()
    return [segmentation.GetNthSegment(number) for number in range(segmentation.GetNumberOfSegments())]


def _is_marked(segment: slicer.vtkSegment) -> bool:
    return bool(segment.GetTag(RESULT_ATTRIBUTE, vtk.reference("")))


def _is_identity(node: slicer.vtkMRMLTransformNode) -> bool:
    if not node.IsLinear():
        return False
    matrix = vtk.vtkMatrix4x4()
    node.GetMatrixTransformToParent(matrix)
    return bool(matrix.IsIdentity())


def _moves_something(node: slicer.vtkMRMLTransformNode) -> bool:
    others = (other for other in nodes_of(node.GetScene()) if other.IsA("vtkMRMLTransformableNode"))
    return any(other.GetTransformNodeID() == node.GetID() for other in others)
