"""The process that runs cases one after another and stays warm; what it prints goes into a file of its own.

A case that crashes, hangs or eats all memory costs this process and nothing else: the next case gets a new one.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from DeepRegLib.cohort.work import DIED, MEGABYTE, MEMORY, STOPPED, TIME, Limits, Outcome, Work
from DeepRegLib.errors import DeepRegError, InputError
from DeepRegLib.process_setup import this_python

MODULE = "DeepRegLib.cli.serving"
POLL_SECONDS = 0.1
START_SECONDS = 600.0
LOG_BYTES = 20_000
KILLED = 9


class ChildError(DeepRegError):
    """The process that is to run cases cannot be started."""


class Child:
    """One process; started at the first case, and again after it has ended.

    Parameters
    ----------
    environment
        Variables besides those of this process: how many threads it may use, which graphics card.
    command
        Program and arguments; by default those of `DeepRegLib.cli.serving` in this Python.
    """

    def __init__(self, environment: Mapping[str, str], command: Sequence[str] | None = None) -> None:
        self._environment = dict(environment)
        self._command = default_command() if command is None else list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._answers: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._folder = tempfile.TemporaryDirectory(prefix="deepreg-cohort-", ignore_cleanup_errors=True)
        self._log = Path(self._folder.name) / "log.txt"

    def run(self, work: Work, stopped: Callable[[], bool]) -> Outcome:
        """Run a case and wait for it; never raises for what the case does.

        Parameters
        ----------
        work
            The case; past its limits the process is killed.
        stopped
            Polled; when it is true, the process is killed.

        Raises
        ------
        ChildError
            If no process can be started.
        """
        begun = time.monotonic()
        try:
            self._ready(stopped)
            begun = time.monotonic()
            self._truncate_log()
            answer = self._ask(work, begun, stopped)
        except _Ended as end:
            self.kill()
            seconds = time.monotonic() - begun
            return Outcome(end.kind, end.reason, self._log_text(), _host(), seconds)
        return Outcome(**answer, host=_host(), seconds=time.monotonic() - begun)

    def kill(self) -> None:
        """End the process, whatever it is doing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def close(self) -> None:
        """End the process and remove its log."""
        self.kill()
        self._folder.cleanup()

    def _ready(self, stopped: Callable[[], bool]) -> None:
        """Have a process that has loaded what it needs."""
        if self._process is not None and self._process.poll() is None:
            return
        self.kill()
        self._start()
        hello = self._answer(time.monotonic(), Limits(START_SECONDS), stopped)
        if hello is None or "hello" not in hello:
            raise ChildError(
                f"The process for the cases cannot be started: {self._log_text()[-500:].strip() or 'it said nothing'}.",
                'Install DeepReg there: pip install "slicer-deepreg[cohort]".',
            )

    def _start(self) -> None:
        self._answers = queue.SimpleQueue()
        with self._log.open("ab") as log:
            try:
                process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    # Python looks for modules where it is started, which is no place that anybody else can write to.
                    cwd=self._folder.name,
                    env=os.environ | {"PYTHONPATH": _module_path()} | self._environment,
                    # In a session of its own: Ctrl+C in a terminal is for the coordinator alone.
                    start_new_session=True,
                )
            except OSError as error:
                raise ChildError(f"{self._command[0]} cannot be started ({error}).") from error
        self._process = process
        assert process.stdout is not None  # noqa: S101  # for mypy: it is a pipe
        threading.Thread(target=_read, args=(process.stdout, self._answers), daemon=True).start()

    def _ask(self, work: Work, begun: float, stopped: Callable[[], bool]) -> dict[str, Any]:
        process = self._process
        assert process is not None  # noqa: S101  # for mypy: it is ready
        assert process.stdin is not None  # noqa: S101
        try:
            process.stdin.write(json.dumps(asdict(work) | {"log": str(self._log)}).encode() + b"\n")
            process.stdin.flush()
        except OSError:
            raise _death(process) from None
        answer = self._answer(begun, work.limits, stopped)
        if answer is None:
            raise _death(process)
        return answer

    def _answer(self, begun: float, limits: Limits, stopped: Callable[[], bool]) -> dict[str, Any] | None:
        """Wait for a line of the process, within limits counted from `begun`; None if it has ended."""
        assert self._process is not None  # noqa: S101  # for mypy: it was started
        while True:
            try:
                return self._answers.get(timeout=POLL_SECONDS)
            except queue.Empty:
                pass
            if stopped():
                raise _Ended(STOPPED, "The run was stopped.")
            if limits.seconds is not None and time.monotonic() - begun > limits.seconds:
                raise _Ended(TIME, f"It took longer than {limits.seconds:g} s.")
            used = 0 if limits.bytes is None else resident_bytes(self._process.pid)
            if limits.bytes is not None and used > limits.bytes:
                most = limits.bytes // MEGABYTE
                raise _Ended(MEMORY, f"It used {used // MEGABYTE} MB of memory; {most} MB are allowed.")

    def _truncate_log(self) -> None:
        with self._log.open("r+b") as log:
            log.truncate(0)

    def _log_text(self) -> str:
        try:
            with self._log.open("rb") as log:
                log.seek(max(0, self._log.stat().st_size - LOG_BYTES))
                return log.read().decode("utf-8", "replace")
        except OSError:
            return ""


class _Ended(Exception):  # noqa: N818  # how a wait ends, not an error
    """The process is of no use any more."""

    def __init__(self, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.kind = kind
        self.reason = reason


def default_command() -> list[str]:
    """Return the command of the process in this Python."""
    return [this_python(), "-m", MODULE]


def resident_bytes(pid: int) -> int:
    """Return how much memory a process uses; 0 if it has ended.

    Raises
    ------
    InputError
        If this system does not say.
    """
    if sys.platform != "linux":
        return _by_psutil(pid)
    try:
        pages = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def _by_psutil(pid: int) -> int:
    try:
        import psutil
    except ImportError as error:
        raise InputError("The memory of a process needs psutil to be seen.", "Leave out --case-memory.") from error
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def _module_path() -> str:
    """Return where Python finds this package, before where it looks anyway."""
    here = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))


def _death(process: subprocess.Popen[bytes]) -> _Ended:
    code = process.wait()
    if code == -KILLED:
        return _Ended(DIED, "Its process was killed (signal 9), as the system does when memory is short.")
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return _Ended(DIED, f"Its process died ({how}).")


def _read(stream: IO[bytes], answers: queue.SimpleQueue[dict[str, Any] | None]) -> None:
    with contextlib.suppress(OSError, ValueError):  # closed, or no JSON: of no use either way
        for line in stream:
            answers.put(json.loads(line))
    answers.put(None)


def _host() -> str:
    import socket

    return socket.gethostname()
