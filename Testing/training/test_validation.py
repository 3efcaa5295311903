"""What is measured on held-back and on real pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from DeepRegLib.errors import InputError
from DeepRegLib.image import Image, write_image
from DeepRegLib.training import train
from DeepRegLib.training.config import Images
from DeepRegLib.training.journal import read_log
from DeepRegLib.training.validation import measure, read_real_pairs
from Testing.synthetic import blobs, geometry_in, label_map
from Testing.training.conftest import TinyConfig
from Testing.training.test_synthesis import pairs_of

CPU = torch.device("cpu")
IMAGES = Images(size=(28, 24, 20), spacing=2.5)


class Constant(nn.Module):
    """Predicts the same displacement everywhere, in voxels of the field's grid."""

    def __init__(self, *shift: float) -> None:
        super().__init__()
        self.shift = torch.tensor(shift)

    def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
        d, h, w = (-(-n // 2) for n in fixed.shape[2:])
        return self.shift[None, :, None, None, None].expand(len(fixed), 3, d, h, w)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write a pair whose moving scan lies 5 mm further along x."""
    grid = geometry_in("LPS", (30, 28, 26), 2.5)
    origin = (grid.origin[0] + 5, *grid.origin[1:])
    (tmp_path / "first").mkdir()
    for name, image in (("", blobs(grid)), ("_labels", label_map(grid))):
        write_image(image, tmp_path / "first" / f"fixed{name}.nii.gz")
        moved = Image(image.array, replace(grid, origin=origin))
        write_image(moved, tmp_path / "first" / f"moving{name}.nii.gz")
    return tmp_path


def test_a_real_pair_is_brought_together_by_its_shift_in_voxels_of_the_field(folder: Path) -> None:
    (pairs,) = read_real_pairs(folder, IMAGES, CPU)
    assert pairs.fixed.shape == (1, 1, 20, 24, 28)
    right = measure(Constant(1, 0, 0), pairs, IMAGES.spacing)
    wrong = measure(Constant(-1, 0, 0), pairs, IMAGES.spacing)
    assert right["dice_after"] > 0.97
    assert right["dice_before"] == wrong["dice_before"] < 0.9
    assert wrong["dice_after"] < right["dice_before"]
    assert right["folds"] == 0


def test_the_error_of_the_true_field_is_nothing_and_that_of_none_its_length_in_mm() -> None:
    pairs = pairs_of(3)
    assert pairs.field is not None
    truth = pairs.field

    class Oracle(nn.Module):
        def forward(self, fixed: Tensor, moving: Tensor) -> Tensor:
            return truth

    found = measure(Oracle(), pairs, 2.5)
    assert found["error_mm_after"] == pytest.approx(0, abs=0.01)
    lengths = 2 * 2.5 * truth.square().sum(1).sqrt()
    assert float(lengths.min()) < found["error_mm_before"] < float(lengths.max())
    assert found["dice_after"] > found["dice_before"]


def test_real_pairs_are_measured_while_training(folder: Path, tiny_config: TinyConfig, tmp_path: Path) -> None:
    config = tiny_config(optimisation={"iterations": 1}, validation={"folder": str(folder), "pairs": 0})
    train(config, tmp_path / "run", device="cpu")
    (line,) = (line for line in read_log(tmp_path / "run") if line["group"] == "validation")
    assert {"real_dice_before", "real_dice_after", "real_folds"} <= line.keys()
    assert np.isfinite(line["real_dice_after"])


def test_a_folder_without_pairs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no pairs"):
        read_real_pairs(tmp_path, IMAGES, CPU)
