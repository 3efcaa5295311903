"""Segments of a scan: found by registered atlases that are fused, or by a trained network; names and colours kept."""

from __future__ import annotations

from DeepRegLib.segmentation.atlas_folder import read_atlases
from DeepRegLib.segmentation.by_model import segment_by_model, segment_with
from DeepRegLib.segmentation.model_request import ModelRequest
from DeepRegLib.segmentation.request import Atlas, SegmentRequest
from DeepRegLib.segmentation.result import AtlasRow, Segmentation, SegmentRow
from DeepRegLib.segmentation.segmenting import segment, segment_request
from DeepRegLib.segmentation.segments import Segment

__all__ = [
    "Atlas",
    "AtlasRow",
    "ModelRequest",
    "Segment",
    "SegmentRequest",
    "SegmentRow",
    "Segmentation",
    "read_atlases",
    "segment",
    "segment_by_model",
    "segment_request",
    "segment_with",
]
