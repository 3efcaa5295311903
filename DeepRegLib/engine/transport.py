"""How a client reaches its worker: a child process and its three streams."""

from __future__ import annotations

import contextlib
import os
import queue
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from DeepRegLib.engine.protocol import EngineError, Piece

READ_BYTES = 1 << 20
MOST_OUTPUTS = 64
WAITING_SECONDS = 0.2
WORKER = Path(__file__).with_name("worker.py")
WORKER_MODULE = "DeepRegLib.engine.worker"
SSH_OPTIONS = {
    # Nobody can type a password into a worker's pipe: without a key that is accepted, ssh gives up at once.
    "BatchMode": "yes",
    "ConnectTimeout": "10",
    # A line that has gone dead is noticed within a minute.
    "ServerAliveInterval": "15",
    "ServerAliveCountMax": "3",
}


@dataclass(frozen=True)
class Output:
    """Something that came from the worker.

    Parameters
    ----------
    stream
        ``"stdout"``, ``"stderr"``, or ``"exit"``, which comes last.
    data
        The bytes; empty for an exit.
    code
        The exit status; negative for a signal.
    """

    stream: str
    data: bytes = b""
    code: int = 0


class Transport(Protocol):
    """What `EngineClient` needs of a worker process; one object is one process. Nothing here may block."""

    def start(self) -> None:
        """Start the process; raise `EngineError` if that cannot be done."""

    def write(self, pieces: Iterable[Piece]) -> None:
        """Send bytes in the background; drop them if the process is gone."""

    def unsent(self) -> int:
        """Return how many bytes still wait to be sent."""

    def read(self) -> list[Output]:
        """Return what has come since the last call; nothing, if it is handed to `EngineClient.feed` instead."""

    def terminate(self) -> None:
        """Ask the process to end."""

    def kill(self) -> None:
        """End the process, whatever it is doing; returns at once."""

    def is_running(self) -> bool:
        """Tell whether the process runs."""


class SubprocessTransport:
    """A worker as a child process, read and written by threads; needs no event loop.

    Parameters
    ----------
    command
        Program and arguments; by default this Python and this package's worker. No shell is involved.
    environment
        The whole environment of the process; None for this one's.
    """

    def __init__(self, command: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> None:
        self._command = list(command) if command is not None else default_command()
        self._environment = None if environment is None else dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        # A worker that writes faster than it is read waits; the reading threads do not, once it is to end.
        self._outputs: queue.SimpleQueue[Output] = queue.SimpleQueue()
        self._room = threading.Semaphore(MOST_OUTPUTS)
        self._ending = threading.Event()
        self._pieces: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
        self._unsent = 0
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Process id of the child, which is ssh's for a worker elsewhere; None before the start."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start the process; raise `EngineError` if that cannot be done."""
        flags = getattr(subprocess, "CREATE_NO_WINDOW", 0)
        try:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=self._environment,
                creationflags=flags,
                # In a session of its own: Ctrl+C in a terminal is for the client alone, and ssh cannot prompt.
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            raise EngineError(
                f"The engine cannot be started: {self._command[0]} ({error}).", "Check the engine's command."
            ) from error
        self._process = process
        assert process.stdin is not None  # noqa: S101  # for mypy: all three are pipes
        assert process.stdout is not None  # noqa: S101
        assert process.stderr is not None  # noqa: S101
        logs = self._thread(self._read_stream, process.stderr, "stderr")
        self._thread(self._read_to_the_end, process, process.stdout, logs)
        self._thread(self._write_all, process.stdin)

    def write(self, pieces: Iterable[Piece]) -> None:
        """Send bytes in the background; drop them if the process is gone."""
        for piece in pieces:
            with self._lock:
                self._unsent += len(piece)
            self._pieces.put(piece)

    def unsent(self) -> int:
        """Return how many bytes still wait to be sent."""
        return self._unsent

    def read(self) -> list[Output]:
        """Return what has come since the last call."""
        found: list[Output] = []
        with contextlib.suppress(queue.Empty):
            while len(found) < MOST_OUTPUTS:
                found.append(self._outputs.get_nowait())
                self._room.release()
        return found

    def terminate(self) -> None:
        """Ask the process to end: close its input, and send it SIGTERM (on Windows, end it)."""
        self._pieces.put(None)
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End the process, whatever it is doing; returns at once."""
        self._ending.set()
        self._pieces.put(None)
        if self._process is None:
            return
        self._process.kill()  # the reading thread collects it: a process that holds a graphics card may take a while

    def is_running(self) -> bool:
        """Tell whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def _thread(self, target: object, *arguments: object) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]  # a method
        thread.start()
        return thread

    def _read_stream(self, stream: IO[bytes], name: str) -> None:
        with stream, contextlib.suppress(OSError):
            while data := os.read(stream.fileno(), READ_BYTES):
                self._put(Output(name, data))

    def _read_to_the_end(self, process: subprocess.Popen[bytes], stream: IO[bytes], logs: threading.Thread) -> None:
        self._read_stream(stream, "stdout")
        code = process.wait()
        logs.join(1.0)
        self._pieces.put(None)
        self._put(Output("exit", code=code))

    def _put(self, output: Output) -> None:
        """Hand on what came, when there is room; drop it where nobody listens any more."""
        while not self._room.acquire(timeout=WAITING_SECONDS):
            if self._ending.is_set():
                return
        self._outputs.put(output)

    def _write_all(self, stream: IO[bytes]) -> None:
        with contextlib.suppress(OSError), stream:
            while (piece := self._pieces.get()) is not None:
                rest = memoryview(piece)
                while rest:
                    sent = os.write(stream.fileno(), rest[:READ_BYTES])
                    rest = rest[sent:]
                    with self._lock:
                        self._unsent -= sent


def default_command() -> list[str]:
    """Return the command of a worker in this Python, found by its path whatever `sys.path` holds."""
    return [sys.executable, str(WORKER)]


def ssh_command(host: str, python: str = "python3") -> list[str]:
    """Return the command of a worker on another computer, reached by OpenSSH; it never asks for a password.

    Parameters
    ----------
    host
        As on ssh's command line: a name of the user's ssh configuration, ``computer`` or ``user@computer``.
    python
        A Python over there in which DeepReg is installed: a name on its PATH, or a path, which may begin with ``~/``.
    """
    options = [word for name, value in SSH_OPTIONS.items() for word in ("-o", f"{name}={value}")]
    # The shell over there splits the words that ssh joins; it is to replace the tilde, and nothing else.
    home, path = ("~/", python[2:]) if python.startswith("~/") else ("", python)
    return ["ssh", "-T", *options, "--", host, f"{home}{shlex.quote(path)} -m {WORKER_MODULE}"]
