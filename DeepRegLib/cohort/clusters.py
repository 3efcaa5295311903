"""Where cases run: this machine, or a Dask cluster that runs already."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import dask
import psutil
from distributed import Client, LocalCluster, SpecCluster, Worker
from distributed.system import MEMORY_LIMIT

from DeepRegLib.cohort.dask_executor import GPU, CasePlugin, DaskExecutor, Watch
from DeepRegLib.cohort.watching import WorkerDeadline
from DeepRegLib.errors import DeepRegError

CONNECT_SECONDS = 30.0
# Of this machine alone, at a port that is free.
LOOPBACK = "127.0.0.1:0"
# None for no dashboard.
DASHBOARD: str | None = LOOPBACK
# A case that costs its worker is tried again by the coordinator, which counts and tells it; memory is the cases'.
SETTINGS: dict[str, Any] = {
    "distributed.scheduler.allowed-failures": 0,
    "distributed.scheduler.worker-saturation": 1.0,
    "distributed.scheduler.work-stealing": False,
    "distributed.admin.low-level-log-length": 100,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.deploy.lost-worker-timeout": "2s",
    "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS:.0f}s",
}
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
# Measured on `auto`, docs/scaling.md, rather too much than too little: a process with torch; each voxel of the finest
# grid, of which there are so many at most; each voxel of the scan.
PROCESS_BYTES, GRID_BYTES, MOST_GRID_VOXELS, SCAN_BYTES = 600_000_000, 200, 5_000_000, 33


class ClusterError(DeepRegError):
    """The cluster cannot be used."""


@dataclass(frozen=True)
class Cluster:
    """A cluster in use.

    Parameters
    ----------
    client
        Of it.
    dashboard
        Address of its web page; "" without one.
    about
        What it is, in some words.
    watch
        Knows whether workers may still come.
    """

    client: Client
    dashboard: str
    about: str
    watch: Watch


def memory_of_case(voxels: int | None) -> int:
    """Return about how much memory a case takes, bytes, by the voxels of its scan."""
    known = MOST_GRID_VOXELS if voxels is None else voxels
    return PROCESS_BYTES + GRID_BYTES * min(known, MOST_GRID_VOXELS) + SCAN_BYTES * known


def workers_here(largest_case: int) -> int:
    """Return how many cases can run at a time on this machine: as many as it has cores and memory for."""
    free = min(psutil.virtual_memory().available, MEMORY_LIMIT)
    return max(1, min(cores_here(), free // largest_case))


def cores_here() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def threads_of(workers: int) -> dict[str, str]:
    """Return the variables that share the cores of this machine out to so many processes."""
    return dict.fromkeys(THREADS, str(max(1, cores_here() // workers)))


@contextmanager
def local_cluster(workers: int) -> Iterator[Cluster]:
    """Give a cluster inside this process: its workers are threads, and each starts the process of its cases.

    Nothing but the dashboard, on this machine alone, listens to anybody; without it nothing does.
    """
    with (
        dask.config.set(SETTINGS),
        quiet(),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=False,
            scheduler_kwargs=dashboard_options(),
            worker_class=_SilentWorker,
            silence_logs=logging.ERROR,
            resources={GPU: 1},
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        stop_unwanted_dashboard(cluster)
        yield Cluster(client, dashboard_here(cluster), f"{workers} on this machine", WorkerDeadline("this machine"))


class _SilentWorker(Worker):
    """A worker without web pages of its own: Dask's listen to the whole network, and name what runs."""

    def start_http_server(self, *_given: Any, **_named: Any) -> None:
        super().start_http_server([], LOOPBACK)
        self.http_server.stop()


def dashboard_options() -> dict[str, Any]:
    """Return what Dask's scheduler is told of its dashboard; without an address it would take one of its own."""
    return {"dashboard": DASHBOARD is not None, "dashboard_address": DASHBOARD or LOOPBACK}


def stop_unwanted_dashboard(cluster: SpecCluster) -> None:
    """Stop the web server that Dask's scheduler starts without a dashboard, too."""
    if DASHBOARD is None and cluster.scheduler is not None:
        cluster.scheduler.services.pop("dashboard").stop()


def dashboard_here(cluster: SpecCluster) -> str:
    """Return the address of the dashboard; Dask's own names a host at which it does not listen."""
    services = {} if cluster.scheduler is None else cluster.scheduler.services
    service = services.get("dashboard")
    return "" if service is None else f"http://127.0.0.1:{service.port}/status"


@contextmanager
def running_cluster(address: str) -> Iterator[Cluster]:
    """Connect to a Dask cluster that runs already.

    Raises
    ------
    ClusterError
        If it does not answer.
    """
    with dask.config.set(SETTINGS), quiet():
        try:
            client = Client(address, set_as_default=False, timeout=CONNECT_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterError(
                f"No Dask scheduler answers at {address} ({type(error).__name__}).", "Check its address."
            ) from error
        with client:
            yield Cluster(client, client.dashboard_link or "", address, WorkerDeadline(address))


def executor_of(
    cluster: Cluster, environment: dict[str, str], gpus: tuple[str, ...] = (), *, a_gpu: bool
) -> DaskExecutor:
    """Return what runs cases on a cluster; with `a_gpu` each takes a graphics card for itself."""
    return DaskExecutor(cluster.client, CasePlugin(environment, gpus), cluster.watch, gpus=a_gpu)


def largest(voxels: Iterable[int | None]) -> int:
    """Return about how much memory the largest of some cases takes, bytes."""
    return max((memory_of_case(count) for count in voxels), default=PROCESS_BYTES)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep Dask's chatter to itself; what matters of it comes back as an outcome."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
