"""What a training run consists of between two steps, and its checkpoints: safetensors and JSON, never pickle."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from DeepRegLib.errors import InputError
from DeepRegLib.files import write_folder, write_text
from DeepRegLib.models.bundle import one_line
from DeepRegLib.training.config import Optimisation, TrainingConfig, config_from_dict, config_to_dict
from DeepRegLib.training.judge import Judge

MOMENTS = {"step", "exp_avg", "exp_avg_sq"}
EARLIER = "Use an earlier checkpoint."
FORMAT = 1
FOLDER, TENSORS, STATE = "checkpoints", "tensors.safetensors", "state.json"
DIGITS = 8
# The moving average begins as the plain mean of the few weights there are.
AVERAGE_START = 10


class DamagedCheckpointError(InputError):
    """A checkpoint cannot be used; one before it may be whole."""


@dataclass(eq=False)
class TrainingState:
    """Everything that changes from step to step; random numbers are a function of the iteration.

    Parameters
    ----------
    network
        What is trained.
    average
        The same with the moving average of its weights.
    optimiser
        Of the network.
    judge, judge_optimiser
        The second network of the adversarial loss, or None.
    iteration
        Steps done.
    """

    network: nn.Module
    average: nn.Module
    optimiser: torch.optim.Optimizer
    judge: Judge | None
    judge_optimiser: torch.optim.Optimizer | None
    iteration: int = 0

    @torch.no_grad()
    def follow(self, decay: float) -> None:
        """Move the average a step towards the weights."""
        decay = min(decay, (1 + self.iteration) / (AVERAGE_START + self.iteration))
        for mean, value in zip(self.average.parameters(), self.network.parameters(), strict=True):
            mean.lerp_(value, 1 - decay)
        for kept, buffer in zip(self.average.buffers(), self.network.buffers(), strict=True):
            kept.copy_(buffer)


def new_state(network: nn.Module, judge: Judge | None, optimisation: Optimisation) -> TrainingState:
    """Return the state before the first step, of networks that are on their device."""
    average = copy.deepcopy(network).eval().requires_grad_(False)
    judge_optimiser = None if judge is None else _optimiser(judge, optimisation)
    return TrainingState(network, average, _optimiser(network, optimisation), judge, judge_optimiser)


def _optimiser(module: nn.Module, optimisation: Optimisation) -> torch.optim.Optimizer:
    return torch.optim.AdamW(module.parameters(), lr=optimisation.rate, weight_decay=optimisation.weight_decay)


def save_checkpoint(state: TrainingState, config: TrainingConfig, run: Path) -> Path:
    """Write a checkpoint into the folder of a run, whole or not at all, and remove those that are too many.

    Returns
    -------
    Path
        Its folder.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    from safetensors.torch import save

    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(state)})
    table = {
        "format": FORMAT,
        "iteration": state.iteration,
        "tensors_sha256": hashlib.sha256(content).hexdigest(),
        "config": config_to_dict(config),
    }

    def write(folder: Path) -> None:
        (folder / TENSORS).write_bytes(content)
        write_text(folder / STATE, json.dumps(table, indent=1) + "\n")

    folder = run / FOLDER / f"{state.iteration:0{DIGITS}d}"
    if folder.exists():  # left by a run that was resumed from an earlier one
        shutil.rmtree(folder)
    write_folder(folder, write)
    for old in checkpoints(run)[: -config.record.keep]:
        shutil.rmtree(old, ignore_errors=True)
    return folder


def checkpoints(run: Path) -> list[Path]:
    """Return the folders of a run's checkpoints, oldest first."""
    return sorted(path for path in (run / FOLDER).glob("[0-9]" * DIGITS) if (path / STATE).is_file())


def read_config(checkpoint: Path) -> tuple[TrainingConfig, int]:
    """Return the configuration and the iteration of a checkpoint.

    Raises
    ------
    InputError
        If it is none.
    """
    table = _read_table(checkpoint)
    return config_from_dict(table["config"], str(checkpoint / STATE)), table["iteration"]


def read_tensors(checkpoint: Path, device: torch.device | str) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name.

    Raises
    ------
    DamagedCheckpointError
        If they are missing, damaged or not those that were written.
    """
    import safetensors
    from safetensors.torch import load

    try:
        content = (checkpoint / TENSORS).read_bytes()
        # Checkpoints of earlier versions have no hash.
        if _read_table(checkpoint).get("tensors_sha256", "") not in ("", hashlib.sha256(content).hexdigest()):
            raise DamagedCheckpointError(f"{checkpoint / TENSORS} is not as it was written.", EARLIER)
        return {name: tensor.to(device) for name, tensor in load(content).items()}
    except (OSError, safetensors.SafetensorError) as error:
        raise DamagedCheckpointError(f"{checkpoint / TENSORS} cannot be read: {one_line(error)}.", EARLIER) from error


def load_checkpoint(state: TrainingState, checkpoint: Path, device: torch.device) -> None:
    """Bring a new state to where a checkpoint was written.

    Raises
    ------
    DamagedCheckpointError
        If the checkpoint is damaged or lacks something; the state is as it was.
    InputError
        If it is of other networks.
    """
    tensors = read_tensors(checkpoint, device)
    iteration = read_config(checkpoint)[1]
    wanted = {name: tuple(tensor.shape) for name, tensor in _tensors(state, modules_only=True)}
    for name, shape in wanted.items():
        if name not in tensors or tuple(tensors[name].shape) != shape:
            raise InputError(f"{checkpoint} does not fit the network: {name} differs.", "Train into another folder.")
    moments = {prefix: _moments(part(tensors, prefix)) for prefix, _ in _optimisers(state)}
    for prefix, optimiser in _optimisers(state):
        if iteration > 0 and not _is_complete(moments[prefix], optimiser):
            raise DamagedCheckpointError(
                f"{checkpoint} lacks what the optimiser knew ({prefix}*), without which the run would go on otherwise.",
                EARLIER,
            )
    for prefix, module in _modules(state):
        module.load_state_dict(part(tensors, prefix))
    for prefix, optimiser in _optimisers(state):
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": moments[prefix], "param_groups": groups})
    state.iteration = iteration


def _read_table(checkpoint: Path) -> dict[str, Any]:
    path = checkpoint / STATE
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        number, iteration = int(table["format"]), int(table["iteration"])
        found = {**table, "iteration": iteration, "config": table["config"]}
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DamagedCheckpointError(
            f"{checkpoint} is no checkpoint: {one_line(error)}.", "Give the folder of a run."
        ) from error
    if number != FORMAT:
        raise InputError(f"{checkpoint} has the format {number}, not {FORMAT}.", "Use the DeepReg that wrote it.")
    return found


def part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, by the rest of their names."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _modules(state: TrainingState) -> Iterator[tuple[str, nn.Module]]:
    yield "network.", state.network
    yield "average.", state.average
    if state.judge is not None:
        yield "judge.", state.judge


def _optimisers(state: TrainingState) -> Iterator[tuple[str, torch.optim.Optimizer]]:
    yield "optimiser.", state.optimiser
    if state.judge_optimiser is not None:
        yield "judge_optimiser.", state.judge_optimiser


def _tensors(state: TrainingState, modules_only: bool = False) -> Iterator[tuple[str, Tensor]]:
    for prefix, module in _modules(state):
        yield from ((prefix + name, tensor) for name, tensor in module.state_dict().items())
    if modules_only:
        return
    for prefix, optimiser in _optimisers(state):
        for number, moments in optimiser.state_dict()["state"].items():
            yield from ((f"{prefix}{number}.{name}", tensor) for name, tensor in moments.items())


def _moments(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Return what an optimiser knew of each parameter, by its number."""
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        if number.isdecimal():
            # AdamW counts its steps on the CPU.
            moments.setdefault(int(number), {})[key] = tensor.cpu() if key == "step" else tensor
    return moments


def _is_complete(moments: dict[int, dict[str, Tensor]], optimiser: torch.optim.Optimizer) -> bool:
    """Tell whether moments are whole; a parameter that never had a gradient has none."""
    parameters = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    return bool(moments) and all(
        number < len(parameters)
        and known.keys() == MOMENTS
        and all(known[name].shape == parameters[number].shape for name in MOMENTS - {"step"})
        for number, known in moments.items()
    )
