"""The task `register`: a pair of scans in, a registration out."""

from __future__ import annotations

from typing import Any

from DeepRegLib.engine.packing import Arrays, Content, pack, unpack
from DeepRegLib.engine.task import Received, Task
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.registration import Registration
from DeepRegLib.request import Request

SCANS = ("fixed", "moving")


def _pack_request(request: Request, arrays: Arrays) -> Content:
    return pack(request, "request", arrays)


def _unpack_request(content: Any, arrays: Received) -> Request:
    return unpack(Request, content, arrays)


def _run(request: Request, progress: Progress, cancel: Cancel) -> Registration:
    from DeepRegLib.pipeline import run_request  # torch, which the client has not

    return run_request(request, progress=progress, cancel=cancel)


def _pack_result(registration: Registration, arrays: Arrays) -> Content:
    return pack(registration, "result", arrays, without=SCANS)  # the client has the scans


def _unpack_result(content: Any, arrays: Received, request: Request) -> Registration:
    return unpack(Registration, content, arrays, {name: getattr(request, name) for name in SCANS})


REGISTER = Task("register", _pack_request, _unpack_request, _run, _pack_result, _unpack_result)
