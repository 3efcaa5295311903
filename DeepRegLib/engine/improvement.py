"""The task `improve`: a result and what is dragged in, the corrected registration out."""

from __future__ import annotations

from typing import Any

from DeepRegLib.correction import Improvement
from DeepRegLib.engine.packing import Arrays, Content, pack, unpack
from DeepRegLib.engine.registration import SCANS, checked
from DeepRegLib.engine.task import Received, Task
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.registration import Registration


def _pack_request(improvement: Improvement, arrays: Arrays) -> Content:
    return pack(improvement, "request", arrays)


def _unpack_request(content: Any, arrays: Received) -> Improvement:
    return unpack(Improvement, content, arrays)


def _run(improvement: Improvement, progress: Progress, cancel: Cancel) -> Registration:
    from DeepRegLib.pipeline import improve  # torch, which the client has not

    return improve(improvement, progress=progress, cancel=cancel)


def _pack_result(registration: Registration, arrays: Arrays) -> Content:
    return pack(registration, "result", arrays, without=SCANS)  # the client has the scans


def _unpack_result(content: Any, arrays: Received, improvement: Improvement) -> Registration:
    return checked(unpack(Registration, content, arrays, {name: getattr(improvement.request, name) for name in SCANS}))


IMPROVE = Task("improve", _pack_request, _unpack_request, _run, _pack_result, _unpack_result)
