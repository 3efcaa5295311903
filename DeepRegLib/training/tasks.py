"""The tasks by name. A new one is a file of its own beside `segmentation_task`, and a line here."""

from __future__ import annotations

from collections.abc import Callable

from DeepRegLib.training.config import DENOISE, MOTION, PAIRS, SEGMENTATION, TRANSLATE, TrainingConfig
from DeepRegLib.training.denoising_task import DenoisingTask
from DeepRegLib.training.judge import Judge
from DeepRegLib.training.motion_task import MotionTask
from DeepRegLib.training.pairs_task import PairsTask
from DeepRegLib.training.processes import Processes
from DeepRegLib.training.segmentation_task import SegmentationTask
from DeepRegLib.training.task import Task
from DeepRegLib.training.translation_task import TranslationTask

TASKS: dict[str, Callable[[TrainingConfig, Processes], Task]] = {
    PAIRS: PairsTask,
    SEGMENTATION: SegmentationTask,
    DENOISE: DenoisingTask,
    TRANSLATE: TranslationTask,
    MOTION: MotionTask,
}


def task_of(config: TrainingConfig, processes: Processes) -> Task:
    """Return the task of a configuration, its data read."""
    return TASKS[config.task](config, processes)


def judge_of(config: TrainingConfig) -> Judge | None:
    """Return the second network of the adversarial loss; None where it has no weight, or the task no such loss."""
    if config.task == PAIRS and config.losses.adversarial > 0:
        return Judge()
    if config.task == TRANSLATE and config.translate.adversarial > 0:
        return Judge(2 if config.translate.paired else 1)
    return None
