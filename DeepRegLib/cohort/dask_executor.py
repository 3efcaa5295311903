"""Cases run by the workers of a Dask cluster, whichever it is.

A worker is light: it holds one warm process a thread, which runs the cases. What travels are the plain values of
`DeepRegLib.cohort.work`; code, models and libraries are the worker's own.

Rocklin, Dask: parallel computation with blocked algorithms and task scheduling, Proc. 14th Python in Science Conf.
(2015) 130-136.
"""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from distributed import Client, Future, Worker, WorkerPlugin, get_worker

from DeepRegLib.cohort.children import Children
from DeepRegLib.cohort.work import DIED, LEFT, STOPPED, Outcome, Work

PLUGIN = "deepreg-cohort"
LOOK_SECONDS, FIRST_LOOK_SECONDS, SOME_WORKERS = 1.0, 0.1, 100
# So many cases are handed out for each that runs, that no worker waits for the next one.
AHEAD = 2
GPU, VISIBLE = "GPU", "CUDA_VISIBLE_DEVICES"


class CasePlugin(WorkerPlugin):
    """Gives a worker the processes that run cases, and ends them with it.

    Parameters
    ----------
    environment
        Variables of the processes.
    gpus
        Numbers of the graphics cards that the workers of one machine share out by their numbers; () to leave them all.
    """

    name = PLUGIN

    def __init__(self, environment: Mapping[str, str], gpus: tuple[str, ...] = ()) -> None:
        self._environment = dict(environment)
        self._gpus = gpus
        self._children: Children | None = None

    def setup(self, worker: Worker) -> None:
        """Be ready; the first process is started at the first case."""
        if self._gpus:
            number = int(worker.name) if str(worker.name).isdigit() else 0
            cards = [self._gpus[number % len(self._gpus)]]
        else:
            # Those that a batch system has given to the job of this worker.
            cards = [card for card in os.environ.get(VISIBLE, "").split(",") if card]
        self._children = Children(self._environment, cards if worker.state.total_resources.get(GPU) else ())

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  # Dask gives it
        """End the processes."""
        if self._children is not None:
            self._children.close()

    def run(self, work: Work) -> Outcome:
        """Run a case, in the thread of a task."""
        if self._children is None:
            return Outcome(STOPPED, "The worker is ending.")
        return self._children.run(work)


def run_on_worker(work: Work) -> Outcome:
    """Run a case on the worker that this is called on."""
    plugin = get_worker().plugins.get(PLUGIN)
    if not isinstance(plugin, CasePlugin):
        return Outcome(STOPPED, "The run has ended.")
    return plugin.run(work)


class Watch(Protocol):
    """Whoever knows whether workers may still come."""

    def arrived(self) -> None:
        """Note that there are workers."""

    def trouble(self) -> str:
        """Return why none will come; "" as long as one may."""


class DaskExecutor:
    """The workers of a cluster.

    Parameters
    ----------
    client
        Connected to it.
    plugin
        What each worker gets, those that come later too.
    watch
        Is asked while there is no worker.
    gpus
        Whether a case needs the resource `GPU` of a worker, one at a time.
    """

    def __init__(self, client: Client, plugin: CasePlugin, watch: Watch, *, gpus: bool = False) -> None:
        self._client = client
        self._watch = watch
        self._resources = {GPU: 1} if gpus else None
        self._key = f"case-{uuid.uuid4().hex[:8]}"
        self._futures: dict[str, Future] = {}
        self._stopped = False
        self._slots, self._places_known = 1, 0
        self._looked, self._trouble = -LOOK_SECONDS, ""
        client.register_plugin(plugin)

    def slots(self) -> int:
        """Return how many cases may be handed out at a time."""
        self._look()
        return self._slots

    def trouble(self) -> str:
        """Return why nothing can run any more; "" as long as something may."""
        self._look()
        return self._trouble

    def _look(self) -> None:
        """Look at the workers, now and then."""
        now = time.monotonic()
        # What a scheduler tells of all workers grows with them.
        pause = LOOK_SECONDS * max(1.0, self._places_known / SOME_WORKERS) if self._places_known else FIRST_LOOK_SECONDS
        if now - self._looked < pause or self._trouble:
            return
        self._looked = now
        try:
            workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        except (OSError, TimeoutError):  # of the connection, also Dask's own
            workers = ()
        if self._client.status not in ("running", "connecting"):
            self._trouble = "The scheduler does not answer any more."
        self._places_known = sum(self._places(worker) for worker in workers)
        self._slots = max(1, AHEAD * self._places_known)
        if self._places_known:
            self._watch.arrived()
        elif not self._trouble:
            self._trouble = self._watch.trouble()

    def _places(self, worker: Mapping[str, Any]) -> int:
        """Return how many cases a worker runs at a time."""
        threads = int(worker["nthreads"])
        return threads if self._resources is None else min(threads, int(worker["resources"].get(GPU, 0)))

    def begin(self, work: Work, done: Callable[[Outcome], None]) -> None:
        """Hand out a case."""
        name = f"{work.name}#{work.attempt}"
        future = self._client.submit(
            run_on_worker, work, key=(self._key, name), pure=False, resources=self._resources, retries=0
        )
        self._futures[name] = future
        future.add_done_callback(lambda ended: done(self._outcome(name, ended)))

    def stop(self) -> None:
        """End what is running on every worker, and take back what waits."""
        if self._stopped:
            return
        self._stopped = True
        self._client.unregister_worker_plugin(PLUGIN)
        for future in list(self._futures.values()):
            if future.status == "pending":
                future.cancel(reason="The run was stopped.", force=True)

    def running(self) -> dict[str, str]:
        """Return the case that each worker has, by the worker's address."""
        found = {}
        for worker, keys in self._client.processing().items():
            own = [key[1].rpartition("#")[0] for key in keys if isinstance(key, tuple) and key[0] == self._key]
            if own:
                found[worker] = own[0]
        return found

    def _outcome(self, name: str, future: Future) -> Outcome:
        self._futures.pop(name, None)
        if future.status == "finished":
            outcome: Outcome = future.result()
            # The plugin of a worker that leaves in good order ends its cases; the run goes on elsewhere.
            if outcome.kind == STOPPED and not self._stopped:
                return Outcome(LEFT, "Its worker ended.", host=outcome.host, seconds=outcome.seconds)
            return outcome
        if future.cancelled() or self._stopped:
            return Outcome(STOPPED if self._stopped else DIED, "Its worker was lost.")
        error: Any = future.exception()
        return Outcome(DIED, f"Its worker was lost ({type(error).__name__}).")
