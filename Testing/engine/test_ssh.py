"""A worker behind a real OpenSSH server on this machine: the same numbers, and clear words where it is not reached."""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from DeepRegLib.engine.client import EngineClient, subprocess_client
from DeepRegLib.engine.protocol import EngineError
from DeepRegLib.engine.registration import REGISTER
from DeepRegLib.engine.transport import WORKER, SubprocessTransport, ssh_command
from Testing.engine.fakes import alive
from Testing.engine.test_worker import start_running, wait_until, works
from Testing.requests import request_of
from Testing.small import small_pair, small_recipe

ROOT = Path(__file__).resolve().parents[2]
SERVER = shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"]))
SEPARATION = Path("/run/sshd")  # where Linux distributions' servers lock themselves in when root starts them

pytestmark = [
    pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX server"),
    pytest.mark.skipif(SERVER is None, reason="there is no sshd (package openssh-server)"),
    pytest.mark.skipif(
        shutil.which("ssh") is None or shutil.which("ssh-keygen") is None, reason="there is no ssh (openssh-client)"
    ),
]


@dataclass(frozen=True)
class Host:
    """A running server and the client's configuration that reaches it, both in one folder."""

    folder: Path
    port: int
    server: subprocess.Popen[bytes]

    def command(self, python: str = sys.executable, key: str = "key", port: int | None = None) -> list[str]:
        """Return the command of a worker there; the user's own ssh configuration and keys are left alone."""
        settings = {
            "Port": port or self.port,
            "IdentityFile": self.folder / key,
            "IdentitiesOnly": "yes",
            "IdentityAgent": "none",
            "UserKnownHostsFile": self.folder / "known_hosts",
            "GlobalKnownHostsFile": os.devnull,
            "StrictHostKeyChecking": "yes",
        }
        config = write_config(self.folder / f"client_{key}_{settings['Port']}", settings)
        program, *rest = ssh_command("127.0.0.1", python)
        return [program, "-F", str(config), *rest]

    def sessions(self) -> list[int]:
        """Return the processes the server has for its connections."""
        found = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = [tuple(map(int, line.split())) for line in found.splitlines()]
        return [pid for pid, parent in pairs if parent == self.server.pid]


def write_config(path: Path, settings: dict[str, object]) -> Path:
    path.write_text("".join(f'{name} "{value}"\n' for name, value in settings.items()))
    return path


def make_key(path: Path) -> Path:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True, stdin=subprocess.DEVNULL)
    return path.with_suffix(".pub")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("ssh")
    made_separation = os.geteuid() == 0 and sys.platform == "linux" and not SEPARATION.exists()
    if made_separation:
        SEPARATION.mkdir(mode=0o755)
    server = None
    try:
        port = free_port()
        server = start_server(folder, port)
        yield Host(folder, port, server)
    finally:
        if server is not None:
            server.terminate()
            server.wait(5)
        if made_separation:
            SEPARATION.rmdir()


def start_server(folder: Path, port: int) -> subprocess.Popen[bytes]:
    host_key, key = make_key(folder / "host_key").read_text(), make_key(folder / "key")
    make_key(folder / "stranger")
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    config = write_config(
        folder / "server",
        {
            "ListenAddress": "127.0.0.1",
            "Port": port,
            "HostKey": folder / "host_key",
            "AuthorizedKeysFile": key,
            "PidFile": "none",
            "UsePAM": "no",
            "StrictModes": "no",
            "PasswordAuthentication": "no",
            "KbdInteractiveAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "SetEnv": f"PYTHONPATH={ROOT}",
        },
    )
    log = (folder / "log").open("wb")
    server = subprocess.Popen([SERVER, "-D", "-e", "-f", config], stdin=subprocess.DEVNULL, stderr=log)
    log.close()
    deadline = time.monotonic() + 10
    while not answers(port):
        if server.poll() is not None or time.monotonic() > deadline:
            server.kill()
            server.wait()
            pytest.skip(f"sshd does not run here: {(folder / 'log').read_text()[-300:]}")
        time.sleep(0.02)
    return server


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def failure(command: list[str]) -> EngineError:
    client = subprocess_client(command)
    try:
        with pytest.raises(EngineError) as caught:
            client.run(REGISTER, request_of(*small_pair()[:2], small_recipe()))
    finally:
        client.close()
    return caught.value


def test_a_worker_behind_ssh_gives_the_numbers_of_one_process(host: Host) -> None:
    client = subprocess_client(host.command())
    try:
        assert works(client), client.log
        assert client.worker is not None
        assert client.worker.python == sys.executable
    finally:
        client.close()


def test_the_workers_file_can_be_named_instead_of_the_module(host: Host) -> None:
    program, *rest = host.command()
    client = subprocess_client([program, *rest[:-1], f"{sys.executable} {WORKER}"])
    try:
        assert works(client), client.log
    finally:
        client.close()


def test_a_connection_that_breaks_is_an_error_leaves_no_worker_and_the_next_run_works(host: Host) -> None:
    client = subprocess_client(host.command())
    try:
        job = start_running(client)
        assert client.worker is not None
        pid = client.worker.pid
        sessions = host.sessions()
        assert sessions
        for session in sessions:
            os.kill(session, 9)
        wait_until(lambda: job.finished, 5, client)
        assert isinstance(job.error, EngineError)
        assert "connection to the other computer was lost" in job.error.message
        wait_until(lambda: not alive(pid), 3)
        assert works(client)
    finally:
        client.close()


def test_a_worker_leaves_with_its_client(host: Host) -> None:
    transports: list[SubprocessTransport] = []

    def hire() -> SubprocessTransport:
        transports.append(SubprocessTransport(host.command()))
        return transports[-1]

    client = EngineClient(hire)
    start_running(client)
    assert client.worker is not None
    pid = client.worker.pid
    transports[0].kill()  # ssh alone: nothing tells the worker but its closed input
    wait_until(lambda: not alive(pid), 3)
    client.close()


def test_a_key_that_is_not_accepted_is_told_and_nothing_prompts(host: Host) -> None:
    begun = time.monotonic()
    error = failure(host.command(key="stranger"))
    assert "accepts none of your ssh keys" in error.message
    assert f"{getpass.getuser()}@127.0.0.1: Permission denied" in error.message
    assert time.monotonic() - begun < 10


def test_a_computer_that_does_not_answer_is_told(host: Host) -> None:
    assert "cannot be reached by ssh" in failure(host.command(port=free_port())).message


def test_a_computer_whose_key_is_unknown_is_told(host: Host) -> None:
    command = host.command()
    command[1:1] = ["-o", f"UserKnownHostsFile={os.devnull}"]
    error = failure(command)
    assert "identity is unknown to ssh" in error.message
    assert "Log in once in a terminal" in error.hint


def test_a_python_that_is_not_there_is_told(host: Host) -> None:
    error = failure(host.command(python="/nowhere/my python"))
    assert "no such Python" in error.message
    assert "/nowhere/my python" in error.message


def test_start_up_files_that_print_are_told(host: Host) -> None:
    program, *rest = host.command()
    error = failure([program, *rest[:-1], f"echo Welcome; {rest[-1]}"])
    assert "'Welcome'" in error.message
    assert "start-up files" in error.hint


def test_large_arrays_pass_ssh_unharmed(host: Host) -> None:
    client = subprocess_client(host.command())
    fixed, moving, _, moving_labels = small_pair()
    rng = np.random.default_rng(0)
    noise = moving_labels.with_array(rng.integers(0, 100, moving_labels.array.shape).astype(np.int64))
    try:
        request = request_of(fixed, moving, small_recipe(), moving_layers=(noise,) * 40, device="cpu")
        result = client.run(REGISTER, request)
        assert len(result.warped_layers) == 40
        assert all(np.array_equal(layer.array, result.warped_layers[0].array) for layer in result.warped_layers)
    finally:
        client.close()
