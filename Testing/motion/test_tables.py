"""The scores of a series' folder, and a training on them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.errors import InputError
from DeepRegLib.motion.tables import SCORES, read_collection, read_scores, scores_as_csv
from DeepRegLib.training import train
from DeepRegLib.training.config import TrainingConfig, config_from_dict
from Testing.motion.motions import amounts


def written(folder: Path, unit: str, times: list[float]) -> Path:
    """Write what a training reads of a series' folder."""
    folder.mkdir(parents=True)
    (folder / "series.json").write_text(json.dumps({"unit": unit}), encoding="utf-8")
    (folder / SCORES).write_text(scores_as_csv(times, amounts(len(times), 0.4)), encoding="utf-8")
    return folder


def config_of(folder: Path) -> TrainingConfig:
    """Return a training of seconds on the series of a folder."""
    return config_from_dict(
        {
            "name": "mine",
            "task": "motion",
            "network": {"architecture": "motion", "arguments": {"hidden": 8, "ahead": 2, "gated": True}},
            "sources": {"shapes": 0.0, "series": 1.0, "folder": str(folder)},
            "motion": {"interval": 0.4, "seen": 12},
            "optimisation": {"iterations": 60, "batch": 8, "rate": 2e-2, "warmup": 5, "average": 0.8},
            "validation": {"every": 60, "pairs": 32},
        }
    )


def test_scores_come_back(tmp_path: Path) -> None:
    found = read_scores(written(tmp_path / "one", "s", [0.4 * n for n in range(30)]))
    np.testing.assert_allclose(found.scores, amounts(30, 0.4), atol=1e-4)
    assert (found.name, found.unit, found.times[-1]) == ("one", "s", pytest.approx(11.6))


def test_a_network_learns_from_series_in_seconds_and_in_phases(tmp_path: Path) -> None:
    written(tmp_path / "series" / "one", "s", [0.4 * n for n in range(40)])
    written(tmp_path / "series" / "two", "%", [10.0 * n for n in range(10)])
    lines: list[dict[str, float]] = []
    train(
        config_of(tmp_path / "series"), tmp_path / "run", device="cpu", report=lambda entry: lines.append(dict(entry))
    )
    assert lines[-1]["error_mm_after"] < lines[-1]["error_mm_before"]


@pytest.mark.parametrize(
    ("unit", "times", "words"),
    [
        ("frame", [0.0, 1.0, 2.0, 3.0], "neither seconds nor phases"),
        ("s", [0.0, 1.0, 2.0], "3 frames"),
        ("s", [0.0, 2.0, 1.0, 3.0], "damaged"),
        ("s", [0.0, float("nan"), 1.0, 3.0], "damaged"),
    ],
)
def test_what_is_no_motion_over_time_is_refused(tmp_path: Path, unit: str, times: list[float], words: str) -> None:
    folder = written(tmp_path / "series" / "one", unit, times)
    with pytest.raises(InputError, match=words):
        read_scores(folder)


def test_a_folder_without_series_and_scores_of_an_older_one_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder of a series"):
        read_collection(tmp_path)
    (written(tmp_path / "one", "s", [0.0, 1.0, 2.0, 3.0]) / SCORES).unlink()
    with pytest.raises(InputError, match="not there or damaged"):
        read_collection(tmp_path)
