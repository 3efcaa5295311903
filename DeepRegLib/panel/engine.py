"""The engine of this application: one warm worker, driven by Qt's event loop."""

from __future__ import annotations

import functools
from collections.abc import Callable

import qt

from DeepRegLib.engine.client import EngineClient
from DeepRegLib.engine.job import Job
from DeepRegLib.engine.liveness import Limits
from DeepRegLib.engine.protocol import EngineError
from DeepRegLib.engine.task import Asked, Found, Task
from DeepRegLib.engine.transport import Transport
from DeepRegLib.engine.worker_info import WorkerInfo
from DeepRegLib.errors import CancelledError, DeepRegError
from DeepRegLib.monitoring import Progress
from DeepRegLib.panel.commands import worker_command, worker_environment
from DeepRegLib.panel.process import ProcessTransport
from DeepRegLib.panel.settings import EngineSettings, load_settings

# A worker that has not stopped by then is replaced: whoever pressed Cancel does not wait for it.
LIMITS = Limits(cancel=0.8)
POLL_MILLISECONDS = 20
LOG_LINES = 500


class Engine:
    """Starts the worker when it is first needed and keeps it for the next job.

    Parameters
    ----------
    settings
        Returns where the worker is to run; asked at each start of one.
    """

    def __init__(self, settings: Callable[[], EngineSettings]) -> None:
        self._settings = settings
        self._listeners: list[Callable[[str], None]] = []
        self.log: list[str] = []
        self._client = EngineClient(self._make_transport, limits=LIMITS, on_log=self._keep_log)
        self._timer = qt.QTimer()
        self._timer.setInterval(POLL_MILLISECONDS)
        self._timer.connect("timeout()", self._poll)
        self._warm_up = qt.QTimer()
        self._warm_up.setSingleShot(True)
        self._warm_up.connect("timeout()", self._start_quietly)

    @property
    def worker(self) -> WorkerInfo | None:
        """What the running worker says of itself; None as long as there is none."""
        return self._client.worker

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return self._client.busy

    @property
    def client(self) -> EngineClient:
        """The client, for tests and for those who wait without an event loop."""
        return self._client

    def listen(self, listener: Callable[[str], None]) -> None:
        """Call a function with each new line of the log, until `ignore`."""
        self._listeners.append(listener)

    def ignore(self, listener: Callable[[str], None]) -> None:
        """Undo `listen`: what the function writes to is about to go."""
        self._listeners.remove(listener)

    def start(self) -> None:
        """Start the worker now, so that the first job need not wait for it; returns at once.

        Raises
        ------
        EngineError
            If it cannot be started.
        """
        self._client.start()
        self._timer.start()

    def submit(
        self,
        task: Task[Asked, Found],
        request: Asked,
        *,
        on_progress: Progress,
        on_result: Callable[[Found], None],
        on_error: Callable[[DeepRegError], None],
    ) -> Job[Asked, Found]:
        """Hand work to the worker, as `EngineClient.submit` does; returns at once."""
        self._timer.start()

        def failed(error: DeepRegError) -> None:
            on_error(error)
            self._warm_up_after(error)

        return self._client.submit(task, request, on_progress=on_progress, on_result=on_result, on_error=failed)

    def restart(self) -> None:
        """Leave the present worker, so that the next one runs where the settings say."""
        self.close()

    def close(self) -> None:
        """End the worker."""
        self._timer.stop()
        self._client.close()
        self._warm_up.stop()  # after: closing cancels what runs, and that asks for another worker

    def _make_transport(self) -> Transport:
        settings = self._settings()
        return ProcessTransport(worker_command(settings), worker_environment(settings), lambda: self._client)

    def _warm_up_after(self, error: DeepRegError) -> None:
        """Replace a worker that was killed because it did not stop: the next run shall not wait for torch."""
        if isinstance(error, CancelledError) and self._client.worker is None:
            self._warm_up.start(0)

    def _start_quietly(self) -> None:
        try:
            self.start()
        except EngineError as error:
            self._keep_log(str(error))

    def _poll(self) -> None:
        self._client.poll()
        if not self._client.busy and not self._client.starting:
            self._timer.stop()

    def _keep_log(self, line: str) -> None:
        self.log.append(line)
        del self.log[:-LOG_LINES]
        for listener in self._listeners:
            listener(line)


@functools.lru_cache(maxsize=1)
def shared_engine() -> Engine:
    """Return the engine that the panel and all scripts of this application share, so that it is warm for each."""
    return Engine(lambda: load_settings(qt.QSettings()))
