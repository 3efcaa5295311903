"""The client's side of the engine: a state machine without threads, torch or Qt, driven by whoever owns the event loop.

    client = subprocess_client()
    job = client.submit(REGISTER, request, on_progress=show, on_result=done, on_error=complain)
    while not job.finished:
        client.poll()  # from a timer, every few milliseconds

The worker is started when it is first needed and kept; one that dies is replaced at the next job.

Why a process of its own: docs/decisions/torch-outside-slicer.md.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from DeepRegLib.engine.errors import unpack_error
from DeepRegLib.engine.failures import death, not_a_worker, other_version, silence
from DeepRegLib.engine.job import CANCELLING, DONE, FAILED, RUNNING, WAITING, Job
from DeepRegLib.engine.liveness import Limits, Liveness
from DeepRegLib.engine.progress import progress_of
from DeepRegLib.engine.protocol import PROTOCOL_VERSION, Decoder, EngineError, Message, ProtocolError, encode
from DeepRegLib.engine.task import Asked, Found, Task
from DeepRegLib.engine.transport import Output, SubprocessTransport, Transport
from DeepRegLib.engine.worker_info import WorkerInfo, worker_info
from DeepRegLib.engine.worker_log import WorkerLog
from DeepRegLib.errors import CancelledError, DeepRegError
from DeepRegLib.monitoring import Cancel, Progress

BLOCKING_SECONDS = 0.005
POLL_SECONDS = 0.01
SIGN_OF_LIFE = 1024  # bytes
# What a result that only looks like one may end in.
UNUSABLE = (ArithmeticError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)


class EngineClient:
    """Starts a worker when needed, keeps it warm, and gives it one job after another.

    Parameters
    ----------
    make_transport
        Makes the way to a fresh worker; called at the first job, and again after a worker has died.
    limits
        How patient to be.
    clock
        Seconds that only go forward.
    on_log
        Called with each line the worker writes to its standard error.
    """

    def __init__(
        self,
        make_transport: Callable[[], Transport],
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.monotonic,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self.worker: WorkerInfo | None = None
        self._make_transport = make_transport
        self._clock = clock
        self._transport: Transport | None = None
        self._decoder = Decoder()
        self._unread: deque[Output] = deque()
        self._waiting: deque[Job[Any, Any]] = deque()
        self._current: Job[Any, Any] | None = None
        self._number = 0
        self._log = WorkerLog(on_log)
        self._life = Liveness()
        self._started = self._asked = 0.0
        self._trickle = 0

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return self._current is not None or bool(self._waiting)

    @property
    def starting(self) -> bool:
        """Whether a worker was started that has not come up yet."""
        return self._transport is not None and self.worker is None

    @property
    def log(self) -> tuple[str, ...]:
        """The last lines the present or latest worker wrote to its standard error."""
        return self._log.lines

    def start(self) -> None:
        """Start the worker now, so that the first job need not wait for it.

        Raises
        ------
        EngineError
            If the command cannot be run.
        """
        if self._transport is not None:
            return
        self._decoder = Decoder()
        self._unread.clear()
        self._log.clear()
        transport = self._make_transport()
        transport.start()
        self._transport = transport
        self._started = self._clock()
        self._life = Liveness(self._started)

    def submit(
        self,
        task: Task[Asked, Found],
        request: Asked,
        *,
        on_progress: Progress | None = None,
        on_result: Callable[[Found], None] | None = None,
        on_error: Callable[[DeepRegError], None] | None = None,
    ) -> Job[Asked, Found]:
        """Hand work to the worker; returns at once.

        Parameters
        ----------
        task
            What kind of work, such as `DeepRegLib.engine.registration.REGISTER`.
        request
            What is asked for. Its voxels must not change until the job has finished.
        on_progress, on_result, on_error
            See `Job`; called from `poll` or `feed`, and `on_error` from here if the worker cannot be started.
        """
        self._number += 1
        job = Job(self._number, task, request, self._cancel, on_progress, on_result, on_error)
        self._waiting.append(job)
        self._advance()
        return job

    def run(
        self,
        task: Task[Asked, Found],
        request: Asked,
        *,
        progress: Progress | None = None,
        cancel: Cancel | None = None,
    ) -> Found:
        """Let the worker do something and wait; returns and raises what the same would in this process.

        Raises
        ------
        EngineError
            If the worker cannot be started or used, died, or hangs.
        """
        job = self.submit(task, request, on_progress=progress)
        try:
            while not job.finished:
                if cancel is not None and cancel():
                    job.cancel()
                self.poll()
                if not self._unread:
                    time.sleep(BLOCKING_SECONDS)
        finally:
            job.cancel()  # does nothing to a finished job; stops the run when the wait was interrupted
        if job.result is None:
            raise job.error or EngineError("The engine ended without a result.")
        return job.result

    def poll(self) -> None:
        """Handle what the worker sent, keep the time limits, and go on with the next job; never waits.

        A large result is taken in over several calls, so that none holds the caller's event loop up.
        """
        transport = self._transport
        if transport is not None and not self._unread:  # what is not read yet waits, and the worker with it
            self._unread += transport.read()
        deadline = self._clock() + POLL_SECONDS
        while self._unread and self._transport is transport:
            self._take(self._unread.popleft())
            if self._clock() > deadline:
                break
        self._keep_limits()
        self._advance()

    def feed(self, data: bytes) -> None:
        """Take bytes of the worker's standard output; a transport with signals calls this itself."""
        # A trickle of bytes is no sign of life; a message is, and so is a piece of a large one.
        self._trickle += len(data)
        if self._trickle >= SIGN_OF_LIFE:
            self._hear()
        decoder = self._decoder
        try:
            decoder.feed(data)
            while self._decoder is decoder and self._transport is not None:
                message = decoder.next_message()
                if message is None:
                    return
                self._hear()
                self._handle(message)
        except ProtocolError as error:
            self._give_up(not_a_worker(error))

    def feed_log(self, data: bytes) -> None:
        """Take bytes of the worker's standard error."""
        self._log.feed(data)

    def exited(self, code: int) -> None:
        """Take note that the worker has ended with an exit status, negative for a signal."""
        self.feed_log(b"\n")
        broke_off = self._decoder.in_mid_message
        self._give_up(death(code, broke_off, self._log.details))

    def release(self) -> None:
        """Let an idle worker give back the memory it keeps for the next run."""
        if self.worker is not None and self._current is None:
            self._send(Message("release"))

    def close(self) -> None:
        """End the worker, cancelling what runs or waits; waits `Limits.close` seconds at most, then kills."""
        jobs = [*([self._current] if self._current else []), *self._waiting]
        self._current = None
        self._waiting.clear()
        transport, self._transport, self.worker = self._transport, None, None
        if transport is not None:
            transport.write(encode(Message("quit")))
            deadline = time.monotonic() + self.limits.close
            while transport.is_running() and time.monotonic() < deadline:
                time.sleep(BLOCKING_SECONDS)
            transport.kill()
        for job in jobs:
            self._fail(job, CancelledError())

    def _hear(self) -> None:
        self._trickle = 0
        self._life.heard(self._clock())

    def _take(self, output: Output) -> None:
        if output.stream == "stdout":
            self.feed(output.data)
        elif output.stream == "stderr":
            self.feed_log(output.data)
        else:
            self.exited(output.code)

    def _advance(self) -> None:
        if self._current is not None or not self._waiting:
            return
        if self._transport is None:
            try:
                self.start()
            except EngineError as error:
                self._give_up(error)
            return
        if self.worker is None:
            return
        job = self._waiting.popleft()
        self._current = job
        job.state = RUNNING
        try:
            self._send(job.task.request_message(job.request, job.number))
        except DeepRegError as error:
            self._fail(job, error)
        self._life.heard(self._clock())

    def _handle(self, message: Message) -> None:
        if message.type == "hello":
            self._greet(message)
            return
        job = self._current
        if message.type == "error" and (self.worker is None or message.id == 0):
            # It cannot work, or has lost its place in the stream and would take voxels for messages.
            self._give_up(unpack_error(message), str(message.content.get("details", "")))
        elif job is None or message.id != job.number:
            return
        elif message.type == "progress":
            self._report(job, message)
        elif message.type == "result":
            self._deliver(job, message)
        elif message.type == "error":
            self._fail(job, unpack_error(message), str(message.content.get("details", "")))

    def _greet(self, message: Message) -> None:
        content = message.content
        if content.get("protocol") != PROTOCOL_VERSION:
            self._give_up(other_version(content))
            return
        try:
            self.worker = worker_info(content)
        except (KeyError, TypeError, ValueError) as error:
            raise ProtocolError(f"The worker's hello is wrong ({error}).") from error
        self._advance()

    def _report(self, job: Job[Any, Any], message: Message) -> None:
        step = progress_of(message.content)
        if job.on_progress is not None and job.state == RUNNING:
            job.on_progress(*step)

    def _deliver(self, job: Job[Any, Any], message: Message) -> None:
        if job.state == CANCELLING:
            self._fail(job, CancelledError())  # it was done before it heard
            return
        try:
            result = job.task.result_of(message, job.request)
        except DeepRegError as error:
            self._fail(job, error)
            return
        except (
            ArithmeticError,
            MemoryError,
            RecursionError,
            RuntimeError,
            LookupError,
            TypeError,
            ValueError,
        ) as error:
            reason = f"The engine's result cannot be used ({type(error).__name__}: {str(error)[:200]})."
            self._give_up(EngineError(reason, "Try again; the engine is started anew."))
            return
        self._current = None
        job.result, job.state, job.request = result, DONE, None
        if job.on_result is not None:
            job.on_result(result)

    def _fail(self, job: Job[Any, Any], error: DeepRegError, details: str = "") -> None:
        if job.state == CANCELLING:
            error = CancelledError()
        if job is self._current:
            self._current = None
        job.error, job.state, job.request = error, FAILED, None
        job.details = details or getattr(error, "details", "")
        if job.on_error is not None:
            job.on_error(error)

    def _cancel(self, job: Job[Any, Any]) -> None:
        if job.state == WAITING:
            self._waiting.remove(job)
            self._fail(job, CancelledError())
        elif job.state == RUNNING:
            job.state = CANCELLING
            self._asked = self._clock()
            self._send(Message("cancel", job.number))

    def _give_up(self, error: DeepRegError, details: str = "") -> None:
        """Leave the worker behind: the running job fails, and the waiting ones too if it never came up."""
        transport, self._transport = self._transport, None
        self._unread.clear()
        failed = [self._current] if self._current is not None else []
        if self.worker is None:
            failed += self._waiting
            self._waiting.clear()
        self.worker = None
        if transport is not None:
            transport.kill()
        for job in failed:
            self._fail(job, error, details or "\n".join(self._log.details))

    def _keep_limits(self) -> None:
        if self._transport is None:
            return
        now = self._clock()
        if self.worker is None:
            if now - self._started > self.limits.start:
                self._give_up(silence("did not start", self.limits.start))
        elif self._current is not None and self._current.state == CANCELLING:
            if now - self._asked > self.limits.cancel:
                self._give_up(CancelledError())
        elif self._current is not None and self.limits.silence is not None:
            self._keep_alive(now, self.limits.silence)

    def _keep_alive(self, now: float, limit: float) -> None:
        assert self._transport is not None  # noqa: S101  # for mypy: the caller looked
        self._life.waits(self._transport.unsent(), now)
        if self._life.is_silent(now, limit):
            self._life.asked(now)
            self._send(Message("ping"))
            self._life.put(self._transport.unsent())
        elif self._life.is_dead(now, self.limits.answer):
            self._give_up(silence("no longer answers", self.limits.answer))

    def _send(self, message: Message) -> None:
        if self._transport is not None:
            self._transport.write(encode(message))


def subprocess_client(
    command: Sequence[str] | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    limits: Limits | None = None,
    on_log: Callable[[str], None] | None = None,
) -> EngineClient:
    """Return a client whose worker is a child process, for programs without an event loop of their own.

    Parameters
    ----------
    command
        Program and arguments, such as ``["ssh", "host", "python", "-m", "DeepRegLib.engine.worker"]``; by default this
        Python. No shell is involved.
    environment
        The whole environment of the worker; None for this process's.
    limits, on_log
        As in `EngineClient`.
    """
    return EngineClient(lambda: SubprocessTransport(command, environment), limits=limits, on_log=on_log)
