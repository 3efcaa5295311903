"""Jobs of a batch system as workers: they are asked for, leave before their time is over, and are replaced.

Everything that goes between coordinator and workers is encrypted by keys made for the run, which both sides prove.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Status
from distributed.security import Security

from DeepRegLib.cohort.clusters import (
    LOOPBACK,
    SETTINGS,
    THREADS,
    Cluster,
    ClusterError,
    dashboard_here,
    dashboard_options,
    quiet,
    stop_unwanted_dashboard,
)
from DeepRegLib.cohort.dask_executor import GPU
from DeepRegLib.cohort.queue_options import Queue
from DeepRegLib.cohort.watching import JobWatch

# A worker leaves so long before its job is over; they do not all leave at once.
MARGIN_MINUTES, STAGGER_SECONDS = 1.0, 20
# What a batch system says when it is only busy, and how often it is asked again.
PASSING, TRIES, PAUSE_SECONDS = ("timed out", "try again", "temporarily", "unable to contact"), 5, 10.0
ROLES = ("client", "scheduler", "worker")
CLASSES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}


@contextmanager
def queue_cluster(queue: Queue, output: Path, say: Callable[[str], None]) -> Iterator[Cluster]:
    """Ask a batch system for jobs, as many as wanted all the time, each a worker for one case at a time.

    Parameters
    ----------
    queue
        What is asked for.
    output
        Folder of the cohort, which every node must see; the keys of the run lie in it, in a hidden folder that only
        this user can read, as long as it lasts.
    say
        Called with what is waited for, as long as there is no worker.

    Raises
    ------
    ClusterError
        If its options cannot be used. Jobs that are refused later are told by the cluster's `watch`.
    """
    with (
        dask.config.set(SETTINGS),
        quiet(),
        tempfile.TemporaryDirectory(prefix=".jobs-", dir=output.absolute(), ignore_cleanup_errors=True) as private,
    ):
        watch = JobWatch(queue.kind, Path(private), say)
        try:
            cluster = jobs_cluster(queue, private, watch)
        except (OSError, RuntimeError, ValueError) as error:
            raise ClusterError(f"The cluster of {queue.kind} cannot be made: {error}.", "Check its options.") from error
        with cluster, Client(cluster, set_as_default=False) as client:
            stop_unwanted_dashboard(cluster)
            cluster.adapt(minimum_jobs=queue.jobs, maximum_jobs=queue.jobs)
            yield Cluster(
                client,
                dashboard_here(cluster),
                f"{queue.jobs} job{'s' if queue.jobs > 1 else ''} of {queue.kind}",
                watch,
            )


def jobs_cluster(queue: Queue, private: str, watch: JobWatch) -> Any:
    """Return the cluster of a batch system, with no job asked for yet.

    Parameters
    ----------
    queue
        What each job is asked for.
    private
        Folder that every node must see and only this user can read: keys, and what the jobs print.
    watch
        Is told of every job that is asked for.
    """
    import dask_jobqueue

    made = getattr(dask_jobqueue, CLASSES[queue.kind])
    return made(**_settings(queue, private), job_cls=_watched(made.job_cls, watch))


def _watched(job: Any, watch: JobWatch) -> Any:
    """Return a class of jobs that tells which number a job has got, or why it was refused."""

    class Watched(job):  # type: ignore[misc]  # a class of dask-jobqueue, which has no types
        async def start(self) -> None:
            for _ in range(TRIES - 1):
                if await self._begun(again=True):
                    return
                await asyncio.sleep(PAUSE_SECONDS)
            await self._begun(again=False)

        async def _begun(self, *, again: bool) -> bool:
            """Ask for the job; tell whether that is done, and not to be tried again."""
            try:
                await super().start()
            except (OSError, RuntimeError, ValueError) as error:
                if again and any(word in str(error).lower() for word in PASSING):
                    return False
                # An error here would be Dask's to print, and no more; that there is no worker is seen by the watch.
                watch.refused.append(_last_line(str(error)))
                self.status = Status.running
                return True
            watch.jobs.append(str(self.job_id))
            return True

    return Watched


def _last_line(text: str) -> str:
    """Return what a batch system said, of an error of dask-jobqueue that holds command, output and more."""
    lines = [line.strip() for line in text.partition("stderr:")[2].splitlines() if line.strip()]
    return lines[0] if lines else text


def _keys(private: str) -> Security:
    """Make the keys of a run, as files of its own folder.

    dask-jobqueue writes files of its own where it is given the keys themselves, and removes them too late.
    """
    made = Security.temporary()
    paths = {}
    for name in ("tls_ca_file", "tls_client_key", "tls_client_cert"):
        path = Path(private) / f"{name}.pem"
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:  # noqa: PTH123  # only this user reads it, from its first byte
            file.write(str(getattr(made, name)))
        paths[name] = str(path)
    roles = {f"tls_{role}_{part}": paths[f"tls_client_{part}"] for role in ROLES for part in ("key", "cert")}
    return Security(require_encryption=True, tls_ca_file=paths["tls_ca_file"], **roles)


def environment_of(queue: Queue) -> dict[str, str]:
    """Return the variables that give a case the cores of its job."""
    return dict.fromkeys(THREADS, str(max(1, queue.cores // max(1, queue.gpus))))


def _settings(queue: Queue, private: str) -> dict[str, Any]:
    """Return what dask-jobqueue is given; a worker has a thread a case, and the cases share the cores of the job."""
    lifetime = max(queue.minutes - MARGIN_MINUTES, queue.minutes / 2)
    arguments = ["--lifetime", f"{60 * lifetime:.0f}s", "--lifetime-stagger", f"{STAGGER_SECONDS}s", "--no-nanny"]
    arguments += ["--no-dashboard", "--dashboard-address", LOOPBACK]  # web pages of a worker would name what runs
    if queue.gpus:
        arguments += ["--resources", f"{GPU}={queue.gpus}"]
    settings: dict[str, Any] = {
        "cores": max(1, queue.gpus),  # threads of the worker
        "processes": 1,
        "memory": f"{queue.memory}GB",
        "walltime": walltime(queue),
        "worker_extra_args": arguments,
        "job_extra_directives": list(_directives(queue)),
        "log_directory": private,
        "local_directory": tempfile.gettempdir(),
        "python": sys.executable,
        "security": _keys(private),
        "protocol": "tls://",
        "shared_temp_directory": private,
        "scheduler_options": dashboard_options(),
        "silence_logs": logging.ERROR,
    }
    if queue.partition:
        settings["queue"] = queue.partition
    return settings | _cores(queue)


def _cores(queue: Queue) -> dict[str, Any]:
    """Return how a batch system is asked for the cores of a job."""
    if queue.kind == "slurm":
        return {"job_cpu": queue.cores}
    if queue.kind == "pbs":
        cards = f":ngpus={queue.gpus}" if queue.gpus else ""
        return {"resource_spec": f"select=1:ncpus={queue.cores}:mem={queue.memory}gb{cards}"}
    if queue.kind == "lsf":
        return {"ncpus": queue.cores}
    return {}  # the parallel environment of SGE is named by each site: --job-option "-pe smp 4"


def _directives(queue: Queue) -> Iterator[str]:
    if queue.gpus and queue.kind == "slurm":
        yield f"--gres=gpu:{queue.gpus}"
    if queue.gpus and queue.kind == "lsf":
        yield f'-gpu "num={queue.gpus}"'
    yield from queue.extra


def walltime(queue: Queue) -> str:
    """Return the time of a job as its batch system writes it; LSF knows no seconds."""
    seconds = round(60 * queue.minutes)
    whole = f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}"
    return whole if queue.kind == "lsf" else f"{whole}:{seconds % 60:02d}"
