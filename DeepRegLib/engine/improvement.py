"""The task `improve`: a result and what is dragged in, the corrected registration out."""

from __future__ import annotations

from typing import Any

from DeepRegLib.correction import Improvement
from DeepRegLib.engine.registration import pack_result, unpack_result
from DeepRegLib.engine.task import Received, Task
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.registration import Registration


def _run(improvement: Improvement, progress: Progress, cancel: Cancel) -> Registration:
    from DeepRegLib.improving import improve  # torch, which the client has not

    return improve(improvement, progress=progress, cancel=cancel)


def _unpack_result(content: Any, arrays: Received, improvement: Improvement) -> Registration:
    return unpack_result(content, arrays, improvement.request)


IMPROVE = Task("improve", Improvement, _run, pack_result, _unpack_result)
