"""Where a command computes: in this process, or in a worker that ends with it."""

from __future__ import annotations

import os
import shlex
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from DeepRegLib.cli.progress import Reporter, interruptible
from DeepRegLib.errors import CancelledError, InputError

if TYPE_CHECKING:
    from DeepRegLib.cli.session import Session
    from DeepRegLib.engine.task import Task

LOCAL = "local"

Engine = Annotated[
    str | None,
    typer.Option(
        metavar="COMMAND",
        help='Run in a worker process started by this command, such as "ssh host python3 -m '
        'DeepRegLib.engine.worker", or by "local"; by default in this process.',
    ),
]
Asked = TypeVar("Asked")
Found = TypeVar("Found")


def compute(task: Task[Asked, Found], asked: Asked, engine: str | None, screen: Session, report: Reporter) -> Found:
    """Do a task in this process, or in a worker.

    Parameters
    ----------
    task, asked
        What is to be done.
    engine
        The worker's command, `LOCAL`, or None for this process.
    screen
        Of the command.
    report
        Told how far it is.

    Raises
    ------
    CancelledError
        If the user stopped it.
    InputError
        If the engine's command cannot be read.
    """
    with interruptible(screen) as cancel:
        if cancel():
            raise CancelledError
        if engine is None:
            return task.run(asked, report, cancel)
        from DeepRegLib.engine.client import subprocess_client

        report("engine", 0.0)
        client = subprocess_client(_words(engine), on_log=screen.note if screen.verbose else None)
        try:
            return client.run(task, asked, progress=report, cancel=cancel)
        finally:
            client.close()


def _words(engine: str) -> list[str] | None:
    """Return the words of an engine's command; None for that of this Python."""
    if engine == LOCAL:
        return None
    try:
        # A backslash is a part of a path on Windows, as it is in its own shell.
        words = shlex.split(engine.replace("\\", "\\\\") if os.name == "nt" else engine)
    except ValueError as error:
        raise InputError(f"The engine's command cannot be read ({error}).", "Check its quotation marks.") from error
    if not words:
        raise InputError("The engine's command is empty.", f'Give a command, or "{LOCAL}".')
    return words
