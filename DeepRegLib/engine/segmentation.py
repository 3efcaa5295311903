"""The task `segment`: a scan and atlases in, a segmentation out."""

from __future__ import annotations

from typing import Any

from DeepRegLib.engine.packing import Arrays, Content, pack, unpack
from DeepRegLib.engine.protocol import ProtocolError
from DeepRegLib.engine.task import Received, Task
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.result import CHECK, FAILED, OK
from DeepRegLib.segmentation.model_request import ModelRequest
from DeepRegLib.segmentation.request import SegmentRequest
from DeepRegLib.segmentation.result import Segmentation

SCAN = "scan"
LEVELS = (OK, CHECK, FAILED)


def _run(request: SegmentRequest, progress: Progress, cancel: Cancel) -> Segmentation:
    from DeepRegLib.segmentation.segmenting import segment_request

    return segment_request(request, progress=progress, cancel=cancel)


def pack_segmentation(segmentation: Segmentation, arrays: Arrays) -> Content:
    """Pack a segmentation without its scan, which the other side has."""
    return pack(segmentation, "result", arrays, without=(SCAN,))


def segmentation_for(content: Any, arrays: Received, request: SegmentRequest | ModelRequest) -> Segmentation:
    """Unpack the segmentation of a request's scan.

    Raises
    ------
    ProtocolError
        If it is incomplete, or its parts do not belong together.
    """
    found = unpack(Segmentation, content, arrays, {SCAN: request.scan})
    if found.verdict.level not in LEVELS:
        raise ProtocolError(f"A result has the verdict {found.verdict.level[:40]!r}, which is unknown.")
    for image in (found.labels, found.agreement):
        if image.geometry != request.scan.geometry:
            raise ProtocolError(f"A result has {image.name[:40]!r} on another grid than the scan's.")
    if len(found.rows) != len(found.segments) or found.labels.array.dtype.kind not in "iu":
        raise ProtocolError("A result has segments and labels that do not belong together.")
    return found


SEGMENT = Task("segment", SegmentRequest, _run, pack_segmentation, segmentation_for)
