"""The task `track`: the next scan and the last result in, its registration out."""

from __future__ import annotations

from typing import Any

from DeepRegLib.engine.registration import pack_result, unpack_result
from DeepRegLib.engine.task import Received, Task
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.registration import Registration
from DeepRegLib.tracking.request import Following


def _run(following: Following, progress: Progress, cancel: Cancel) -> Registration:
    from DeepRegLib.tracking.expecting import follow_expected  # torch, which the client has not

    return follow_expected(following, progress=progress, cancel=cancel)


def _unpack_result(content: Any, arrays: Received, following: Following) -> Registration:
    return unpack_result(content, arrays, following.request)


TRACK = Task("track", Following, _run, pack_result, _unpack_result)
