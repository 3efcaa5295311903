"""Segments of a scan: found by registered atlases that are fused, or by a trained network; names and colours kept.

What computes is imported when it is first used: whoever only reads a segmentation, as Slicer's window does, waits for
none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from DeepRegLib.segmentation.model_request import ModelRequest
from DeepRegLib.segmentation.request import Atlas, SegmentRequest
from DeepRegLib.segmentation.result import AtlasRow, Segmentation, SegmentRow
from DeepRegLib.segmentation.segments import Segment

if TYPE_CHECKING:
    from DeepRegLib.segmentation.atlas_folder import read_atlases
    from DeepRegLib.segmentation.by_model import segment_by_model, segment_with
    from DeepRegLib.segmentation.segmenting import segment, segment_request

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

_HOMES = {
    "read_atlases": "atlas_folder",
    "segment": "segmenting",
    "segment_by_model": "by_model",
    "segment_request": "segmenting",
    "segment_with": "by_model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
