"""The training loop of every task: steps, log, validation, checkpoints; stopped and resumed at any step."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from DeepRegLib.devices import memory_errors_explained
from DeepRegLib.errors import InputError, MemoryShortageError, TrainingError
from DeepRegLib.files import make_folder
from DeepRegLib.models import find_model, load_bundle, load_network
from DeepRegLib.monitoring import Cancel
from DeepRegLib.networks import build_network
from DeepRegLib.training.config import Optimisation, TrainingConfig, check_resumable
from DeepRegLib.training.journal import Journal
from DeepRegLib.training.learner import Learner
from DeepRegLib.training.processes import Processes, together
from DeepRegLib.training.randomness import derived_seed
from DeepRegLib.training.state import (
    DamagedCheckpointError,
    TrainingState,
    checkpoints,
    load_checkpoint,
    new_state,
    read_config,
    save_checkpoint,
)
from DeepRegLib.training.tasks import judge_of, task_of

logger = logging.getLogger(__name__)

FINAL_RATE = 0.01
# Several processes agree on stopping every so many steps, since asking each other takes time.
STEPS_TO_AGREE = 10

Build = Callable[[str, Mapping[str, Any]], nn.Module]
# Called with each line of the log.
Report = Callable[[Mapping[str, Any]], None]


@dataclass(frozen=True)
class Outcome:
    """How a training run ended.

    Parameters
    ----------
    iteration
        Steps done.
    stopped
        Whether it was stopped before its end.
    checkpoint
        The latest checkpoint.
    """

    iteration: int
    stopped: bool
    checkpoint: Path


def silent(entry: Mapping[str, Any]) -> None:
    """Report for those who do not listen."""
    del entry


def train(
    config: TrainingConfig,
    run: str | Path,
    *,
    resume: bool = False,
    device: str | None = None,
    report: Report = silent,
    stop: Cancel = lambda: False,
    build: Build = build_network,
) -> Outcome:
    """Train a network.

    Parameters
    ----------
    config
        What to train, on what, how.
    run
        Folder of the run: gets ``log.jsonl``, ``checkpoints/`` and, with TensorBoard installed, ``tensorboard/``.
    resume
        Go on from the latest checkpoint in the folder, exactly as if the run had not been interrupted.
    device
        Where to compute; None for the fastest device.
    report
        Called with each line of the log.
    stop
        Asked after each step; true ends the run with a checkpoint.
    build
        Makes the network of an architecture and its arguments.

    Raises
    ------
    InputError
        If the folder holds a run and `resume` is false, or holds none or another one and it is true; if data are
        missing.
    ModelError
        If the network cannot be built.
    TrainingError
        If the loss is no number any more.
    MemoryShortageError
        If the memory does not suffice.
    OutputError
        If the folder cannot be written.
    """
    folder = make_folder(run)
    earlier = _earlier(folder, resume)
    with together(device) as processes, _training_memory(processes.device), _own_random_numbers(processes.device):
        torch.manual_seed(derived_seed(config.optimisation.seed, "weights"))
        network = _network(config, build).to(processes.device)
        judge = judge_of(config)
        judge = None if judge is None else judge.to(processes.device)
        state = new_state(network, judge, config.optimisation)
        if earlier:
            _go_on(state, config, earlier, processes.device)
        return _Run(config, folder, state, processes, report).until(stop)


class _Run:
    """One process's part in a run."""

    def __init__(
        self, config: TrainingConfig, folder: Path, state: TrainingState, processes: Processes, report: Report
    ) -> None:
        self._config, self._folder, self._state, self._processes = config, folder, state, processes
        self._report = report
        self._task = task_of(config, processes)
        judge = None if state.judge is None else processes.parallel(state.judge)
        self._learner = Learner(processes.parallel(state.network), judge, processes, config.optimisation)
        self._journal = Journal(folder, state.iteration) if processes.is_first else None
        self._since = (time.perf_counter(), state.iteration)

    def until(self, stop: Cancel) -> Outcome:
        """Train to the end, or until asked to stop."""
        state, record, validation = self._state, self._config.record, self._config.validation
        last = self._config.optimisation.iterations
        stopped, written = False, None
        try:
            while state.iteration < last and not stopped:
                self._step()
                done = state.iteration
                alone = self._processes.count == 1
                stopped = (alone or done % STEPS_TO_AGREE == 0) and self._processes.any(stop()) and done < last
                leaving = stopped or done == last
                if done % record.log_every == 0 or leaving or done % record.checkpoint_every == 0:
                    self._log()
                if done % validation.every == 0 or done == last:
                    self._validate()
                if done % record.checkpoint_every == 0 or leaving:
                    written = self._save()
        finally:
            if self._journal is not None:
                self._journal.close()
        return Outcome(state.iteration, stopped, written or checkpoints(self._folder)[-1])

    def _step(self) -> None:
        state, optimisation = self._state, self._config.optimisation
        # Layers that draw random numbers draw the same ones after the run was resumed.
        torch.manual_seed(derived_seed(optimisation.seed, "layers", state.iteration, self._processes.rank))
        rate = learning_rate(state.iteration, optimisation)
        optimisers = [state.optimiser] if state.judge_optimiser is None else [state.optimiser, state.judge_optimiser]
        for optimiser in optimisers:
            optimiser.param_groups[0]["lr"] = rate
            optimiser.zero_grad(set_to_none=True)
        size = self._config.size_at(state.iteration)
        for number in range(optimisation.accumulate):
            with _accumulating(number < optimisation.accumulate - 1, self._learner.network, self._learner.judge):
                self._task.learn(self._learner, state.iteration, self._numbers(number), size)
        norm = nn.utils.clip_grad_norm_(state.network.parameters(), optimisation.clip)
        self._learner.add("gradient", norm)
        for optimiser in optimisers:
            optimiser.step()
        state.iteration += 1
        state.follow(optimisation.average)

    def _numbers(self, accumulated: int) -> range:
        """Return the numbers of a batch's samples: those of a step follow each other over batches and processes."""
        optimisation, processes = self._config.optimisation, self._processes
        batch = self._state.iteration * optimisation.accumulate + accumulated
        first = (batch * processes.count + processes.rank) * optimisation.batch
        return range(first, first + optimisation.batch)

    def _log(self) -> None:
        values = self._learner.means()
        if not values:
            return
        iteration = self._state.iteration
        if not math.isfinite(values["loss"]) or not math.isfinite(values["gradient"]):
            raise TrainingError(
                f"The loss is {values['loss']} and its gradient {values['gradient']} at iteration {iteration}.",
                "Lower optimisation.rate; an export of the latest checkpoint can be the network.start of another run.",
            )
        now = time.perf_counter()
        values["seconds"] = (now - self._since[0]) / max(iteration - self._since[1], 1)
        values["rate"] = learning_rate(iteration - 1, self._config.optimisation)
        self._since = (now, iteration)
        self._write("train", values)

    def _validate(self) -> None:
        values = self._task.validate(self._state.average) if self._processes.is_first else {}
        if values:
            self._write("validation", values)
        self._processes.wait()
        self._since = (time.perf_counter(), self._state.iteration)

    def _write(self, group: str, values: Mapping[str, float]) -> None:
        if self._journal is not None:
            self._report(self._journal.write(self._state.iteration, group, values))

    def _save(self) -> Path | None:
        written = save_checkpoint(self._state, self._config, self._folder) if self._processes.is_first else None
        self._processes.wait()
        return written


def learning_rate(iteration: int, optimisation: Optimisation) -> float:
    """Return the rate of a step: a linear rise, then a cosine down to 1 %."""
    rise = min(1.0, (iteration + 1) / (optimisation.warmup + 1))
    left = max(optimisation.iterations - optimisation.warmup, 1)
    share = min(max(iteration - optimisation.warmup, 0) / left, 1.0)
    return optimisation.rate * rise * (FINAL_RATE + (1 - FINAL_RATE) * (1 + math.cos(math.pi * share)) / 2)


def _earlier(folder: Path, resume: bool) -> list[Path]:
    """Return the checkpoints to go on from, the latest first; none for a new run."""
    found = checkpoints(folder)
    if not resume and found:
        raise InputError(f"{folder} holds a run already.", "Give --resume to go on with it, or choose another folder.")
    if resume and not found:
        raise InputError(f"{folder} holds no checkpoint to go on from.", "Leave --resume out, or check the folder.")
    return found[::-1]


def _go_on(state: TrainingState, config: TrainingConfig, earlier: Sequence[Path], device: torch.device) -> None:
    """Bring a new state to the latest checkpoint that is whole, and say so if it is not the last one."""
    for number, checkpoint in enumerate(earlier):
        damage = _damage(state, config, checkpoint, device)
        if damage is None:
            return
        if number + 1 == len(earlier):
            raise damage
        logger.warning("%s The run goes on from the one before, %s.", damage.message, earlier[number + 1].name)


def _damage(
    state: TrainingState, config: TrainingConfig, checkpoint: Path, device: torch.device
) -> DamagedCheckpointError | None:
    """Load a checkpoint, or return what is wrong with it."""
    try:
        check_resumable(config, read_config(checkpoint)[0])
        load_checkpoint(state, checkpoint, device)
    except DamagedCheckpointError as error:
        return error
    return None


def _network(config: TrainingConfig, build: Build) -> nn.Module:
    wanted, images, arguments = config.network, config.images, config.network_arguments
    network = build(wanted.architecture, arguments)
    multiple = getattr(network, "multiple", 1)
    for key, size in (("size", images.size), ("early_size", images.early_size if images.early > 0 else ())):
        if any(n % multiple for n in size):
            raise InputError(f"images.{key} is {size}.", f"Give multiples of {multiple} for this network.")
    if wanted.start:
        network.load_state_dict(_starting_weights(wanted.start, wanted.architecture, network, build))
    return network


def _starting_weights(start: str, architecture: str, network: nn.Module, build: Build) -> dict[str, Tensor]:
    """Return a model's weights for a network that may leave out levels of it, but has nothing that it lacks."""
    bundle = load_bundle(find_model(start))
    known = load_network(bundle, "cpu", build=build).state_dict()
    fits = {name: known[name] for name, own in network.state_dict().items() if _alike(known.get(name), own)}
    if bundle.manifest.architecture != architecture or len(fits) < len(network.state_dict()):
        raise InputError(
            f"The network of {start} is {bundle.manifest.architecture} with {bundle.manifest.arguments}.",
            "Give network.architecture and network.arguments like that, or fewer of its levels.",
        )
    return fits


def _alike(known: Tensor | None, own: Tensor) -> bool:
    return known is not None and known.shape == own.shape


@contextmanager
def _accumulating(more: bool, *modules: nn.Module | None) -> Iterator[None]:
    """Do not average gradients over processes while more batches of the same step follow."""
    with ExitStack() as stack:
        for module in modules:
            if more and isinstance(module, DistributedDataParallel):
                stack.enter_context(module.no_sync())
        yield


@contextmanager
def _own_random_numbers(device: torch.device) -> Iterator[None]:
    """Leave torch's random numbers as they were."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        yield


@contextmanager
def _training_memory(device: torch.device) -> Iterator[None]:
    try:
        with memory_errors_explained(device):
            yield
    except MemoryShortageError as error:
        hint = "Give a smaller images.size or optimisation.batch; optimisation.accumulate makes up for the latter."
        raise MemoryShortageError(error.message, hint, error.device) from error
