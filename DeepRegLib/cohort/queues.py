"""Jobs of a batch system as workers: they are asked for, leave before their time is over, and are replaced.

Everything that goes between coordinator and workers is encrypted by keys made for the run, which both sides prove.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client
from distributed.security import Security

from DeepRegLib.cohort.clusters import DASHBOARD, SETTINGS, THREADS, Cluster, ClusterError, dashboard_here, quiet
from DeepRegLib.cohort.dask_hands import GPU
from DeepRegLib.cohort.queue_options import Queue

# A worker leaves so long before its job is over; they do not all leave at once.
MARGIN_MINUTES, STAGGER_SECONDS = 1.0, 20
CLASSES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster", "sge": "SGECluster"}


@contextmanager
def queue_cluster(queue: Queue, output: Path) -> Iterator[Cluster]:
    """Ask a batch system for jobs, as many as wanted all the time, each a worker for one case at a time.

    Parameters
    ----------
    queue
        What is asked for.
    output
        Folder of the cohort, which every node must see; the keys of the run lie in it, in a hidden folder that only
        this user can read, as long as it lasts.

    Raises
    ------
    ClusterError
        If the batch system takes no job.
    """
    import dask_jobqueue

    with (
        dask.config.set(SETTINGS),
        quiet(),
        tempfile.TemporaryDirectory(prefix=".jobs-", dir=output.absolute(), ignore_cleanup_errors=True) as private,
    ):
        try:
            cluster = getattr(dask_jobqueue, CLASSES[queue.kind])(**_settings(queue, private))
        except (OSError, RuntimeError, ValueError) as error:
            raise ClusterError(f"The cluster of {queue.kind} cannot be made: {error}.", "Check its options.") from error
        with cluster, Client(cluster, set_as_default=False) as client:
            cluster.adapt(minimum_jobs=queue.jobs, maximum_jobs=queue.jobs)
            yield Cluster(client, dashboard_here(cluster), f"{queue.jobs} jobs of {queue.kind}")


def environment_of(queue: Queue) -> dict[str, str]:
    """Return the variables that give a case the cores of its job."""
    return dict.fromkeys(THREADS, str(queue.cores))


def _settings(queue: Queue, private: str) -> dict[str, Any]:
    """Return what dask-jobqueue is given; a worker has one thread, and its case all cores of the job."""
    lifetime = max(queue.minutes - MARGIN_MINUTES, queue.minutes / 2)
    arguments = ["--lifetime", f"{60 * lifetime:.0f}s", "--lifetime-stagger", f"{STAGGER_SECONDS}s", "--no-nanny"]
    if queue.gpus:
        arguments += ["--resources", f"{GPU}={queue.gpus}"]
    settings: dict[str, Any] = {
        "cores": 1,
        "processes": 1,
        "memory": f"{queue.memory}GB",
        "walltime": walltime(queue.minutes),
        "worker_extra_args": arguments,
        "job_extra_directives": list(_directives(queue)),
        "log_directory": private,
        "local_directory": tempfile.gettempdir(),
        "python": sys.executable,
        "security": Security.temporary(),
        "protocol": "tls://",
        "shared_temp_directory": private,
        "scheduler_options": {"dashboard_address": DASHBOARD},
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
        return {"resource_spec": f"select=1:ncpus={queue.cores}:mem={queue.memory}gb"}
    if queue.kind == "lsf":
        return {"ncpus": queue.cores}
    return {}  # the parallel environment of SGE is named by each site: --job-option "-pe smp 4"


def _directives(queue: Queue) -> Iterator[str]:
    if queue.gpus and queue.kind == "slurm":
        yield f"--gres=gpu:{queue.gpus}"
    yield from queue.extra


def walltime(minutes: float) -> str:
    """Return a time as batch systems write it."""
    seconds = round(60 * minutes)
    return f"{seconds // 3600:02d}:{seconds % 3600 // 60:02d}:{seconds % 60:02d}"
