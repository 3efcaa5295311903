"""The task `series`: the frames of a series in, its registration out. A run that is cancelled can be gone on with."""

from __future__ import annotations

from typing import Any

from DeepRegLib.engine.packing import Arrays, Content, pack, unpack
from DeepRegLib.engine.protocol import ProtocolError
from DeepRegLib.engine.task import Received, Task
from DeepRegLib.monitoring import Cancel, Progress
from DeepRegLib.result import CHECK, FAILED, OK
from DeepRegLib.series.request import SeriesRequest, SeriesResult

LEVELS = (OK, CHECK, FAILED)


class _Worker:
    """Runs the task; it lives as long as the worker, and what a cancelled run has found lives in it."""

    def __init__(self) -> None:
        self._runner: Any = None

    def run(self, request: SeriesRequest, progress: Progress, cancel: Cancel) -> SeriesResult:
        if self._runner is None:
            from DeepRegLib.series.running import SeriesRunner  # torch, which the client has not

            self._runner = SeriesRunner()
        found: SeriesResult = self._runner.run(request, progress, cancel)
        return found


def _pack_result(result: SeriesResult, arrays: Arrays) -> Content:
    return pack(result, "result", arrays)


def series_result_for(content: Any, arrays: Received, request: SeriesRequest) -> SeriesResult:
    """Unpack the result of a request's series.

    Raises
    ------
    ProtocolError
        If it is incomplete, or its parts do not belong to the frames of the request.
    """
    found = unpack(SeriesResult, content, arrays)
    count = len(request.frames)
    if {found.verdict.level, *(row.verdict.level for row in found.rows)} - set(LEVELS):
        raise ProtocolError("A result has a verdict that is unknown.")
    if any(len(part) != count for part in (found.transforms, found.stabilised, found.rows)):
        raise ProtocolError(f"A result has not one transform, volume and row for each of {count} frames.")
    if len(found.carried) != (count if request.layers else 0):
        raise ProtocolError("A result has not the label maps that were asked for.")
    for frame, layers in zip(request.frames, found.carried, strict=False):
        if len(layers) != len(request.layers) or any(layer.geometry != frame.geometry for layer in layers):
            raise ProtocolError("A result has label maps that do not belong to their frame.")
    return found


SERIES = Task("series", SeriesRequest, _Worker().run, _pack_result, series_result_for)
