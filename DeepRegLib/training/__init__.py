"""Training networks: pairs made from nothing or from a user's own scans, losses, the loop, checkpoints, export."""

from __future__ import annotations

from DeepRegLib.training.adaptation import adaptation
from DeepRegLib.training.config import TrainingConfig, config_names, load_config
from DeepRegLib.training.export import export
from DeepRegLib.training.loop import Outcome, train
from DeepRegLib.training.processes import is_first_process

__all__ = [
    "Outcome",
    "TrainingConfig",
    "adaptation",
    "config_names",
    "export",
    "is_first_process",
    "load_config",
    "train",
]
