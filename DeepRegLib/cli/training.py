"""`deepreg train` and `deepreg export`."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from DeepRegLib.cli.progress import interruptible
from DeepRegLib.cli.session import INTERRUPTED, Json, Session, Verbose, session
from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from DeepRegLib.training import TrainingConfig

SHOWN = (
    "loss",
    "error_mm_before",
    "error_mm_after",
    "dice_before",
    "dice_after",
    "real_dice_before",
    "real_dice_after",
)


def train(
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the run: its log and its checkpoints.")],
    config: Annotated[
        str | None,
        typer.Argument(metavar="[CONFIG]", help="TOML file, or the name of a configuration that comes with DeepReg."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--from", metavar="MODEL", help="In place of CONFIG: a model to adapt to scans of your own."),
    ] = None,
    unlabelled: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="With --from: two or more scans of one modality.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in the folder.")] = False,
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, mps; by default the fastest.")] = None,
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Train a network on synthetic pairs, your own scans, or both; see docs/training.md.

    With --from and --unlabelled, a model for registration is adapted to your scans without labels.

    Ctrl-C ends it with a checkpoint, from which --resume goes on. On several GPUs:
    torchrun --nproc-per-node 4 -m DeepRegLib train CONFIG -o RUN
    """
    with session(json_output, verbose) as screen:
        _need_safetensors()
        from DeepRegLib.training import is_first_process
        from DeepRegLib.training import train as run_training

        chosen = _chosen(config, model, unlabelled)
        with _stoppable(screen) as stop:
            outcome = run_training(chosen, output, resume=resume, device=device, report=_reporter(screen), stop=stop)
        if not is_first_process():
            return
        screen.emit({"iteration": outcome.iteration, "stopped": outcome.stopped, "checkpoint": str(outcome.checkpoint)})
        how = "Stopped" if outcome.stopped else "Done"
        screen.say(f"{how} after {outcome.iteration} iterations. Checkpoint: {outcome.checkpoint}")
        if outcome.stopped:
            raise typer.Exit(INTERRUPTED)


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="Folder of a checkpoint, or of a run, whose latest is taken.")
    ],
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of the model bundle, not there yet.")],
    json_output: Json = False,
    verbose: Verbose = False,
) -> None:
    """Write a trained network as a model bundle, which recipes can name."""
    with session(json_output, verbose) as screen:
        _need_safetensors()
        from DeepRegLib.models.manifest import manifest_to_dict
        from DeepRegLib.training import export as run_export

        bundle = run_export(checkpoint, folder)
        screen.emit(manifest_to_dict(bundle.manifest))
        screen.say(f"Written to {folder}: {bundle.manifest.name}, {bundle.manifest.parameters} parameters.")


def _chosen(config: str | None, model: str | None, unlabelled: Path | None) -> TrainingConfig:
    """Return the configuration that is named, or the one that adapts a model to scans."""
    from DeepRegLib.training import adaptation, load_config

    if config is not None and model is None and unlabelled is None:
        return load_config(config)
    if config is None and model is not None and unlabelled is not None:
        return adaptation(model, unlabelled)
    raise InputError("What to train is not clear.", "Give a CONFIG, or both --from MODEL and --unlabelled FOLDER.")


def _need_safetensors() -> None:
    """Say at once, not at the first checkpoint, that the extra is missing."""
    if find_spec("safetensors") is None:
        raise InputError("Training needs safetensors.", 'Install it: pip install "slicer-deepreg[train]"')


@contextmanager
def _stoppable(screen: Session) -> Iterator[Callable[[], bool]]:
    """Take SIGTERM, by which schedulers and `torchrun` end a process, for a request to stop as well."""
    with interruptible(screen) as interrupted:
        if threading.current_thread() is not threading.main_thread():
            yield interrupted
            return
        terminated = threading.Event()
        previous = signal.signal(signal.SIGTERM, lambda *_: terminated.set())
        try:
            yield lambda: interrupted() or terminated.is_set()
        finally:
            signal.signal(signal.SIGTERM, previous)


def _reporter(screen: Session) -> Callable[[Mapping[str, Any]], None]:
    """Print a line of the log for a person."""

    def report(entry: Mapping[str, Any]) -> None:
        words = [f"{name.replace('_', ' ')} {entry[name]:.4g}" for name in SHOWN if name in entry]
        if "seconds" in entry:
            words.append(f"{entry['seconds']:.2f} s a step")
        screen.note(f"{entry['iteration']:>7} {entry['group']:<10} {', '.join(words)}")

    return report
