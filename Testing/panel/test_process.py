"""The process behind the panel: bytes both ways in Qt's event loop, and every kind of end."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("slicer", reason="the slicer-core wheel is not installed", exc_type=ImportError)
pytest.importorskip("PySide6.QtWidgets", reason="PySide6 cannot be loaded", exc_type=ImportError)

from DeepRegLib.engine.protocol import EngineError
from Testing.desktop.running import Desktop
from Testing.engine.fakes import alive

MEGABYTES_32 = 32 << 20
SOON = 30.0
ECHO = """
import sys
while data := sys.stdin.buffer.read1(1 << 16):
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
"""
WAIT = "import sys; sys.stdin.read()"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"


class Heard:
    """A receiver that writes down what it is told."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.log = bytearray()
        self.codes: list[int] = []

    def feed(self, data: bytes) -> None:
        self.output += data

    def feed_log(self, data: bytes) -> None:
        self.log += data

    def exited(self, code: int) -> None:
        self.codes.append(code)


class Running:
    """A started process and what was heard from it."""

    def __init__(self, desktop: Desktop, command: list[str], environment: dict[str, str] | None = None) -> None:
        from DeepRegLib.panel.process import ProcessTransport

        self.desktop = desktop
        self.heard = Heard()
        self.transport = ProcessTransport(command, environment, lambda: self.heard)
        self.transport.start()
        assert desktop.wait_until(lambda: self.transport.pid > 0 or bool(self.heard.codes), SOON)
        self.pid = self.transport.pid

    def wait(self, predicate: Callable[[], bool]) -> None:
        assert self.desktop.wait_until(predicate, SOON), (bytes(self.heard.log), self.heard.codes)

    def end(self) -> int:
        """Wait for the end, and return its code."""
        self.wait(lambda: bool(self.heard.codes))
        assert len(self.heard.codes) == 1
        return self.heard.codes[0]


@pytest.fixture
def run(desktop: Desktop) -> Iterator[Callable[..., Running]]:
    """Start programs in Python; none of them outlives the test."""
    started: list[Running] = []

    def start(text: str, environment: dict[str, str] | None = None) -> Running:
        started.append(Running(desktop, [sys.executable, "-c", text], environment))
        return started[-1]

    yield start
    for each in started:
        each.transport.kill()
        assert not alive(each.pid)


def test_many_bytes_arrive_as_they_were_and_the_window_stays_alive(run: Callable[..., Running]) -> None:
    from PySide6.QtCore import QTimer

    voxels = np.random.default_rng(0).integers(0, 256, MEGABYTES_32, dtype=np.uint8)
    echo = run(ECHO)
    ticks = [time.monotonic()]
    timer = QTimer()
    timer.setInterval(10)
    timer.timeout.connect(lambda: ticks.append(time.monotonic()))
    timer.start()
    echo.transport.write([b"header\n", voxels.data])
    assert echo.transport.unsent() > 0
    echo.wait(lambda: len(echo.heard.output) == MEGABYTES_32 + 7)
    timer.stop()
    assert bytes(echo.heard.output[:7]) == b"header\n"
    np.testing.assert_array_equal(np.frombuffer(echo.heard.output, np.uint8)[7:], voxels)
    assert echo.transport.unsent() == 0
    assert np.percentile(np.diff(ticks), 90) < 0.05, np.sort(np.diff(ticks))[-5:]


def test_small_pieces_keep_their_order(run: Callable[..., Running]) -> None:
    echo = run(ECHO)
    for number in range(200):
        echo.transport.write([f"{number} ".encode(), memoryview(b"x\n")])
    expected = b"".join(f"{number} x\n".encode() for number in range(200))
    echo.wait(lambda: len(echo.heard.output) == len(expected))
    assert bytes(echo.heard.output) == expected


@pytest.mark.parametrize("code", [0, 3, 127])
def test_the_exit_code_is_told_after_the_last_words(run: Callable[..., Running], code: int) -> None:
    process = run(f"import sys; print('out', flush=True); print('bye', file=sys.stderr, flush=True); sys.exit({code})")
    assert process.end() == code
    assert bytes(process.heard.output).split() == [b"out"]
    assert bytes(process.heard.log).split() == [b"bye"]
    assert not process.transport.is_running()
    assert process.transport.pid == 0


@pytest.mark.skipif(sys.platform == "win32", reason="there are no signals")
def test_a_crash_is_told_as_its_signal(run: Callable[..., Running]) -> None:
    process = run("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    assert process.end() == -signal.SIGSEGV


def test_lines_of_the_log_come_as_they_are_written(run: Callable[..., Running]) -> None:
    process = run("import sys; print('a line', file=sys.stderr, flush=True); sys.stdin.read()")
    process.wait(lambda: b"a line" in process.heard.log)
    assert process.transport.is_running()
    assert process.heard.codes == []


def test_a_killed_process_is_gone_and_says_nothing_more(run: Callable[..., Running], desktop: Desktop) -> None:
    process = run(DEAF)
    process.wait(lambda: b"up" in process.heard.output)
    start = time.monotonic()
    process.transport.kill()
    assert time.monotonic() - start < 2
    assert not alive(process.pid)
    assert not process.transport.is_running()
    desktop.process_events()
    assert process.heard.codes == []


def test_a_process_is_asked_to_end(run: Callable[..., Running]) -> None:
    process = run(WAIT)
    process.transport.terminate()
    process.end()
    assert not alive(process.pid)


def test_what_is_written_to_a_dead_process_is_dropped(
    run: Callable[..., Running], capfd: pytest.CaptureFixture[str]
) -> None:
    process = run("pass")
    process.end()
    process.transport.write([b"too late"])
    assert process.transport.unsent() == 0
    assert "QIODevice" not in capfd.readouterr().err


def test_the_environment_is_the_one_given(run: Callable[..., Running]) -> None:
    process = run("import os; print(os.environ.get('DEEPREG_TEST'))", {"DEEPREG_TEST": "yes"})
    process.end()
    assert process.heard.output.split() == [b"yes"]


def test_a_program_that_is_not_there_is_named(desktop: Desktop) -> None:
    from DeepRegLib.panel.process import ProcessTransport

    transport = ProcessTransport(["no-such-python"], None, Heard)
    with pytest.raises(EngineError, match="there is no program no-such-python"):
        transport.start()
    assert not transport.is_running()
    transport.kill()


@pytest.mark.skipif(sys.platform == "win32", reason="there are no modes of files")
def test_a_file_that_is_no_program_is_told(desktop: Desktop, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_bytes(b"\x7fELF no program")
    program.chmod(0o755)
    process = Running(desktop, [str(program)])
    assert process.end() in (126, 127)
    assert str(program).encode() in process.heard.log


def test_no_child_is_left_when_the_client_closes(
    desktop: Desktop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from DeepRegLib.panel import engine as module
    from DeepRegLib.panel.settings import EngineSettings

    monkeypatch.setattr(module, "worker_command", lambda _settings: [sys.executable, "-c", DEAF])
    engine = module.Engine(EngineSettings)
    engine.start()
    transport: Any = engine.client._transport
    assert desktop.wait_until(lambda: transport.pid > 0, SOON)
    pid = transport.pid
    engine.close()
    assert not alive(pid)
