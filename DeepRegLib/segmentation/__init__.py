"""Segments of a scan: found by registered atlases that are fused, with names and colours kept."""

from __future__ import annotations

from DeepRegLib.segmentation.atlas_folder import read_atlases
from DeepRegLib.segmentation.request import Atlas, SegmentRequest
from DeepRegLib.segmentation.result import AtlasRow, Segmentation, SegmentRow
from DeepRegLib.segmentation.segmenting import segment, segment_request
from DeepRegLib.segmentation.segments import Segment

__all__ = [
    "Atlas",
    "AtlasRow",
    "Segment",
    "SegmentRequest",
    "SegmentRow",
    "Segmentation",
    "read_atlases",
    "segment",
    "segment_request",
]
