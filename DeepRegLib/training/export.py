"""A trained network as a model bundle."""

from __future__ import annotations

from pathlib import Path

from DeepRegLib.errors import InputError
from DeepRegLib.models import Manifest, ModelBundle, ModelInput, save_bundle
from DeepRegLib.networks import build_network
from DeepRegLib.training.config import MOTION, PAIRS, SEGMENTATION, TrainingConfig
from DeepRegLib.training.loop import Build
from DeepRegLib.training.state import STATE, checkpoints, part, read_config, read_tensors


def export(checkpoint: str | Path, folder: str | Path, *, build: Build = build_network) -> ModelBundle:
    """Write the averaged weights of a checkpoint as a bundle, in float16.

    Parameters
    ----------
    checkpoint
        Folder of a checkpoint, or of a run, whose latest is taken.
    folder
        Folder of the bundle: not there yet, or empty.
    build
        Makes the network of an architecture and its arguments.

    Raises
    ------
    InputError
        If there is no checkpoint, or it is damaged.
    ModelError
        If the weights do not fit the network, or the manifest cannot be used.
    OutputError
        If the bundle cannot be written.
    """
    source = _checkpoint(Path(checkpoint))
    config, iteration = read_config(source)
    weights = part(read_tensors(source, "cpu"), "average.")
    return save_bundle(folder, _manifest(config, iteration), weights, build=build)


def _checkpoint(path: Path) -> Path:
    if (path / STATE).is_file():
        return path
    found = checkpoints(path)
    if not found:
        raise InputError(f"{path} is neither a checkpoint nor a run.", "Give a folder that `deepreg train` wrote.")
    return found[-1]


def _manifest(config: TrainingConfig, iteration: int) -> Manifest:
    words = config.bundle
    return Manifest(
        name=config.name,
        version=words.version,
        task=_task(config),
        architecture=config.network.architecture,
        arguments=config.network_arguments,
        input=_input(config),
        trained_on=f"{words.trained_on} ({iteration} iterations.)",
        licence=words.licence,
        intended_use=words.intended_use,
        limits=words.limits,
        segments=config.segmentation.segments() if config.task == SEGMENTATION else (),
    )


def _task(config: TrainingConfig) -> str:
    """Return what the manifest calls the task: that of the configuration, but for pairs."""
    return config.task if config.task != PAIRS else "registration"


def _input(config: TrainingConfig) -> ModelInput:
    if config.bundle.any_scale and config.task == PAIRS:
        return ModelInput(across=max(config.images.size))
    if config.task == MOTION:
        return ModelInput(interval=config.motion.interval)
    size = None if config.task == PAIRS else config.images.size
    return ModelInput(spacing=config.images.spacing, size=size)
