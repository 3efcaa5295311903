"""A training run as small as can be: two phantoms shifted and bent, learned in a few dozen steps."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from DeepRegLib.image import write_image
from DeepRegLib.training.config import TrainingConfig, config_from_dict
from Testing.synthetic import blobs, geometry_in, label_map

TinyConfig = Callable[..., TrainingConfig]


@pytest.fixture(scope="session")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two phantoms with labels."""
    root = tmp_path_factory.mktemp("phantoms")
    grid = geometry_in("LPS", (32, 32, 32), 2.0)
    for part in ("images", "labels"):
        (root / part).mkdir()
    for seed in range(2):
        write_image(blobs(grid, seed), root / "images" / f"{seed}.nii.gz")
        write_image(label_map(grid), root / "labels" / f"{seed}.nii.gz")
    return root


@pytest.fixture
def one_thread() -> Any:
    """Sum in one order: what is compared to the last bit must not depend on how many threads there are."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny_config(phantoms: Path) -> TinyConfig:
    """Return a function that makes the configuration, with some keys of its sections changed."""

    def make(**changes: dict[str, Any]) -> TrainingConfig:
        table: dict[str, Any] = {
            "name": "tiny",
            "network": {"architecture": "pyramid", "arguments": {"channels": [8, 16, 16]}},
            "images": {"size": [24, 24, 24], "spacing": 2.5, "margin": 2},
            "sources": {"shapes": 0.0, "images": 1.0, "folder": str(phantoms)},
            "shapes": {"regions": 4, "bodies": 3, "distances": [8.0, 16.0]},
            "deformation": {
                "distances": [16.0],
                "amplitudes": [1.0],
                "translation": 0.1,
                **dict.fromkeys(("rotation", "scaling", "shear"), 0.0),
            },
            "appearance": {
                "blur": 0.5,
                **dict.fromkeys(("noise", "thick", "artefacts", "cropped", "bias", "remap", "gamma"), 0.0),
            },
            "losses": {"smoothness": 0.01},
            "optimisation": {"iterations": 6, "warmup": 2, "rate": 5e-3, "average": 0.9},
            "record": {"log_every": 1, "checkpoint_every": 3},
            "validation": {"every": 1000, "pairs": 1},
        }
        for section, values in changes.items():
            table[section] = {**table.get(section, {}), **values}
        return config_from_dict(table)

    return make


@pytest.fixture
def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
