"""A network that segments, made in no time."""

from __future__ import annotations

from pathlib import Path

import torch

from DeepRegLib.models import Manifest, ModelInput, save_bundle
from DeepRegLib.networks import SegmentationCNN
from DeepRegLib.segments import Segment


def tiny_model(folder: Path) -> Path:
    """Write a model that has learned nothing, and return its folder."""
    torch.manual_seed(0)
    manifest = Manifest(
        name="tiny",
        version="1",
        task="segmentation",
        architecture="segmentation-cnn",
        arguments={"channels": 2, "out": 2},
        input=ModelInput(4.0, (16, 16, 16)),
        trained_on="nothing",
        licence="CC0",
        intended_use="Tests.",
        limits="All but tests.",
        segments=(Segment(3, "Leber 肝", (0.5, 0.2, 0.1)),),
    )
    return save_bundle(folder, manifest, SegmentationCNN(2, 2).state_dict()).folder
