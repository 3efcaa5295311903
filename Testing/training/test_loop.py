"""Training: the loss falls, a run goes on exactly where it stopped, and many processes learn what one would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save

from DeepRegLib.errors import InputError, TrainingError
from DeepRegLib.networks import PyramidNet, build_network
from DeepRegLib.training import train
from DeepRegLib.training.config import TrainingConfig, config_to_dict
from DeepRegLib.training.export import export
from DeepRegLib.training.journal import LOG, read_log
from DeepRegLib.training.loop import learning_rate
from DeepRegLib.training.state import STATE, TENSORS, checkpoints, read_tensors
from Testing.training.conftest import TinyConfig

ROOT = Path(__file__).resolve().parents[2]
# Sums over a batch are taken in another order.
SAME_CURVE = 1e-3


def curve(run: Path, name: str = "loss") -> list[float]:
    return [line[name] for line in read_log(run) if line["group"] == "train"]


def validation(run: Path) -> dict[str, float]:
    return [line for line in read_log(run) if line["group"] == "validation"][-1]


def test_the_loss_falls_and_held_back_pairs_get_closer(tiny_config: TinyConfig, tmp_path: Path) -> None:
    config = tiny_config(
        optimisation={"iterations": 60, "warmup": 5, "batch": 2},
        record={"log_every": 10, "checkpoint_every": 60},
        validation={"every": 60, "pairs": 6},
    )
    train(config, tmp_path, device="cpu")
    losses, measured = curve(tmp_path), validation(tmp_path)
    assert losses[-1] < 0.6 * losses[0]
    assert measured["error_mm_after"] < 0.85 * measured["error_mm_before"]
    assert measured["dice_after"] > measured["dice_before"] + 0.1
    assert measured["folds"] < 0.01  # a share; what a model proposes is mended where it folds


def test_every_loss_at_once_in_both_directions_gives_numbers(tiny_config: TinyConfig, tmp_path: Path) -> None:
    config = tiny_config(
        sources={"shapes": 1.0, "images": 1.0, "pairs": 1.0, "maps": 1.0},
        losses={"inverse": 0.5, "lncc": 0.1, "mind": 0.1, "adversarial": 0.1},
        optimisation={"iterations": 6, "accumulate": 2},
        record={"log_every": 6, "checkpoint_every": 6},
    )
    train(config, tmp_path, device="cpu")
    (line,) = (line for line in read_log(tmp_path) if line["group"] == "train")
    named = {"loss", "labels", "endpoint", "smoothness", "inverse", "lncc", "mind", "adversarial", "judge", "gradient"}
    assert named <= line.keys()
    assert all(np.isfinite(line[name]) for name in named)


@pytest.mark.parametrize("adversarial", [0.0, 0.1])
def test_a_resumed_run_ends_with_the_weights_of_an_uninterrupted_one(
    adversarial: float, tiny_config: TinyConfig, tmp_path: Path, one_thread: None
) -> None:
    config = tiny_config(losses={"adversarial": adversarial}, sources={"shapes": 1.0})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(config, whole, device="cpu")
    asked = iter([False, False, False, True])
    stopped = train(config, parts, device="cpu", stop=lambda: next(asked))
    assert (stopped.iteration, stopped.stopped) == (4, True)
    ended = train(config, parts, device="cpu", resume=True)
    assert (ended.iteration, ended.stopped) == (6, False)
    expected, found = (read_tensors(checkpoints(run)[-1], "cpu") for run in (whole, parts))
    assert expected.keys() == found.keys()
    assert any(name.startswith("optimiser.") for name in expected)
    for name, tensor in expected.items():
        assert torch.equal(tensor, found[name]), name
    assert curve(whole) == curve(parts)


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(
    tiny_config: TinyConfig, tmp_path: Path, one_thread: None
) -> None:
    config = tiny_config()
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train(config, whole, device="cpu")

    def die(entry: Mapping[str, Any]) -> None:
        if entry["iteration"] == 5:
            raise KeyboardInterrupt  # past the checkpoint after 3 steps, with no chance to write another

    with pytest.raises(KeyboardInterrupt):
        train(config, killed, device="cpu", report=die)
    with (killed / LOG).open("a", encoding="utf-8") as log:
        log.write('{"iteration": 6, "gro')
    (killed / "checkpoints" / ".00000006.partial-1").mkdir()
    assert [path.name for path in checkpoints(killed)] == ["00000003"]
    train(config, killed, device="cpu", resume=True)
    expected, found = (read_tensors(checkpoints(run)[-1], "cpu") for run in (whole, killed))
    assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())
    assert curve(whole) == curve(killed)


def damaged_tensors(folder: Path) -> None:
    content = bytearray((folder / "tensors.safetensors").read_bytes())
    content[-5] ^= 1
    (folder / "tensors.safetensors").write_bytes(content)


def without_optimiser(folder: Path) -> None:
    kept = {name: tensor for name, tensor in read_tensors(folder, "cpu").items() if not name.startswith("optimiser.")}
    content = save(kept)
    (folder / "tensors.safetensors").write_bytes(content)
    table = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    table["tensors_sha256"] = sha256(content).hexdigest()
    (folder / "state.json").write_text(json.dumps(table), encoding="utf-8")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (damaged_tensors, "not as it was written"),
        (without_optimiser, "optimiser"),
        (lambda folder: (folder / "tensors.safetensors").write_bytes(b"half"), "not as it was written"),
        (lambda folder: (folder / "tensors.safetensors").unlink(), "cannot be read"),
        (lambda folder: (folder / "state.json").write_text("{"), "is no checkpoint"),
    ],
)
def test_a_run_goes_on_from_the_checkpoint_before_a_damaged_one_and_says_so(
    damage: Callable[[Path], object],
    told: str,
    tiny_config: TinyConfig,
    tmp_path: Path,
    one_thread: None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    config = tiny_config(optimisation={"iterations": 6})
    train(config, tmp_path, device="cpu")
    whole = curve(tmp_path)
    earlier, last = checkpoints(tmp_path)
    assert [path.name for path in (earlier, last)] == ["00000003", "00000006"]
    damage(last)
    train(config, tmp_path, device="cpu", resume=True)
    assert told in caplog.text
    assert "goes on from the one before, 00000003" in caplog.text
    assert curve(tmp_path) == whole
    read_tensors(checkpoints(tmp_path)[-1], "cpu")
    for folder in checkpoints(tmp_path):
        damage(folder)
    with pytest.raises(InputError, match=told):
        train(config, tmp_path, device="cpu", resume=True)


def test_accumulated_batches_learn_what_a_large_one_does(tiny_config: TinyConfig, tmp_path: Path) -> None:
    for name, batch, accumulate in (("large", 2, 1), ("small", 1, 2)):
        config = tiny_config(optimisation={"batch": batch, "accumulate": accumulate, "iterations": 4})
        train(config, tmp_path / name, device="cpu")
    np.testing.assert_allclose(curve(tmp_path / "small"), curve(tmp_path / "large"), rtol=SAME_CURVE)


PROCESS = """
import json, sys, torch
torch.set_num_threads(1)
from pathlib import Path
from DeepRegLib.training import train
from DeepRegLib.training.config import config_from_dict
train(config_from_dict(json.loads(sys.argv[1])), Path(sys.argv[2]), device="cpu")
"""


def run_processes(config: TrainingConfig, run: Path, count: int, port: int) -> None:
    shared = {**os.environ, "WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    command = [sys.executable, "-c", PROCESS, json.dumps(config_to_dict(config)), str(run)]
    processes = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**shared, "PYTHONPATH": str(ROOT), "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == 0, errors


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this torch has no distributed training")
def test_two_processes_learn_what_one_with_twice_the_batch_does(
    tiny_config: TinyConfig, tmp_path: Path, free_port: int
) -> None:
    config = tiny_config(
        optimisation={"accumulate": 2, "iterations": 4}, losses={"adversarial": 0.1}, sources={"shapes": 1.0}
    )
    run_processes(config, tmp_path / "two", 2, free_port)
    doubled = replace(config, optimisation=replace(config.optimisation, batch=2))
    train(doubled, tmp_path / "one", device="cpu")
    for name in ("loss", "gradient", "judge"):
        np.testing.assert_allclose(
            curve(tmp_path / "two", name), curve(tmp_path / "one", name), rtol=SAME_CURVE, atol=1e-6
        )
    assert validation(tmp_path / "two")["dice_after"] == pytest.approx(
        validation(tmp_path / "one")["dice_after"], abs=1e-3
    )


def test_a_folder_with_a_run_is_not_overwritten_and_one_without_is_not_resumed(
    tiny_config: TinyConfig, tmp_path: Path
) -> None:
    config = tiny_config(optimisation={"iterations": 1})
    with pytest.raises(InputError, match="no checkpoint"):
        train(config, tmp_path, device="cpu", resume=True)
    train(config, tmp_path, device="cpu")
    with pytest.raises(InputError, match="holds a run"):
        train(config, tmp_path, device="cpu")
    other = replace(config, losses=replace(config.losses, labels=0.5))
    with pytest.raises(InputError, match=r"losses\.labels"):
        train(other, tmp_path, device="cpu", resume=True)


def test_a_damaged_checkpoint_is_refused_in_a_sentence(tiny_config: TinyConfig, tmp_path: Path) -> None:
    config = tiny_config(optimisation={"iterations": 1})
    checkpoint = train(config, tmp_path, device="cpu").checkpoint
    (checkpoint / TENSORS).write_bytes((checkpoint / TENSORS).read_bytes()[:100])
    with pytest.raises(InputError, match="not as it was written"):
        train(config, tmp_path, device="cpu", resume=True)
    (checkpoint / STATE).write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="is no checkpoint"):
        export(checkpoint, tmp_path / "bundle")


def test_only_the_latest_checkpoints_stay(tiny_config: TinyConfig, tmp_path: Path) -> None:
    config = tiny_config(record={"checkpoint_every": 1, "keep": 2}, optimisation={"iterations": 4})
    train(config, tmp_path, device="cpu")
    assert [path.name for path in checkpoints(tmp_path)] == ["00000003", "00000004"]


def test_a_loss_that_is_no_number_ends_the_run_and_spares_the_checkpoint(
    tiny_config: TinyConfig, tmp_path: Path
) -> None:
    class Broken(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = build_network("pyramid", {"channels": [8, 8]})
            self.steps = 0

        def forward(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
            self.steps += 1
            field: torch.Tensor = self.inner(fixed, moving)
            return field * float("nan") if self.steps > 4 else field

    config = tiny_config()
    with pytest.raises(TrainingError, match="iteration 5"):
        train(config, tmp_path, device="cpu", build=lambda *_: Broken())
    (left,) = checkpoints(tmp_path)
    assert left.name == "00000003"
    assert all(bool(torch.isfinite(tensor).all()) for tensor in read_tensors(left, "cpu").values())


def test_torch_s_random_numbers_are_left_alone(tiny_config: TinyConfig, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    train(tiny_config(optimisation={"iterations": 1}), tmp_path, device="cpu")
    assert torch.equal(torch.rand(1), expected)


def test_the_first_steps_are_taken_on_a_smaller_grid(tiny_config: TinyConfig, tmp_path: Path) -> None:
    shapes = []

    class Watching(PyramidNet):
        def forward(self, fixed: torch.Tensor, moving: torch.Tensor) -> torch.Tensor:
            shapes.append(tuple(fixed.shape[2:]))
            return super().forward(fixed, moving)

    config = tiny_config(images={"early": 0.5, "early_size": [16, 24, 16]}, optimisation={"iterations": 4})
    train(config, tmp_path, device="cpu", build=lambda *_: Watching(channels=(8, 8)))
    assert shapes[:4] == [(16, 24, 16)] * 2 + [(24, 24, 24)] * 2
    assert set(shapes[4:]) == {(24, 24, 24)}  # validation


def test_a_grid_that_does_not_suit_the_network_is_refused(tiny_config: TinyConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"images\.size"):
        train(tiny_config(images={"size": [24, 24, 28]}), tmp_path, device="cpu")


def test_the_rate_rises_and_falls(tiny_config: TinyConfig) -> None:
    optimisation = replace(tiny_config().optimisation, iterations=100, warmup=10, rate=1.0)
    rates = [learning_rate(iteration, optimisation) for iteration in range(100)]
    assert np.argmax(rates) == 10
    assert rates[10] == pytest.approx(1)
    assert rates[0] == pytest.approx(1 / 11)
    assert (np.diff(rates[:11]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert rates[55] == pytest.approx(0.505, abs=0.01)
    assert 0.01 <= rates[-1] < 0.012
