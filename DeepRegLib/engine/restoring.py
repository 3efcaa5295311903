"""The task `restore`: what is left of a result in, the registration judged anew out."""

from __future__ import annotations

from typing import Any

from DeepRegLib.engine.registration import pack_result, unpack_result
from DeepRegLib.engine.task import Received, Task
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.record import Restoring
from DeepRegLib.registration import Registration


def _run(restoring: Restoring, progress: Progress, cancel: Cancel) -> Registration:
    from DeepRegLib.restoring import restore  # torch, which the client has not

    return restore(restoring, progress=progress, cancel=cancel)


def _unpack_result(content: Any, arrays: Received, restoring: Restoring) -> Registration:
    return unpack_result(content, arrays, restoring.request)


RESTORE = Task("restore", Restoring, _run, pack_result, _unpack_result)
