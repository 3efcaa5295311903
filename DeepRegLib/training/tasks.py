"""The tasks by name. A new one is a file of its own beside `segmentation_task`, and a line here."""

from __future__ import annotations

from collections.abc import Callable

from DeepRegLib.training.config import DENOISE, PAIRS, SEGMENTATION, TrainingConfig
from DeepRegLib.training.denoising_task import DenoisingTask
from DeepRegLib.training.pairs_task import PairsTask
from DeepRegLib.training.processes import Processes
from DeepRegLib.training.segmentation_task import SegmentationTask
from DeepRegLib.training.task import Task

TASKS: dict[str, Callable[[TrainingConfig, Processes], Task]] = {
    PAIRS: PairsTask,
    SEGMENTATION: SegmentationTask,
    DENOISE: DenoisingTask,
}


def task_of(config: TrainingConfig, processes: Processes) -> Task:
    """Return the task of a configuration, its data read."""
    return TASKS[config.task](config, processes)
