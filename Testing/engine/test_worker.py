"""The real worker: the numbers of one process, cancel in time, and no process left behind whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.engine.client import EngineClient, subprocess_client
from DeepRegLib.engine.job import Job
from DeepRegLib.engine.liveness import Limits
from DeepRegLib.engine.model_segmentation import SEGMENT_WITH
from DeepRegLib.engine.protocol import PROTOCOL_VERSION, Decoder, EngineError, Message, MissingLibraryError, encode
from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.engine.transport import SubprocessTransport, default_command
from DeepRegLib.errors import CancelledError, InputError
from DeepRegLib.pipeline import register
from DeepRegLib.recipes import Recipe
from DeepRegLib.segmentation.by_model import segment_by_model
from DeepRegLib.segmentation.model_request import ModelRequest
from DeepRegLib.transforms import apply_to_labels, jacobian_determinant, parts_of
from Testing.engine.fakes import HELLO, alive
from Testing.requests import request_of
from Testing.segmentation.tiny_model import tiny_model
from Testing.small import TRUTH, small_pair, small_recipe, small_registration
from Testing.synthetic import CENTRE

ROOT = Path(__file__).resolve().parents[2]
MODULE_COMMAND = [sys.executable, "-m", "DeepRegLib.engine.worker"]

NOISY = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from dataclasses import replace
from DeepRegLib.engine import server, worker
from DeepRegLib.engine.registration import REGISTER
def noisy(*arguments):
    print("a print")
    os.write(1, b'{{"type": "result"}}\\n')
    os.system("echo a grandchild; cat")
    sys.stdout.flush()
    return REGISTER.run(*arguments)
server.TASKS = {{"register": replace(REGISTER, run=noisy)}}
worker.main()
"""

WITHOUT_TORCH = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
sys.modules["torch"] = None
from DeepRegLib.engine import worker
worker.main()
"""

WITHOUT = """
import sys
class Guard:
    def find_spec(self, name, path=None, target=None):
        if name == {library!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Guard())
import DeepRegLib.engine.server
"""

LIGHT = f"""
import sys
sys.stdout.buffer.write({b"".join(map(bytes, encode(Message("hello", 0, HELLO))))!r})
sys.stdout.flush()
for line in sys.stdin.buffer:
    if line.startswith(b'{{"type": "quit"'):
        break
"""

PARENT = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
from Testing.engine.test_worker import endless_recipe, start_running, subprocess_client
client = subprocess_client()
start_running(client)
print(client.worker.pid, flush=True)
while True:
    client.poll()
    time.sleep(0.01)
"""


def environment() -> dict[str, str]:
    """Return this process's environment, in which only the worker's own file can tell where the package lies."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def endless_recipe() -> Recipe:
    recipe = small_recipe()
    return replace(recipe, deformable=replace(recipe.deformable, shrink=(1,), iterations=(1_000_000,)))


def wait_until(condition: Callable[[], bool], seconds: float, client: EngineClient | None = None) -> float:
    """Return the seconds until the condition held; fail if it did not in time."""
    begun = time.monotonic()
    while not condition():
        assert time.monotonic() - begun < seconds, f"not within {seconds} s"
        if client is not None:
            client.poll()
        time.sleep(0.002)
    return time.monotonic() - begun


def start_running(client: EngineClient) -> Job:
    """Return a job that will not end by itself and is in the middle of its deformable stage."""
    stages: list[str] = []
    fixed, moving, _, _ = small_pair()
    request = request_of(fixed, moving, endless_recipe(), device="cpu")
    job = client.submit(REGISTER, request, on_progress=lambda stage, *_: stages.append(stage))
    wait_until(lambda: "deformable" in stages or job.finished, 60, client)
    assert not job.finished, job.error
    return job


def works(client: EngineClient) -> bool:
    fixed, moving, _, _ = small_pair()
    result = client.run(REGISTER, request_of(fixed, moving, small_recipe(), device="cpu"))
    return np.array_equal(result.warped.array, small_registration().warped.array)


@pytest.fixture(scope="module")
def client() -> Iterator[EngineClient]:
    client = subprocess_client(environment=environment())
    yield client
    client.close()


def test_the_worker_gives_the_numbers_of_one_process(client: EngineClient) -> None:
    fixed, moving, fixed_labels, moving_labels = small_pair()
    reports: list[tuple] = []
    request = request_of(
        fixed,
        moving,
        small_recipe(),
        device="cpu",
        compared_moving_labels=moving_labels,
        compared_fixed_labels=fixed_labels,
        moving_layers=(moving_labels, fixed_labels),
        jacobian=True,
    )
    result = client.run(REGISTER, request, progress=lambda *report: reports.append(report))
    reference = small_registration().with_labels(moving_labels, fixed_labels)
    names = ("warped", "field_of_view", "fixed_foreground", "warped_labels")
    grid = fixed.geometry
    pairs = [(getattr(result, name), getattr(reference, name)) for name in names]
    # A layer may lie on any grid in the moving world, that of the fixed image among them.
    layers = [apply_to_labels(reference.transform, layer, grid) for layer in (moving_labels, fixed_labels)]
    pairs += zip(result.warped_layers, layers, strict=True)
    pairs.append((result.jacobian, jacobian_determinant(reference.transform, grid)))
    for image, twin in pairs:
        assert (image.geometry, image.array.dtype) == (twin.geometry, twin.array.dtype)
        assert image.array.tobytes() == twin.array.tobytes()
    for name in ("transform", "inverse"):
        for part, twin in zip(parts_of(getattr(result, name)), parts_of(getattr(reference, name)), strict=True):
            numbers = "matrix" if hasattr(part, "matrix") else "array"
            assert getattr(part, numbers).tobytes() == getattr(twin, numbers).tobytes()
    for name in ("measures", "verdict", "warnings", "decisions", "recipe", "provenance"):
        assert getattr(result, name) == getattr(reference, name)
    assert list(result.curves) == list(reference.curves)
    assert all(np.array_equal(result.curves[name], reference.curves[name]) for name in result.curves)
    assert [report[0] for report in reports][:1] == ["prepare"]
    assert {report[0] for report in reports} == {
        *("prepare", "linear", "levels", "deformable", "inverse", "judge"),
        *("labels", "jacobian"),
    }
    fractions = [report[1] for report in reports]
    assert fractions == sorted(fractions)
    assert client.worker is not None
    assert client.worker.devices[-1] == "cpu"


def test_landmarks_and_labels_pull_there_as_they_do_here(client: EngineClient) -> None:
    fixed, moving, fixed_labels, moving_labels = small_pair()
    points = CENTRE + np.random.default_rng(0).uniform(-8, 8, (4, 3))
    given = {
        "fixed_landmarks": points,
        "moving_landmarks": TRUTH.apply_to_points(points) + 2.0,
        "fixed_labels": fixed_labels,
        "moving_labels": moving_labels,
        "device": "cpu",
    }
    there = client.run(REGISTER, request_of(fixed, moving, small_recipe(), **given))
    here = register(fixed, moving, small_recipe(), **given)
    images_alone = small_registration()
    assert there.warped.array.tobytes() == here.warped.array.tobytes() != images_alone.warped.array.tobytes()
    for name in ("measures", "verdict", "warnings", "decisions", "recipe", "provenance"):
        assert getattr(there, name) == getattr(here, name)
    assert there.warped_labels.array.tobytes() == here.warped_labels.array.tobytes()
    assert sum("that pull on the field" in decision for decision in there.decisions) == 2


def test_input_errors_are_those_of_one_process(client: EngineClient) -> None:
    fixed, moving, _, _ = small_pair()
    with pytest.raises(InputError, match="no device 'tpu'"):
        client.run(REGISTER, request_of(fixed, moving, small_recipe(), device="tpu"))


def test_progress_is_told_about_ten_times_a_second(client: EngineClient) -> None:
    job = start_running(client)
    reports: list[float] = []
    job.on_progress = lambda *_: reports.append(time.monotonic())
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 1, 5, client)
    job.cancel()
    wait_until(lambda: job.finished, 5, client)
    assert 2 <= len(reports) <= 12


def test_cancel_is_answered_within_a_second_and_the_next_run_works(client: EngineClient) -> None:
    for _ in range(3):
        job = start_running(client)
        worker = client.worker
        job.cancel()
        assert wait_until(lambda job=job: job.finished, 3, client) < 1
        assert isinstance(job.error, CancelledError)
        assert client.worker is worker  # asked, not killed
    assert works(client)


def test_a_wait_that_is_interrupted_stops_the_run(client: EngineClient) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    fixed, moving, _, _ = small_pair()
    with pytest.raises(KeyboardInterrupt):
        client.run(REGISTER, request_of(fixed, moving, endless_recipe(), device="cpu"), progress=interrupt)
    assert works(client)
    with pytest.raises(CancelledError):
        client.run(REGISTER, request_of(fixed, moving, endless_recipe(), device="cpu"), cancel=lambda: True)


def test_bad_messages_are_answered_and_the_worker_lives(client: EngineClient) -> None:
    assert works(client)
    transport = client._transport
    assert isinstance(transport, SubprocessTransport)
    decoder = Decoder()

    def answer(*pieces: bytes | memoryview) -> Message:
        transport.write(pieces)
        found: list[Message] = []
        wait_until(
            lambda: bool(found.extend(m for o in transport.read() for m in decoder.messages(o.data)) or found), 5
        )
        return found[0]

    for pieces in (
        [b"garbage\n"],
        [b'{"type": 3}\n'],
        encode(Message("dance", 4)),
        encode(Message("request", 4)),
        encode(Message("request", 4, {"task": "dance"})),
        encode(Message("request", 4, {"task": "register"})),
        encode(Message("request", 4, {"task": "register", "request": {"recipe": {}, "device": None, "seed": 0}})),
    ):
        reply = answer(*pieces)
        assert (reply.type, reply.content["kind"]) in [("error", "ProtocolError"), ("error", "RecipeError")]
        assert reply.content["message"]
    assert answer(*encode(Message("ping", 9))).type == "pong"
    client.release()
    assert works(client)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_killed_worker_is_an_error_and_the_next_run_works(client: EngineClient) -> None:
    job = start_running(client)
    assert client.worker is not None
    os.kill(client.worker.pid, signal.SIGKILL)
    wait_until(lambda: job.finished, 3, client)
    assert isinstance(job.error, EngineError)
    assert "SIGKILL" in job.error.message
    assert works(client)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_stopped_worker_is_noticed_and_replaced() -> None:
    client = subprocess_client(limits=Limits(silence=0.2, answer=0.5))
    try:
        job = start_running(client)
        assert client.worker is not None
        pid = client.worker.pid
        os.kill(pid, signal.SIGSTOP)
        wait_until(lambda: job.finished, 5, client)
        assert job.error is not None
        assert "no longer answers" in job.error.message
        wait_until(lambda: not alive(pid), 2)
    finally:
        client.close()


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_what_the_worker_and_its_children_print_corrupts_nothing() -> None:
    lines: list[str] = []
    client = subprocess_client([sys.executable, "-c", NOISY], on_log=lines.append)
    try:
        assert works(client)
        wait_until(lambda: {"a print", "a grandchild", '{"type": "result"}'} <= set(lines), 3, client)
    finally:
        client.close()


def test_a_worker_without_torch_says_so() -> None:
    fixed, moving, _, _ = small_pair()
    client = subprocess_client([sys.executable, "-c", WITHOUT_TORCH])
    with pytest.raises(MissingLibraryError, match="PyTorch is not installed in") as caught:
        client.run(REGISTER, request_of(fixed, moving))
    assert caught.value.library == "torch"
    client.close()


def test_a_python_without_deepreg_or_its_libraries_says_so() -> None:
    fixed, moving, _, _ = small_pair()
    for library, title in (("DeepRegLib", "DeepReg"), ("SimpleITK", "SimpleITK")):
        client = subprocess_client([sys.executable, "-c", WITHOUT.format(library=library)])
        with pytest.raises(MissingLibraryError, match=f"{title} is not installed"):
            client.run(REGISTER, request_of(fixed, moving))
        client.close()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/nowhere/python", "worker.py"], "cannot be started: /nowhere/python"),
        ([sys.executable, "-c", "print('Welcome')"], "'Welcome'"),
        ([sys.executable, "-c", "raise SystemExit('no such host')"], "exit code 1.*no such host"),
    ],
)
def test_a_command_that_is_no_worker_is_an_error(command: list[str], words: str) -> None:
    fixed, moving, _, _ = small_pair()
    client = subprocess_client(command)
    with pytest.raises(EngineError, match=words):
        client.run(REGISTER, request_of(fixed, moving))
    client.close()


def raw_worker(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)


def leave(worker: subprocess.Popen[bytes], seconds: float) -> None:
    assert worker.stdin is not None
    try:
        worker.stdin.close()
        assert worker.wait(seconds) == 0
    finally:
        worker.kill()
        worker.wait()
        for stream in (worker.stdout, worker.stderr):
            assert stream is not None
            stream.close()


def read_until(worker: subprocess.Popen[bytes], wanted: Callable[[Message], bool]) -> Message:
    assert worker.stdout is not None
    decoder = Decoder()
    while data := os.read(worker.stdout.fileno(), 1 << 16):
        for message in decoder.messages(data):
            if wanted(message):
                return message
    raise AssertionError("the worker ended")


@pytest.mark.parametrize("command", [MODULE_COMMAND, default_command()], ids=["module", "path"])
def test_an_idle_worker_leaves_when_its_input_closes(command: list[str]) -> None:
    worker = raw_worker(command)
    hello = read_until(worker, lambda message: True)
    assert (hello.type, hello.content["protocol"]) == ("hello", PROTOCOL_VERSION)
    leave(worker, 1)


def test_a_busy_worker_leaves_when_its_input_closes() -> None:
    worker = raw_worker(default_command())
    fixed, moving, _, _ = small_pair()
    assert worker.stdin is not None
    for piece in encode(REGISTER.request_message(request_of(fixed, moving, endless_recipe(), device="cpu"), 1)):
        worker.stdin.write(piece)
    worker.stdin.flush()
    read_until(worker, lambda message: message.content.get("stage") == "deformable")
    leave(worker, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")
def test_a_killed_parent_leaves_no_orphan() -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert alive(pid)
    parent.kill()
    parent.communicate()
    assert wait_until(lambda: not alive(pid), 5) < 2


def test_starting_and_stopping_leaves_no_process() -> None:
    transports: list[SubprocessTransport] = []

    def hire() -> SubprocessTransport:
        transports.append(SubprocessTransport())
        return transports[-1]

    client = EngineClient(hire)
    fixed, moving, _, _ = small_pair()
    for turn in range(10):
        job = client.submit(REGISTER, request_of(fixed, moving, endless_recipe()))
        time.sleep(0.02 * turn)
        client.poll()
        client.close()
        assert isinstance(job.error, CancelledError)
    assert len(transports) == 10
    wait_until(lambda: not any(alive(transport.pid) for transport in transports if transport.pid is not None), 2)
    wait_until(lambda: not any(transport.is_running() for transport in transports), 1)  # none is left as a zombie


def test_a_hundred_starts_and_stops_leave_no_process() -> None:
    transports: list[SubprocessTransport] = []

    def hire() -> SubprocessTransport:
        transports.append(SubprocessTransport([sys.executable, "-S", "-E", "-c", LIGHT]))
        return transports[-1]

    client = EngineClient(hire, limits=Limits(close=0.05))
    for turn in range(100):
        client.start()
        if turn % 3:  # some are stopped before they say a word
            wait_until(lambda: client.worker is not None, 10, client)
        if turn % 3 == 2:
            client.submit(REGISTER, request_of(*small_pair()[:2], small_recipe()))
            client.poll()
        client.close()
    assert len({transport.pid for transport in transports}) == 100
    wait_until(lambda: not any(alive(transport.pid) for transport in transports), 2)
    wait_until(lambda: not any(transport.is_running() for transport in transports), 1)


def test_a_model_segments_there_as_it_does_here(client: EngineClient, tmp_path: Path) -> None:
    request = ModelRequest(small_pair()[0], str(tiny_model(tmp_path / "tiny")), device="cpu")
    there, here = client.run(SEGMENT_WITH, request), segment_by_model(request)
    np.testing.assert_array_equal(there.labels.array, here.labels.array)
    np.testing.assert_allclose(there.agreement.array, here.agreement.array, atol=1e-6)
    assert (there.segments, there.model) == (here.segments, here.model)
