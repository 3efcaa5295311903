"""What a batch system is asked for, and the script of an array job for sites whose nodes have no Dask."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from DeepRegLib.errors import InputError

KINDS = ("slurm", "pbs", "lsf", "sge")
MOST_TASKS = 1000  # Slurm's own limit is 1001, unless a site has raised it
# What a directive may hold: no line break, which would begin another line of the script.
PLAIN = re.compile(r"[^\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Queue:
    """What a batch system is asked for.

    Parameters
    ----------
    kind
        One of `KINDS`.
    jobs
        How many run at a time.
    partition
        Or queue; "" for the site's own.
    minutes
        A job may run.
    cores, memory, gpus
        Of each job; memory in GB.
    extra
        Further directives, as the batch system writes them.
    """

    kind: str
    jobs: int = 1
    partition: str = ""
    minutes: float = 60.0
    cores: int = 1
    memory: int = 4
    gpus: int = 0
    extra: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check the values.

        Raises
        ------
        InputError
            If one cannot be.
        """
        for name in ("jobs", "cores", "memory"):
            if getattr(self, name) < 1:
                raise InputError(
                    f"--{name.replace('memory', 'job-memory')} is {getattr(self, name)}.", "Give 1 or more."
                )
        if not 1 <= self.minutes < 1e6:
            raise InputError(f"--time is {self.minutes:g} minutes.", "Give 1 minute or more.")
        if self.kind == "sge" and self.gpus and not self.extra:
            raise InputError(
                "Each site of Grid Engine names graphics cards in its own way.", "Add it: --job-option '-l gpu=1'."
            )
        for text in (self.partition, *self.extra):
            if text and not PLAIN.fullmatch(text):
                raise InputError(f"{text!r} cannot stand in a job's script.", "Leave out line breaks.")


def array_script(queue: Queue, count: int, words: Sequence[str], logs: Path) -> str:
    """Return an sbatch script whose tasks run the cases of a table, and write the folders that `--slurm` writes.

    Parameters
    ----------
    queue
        What each task is asked for; `jobs` run at a time.
    count
        Of cases; each task runs every so many-th of them where there are more than an array may have tasks.
    words
        After `deepreg`: the same call, without what says where it runs.
    logs
        Folder for what the batch system prints.
    """
    tasks = min(count, MOST_TASKS)
    seconds = round(60 * queue.minutes)
    directives = [
        "--job-name=deepreg",
        f"--array=1-{tasks}%{queue.jobs}",
        f"--time={seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}",
        f"--cpus-per-task={queue.cores}",
        f"--mem={queue.memory}G",
        f"--output={logs}/%a.txt",
        *([f"--partition={queue.partition}"] if queue.partition else []),
        *([f"--gres=gpu:{queue.gpus}"] if queue.gpus else []),
        *queue.extra,
    ]
    lines = ["#!/bin/bash", *(f"#SBATCH {directive}" for directive in directives)]
    lines += [
        "# A task that is sent again does what its cases lack; afterwards: deepreg cohort ... --collect",
        "set -u",
    ]
    lines += [f'export OMP_NUM_THREADS="${{SLURM_CPUS_PER_TASK:-{queue.cores}}}"']
    call = shlex.join([sys.executable, "-m", "DeepRegLib", *words])
    lines += [f'exec {call} --part "$SLURM_ARRAY_TASK_ID/{tasks}"']
    return "\n".join(lines) + "\n"
