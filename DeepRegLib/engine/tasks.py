"""The tasks of the engine by name. A new one is a file of its own beside `registration`, and a line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from DeepRegLib.engine.files import FILES
from DeepRegLib.engine.improvement import IMPROVE
from DeepRegLib.engine.model_segmentation import SEGMENT_WITH
from DeepRegLib.engine.protocol import Message, ProtocolError
from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.engine.restoring import RESTORE
from DeepRegLib.engine.segmentation import SEGMENT
from DeepRegLib.engine.series import SERIES
from DeepRegLib.engine.task import TASK, Task
from DeepRegLib.engine.tracking import TRACK

TASKS: Mapping[str, Task[Any, Any]] = MappingProxyType(
    {task.name: task for task in (REGISTER, IMPROVE, RESTORE, FILES, SEGMENT, SEGMENT_WITH, TRACK, SERIES)}
)


def task_of(message: Message, tasks: Mapping[str, Task[Any, Any]]) -> Task[Any, Any]:
    """Return the task that a message names.

    Raises
    ------
    ProtocolError
        If there is no such task.
    """
    name = message.content.get(TASK)
    if not isinstance(name, str) or name not in tasks:
        raise ProtocolError(f"A task of the name {str(name)[:40]!r} is unknown.")
    return tasks[name]
