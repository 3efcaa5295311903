"""The way to the worker inside Slicer: a QProcess, because Python threads starve there.

Slicer's main thread keeps the interpreter's lock while Qt waits for events, so a thread that reads a pipe hardly runs.
QProcess reads and writes in the event loop itself.
"""

from __future__ import annotations

import shutil
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import qt

from DeepRegLib.engine.protocol import EngineError, Piece
from DeepRegLib.engine.transport import Output

WRITE_BYTES = 1 << 20
QUEUED_BYTES = 4 << 20  # handed to Qt ahead of the pipe: enough to keep it full, little enough to copy unnoticed
SEND_MILLISECONDS = 2
NOT_STARTED = 127
KILL_MILLISECONDS = 1000


class Receiver(Protocol):
    """What hears from the process; `DeepRegLib.engine.client.EngineClient` does."""

    def feed(self, data: bytes) -> None:
        """Take bytes of standard output."""

    def feed_log(self, data: bytes) -> None:
        """Take bytes of standard error."""

    def exited(self, code: int) -> None:
        """Take note of the end."""


class ProcessTransport:
    """A worker behind a QProcess, which tells its receiver what comes as it comes.

    Parameters
    ----------
    command
        Program and arguments; no shell is involved.
    environment
        The whole environment of the process; None for Slicer's.
    receiver
        Returns what hears from the process.
    """

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None, receiver: Callable[[], Receiver]
    ) -> None:
        self._command = list(command)
        self._environment = environment
        self._receiver = receiver
        self._process: qt.QProcess | None = None
        self._pieces: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._given_up = False
        self._sender = qt.QTimer()
        self._sender.setInterval(SEND_MILLISECONDS)
        self._sender.connect("timeout()", self._push)

    def start(self) -> None:
        """Start the process; raise `EngineError` if there is no such program."""
        program, *arguments = self._command
        if shutil.which(program) is None:
            raise EngineError(
                f"The engine cannot be started: there is no program {program}.",
                "Choose another Python under Environment.",
            )
        process = qt.QProcess()
        if self._environment is not None:
            environment = qt.QProcessEnvironment()
            for name, value in self._environment.items():
                environment.insert(name, value)
            process.setProcessEnvironment(environment)
        process.connect("readyReadStandardOutput()", self._on_output)
        process.connect("readyReadStandardError()", self._on_log)
        process.connect("finished(int,QProcess::ExitStatus)", self._on_finished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._on_error)
        self._process = process
        process.start(program, arguments)

    @property
    def pid(self) -> int:
        """The process id; 0 when it does not run."""
        return 0 if self._process is None else int(self._process.processId())

    def write(self, pieces: Iterable[Piece]) -> None:
        """Send bytes in the background; drop them if the process is gone."""
        if self._given_up:
            return
        for piece in pieces:
            view = memoryview(piece).cast("B")
            self._pieces.append(view)
            self._waiting_bytes += len(view)
        self._push()

    def unsent(self) -> int:
        """Return how many bytes still wait to be sent."""
        queued = 0 if self._process is None else int(self._process.bytesToWrite())
        return self._waiting_bytes + queued

    def read(self) -> list[Output]:
        """Return nothing: what comes is handed on at once."""
        return []

    def terminate(self) -> None:
        """Ask the process to end."""
        if self._process is not None:
            self._process.closeWriteChannel()
            self._process.terminate()

    def kill(self) -> None:
        """End the process at once; its end is not reported any more."""
        self._given_up = True
        self._sender.stop()
        self._pieces.clear()
        self._waiting_bytes = 0
        if self._process is not None and self._runs():
            self._process.kill()
            self._process.waitForFinished(KILL_MILLISECONDS)

    def is_running(self) -> bool:
        """Tell whether the process runs; sends what waits, as a client that closes runs no event loop."""
        if self._process is None:
            return False
        if self._runs():
            self._process.waitForFinished(1)
        return self._runs()

    def _runs(self) -> bool:
        return self._process is not None and self._process.state() != qt.QProcess.NotRunning

    def _push(self) -> None:
        process = self._process
        while process is not None and self._pieces and int(process.bytesToWrite()) < QUEUED_BYTES:
            view = self._pieces.popleft()
            if len(view) > WRITE_BYTES:
                self._pieces.appendleft(view[WRITE_BYTES:])
                view = view[:WRITE_BYTES]
            self._waiting_bytes -= len(view)
            process.write(bytes(view))
        if self._pieces and not self._given_up:
            self._sender.start()
        else:
            self._sender.stop()

    def _on_output(self) -> None:
        if self._process is not None and not self._given_up:
            self._receiver().feed(bytes(self._process.readAllStandardOutput().data()))

    def _on_log(self) -> None:
        if self._process is not None and not self._given_up:
            self._receiver().feed_log(bytes(self._process.readAllStandardError().data()))

    def _on_finished(self, code: int, status: object) -> None:
        self._on_output()
        self._on_log()
        self._end(-code if status == qt.QProcess.CrashExit else code)

    def _on_error(self, error: object) -> None:
        if error == qt.QProcess.FailedToStart and self._process is not None and not self._given_up:
            self._receiver().feed_log(f"{self._command[0]}: {self._process.errorString()}\n".encode())
            self._end(NOT_STARTED)

    def _end(self, code: int) -> None:
        self._sender.stop()
        if not self._given_up:
            self._given_up = True
            self._receiver().exited(code)
