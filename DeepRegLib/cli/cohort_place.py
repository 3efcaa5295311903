"""Where cases run, or the steps of one large task: here, on a Dask cluster, or in jobs of a batch system."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from DeepRegLib.cohort.queue_options import KINDS, Queue
from DeepRegLib.errors import InputError

if TYPE_CHECKING:
    from DeepRegLib.cohort.coordinating import Executor

INSTALL = 'pip install "slicer-deepreg[cohort]"'
HELP = (
    "Share the work out as deepreg cohort does: a number (of processes here), the address of a Dask scheduler, or a "
    "batch system with its options: slurm,jobs=20,partition=long,time=240,cores=4,job-memory=8,gpus=1."
)
Place = Annotated[str | None, typer.Option("--cohort", metavar="WHERE", help=HELP)]


@dataclass(frozen=True)
class Where:
    """Where cases run: so many here, on the cluster of a scheduler, or in jobs; and who has graphics cards."""

    local: int | None
    scheduler: str | None
    gpus: int
    queue: Queue | None
    output: Path
    say: Callable[[str], None]


def where_of(text: str, output: Path, say: Callable[[str], None]) -> Where:
    """Return what `--cohort WHERE` says.

    Raises
    ------
    InputError
        If it says nothing that is known.
    """
    if text.isdigit():
        return Where(int(text), None, 0, None, output, say)
    if "://" in text:
        return Where(None, text, 0, None, output, say)
    kind, *words = text.split(",")
    if kind not in KINDS:
        raise InputError(f"--cohort is {text!r}.", f"Give a number, tcp://host:port, or {', '.join(KINDS)}.")
    given: dict[str, Any] = {}
    for word in words:
        name, _, value = word.partition("=")
        try:
            if name in ("jobs", "cores", "gpus"):
                given[name] = int(value)
            elif name == "job-memory":
                given["memory"] = int(value)
            elif name == "time":
                given["minutes"] = float(value)
            elif name == "partition":
                given[name] = value
            else:
                raise InputError(f"{word!r} of --cohort is unknown.", HELP)
        except ValueError as error:
            raise InputError(f"{word!r} of --cohort is no number.", HELP) from error
    queue = Queue(kind, **given)
    return Where(None, None, queue.gpus, queue, output, say)


def count_here(place: Where, voxels: Sequence[int | None]) -> int:
    """Return how many cases run at a time; without Dask, as many as a machine with enough memory would.

    Parameters
    ----------
    place
        Where.
    voxels
        Of the scans, None where nobody knows.
    """
    if place.queue is not None:
        return place.queue.jobs
    if place.local is not None or place.gpus:
        return place.local or place.gpus
    try:
        from DeepRegLib.cohort.clusters import largest, workers_here
    except ModuleNotFoundError:
        return 1
    return workers_here(largest(voxels))


@contextmanager
def executor_at(place: Where, voxels: Sequence[int | None]) -> Iterator[tuple[Executor, str]]:
    """Give what runs the cases, and say where that is.

    Parameters
    ----------
    place, voxels
        As of `count_here`.

    Raises
    ------
    InputError
        If it cannot be, or something is not installed.
    ClusterError
        If the cluster does not answer.
    """
    try:
        from DeepRegLib.cohort.clusters import executor_of, local_cluster, running_cluster, threads_of
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("dask", "dask_jobqueue", "distributed", "psutil"):
            raise
        raise InputError(f"Cohorts need {error.name}, which is not installed.", f"Install it: {INSTALL}.") from error
    if place.queue is not None:
        from DeepRegLib.cohort.queues import environment_of, queue_cluster

        with queue_cluster(place.queue, place.output, place.say) as cluster:
            executor = executor_of(cluster, environment_of(place.queue), a_gpu=place.gpus > 0)
            with _stopping(executor):
                yield executor, _about(cluster.about, cluster.dashboard)
        return
    if place.scheduler is not None:
        if place.local is not None:
            raise InputError("--scheduler was given with --local.", "Give one of them.")
        with running_cluster(place.scheduler) as cluster:
            executor = executor_of(cluster, {}, a_gpu=place.gpus > 0)
            with _stopping(executor):
                yield executor, _about(cluster.about, cluster.dashboard)
        return
    count = count_here(place, voxels)
    if count < 1:
        raise InputError(f"--local is {count}.", "Give 1 or more.")
    with local_cluster(min(count, len(voxels))) as cluster:
        cards = tuple(map(str, range(place.gpus)))
        executor = executor_of(cluster, threads_of(count), cards, a_gpu=bool(cards))
        with _stopping(executor):
            yield executor, _about(f"{min(count, len(voxels))} at a time on this machine", cluster.dashboard)


def _about(where: str, dashboard: str) -> str:
    return f"Running on {where}." + (f" Dashboard: {dashboard}" if dashboard else "")


@contextmanager
def _stopping(executor: Executor) -> Iterator[None]:
    try:
        yield
    finally:
        executor.stop()
