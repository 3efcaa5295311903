"""The task `segment with`: a scan and the name of a model in, a segmentation out."""

from __future__ import annotations

from DeepRegLib.engine.segmentation import pack_segmentation, segmentation_for
from DeepRegLib.engine.task import Task
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.segmentation.model_request import ModelRequest
from DeepRegLib.segmentation.result import Segmentation


def _run(request: ModelRequest, progress: Progress, cancel: Cancel) -> Segmentation:
    from DeepRegLib.segmentation.by_model import segment_by_model

    return segment_by_model(request, progress=progress, cancel=cancel)


SEGMENT_WITH = Task("segment with", ModelRequest, _run, pack_segmentation, segmentation_for)
